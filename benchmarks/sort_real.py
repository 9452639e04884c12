"""SORT's cell default, its neighbours, and its two matchings on four challenge movies, with silver
(SIM+: gold) masks as labels, clean and damaged.

    python benchmarks/sort_real.py        writes nbs/tables/sort_real.csv and its run record
Needs the movies under $CELLTRACK_DATA. One set of parameters serves all movies; the neighbours of
the default show how much hangs on each. The matchings, closeness and overlap, differ in nothing
else: each stands there without and with the rule for divisions, on clean detections and on six
draws of damaged ones. `ends` and `runs on` count the true divisions whose mother and two daughters
were detected: what became of the track of the mother's last cell.
"""

import time
from dataclasses import dataclass

import numpy as np
import pandas as pd

from celltrack.cases import damaged, open_case
from celltrack.score.panel import score_tracks
from celltrack.track.kalman import BoxMotion, PointMotion
from celltrack.track.sort import Sort, close_pairs, match_boxes, solve_assignment
from celltrack.tracks import Tracks
from tables import TOLERANCES, run_record, write_table

SEEDS = range(6)
COLUMNS = ["LNK", "IDF1", "TRA", "DET", "MOTA", "division F1"]


@dataclass
class OverlapSort(Sort):
    "Sort whose pairs are those of the paper: the largest total IoU, then a threshold."

    threshold: float = 0.3

    def match(self, expected, boxes):
        return match_boxes(expected, boxes, self.threshold)


@dataclass
class ClosenessSort(Sort):
    "Sort whose pairs have the largest total closeness; overlap counts nothing."

    def match(self, expected, boxes):
        src, dst, closeness = close_pairs(expected, boxes, self.gate)
        return solve_assignment(src, dst, -closeness)


NEIGHBOURS = {  # of the default
    "gate 1": Sort(gate=1.0),
    "gate 2": Sort(gate=2.0),
    "max_age 0": Sort(max_age=0),
    "max_age 2": Sort(max_age=2),
    "min_hits 3": Sort(min_hits=3),
    "shrink 0.7": Sort(shrink=0.7),
    "shrink 0.9": Sort(shrink=0.9),
    "velocity 10": Sort(lambda d: PointMotion(d, velocity=10.0)),
    "BoxMotion": Sort(BoxMotion),
}
MATCHINGS = {  # the default and "no divisions" match by closeness plus overlap
    "default": Sort(),
    "no divisions": Sort(shrink=0),
    "closeness": ClosenessSort(),
    "closeness, no divisions": ClosenessSort(shrink=0),
    "overlap": OverlapSort(),
    "overlap, no divisions": OverlapSort(shrink=0),
    "overlap 0.1, no divisions": OverlapSort(shrink=0, threshold=0.1),
    "overlap 0.5, no divisions": OverlapSort(shrink=0, threshold=0.5),
    "reference": Sort.reference(),
    "reference, min_hits 0": Sort.reference(min_hits=0),
}


def found_labels(tables):
    "Return {(frame, true label): label of the detection that covers over half of it}."
    return {
        (t, a): b
        for t, table in enumerate(tables)
        for a, b in zip(*(x.tolist() for x in table.matched_labels), strict=True)
    }


def mothers_tracks(truth, linked, tables):
    "Return how many mothers' tracks end at a true division, and how many run on in a daughter."
    found = found_labels(tables)
    cells = linked.cells[linked.cells.label > 0]
    track_of = dict(zip(zip(cells.frame, cells.label, strict=True), cells.track, strict=True))
    true = truth.cells.set_index(["track", "frame"]).label
    first = truth.lineage.set_index("track").start
    ends = []
    for mother, frame, children in truth.divisions().itertuples(index=False):
        family = [(frame, true[mother, frame])]
        family += [(first[child], true[child, first[child]]) for child in children]
        tracks = [track_of.get((t, found.get((t, label)))) for t, label in family]
        if None not in tracks:
            ends.append(tracks[0] not in tracks[1:])
    return sum(ends), len(ends) - sum(ends)


def run(case, trackers, **about):
    "Return one row per tracker for one case."
    rows = []
    for variant, tracker in trackers.items():
        start = time.perf_counter()
        linked = tracker.link(case.cells)
        seconds = time.perf_counter() - start
        result = Tracks(linked.cells, linked.lineage, case.labels)
        scores = score_tracks(case.truth, result, case.tables)
        ends, runs_on = mothers_tracks(case.truth, linked, case.tables)
        rows.append(
            {
                **about,
                "variant": variant,
                **{c: round(scores[c], 4) for c in COLUMNS},
                "true divisions": len(case.truth.divisions()),
                "divisions": len(linked.divisions()),
                "false links": scores.counts["ED"],
                "missed links": scores.counts["EA"],
                "ends": ends,
                "runs on": runs_on,
                "cells": len(case.cells),
                "seconds": round(seconds, 3),
            }
        )
        print(rows[-1], flush=True)
    return rows


def run_movie(name):
    "Return the rows of a movie: clean detections, then damaged ones."
    case = open_case(f"{name}/01")
    rows = run(case, MATCHINGS | NEIGHBOURS, movie=name, detections="clean", seed=np.nan)
    for seed in SEEDS:
        rows += run(damaged(case, seed), MATCHINGS, movie=name, detections="damaged", seed=seed)
    return rows


def main():
    start = time.perf_counter()
    table = pd.DataFrame([row for name in TOLERANCES for row in run_movie(name)])
    table["seed"] = table.seed.astype("Int64")
    packages = ["numpy", "scipy", "pandas", "motmetrics"]
    settings = {"movies": [f"{name}/01" for name in TOLERANCES], "seeds": list(SEEDS)}
    write_table(table, run_record("sort_real.py", packages, settings, start), "sort_real")


if __name__ == "__main__":
    main()
