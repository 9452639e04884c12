"""Learn what a mother looks like: the weights of `celltrack.track.divide`, their card, and the
table of chapter 43.

    python benchmarks/divide.py

Writes celltrack/weights/divide.safetensors, divide.md, nbs/tables/divide.csv and its run record.
Needs the movies under $CELLTRACK_DATA. Two kinds of weights are judged on each real movie: those in
the box, which saw all of them, and those that never saw this movie nor anything made from it.
"""

import json
import os
import platform
import time
from importlib.metadata import version
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd
from safetensors.numpy import save_file

from celltrack import __version__
from celltrack.compare import Case, damaged, open_case, rows_of
from celltrack.lineage import lineage_graph
from celltrack.movie import atomic
from celltrack.simulate import simulate_movie
from celltrack.track.divide import Divide, find_hypotheses, learn_weights, true_hypotheses
from celltrack.track.sort import Sort
from celltrack.tracks import from_links

MOVIES = {
    "DIC-C2DH-HeLa": 1,
    "Fluo-N2DH-SIM+": 3,
    "Fluo-N2DL-HeLa": 1,
    "PhC-C2DL-PSC": 2,
}  # tolerance of the challenge, in frames
LOOKS, SIMULATED, GATES, STRIDES, LESSONS, EXAMS = (
    ("nuclei", "dic", "phase"),
    12,
    (1.0, 1.25),
    (2,),
    (20, 21),
    (0, 1, 2),
)
HIDDEN, STEPS, DECAY, SEEDS = 12, 400, 2.0, (0, 1)


def held(movie):
    return movie.like(np.stack(list(movie)), first=0)


def real(name):
    return open_case(f"{name}/01_GT", tolerance=MOVIES[name])


def simulated(seed):
    "Return a Case with cells that differ in number, speed, crowding and cycle."
    rng, look = np.random.default_rng(seed), LOOKS[seed % 3]
    made = {
        "cells": int(rng.integers(10, 70)),
        "cycle": float(rng.integers(18, 45)),
        "speed": float(rng.choice([1.0, 2.0, 4.0, 7.0])),
        "crowding": float(rng.choice([0.85, 0.95])),
    }
    movie, truth = simulate_movie(40, (300, 300), modality=look, seed=500 + seed, **made)
    return Case(f"simulated {look} {seed}", movie, truth, truth.labels)


