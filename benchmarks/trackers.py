"""Speed of the trackers at constant density, in detections per second, and of the embedder beside
its bare network.

    OMP_NUM_THREADS=1 python benchmarks/trackers.py [--quick]
Half of the cells begin in the middle of the movie and 3 % of the detections are lost, so that there
are newborns to decide on.
"""

import argparse
import os
from functools import partial

os.environ.setdefault("OMP_NUM_THREADS", "1")
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch

sys.path.insert(0, str(Path(__file__).parent))
from celltrack.measure import measure_movie
from celltrack.simulate import simulate_movie
from celltrack.track.deepsort import DeepSort
from celltrack.track.divide import Divide
from celltrack.track.reid import SIDE, open_embedder
from celltrack.track.sort import Sort
from linking import drawn
from peer_deepsort import PeerDeepSort
from sort import world

FRAMES, REPEATS, WIDTH = {100: 200, 500: 60, 1000: 40, 2000: 20, 5000: 10}, 3, 64


def scene(n, seed=0):
    "Return the cells table and embeddings (rows of 64 numbers) of n cells per frame."
    rng, frames = np.random.default_rng(seed), FRAMES[n]
    cells = world(n, frames, seed)
    start = np.where(rng.random(n) < 0.5, 0, rng.integers(0, frames, n))
    cells = cells[
        (cells.frame.to_numpy() >= start[cells.true]) & (rng.random(len(cells)) > 0.03)
    ].reset_index(drop=True)
    own = rng.normal(size=(n, WIDTH)).astype(np.float32)
    return cells, own[cells.true] + rng.normal(0, 0.3, (len(cells), WIDTH)).astype(np.float32)


def peer(cells, embeddings, labels):
    tracker, unit = PeerDeepSort(), embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    for rows in cells.groupby("frame").indices.values():
        tracker.update(cells[["x0", "y0", "x1", "y1"]].to_numpy()[rows], unit[rows])


TRACKERS = {
    "SORT": lambda c, f, m: Sort(shrink=0).link(c),
    "SORT + division": lambda c, f, m: Divide().link(c),
    "SORT + division, with masks": lambda c, f, m: Divide().link(c, labels=m),
    "DeepSORT": lambda c, f, m: DeepSort().link(c, embeddings=f),
    "DeepSORT + division": lambda c, f, m: Divide(DeepSort()).link(c, embeddings=f),
    "DeepSORT, the paper's": lambda c, f, m: DeepSort.reference().link(c, embeddings=f),
    "the paper's, one object per track": peer,
}


def best(function, repeats=REPEATS):
    "Return the least CPU seconds of several runs."
    times = []
    for _ in range(repeats):
        begin = time.process_time()
        function()
        times.append(time.process_time() - begin)
    return min(times)


def linking(sizes):
    """Print detections per second, and the exponent of the time per frame in the number of cells,
    from 500 on."""
    rows = {}
    for n in sizes:
        cells, embeddings = scene(n)
        labels = drawn(cells, 9)
        for name, run in TRACKERS.items():
            if run is peer and n > 100:
                continue
            seconds = best(partial(run, cells, embeddings, labels))
            rows.setdefault(name, {})[n] = len(cells) / seconds
    table = pd.DataFrame(rows).T
    fit = [n for n in sizes if n >= 500]
    for name, row in table.iterrows():
        if len(fit) > 1 and row[fit].notna().all():
            table.loc[name, "exponent"] = (
                1 - np.polyfit(np.log(fit), np.log(row[fit].astype(float)), 1)[0]
            )
    print(
        "| detections per second, cells per frame | "
        + " | ".join(map(str, table.columns))
        + " |\n|"
        + " --- |" * (table.shape[1] + 1)
    )
    for name, row in table.iterrows():
        print(
            f"| {name} | "
            + " | ".join(
                "–" if np.isnan(x) else f"{x:.2f}" if c == "exponent" else f"{x:,.0f}"
                for c, x in row.items()
            )
            + " |"
        )


def looking(frames=10):
    """Print how many cells per second the embedder embeds, and its bare network on crops that lie
    ready."""
    movie, truth = simulate_movie(frames, (1024, 1024), 900, seed=1, lazy=False)
    cells, embedder = measure_movie(truth.labels), open_embedder()
    crops = torch.randn(len(cells), 1, SIDE, SIDE).contiguous(memory_format=torch.channels_last)

    def bare():
        with torch.no_grad():
            for k in range(0, len(crops), embedder.batch):
                embedder.net(crops[k : k + embedder.batch])

    whole, net = best(lambda: embedder.embed(movie, cells)), best(bare)
    print(
        f"\n{len(cells)} cells in {frames} frames of 1024 x 1024: "
        f"{len(cells) / whole:,.0f} per second embedded, "
        f"{len(cells) / net:,.0f} through the bare network: a share of {net / whole:.0%}"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="fewer sizes")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    linking([100, 500, 2000] if quick else list(FRAMES))
    looking(3 if quick else 10)
