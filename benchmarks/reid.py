"""Everything about embedders: training, the tables of chapters 44 and 51, and what ships.

    python benchmarks/reid.py [--runs build/embed] [--steps 800] [--only train test tracks ship]

train   per kind (reid: names and triplets; contrast: chapter 51) five networks: one for each
        movie of the challenge, which never sees that movie, and one of everything, which is
        shipped. A run that was stopped goes on when the command is given again
test    nbs/tables/embed.csv: every embedder on the movies that it never saw, beside those
        without a network; embed_gains.csv: differences in local rank-1, with 95 % intervals by
        bootstrap over the cells of a movie; of all movies over movies and cells
tracks  nbs/tables/embed_tracks.csv: IDF1 of DeepSORT + division with each embedder less that
        without, on detections that were damaged with the same seeds
ship    celltrack/weights/reid.safetensors, contrast.safetensors and their cards

Needs the movies under $CELLTRACK_DATA. Everything runs on one thread.
`held_out_embedder(kind, movie)` gives other benchmarks an embedder that never saw a movie.
"""

import argparse
import json
import os
import time
from dataclasses import fields
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd
import torch

from celltrack.cases import damaged, open_case
from celltrack.learn.store import load_model
from celltrack.learn.train import save_model
from celltrack.movie import atomic
from celltrack.score.panel import score_tracks
from celltrack.score.retrieval import (
    identify_cells,
    local_hits,
    local_verification,
    retrieval_scores,
    verification,
)
from celltrack.simulate import simulate_movie
from celltrack.track.deepsort import DeepSort
from celltrack.track.divide import Divide
from celltrack.track.reid import (
    Album,
    Embedder,
    JoinedNet,
    PixelNet,
    TrainReid,
    descriptions,
    embed_crops,
    make_album,
    read_album,
    train_on_album,
)
from tables import MODALITIES, ROOT, TOLERANCES, WEIGHTS, markdown_rows, run_record, write_table

RUNS = ROOT / "build" / "embed"
MOVIES = list(TOLERANCES)
KINDS = {"reid": "names", "contrast": "contrast"}  # and the loss of `celltrack train-reid`
SIMULATED = 12  # simulated movies
DRAWS = 2000  # of the bootstrap
SEEDS = 6  # damages of a movie
TRACKED = MOVIES[:3]  # the last has 27,000 cells; its crops take too long for six seeds


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
    return make_album(movie, identify_cells(truth, truth.labels, movie))


def kept(name, make, *args):
    "Return an Album from the folder of the runs; make and store it where it is not there."
    path = RUNS / "albums" / f"{name}.npz"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        album = make(*args)
        with atomic(path) as new, open(new, "wb") as file:
            np.savez(file, **{f.name: getattr(album, f.name) for f in fields(Album)})
    with np.load(path) as file:
        return Album(**file)


def albums():
    "Return {name: Album} of the real movies."
    return {name: kept(name, read_album, f"{name}/01") for name in MOVIES}


def net_of(kind, held):  # held: the movie that it never saw, or "nothing"
    "Return the EmbeddingNet of a run."
    net, _ = load_model(RUNS / f"{kind}-{held}", ["EmbeddingNet", "ReidNet"])
    return getattr(net, "embedding", net)


def held_out_embedder(
    kind: str,  # pixels, hog, reid, contrast; reid+, contrast+: joined with pixels and HOG
    movie: str,  # DIC-C2DH-HeLa, or DIC-C2DH-HeLa/01; others get the network of everything
) -> Embedder:
    "Return an Embedder that never saw a movie, from build/embed."
    if kind == "pixels":
        return Embedder(PixelNet())
    if kind == "hog":
        return Embedder(JoinedNet())
    held = movie.split("/")[0]
    net = net_of(kind.rstrip("+"), held if held in MOVIES else "nothing")
    return Embedder(JoinedNet(net) if kind.endswith("+") else net)


