"""Where do embeddings help? DeepSORT + division with embeddings and without, on simulated movies of
three kinds. The table of chapter 66.

    python benchmarks/appearance.py [EMBEDDER ...]        default: pixels reid

Writes nbs/tables/appearance.csv and its run record. EMBEDDER is a name for `open_embedder`. Each
run is kept in build/answer, so a killed command goes on. No network learned from these movies. What
appearance adds on real movies is in the table of answer.py.
"""

import os
import sys
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")

import pandas as pd

from answer import KEPT
from celltrack.cases import Case, damaged, score_case
from celltrack.simulate import simulate_movie
from celltrack.track.deepsort import DeepSort
from celltrack.track.divide import Divide
from celltrack.track.reid import open_embedder
from tables import kept, run_record, write_table

CROWD = {
    "frames": 30,
    "shape": (220, 220),
    "cells": 70,
    "speed": 8.0,
    "crowding": 0.8,
    "persistence": 2.0,
}
SIMULATED = {  # group: (options of simulate_movie, share of cells lost)
    "crowded, fast, cells lost, distinct": (CROWD | {"texture": 0.5}, 0.1),
    "crowded, fast, cells lost, blurred": (
        CROWD | {"texture": 0.0, "blur": 3.0, "noise": 3.0},
        0.1,
    ),
    "sparse and slow, nothing lost": (
        {"frames": 30, "shape": (256, 256), "cells": 15, "speed": 1.0},
        0.0,
    ),
}
SEEDS = 8  # movies of each group


def scores_of(group, seed, embedder):
    "Return the IDF1 of a simulated movie, with an embedder or (None) without."
    options, lost = SIMULATED[group]
    movie, truth = simulate_movie(**options, seed=3000 + seed)
    case = damaged(Case("simulated", movie, truth, truth.labels), seed, lost, 0)
    if embedder is None:
        return score_case(case, Divide(DeepSort(weight=0, embedder=None)).link(case.cells, movie))
    embeddings = open_embedder(embedder).embed(movie, case.cells, case.labels)
    return score_case(case, Divide(DeepSort()).link(case.cells, movie, embeddings=embeddings))


def main():
    start, rows = time.perf_counter(), []
    embedders = sys.argv[1:] or ["pixels", "reid"]
    for group in SIMULATED:
        for seed in range(SEEDS):
            for embedder in (None, *embedders):
                name = f"appearance {group} {seed} {embedder}"
                path = KEPT / f"{name}.pickle"
                scores = kept(path, lambda g=group, s=seed, k=embedder: scores_of(g, s, k))
                row = {"group": group, "movie": seed, "embedder": embedder or "none"}
                rows.append(row | {"IDF1": scores["IDF1"], "division F1": scores["division F1"]})
    table = pd.DataFrame(rows)
    print(table.groupby(["group", "embedder"], sort=False)[["IDF1", "division F1"]].mean().round(4))
    settings = {
        "simulated": {k: {"options": o, "lost": lost} for k, (o, lost) in SIMULATED.items()},
        "movies of each": SEEDS,
        "embedders": embedders,
    }
    record = run_record("appearance.py", ["numpy", "scipy", "torch"], settings, start)
    write_table(table.round(5), record, "appearance")


if __name__ == "__main__":
    main()
