"""Divisions: the weights of `celltrack.track.divide`, and the tables of chapters 43 and 47.

    python benchmarks/divide.py [--learn] [--cache FOLDER] [--movies NAME ...]

Writes nbs/tables/divide.csv, divide_calibration.csv and their run records. Needs the movies under
$CELLTRACK_DATA. Four methods are scored on each movie: the nearest mother within 1.5 sizes, one by
conserved area, and the learned step with two kinds of weights: the shipped ones, which saw all
four movies of the challenge, and those that never saw this movie nor anything made from it.
Calibration is measured with the latter. --learn: learn the shipped weights anew, too, and write
celltrack/weights/divide.*.
What was learned and scored is kept in the cache folder, so that a run that was stopped goes on;
--movies scores only those.
"""

import argparse
import os
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd
from safetensors.numpy import save_file

import tables
from celltrack.cases import Case, damaged, open_case, rows_of
from celltrack.lineage import lineage_graph
from celltrack.link.graph import nearest_kept, varied_bacteria, varied_movie
from celltrack.movie import atomic
from celltrack.shapes import read_shapes, select_shapes
from celltrack.simulate import course_movie
from celltrack.track.choice import learn_weights, true_hypotheses
from celltrack.track.divide import (
    Divide,
    MaskSort,
    MotherRule,
    choice_probabilities,
    find_hypotheses,
    shipped_weights,
    utilities,
)
from celltrack.track.sort import Sort
from celltrack.tracks import from_links
from tables import (
    MODALITIES,
    TOLERANCES,
    WEIGHTS,
    kept_for,
    markdown_rows,
    run_record,
    write_table,
)

SIMULATED = 12  # simulated movies
RODS = 6  # simulated movies of bacteria
WAYS = ((1.0, True), (1.25, True), (1.25, False))  # gate of the tracker; with masks or without
MOST = 20_000  # cells of a movie that is learned from in all ways; a larger one: see `thinned`
STRIDES = (2,)  # each second frame alone
LEARN_SEEDS = (20, 21)  # of the damage, to learn from
TEST_SEEDS = (0, 1, 2)  # of the damage, to test
TEST_SIMULATED = range(12, 15)  # simulated movies that no weights have seen
TEST_RODS = (100, 101)  # the same of bacteria
HIDDEN, STEPS, DECAY, SEEDS = 12, 300, 2.0, (0, 1)
SETTINGS = [SIMULATED, RODS, WAYS, MOST, STRIDES, LEARN_SEEDS, HIDDEN, STEPS, DECAY, SEEDS]
UNSEEN, SHIPPED = "never saw this movie", "shipped"
EDGES = (0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)  # of bins
TEMPERATURES = np.geomspace(0.4, 2.5, 85)  # among which the best is sought


def real(name):
    return open_case(f"{name}/01_GT", tolerance=TOLERANCES[name])


def simulated(seed):
    "Return a Case with cells that differ in number, speed, crowding and cycle."
    movie, truth = varied_movie(seed)
    return Case(f"simulated {MODALITIES[seed % 3]} {seed}", movie, truth, truth.labels)


