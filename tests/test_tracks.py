"""Tracks of real track tables: one-child parents are gaps, not divisions."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from celltrack.tracks import Tracks, make_lineage

GOLDEN = Path(os.environ.get("CELLTRACK_GOLDEN", "missing")) / "man_track_txt_only"


@pytest.mark.skipif(not GOLDEN.is_dir(), reason="no golden files")
@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.txt")), ids=lambda path: path.stem)
def test_joined_track_tables(path):
    columns = ["track", "start", "end", "parent"]
    table = pd.DataFrame(np.loadtxt(path, int, ndmin=2), columns=columns)
    ends = table.melt("track", ["start", "end"], value_name="frame")
    ends = ends[["track", "frame"]].drop_duplicates()  # two cells per track are enough
    cells = ends.assign(label=ends.track, y=0.0, x=0.0)
    parents = dict(zip(table.track, table.parent, strict=True))
    real = Tracks(cells, make_lineage(cells, parents), max_children=None)
    children = table.parent[table.parent > 0].value_counts()
    assert len(real) - len(real.joined()) == (children == 1).sum() > 0
    assert len(real.divisions()) == len(real.joined().divisions()) == (children > 1).sum()
