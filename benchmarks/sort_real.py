"""SORT's cell default and its neighbours on four real movies, with silver (SIM+: gold) masks as
labels.

    python benchmarks/sort_real.py        writes nbs/tables/sort_real.csv and its run record
Needs the movies under $CELLTRACK_DATA. One set of parameters serves all movies; the neighbours of
the default show how much hangs on each.
"""

import time

import pandas as pd

from celltrack.formats.ctc import read_ctc, read_masks
from celltrack.formats.dataset import find_movie
from celltrack.measure import measure_movie
from celltrack.score.overlap import overlaps
from celltrack.score.panel import score_tracks
from celltrack.track.kalman import BoxMotion, PointMotion
from celltrack.track.sort import Sort
from celltrack.tracks import Tracks
from tables import run_record, write_table

MOVIES = {
    "DIC-C2DH-HeLa": "01_ST/SEG",
    "Fluo-N2DH-SIM+": "01_GT/SEG",
    "Fluo-N2DL-HeLa": "01_ST/SEG",
    "PhC-C2DL-PSC": "01_ST/SEG",
}
VARIANTS = {
    "default": {},
    "gate 1": {"gate": 1.0},
    "gate 2": {"gate": 2.0},
    "max_age 0": {"max_age": 0},
    "max_age 2": {"max_age": 2},
    "min_hits 3": {"min_hits": 3},
    "shrink 0.7": {"shrink": 0.7},
    "shrink 0.9": {"shrink": 0.9},
    "no divisions": {"shrink": 0},
    "velocity 10": {"motion": lambda d: PointMotion(d, velocity=10.0)},
    "BoxMotion": {"motion": BoxMotion},
}
COLUMNS = ["LNK", "IDF1", "TRA", "DET", "MOTA"]


def run(name, masks):
    "Return one row per variant for one movie."
    truth, labels = (
        read_ctc(find_movie(f"{name}/01_GT")),
        read_masks(find_movie(f"{name}/{masks}"))[0],
    )
    tables, cells, rows = overlaps(truth.labels, labels), measure_movie(labels), []
    trackers = {k: Sort(**v) for k, v in VARIANTS.items()} | {"reference": Sort.reference()}
    for variant, tracker in trackers.items():
        start = time.perf_counter()
        linked = tracker.link(cells)
        seconds = time.perf_counter() - start
        scores = score_tracks(truth, Tracks(linked.cells, linked.lineage, labels), tables)
        rows.append(
            {
                "movie": name,
                "variant": variant,
                **{c: round(scores[c], 4) for c in COLUMNS},
                "divisions": len(linked.divisions()),
                "cells": len(cells),
                "seconds": round(seconds, 3),
            }
        )
        print(rows[-1])
    return rows


def main():
    start = time.perf_counter()
    table = pd.DataFrame([row for name, masks in MOVIES.items() for row in run(name, masks)])
    packages = ["numpy", "scipy", "pandas", "motmetrics"]
    record = run_record("sort_real.py", packages, {"masks": MOVIES, "seed": None}, start)
    write_table(table, record, "sort_real")


if __name__ == "__main__":
    main()
