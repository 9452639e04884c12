"""The harder movie of the course beside the easy one: what trackers make of both.

    python benchmarks/hard.py

Writes nbs/tables/hard_movie.csv (means and intervals, which chapter 02 shows), hard_movie_runs.csv
(a row per run) and their run records. Five movies of each kind, with seeds of their own (the two
movies of the course are not among them), and each tracker on the true masks and on damaged ones.
About two minutes on one core.
"""

import os
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")

import pandas as pd

from celltrack.cases import Case, damaged, score_case
from celltrack.pipeline import open_tracker
from celltrack.score.panel import interval_by_movie
from celltrack.simulate import simulate_movie
from tables import run_record, write_table

KINDS = {"easy": dict(cells=24), "hard": dict(cells=60, speed=8.0)}
SHARED = dict(frames=48, shape=(256, 256), cycle=32.0, death=0.008)
SEEDS = (1, 2, 3, 4, 5)
SCORES = ("wrong share", "LNK", "IDF1", "CT", "division F1")
TRACKERS = ("nearest", "global", "sort", "sort-divide", "gnn")


def linked(tracks):
    "Return the links of Tracks as pairs of (frame, label)."
    name = list(zip(tracks.cells.frame.tolist(), tracks.cells.label.tolist(), strict=True))
    return {(name[i], name[j]) for i, j in zip(*tracks.links(), strict=True)}


def rows_of_case(case, kind, seed, detections):
    "Yield a row per tracker."
    true = linked(case.truth)
    for name in TRACKERS:
        found = open_tracker(name).link(case.cells, case.movie)
        row = {"kind": kind, "movie": f"{kind} {seed}", "detections": detections, "tracker": name}
        if detections == "clean":  # cells have the truth's own labels
            links = linked(found)
            row |= {"true links": len(true), "links": len(links), "wrong": len(links - true)}
            row["wrong share"] = row["wrong"] / row["links"]
        yield row | score_case(case, found)


def measure():
    "Return a table with a row per kind, movie, detections and tracker."
    rows = []
    for kind, options in KINDS.items():
        for seed in SEEDS:
            movie, truth = simulate_movie(**SHARED, **options, seed=seed)
            case = Case(f"{kind} {seed}", movie, truth, truth.labels)
            rows += rows_of_case(case, kind, seed, "clean")
            rows += rows_of_case(damaged(case, seed), kind, seed, "damaged")
            print(pd.DataFrame(rows[-2 * len(TRACKERS) :]).round(3).to_string(), flush=True)
    return pd.DataFrame(rows)


def summary(runs):
    "Return a table with a row per kind, detections, tracker and score: its mean and interval."
    rows = []
    for key, some in runs.groupby(["kind", "detections", "tracker"], sort=False):
        for score in SCORES:
            found = zip(("mean", "low", "high"), interval_by_movie(some, score), strict=True)
            names = dict(zip(("kind", "detections", "tracker"), key, strict=True))
            events = {name: some[f"division {name}"].sum() for name in ("TP", "FP", "FN")}
            rows.append(names | {"score": score} | dict(found) | events)
    return pd.DataFrame(rows).dropna()  # links are compared on clean detections only


if __name__ == "__main__":
    start = time.perf_counter()
    settings = {"kinds": KINDS, "shared": SHARED, "seeds": SEEDS, "trackers": TRACKERS}
    record = run_record("hard.py", ["numpy", "scipy", "torch"], settings)
    runs = measure()
    record["seconds"] = round(time.perf_counter() - start, 1)
    write_table(runs.round(4), record, "hard_movie_runs")
    write_table(summary(runs).round(4), record, "hard_movie")
