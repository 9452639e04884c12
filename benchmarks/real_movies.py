"""Track four movies of the challenge from their raw images, score them, and write the table of
chapter 65.

    python benchmarks/real_movies.py
    python benchmarks/real_movies.py --crop

All movies under $CELLTRACK_DATA; writes nbs/tables/real_movies.csv and .json. With --crop only the
row of the crop, the first ten frames of one movie, printed.

SEG is measured against gold outlines where the movie has them, else against silver ones; the column
`outlines` says which. The shipped network was trained on these four sequences, and the presets
of the classic way were chosen on them: SEG and DET are fitted values of both.
benchmarks/segmentation.py scores a network on frames that it never saw.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from itertools import product
from pathlib import Path

import pandas as pd

from celltrack.formats.ctc import numbered_files, read_table
from celltrack.formats.dataset import find_movie
from tables import TABLES, run_record, write_table

MOVIES = ["DIC-C2DH-HeLa/01", "Fluo-N2DH-SIM+/01", "Fluo-N2DL-HeLa/01", "PhC-C2DL-PSC/01"]
MODELS = ["generalist", "classic"]
CROP, FRAMES = "Fluo-N2DH-SIM+/01", 10
KEPT = ["SEG", "DET", "TRA", "LNK", "MOTA", "IDF1"]
LIBRARIES = ["numpy", "scipy", "pandas", "scikit-image", "motmetrics", "torch"]


def celltrack(*args):
    "Run one celltrack command as a user would."
    done = subprocess.run(
        [sys.executable, "-m", "celltrack.cli", *map(str, args)], capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(f"celltrack {args[0]} failed: {done.stderr.strip()}")


def shortened(movie, frames, folder):  # 01 with its 01_GT beside it
    "Copy the first frames of a movie and of its truth; return the copy's path."
    first = numbered_files(movie).frame.min()
    truth = movie.with_name(movie.name + "_GT")
    for place in (movie, truth / "TRA", truth / "SEG"):
        if not place.is_dir():
            continue
        copy = folder / place.relative_to(movie.parent)
        copy.mkdir(parents=True)
        files = numbered_files(place)
        for path in files.path[files.frame < first + frames]:
            shutil.copy(path, copy)
    table, _ = read_table(truth / "TRA" / "man_track.txt")
    table = table[table.start < first + frames].assign(
        end=lambda t: t.end.clip(upper=first + frames - 1)
    )
    table.to_csv(folder / truth.name / "TRA" / "man_track.txt", sep=" ", header=False, index=False)
    return folder / movie.name


def row_of(movie, name, folder, model):  # 01 with its 01_GT beside it
    "Track and score one movie; return its row of the table and the run record of the command."
    celltrack("track", movie, "--out", folder, "--model", model)
    result = next(Path(folder).glob("*/*_RES"))
    truth = movie.with_name(movie.name + "_GT")
    celltrack("score", truth, result, "--csv", Path(folder) / "scores.csv")
    scores = pd.read_csv(Path(folder) / "scores.csv").iloc[0]
    outlines = "gold" if (truth / "SEG").is_dir() else "silver"
    files = len(numbered_files(movie))
    row = {
        "movie": name,
        "model": model,
        "frames": files,
        "outlines": outlines,
        **{k: round(scores[k], 6) for k in KEPT},
    }
    return row, json.loads((result.parent / "run.json").read_text())


def crop_row():
    with tempfile.TemporaryDirectory() as folder:
        movie = shortened(find_movie(CROP), FRAMES, Path(folder) / "movie")
        return row_of(movie, f"{CROP}, first {FRAMES} frames", Path(folder) / "out", MODELS[0])


def without_paths(record):
    "Return a run record without the places of this machine."
    if isinstance(record, dict):
        return {
            k: without_paths(v)
            for k, v in record.items()
            if k not in ("movie", "movies", "source", "path", "out")
        }
    return (
        Path(record).name
        if isinstance(record, str) and os.sep in record and Path(record).is_absolute()
        else record
    )


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=TABLES / "real_movies.csv")
    parser.add_argument("--crop", action="store_true", help="only the crop row, printed as CSV")
    options = parser.parse_args()
    if options.crop:
        return print(pd.DataFrame([crop_row()[0]]).to_csv(index=False), end="")
    rows, records = [], {}
    for name, model in product(MOVIES, MODELS):
        with tempfile.TemporaryDirectory() as folder:
            row, record = row_of(find_movie(name), name, Path(folder) / "out", model)
        rows.append(row)
        records[f"{name}, {model}"] = without_paths(record)
        print(pd.DataFrame([row]).to_string(index=False), flush=True)
    rows.append(crop_row()[0])
    record = run_record("real_movies.py", LIBRARIES, {"runs": records})
    write_table(pd.DataFrame(rows), record, options.out.resolve())
    print(pd.DataFrame(rows).to_string(index=False))


if __name__ == "__main__":
    main()
