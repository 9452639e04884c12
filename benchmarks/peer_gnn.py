"""The graph tracker of Ben-Haim and Riklin-Raviv (ECCV 2022) as published, for comparison: its
features, graph, truth, loss and post-processing.

Where a rule of the paper would give a frame two cells of one track, the likelier link wins. All
else is kept, its weak points too: links from mother to daughter are negatives, scaling per window
in training and per movie later, no gaps, distances in pixels.
"""

from itertools import pairwise

import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from celltrack.detections import rows_by_frame
from celltrack.learn.train import TrainingConfig, train_network
from celltrack.link.embed import multi_similarity_loss
from celltrack.link.features import published_values
from celltrack.link.gnn import PublishedNet
from celltrack.track.reid import Album, CropSampler, Embedder, EmbeddingNet, make_album
from celltrack.tracks import from_links

FRAMES, EMBEDDINGS, MOST = 10, 128, 800  # cells of a training window: of larger ones a patch


def balanced_loss(logits, is_true):  # (m,), float (m,)
    "Return the cross-entropy of links; true ones weigh as false over true of the batch."
    n_true = is_true.sum()
    weight = (len(is_true) - n_true) / n_true.clamp(min=1)
    return binary_cross_entropy_with_logits(logits, is_true, pos_weight=weight)


def candidates(cells):
    "Return (src, dst): along each axis at most twice the largest box of the movie apart."
    position = cells[["y", "x"]].to_numpy(float)
    rows = rows_by_frame(cells.frame.to_numpy(), position)
    reach = 2 * max((cells.y1 - cells.y0).max(), (cells.x1 - cells.x0).max())
    found = [(np.zeros(0, int),) * 2]
    for a, b in pairwise(rows):
        i, j = np.nonzero((np.abs(position[a][:, None] - position[b]) <= reach).all(2))
        found.append((a[i], b[j]))
    return tuple(np.concatenate(x) for x in zip(*found, strict=True))


def scaled(x):
    low, high = x.min(0), x.max(0)
    return (x - low) / np.maximum(high - low, 1e-9)


class Movie:
    """A movie for the published network: values, embeddings, candidates, and which of these stay
    within a track."""

    def __init__(self, cells, embeddings, links=None):
        self.frame, self.x, self.embeddings, (self.src, self.dst) = (
            cells.frame.to_numpy(),
            published_values(cells)[1],
            embeddings,
            candidates(cells),
        )
        self.position = cells[["y", "x"]].to_numpy(float)
        if links is None:
            return
        single = np.bincount(links[0], minlength=len(cells)) == 1
        follows = np.full(len(cells), -1)
        follows[links[1][single[links[0]]]] = links[0][single[links[0]]]
        self.is_true = (follows[self.dst] == self.src) & (
            self.frame[self.dst] - self.frame[self.src] == 1
        )

    def window(self, first, rng):
        rows = np.flatnonzero((self.frame >= first) & (self.frame < first + FRAMES))
        if len(rows) > MOST:
            far = ((self.position[rows] - self.position[rng.choice(rows)]) ** 2).sum(1)
            rows = np.sort(rows[np.argsort(far)[:MOST]])
        position = np.full(len(self.frame), -1)
        position[rows] = np.arange(len(rows))
        links = np.flatnonzero((position[self.src] >= 0) & (position[self.dst] >= 0))
        x = np.concatenate([scaled(self.x[rows]), self.embeddings[rows]], 1)
        return Input(x, position[self.src[links]], position[self.dst[links]]), torch.from_numpy(
            self.is_true[links].astype(np.float32)
        )


class Input:
    "What goes into the network: (values, src, dst); moves to a device, and is not divided."

    def __init__(self, x, src, dst):
        self.parts = [
            torch.as_tensor(x, dtype=torch.float32),
            torch.as_tensor(src, dtype=torch.int64),
            torch.as_tensor(dst, dtype=torch.int64),
        ]

    def __iter__(self):
        return iter(self.parts)

    def __len__(self):
        return 1

    def __getitem__(self, _):
        return self

    def to(self, device):
        return Input(*(p.to(device) for p in self))


class Unpacked(torch.nn.Module):
    "The network on an Input, as the training loop calls it."

    def __init__(self, net):
        super().__init__()
        self.net, self.config = net, net.config

    def forward(self, x):
        return self.net(*x)


def train_embedder(movies, steps=400, seed=0):  # (movie, cells with the true track, labels)
    "Return the Embedder that metric learning gives on masked crops."
    torch.manual_seed(seed)
    net = EmbeddingNet(width=16, outputs=EMBEDDINGS)
    album = Album.join([make_album(*m) for m in movies])
    train_network(
        net,
        CropSampler(album, 8, 4),
        multi_similarity_loss(),
        TrainingConfig(steps=steps, rate=2e-3, every=steps),
    )
    return Embedder(net, masked=True)


def train_published(movies, steps=1500, seed=0):  # Movies with truth
    """Return the published network after training: Adam, one window per batch, true links weighed
    by the batch."""
    torch.manual_seed(seed)

    def batch(step):
        rng = np.random.default_rng([seed, step])
        while True:
            m = movies[rng.integers(len(movies))]
            x, is_true = m.window(rng.integers(0, max(m.frame.max() - FRAMES + 2, 1)), rng)
            if is_true.any():
                return [x, is_true]

    net = Unpacked(PublishedNet())
    train_network(
        net,
        batch,
        balanced_loss,
        TrainingConfig(steps=steps, rate=1e-3, optimizer="adam", decay=1e-5, every=steps),
    )
    return net.net.eval()


class PublishedTracker:
    """Linker: links of more than one half; a cell without one is given the nearest track that just
    ended as parent, however far."""

    def __init__(self, net, embedder, labels):
        self.net, self.embedder, self.labels = net, embedder, labels

    @torch.no_grad()
    def link(self, cells, movie=None, labels=None):
        m = Movie(cells, self.embedder.embed(movie, cells, self.labels))
        x = np.concatenate([scaled(m.x), m.embeddings], 1)
        p = torch.sigmoid(self.net(*Input(x, m.src, m.dst))).numpy()
        order = np.argsort(-p, kind="stable")
        order = order[p[order] > 0.5]
        order = order[np.sort(np.unique(m.dst[order], return_index=True)[1])]
        order = order[np.unique(m.src[order], return_index=True)[1]]
        src, dst = m.src[order], m.dst[order]
        position = cells[["y", "x"]].to_numpy(float)
        rows = rows_by_frame(cells.frame.to_numpy(), position)
        extra = [(np.zeros(0, int),) * 2]
        for a, b in pairwise(rows):
            ended, new = np.setdiff1d(a, src), np.setdiff1d(b, dst)
            if len(ended) == 0 or len(new) == 0:
                continue
            far = ((position[new][:, None] - position[ended]) ** 2).sum(2)
            extra.append((ended[far.argmin(1)], new))
        more = tuple(np.concatenate(x) for x in zip(*extra, strict=True))
        return from_links(
            cells, np.r_[src, more[0]], np.r_[dst, more[1]], max_children=None, movie=movie
        )
