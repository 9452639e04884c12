"""What do messages, and embeddings, add to the network of links? Networks of several depths, with
and without the cosine of two cells' embeddings, on movies that they never saw; and are their
probabilities right?

    python benchmarks/variants.py [EMBEDDER ...]

Writes nbs/tables/variants.csv, calibration.csv and their run records. Needs the movies under
$CELLTRACK_DATA. Each real movie is left out once: networks learn from the three others and from
simulated movies. Beside them stand one cost with one threshold, chosen on the same training movies,
and the costs by hand of chapter 54. Networks that chapter 53 compares are trained twice. About an
hour and a half on one core; everything is kept in build/gnn, so a killed run goes on.
"""

import sys
import time
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.optimize import isotonic_regression

import divide
import gnn
import reid
from celltrack.cases import damaged, score_case
from celltrack.link.features import EDGE_FEATURES, embedding_cosine
from celltrack.link.gnn import (
    LinkNet,
    LinkProbabilities,
    TrainGnn,
    WindowSlicer,
    daughter_loss,
    mother_loss,
    predict_links,
    predict_windows,
    train_link_net,
)
from celltrack.link.graph import Example, augmented_examples, make_example, simulated_links
from celltrack.link.solve import Solver, distance_costs, probability_costs
from celltrack.track.reid import open_embedder
from celltrack.tracks import from_links
from gnn import MOVIES, OFTEN, SIMULATED, kept
from tables import run_record, write_table

WIDTH, STEPS = 32, 800
TRAINING_SEEDS = (0, 1)  # the second: no embedder and contrast, at EMBEDDER_DEPTHS
STATES = ("clean", 0, 1, 2)  # seeds of the damage
FRAMES = {"PhC-C2DL-PSC": 60}  # scored of a movie, from its first; else all
DEPTHS = (0, 1, 2)  # without embeddings
EMBEDDER_DEPTHS = (0, 2)  # with embeddings
ONE_COST = [f.name for f in EDGE_FEATURES].index("distance to flow")
THRESHOLDS = np.geomspace(0.1, 3, 40)  # of one cost, in cell sizes
TEMPERATURES = np.geomspace(0.4, 4, 25)  # as in `calibrate`
BINS = np.array([0, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99, 1])  # of probabilities, as in chapter 53


@dataclass(frozen=True)
class Variant:
    "How deep a network is, which embedder it uses, and where its training begins."

    depth: int
    embedder: str | None = None
    seed: int = 0

    @property
    def name(self) -> str:
        "As in the table."
        return f"depth {self.depth}" + (f", {self.embedder}" if self.embedder else "")

    @property
    def options(self) -> TrainGnn:
        "Of the training."
        return TrainGnn(
            [], None, width=WIDTH, depth=self.depth, steps=STEPS, every=STEPS, seed=self.seed
        )


def variants(embedders):
    "Return all Variants, those of the first training seed first."
    chosen = [None] * len(DEPTHS) + [e for e in embedders for _ in EMBEDDER_DEPTHS]
    depths = [*DEPTHS, *EMBEDDER_DEPTHS * len(embedders)]
    first = [Variant(depth, embedder) for depth, embedder in zip(depths, chosen, strict=True)]
    again = [v for v in first if v.depth in EMBEDDER_DEPTHS and v.embedder in (None, "contrast")]
    return first + [replace(v, seed=seed) for v in again for seed in TRAINING_SEEDS[1:]]


# ------------------------------------------------------------------ examples, and their embeddings
def pictured(cells, links, movie, labels=None, seed=0):
    """Return [(Example, its cells, step of its frames)]: the augmented examples of a movie.

    They are without embeddings; cells and step are what an embedder needs to look at them.
    """
    found = []

    def example(table, true, film, labels=None):
        made = make_example(table, true, film, labels=labels)
        columns = [c for c in ("frame", "label", "z", "y", "x", "area") if c in table]
        found.append((made, table[columns], 1 if len(film) == len(movie) else 2))
        return made

    augmented_examples(cells, links, movie, labels, seed, example)
    return found


@cache
def source(name):
    "Return (movie, label Movie) of a real movie or `simulated 3`."
    if name.startswith("simulated"):
        case = divide.simulated(int(name.split()[1]))
        return case.movie, case.labels
    case = divide.real(name)
    return case.movie, case.labels