def train(steps, only=None):
    "Train what is not yet trained: one network per kind and movie held out, and one of everything."
    real = albums()
    made = [kept(f"simulated {k}", simulated, k) for k in range(SIMULATED)]
    for held in [*MOVIES, "nothing"]:
        wanted = [kind for kind in KINDS if only in (None, f"{kind}-{held}")]
        if not wanted:
            continue
        album = Album.join([*made, *(a for name, a in real.items() if name != held)])
        for kind in wanted:
            command = TrainReid(
                [], RUNS / f"{kind}-{held}", loss=KINDS[kind], steps=steps, every=100
            )
            command.precision = "bf16"
            identities = int(album.identity.max()) + 1
            notes = {"crops": len(album), "identities": identities, "never saw": held}
            train_on_album(command, album, None, notes)
            print(f"{kind} without {held}: {len(album)} crops of {identities} cells", flush=True)


def described(name, album):
    "Yield (description, unit rows or similarity) of all embedders on a movie they never saw."
    networks = {}
    for kind in KINDS:
        net = net_of(kind, name)
        networks[kind] = embed_crops(net, album.crops)
        networks[f"{kind} + pixels + HOG"] = embed_crops(JoinedNet(net), album.crops)
    yield from descriptions(album, networks)


def test_movie(movie):
    "Return (rows of scores, {description, step: hits}) of a movie; both are kept."
    path = RUNS / "tested" / f"{movie}.npz"
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        album = last_crops(albums()[movie])
        rows, hits = [], {}
        for step in (1, 5):
            queries = local_hits(album.position, album, step=step, whose=True)
            who = np.unique(album.identity[queries], return_inverse=True)[1]
            hits[f"who, {step}"] = who
        for name, similarity in described(movie, album):
            scores = retrieval_scores(similarity, album)
            scores["EER"] = verification(similarity, album)[2]
            scores["local EER"], scores["threshold"] = local_verification(similarity, album)
            for step in (1, 5):
                found = local_hits(similarity, album, step=step)
                scores[f"local rank-1, {step}"] = found.mean()
                scores[f"queries, {step}"] = len(found)
                hits[f"{name}, {step}"] = found
            rows.append({"movie": f"{movie}/01", "description": name, **scores})
            print(rows[-1], flush=True)
        with atomic(path) as new, open(new, "wb") as file:
            np.savez(file, rows=json.dumps(rows), **hits)
    with np.load(path) as file:
        hits = {name: file[name] for name in file.files if name != "rows"}
        return json.loads(str(file["rows"])), hits


def last_crops(album, most=9000):
    "Return the last frames of an Album, as many as hold no more than `most` crops."
    counts = np.bincount(album.frame)[::-1].cumsum()
    frames = np.searchsorted(counts, most, side="right")
    return album.take(album.frame > album.frame.max() - frames)


def test_all():
    "Return two tables: scores of each description on each movie and their means; the gains."
    rows, hits = [], {}
    for movie in MOVIES:
        found, of_movie = test_movie(movie)
        rows += found
        for key, values in of_movie.items():
            name, step = key.rsplit(", ", 1)
            hits[movie, name, int(step)] = values
    table = pd.DataFrame(rows)
    means = table.groupby("description", sort=False).mean(numeric_only=True).reset_index()
    means[["queries, 1", "queries, 5"]] *= len(MOVIES)
    table = pd.concat([table, means.assign(movie="mean of the movies")], ignore_index=True)
    return table.round(4), gains(hits, table.description.unique())


