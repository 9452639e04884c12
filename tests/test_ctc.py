"""The challenge's scores: many randomly broken movies against py-ctcmetrics, and gold slices of volumes by hand."""
import json
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pytest
import tifffile

from celltrack.movie import Movie
from celltrack.formats.ctc import read_gold, write_tracks
from celltrack.score import ctc as module
from celltrack.score.ctc import ctc, read_pair
from celltrack.tracks import Tracks

matplotlib.use("agg")
NOTEBOOK = Path(__file__).parents[1] / "nbs" / "22_score.ctc.ipynb"
SHAPES = [(48, 48), (64, 40), (12, 32, 32), (10, 40, 24)]


@pytest.fixture(scope="module")
def chapter():
    "The names of the chapter's cells that import, and of those that break movies and ask the oracle."
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    wanted = ("import ", "from ", "def renames", "def stretches", "def broken", "def oracle", "THEIR_NAMES")
    body = lambda cell: "".join(line for line in cell["source"] if not line.startswith("#|")).lstrip()
    names = dict(vars(module))
    for cell in cells:
        code = body(cell) if cell["cell_type"] == "code" else ""
        if code.startswith(wanted) and "nbdev" not in code: exec(code, names)
    return names


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.filterwarnings("default")
def test_broken_movies(chapter, shape, seed):
    rng = np.random.default_rng([seed, len(shape), shape[0]])
    world = chapter["simulate"](7, shape, 7, seed=seed + 10)[1]
    compared = []
    for _ in range(3):
        truth = chapter["broken"](world, rng, wild=False)
        compared.append(chapter["differences"](truth, chapter["broken"](truth, rng)))
    assert sum(map(bool, compared)) >= 2                     # the oracle answers most of them
    assert max(max(found) for found in compared if found) < 1e-9


def write_slices(folder, outlines):  # {(frame, z): (y, x)}
    folder.mkdir(parents=True)
    for (t, z), labels in outlines.items(): tifffile.imwrite(folder / f"man_seg_{t:03d}_{z:03d}.tif", labels)


def test_gold_slices_by_hand(tmp_path):
    "Each gold slice is scored alone, against the same slice of the result."
    found = np.zeros((2, 3, 6, 8), np.uint16)
    found[:, :, 1, 1:4] = 1                                  # three pixels of a row in every slice
    found[:, 2, 4, 1:3] = 2                                  # two pixels, in the last slice alone
    labels = Movie(found)
    rows = [(t, k, k, 1., 2., 2.) for t in (0, 1) for k in (1, 2)]
    cells = pd.DataFrame(rows, columns=["frame", "label", "track", "z", "y", "x"])
    tracks = Tracks(cells, labels=labels)
    write_tracks(tracks, tmp_path / "01_GT" / "TRA", truth=True)
    write_tracks(tracks, tmp_path / "01_RES")
    a, b, c = (np.zeros((6, 8), np.uint16) for _ in range(3))
    a[1, 1:5] = 7                                            # four pixels, three found: 3/4
    b[1, 1:7] = 7                                            # six, three found: only half, 0
    b[4, 1:3] = 9                                            # as found: 1
    c[1, 1:3] = 3                                            # two, covered by three: 2/3
    write_slices(tmp_path / "01_GT" / "SEG", {(0, 0): a, (0, 2): b, (1, 1): c})
    jaccard = [3 / 4, 0, 1, 2 / 3]
    truth, result, tables, masks = read_pair(tmp_path / "01_GT", tmp_path / "01_RES")
    for scores in (ctc(truth, result, tables, masks), ctc(tracks, tracks, masks=read_gold(tmp_path / "01_GT" / "SEG"))):
        assert scores["SEG"] == pytest.approx(np.mean(jaccard)) and scores["SEG cells"] == 4 and scores["SEG matched"] == 3
        assert scores["TRA"] == scores["DET"] == 1
