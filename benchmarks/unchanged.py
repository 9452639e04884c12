"""Do all results stay what they were? Recomputes a fixed list of numbers and compares them with
those on record.

    OMP_NUM_THREADS=1 python benchmarks/unchanged.py
    OMP_NUM_THREADS=1 python benchmarks/unchanged.py --record FILE
    OMP_NUM_THREADS=1 python benchmarks/unchanged.py --only simulate track

The first compares with benchmarks/unchanged.json (1e-9, relative), the second writes the numbers of
this checkout, the third does only these parts of: simulate, files, segment, track, score, train.
Needs the movies under $CELLTRACK_DATA. About four minutes on one core.
"""

import argparse
import json
import math
import os
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch

from celltrack.cases import Case, damaged, open_case, rivals, score_case
from celltrack.formats.coco import read_coco, write_coco
from celltrack.formats.ctc import read_ctc, write_ctc
from celltrack.formats.mot import read_mot, write_mot
from celltrack.link.gnn import TrainGnn
from celltrack.measure import measure_movie
from celltrack.pipeline import TRACKERS, open_tracker
from celltrack.score.overlap import frame_overlap, seg
from celltrack.score.panel import score_tracks
from celltrack.segment.classic import Classic
from celltrack.segment.generalist import TrainUnet
from celltrack.segment.predict import Network
from celltrack.simulate import course_movie, simulate_movie
from celltrack.track.reid import TrainReid
from celltrack.tracks import Tracks

HERE = Path(__file__).parent
MOVIES = {
    "DIC-C2DH-HeLa": 30,
    "Fluo-N2DH-SIM+": 40,
    "Fluo-N2DL-HeLa": 25,
    "PhC-C2DL-PSC": 30,
}  # frames used


def table_numbers(table):
    "Return {column: a number that changes when any value, or the order of the rows, changes}."
    weight = np.cos(np.arange(len(table)))
    numbers = table.select_dtypes(["number", "bool"]).astype(float)
    return {
        column: float(np.nansum(numbers[column].to_numpy() * (1 + weight)))
        for column in sorted(numbers)
    }


def track_numbers(tracks):
    "Return the numbers of the tables of Tracks, rows in order of track and frame."
    cells = tracks.cells.sort_values(["track", "frame"])[["frame", "label", "track", "y", "x"]]
    fates = {fate: float(n) for fate, n in tracks.lineage.fate.value_counts().items()}
    return {**table_numbers(cells), **table_numbers(tracks.lineage), **fates}


def part_of(case, frames):
    "Return the first frames of a Case."
    cells = case.truth.cells[case.truth.cells.frame < frames]
    lineage = case.truth.lineage[case.truth.lineage.start < frames]
    lineage = lineage.assign(end=lineage.end.clip(upper=frames - 1))
    truth = Tracks(cells, lineage, case.truth.labels[:frames], max_children=None)
    return Case(
        case.name,
        case.movie[:frames],
        truth,
        case.labels[:frames],
        tolerance=case.tolerance,
    )


def simulated():
    for modality in ("nuclei", "dic", "phase"):
        movie, truth = simulate_movie(8, (96, 96), 12, modality, seed=3)
        yield (
            modality,
            {
                "pixels": float(np.asarray(movie).astype(float).sum()),
                "labels": float(np.asarray(truth.labels).astype(float).sum()),
                **track_numbers(truth),
            },
        )
    movie, truth = simulate_movie(5, (12, 64, 64), 8, "nuclei", seed=4)
    yield "3D", {"pixels": float(np.asarray(movie).astype(float).sum()), **track_numbers(truth)}
    movie, truth = course_movie()
    yield (
        "course",
        {
            "pixels": float(np.asarray(movie).astype(float).sum()),
            **track_numbers(truth),
            **table_numbers(measure_movie(truth.labels, movie)),
        },
    )


def files():
    movie, truth = course_movie()
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        write_ctc(truth, folder / "01_RES")
        yield "ctc", track_numbers(read_ctc(folder / "01_RES"))
        write_coco(folder / "coco", (movie, truth), dialect="standard")
        yield "coco", track_numbers(read_coco(folder / "coco" / "annotations.json")[0].tracks)
        measured = Tracks(
            truth.cells.merge(
                measure_movie(truth.labels)[["frame", "label", "y0", "x0", "y1", "x1"]]
            ),
            truth.lineage,
        )
        write_mot(measured, folder / "tracks.txt")
        back = read_mot(folder / "tracks.txt")
        yield "mot", track_numbers(back)


