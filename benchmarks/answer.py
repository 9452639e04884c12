"""Which tracker, on cells? The table of chapter 61: every tracker of the course, two rivals and the
oracle, on four movies of the challenge and on simulated ones in which cells die.

    python benchmarks/answer.py [--movies WORD ...] [--only WORD ...] [--skip WORD ...]

Writes nbs/tables/answer.csv, answer_events.csv and their run record. Needs the movies under
$CELLTRACK_DATA and `pip install laptrack`. Detections are the silver masks (Fluo-N2DH-SIM+: gold),
clean and damaged with several seeds. What is learned has not seen the movie in question: networks
and classifiers learn from the other three and from simulated movies. Each result is kept in
build/answer, so a killed run goes on; remove build/answer/rows to begin anew. --movies, --only:
those with one of these words in their name, --skip: trackers without them. The table holds what is
in build/answer; rows that are not there stay as they are.
"""

import argparse
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property, partial
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd

import divide
import gnn
import variants
from celltrack.cases import Case, damaged, rivals
from celltrack.compare import death_outcomes, division_outcomes
from celltrack.link.features import embedding_cosine
from celltrack.link.gnn import predict_links
from celltrack.link.graph import make_example
from celltrack.link.solve import GnnCosts, Solver, probability_costs
from celltrack.movie import atomic
from celltrack.pipeline import open_tracker
from celltrack.score.panel import score_tracks
from celltrack.simulate import simulate_movie
from celltrack.track.deepsort import DeepSort
from celltrack.track.divide import Divide
from celltrack.track.reid import Embedder
from celltrack.track.sort import Sort
from celltrack.tracks import Tracks
from reid import Together, held_out_embedder
from tables import ROOT, TABLES, TOLERANCES, run_record, with_stored, write_table

KEPT = ROOT / "build" / "answer"
SEEDS = 5  # of the damage, of each real movie
SCORES = ["LNK", "IDF1", "HOTA", "TRA", "BIO(1)", "division F1", "death F1"]
COUNTS = [f"{event} {count}" for event in ("division", "death") for count in ("TP", "FP", "FN")]
DEATHS = {  # kind of simulated movie in which cells die: options of `simulate_movie`
    "cells shrink and die": {},
    "cells burst": {"lysis": 1.0},
    "half burst, others shrink and recover": {"lysis": 0.5, "shrinking": 0.01},
}
SIMULATED = 4  # movies of each kind, each clean and damaged once


# ------------------------------------------------------------------ movies
def real_case(name):
    "Return the Case of a real movie."
    return divide.real(name).in_memory()


def simulated_case(kind, seed):
    "Return the Case of a simulated movie in which cells die."
    movie, truth = simulate_movie(
        48, (256, 256), 24, seed=700 + seed, cycle=32.0, death=0.01, **DEATHS[kind]
    )
    return Case(f"{kind} {seed}", movie, truth, truth.labels)


def movies():
    "Return {name: (kind, function that makes the Case, seeds of damage)}."
    found = {
        name: ("real", partial(real_case, name), range(SEEDS))
        for name in ("DIC-C2DH-HeLa", "Fluo-N2DH-SIM+", "Fluo-N2DL-HeLa")
    }
    for kind in DEATHS:
        for seed in range(SIMULATED):
            found[f"{kind} {seed}"] = (kind, partial(simulated_case, kind, seed), range(1))
    name = "PhC-C2DL-PSC"  # the largest comes last
    return found | {name: ("real", partial(real_case, name), range(SEEDS))}


# ------------------------------------------------------------------ what is learned
def division_weights(movie):
    "Return the weights of a classifier of divisions that never saw a movie."
    if movie not in TOLERANCES:  # other simulated movies than those that it learned from
        return None
    return divide.learn(ROOT / "build" / "divide", movie)


EMBEDDERS = {  # name: kind of embedder in reid.py
    "pixels": "pixels",
    "ReID": "reid",
    "contrastive": "contrast",
    "joined": "contrast+",  # with pixels and HOG
}


def unseen(movie):
    """Return the movie whose held-out networks are used.

    Simulated movies are others than the networks learned from, so any network will do.
    """
    return movie if movie in TOLERANCES else next(iter(TOLERANCES))


