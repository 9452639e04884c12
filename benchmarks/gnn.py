"""Teach the judge of links: weights and card of `celltrack.link.gnn`, and the tables of chapter 60 on movies and frames that no lesson saw.

    python benchmarks/gnn.py [movie] [time] [ship]     writes nbs/tables/gnn.csv; ship: celltrack/weights/gnn.safetensors and gnn.md
Needs the movies under $CELLTRACK_DATA. "movie": each real movie is judged by networks that saw only the others and simulated ones.
"time": the first 60 % of all real movies are lessons, the rest of each is the exam. The published network (peer_gnn.py) and the judge of
divisions of chapter 43 learn from the same lessons. About an hour and a half on one core; each fold is kept in build/gnn, so a killed run goes on.
"""
import json
import os
import pickle
import platform
import sys
from importlib.metadata import version
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parent))

import numpy as np
import pandas as pd
import torch

import divide as lessons_of_43
from celltrack import __version__
from celltrack.compare import Case, damaged, rivals, rows_of
from celltrack.link.gnn import TrainGnn, calibrate, simulated_truth, teach_judge, versions
from celltrack.link.graph import true_links
from celltrack.link.solve import GnnCosts, Solver
from celltrack.movie import Movie, atomic
from celltrack.segment.unet import save_model
from celltrack.tracks import from_links
from celltrack.track.divide import Divide, learn
import peer_gnn

torch.set_num_threads(1)
HERE = Path(__file__).parents[1]
MOVIES, SIMULATED, OFTEN, SHARE, EXAMS = lessons_of_43.MOVIES, 16, 8, .6, (0, 1, 2)
OPTIONS = {"width": 32, "depth": 2, "steps": 2500, "every": 2500}
COLUMNS = ["split", "movie", "detections", "tracker", "LNK", "CT", "TF", "BC", "CCA", "BIO", "TRA", "IDF1", "HOTA", "division F1"]


def some_frames(movie, first, end):
    return Movie(np.stack([np.asarray(movie[t]) for t in range(first, end)]), movie.name, movie.spacing, movie.interval)


def cut(case, first, end):
    "Return the Case of some frames."
    cells, (src, dst) = case.truth.cells, case.truth.links()
    keep = np.flatnonzero(cells.frame.between(first, end - 1))
    place = np.full(len(cells), -1)
    place[keep] = np.arange(len(keep))
    inside = (place[src] >= 0) & (place[dst] >= 0)
    some = cells.iloc[keep].drop(columns="track").reset_index(drop=True).assign(frame=lambda c: c.frame - first)
    truth = from_links(some, place[src[inside]], place[dst[inside]], some_frames(case.truth.labels, first, end), max_children=None)
    return Case(case.name, some_frames(case.movie, first, end), truth, some_frames(case.labels, first, end), case.tolerance)


def halves(name):
    case = lessons_of_43.real(name)
    middle = round(len(case.labels) * SHARE)
    return cut(case, 0, middle), cut(case, middle, len(case.labels))


def links_of(case): return case.cells, true_links(case.cells, case.truth, case.tables)


def lessons_of(case): return versions(*links_of(case), case.movie)


def simulated(): return [versions(*simulated_truth(k), seed=k) for k in range(SIMULATED)]


def kept(name, make):
    "Return what `make` gives, from build/gnn if it was made before by this command."
    path = HERE / "build" / "gnn" / f"{name}.pickle"
    if path.exists(): return pickle.loads(path.read_bytes())
    value = make()
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic(path) as tmp: tmp.write_bytes(pickle.dumps(value))
    return value


def judge_of(cases):
    "Return the network taught on real Cases and simulated movies."
    real = [lessons_of(c) for c in cases]
    return teach_judge([x for x in real for _ in range(OFTEN)] + kept("simulated", simulated), [], TrainGnn([], None, **OPTIONS))


def published(cases):
    "Return (network, Embedder) of the published method."
    named = []
    for c in cases:
        cells, (src, dst) = links_of(c)
        tracks = from_links(cells, src, dst, movie=c.movie, max_children=None)
        named.append((c.movie, tracks.cells, c.labels))
    eyes = peer_gnn.look(named)
    return peer_gnn.teach([peer_gnn.Movie(c.cells, eyes.embed(c.movie, c.cells, c.labels), links_of(c)[1]) for c in cases]), eyes


def division_judge(cases):
    some = [e for c in [*map(lessons_of_43.simulated, range(lessons_of_43.SIMULATED)), *cases] for e in lessons_of_43.examples(c) if len(e[1])]
    return learn(some, lessons_of_43.HIDDEN, lessons_of_43.STEPS, decay=lessons_of_43.DECAY, seeds=lessons_of_43.SEEDS)