@cache
def examples(name):
    "Return what `pictured` returns of a real movie or `simulated 3`."

    def make():
        if not name.startswith("simulated"):
            case = divide.real(name)
            return pictured(*gnn.links_of(case), case.movie, case.labels)
        seed = int(name.split()[1])
        return pictured(*simulated_links(seed), seed=seed)

    return kept(f"pictured {name}", make)


def embedder_of(name, left_out):
    "Return the embedder of a name that has never seen a movie."
    return open_embedder(name) if name == "pixels" else reid.held_out_embedder(name, left_out)


@cache
def cosines_of(embedder, left_out, name):
    "Return the cosines of all candidates of each example of a movie."

    def make():
        movie, labels = source(name)
        network = embedder_of(embedder, left_out)
        found = []
        for example, cells, step in examples(name):
            rows = network.embed(movie[::step], cells, labels[::step])
            found.append(embedding_cosine(rows, example.described.links).astype(np.float32))
        return found

    seen_by_all = embedder == "pixels"
    return kept(f"cosines {embedder}{'' if seen_by_all else f' without {left_out}'} {name}", make)


def with_cosines(example, cosine):
    "Return the Example with one more column of links."
    described = example.described
    edges = np.c_[described.edges, cosine].astype(np.float32)
    return example._replace(described=described._replace(edges=edges))


def training_movies(left_out, embedder=None):
    "Return [Examples of each movie] for a fold: three real ones and the simulated ones."
    names = [name for name in MOVIES if name != left_out for _ in range(OFTEN)]
    names += [f"simulated {k}" for k in range(SIMULATED)]
    made = {}
    for name in dict.fromkeys(names):
        made[name] = [example for example, *_ in examples(name)]
        if embedder:
            cosines = cosines_of(embedder, left_out, name)
            pairs = zip(made[name], cosines, strict=True)
            made[name] = [with_cosines(example, cosine) for example, cosine in pairs]
    return [made[name] for name in names]


# ------------------------------------------------------------------ networks
def trained(variant, left_out):
    "Return the state of the network of a Variant that learned without a movie."
    movies = training_movies(left_out, variant.embedder)
    net = train_link_net(movies, [], variant.options)
    return net.config, net.state_dict()


def kept_network(variant: Variant, movie: str) -> LinkNet:
    "Return the network of a Variant that never saw a movie, such as DIC-C2DH-HeLa."
    name = f"{variant.name} seed {variant.seed} {STEPS} steps without {movie}"
    config, state = kept(name, partial(trained, variant, movie))
    net = LinkNet(**{k: v for k, v in config.items() if k != "kind"})
    net.load_state_dict(state)
    return net.eval()


# ------------------------------------------------------------------ one cost, one threshold
def cheapest(example):
    "Return the rows of each cell's candidate with the smallest distance to flow."
    links, cost = example.described.links, example.described.edges[:, ONE_COST]
    order = np.lexsort((cost, links.dst))
    return order[np.unique(links.dst[order], return_index=True)[1]]


def one_cost_threshold(left_out):
    "Return the threshold with the best link F1 on what the networks of a fold learn from."

    def make():
        counts = np.zeros((3, len(THRESHOLDS)))
        for name in [m for m in MOVIES if m != left_out]:
            for example, *_ in examples(name):
                best, cost = cheapest(example), example.described.edges[:, ONE_COST]
                below = cost[best][:, None] < THRESHOLDS
                true = example.is_true
                counts[0] += (below & true[best][:, None]).sum(0)
                counts[1] += below.sum(0)
                counts[2] += true.sum()
        return float(THRESHOLDS[(2 * counts[0] / (counts[1] + counts[2])).argmax()])

    return kept(f"one cost without {left_out}", make)


def one_cost(example, threshold):
    "Return LinkProbabilities, 0 or 1: each cell's cheapest candidate, if below the threshold."
    described = example.described
    best = cheapest(example)
    best = best[described.edges[best, ONE_COST] < threshold]
    link = np.zeros(len(described.links.src))
    link[best] = 1
    number = np.bincount(described.links.src[best], minlength=len(described.nodes)).clip(max=2)
    appear = 1 - np.bincount(described.links.dst[best], minlength=len(described.nodes))
    return LinkProbabilities(link, appear, np.eye(3)[number])


