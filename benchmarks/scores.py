"""The scores against the programs that others trust, in one run, one thread each: time, memory, and
how far the numbers differ.

    python benchmarks/scores.py [PART ...] [--repeat N] [--rate R]
                                [--frames N --side PIXELS --cells N]

hela    the challenge's panel from files, against py-ctcmetrics: Fluo-N2DL-HeLa_full/01 under
        $CELLTRACK_GOLDEN
psc     the same for the truth of PhC-C2DL-PSC/01 under $CELLTRACK_DATA against itself, damaged at
        random
mot     HOTA, CLEAR and identity of both, label images in memory, against TrackEval
memory  how much memory the overlap tables need, and how much comes on top, for a movie and one
        four times as long
big     a simulated movie in memory, 500 frames of 1024 x 1024 with 2000 cells each, scored with
        everything

All take turns, equally often. Tables give CPU seconds, median and best, and their ratios to the
peer's.
"""

import argparse
import contextlib
import io
import os
import statistics
import sys
import tempfile
import time
import tracemalloc
import warnings
from functools import cache, partial
from pathlib import Path

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"
HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parent / "tests"))  # the damage is that of the tests

import numpy as np
import pandas as pd
from ctc_metrics.metrics import ALL_METRICS
from ctc_metrics.scripts.evaluate import evaluate_sequence
from pycocotools import mask as coco
from trackeval.metrics import CLEAR, HOTA, Identity

from celltrack.formats.ctc import read_ctc, write_ctc, write_masks
from celltrack.images import read_image
from celltrack.movie import Movie
from celltrack.score.ctc import (
    CHALLENGE as CHALLENGE_FAMILY,
    biology_counts,
    lineages,
    matched_nodes,
    score_ctc,
)
from celltrack.score.mot import (
    HOTA as HOTA_FAMILY,
    MOT,
    hota_counts,
    mot_counts,
    pair_detections,
    rows_of_labels,
)
from celltrack.score.overlap import Comparison, overlaps
from celltrack.score.panel import read_pair
from celltrack.tracks import Tracks, make_lineage
from damaged import damaged
from oracles import CHALLENGE, WITHIN

GOLDEN, DATA = (Path(os.environ.get(name, name)) for name in ("CELLTRACK_GOLDEN", "CELLTRACK_DATA"))


def seconds(function):
    "Return (CPU seconds of one run, its value)."
    start = time.process_time()
    value = function()
    return time.process_time() - start, value


def race(title, functions, repeat):  # {name: function}, the peer first
    "Print how long each takes, and return what each returns."
    times, values = {name: [] for name in functions}, {}
    for _ in range(repeat):  # other work on the machine slows everything: take turns
        for name, function in functions.items():
            spent, values[name] = seconds(function)
            times[name].append(spent)
    peer = next(iter(functions))
    print(
        f"\n| {title}, {repeat} runs each | median s | peer / it | best s | peer / it |"
        "\n|---|---|---|---|---|"
    )
    for name, spent in times.items():
        columns = [
            f"{f(spent):.3f} | {f(times[peer]) / f(spent):.1f}" for f in (statistics.median, min)
        ]
        print(f"| {name} | {' | '.join(columns)} |")
    return values


def theirs(truth, result):
    "Return all numbers of py-ctcmetrics."
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of empty frames, which are legal
        return evaluate_sequence(str(result), str(truth), list(ALL_METRICS), threads=1)


def ours(truth, result):
    """Return the challenge's numbers, divisions within 0 to 3 frames as the peer has them, from one
    overlap table per frame."""
    *tracks, tables, masks = read_pair(truth, result)
    found = score_ctc(*tracks, tables, masks, tolerance=0, official=True)
    comparison = Comparison(*tracks, tables)
    x, y = comparison.part(lineages)
    pairs = comparison.part(matched_nodes)
    within = [
        found,
        *(
            CHALLENGE_FAMILY.scores(found.counts | biology_counts(x, y, pairs, i, official=True), i)
            for i in (1, 2, 3)
        ),
    ]
    divisions = {
        f"{k}({i})": v
        for i, s in enumerate(within)
        for k, v in s.counts.items()
        if k.startswith("division")
    }
    return found.counts | divisions | {k: v for s in within for k, v in s.values.items()}


def held(truth, result):
    "Return the same two folders as Tracks with all label images in memory."
    sides = read_pair(truth, result)[:2]
    return [
        Tracks(
            s.cells, s.lineage, Movie(np.asarray(s.labels), first=s.labels.first), max_children=None
        )
        for s in sides
    ]


