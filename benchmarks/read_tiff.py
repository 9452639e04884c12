"""What does the short cut of chapter 07 bring? Label images, by `read_image` and by tifffile.

    python benchmarks/read_tiff.py [FOLDER ...]

Without a folder it writes 40 label images of the course's movie, packed and not, and reads those.
It prints milliseconds per file, each the best of five rounds, and their ratio.
"""

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import tifffile

from celltrack.images import image_files, read_image
from celltrack.simulate import course_movie

ROUNDS = 5


def milliseconds(read, files):
    "Return the time per file of the best of some rounds."
    seconds = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        for path in files:
            read(path)
        seconds.append(time.perf_counter() - start)
    return 1000 * min(seconds) / len(files)


def write_labels(folder):
    "Write label images of 1024 × 1024 pixels in two dialects; return their folders."
    labels = course_movie()[1].labels
    folders = []
    for compression in (None, "deflate"):
        target = Path(folder) / (compression or "not packed")
        target.mkdir()
        for t in range(40):
            image = np.tile(labels[t], (4, 4))
            tifffile.imwrite(target / f"mask{t:03}.tif", image, compression=compression)
        folders.append(target)
    return folders


def main():
    "Print a row per folder."
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        for folder in sys.argv[1:] or write_labels(temporary):
            files = image_files(folder)
            ours, theirs = milliseconds(read_image, files), milliseconds(tifffile.imread, files)
            row = {"files": len(files), "read_image": ours, "tifffile": theirs}
            rows.append({"folder": Path(folder).name, **row, "ratio": theirs / ours})
    print(pd.DataFrame(rows).round(2).to_markdown(index=False))


if __name__ == "__main__":
    main()