def segmented():
    for name in MOVIES:
        case = open_case(f"{name}/01_GT")
        frame, labels = case.movie[0], np.asarray(case.labels[0])
        for segmenter in (Network(), Classic()):
            found = segmenter.fit(case.movie[:4]).segment(frame)
            table = frame_overlap(labels, found)
            yield (
                f"{name} {type(segmenter).__name__}",
                {
                    "cells": float(found.max()),
                    "pixels": float((found > 0).sum()),
                    "SEG": float(seg([table])["SEG"]),
                },
            )


def tracked():
    for name, frames in MOVIES.items():
        whole = part_of(open_case(f"{name}/01_GT"), frames)
        for kind, case in (("clean", whole), ("damaged", damaged(whole, 0))):
            for tracker, linker in ({k: open_tracker(k) for k in TRACKERS} | rivals(case)).items():
                tracks = linker.link(case.cells, case.movie)
                yield (
                    f"{name} {kind} {tracker}",
                    {
                        **{k: float(v) for k, v in score_case(case, tracks).items()},
                        **track_numbers(tracks),
                    },
                )


def scored():
    for name, frames in MOVIES.items():
        case = damaged(part_of(open_case(f"{name}/01_GT"), frames), 1)
        tracks = open_tracker("sort").link(case.cells, case.movie)
        result = Tracks(tracks.cells, tracks.lineage, case.labels, max_children=None)
        for matching in ("marker", "mask"):
            try:
                scores = score_tracks(
                    case.truth,
                    result,
                    masks=case.truth.labels if matching == "mask" else None,
                    matching=matching,
                )
            except Exception as e:
                raise RuntimeError(f"{name} {matching}: {e}") from e
            yield (
                f"{name} {matching}",
                {k: float(scores[k]) for k in scores.values}
                | {f"count {k}": float(v) for k, v in scores.counts.items() if np.ndim(v) == 0},
            )


def trained():
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        folder, stdout = Path(folder), sys.stdout
        for command, kept in (
            (
                TrainUnet(
                    [Path("DIC-C2DH-HeLa/01")],
                    folder / "unet",
                    steps=4,
                    every=4,
                    simulated=0,
                    size=64,
                ),
                "last",
            ),
            (TrainReid([Path("DIC-C2DH-HeLa/01")], folder / "reid", steps=4, every=4), "last"),
            (
                TrainGnn([Path("DIC-C2DH-HeLa/01")], folder / "gnn", simulated=1, steps=4, every=4),
                "last",
            ),
        ):
            sys.stdout = open(os.devnull, "w")
            try:
                command.run()
            finally:
                sys.stdout = stdout
            from safetensors.numpy import load_file

            tensors = load_file(command.out / f"{kept}.safetensors")
            yield (
                type(command).__name__,
                {
                    "sum": float(sum(abs(a.astype(float)).sum() for a in tensors.values())),
                    "count": float(sum(a.size for a in tensors.values())),
                },
            )


PARTS = {
    "simulate": simulated,
    "files": files,
    "segment": segmented,
    "track": tracked,
    "score": scored,
    "train": trained,
}


def same(a, b):
    return a == b or math.isnan(a) and math.isnan(b) or abs(a - b) <= 1e-9 * max(abs(a), abs(b), 1)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--record", type=Path)
    parser.add_argument("--only", nargs="*", choices=PARTS, default=list(PARTS))
    options = parser.parse_args()
    found = {}
    for part in options.only:
        begin = time.perf_counter()
        found |= {
            f"{part}: {what}: {k}": v for what, numbers in PARTS[part]() for k, v in numbers.items()
        }
        print(f"{part}: {time.perf_counter() - begin:.0f} s", flush=True)
    if options.record:
        options.record.write_text(json.dumps(found, indent=0) + "\n")
        return print(f"{len(found)} numbers -> {options.record}")
    known = {
        k: v
        for k, v in json.loads((HERE / "unchanged.json").read_text()).items()
        if k.split(":")[0] in options.only
    }
    wrong = [
        k
        for k in known.keys() | found.keys()
        if k not in known or k not in found or not same(known[k], found[k])
    ]
    for k in sorted(wrong):
        print(f"{k}: {known.get(k)} -> {found.get(k)}")
    print(
        f"{len(known.keys() | found.keys()) - len(wrong)} numbers are the same, {len(wrong)} differ"
    )
    return len(wrong) > 0


if __name__ == "__main__":
    sys.exit(main())