def gains(hits, names):
    "Return the differences in local rank-1 of pairs of descriptions, with 95 % intervals."
    pairs = [(name, "pixels") for name in names if name not in ("pixels", "position")]
    pairs += [(f"{kind} + pixels + HOG", "pixels + HOG") for kind in KINDS]
    pairs += [("contrast", "reid"), ("contrast + pixels + HOG", "reid + pixels + HOG")]
    rng = np.random.default_rng(1)
    rows = []
    for ours, rival in pairs:
        for step in (1, 5):
            draws, means = [], []
            for movie in MOVIES:
                gain = hits[movie, ours, step] * 1.0 - hits[movie, rival, step]
                draws.append(drawn_means(gain, hits[movie, "who", step]))
                means.append(gain.mean())
            chosen = rng.integers(len(MOVIES), size=(DRAWS, len(MOVIES)))
            other = rng.integers(DRAWS, size=(DRAWS, len(MOVIES)))
            of_all = np.array(draws)[chosen, other].mean(1)  # movies drawn, and cells in each
            for movie, gain, drawn in zip(
                [*MOVIES, "all"], [*means, np.mean(means)], [*draws, of_all], strict=True
            ):
                low, high = np.quantile(drawn, [0.025, 0.975])
                rows.append([ours, rival, movie, step, gain, low, high])
    columns = ["description", "rival", "movie", "step", "gain", "low", "high"]
    return pd.DataFrame(rows, columns=columns).round(4)


def drawn_means(gain, who):
    "Return the means of `gain` (n,) over cells drawn again: `who` numbers the cells."
    total, count = np.bincount(who, gain), np.bincount(who)
    rng = np.random.default_rng(0)
    drawn = rng.multinomial(len(count), np.full(len(count), 1 / len(count)), DRAWS)
    return (drawn @ total) / (drawn @ count)


class Together(torch.nn.Module):
    "Several embedders at once, so that the crops of a movie are cut once."

    def __init__(self, nets):
        super().__init__()
        self.nets = torch.nn.ModuleList(nets)
        self.sizes = [net.config["outputs"] for net in nets]
        self.config = {"outputs": sum(self.sizes), "slices": 1}

    def forward(self, x):
        return torch.cat([net(x) for net in self.nets], 1)


EMBEDDERS = ["pixels", "reid", "contrast", "contrast+"]
# (name, rows, weight, even): the neutral cosine of the default, and a strict one
TRACKED_WITH = [("none", "pixels", 0.0, 0.5)]
TRACKED_WITH += [(name, name, 1.0, 0.5) for name in EMBEDDERS]
TRACKED_WITH += [("pixels, neutral at their own threshold", "pixels", 1.0, 0.1)]
TRACKED_WITH += [("contrast+, strict", "contrast+", 1.0, 0.9)]
TRACKED_WITH += [("none, strict", "none", 1.0, 1.4)]


def track_all(movies, seeds):
    "Return the table of scores by movie, seed of the damage and embedder; each seed is kept."
    tables = []
    for movie in movies:
        case = nets = None
        for seed in range(seeds):
            path = RUNS / "tracks" / f"{movie}-{seed}.csv"
            if not path.exists():
                if case is None:
                    case = open_case(f"{movie}/01_GT", tolerance=TOLERANCES[movie])
                    nets = Together([held_out_embedder(name, movie).net for name in EMBEDDERS])
                path.parent.mkdir(exist_ok=True)
                with atomic(path) as new:
                    pd.DataFrame(track_once(damaged(case, seed), nets)).to_csv(new, index=False)
            tables.append(pd.read_csv(path).assign(movie=f"{movie}/01", seed=seed))
            print(tables[-1].to_string(), flush=True)
    table = pd.concat(tables, ignore_index=True)
    return table[["movie", "seed", *table.columns.drop(["movie", "seed"])]].round(5)