def rods(seed):
    "Return a Case of `varied_bacteria`."
    movie, truth = varied_bacteria(seed)
    return Case(f"rods {seed}", movie, truth, truth.labels)


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

    As it is, damaged, and subsampled, each linked in all `WAYS`, in two rounds.
    """
    broken = [damaged(case, seed) for seed in LEARN_SEEDS]
    variants = [case, *broken, *(subsampled(case, stride) for stride in STRIDES)]
    variants, ways = thinned(case, variants)
    found = []
    for variant in variants:
        shapes = read_shapes(variant.labels, variant.cells, variant.movie)
        for gate, masks in ways:
            found += two_rounds(variant, gate, shapes if masks else None)
    return [(hypotheses, right) for hypotheses, right in found if len(right)]


def thinned(case, variants):
    "Return (variants, ways) to learn from: fewer of a large movie, or it would outweigh the rest."
    return (variants, WAYS) if len(case.cells) < MOST else (variants[:2], WAYS[1:])


def linked(case, gate, shapes):
    "Return the Tracks that the step starts from."
    known = {"gate": gate, "shrink": 0}
    linker = Sort(**known) if shapes is None else MaskSort(**known, shapes=shapes)
    return linker.link(case.cells, case.movie)


def hypotheses_of(tracks, case, shapes):
    "Return (Hypotheses, right rows) of the newborns of Tracks."
    known = None if shapes is None else select_shapes(shapes, tracks.cells)
    found = find_hypotheses(tracks, case.movie, shapes=known)
    return found, true_hypotheses(found, tracks.cells, case.truth, case.tables)


def two_rounds(case, gate, shapes):
    "Return the examples of newborns, then of those that are left when the right gaps are closed."
    tracks = linked(case, gate, shapes)
    found, right = hypotheses_of(tracks, case, shapes)
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
    return [(found, right), hypotheses_of(closed, case, shapes)]


def scored(case, weights):  # {kind: weights}
    "Return a row per tracker and state of the detections: scores, and counts of divisions."
    rows = []
    states = {"clean": case} | {f"damaged {seed}": damaged(case, seed) for seed in TEST_SEEDS}
    for state, variant in states.items():
        detections, _, seed = state.partition(" ")
        found = rows_of(variant, trackers_of(weights, variant))
        found = found.rename(columns={"tracker": "weights"})
        rows.append(found.assign(detections=detections, seed=seed))
    return pd.concat(rows).assign(movie=case.name)


def trackers_of(weights, case):
    "Return {name: linker}: two rules, and the learned step, all after the same SORT with masks."
    shapes = read_shapes(case.labels, case.cells, case.movie)
    linker = MaskSort(gate=Divide().linker.gate, shrink=0, shapes=shapes)
    rules = {
        "nearest within 1.5 sizes": MotherRule(linker, tolerance=np.inf, imbalance=np.inf),
        "conserved area": MotherRule(linker),
    }
    return rules | {kind: Divide(weights=chosen) for kind, chosen in weights.items()}


def choices(case, weights):
    "Return [(utility, owner, is right)] of newborns, clean and damaged, by weights given."
    found = []
    for variant in (case, *(damaged(case, seed) for seed in TEST_SEEDS)):
        shapes = read_shapes(variant.labels, variant.cells, variant.movie)
        tracks = linked(variant, Divide(weights=weights).linker.gate, shapes)
        hypotheses, right = hypotheses_of(tracks, variant, shapes)
        rows = np.isin(np.arange(len(hypotheses.owner)), right)
        found.append((utilities(hypotheses, weights), hypotheses.owner, rows))
    return found


def probabilities(found, temperature=1.0):
    "Return (p, is right) of all hypotheses of one movie."
    p = [choice_probabilities(u / temperature, owner, owner.max() + 1) for u, owner, _ in found]
    return np.concatenate(p), np.concatenate([right for *_, right in found])


def mean_loss(found, temperature):
    "Return the mean of -log p of the right hypotheses."
    p, right = probabilities(found, temperature)
    return -np.log(np.maximum(p[right], 1e-12)).mean()


def calibration(found):  # {movie: what `choices` gives}
    "Return a row per movie, temperature and bin; temperatures are fitted to the other movies."
    loss = {name: [mean_loss(f, t) for t in TEMPERATURES] for name, f in found.items()}
    rows = []
    for name, own in found.items():
        others = np.mean([losses for other, losses in loss.items() if other != name], axis=0)
        fitted = TEMPERATURES[others.argmin()]
        for kind, temperature in (("as learned", 1.0), ("fitted to the others", fitted)):
            p, right = probabilities(own, temperature)
            where = np.digitize(p, EDGES)
            table = pd.DataFrame({"p": p, "right": right, "variance": p * (1 - p)})
            sums = table.groupby(where).sum().assign(n=np.bincount(where)[np.unique(where)])
            sums = sums.rename_axis("bin").reset_index()
            common = {"movie": name, "kind": kind, "temperature": temperature}
            rows.append(sums.assign(**common, loss=mean_loss(own, temperature)))
    return pd.concat(rows)


def kept(cache, name, make):
    "Return what `make` gives, from the cache folder if it was made with these settings before."
    folder = cache and kept_for(cache, SETTINGS)
    return tables.kept(folder and folder / f"{name.replace('/', ' ')}.pickle", make)


def learn(cache, left_out=None):
    "Return weights learned from all movies but one; with a cache they are learned once."
    names = [name for name in [*made_movies(), *TOLERANCES] if name != left_out]
    return kept(
        cache,
        f"classifier without {left_out or 'none'}",
        lambda: learn_from(sum((kept_examples(cache, name) for name in names), [])),
    )


def made_movies():
    "Return the names of the simulated movies that are learned from."
    return [f"simulated {k}" for k in range(SIMULATED)] + [f"rods {k}" for k in range(RODS)]


def kept_examples(cache, name):
    "Return the examples of a movie by its name, from the cache folder if they were made before."
    return kept(cache, f"examples {name}", lambda: examples(case_of(name)))


def learn_from(found):
    "Return weights learned from examples."
    return learn_weights(found, HIDDEN, STEPS, decay=DECAY, seeds=SEEDS)


def case_of(name):
    "Return the Case of a real movie, of `simulated 3` or of `rods 3`."
    kind, _, seed = name.partition(" ")
    made = {"simulated": simulated, "rods": rods}
    return made[kind](int(seed)) if kind in made else real(name)


def course_case():
    "Return the Case of the course's movie."
    movie, truth = course_movie()
    return Case("course", movie, truth, truth.labels)


def movies():
    "Return {name: function that makes the Case}."
    found = {"course": course_case}
    names = [f"simulated {k}" for k in TEST_SIMULATED] + [f"rods {k}" for k in TEST_RODS]
    return found | {name: lambda name=name: case_of(name) for name in [*names, *TOLERANCES]}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--learn", action="store_true", help="learn the shipped weights anew")
    parser.add_argument("--cache", type=Path, help="folder of what was learned and scored")
    parser.add_argument("--movies", nargs="+", help="only these, and no table")
    given = parser.parse_args()
    start = time.perf_counter()
    box = learn(given.cache) if given.learn else shipped_weights()
    rows, found = [], {}
    for name, make in movies().items():
        if name not in (given.movies or movies()):
            continue
        unseen = box
        if name in TOLERANCES:
            unseen = learn(given.cache, name)
        weights = {SHIPPED: box, UNSEEN: unseen} if name in TOLERANCES else {UNSEEN: unseen}

        def results(make=make, weights=weights):
            case = make()
            return scored(case, weights), choices(case, weights[UNSEEN])

        scores, found[name] = kept(given.cache, f"divide {name}", results)
        rows.append(scores)
        print(scores.groupby(["weights", "detections"])["division F1"].mean(), flush=True)
    if given.movies:
        return
    counts = ["division TP", "division FP", "division FN"]
    columns = [
        "movie",
        "weights",
        "detections",
        "seed",
        "LNK",
        "BIO",
        "IDF1",
        "division F1",
    ]
    table = pd.concat(rows)[columns + counts].round(4)
    settings = {
        "movies": list(TOLERANCES),
        "simulated": SIMULATED,
        "simulated, to test": list(TEST_SIMULATED),
        "rods": RODS,
        "rods, to test": list(TEST_RODS),
        "gates": [gate for gate, _ in WAYS],
        "with masks": [masks for _, masks in WAYS],
        "cells of a large movie": MOST,
        "strides": STRIDES,
        "hidden": HIDDEN,
        "steps": STEPS,
        "decay": DECAY,
        "seeds": SEEDS,
        "seeds of damage, to learn from": LEARN_SEEDS,
        "seeds of damage, to test": TEST_SEEDS,
    }
    record = run_record(
        "divide.py --learn" if given.learn else "divide.py",
        ["numpy", "scipy", "torch"],
        settings,
        start,
    )
    write_table(table, record, "divide")
    write_table(calibration(found).round(6), record, "divide_calibration")
    if given.learn:
        with atomic(WEIGHTS / "divide.safetensors") as path:
            save_file(box, path)
        with atomic(WEIGHTS / "divide.md") as path:
            path.write_text(card(box, table, record))


def card(weights, table, record):
    mean = table.groupby(["movie", "weights", "detections"], sort=False).mean(numeric_only=True)
    ways = [f"{gate} {'with' if masks else 'without'} masks" for gate, masks in WAYS]
    return (
        f"""# divide