def exam(case, net, peer, weights, split):
    "Return the rows of all trackers on a Case, clean and damaged."
    costs = GnnCosts(net)
    ours = {"sort-divide": Divide(weights=weights), "optimum": Solver(), "gnn-greedy": Solver(costs, "greedy"), "gnn": Solver(costs)}
    rows = []
    for state, some in (("clean", [case]), ("damaged", [damaged(case, k) for k in EXAMS])):
        runs = [rows_of(c, ours | {"published GNN": peer_gnn.PublishedTracker(*peer, c.labels)} | rivals(c)) for c in some]
        rows.append(pd.concat(runs).groupby("tracker", sort=False, as_index=False).mean(numeric_only=True).assign(detections=state))
    return pd.concat(rows).assign(movie=case.name, split=split)


def fold(split, taught, exams):
    cases = taught()
    net, peer, weights = (kept(f"{split} {name}", lambda: make(cases)) for name, make in (("gnn", judge_of), ("published", published), ("divide", division_judge)))
    return pd.concat([exam(case, net, peer, weights, split.split()[0]) for case in exams()])


def ship():
    "Return the network taught on everything; how sure it may be is measured on one that learned from the first part of each movie."
    net = judge_of([lessons_of_43.real(k) for k in MOVIES])
    gauge = kept("time gnn", lambda: judge_of([halves(k)[0] for k in MOVIES]))
    calibrate(gauge, [x for k in MOVIES for x in lessons_of(halves(k)[1])[:3]])
    net.temperature.copy_(gauge.temperature)
    return net


def main():
    what = sys.argv[1:] or ["movie", "time", "ship"]
    tables = []
    if "time" in what: tables.append(kept("time table", lambda: fold("time", lambda: [halves(k)[0] for k in MOVIES], lambda: [halves(k)[1] for k in MOVIES])))
    for name in MOVIES if "movie" in what else ():
        others = lambda: [lessons_of_43.real(k) for k in MOVIES if k != name]
        tables.append(kept(f"movie table {name}", lambda: fold(f"movie {name}", others, lambda: [lessons_of_43.real(name)])))
        print(tables[-1][COLUMNS].round(3).to_string(), flush=True)
    table = pd.concat(tables)[COLUMNS].round(4) if tables else pd.read_csv(HERE / "nbs/tables/gnn.csv")
    record = {"command": "python benchmarks/gnn.py " + " ".join(what), "movies": list(MOVIES), "simulated": SIMULATED, "times each real movie is taken": OFTEN,
              "share of frames taught, split in time": SHARE, "options": OPTIONS, "damage of exams": EXAMS, "cpus": os.cpu_count(),
              "versions": {"celltrack": __version__, "python": platform.python_version(),
              **{p: version(p) for p in ("numpy", "scipy", "torch", "torch_geometric")}}}
    if tables:
        with atomic(HERE / "nbs/tables/gnn.csv") as path: table.to_csv(path, index=False)
        with atomic(HERE / "nbs/tables/gnn.json") as path: path.write_text(json.dumps(record, indent=2) + "\n")
    if "ship" in what:
        net = kept("ship", ship)
        save_model(net, HERE / "celltrack/weights/gnn.safetensors", movies=list(MOVIES), simulated=SIMULATED, **OPTIONS)
        with atomic(HERE / "celltrack/weights/gnn.md") as path: path.write_text(card(net, table, record))


def card(net, table, record):
    shown = table[table.tracker == "gnn"][["split", "movie", "detections", "LNK", "BIO", "TRA", "IDF1", "division F1"]]
    lines = ["| " + " | ".join(map(str, row)) + " |" for row in [tuple(shown.columns), ("---",) * shown.shape[1], *shown.itertuples(index=False)]]
    temperature = " (links) and ".join(f"{x:.2f}" for x in net.temperature.tolist()) + " (daughters)"
    return f"""# gnn

The judge of links of `celltrack.link.gnn` ({sum(p.numel() for p in net.parameters()):,} parameters), which `celltrack track --tracker gnn` asks. Taught by
`python benchmarks/gnn.py ship` with {record['options']}.

## Data

{record['simulated']} movies of `celltrack.simulate` and the first sequences of {', '.join(record['movies'])} of the Cell Tracking Challenge
(silver masks, Fluo-N2DH-SIM+: gold), each real one taken {record['times each real movie is taken']} times as often; each as it is, twice with 5 % of the cells lost and 2 % invented, and with
every second frame alone. No frame of the second sequences. The images belong to their providers (celltrackingchallenge.net) and are not
part of celltrack.

## Scores

No lesson saw what is scored here. "movie": networks taught on all other movies. "time": taught on the first 60 % of each movie, judged on
the rest. The network in the box learned from everything, so on these movies it can not be judged; its probabilities are tempered by
{temperature}, as was best on the last 40 % of each movie for the network taught on the first 60 %.

""" + "\n".join(lines) + "\n"


if __name__ == "__main__": main()
