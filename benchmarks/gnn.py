"""Train the network of links: weights and card of `celltrack.link.gnn`, and the tables of chapters
61 and 66 on movies and frames that it did not learn from.

    python benchmarks/gnn.py [movie] [time] [ship] [peers]

Writes nbs/tables/gnn.csv; ship: celltrack/weights/gnn.safetensors and gnn.md.
Needs the movies under $CELLTRACK_DATA. "movie": each real movie is linked by networks that saw only
the others and simulated ones. "time": the first 60 % of all real movies are for training, the rest
of each for the test, and simulated bacteria of other seeds.
The classifier of divisions of chapter 43 learns from the same movies, those left out with what
divide.py keeps in build/divide, and so does the published network (peer_gnn.py) with "peers";
without it its rows, which know nothing of our features, stay as they are in the table. Each fold
trains as many networks as there are SEEDS; scores are means over them. About four hours on one
core; each network is kept in build/gnn, so a killed run goes on.
What depth and embeddings are worth: variants.py.
"""

import os
import sys
from functools import cache, partial
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parent))

import pandas as pd
import torch

import divide
import peer_gnn
import tables
from celltrack.cases import damaged, rivals, rows_of
from celltrack.learn.train import save_model
from celltrack.link.gnn import TrainGnn, calibrate, train_link_net
from celltrack.link.graph import augmented_examples, simulated_links, true_links
from celltrack.link.solve import GnnCosts, Solver
from celltrack.movie import atomic
from celltrack.track.divide import Divide
from celltrack.tracks import from_links
from tables import (
    PANEL,
    ROOT,
    TABLES,
    TOLERANCES,
    WEIGHTS,
    kept_for,
    markdown_rows,
    run_record,
    with_stored,
    write_table,
)

torch.set_num_threads(1)
MOVIES = list(TOLERANCES)
SIMULATED = 24  # simulated movies
RODS = 10  # simulated movies of bacteria
TEST_RODS = (100, 101, 102, 103)  # seeds of those that no network has seen
OFTEN = 12  # times that each real movie is taken
SHARE = 0.6  # of its frames, to learn from, where movies are split in time
DIVIDE = ROOT / "build" / "divide"  # what divide.py keeps
PEERS = "peers" in sys.argv  # train the published network, too
TESTS = (0, 1, 2)  # seeds of the damage
SEEDS = (0, 1)  # of the networks of a fold; the first is that of the shipped one
OPTIONS = {"width": 32, "depth": 2, "steps": 4000, "every": 4000}
COLUMNS = ["split", "movie", "detections", "tracker", *PANEL]


def halves(name):
    case = divide.real(name)
    middle = round(len(case.labels) * SHARE)
    return case.frames(0, middle).in_memory(), case.frames(middle, len(case)).in_memory()


def links_of(case):
    return case.cells, true_links(case.cells, case.truth, case.tables)


def examples_of(case):
    return augmented_examples(*links_of(case), case.movie, case.labels)


def simulated():
    made = [augmented_examples(*simulated_links(k), seed=k) for k in range(SIMULATED)]
    for seed in range(RODS):
        case = divide.rods(seed)
        made.append(augmented_examples(*links_of(case), case.movie, case.labels, seed))
    return made


def kept(name, make):
    "Return what `make` gives, from build/gnn if it was made before with the same settings."
    settings = [SIMULATED, RODS, OFTEN, SHARE, OPTIONS, TESTS, SEEDS, divide.SETTINGS]
    return tables.kept(kept_for(ROOT / "build" / "gnn", settings) / f"{name}.pickle", make)


def train_on(cases, seed=SEEDS[0]):
    "Return the network trained on real Cases and simulated movies."
    real = [examples_of(c) for c in cases]
    return train_link_net(
        [x for x in real for _ in range(OFTEN)] + kept("simulated", simulated),
        [],
        TrainGnn([], None, seed=seed, **OPTIONS),
    )


