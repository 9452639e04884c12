"""All trackers, two rivals and an oracle on four real movies, clean and damaged, with one set of
defaults: the table of chapter 61.

    python benchmarks/compare.py        writes nbs/tables/compare.csv and its run record
Needs the movies under $CELLTRACK_DATA and `pip install laptrack`. Detections are the silver masks
(Fluo-N2DH-SIM+: gold).
"""

import json
import os
import platform
import time
from importlib.metadata import version
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import pandas as pd

from celltrack import __version__
from celltrack.compare import compare_trackers, open_case
from celltrack.movie import atomic
from celltrack.pipeline import TRACKERS, open_tracker

MOVIES = {
    "DIC-C2DH-HeLa": 1,
    "Fluo-N2DH-SIM+": 3,
    "Fluo-N2DL-HeLa": 1,
    "PhC-C2DL-PSC": 2,
}  # tolerance of the challenge, in frames
SEEDS = 3
COLUMNS = [
    "movie",
    "detections",
    "tracker",
    "LNK",
    "CT",
    "TF",
    "BC",
    "CCA",
    "BIO",
    "TRA",
    "IDF1",
    "HOTA",
    "division F1",
    "tracks",
]


def main():
    start, rows = time.perf_counter(), []
    trackers = {name: open_tracker(name) for name in TRACKERS}
    for name, tolerance in MOVIES.items():
        rows.append(
            compare_trackers(open_case(f"{name}/01_GT", tolerance=tolerance), trackers, SEEDS)
        )
        print(rows[-1][COLUMNS].round(3).to_string(), flush=True)
    out = Path(__file__).parents[1] / "nbs" / "tables"
    record = {
        "command": "python benchmarks/compare.py",
        "movies": MOVIES,
        "seeds of damage": SEEDS,
        "cpus": os.cpu_count(),
        "seconds": round(time.perf_counter() - start, 1),
        "versions": {
            "celltrack": __version__,
            "python": platform.python_version(),
            **{p: version(p) for p in ("numpy", "scipy", "pandas", "laptrack")},
        },
    }
    with atomic(out / "compare.csv") as path:
        pd.concat(rows)[COLUMNS].round(4).to_csv(path, index=False)
    with atomic(out / "compare.json") as path:
        path.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