# ------------------------------------------------------------------ trackers
@dataclass(eq=False)
class Setting:
    "A movie in one state, and what several trackers share."

    movie: str
    state: str
    make: Callable[[], Case]

    @cached_property
    def case(self) -> Case:
        "The Case; its cells and overlaps are measured once."
        return self.make()

    @cached_property
    def known_embeddings(self) -> dict[str, np.ndarray]:
        "Embeddings of the cells, by the name of the embedder."
        return {}

    @cached_property
    def tracks(self) -> dict[str, Tracks]:
        "Results of linkers, by name, to which the step of chapter 43 is applied."
        return {}

    def embeddings(self, embedder):
        "Return the embeddings of the cells, one row for each; all embedders share the crops."
        if not self.known_embeddings:
            case = self.case
            embedders = [held_out_embedder(kind, unseen(self.movie)) for kind in EMBEDDERS.values()]
            nets = Together([embedder.net for embedder in embedders])
            rows = Embedder(nets).embed(case.movie, case.cells)
            parts = np.split(rows, np.cumsum(nets.sizes)[:-1], axis=1)
            self.known_embeddings.update(zip(EMBEDDERS, parts, strict=True))
        return self.known_embeddings[embedder]

    def link(self, name):
        "Return the Tracks of a tracker without the step."
        if name not in self.tracks:
            self.tracks[name] = LINKERS[name](self)
        return self.tracks[name]


@dataclass
class Given:
    "Linker: Tracks that are known."

    tracks: Tracks

    def link(self, cells, movie=None, labels=None):
        return self.tracks


def by(tracker):
    return lambda setting: tracker().link(setting.case.cells, setting.case.movie)


def with_embedder(tracker, embedder):
    def link(setting):
        embeddings = setting.embeddings(embedder)
        return tracker().link(setting.case.cells, setting.case.movie, embeddings=embeddings)

    return link


def divided(name):
    "Return a function: the tracker of this name, then the step of chapter 43."

    def link(setting):
        weights = division_weights(setting.movie)
        step = Divide(Given(setting.link(name)), weights)
        return step.link(setting.case.cells, setting.case.movie)

    return link


def graph(depth, embedder=None):
    "Return a function: the cheapest lineage by a network of links."

    def link(setting):
        case = setting.case
        variant = variants.Variant(depth, embedder and EMBEDDERS[embedder])
        net = variants.kept_network(variant, unseen(setting.movie))
        empty = (np.zeros(0, int), np.zeros(0, int))
        example = make_example(case.cells, empty, case.movie)
        if embedder:
            cosine = embedding_cosine(setting.embeddings(embedder), example.described.links)
            example = variants.with_cosines(example, cosine)
        found = predict_links(net, example.described)
        costs = probability_costs(found, example.described.links)
        return Solver(lambda cells, movie: costs).link(case.cells, case.movie)

    return link


def divided_by_masks(setting):
    "Return the Tracks of `sort-divide`, which sees the masks of the cells."
    step = Divide(weights=division_weights(setting.movie))
    return step.link(setting.case.cells, setting.case.movie, setting.case.labels)


def graph_by_masks(setting):
    "Return the Tracks of `gnn-divide`, which sees the masks of the cells."
    tracker = Solver(GnnCosts(gnn.net_without(unseen(setting.movie))))
    step = Divide(tracker, division_weights(setting.movie))
    return step.link(setting.case.cells, setting.case.movie, setting.case.labels)


GRAPH_EMBEDDERS = ("pixels", "contrastive")  # with which variants.py trains networks of links


def rival(name):
    return lambda s: rivals(s.case)[name].link(s.case.cells, s.case.movie)


PLAIN = {
    "nearest": by(lambda: open_tracker("nearest")),
    "global": by(lambda: open_tracker("global")),
    "IoU": by(lambda: open_tracker("iou")),
    "SORT as published": by(Sort.reference),
    "DeepSORT as published": with_embedder(DeepSort.reference, "ReID"),
    # DeepSORT without an embedder
    "SORT for cells": by(lambda: Sort(gate=DeepSort.gate, shrink=0)),
    **{f"DeepSORT, {name}": with_embedder(DeepSort, name) for name in EMBEDDERS},
}
LINKERS = {
    **PLAIN,
    "SORT, its own rule": by(Sort),
    **{f"{name} + division": divided(name) for name in PLAIN},
    "LP, no learning": by(Solver),
    "graph, depth 0": graph(0),
    "graph, depth 2": graph(2),
    **{f"graph, depth {d}, {name}": graph(d, name) for d in (0, 2) for name in GRAPH_EMBEDDERS},
    "SORT for cells + division, masks": divided_by_masks,
    "graph + division, masks": graph_by_masks,
    "LapTrack": rival("LapTrack, splitting"),
    "overlap": rival("overlap, dividing"),
    "oracle": rival("oracle"),
}


