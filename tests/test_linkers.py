"""What every linker owes its caller, whatever the cells: the contract of the design, in one place.
Later linkers join LINKERS."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st

from celltrack.measure import measure_movie
from celltrack.movie import InputError, Movie
from celltrack.pipeline import TRACKERS, open_tracker
from celltrack.simulate import simulate_movie
from celltrack.track.divide import Divide
from celltrack.track.sort import Sort
from celltrack.tracks import check_tracks

LINKERS = sorted(TRACKERS)
SHAPE = {2: (48, 56), 3: (6, 48, 56)}
ROWS = st.lists(
    st.tuples(st.integers(0, 5), st.floats(2, 44), st.floats(2, 50), st.floats(1, 9)),
    max_size=24,
    unique_by=lambda r: r[:3],
)


def table(rows, ndim, factor=1):
    cells = pd.DataFrame(rows, columns=["frame", "y", "x", "side"]).astype(
        {"frame": int, "y": float, "x": float, "side": float}
    )
    cells["label"] = np.arange(1, len(cells) + 1)
    if ndim == 3:
        cells.insert(1, "z", (cells.label % 5).astype(float))
    for a in "zyx"[-ndim:]:
        cells[a + "0"], cells[a + "1"] = cells[a] - cells.side / 2, cells[a] + cells.side / 2
    return cells.assign(area=cells.side**ndim, border=False)


def film(ndim, frames=6):
    rng = np.random.default_rng(0)
    return Movie(rng.random((frames, *SHAPE[ndim])).astype(np.float32))


def partition(tracks):
    return {frozenset(zip(g.frame, g.label, strict=True)) for _, g in tracks.cells.groupby("track")}


@pytest.mark.parametrize("name", LINKERS)
@settings(deadline=None, max_examples=12)
@given(rows=ROWS, ndim=st.sampled_from([2, 3]), seed=st.integers(0, 9))
def test_contract(name, rows, ndim, seed):
    cells, movie, linker = table(rows, ndim), film(ndim), open_tracker(name)
    out = linker.link(cells, movie)
    check_tracks(out)
    assert sorted(zip(out.cells.frame, out.cells.label, strict=True)) == sorted(
        zip(cells.frame, cells.label, strict=True)
    )  # each cell in exactly one track
    children = out.lineage.parent[out.lineage.parent > 0].value_counts()
    assert len(children) == 0 or children.max() <= 2
    assert not out.cells.duplicated(["frame", "track"]).any()
    again = linker.link(cells, movie)
    assert again.cells.equals(out.cells) and again.lineage.equals(
        out.lineage
    )  # the same input, the same tracks
    renamed = cells.assign(label=np.random.default_rng(seed).permutation(len(cells)) + 1)
    back = dict(zip(zip(renamed.frame, renamed.label, strict=True), cells.label, strict=True))
    named = linker.link(renamed, movie)
    assert {frozenset((f, back[f, k]) for f, k in part) for part in partition(named)} == partition(
        out
    )  # names say nothing


@pytest.mark.parametrize("name", LINKERS)
@pytest.mark.parametrize("ndim", [2, 3])
def test_edges(name, ndim):
    movie, linker = film(ndim), open_tracker(name)
    some = table([(0, 10, 10, 5), (0, 30, 40, 5), (3, 11, 10, 5), (5, 30, 41, 5)], ndim)
    assert len(linker.link(some[:0], movie)) == 0  # no cell
    assert len(linker.link(some[:1], film(ndim, 1))) == 1  # one cell, one frame
    assert len(linker.link(some, movie).cells) == 4  # frames without cells
    bad = some.assign(y=[10, np.nan, 11, 30])
    with pytest.raises(InputError, match="frame 0, label 2"):
        linker.link(bad, movie)


def test_divide_hands_labels_to_its_linker():
    class Recorder(Sort):
        def link(self, cells, movie=None, labels=None):
            received.append(labels)
            return Sort.link(self, cells, movie, labels)

    received = []
    movie, truth = simulate_movie(6, (64, 64), 4, seed=0)
    cells = measure_movie(truth.labels, movie)
    out = Divide(Recorder(shrink=0)).link(cells, movie, truth.labels)
    assert received == [truth.labels] and out.labels is truth.labels
