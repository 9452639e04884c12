"""All trackers, two rivals and an oracle on four movies of the challenge, clean and damaged, with
one set of defaults: the long table of chapter 66.

    python benchmarks/compare.py        writes nbs/tables/compare.csv and its run record
Needs the movies under $CELLTRACK_DATA and `pip install laptrack`. Detections are the silver masks
(Fluo-N2DH-SIM+: gold).
"""

import os
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")

import pandas as pd

from celltrack.benchmark import compare_trackers
from celltrack.cases import open_case
from celltrack.pipeline import TRACKERS, open_tracker
from tables import PANEL, TOLERANCES, run_record, write_table

SEEDS = 3
COLUMNS = ["movie", "detections", "tracker", *PANEL, "tracks"]


def main():
    start, rows = time.perf_counter(), []
    trackers = {name: open_tracker(name) for name in TRACKERS}
    for name, tolerance in TOLERANCES.items():
        rows.append(
            compare_trackers(open_case(f"{name}/01_GT", tolerance=tolerance), trackers, SEEDS)
        )
        print(rows[-1][COLUMNS].round(3).to_string(), flush=True)
    settings = {"movies": TOLERANCES, "seeds of damage": SEEDS}
    record = run_record("compare.py", ["numpy", "scipy", "pandas", "laptrack"], settings, start)
    write_table(pd.concat(rows)[COLUMNS].round(4), record, "compare")


if __name__ == "__main__":
    main()