def thinned(case, stride):
    """Return the Case with each stride-th frame only: cells move further, and divisions take less
    time."""
    g, frames = lineage_graph(case.truth), range(0, len(case.labels), stride)
    keep, before = g.frame % stride == 0, np.full(len(g.frame), -1)
    before[g.dst] = g.src
    while (gone := (before >= 0) & ~keep[before]).any():
        before = np.where(gone, before[before], before)
    rows = np.flatnonzero(keep)
    place = np.cumsum(keep) - 1
    dst = rows[before[rows] >= 0]
    cells = (
        case.truth.cells.set_index(["frame", "label"])
        .loc[list(zip(g.frame[rows], g.label[rows], strict=True))]
        .reset_index()
    )

    def some(movie):
        return movie.like(np.stack([movie[t] for t in frames]), first=0)

    truth = from_links(
        cells.drop(columns="track").assign(frame=cells.frame // stride),
        place[before[dst]],
        place[dst],
        some(case.truth.labels),
        max_children=None,
    )
    return Case(case.name, some(case.movie), truth, some(case.labels))


def examples(case):
    """Return [(Hypotheses, right rows)] of a Case as it is, damaged, and thinned, each linked with
    two gates, in two rounds."""
    found = []
    variants = [
        case,
        *(damaged(case, seed) for seed in LESSONS),
        *(thinned(case, k) for k in STRIDES),
    ]
    for variant in variants:
        for gate in GATES:
            found += two_rounds(
                variant, Sort(gate=gate, shrink=0).link(variant.cells, variant.movie)
            )
    return found


def two_rounds(case, tracks):
    "Return the examples of newborns, then of those that are left when the right gaps are closed."
    found = find_hypotheses(tracks, case.movie)
    right = true_hypotheses(found, tracks.cells, case.truth, case.tables)
    first, last = len(found.divisions[0]), len(found.owner) - len(found.newborns)
    gaps = right[(right >= first) & (right < last)] - first
    gaps = gaps[np.unique(found.gaps[0][gaps], return_index=True)[1]]
    ended, newborn = (x[gaps] for x in found.gaps)
    src, dst = tracks.links()
    closed = from_links(
        tracks.cells.drop(columns="track"),
        np.r_[src, found.context.row[ended]],
        np.r_[dst, found.context.row[newborn]],
        movie=case.movie,
    )
    again = find_hypotheses(closed, case.movie)
    right_again = true_hypotheses(again, closed.cells, case.truth, case.tables)
    return [(found, right), (again, right_again)]


def judged(case, weights, who):
    "Return rows of scores, clean and damaged, the latter the mean over several seeds."
    tracker = {"SORT + division": Divide(weights=weights)}
    clean = rows_of(case, tracker)
    broken = pd.concat([rows_of(damaged(case, seed), tracker) for seed in EXAMS])
    rows = pd.concat(
        [
            clean.assign(detections="clean"),
            broken.groupby("tracker", as_index=False)
            .mean(numeric_only=True)
            .assign(detections="damaged"),
        ]
    )
    return rows.assign(movie=case.name, weights=who)


def main():
    start = time.perf_counter()
    lessons = {}
    for case in [*map(simulated, range(SIMULATED)), *map(real, MOVIES)]:
        lessons[case.name] = [(c, r) for c, r in examples(case) if len(r)]
        print(case.name, sum(len(r) for _, r in lessons[case.name]), "newborns", flush=True)

    def teach(left_out):
        taught = [e for name, some in lessons.items() if name != left_out for e in some]
        return learn_weights(taught, HIDDEN, STEPS, decay=DECAY, seeds=SEEDS)

    weights, rows = teach(None), []
    for name in MOVIES:
        case = real(name)
        for who, mine in (("in the box", weights), ("never saw this movie", teach(case.name))):
            rows.append(judged(case, mine, who))
            print(rows[-1].to_string(), flush=True)
    table = pd.concat(rows)[
        ["movie", "weights", "detections", "LNK", "BIO", "IDF1", "division F1"]
    ].round(4)
    here = Path(__file__).parents[1]
    record = {
        "command": "python benchmarks/divide.py",
        "movies": list(MOVIES),
        "simulated": SIMULATED,
        "gates": GATES,
        "strides": STRIDES,
        "newborns": {name: sum(len(r) for _, r in some) for name, some in lessons.items()},
        "hidden": HIDDEN,
        "steps": STEPS,
        "decay": DECAY,
        "seeds": SEEDS,
        "damage of lessons": LESSONS,
        "damage of exams": EXAMS,
        "cpus": os.cpu_count(),
        "seconds": round(time.perf_counter() - start, 1),
        "versions": {
            "celltrack": __version__,
            "python": platform.python_version(),
            **{p: version(p) for p in ("numpy", "scipy", "torch")},
        },
    }
    with atomic(here / "celltrack/weights/divide.safetensors") as path:
        save_file(weights, path)
    with atomic(here / "celltrack/weights/divide.md") as path:
        path.write_text(card(weights, table, record))
    with atomic(here / "nbs/tables/divide.csv") as path:
        table.to_csv(path, index=False)
    with atomic(here / "nbs/tables/divide.json") as path:
        path.write_text(json.dumps(record, indent=2) + "\n")


def card(weights, table, record):
    newborns = record["newborns"]
    lines = ["| " + " | ".join(map(str, row)) + " |" for row in table.itertuples(index=False)]
    head = ["| " + " | ".join(table.columns) + " |", "|" + " --- |" * len(table.columns)]
    return (
        f"""# divide

The network of `celltrack.track.divide`: for each newborn track it tells how likely the hypotheses
"child of this cell", "that cell back from a gap" and "from nowhere" are. Three networks with
{HIDDEN * len(SEEDS)} tanh units each,
{sum(w.size for k, w in weights.items() if k.split(".")[1] not in ("mean", "scale"))} parameters,
learned by `{record["command"]}` in {record["seconds"]:.0f} s on {record["cpus"]} CPUs.

## Data

{sum(newborns.values())} newborns: of {record["simulated"]} movies of `celltrack.simulate` and of
the first sequences of {", ".join(record["movies"])} of the Cell Tracking Challenge (silver masks,
Fluo-N2DH-SIM+: gold), each as it is, twice with 5 % of the cells lost and 2 % invented, and with
every second frame alone; linked with gates of {" and ".join(map(str, record["gates"]))} cell sizes.
No frame of the second sequences. The images belong to their providers (celltrackingchallenge.net)
and are not part of celltrack.

## Scores

"in the box" saw the movie; "never saw this movie" is a network that learned from all the others.
Only the second is a fair test of a new kind of movie. Damaged: mean over
{len(record["damage of exams"])} seeds that no lesson used. BIO uses the challenge's tolerance of
each movie, division F1 allows one frame.

"""
        + "\n".join(head + lines)
        + "\n"
    )


if __name__ == "__main__":
    main()
