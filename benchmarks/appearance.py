"""What appearance adds to motion: DeepSORT + division with embeddings, minus the same without, on
simulated and on real movies. The table of chapter 61.

    python benchmarks/appearance.py        writes nbs/tables/appearance.csv and its run record
Needs the movies under $CELLTRACK_DATA. Per group of movies the mean difference in IDF1, with a 95 %
interval by bootstrap over its runs.
"""

import os
import time

os.environ.setdefault("OMP_NUM_THREADS", "2")

import numpy as np
import pandas as pd

from celltrack.compare import Case, damaged, judge, open_case
from celltrack.simulate import simulate_movie
from celltrack.track.deepsort import DeepSort
from celltrack.track.divide import Divide
from celltrack.track.reid import open_embedder
from tables import TOLERANCES, run_record, write_table

CROWD = {
    "frames": 30,
    "shape": (220, 220),
    "cells": 70,
    "speed": 8.0,
    "crowding": 0.8,
    "persistence": 2.0,
}
SIMULATED = {  # group: (options of simulate, share of cells lost)
    "simulated: crowded, fast, cells lost, distinct": (CROWD | {"texture": 0.5}, 0.1),
    "simulated: crowded, fast, cells lost, blurred": (
        CROWD | {"texture": 0.0, "blur": 3.0, "noise": 3.0},
        0.1,
    ),
    "simulated: sparse and slow, nothing lost": (
        {"frames": 30, "shape": (256, 256), "cells": 15, "speed": 1.0},
        0.0,
    ),
}
SEEDS, DAMAGES, DRAWS = 8, 3, 2000


def pair(case, embedder):
    "Return IDF1 with and without embeddings."
    embeddings = embedder.embed(case.movie, case.cells)
    scores = []
    for weight in (DeepSort().weight, 0):
        linker = Divide(DeepSort(weight=weight))
        scores.append(judge(case, linker.link(case.cells, case.movie, embeddings=embeddings)))
    return [s["IDF1"] for s in scores]


def runs(embedder):
    "Yield (group, run, IDF1 with, IDF1 without)."
    for group, (options, lost) in SIMULATED.items():
        for seed in range(SEEDS):
            movie, truth = simulate_movie(**options, seed=3000 + seed)
            case = damaged(Case("simulated", movie, truth, truth.labels), seed, lost, 0)
            yield group, seed, *pair(case, embedder)
    for name, tolerance in TOLERANCES.items():
        case = open_case(f"{name}/01_GT", tolerance=tolerance)
        yield "real, clean", name, *pair(case, embedder)
        for seed in range(DAMAGES):
            scores = pair(damaged(case, seed), embedder)
            yield "real, cells lost and invented", f"{name} {seed}", *scores


def main():
    start = time.perf_counter()
    table = pd.DataFrame(
        runs(open_embedder()), columns=["group", "run", "IDF1_with", "IDF1_without"]
    )
    rng = np.random.default_rng(0)
    summary = {}
    for group, rows in table.groupby("group", sort=False):
        d = (rows.IDF1_with - rows.IDF1_without).to_numpy()
        means = rng.choice(d, (DRAWS, len(d))).mean(1)
        summary[group] = d.mean(), *np.quantile(means, [0.025, 0.975])
    table[["difference", "low", "high"]] = [summary[g] for g in table.group]
    print(
        table.groupby("group", sort=False)[
            ["IDF1_with", "IDF1_without", "difference", "low", "high"]
        ]
        .mean()
        .round(4)
        .to_string()
    )
    settings = {
        "simulated": {k: {"options": o, "lost": lost} for k, (o, lost) in SIMULATED.items()},
        "seeds": SEEDS,
        "seeds of damage": DAMAGES,
        "draws": DRAWS,
    }
    record = run_record("appearance.py", ["numpy", "scipy", "torch"], settings, start)
    write_table(table.round(5), record, "appearance")


if __name__ == "__main__":
    main()
