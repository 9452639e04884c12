"""Speed of SORT at constant density, beside a per-object SORT on filterpy and trackpy, in one run.

OMP_NUM_THREADS=1 python benchmarks/sort.py [--quick]
"""

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).parent))
from celltrack.track.sort import Sort
from peer_sort import PeerSort

FRAMES = {20: 1000, 100: 500, 500: 200, 2000: 50, 10_000: 5}  # the same for all trackers
REPEATS = 3  # the best of them counts; two at 10,000 cells


def world(n, frames, seed=0, spacing=46.7, side=20.0, speed=3.0):
    """Return cells with column `true`: boxes of about `side` px, each at a constant velocity,
    measured with noise."""
    rng = np.random.default_rng(seed)
    k = int(np.ceil(np.sqrt(n)))
    place = np.column_stack(np.divmod(np.arange(n), k)) * spacing + rng.uniform(-12, 12, (n, 2))
    velocity = rng.normal(0, speed / np.sqrt(2), (n, 2))
    sides = side * rng.uniform(0.8, 1.2, (n, 2))
    tables = []
    for t in range(frames):
        centre, half = place + rng.normal(0, 0.5, (n, 2)), sides / 2 + rng.normal(0, 0.3, (n, 2))
        order = rng.permutation(n)  # names say nothing
        columns = np.concatenate([centre, centre - half, centre + half], 1)[order]
        table = pd.DataFrame(columns, columns=["y", "x", "y0", "x0", "y1", "x1"])
        tables.append(table.assign(frame=t, label=np.arange(1, n + 1), true=order))
        place = place + velocity
        out = (place < 0) | (place > k * spacing)
        velocity = np.where(
            out & (np.sign(velocity) == np.sign(place - k * spacing / 2)), -velocity, velocity
        )
    return pd.concat(tables, ignore_index=True)


def peer(cells):
    tracker, tracks = PeerSort(), np.zeros(len(cells), int)
    boxes = cells[["x0", "y0", "x1", "y1"]].to_numpy()
    for rows in np.split(np.arange(len(cells)), np.flatnonzero(np.diff(cells.frame)) + 1):
        out = tracker.update(boxes[rows])
        tracks[rows[out[:, 5].astype(int)]] = out[:, 4]
    return cells.assign(track=tracks)


def trackpy(cells):
    import trackpy as tp

    tp.quiet()
    return tp.link(cells, search_range=15, memory=1).rename(columns={"particle": "track"})


TRACKERS = {
    "celltrack": lambda c: Sort().link(c).cells,
    "celltrack reference": lambda c: Sort.reference().link(c).cells,
    "per-object SORT": peer,
    "trackpy": trackpy,
}


def right(cells):
    "Return the share of true links among the links made."
    cells = cells[cells.track >= 0].sort_values(["track", "frame"])
    same = cells.track.to_numpy()[1:] == cells.track.to_numpy()[:-1]
    true = cells.true.to_numpy()
    return (true[1:] == true[:-1])[same].mean()


def measure(cells, repeats):
    """Return {tracker: (detections per second, share of true links)}; the trackers take turns, so
    that all meet the same load."""
    best, out = dict.fromkeys(TRACKERS, np.inf), {}
    for _ in range(repeats):
        for name, function in TRACKERS.items():
            start = time.process_time()
            out[name] = function(cells)
            best[name] = min(best[name], time.process_time() - start)
    return {name: (len(cells) / best[name], right(out[name])) for name in TRACKERS}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="without 10,000 cells per frame")
    sizes = [n for n in FRAMES if n < 10_000 or not parser.parse_args().quick]
    TRACKERS["trackpy"](world(20, 5))  # compile and import outside the clock
    speed = pd.DataFrame(index=sizes, columns=list(TRACKERS), dtype=float)
    share = speed.copy()
    for n in sizes:
        for name, values in measure(world(n, FRAMES[n]), REPEATS if n < 10_000 else 2).items():
            speed.loc[n, name], share.loc[n, name] = values
    seconds = np.array(sizes)[:, None] / speed
    exponent = {name: np.polyfit(np.log(sizes), np.log(seconds[name]), 1)[0] for name in TRACKERS}
    ratio = pd.DataFrame(
        {f"{a} / {b}": speed[a] / speed[b] for a in list(TRACKERS)[:2] for b in list(TRACKERS)[2:]}
    )
    print("detections per CPU second, by cells per frame")
    print(speed.round(0).astype(int).to_string())
    print(
        "\ngrowth exponent of the time per frame:",
        ", ".join(f"{k} {v:.2f}" for k, v in exponent.items()),
    )
    large = [n for n in sizes if n >= 500]
    tail = {
        name: np.polyfit(np.log(large), np.log(seconds.loc[large, name]), 1)[0] for name in TRACKERS
    }
    print("from 500 cells on:", ", ".join(f"{k} {v:.2f}" for k, v in tail.items()))
    print("\nratios")
    print(ratio.round(1).to_string())
    print("\nshare of the links made that are true")
    print(share.round(4).to_string())


if __name__ == "__main__":
    main()