def panel(title, truth, result, repeat):  # folders
    "Race the panel from files against py-ctcmetrics; return the numbers that differ."
    files = sorted(p for folder in (truth, result) for p in folder.rglob("*.tif"))
    for path in files:
        read_image(path)  # both find the files in the cache of the operating system
    values = race(
        f"{title}: the challenge's panel, {len(files)} label images",
        {
            "py-ctcmetrics, all its metrics": partial(theirs, truth, result),
            "celltrack": partial(ours, truth, result),
        },
        repeat,
    )
    peer, mine = values.values()
    same = CHALLENGE | {f"{k}({i})": f"{name}({i})" for i in range(4) for k, name in WITHIN.items()}
    apart = {k: abs(mine[k] - peer[name]) for k, name in same.items() if peer.get(name) is not None}
    return report(apart, mine, ("SEG", "DET", "TRA", "CT", "TF", "BIO(1)", "CHOTA"))


def report(apart, scores, names):  # {name: difference}
    """Print the largest difference and some scores; return the differences that are none of
    rounding."""
    worst = max(apart, key=apart.get)
    print(
        f"\nlargest difference of {len(apart)} numbers: {apart[worst]:.1e} ({worst});",
        *(f"{k} {scores[k]:.4f}" for k in names),
    )
    return {k: d for k, d in apart.items() if not d < 1e-9}


def rebased(folder, target, rate):
    """Write a truth with its files counted from 0, as the peer needs them, and the same damaged;
    return both folders.

    The cells of the truth serve as outlines as well.
    """
    truth, gt, res = read_ctc(folder), target / "01_GT", target / "01_RES"
    write_ctc(truth, gt / "TRA", first=0, truth=True)
    write_masks(truth.relabelled(), gt / "SEG", "man_seg", first=0)
    write_ctc(damaged(truth, np.random.default_rng(0), rate=rate), res, first=0)
    for table in target.rglob(
        "*_track.txt"
    ):  # parents first: elsewhere the peer's CHOTA loses them
        table.write_text(
            "".join(
                sorted(table.read_text().splitlines(True), key=lambda line: int(line.split()[1]))
            )
        )
    return gt, res


@cache
def psc(rate):
    """Return the folders of PhC-C2DL-PSC/01 and itself damaged; the temporary folder lives as long
    as the program."""
    folder = tempfile.TemporaryDirectory()
    return *rebased(DATA / "PhC-C2DL-PSC/01_GT", Path(folder.name), rate), folder


def hela():
    return GOLDEN / "Fluo-N2DL-HeLa_full/01_GT", GOLDEN / "Fluo-N2DL-HeLa_full/01_RES"


def track_of_labels(tracks, tables, side):
    "Return for each frame the track of each of its labels, 0 for labels of no track."
    cells = tracks.cells[tracks.cells.label > 0]
    rows = rows_of_labels(cells.frame.to_numpy(int), cells.label.to_numpy(int), tables, side)
    return [np.append(cells.track.to_numpy(int), 0)[row] for row in rows]


def sequence(truth, result, tables):
    """Return what TrackEval's metrics take, but for the similarities: ids from 0 of the joined
    tracks in each frame."""
    data = {"num_timesteps": len(tables)}
    for who, side, tracks in (
        ("gt", "truth", truth.joined()),
        ("tracker", "result", result.joined()),
    ):
        ids = track_of_labels(tracks, tables, side)
        known, dense = np.unique(np.concatenate(ids), return_inverse=True)
        data |= {
            f"num_{who}_ids": len(known),
            f"num_{who}_dets": len(dense),
            f"{who}_ids": np.split(dense, np.cumsum([len(x) for x in ids])[:-1]),
        }
    return data


def run_lengths(image):
    """Return the masks of all labels as pycocotools encodes them: how long each is off and on, down
    the columns."""
    flat = image.ravel(order="F")
    start = np.flatnonzero(np.append(True, flat[1:] != flat[:-1]))
    label, length = flat[start], np.diff(start, append=flat.size)

    def counts(mine):
        end = start[mine] + length[mine]
        off = start[mine] - np.append(0, end[:-1])
        return [*np.stack([off, length[mine]], axis=1).ravel().tolist(), int(flat.size - end[-1])]

    masks = [
        {"counts": counts(label == k), "size": image.shape} for k in np.unique(label[label > 0])
    ]
    return coco.frPyObjects(masks, *image.shape) if masks else []


