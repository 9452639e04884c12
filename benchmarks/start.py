"""The opening chapter's question, asked with three kinds of outlines: the table of nbs/start.ipynb.

    python benchmarks/start.py

Writes nbs/tables/start.csv and its run record: each cell whose birth was seen in the course's
movie, how long it was seen, and whether it was seen to divide. The tracker is the same for all
three. About two minutes on one core, nearly all of it the network.
"""

import os
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")

import pandas as pd

import celltrack as ct
from celltrack.simulate import course_movie
from tables import run_record, write_table

OUTLINES = {"classic": "classic", "network": "auto", "true outlines": None}


def cycles(outlines, tracks):
    "Return a table with a row per cell whose birth was seen."
    born = tracks.lineage[tracks.lineage.parent > 0]
    table = pd.DataFrame({"outlines": outlines, "track": born.track, "start": born.start})
    table["frames"] = born.end - born.start + 1
    return table.assign(divided=born.fate == "divided")


if __name__ == "__main__":
    start = time.perf_counter()
    movie, truth = course_movie()
    tables = []
    for name, segmenter in OUTLINES.items():
        labels = truth.labels if segmenter is None else None
        tracks = ct.track_movie(movie, segmenter, labels=labels)
        scores = ct.score_tracks(truth, tracks, masks=truth.labels)
        print(name, {k: round(scores[k], 3) for k in ("SEG", "DET", "IDF1", "division F1")})
        tables.append(cycles(name, tracks))
    record = run_record("start.py", ["numpy", "scipy", "torch"], {"outlines": [*OUTLINES]}, start)
    write_table(pd.concat(tables), record, "start")
