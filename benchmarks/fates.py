"""Deaths: which ends of tracks are deaths? The table of chapter 43.

    python benchmarks/fates.py [--cache FOLDER] [--seeds 0 1 ...]

Five kinds of simulated movies (`celltrack.track.divide.FATE_MOVIES`), several seeds of each, three
kinds of detections, trackers of chapter 60, and four rules that say which inner ends are deaths.
Counts of deaths found, invented and missed, at two tolerances. Results of single movies are kept
in the cache folder, so that a run that was stopped goes on; --seeds computes only those.
"""

import argparse
import os
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd

from celltrack.cases import Case, damaged
from celltrack.pipeline import open_tracker
from celltrack.score.events import score_events
from celltrack.track.divide import FATE_MOVIES, assign_fates, fate_movie
from tables import run_record, write_table

SEEDS = range(4)
TRACKERS = ("nearest", "global", "iou", "sort", "sort-divide", "gnn")
RULES = {  # options of `assign_fates`
    "every inner end": {"lasting": 1, "again": 0},
    "shrunk": {"sudden": False},
    "gone for good": {"shrunk": 0.0, "changed": np.inf},
    "either": {},
}
TOLERANCES = (1, 4)  # frames
SMALL = 0.35  # of the median area: a segmenter that sees nothing smaller


def small_lost(case):
    "Return the Case without cells that are small."
    small = case.cells[case.cells.area < SMALL * case.cells.area.median()]
    gone = {t: cells.label.to_numpy() for t, cells in small.groupby("frame")}
    images = [
        np.where(np.isin(image, gone.get(t, ())), 0, image) for t, image in enumerate(case.labels)
    ]
    return Case(case.name, case.movie, case.truth, case.labels.like(np.stack(images)))


def rows_of_movie(kind, seed):
    "Return the rows of one movie: all detections, trackers and rules."
    movie, truth = fate_movie(kind, seed)
    perfect = Case(f"{kind} {seed}", movie, truth, truth.labels)
    cases = {
        "perfect": perfect,
        "damaged": damaged(perfect, seed),
        "small lost": small_lost(perfect),
    }
    rows = []
    for detections, case in cases.items():
        for name in TRACKERS:
            tracks = open_tracker(name).link(case.cells, movie, case.labels)
            for rule, options in RULES.items():
                told = assign_fates(tracks, movie, **options)
                for tolerance in TOLERANCES:
                    counts = score_events(truth, told, case.tables, tolerance).counts
                    row = {"kind": kind, "seed": seed, "detections": detections, "tracker": name}
                    row |= {"rule": rule, "tolerance": tolerance}
                    rows.append(row | {n: counts[f"death {n}"] for n in ("TP", "FP", "FN")})
    return pd.DataFrame(rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cache", type=Path, help="folder of the results of single movies")
    parser.add_argument("--seeds", type=int, nargs="+", help="only these, and no table")
    given = parser.parse_args()
    cache = given.cache
    start = time.perf_counter()
    tables = []
    for seed in given.seeds or SEEDS:
        for kind in FATE_MOVIES:
            path = cache and cache / f"{kind}_{seed}.csv"
            if path and path.exists():
                tables.append(pd.read_csv(path))
                continue
            tables.append(rows_of_movie(kind, seed))
            if path:
                path.parent.mkdir(parents=True, exist_ok=True)
                tables[-1].to_csv(path, index=False)
            print(kind, seed, flush=True)
    if given.seeds:
        return
    settings = {
        "movies": FATE_MOVIES,
        "seeds": list(SEEDS),
        "trackers": TRACKERS,
        "rules": {name: {k: str(v) for k, v in rule.items()} for name, rule in RULES.items()},
        "tolerances": TOLERANCES,
        "small": SMALL,
    }
    record = run_record("fates.py", ["numpy", "scipy", "torch"], settings, start)
    write_table(pd.concat(tables), record, "fates")


if __name__ == "__main__":
    main()
