"""DeepSORT written step by step from the paper: one filterpy object per track, dense costs, scipy's
Hungarian method. The oracle of `DeepSort.reference()`."""

import numpy as np
from filterpy.kalman import KalmanFilter
from scipy.optimize import linear_sum_assignment

GATE = 9.4877  # chi squared, 4 degrees of freedom, .95


def measure(box):  # x0 y0 x1 y1
    w, h = box[2] - box[0], box[3] - box[1]
    return np.array([box[0] + w / 2, box[1] + h / 2, w / h, h])


class PeerTrack:
    def __init__(self, box, embedding, ident, n_init):
        self.ident, self.n_init = ident, n_init
        self.hits, self.missed = 1, 0
        self.embeddings = [embedding]
        self.filter = f = KalmanFilter(8, 4)
        z = measure(box)
        h = z[3]
        f.x = np.r_[z, np.zeros(4)][:, None]
        f.F, f.H = np.eye(8) + np.eye(8, k=4), np.eye(4, 8)
        f.P = np.diag([h / 10, h / 10, 1e-2, h / 10, h / 16, h / 16, 1e-5, h / 16]) ** 2
        self.row = None

    @property
    def confirmed(self):
        return self.hits >= self.n_init

    @property
    def height(self):
        return self.filter.x[3, 0]

    def predict(self):
        h = self.height
        self.filter.Q = (
            np.diag([h / 20, h / 20, 1e-2, h / 20, h / 160, h / 160, 1e-5, h / 160]) ** 2
        )
        self.filter.predict()
        self.missed += 1

    def noise(self):
        return np.diag([self.height / 20, self.height / 20, 1e-1, self.height / 20]) ** 2

    def squared(self, z):
        f = self.filter
        S, miss = f.H @ f.P @ f.H.T + self.noise(), z - (f.H @ f.x)[:, 0]
        return miss @ np.linalg.solve(S, miss)

    def update(self, box, embedding, budget):
        self.filter.R = self.noise()
        self.filter.update(measure(box)[:, None])
        self.hits += 1
        self.missed = 0
        self.embeddings = (self.embeddings + [embedding])[-budget:]

    def box(self):
        x, y, a, h = self.filter.x[:4, 0]
        return np.array([x - a * h / 2, y - h / 2, x + a * h / 2, y + h / 2])


def overlap(a, b):
    common = np.prod((np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])).clip(0))
    return common / (np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - common)


class PeerDeepSort:
    def __init__(self, max_age=30, n_init=3, max_cosine=0.2, max_iou_distance=0.7, nn_budget=100):
        self.max_age, self.n_init, self.max_cosine = max_age, n_init, max_cosine
        self.max_iou_distance, self.budget = max_iou_distance, nn_budget
        self.tracks, self.count = [], 0

    def update(self, boxes, embeddings):  # (n, 4) x0 y0 x1 y1, (n, d) unit rows
        "Return [(row, id)]."
        for track in self.tracks:
            track.predict()
        free, matched = list(range(len(boxes))), {}
        for age in range(1, self.max_age + 1):
            tracks = [t for t in self.tracks if t.confirmed and t.missed == age]
            self.assign(
                tracks,
                free,
                matched,
                self.max_cosine,
                lambda t, j: self.appearance_cost(t, boxes[j], embeddings[j]),
            )
        tracks = [t for t in self.tracks if t not in matched and (not t.confirmed or t.missed == 1)]
        self.assign(
            tracks,
            free,
            matched,
            self.max_iou_distance,
            lambda t, j: 1 - overlap(t.box(), boxes[j]),
        )
        for track, j in matched.items():
            track.update(boxes[j], embeddings[j], self.budget)
        self.tracks = [
            t for t in self.tracks if t.missed == 0 or t.confirmed and t.missed <= self.max_age
        ]
        for track in self.tracks:
            track.row = matched.get(track)
        for j in free:
            self.count += 1
            self.tracks.append(PeerTrack(boxes[j], embeddings[j], self.count, self.n_init))
            self.tracks[-1].row = j
        return sorted((t.row, t.ident) for t in self.tracks if t.confirmed and t.missed == 0)

    def appearance_cost(self, track, box, embedding):
        return (
            min(1 - embedding @ other for other in track.embeddings)
            if track.squared(measure(box)) <= GATE
            else 1e5
        )

    def assign(self, tracks, free, matched, most, cost):
        if not tracks or not free:
            return
        table = np.array([[cost(t, j) for j in free] for t in tracks])
        table[table > most] = most + 1e-5
        pairs = [
            (tracks[a], free[b])
            for a, b in zip(*linear_sum_assignment(table), strict=True)
            if table[a, b] <= most
        ]
        matched.update(pairs)
        for _, j in pairs:
            free.remove(j)