def from_masks(a, b):
    "Return the IoU of all pairs of a frame, as TrackEval's data sets of masks compute it."
    return np.asarray(coco.iou(a, b, [False] * len(b)), float).reshape(len(a), len(b))


def from_table(o):
    "Return the same from our Overlap."
    dense = np.zeros((len(o.truth_labels), len(o.result_labels)))
    dense[o.truth, o.result] = o.jaccard
    return dense


def trackeval(data, similarity):
    quiet, data = {"PRINT_CONFIG": False}, data | {"similarity_scores": list(similarity)}
    return {
        k: v
        for metric in (HOTA(), CLEAR(quiet), Identity(quiet))
        for k, v in metric.eval_sequence(data).items()
    }


def tracking(title, truth, result, repeat):  # Tracks with labels in memory
    "Race HOTA, CLEAR and identity against TrackEval, and compare what both define in the same way."
    data = sequence(truth, result, overlaps(truth, result))

    def encode():
        pairs = zip(truth.labels, result.labels, strict=True)
        return [(run_lengths(a), run_lengths(b)) for a, b in pairs]

    masks = encode()

    def mine():
        tables = overlaps(truth, result)
        pairs = pair_detections(truth, result, tables, matching="mask")
        return MOT.scores(mot_counts(pairs)) + HOTA_FAMILY.scores(hota_counts(pairs))

    values = race(
        f"{title}: overlap, HOTA, CLEAR, identity",
        {
            "TrackEval, from label images: run lengths, their IoU": lambda: trackeval(
                data, (from_masks(*m) for m in encode())
            ),
            "TrackEval, run lengths made before": lambda: trackeval(
                data, (from_masks(*m) for m in masks)
            ),
            "TrackEval, its IoU from celltrack's table": lambda: trackeval(
                data, map(from_table, overlaps(truth, result))
            ),
            "celltrack": mine,
        },
        repeat,
    )
    peer, *_, scores = values.values()
    same = (
        "HOTA",
        "DetA",
        "AssA",
        "LocA",
        "DetRe",
        "DetPr",
        "AssRe",
        "AssPr",
        "IDTP",
        "IDF1",
        "IDP",
        "IDR",
    )
    apart = {k: abs(float(np.mean(peer[k]) - scores[k])) for k in same}
    return report(apart, scores, ("HOTA", "MOTA", "IDF1"))


class Plate:
    "Label images of discs that wander around the sites of a grid, each drawn when it is asked for."

    def __init__(self, frames, side, cells, rng):
        n = int(np.ceil(np.sqrt(cells)))
        self.frames, self.side, step = frames, side, side / n
        self.site = (np.stack(np.divmod(np.arange(cells), n), axis=1) + 0.5) * step
        self.phase, self.speed, self.reach = (
            rng.uniform(0, 7, (cells, 2)),
            rng.uniform(0.1, 0.5, (cells, 2)),
            0.1 * step,
        )
        self.radius = r = int(0.46 * step)  # neighbours touch, and take pixels from each other
        grid = np.stack(np.mgrid[-r : r + 1, -r : r + 1], axis=-1).reshape(-1, 2)
        self.disc = grid[(grid**2).sum(axis=1) <= r * r] @ [side, 1]

    def __len__(self):
        return self.frames

    def centres(self, t):
        place = self.site + self.reach * np.sin(self.phase + t * self.speed)
        return place.astype(int).clip(self.radius, self.side - 1 - self.radius)

    def __getitem__(self, t):
        image = np.zeros(self.side**2, np.uint16)
        image[(self.centres(t) @ [self.side, 1])[:, None] + self.disc] = np.arange(
            1, len(self.site) + 1
        )[:, None]
        return image.reshape(self.side, self.side)