# ------------------------------------------------------------------ scored
def scored(setting, name):
    "Return the scores and the outcomes of a tracker."
    case = setting.case
    start = time.perf_counter()
    tracks = setting.link(name)
    seconds = time.perf_counter() - start
    found = Tracks(tracks.cells, tracks.lineage, case.labels, max_children=None)
    scores = score_tracks(case.truth, found, case.tables, official=True)
    row: dict[str, Any] = {score: scores[score] for score in SCORES}
    row |= {count: scores.counts[count] for count in COUNTS}
    outcomes = {
        "division": division_outcomes(case.truth, found, case.tables),
        "death": death_outcomes(case.truth, found, case.tables),
    }
    events = {k: table.outcome.value_counts().to_dict() for k, table in outcomes.items()}
    return {"row": row, "events": events, "seconds": round(seconds, 2)}


def path_of(movie, state, name):
    return KEPT / "rows" / f"{movie} {state} {name}.json"


def case_in(clean, state):
    "Return the Case of a state: clean, or the seed of its damage."
    return clean() if state == "clean" else damaged(clean(), int(state))


def compute(chosen_movies, only, skip, most):
    "Score all trackers that are not in build/answer yet."
    for movie, (_, make, seeds) in movies().items():
        if chosen_movies and not any(word in movie for word in chosen_movies):
            continue
        clean = cache(make)  # made when the first tracker is missing
        for state in ("clean", *map(str, seeds[:most])):
            setting = Setting(movie, state, partial(case_in, clean, state))
            for name in LINKERS:
                path = path_of(movie, setting.state, name)
                chosen = not only or any(word in name for word in only)
                skipped = any(word in name for word in skip)
                if skipped or not chosen or path.exists():
                    continue
                result = scored(setting, name)
                path.parent.mkdir(parents=True, exist_ok=True)
                with atomic(path) as new:
                    new.write_text(json.dumps(result))
                shown = {k: round(result["row"][k], 3) for k in ("IDF1", "division F1")}
                print(movie, setting.state, name, shown, result["seconds"], flush=True)


def collected():
    "Return (scores, events), tables of all that is in build/answer."
    rows, events = [], []
    for movie, (kind, _, seeds) in movies().items():
        for state in ("clean", *map(str, seeds)):
            for name in LINKERS:
                path = path_of(movie, state, name)
                if not path.exists():
                    continue
                result = json.loads(path.read_text())
                key = {
                    "kind": kind,
                    "movie": movie,
                    "detections": "clean" if state == "clean" else "damaged",
                    "seed": 0 if state == "clean" else int(state),
                    "tracker": name,
                }
                rows.append(key | result["row"])
                for event, counts in result["events"].items():
                    for outcome, count in counts.items():
                        events.append(key | {"event": event, "outcome": outcome, "count": count})
    return pd.DataFrame(rows).round(5), pd.DataFrame(events)


KEY = ["movie", "detections", "seed", "tracker"]


def with_earlier(table, name):
    "Return the table with the rows of the stored one of this name that it lacks, in order."
    whole = with_stored(table, pd.read_csv(TABLES / f"{name}.csv"), KEY)
    place = {key: k for k, key in enumerate([*movies(), *LINKERS])}
    return whole.sort_values(
        KEY, key=lambda x: x.map(place) if x.name in ("movie", "tracker") else x, kind="stable"
    )


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--movies", nargs="*", default=[])
    parser.add_argument("--seeds", type=int, default=SEEDS, help="of the damage, at most")
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--skip", nargs="*", default=[])
    parser.add_argument("--collect", action="store_true", help="compute nothing")
    options = parser.parse_args()
    if not options.collect:
        compute(options.movies, options.only, options.skip, options.seeds)
    scores, events = collected()
    computed = pd.MultiIndex.from_frame(scores[KEY])
    scores, events = with_earlier(scores, "answer"), with_earlier(events, "answer_events")
    earlier = scores[~pd.MultiIndex.from_frame(scores[KEY]).isin(computed)]
    settings = {
        "movies": list(TOLERANCES),
        "seeds of damage": SEEDS,
        "simulated": {"kinds": DEATHS, "movies of each": SIMULATED, "seeds of damage": 1},
        "trackers": list(LINKERS),
        "rows of an earlier run": earlier.groupby("tracker", sort=False).size().to_dict(),
    }
    packages = ["numpy", "scipy", "pandas", "torch", "laptrack"]
    record = run_record("answer.py", packages, settings)
    write_table(scores, record, "answer")
    write_table(events, record, "answer_events")


if __name__ == "__main__":
    main()
