"""DeepSORT against an independent implementation with one filterpy object per track, frame by
frame."""

import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from celltrack.track.deepsort import DeepSort

PEER = Path(__file__).parents[1] / "benchmarks" / "peer_deepsort.py"
spec = importlib.util.spec_from_file_location("peer_deepsort", PEER)
peer_deepsort = importlib.util.module_from_spec(spec)
spec.loader.exec_module(peer_deepsort)
SETTINGS = [(30, 3, 0.2, 0.7, 100), (5, 1, 0.3, 0.9, 3), (2, 2, 0.1, 0.5, 1), (15, 5, 0.4, 0.7, 10)]


def scene(seed, cells=14, frames=40, lost=0.12, size=8, side=160):
    """Cells that move and jump a little, with looks that resemble each other; rows of a frame in
    random order."""
    rng = np.random.default_rng(seed)
    place, speed, own = (
        rng.uniform(0, side, (cells, 2)),
        rng.normal(0, 2.5, (cells, 2)),
        rng.normal(0.4, 1, (cells, size)),
    )
    h, a, rows, looks = rng.uniform(14, 26, cells), rng.uniform(0.7, 1.4, cells), [], []
    for t in range(frames):
        place = place + speed
        for k in (
            rng.permutation(np.flatnonzero(rng.random(cells) > lost)) if t not in (17, 18) else []
        ):
            (y, x), height = place[k] + rng.normal(0, 1.2, 2), h[k] * rng.normal(1, 0.04)
            w = height * a[k]
            rows.append((t, k + 1, y, x, y - height / 2, x - w / 2, y + height / 2, x + w / 2))
            looks.append(own[k] + rng.normal(0, 0.5, size))
    return pd.DataFrame(
        rows, columns=["frame", "label", "y", "x", "y0", "x0", "y1", "x1"]
    ), np.array(looks)


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("seed", range(4))
def test_reference(seed, settings):
    cells, looks = scene(seed)
    tracker, peer = DeepSort.reference(*settings), peer_deepsort.PeerDeepSort(*settings)
    linked, count = tracker.link(cells, embeddings=looks).cells, 0
    unit = looks / np.linalg.norm(looks, axis=1, keepdims=True)
    for t in range(cells.frame.max() + 1):
        now = np.flatnonzero(cells.frame == t)
        frame = cells.iloc[now]
        theirs = [
            (int(frame.label.iloc[row]), ident)
            for row, ident in peer.update(frame[["x0", "y0", "x1", "y1"]].to_numpy(), unit[now])
        ]
        ours = tracker.update(frame, looks[now])
        assert sorted(zip(ours.label, ours.track, strict=True)) == sorted(theirs), (
            f"online, frame {t}"
        )
        same = linked[linked.frame == t]
        assert sorted(zip(same.label, same.track, strict=True)) == sorted(theirs), (
            f"link, frame {t}"
        )
        count += len(theirs)
    motion = {i: k for k, i in enumerate(tracker.live.ident)}
    for track in peer.tracks:
        k, f = motion[track.ident], track.filter
        np.testing.assert_allclose(
            np.r_[tracker.live.motion.x[:, k], tracker.live.motion.v[:, k]],
            f.x[:, 0],
            rtol=1e-8,
            atol=1e-8,
        )
        np.testing.assert_allclose(
            np.r_[tracker.live.motion.P[0, :, k], tracker.live.motion.P[2, :, k]],
            np.diag(f.P),
            rtol=1e-8,
        )
    assert count > 0.3 * len(cells) and len(tracker.live.ident) == len(peer.tracks)
