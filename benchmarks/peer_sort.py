"""SORT with one object per track, built on filterpy from the constants of the paper; imports
nothing from celltrack.

It is the oracle of tests/test_sort.py and the rival of benchmarks/sort.py. Boxes are rows x1, y1,
x2, y2.
"""

import numpy as np
from filterpy.kalman import KalmanFilter
from scipy.optimize import linear_sum_assignment


def measurement(box):
    x1, y1, x2, y2 = box
    w, h = x2 - x1, y2 - y1
    return np.array([[x1 + w / 2], [y1 + h / 2], [w * h], [w / h]])


def box_of(state):
    x, y, s, r = state[:4, 0]
    w = np.sqrt(s * r)
    h = s / w
    return np.array([x - w / 2, y - h / 2, x + w / 2, y + h / 2])


def iou_matrix(a, b):
    a, b = a[:, None], b[None]
    w = np.clip(np.minimum(a[..., 2], b[..., 2]) - np.maximum(a[..., 0], b[..., 0]), 0, None)
    h = np.clip(np.minimum(a[..., 3], b[..., 3]) - np.maximum(a[..., 1], b[..., 1]), 0, None)

    def area(x):
        return (x[..., 2] - x[..., 0]) * (x[..., 3] - x[..., 1])

    return w * h / (area(a) + area(b) - w * h)


class BoxTrack:
    def __init__(self, box, ident):
        f = KalmanFilter(dim_x=7, dim_z=4)
        f.F = np.eye(7)
        f.F[0, 4] = f.F[1, 5] = f.F[2, 6] = 1
        f.H = np.eye(4, 7)
        f.R = np.diag([1.0, 1, 10, 10])
        f.P = np.diag([10.0, 10, 10, 10, 1e4, 1e4, 1e4])
        f.Q = np.diag([1, 1, 1, 1, 0.01, 0.01, 1e-4])
        f.x[:4] = measurement(box)
        self.filter, self.ident, self.unseen, self.streak = f, ident, 0, 0

    def predict(self):
        f = self.filter
        if f.x[2, 0] + f.x[6, 0] <= 0:
            f.x[6, 0] = 0
        f.predict()
        if self.unseen > 0:
            self.streak = 0
        self.unseen += 1
        return box_of(f.x)

    def update(self, box):
        self.filter.update(measurement(box))
        self.unseen = 0
        self.streak += 1


class PeerSort:
    def __init__(self, max_age=1, min_hits=3, iou_threshold=0.3):
        self.max_age, self.min_hits, self.iou_threshold = max_age, min_hits, iou_threshold
        self.tracks, self.frames, self.count = [], 0, 0

    def update(self, boxes):  # (n, 4), also with n = 0
        "Return rows x1, y1, x2, y2, id and the index of the detection behind them."
        self.frames += 1
        predicted = [t.predict() for t in self.tracks]
        alive = [i for i, p in enumerate(predicted) if not np.isnan(p).any()]
        self.tracks = [self.tracks[i] for i in alive]
        behind = {}
        if len(alive) and len(boxes):
            overlap = iou_matrix(np.array([predicted[i] for i in alive]), boxes)
            for i, j in zip(*linear_sum_assignment(-overlap), strict=True):
                if overlap[i, j] < self.iou_threshold:
                    continue
                self.tracks[i].update(boxes[j])
                behind[j] = self.tracks[i]
        for j in range(len(boxes)):
            if j in behind:
                continue
            self.count += 1
            behind[j] = BoxTrack(boxes[j], self.count)
            self.tracks.append(behind[j])
        shown = {
            j: t
            for j, t in behind.items()
            if t.streak >= self.min_hits or self.frames <= self.min_hits
        }
        out = [(*box_of(t.filter.x), t.ident, j) for j, t in shown.items()]
        self.tracks = [t for t in self.tracks if t.unseen <= self.max_age]
        return np.array(sorted(out, key=lambda row: row[4])).reshape(-1, 6)