def net_without(name, seed=SEEDS[0]):
    "Return the network that learned from the other movies."
    others = [k for k in MOVIES if k != name]
    return kept(f"movie {name} gnn {seed}", lambda: train_on(real_movies(others), seed))


def published(cases):
    "Return (network, Embedder) of the published method."
    named, movies = [], []
    for c in cases:
        cells, (src, dst) = links_of(c)
        tracks = from_links(cells, src, dst, movie=c.movie, max_children=None)
        named.append((c.movie, tracks.cells, c.labels))
    embedder = peer_gnn.train_embedder(named)
    for c in cases:
        embeddings = embedder.embed(c.movie, c.cells, c.labels)
        movies.append(peer_gnn.Movie(c.cells, embeddings, links_of(c)[1]))
    return peer_gnn.train_published(movies), embedder


def division_classifier(cases):
    "Return the weights of the classifier of divisions (chapters 43 and 47)."
    made = [divide.kept_examples(DIVIDE, name) for name in divide.made_movies()]
    found = [*sum(made, []), *(example for case in cases for example in divide.examples(case))]
    return divide.learn_from(found)


def learned(weights, net):
    "Return the trackers that link with a network; the last also takes the step of chapter 43."
    costs = GnnCosts(net)
    found = {"gnn-greedy": Solver(costs, "greedy"), "gnn": Solver(costs)}
    return found | {"gnn-divide": Divide(Solver(costs), weights)}


def tested(case, nets, peer, weights, split):  # peer: (network, Embedder), or None
    "Return the rows of all trackers on a Case, clean and damaged; means over the networks."
    ours = {"sort-divide": Divide(weights=weights), "optimum": Solver()}
    rows = []
    for state, cases in (("clean", [case]), ("damaged", [damaged(case, k) for k in TESTS])):
        runs = []
        for c in cases:
            by_nets = [learned(weights, net) for net in nets]
            trackers = ours | by_nets[0] | rivals(c)
            if peer:
                trackers["published GNN"] = peer_gnn.PublishedTracker(*peer, c.labels)
            runs += [rows_of(c, t) for t in (trackers, *by_nets[1:])]
        by_tracker = pd.concat(runs).groupby("tracker", sort=False, as_index=False)
        rows.append(by_tracker.mean(numeric_only=True).assign(detections=state))
    return pd.concat(rows).assign(movie=case.name, split=split)


def parts(k):
    "Return the first (k = 0) or the last (1) part of each real movie."
    return [halves(name)[k] for name in MOVIES]


def real_movies(names):
    return [divide.real(name) for name in names]


def bacteria():
    "Return Cases of bacteria; those of odd seeds grow fast."
    return [divide.rods(seed) for seed in TEST_RODS]


def fold(split, training, tests):
    cases = cache(training)  # read when the first network is missing
    nets = [kept(f"{split} gnn {seed}", lambda s=seed: train_on(cases(), s)) for seed in SEEDS]
    left_out = split.partition(" ")[2]
    if left_out:
        weights = divide.learn(DIVIDE, left_out)
    else:
        weights = kept(f"{split} divide", lambda: division_classifier(cases()))
    peer = kept(f"{split} published", lambda: published(cases())) if PEERS else None
    return pd.concat([tested(case, nets, peer, weights, split.split()[0]) for case in tests()])


def kept_table(name, make):
    "Return a table, from build/gnn if it was made before; with the published network, another."
    return kept(f"{name} with peers" if PEERS else name, make)


def ship():
    """Return the network trained on everything; its temperatures are those of one trained on the
    first part of each movie."""
    net = kept("all gnn", lambda: train_on(real_movies(MOVIES)))
    gauge = kept(f"time gnn {SEEDS[0]}", lambda: train_on(parts(0)))
    calibrate(gauge, [x for k in MOVIES for x in examples_of(halves(k)[1])[:3]])
    net.temperature.copy_(gauge.temperature)
    return net