The network of `celltrack.track.divide`: for each newborn track it tells how likely the hypotheses
"child of this cell", "that cell back from a gap" and "from nowhere" are. Three networks with
{HIDDEN * len(SEEDS)} tanh units each,
{sum(w.size for k, w in weights.items() if k.split(".")[1] not in ("mean", "scale"))} parameters,
learned by `{record["command"]}`.

## Data

Newborns of {record["simulated"]} movies of `celltrack.simulate`, of {record["rods"]} of
`celltrack.microscopes.varied_rods` and of the first sequences of
{", ".join(record["movies"])} of the Cell Tracking Challenge (silver masks,
Fluo-N2DH-SIM+: gold), each as it is, twice with 5 % of the cells lost and 2 % invented, and with
every second frame alone; linked with these gates, in cell sizes: {", ".join(ways)}.
A movie of {MOST:,} cells or more only as it is and once with errors, linked with
{", ".join(ways[1:])}.
No frame of the second sequences. The images belong to their providers (celltrackingchallenge.net)
and are not part of celltrack.

## Scores

"shipped" saw the movie; "never saw this movie" is a network that learned from all the others.
Only the second is a fair test of a new kind of movie. Damaged: mean over
{len(record["seeds of damage, to test"])} seeds not used to learn. BIO uses the challenge's
tolerance of each movie, division F1 allows one frame.

"""
        + markdown_rows(mean.round(4).reset_index())
        + "\n"
    )


if __name__ == "__main__":
    main()