def plate(frames, side, cells, rng, divisions=0.005):
    """Return the truth of a Plate: now and then a cell divides, and its daughter takes the place of
    a neighbour, which dies."""
    images = Plate(frames, side, cells, rng)
    track, parents, now = [], {}, np.arange(1, cells + 1)
    for t in range(frames):
        mothers = np.flatnonzero(rng.random(cells // 2) < divisions * (t > 0)) * 2
        new = now.max() + 1 + np.arange(2 * len(mothers))
        parents |= dict(zip(new.tolist(), np.tile(now[mothers], 2).tolist(), strict=True))
        now = now.copy()
        now[np.r_[mothers, mothers + 1]] = new
        track.append(now)
    where = np.concatenate([images.centres(t) for t in range(frames)]).astype(float)
    table = pd.DataFrame(
        {
            "frame": np.repeat(np.arange(frames), cells),
            "label": np.tile(np.arange(1, cells + 1), frames),
            "track": np.concatenate(track),
            "y": where[:, 0],
            "x": where[:, 1],
        }
    )
    labels = Movie(images, shape=(side, side))
    return Tracks(table, make_lineage(table, parents, labels), labels)


def memory(frames, side, cells):
    """Print how much memory scoring takes, for a movie and one four times as long; no movie is ever
    held."""
    print(
        f"\n| frames of {side} x {side} | cells | tables, MB "
        "| on top while they are made, MB | on top while scoring, MB |"
    )
    print("|---|---|---|---|---|")
    for n in (frames, 4 * frames):
        truth = plate(n, side, cells, np.random.default_rng(0))
        result = Tracks(
            truth.cells, truth.lineage, truth.labels.map(lambda image: np.roll(image, 2, 1))
        )
        tracemalloc.start()
        tables = overlaps(truth, result)
        kept, making = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        pairs = pair_detections(truth, result, tables)
        _ = (
            score_ctc(truth, result, tables, masks=tables),
            MOT.scores(mot_counts(pairs)),
            HOTA_FAMILY.scores(hota_counts(pairs)),
        )
        scoring = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        print(
            f"| {n} | {len(truth.cells):,} |",
            " | ".join(f"{x / 1e6:.1f}" for x in (kept, making - kept, scoring - kept)),
            "|",
        )


def big(frames, side, cells, rate):
    "Print the seconds that each part of scoring a large movie in memory takes."
    rng = np.random.default_rng(0)
    lazy = plate(frames, side, cells, rng)
    truth = Tracks(lazy.cells, lazy.lineage, Movie(np.stack(list(lazy.labels))))
    result = damaged(truth, rng, rate=rate)
    print(f"\ntruth {truth}, result {result}")
    print(
        f"\n| {frames} frames of {side} x {side}, {cells} cells each | CPU s | elapsed s |"
        "\n|---|---|---|"
    )
    made, sums = {}, np.zeros(2)
    parts = {
        "overlap tables": lambda: overlaps(truth, result),
        "SEG and CTC": lambda: score_ctc(
            truth, result, made["overlap tables"], masks=made["overlap tables"]
        ),
        "pairs of cells": lambda: pair_detections(truth, result, made["overlap tables"]),
        "CLEAR and identity": lambda: MOT.scores(mot_counts(made["pairs of cells"])),
        "HOTA": lambda: HOTA_FAMILY.scores(hota_counts(made["pairs of cells"])),
    }
    for name, part in parts.items():
        begin = time.perf_counter()
        spent, made[name] = seconds(part)
        took = np.array([spent, time.perf_counter() - begin])
        sums += took
        print(f"| {name} | {took[0]:.1f} | {took[1]:.1f} |")
    print(f"| all | {sums[0]:.1f} | {sums[1]:.1f} |\n")
    scores = made["SEG and CTC"] + made["CLEAR and identity"] + made["HOTA"]
    print(
        *(
            f"{k} {scores[k]:.4f}"
            for k in ("SEG", "DET", "TRA", "CT", "TF", "CHOTA", "MOTA", "IDF1", "HOTA")
        )
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", nargs="*", help="hela, psc, mot, memory, big; default: all")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument(
        "--rate",
        type=float,
        default=0.2,
        help="of errors in a damaged movie; at 1 about one cell in ten suffers",
    )
    parser.add_argument("--frames", type=int, default=500)
    parser.add_argument("--side", type=int, default=1024)
    parser.add_argument("--cells", type=int, default=2000)
    args, odd = parser.parse_args(), {}
    todo = args.part or ["hela", "psc", "mot", "memory", "big"]
    if "hela" in todo:
        odd |= panel("Fluo-N2DL-HeLa_full", *hela(), args.repeat)
    if "psc" in todo:
        odd |= panel("PhC-C2DL-PSC damaged", *psc(args.rate)[:2], args.repeat)
    if "mot" in todo:
        for title, folders in (
            ("Fluo-N2DL-HeLa_full", hela()),
            ("PhC-C2DL-PSC damaged", psc(args.rate)[:2]),
        ):
            odd |= tracking(title, *held(*folders), args.repeat)
    if "memory" in todo:
        memory(args.frames // 20, args.side, args.cells)
    if "big" in todo:
        big(args.frames, args.side, args.cells, args.rate)
    if odd:
        raise SystemExit(f"the numbers differ: {odd}")


if __name__ == "__main__":
    main()
