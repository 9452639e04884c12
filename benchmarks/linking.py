"""How fast are graph, network and solver? Prints a table; LapTrack links the same cells in the same
run.

python benchmarks/linking.py [--most 500000]
"""

import argparse
import os
import resource
import time
from functools import partial

os.environ.setdefault("OMP_NUM_THREADS", "1")

from itertools import pairwise

import numpy as np
import pandas as pd

from celltrack.link.features import describe
from celltrack.link.graph import candidate_graph, nearest_pairs
from celltrack.link.solve import Costs, Solver, distance_costs, solve_lineage, useful_links
from celltrack.movie import Movie
from celltrack.shapes import mask_pairs, pair_columns, read_shapes


def crowd(per_frame, frames, seed=0):
    "A cells table: discs of one size that wander, one per unit area of 400 square pixels."
    rng = np.random.default_rng(seed)
    side = 20 * per_frame**0.5
    position = np.cumsum(
        np.r_[
            rng.uniform(0, side, (1, per_frame, 2)), rng.normal(0, 3, (frames - 1, per_frame, 2))
        ],
        0,
    ).reshape(-1, 2)
    cells = pd.DataFrame(
        {
            "frame": np.repeat(np.arange(frames), per_frame),
            "label": np.tile(np.arange(1, per_frame + 1), frames),
            "y": position[:, 0],
            "x": position[:, 1],
            "area": 150.0,
        }
    )
    for a in "yx":
        cells[a + "0"], cells[a + "1"] = cells[a] - 6, cells[a] + 6
    return cells


def drawn(cells, radius=6.9):
    "Return the label images of a crowd: discs, later ones on top."
    reach = int(radius) + 1
    low = cells[["y", "x"]].to_numpy().min(0) - reach
    place = np.rint(cells[["y", "x"]].to_numpy() - low).astype(int)
    disc = np.argwhere(np.hypot(*np.mgrid[-reach : reach + 1, -reach : reach + 1]) < radius) - reach
    image = np.zeros((cells.frame.max() + 1, *(place.max(0) + reach + 1)), np.uint16)
    for offset in disc:
        y, x = (place + offset).T
        image[cells.frame, y, x] = cells.label
    return Movie(image)


def dense_costs(per_frame, frames, k=5, seed=0):
    "Costs in which nearly all of k links per cell are worth a thought: hard for the solver."
    rng = np.random.default_rng(seed)
    position = [rng.uniform(0, per_frame**0.5, (per_frame, 2))]
    for _ in range(frames - 1):
        new = position[-1] + rng.normal(0, 0.3, (per_frame, 2))
        jump = rng.random(per_frame) < 0.02
        new[jump] = rng.uniform(0, per_frame**0.5, (jump.sum(), 2))
        position.append(new)
    found = [
        (i + per_frame * t, j + per_frame * (t + 1), far)
        for t, (a, b) in enumerate(pairwise(position))
        for i, j, far in [nearest_pairs(a, b, k, np.inf)]
    ]
    src, dst, far = (np.concatenate(x) for x in zip(*found, strict=True))
    frame, one = np.repeat(np.arange(frames), per_frame), np.ones(per_frame * frames)
    return Costs(
        frame,
        src,
        dst,
        far**2 / 0.36,
        np.where(frame == 0, 0, 3 * one),
        np.where(frame == frames - 1, 0, 3 * one),
        4 * one,
    )


def timed(action, best_of=1):
    times = []
    for _ in range(best_of):
        begin = time.perf_counter()
        out = action()
        times.append(time.perf_counter() - begin)
    return min(times), out


def memory():
    "Return the peak memory of this process, in MB."
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def say(what, seconds, n, more=""):
    print(f"{what:62} {seconds:8.2f} s  {n / seconds:12,.0f} /s  {more}", flush=True)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--most", type=int, default=500_000, help="cells of the largest problem")
    most = parser.parse_args().most
    p = dense_costs(1_000, 50)
    seconds, found = timed(lambda: solve_lineage(p, 10**9))
    say(
        f"one program: 50,000 cells, {len(p.src):,} links, {useful_links(p).sum():,} useful",
        seconds,
        50_000,
        f"gap {found.gap:.1e}, {memory()} MB so far",
    )

    import torch

    from celltrack.cases import LapTrack
    from celltrack.link.gnn import LinkNet, predict_links

    torch.set_num_threads(1)
    a, b = (crowd(20_000, 2)[["y", "x"]].to_numpy()[k * 20_000 : (k + 1) * 20_000] for k in (0, 1))
    seconds, _ = timed(lambda: nearest_pairs(a, b, 5, 60.0), 3)
    say("graph, one frame of 20,000 cells, k = 5 (detections)", seconds, 20_000)
    cells = crowd(2_000, 20)
    seconds, links = timed(lambda: candidate_graph(cells))
    say(
        "graph, 20 frames of 2,000 cells, gaps up to 5 (detections)",
        seconds,
        len(cells),
        f"{len(links.src) / len(cells):.1f} links per cell",
    )
    seconds, described = timed(lambda: describe(cells, links))
    say("features", seconds, len(cells))
    labels = drawn(cells)

    def masks():
        pairs = mask_pairs(read_shapes(labels, cells), links.src, links.dst)
        return pair_columns(pairs)

    seconds, _ = timed(masks, 3)
    say("masks alone, with the flow (label images in memory)", seconds, len(cells))
    seconds, described = timed(lambda: describe(cells, links, labels=labels))
    say("features with masks", seconds, len(cells), f"{memory()} MB so far")
    net = LinkNet()
    seconds, _ = timed(lambda: predict_links(net, described))
    say(f"network, {sum(p.numel() for p in net.parameters()):,} parameters", seconds, len(cells))
    seconds, p = timed(lambda: distance_costs(cells))
    with_masks, _ = timed(lambda: distance_costs(cells, labels=labels))
    again, found = timed(lambda: solve_lineage(p))
    say("costs by hand, with graph", seconds, len(cells))
    say("the same with masks", with_masks, len(cells))
    say("integer program on them", again, len(cells), f"gap {found.gap:.1e}")
    try:
        seconds, _ = timed(lambda: LapTrack().link(cells))
        say("LapTrack with splitting, the same cells", seconds, len(cells))
        seconds, _ = timed(lambda: Solver().link(cells))
        say("Solver without learning, from table to tracks", seconds, len(cells))
    except ImportError:
        print("LapTrack is not installed")
    for n in (50_000, 100_000, 200_000, most):
        p = dense_costs(1_000, n // 1_000)
        seconds, found = timed(partial(solve_lineage, p))
        say(
            f"windows: {n:,} cells, {len(p.src):,} links",
            seconds,
            n,
            f"gap {found.gap:.1e} of {found.cost:.0f}, {memory()} MB so far",
        )


if __name__ == "__main__":
    main()
