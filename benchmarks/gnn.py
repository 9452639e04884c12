"""Train the network of links: weights and card of `celltrack.link.gnn`, and the tables of chapters
61 and 66 on movies and frames that it did not learn from.

    python benchmarks/gnn.py [movie] [time] [ship]

Writes nbs/tables/gnn.csv; ship: celltrack/weights/gnn.safetensors and gnn.md.
Needs the movies under $CELLTRACK_DATA. "movie": each real movie is linked by networks that saw only
the others and simulated ones. "time": the first 60 % of all real movies are for training, the rest
of each for the test, and simulated bacteria of other seeds.
The published network (peer_gnn.py) and the classifier of divisions of chapter
43 learn from the same examples. About an hour and a half on one core; each fold is kept in
build/gnn, so a killed run goes on. What depth and embeddings are worth: variants.py.
"""

import os
import pickle
import sys
from functools import partial
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parent))

import pandas as pd
import torch

import divide
import peer_gnn
from celltrack.cases import damaged, rivals, rows_of
from celltrack.learn.train import save_model
from celltrack.link.gnn import TrainGnn, calibrate, train_link_net
from celltrack.link.graph import augmented_examples, simulated_links, true_links
from celltrack.link.solve import GnnCosts, Solver
from celltrack.movie import atomic
from celltrack.track.choice import learn_weights
from celltrack.track.divide import Divide
from celltrack.tracks import from_links
from tables import PANEL, ROOT, TABLES, TOLERANCES, WEIGHTS, markdown_rows, run_record, write_table

torch.set_num_threads(1)
MOVIES = list(TOLERANCES)
SIMULATED = 24  # simulated movies
RODS = 10  # simulated movies of bacteria
TEST_RODS = (100, 101, 102, 103)  # seeds of those that no network has seen
OFTEN = 8  # times that each real movie is taken
SHARE = 0.6  # of its frames, to learn from, where movies are split in time
TESTS = (0, 1, 2)  # seeds of the damage
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
    "Return what `make` gives, from build/gnn if it was made before by this command."
    path = ROOT / "build" / "gnn" / f"{name}.pickle"
    if path.exists():
        return pickle.loads(path.read_bytes())
    value = make()
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic(path) as tmp:
        tmp.write_bytes(pickle.dumps(value))
    return value


def train_on(cases):
    "Return the network trained on real Cases and simulated movies."
    real = [examples_of(c) for c in cases]
    return train_link_net(
        [x for x in real for _ in range(OFTEN)] + kept("simulated", simulated),
        [],
        TrainGnn([], None, **OPTIONS),
    )


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
    made = [divide.simulated(k) for k in range(divide.SIMULATED)]
    made += [divide.rods(k) for k in range(divide.RODS)]
    found = [example for case in [*made, *cases] for example in divide.examples(case)]
    return learn_weights(
        [example for example in found if len(example[1])],
        divide.HIDDEN,
        divide.STEPS,
        decay=divide.DECAY,
        seeds=divide.SEEDS,
    )


def tested(case, net, peer, weights, split):
    "Return the rows of all trackers on a Case, clean and damaged."
    costs = GnnCosts(net)
    ours = {
        "sort-divide": Divide(weights=weights),
        "optimum": Solver(),
        "gnn-greedy": Solver(costs, "greedy"),
        "gnn": Solver(costs),
    }
    rows = []
    for state, cases in (("clean", [case]), ("damaged", [damaged(case, k) for k in TESTS])):
        runs = []
        for c in cases:
            published = {"published GNN": peer_gnn.PublishedTracker(*peer, c.labels)}
            runs.append(rows_of(c, ours | published | rivals(c)))
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
    cases = training()
    net, peer, weights = (
        kept(f"{split} {name}", partial(make, cases))
        for name, make in (
            ("gnn", train_on),
            ("published", published),
            ("divide", division_classifier),
        )
    )
    return pd.concat([tested(case, net, peer, weights, split.split()[0]) for case in tests()])


def ship():
    """Return the network trained on everything; its temperatures are those of one trained on the
    first part of each movie."""
    net = train_on([divide.real(k) for k in MOVIES])
    gauge = kept("time gnn", lambda: train_on(parts(0)))
    calibrate(gauge, [x for k in MOVIES for x in examples_of(halves(k)[1])[:3]])
    net.temperature.copy_(gauge.temperature)
    return net


def main():
    what = sys.argv[1:] or ["movie", "time", "ship"]
    tables = []
    if "time" in what:
        first, last = (partial(parts, k) for k in (0, 1))
        tables.append(kept("time table", partial(fold, "time", first, last)))
        made = partial(fold, "time", first, bacteria)  # the same networks
        tables.append(kept("rods table", made).assign(split="rods"))
    for name in MOVIES if "movie" in what else ():
        others = partial(real_movies, [k for k in MOVIES if k != name])
        made = partial(fold, f"movie {name}", others, partial(real_movies, [name]))
        tables.append(kept(f"movie table {name}", made))
        print(tables[-1][COLUMNS].round(3).to_string(), flush=True)
    table = pd.concat(tables)[COLUMNS].round(4) if tables else pd.read_csv(TABLES / "gnn.csv")
    settings = {
        "movies": MOVIES,
        "simulated": SIMULATED,
        "rods": RODS,
        "rods, to test": TEST_RODS,
        "times each real movie is taken": OFTEN,
        "share of frames to learn from, split in time": SHARE,
        "options": OPTIONS,
        "seeds of damage": TESTS,
    }
    packages = ["numpy", "scipy", "torch", "torch_geometric"]
    record = run_record("gnn.py " + " ".join(what), packages, settings)
    if tables:
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

No network learned from what is scored here. "movie": networks trained on all other movies. "time":
trained on the first 60 % of each movie, tested on the rest. "rods": the same network on simulated
bacteria of other seeds, of which those with odd numbers double in 3.5 to 8 frames. The shipped
network learned from everything, so on these movies it cannot be tested; its temperatures are
{temperature}, as was best on the last 40 % of each movie for the network trained on the first 60 %.

"""
        + markdown_rows(shown)
        + "\n"
    )


if __name__ == "__main__":
    main()
