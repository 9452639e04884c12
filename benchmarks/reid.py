"""Train the embedder that ships: weights, card, and the table of chapter 44.

    python benchmarks/reid.py RUNS

Trains in the folder RUNS, then writes celltrack/weights/reid.safetensors, reid.md,
nbs/tables/reid.csv and its run record. Needs the movies under $CELLTRACK_DATA. Two runs with one
recipe: the last quarter of every real movie held out, and everything (in the box). A run that was
stopped goes on when the command is given again.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import pandas as pd

from celltrack.learn.train import save_model
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
from tables import MODALITIES, TOLERANCES, WEIGHTS, markdown_rows, run_record, write_table

MOVIES = list(TOLERANCES)
SIMULATED = 12  # simulated movies
COLUMNS = ["movie", "weights", "description", "rank-1", "mAP", "EER"]
COLUMNS += ["local rank-1, 1", "local rank-1, 5"]


def simulated(seed):
    "Return the Album of a simulated movie; numbers, speed and crowding differ."
    rng = np.random.default_rng(seed)
    movie, truth = simulate_movie(
        30,
        (256, 256),
        int(rng.integers(10, 60)),
        MODALITIES[seed % 3],
        seed=900 + seed,
        speed=float(rng.choice([1.0, 3.0, 6.0])),
        crowding=float(rng.choice([0.85, 0.95])),
    )
    return make_album(movie, identify_cells(truth, truth.labels))


def scores_of(networks, albums):
    "Return the table of networks {name: EmbeddingNet} on Albums {movie: Album}."
    rows = []
    for movie, album in albums.items():
        for weights, net in networks.items():
            table = embedding_table(album, {"network": embed_crops(net, album.crops)})
            table = table.rename_axis("description").reset_index()
            rows.append(table.assign(movie=f"{movie}/01", weights=weights))
    return pd.concat(rows)[COLUMNS].round(4)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path)
    parser.add_argument("--steps", type=int, default=4000)
    options = parser.parse_args()
    start = time.perf_counter()
    made = [simulated(k) for k in range(SIMULATED)]
    real = {name: read_album(f"{name}/01") for name in MOVIES}
    parts = {name: album.split() for name, album in real.items()}
    learn = Album.join([*made, *(part[0] for part in parts.values())])
    held_out = Album.join([part[1] for part in parts.values()])
    everything = Album.join([*made, *real.values()])

    def train(folder, album, held_out):
        command = TrainReid([], options.runs / folder, steps=options.steps, every=500)
        command.precision = "bf16"
        return train_on_album(command, album, held_out, {"crops": len(album)})[0]

    shipped = train("all", everything, None)
    networks = {"never saw these frames": train("held", learn, held_out), "in the box": shipped}
    table = scores_of(networks, {name: part[1] for name, part in parts.items()})
    print(table.to_string())
    settings = {
        "steps": options.steps,
        "movies": MOVIES,
        "simulated": SIMULATED,
        "crops": {"held out": len(learn), "everything": len(everything)},
        "identities": {
            "held out": int(learn.identity.max()) + 1,
            "everything": int(everything.identity.max()) + 1,
        },
    }
    record = run_record("reid.py RUNS", ["numpy", "scipy", "torch"], settings, start)
    notes = {"movies": MOVIES, "crops": len(everything), "steps": options.steps}
    save_model(shipped.half(), WEIGHTS / "reid.safetensors", **notes)
    with atomic(WEIGHTS / "reid.md") as path:
        path.write_text(card(table, record, sum(p.numel() for p in shipped.parameters())))
    write_table(table, record, "reid")


def card(table, record, count):
    return (
        f"""# reid

The embedder of `celltrack.track.reid` and of DeepSORT: crops of 32 × 32 pixels, two typical
diameters wide, to unit vectors of 64 numbers.
Architecture: `celltrack.track.reid.EmbeddingNet`, {count:,}
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
Local rank-1: against the cells within three diameters, one and five frames later; "position"
is the distance alone.

"""
        + markdown_rows(table)
        + "\n"
    )


if __name__ == "__main__":
    main()
