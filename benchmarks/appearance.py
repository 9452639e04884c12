"""What appearance adds to motion: DeepSORT + division with looks, minus the same without, on
simulated and on real movies. The table of chapter 61.

    python benchmarks/appearance.py        writes nbs/tables/appearance.csv and its run record
Needs the movies under $CELLTRACK_DATA. Per group of movies the mean difference in IDF1, with a 95 %
interval by bootstrap over its runs.
"""

import json
import os
import platform
import time
from importlib.metadata import version
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "2")

import numpy as np
import pandas as pd

from celltrack import __version__
from celltrack.compare import Case, damaged, judge, open_case
from celltrack.movie import atomic
from celltrack.simulate import simulate_movie
from celltrack.track.deepsort import DeepSort
from celltrack.track.divide import Divide
from celltrack.track.reid import open_embedder

MOVIES = {
    "DIC-C2DH-HeLa": 1,
    "Fluo-N2DH-SIM+": 3,
    "Fluo-N2DL-HeLa": 1,
    "PhC-C2DL-PSC": 2,
}  # tolerance of the challenge, in frames
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


def pair(case, eyes):
    "Return IDF1 with and without looks."
    features = eyes.embed(case.movie, case.cells)
    return [
        judge(case, Divide(DeepSort(weight=w)).link(case.cells, case.movie, embeddings=features))[
            "IDF1"
        ]
        for w in (DeepSort().weight, 0)
    ]


def runs(eyes):
    "Yield (group, run, IDF1 with, IDF1 without)."
    for group, (options, lost) in SIMULATED.items():
        for seed in range(SEEDS):
            movie, truth = simulate_movie(**options, seed=3000 + seed)
            yield (
                group,
                seed,
                *pair(damaged(Case("simulated", movie, truth, truth.labels), seed, lost, 0), eyes),
            )
    for name, tolerance in MOVIES.items():
        case = open_case(f"{name}/01_GT", tolerance=tolerance)
        yield "real, clean", name, *pair(case, eyes)
        for seed in range(DAMAGES):
            yield (
                "real, cells lost and invented",
                f"{name} {seed}",
                *pair(damaged(case, seed), eyes),
            )


def main():
    start = time.perf_counter()
    table = pd.DataFrame(
        runs(open_embedder()), columns=["group", "run", "IDF1_with", "IDF1_without"]
    )
    rng, summary = np.random.default_rng(0), {}
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
    out = Path(__file__).parents[1] / "nbs" / "tables"
    record = {
        "command": "python benchmarks/appearance.py",
        "simulated": {k: {"options": o, "lost": lost} for k, (o, lost) in SIMULATED.items()},
        "seeds": SEEDS,
        "seeds of damage": DAMAGES,
        "draws": DRAWS,
        "cpus": os.cpu_count(),
        "seconds": round(time.perf_counter() - start, 1),
        "versions": {
            "celltrack": __version__,
            "python": platform.python_version(),
            **{p: version(p) for p in ("numpy", "scipy", "torch")},
        },
    }
    with atomic(out / "appearance.csv") as path:
        table.round(5).to_csv(path, index=False)
    with atomic(out / "appearance.json") as path:
        path.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