def main():
    what = sys.argv[1:] or ["movie", "time", "ship"]
    parts_of_table = []
    if "time" in what:
        first, last = (partial(parts, k) for k in (0, 1))
        parts_of_table.append(kept_table("time table", partial(fold, "time", first, last)))
        made = partial(fold, "time", first, bacteria)  # the same networks
        parts_of_table.append(kept_table("rods table", made).assign(split="rods"))
    for name in MOVIES if "movie" in what else ():
        others = partial(real_movies, [k for k in MOVIES if k != name])
        made = partial(fold, f"movie {name}", others, partial(real_movies, [name]))
        parts_of_table.append(kept_table(f"movie table {name}", made))
        print(parts_of_table[-1][COLUMNS].round(3).to_string(), flush=True)
    table = pd.read_csv(TABLES / "gnn.csv")
    if parts_of_table:
        computed = pd.concat(parts_of_table)[COLUMNS].round(4)
        table = with_stored(computed, table, ["split", "movie", "detections", "tracker"])
    settings = {
        "movies": MOVIES,
        "simulated": SIMULATED,
        "rods": RODS,
        "rods, to test": TEST_RODS,
        "times each real movie is taken": OFTEN,
        "share of frames to learn from, split in time": SHARE,
        "options": OPTIONS,
        "seeds of networks": SEEDS,
        "seeds of damage": TESTS,
        "published GNN": "trained anew" if PEERS else "rows of an earlier run",
        "rows of an earlier run": len(table) - sum(map(len, parts_of_table)),
    }
    packages = ["numpy", "scipy", "torch", "torch_geometric"]
    record = run_record("gnn.py " + " ".join(what), packages, settings)
    if parts_of_table:
        write_table(table, record, "gnn")
    if "ship" in what:
        net = kept("ship", ship)
        save_model(
            net,
            WEIGHTS / "gnn.safetensors",
            movies=MOVIES,
            simulated=SIMULATED,
            rods=RODS,
            **OPTIONS,
        )
        with atomic(WEIGHTS / "gnn.md") as path:
            path.write_text(card(net, table, record))


def card(net, table, record):
    shown = table[table.tracker == "gnn"][
        ["split", "movie", "detections", "LNK", "BIO", "TRA", "IDF1", "division F1"]
    ]
    temperature = (
        " (links) and ".join(f"{x:.2f}" for x in net.temperature.tolist()) + " (daughters)"
    )
    return (
        f"""# gnn

The graph network of `celltrack.link.gnn` ({sum(p.numel() for p in net.parameters()):,} parameters),
which `celltrack track --tracker gnn` uses. Trained by `python benchmarks/gnn.py ship` with
{record["options"]}.

## Data

{record["simulated"]} movies of `celltrack.simulate`, {record["rods"]} of
`celltrack.microscopes.varied_rods` and the first sequences of
{", ".join(record["movies"])} of the Cell Tracking Challenge (silver masks, Fluo-N2DH-SIM+: gold),
each real one taken {record["times each real movie is taken"]} times as often; each as it is, twice
with 5 % of the cells lost and 2 % invented (once with masks, once without), and with every second
frame alone. No frame of the second sequences. The images belong to their providers
(celltrackingchallenge.net) and are not part of celltrack.

## Scores

No network learned from what is scored here; scores are means over {len(SEEDS)} networks. "movie":
networks trained on all other movies. "time": trained on the first 60 % of each movie, tested on the
rest. "rods": the same networks on simulated bacteria of other seeds, of which those with odd
numbers double in 3.5 to 8 frames. The shipped network learned from everything, so on these movies
it cannot be tested; its temperatures are {temperature}, as was best on the last 40 % of each movie
for the network trained on the first 60 %.

"""
        + markdown_rows(shown)
        + "\n"
    )


if __name__ == "__main__":
    main()