def track_once(case, nets):
    "Return the scores of DeepSORT + division with each embedder, and with none."
    described = Embedder(nets).embed(case.movie, case.cells)
    parts = np.split(described, np.cumsum(nets.sizes)[:-1], axis=1)
    parts = dict(zip(EMBEDDERS, parts, strict=True))
    parts["none"] = np.ones((len(case.cells), 1), np.float32)  # all cells are alike
    rows = []
    for name, used, weight, even in TRACKED_WITH:
        linker = Divide(DeepSort(weight=weight, even=even))
        tracks = linker.link(case.cells, case.movie, case.labels, embeddings=parts[used])
        scores = score_tracks(case.truth, tracks, case.tables)
        rows.append({"embedder": name, "weight": weight, "even": even})
        rows[-1] |= {key: scores[key] for key in ("IDF1", "LNK", "division F1")}
    return rows


def card(kind, table, record, count):
    what = {
        "reid": "names (cross-entropy) and batch-hard triplets",
        "contrast": "a contrastive loss (chapter 51)",
    }[kind]
    joined = "The network is used alone."
    if kind == "contrast":
        joined = "They are joined with coarse pixels and histograms of oriented gradients."
    shown = ["movie", "description", "EER", "local rank-1, 1", "local rank-1, 5"]
    own = table.description.isin([kind, f"{kind} + pixels + HOG", "pixels", "HOG", "pixels + HOG"])
    return (
        f"""# {kind}

An embedder of `celltrack.track.reid`: crops of 32 × 32 pixels, two typical diameters wide, to unit
vectors of 64 numbers. `EmbeddingNet`, {count:,} parameters, stored in half precision. {joined}

## Data

Cells of the first sequences of {", ".join(MOVIES)} of the Cell Tracking Challenge (silver masks,
Fluo-N2DH-SIM+: gold), named by the true tracks, and of {SIMULATED} movies of `celltrack.simulate`.
No frame of the second sequences. The images belong to their providers (celltrackingchallenge.net)
and are not part of celltrack.

## Training

`{record["command"]}`: {record["steps"]} batches of 3 places with 16 neighbours and 2 crops each, by
{what}; on CPUs, in bfloat16.

## Scores on movies that the network never saw

One network per movie, trained on the three others and on the simulated ones. The shipped network
was trained on all. EER: equal error rate of all pairs at least three frames apart. Local rank-1:
among the cells within three diameters, one and five frames later.

"""
        + markdown_rows(table.loc[own, shown])
        + "\n"
    )


def ship(table, record):
    "Write the weights of the networks of everything, and their cards."
    for kind in KINDS:
        net = net_of(kind, "nothing")
        count = sum(p.numel() for p in net.parameters())
        notes = {"movies": MOVIES, "steps": record["steps"], "joined": kind == "contrast"}
        save_model(net.half(), WEIGHTS / f"{kind}.safetensors", **notes)
        with atomic(WEIGHTS / f"{kind}.md") as path:
            path.write_text(card(kind, table, record, count))


def main():
    global RUNS
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=Path, default=RUNS)
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--only", nargs="*", default=["train", "test", "tracks", "ship"])
    parser.add_argument("--movies", nargs="*", default=TRACKED, help="to track")
    parser.add_argument("--run", help="train this alone, such as contrast-DIC-C2DH-HeLa")
    options = parser.parse_args()
    RUNS = options.runs
    torch.set_num_threads(1)
    start = time.perf_counter()
    settings = {"steps": options.steps, "movies": MOVIES, "simulated": SIMULATED, "draws": DRAWS}
    packages = ["numpy", "scipy", "torch"]
    if "train" in options.only:
        train(options.steps, options.run)
    if "test" in options.only:
        record = run_record("reid.py", packages, settings, start)
        table, gained = test_all()
        write_table(table, record, "embed")
        write_table(gained, record, "embed_gains")
    if "tracks" in options.only:
        record = run_record("reid.py --only tracks", packages, settings | {"seeds": SEEDS}, start)
        write_table(track_all(options.movies, SEEDS), record, "embed_tracks")
    if "ship" in options.only:
        record = run_record("reid.py", packages, settings, start)
        ship(pd.read_csv(ROOT / "nbs" / "tables" / "embed.csv"), record)


if __name__ == "__main__":
    main()