def one_cost_tracks(case, example, found):
    "Return Tracks of the links of `one_cost`: the two cheapest of each mother."
    links, cost = example.described.links, example.described.edges[:, ONE_COST]
    rows = np.flatnonzero(found.link > 0.5)
    rows = rows[np.lexsort((cost[rows], links.src[rows]))]
    rank = np.arange(len(rows)) - np.searchsorted(links.src[rows], links.src[rows])
    rows = rows[rank < 2]
    return from_links(case.cells, links.src[rows], links.dst[rows], movie=case.movie)


# ------------------------------------------------------------------ scored
@dataclass
class Test:
    "A Case as it is or damaged, its Example, and how many true links it has."

    case: Any
    example: Example
    links: int


def test_of(name, state):
    "Return the Test of a movie."
    case = divide.real(name)
    if name in FRAMES:
        case = case.frames(0, FRAMES[name]).in_memory()
    case = case if state == "clean" else damaged(case, state)
    cells, links = gnn.links_of(case)
    return Test(case, make_example(cells, links, case.movie, labels=case.labels), len(links[0]))


def event_counts(found, example, n_links):
    "Return counts of links and divisions that a network predicts, before anything is solved."
    link, divides = found.link > 0.5, found.daughters.argmax(1) == 2
    twice = example.daughters == 2
    return {
        "link TP": int((link & example.is_true).sum()),
        "link FP": int((link & ~example.is_true).sum()),
        "link FN": int(n_links - (link & example.is_true).sum()),
        "cell division TP": int((divides & twice).sum()),
        "cell division FP": int((divides & ~twice).sum()),
        "cell division FN": int((~divides & twice).sum()),
    }


def linked(test, found):
    "Return the Tracks of the cheapest lineage of LinkProbabilities."
    costs = probability_costs(found, test.example.described.links)
    return Solver(lambda cells, movie: costs).link(test.case.cells, test.case.movie)


PANEL = ["LNK", "BIO", "IDF1", "HOTA", "division F1", "division TP", "division FP", "division FN"]


def row_of(test, tracks, found=None):
    "Return the scores of Tracks, and the counts of LinkProbabilities."
    scores = score_case(test.case, tracks)
    row = {name: scores[name] for name in PANEL}
    return row | (event_counts(found, test.example, test.links) if found else {})


def scored(name, state, embedders, seed):
    "Return the rows of all variants on a movie in one state."
    make_test = cache(partial(test_of, name, state))  # made where a row is missing

    @cache
    def cosine(embedder):
        case = make_test().case
        rows = embedder_of(embedder, name).embed(case.movie, case.cells, case.labels)
        return embedding_cosine(rows, make_test().example.described.links)

    def baselines():
        test = make_test()
        found = one_cost(test.example, one_cost_threshold(name))
        tracks = one_cost_tracks(test.case, test.example, found)
        by_hand = Solver(distance_costs).link(test.case.cells, test.case.movie)
        first = {"variant": "one cost", "training": 0, **row_of(test, tracks, found)}
        return [first, {"variant": "by hand", "training": 0, **row_of(test, by_hand)}]

    def of_variant(variant):
        test = make_test()
        example = test.example
        if variant.embedder:
            example = with_cosines(example, cosine(variant.embedder))
        found = predict_links(kept_network(variant, name), example.described)
        row = row_of(test, linked(test, found), found)
        return {"variant": variant.name, "training": variant.seed, **row}

    rows = list(kept(f"rows baselines {name} {state}", baselines)) if seed == 0 else []
    for variant in (v for v in variants(embedders) if v.seed == seed):
        key = f"rows {variant.name} seed {variant.seed} {STEPS} steps {name} {state}"
        rows.append(kept(key, partial(of_variant, variant)))
    return [{"movie": name, "detections": str(state), **row} for row in rows]


# ------------------------------------------------------------------ calibration
def isotonic(p, is_true):
    "Return a function: the monotone step function of p that fits the truth best."
    order = np.argsort(p, kind="stable")
    fitted = isotonic_regression(is_true[order].astype(float)).x
    return lambda q: np.interp(q, p[order], fitted)


def reliability_rows(p, is_true):
    "Return a table of BINS: count, sum of probabilities, number that is true, variance of it."
    at = np.clip(np.searchsorted(BINS, p, "right") - 1, 0, len(BINS) - 2)
    columns = {"bin": at, "count": 1, "predicted": p, "true": is_true, "variance": p * (1 - p)}
    return pd.DataFrame(columns).groupby("bin", as_index=False).sum()


