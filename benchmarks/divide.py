"""Learn to tell mothers: the weights of `celltrack.track.divide`, their card, and the table of
chapter 43.

    python benchmarks/divide.py

Writes celltrack/weights/divide.safetensors, divide.md, nbs/tables/divide.csv and its run record.
Needs the movies under $CELLTRACK_DATA. Two kinds of weights are judged on each real movie: those in
the box, which saw all of them, and those that never saw this movie nor anything made from it.
"""

import os
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd
from safetensors.numpy import save_file

from celltrack.compare import Case, damaged, open_case, rows_of
from celltrack.lineage import lineage_graph
from celltrack.link.graph import nearest_kept, varied_movie
from celltrack.movie import atomic
from celltrack.track.choice import learn_weights, true_hypotheses
from celltrack.track.divide import Divide, find_hypotheses
from celltrack.track.sort import Sort
from celltrack.tracks import from_links
from tables import MODALITIES, TOLERANCES, WEIGHTS, markdown_rows, run_record, write_table

SIMULATED = 12  # simulated movies
GATES = (1.0, 1.25)  # of the tracker whose errors are learned from
STRIDES = (2,)  # each second frame alone
LEARN_SEEDS = (20, 21)  # of the damage, to learn from
TEST_SEEDS = (0, 1, 2)  # of the damage, to test
HIDDEN, STEPS, DECAY, SEEDS = 12, 400, 2.0, (0, 1)


def real(name):
    return open_case(f"{name}/01_GT", tolerance=TOLERANCES[name])


def simulated(seed):
    "Return a Case with cells that differ in number, speed, crowding and cycle."
    movie, truth = varied_movie(seed)
    return Case(f"simulated {MODALITIES[seed % 3]} {seed}", movie, truth, truth.labels)


def subsampled(case, stride):
    """Return the Case with each stride-th frame only.

    Cells move further, and divisions take less time.
    """
    graph = lineage_graph(case.truth)
    frames = range(0, len(case.labels), stride)
    keep = graph.frame % stride == 0
    mother = np.full(len(graph.frame), -1)
    mother[graph.dst] = graph.src
    mother = nearest_kept(mother, keep)
    rows = np.flatnonzero(keep)
    new_row = np.cumsum(keep) - 1
    dst = rows[mother[rows] >= 0]
    named = case.truth.cells.drop(columns="track").set_index(["frame", "label"])
    cells = named.loc[list(zip(graph.frame[rows], graph.label[rows], strict=True))].reset_index()
    cells["frame"] //= stride

    def of_frames(movie):
        return movie.like(np.stack([movie[t] for t in frames]), first=0)

    src, labels = mother[dst], of_frames(case.truth.labels)
    truth = from_links(cells, new_row[src], new_row[dst], labels, max_children=None)
    return Case(case.name, of_frames(case.movie), truth, of_frames(case.labels))


def examples(case):
    """Return [(Hypotheses, right rows)] of a Case.

    As it is, damaged, and subsampled, each linked with two gates, in two rounds.
    """
    found = []
    broken = [damaged(case, seed) for seed in LEARN_SEEDS]
    for variant in (case, *broken, *(subsampled(case, stride) for stride in STRIDES)):
        for gate in GATES:
            tracks = Sort(gate=gate, shrink=0).link(variant.cells, variant.movie)
            found += two_rounds(variant, tracks)
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


def judged(case, weights, kind):
    "Return rows of scores, clean and damaged, the latter the mean over several seeds."
    tracker = {"SORT + division": Divide(weights=weights)}
    clean = rows_of(case, tracker)
    broken = pd.concat([rows_of(damaged(case, seed), tracker) for seed in TEST_SEEDS])
    mean = broken.groupby("tracker", as_index=False).mean(numeric_only=True)
    rows = [clean.assign(detections="clean"), mean.assign(detections="damaged")]
    return pd.concat(rows).assign(movie=case.name, weights=kind)


def main():
    start = time.perf_counter()
    learn_from = {}
    for case in [*map(simulated, range(SIMULATED)), *map(real, TOLERANCES)]:
        found = [(hypotheses, right) for hypotheses, right in examples(case) if len(right)]
        learn_from[case.name] = found
        print(case.name, sum(len(right) for _, right in found), "newborns", flush=True)

    def learned(left_out=None):
        used = [found for name, found in learn_from.items() if name != left_out]
        return learn_weights(sum(used, []), HIDDEN, STEPS, decay=DECAY, seeds=SEEDS)

    weights, rows = learned(), []
    for case in map(real, TOLERANCES):
        kinds = {"in the box": weights, "never saw this movie": learned(case.name)}
        for kind, chosen in kinds.items():
            rows.append(judged(case, chosen, kind))
            print(rows[-1].to_string(), flush=True)
    columns = ["movie", "weights", "detections", "LNK", "BIO", "IDF1", "division F1"]
    table = pd.concat(rows)[columns].round(4)
    settings = {
        "movies": list(TOLERANCES),
        "simulated": SIMULATED,
        "gates": GATES,
        "strides": STRIDES,
        "newborns": {
            name: sum(len(right) for _, right in found) for name, found in learn_from.items()
        },
        "hidden": HIDDEN,
        "steps": STEPS,
        "decay": DECAY,
        "seeds": SEEDS,
        "seeds of damage, to learn from": LEARN_SEEDS,
        "seeds of damage, to test": TEST_SEEDS,
    }
    record = run_record("divide.py", ["numpy", "scipy", "torch"], settings, start)
    with atomic(WEIGHTS / "divide.safetensors") as path:
        save_file(weights, path)
    with atomic(WEIGHTS / "divide.md") as path:
        path.write_text(card(weights, table, record))
    write_table(table, record, "divide")


def card(weights, table, record):
    newborns = record["newborns"]
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
{len(record["seeds of damage, to test"])} seeds not used to learn. BIO uses the challenge's
tolerance of each movie, division F1 allows one frame.

"""
        + markdown_rows(table)
        + "\n"
    )


if __name__ == "__main__":
    main()
