"""SORT against an independent implementation with one filterpy object per track, frame by frame."""

import importlib.util
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from celltrack.simulate import simulate_movie
from celltrack.track.sort import Sort

PEER = Path(__file__).parents[1] / "benchmarks" / "peer_sort.py"
spec = importlib.util.spec_from_file_location("peer_sort", PEER)
peer_sort = importlib.util.module_from_spec(spec)
spec.loader.exec_module(peer_sort)
BOX = ["x0", "y0", "x1", "y1"]
SETTINGS = [(1, 3, 0.3), (1, 1, 0.1), (3, 2, 0.5), (0, 0, 0.3)]


def compare(cells, max_age, min_hits, iou_threshold):
    "Run both over the table; return the number of rows reported."
    ours, peer = (
        Sort.reference(max_age, min_hits, iou_threshold),
        peer_sort.PeerSort(max_age, min_hits, iou_threshold),
    )
    groups, linked = dict(list(cells.groupby("frame"))), ours.link(cells).cells
    for t in range(cells.frame.max() + 1):
        frame = groups.get(t, cells[:0])
        rows = peer.update(frame[BOX].to_numpy(float))
        out = ours.update(frame).sort_values("track")
        assert out.track.tolist() == rows[:, 4].astype(int).tolist(), f"ids in frame {t}"
        assert out.label.tolist() == frame.label.to_numpy()[rows[:, 5].astype(int)].tolist(), (
            f"detections in frame {t}"
        )
        np.testing.assert_allclose(
            out[BOX].to_numpy(float), rows[:, :4], rtol=0, atol=1e-6, err_msg=f"frame {t}"
        )
        same = linked[linked.frame == t].sort_values("track")
        assert same.track.tolist() == out.track.tolist() and np.array_equal(same[BOX], out[BOX]), (
            f"link in frame {t}"
        )
    live = ours.live.motion.filter
    for i, track in enumerate(peer.tracks):
        x, P = track.filter.x[:, 0], track.filter.P
        np.testing.assert_allclose(
            np.r_[live.x[:, i], live.v[:3, i]], x, rtol=1e-9, atol=1e-9 * np.abs(x).max()
        )
        np.testing.assert_allclose(live.P[0, :, i], np.diag(P)[:4], rtol=1e-9)
        np.testing.assert_allclose(live.P[1, :3, i], np.diag(P[:3, 4:]), rtol=1e-9)
        np.testing.assert_allclose(live.P[2, :3, i], np.diag(P)[4:], rtol=1e-9)
    assert len(live) == len(peer.tracks)
    return len(linked)


def damaged(cells, seed, drop=0.1, empty=(7, 8)):
    "Cells in random order, some dropped, two frames empty."
    rng = np.random.default_rng(seed)
    cells = cells.iloc[rng.permutation(len(cells))]
    return cells[(rng.random(len(cells)) > drop) & ~cells.frame.isin(empty)].sort_values(
        "frame", kind="stable"
    )


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("modality", ["nuclei", "phase"])
def test_reference_on_simulated_movies(modality, settings):
    _, truth = simulate_movie(frames=25, shape=(160, 160), cells=16, modality=modality, seed=3)
    cells = truth.cells
    cells[BOX] = cells[BOX] + np.random.default_rng(0).normal(
        0, 0.01, (len(cells), 4)
    )  # whole pixels make ties
    assert compare(cells, *settings) > 100
    assert compare(damaged(cells, 0), *settings) > 30


@pytest.mark.parametrize("settings", SETTINGS)
def test_reference_on_random_boxes(settings):
    rng = np.random.default_rng(1)
    low = rng.uniform(0, 120, (600, 2))
    high = low + rng.uniform(2, 50, (600, 2))
    cells = pd.DataFrame(np.hstack([low, low, high]), columns=["y", "x", "y0", "x0", "y1", "x1"])
    cells = cells.assign(frame=np.sort(rng.integers(0, 30, 600)), label=np.arange(1, 601))
    assert compare(cells, *settings) > 0


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.skipif("CELLTRACK_GOLDEN" not in os.environ, reason="CELLTRACK_GOLDEN is not set")
def test_reference_on_pedestrians(settings):
    rows = np.loadtxt(
        Path(os.environ["CELLTRACK_GOLDEN"]) / "mot/TUD-Campus/det_sort.txt", delimiter=","
    )
    x, y, w, h = rows[:, 2:6].T
    frame = rows[:, 0].astype(int) - 1
    cells = pd.DataFrame(
        {"frame": frame, "label": np.arange(1, len(x) + 1), "y": y + h / 2, "x": x + w / 2}
    )
    cells = cells.assign(y0=y, x0=x, y1=y + h, x1=x + w)
    assert compare(cells, *settings) > 100