def temperature_losses(net, example):
    "Return (2, 25): the mean loss of mothers, and of daughters, at each of TEMPERATURES."
    loss = np.zeros((2, len(TEMPERATURES)))
    for window, *_, logits in predict_windows(net, WindowSlicer(example)):
        for k, t in enumerate(TEMPERATURES):
            mothers = mother_loss(logits.link / t, logits.appear / t, window)
            daughters = daughter_loss(logits.daughters / t, window)
            loss[:, k] += np.array([float(mothers), float(daughters)]) * len(window.nodes)
    return loss / len(example.described.nodes)


def said(name, state):
    "Return what the network of depth 2 says, what is true, and its losses over temperature."

    def make():
        net, example = kept_network(Variant(2), name), test_of(name, state).example
        found = predict_links(net, example.described)
        return {
            "links": (found.link, example.is_true),
            "divisions": (found.daughters[:, 2], example.daughters == 2),
            "loss": temperature_losses(net, example),
        }

    return kept(f"said depth 2 {STEPS} steps {name} {state}", make)


def with_temperatures(name, state, temperatures):
    "Return {kind: probabilities} of the network of depth 2 at other temperatures."
    net = kept_network(Variant(2), name)
    net.temperature.copy_(torch.tensor(temperatures))
    found = predict_links(net, test_of(name, state).example.described)
    return {"links": found.link, "divisions": found.daughters[:, 2]}


def calibration():
    """Return (reliability table, {movie: temperatures}).

    What repairs the probabilities on a movie, temperatures or a monotone function, is chosen on the
    three other movies, each scored with the network that never saw it.
    """
    states = ("clean", 0)
    kept_said = {name: [said(name, state) for state in states] for name in MOVIES}
    rows, chosen = [], {}
    for name in MOVIES:
        others = [x for other in MOVIES if other != name for x in kept_said[other]]
        loss = sum(x["loss"] for x in others)
        chosen[name] = TEMPERATURES[loss.argmin(1)].round(3).tolist()
        for k, state in enumerate(states):
            key = f"at temperatures {name} {state} {chosen[name]}"
            cooled = kept(key, partial(with_temperatures, name, state, chosen[name]))
            for kind in ("links", "divisions"):
                p, is_true = kept_said[name][k][kind]
                known = [np.concatenate(x) for x in zip(*(o[kind] for o in others), strict=True)]
                ways = {"none": p, "temperature": cooled[kind], "isotonic": isotonic(*known)(p)}
                for way, q in ways.items():
                    told = {"movie": name, "detections": str(state), "kind": kind, "repair": way}
                    rows.append(reliability_rows(q, is_true).assign(**told))
    first = ["movie", "detections", "kind", "repair"]
    table = pd.concat(rows)
    return table[first + [name for name in table if name not in first]], chosen


def main():
    start, embedders = time.perf_counter(), sys.argv[1:] or ["pixels"]
    torch.set_num_threads(1)
    rows = []
    for seed in TRAINING_SEEDS:
        for name in MOVIES:
            for variant in (v for v in variants(embedders) if v.seed == seed):
                kept_network(variant, name)
                print(f"{time.perf_counter() - start:.0f} s", name, variant, flush=True)
            for state in STATES:
                rows += scored(name, state, embedders, seed)
                print(f"{time.perf_counter() - start:.0f} s", name, state, flush=True)
        write(rows, embedders)


def write(rows, embedders):
    "Write both tables."
    settings = {
        "movies": MOVIES,
        "simulated": SIMULATED,
        "times each real movie is taken": OFTEN,
        "options": {"width": WIDTH, "steps": STEPS},
        "seeds of training": TRAINING_SEEDS,
        "seeds of damage": STATES[1:],
        "frames scored, where not all": FRAMES,
        "thresholds of one cost": {name: round(one_cost_threshold(name), 3) for name in MOVIES},
    }
    packages = ["numpy", "scipy", "torch"]
    record = run_record("variants.py " + " ".join(embedders), packages, settings)
    write_table(pd.DataFrame(rows).round(4), record, "variants")
    table, temperatures = calibration()
    record = record | {"temperatures": temperatures}
    write_table(table.round(4), record, "calibration")


if __name__ == "__main__":
    main()
