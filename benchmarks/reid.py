"""Teach the eyes in the box to know cells again: weights, card, and the table of chapter 44.

    python benchmarks/reid.py RUNS

Trains in the folder RUNS, then writes celltrack/weights/reid.safetensors, reid.md,
nbs/tables/reid.csv and its run record. Needs the movies under $CELLTRACK_DATA. Two runs with one
recipe: the last quarter of every real movie held out, and everything (in the box). A run that was
stopped goes on when the command is given again.
"""

import argparse
import json
import os
import platform
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd

from celltrack import __version__
from celltrack.learn.store import save_model
from celltrack.movie import atomic
from celltrack.simulate import simulate_movie
from celltrack.track.reid import (
    Album,
    TrainReid,
    embed_crops,
    embedding_table,
    identify_cells,
    make_album,
    read_album,
    train_on_album,
)

MOVIES = "DIC-C2DH-HeLa", "Fluo-N2DH-SIM+", "Fluo-N2DL-HeLa", "PhC-C2DL-PSC"
SIMULATED, LOOKS = 12, ("nuclei", "dic", "phase")


def simulated(seed):
    "Return the Album of a simulated movie; numbers, speed and crowding differ."
    rng = np.random.default_rng(seed)
    movie, truth = simulate_movie(
        30,
        (256, 256),
        int(rng.integers(10, 60)),
        LOOKS[seed % 3],
        seed=900 + seed,
        speed=float(rng.choice([1.0, 3.0, 6.0])),
        crowding=float(rng.choice([0.85, 0.95])),
    )
    return make_album(movie, identify_cells(truth, truth.labels))


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path)
    parser.add_argument("--steps", type=int, default=4000)
    options = parser.parse_args()
    start = time.perf_counter()
    films, real = (
        [simulated(k) for k in range(SIMULATED)],
        {name: read_album(f"{name}/01") for name in MOVIES},
    )
    parts = {name: album.split() for name, album in real.items()}

    def plan(name):
        folder = options.runs / name
        return TrainReid([], folder, steps=options.steps, every=500, precision="bf16")

    learn, held = (
        Album.join([*(films if k == 0 else []), *(p[k] for p in parts.values())]) for k in (0, 1)
    )
    everything = Album.join([*films, *real.values()])
    runs = {
        "never saw these frames": train_on_album(plan("held"), learn, held, {"crops": len(learn)})[
            0
        ],
        "in the box": train_on_album(plan("all"), everything, None, {"crops": len(everything)})[0],
    }
    rows = []
    for name, (_, last) in parts.items():
        for who, eyes in runs.items():
            table = (
                embedding_table(last, {"network": embed_crops(eyes, last.crops)})
                .rename_axis("look")
                .reset_index()
            )
            rows.append(table.assign(movie=f"{name}/01", weights=who))
    table = pd.concat(rows)[
        ["movie", "weights", "look", "rank-1", "mAP", "EER", "local rank-1, 1", "local rank-1, 5"]
    ].round(4)
    print(table.to_string())
    here = Path(__file__).parents[1]
    record = {
        "command": "python benchmarks/reid.py RUNS",
        "steps": options.steps,
        "movies": MOVIES,
        "simulated": SIMULATED,
        "crops": {"held out": len(learn), "everything": len(everything)},
        "identities": {
            "held out": int(learn.identity.max()) + 1,
            "everything": int(everything.identity.max()) + 1,
        },
        "cpus": os.cpu_count(),
        "seconds": round(time.perf_counter() - start, 1),
        "versions": {
            "celltrack": __version__,
            "python": platform.python_version(),
            **{p: version(p) for p in ("numpy", "scipy", "torch")},
        },
    }
    weights = here / "celltrack/weights"
    save_model(
        runs["in the box"].half(),
        weights / "reid.safetensors",
        movies=list(MOVIES),
        crops=len(everything),
        steps=options.steps,
    )
    with atomic(weights / "reid.md") as path:
        path.write_text(
            card(table, record, sum(p.numel() for p in runs["in the box"].parameters()))
        )
    with atomic(here / "nbs/tables/reid.csv") as path:
        table.to_csv(path, index=False)
    with atomic(here / "nbs/tables/reid.json") as path:
        path.write_text(json.dumps(record, indent=2) + "\n")


def card(table, record, count):
    lines = [
        "| " + " | ".join("–" if v != v else str(v) for v in row) + " |"
        for row in table.itertuples(index=False)
    ]
    head = ["| " + " | ".join(table.columns) + " |", "|" + " --- |" * len(table.columns)]
    return (
        f"""# reid

The eyes of `celltrack.track.reid` and of DeepSORT: crops of 32 × 32 pixels, two typical diameters
wide, to unit vectors of 64 numbers. Architecture: `celltrack.track.reid.EmbeddingNet`, {count:,}
parameters, stored in half precision.

## Data

Cells of the first sequences of {", ".join(record["movies"])} of the Cell Tracking Challenge (silver
masks, Fluo-N2DH-SIM+: gold), named by the true tracks, and of {record["simulated"]} movies of
`celltrack.simulate`. No frame of the second sequences. The images belong to their providers
(celltrackingchallenge.net) and are not part of celltrack.

## Two runs

`{record["command"]}`, {record["steps"]} batches of 16 cells with 4 crops each, on CPUs, in
bfloat16, {record["seconds"]:.0f} s in all.

- the last quarter of every real movie held out, after a gap of three frames:
  {record["crops"]["held out"]} crops of {record["identities"]["held out"]} identities.
  The honest scores.
- everything, in the box:
  {record["crops"]["everything"]} crops of {record["identities"]["everything"]} identities.
  Its scores on the same frames only show that it has learned no less.

## Scores on the last quarter

rank-1, mAP, equal error rate (EER): against all cells of the movie at least three frames away.
Local rank-1: against the cells within three diameters, one and five frames later; "place" is the
distance alone.

"""
        + "\n".join(head + lines)
        + "\n"
    )


if __name__ == "__main__":
    main()
