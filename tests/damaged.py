"""Movies with every error a tracker can make, at random: the tests and the benchmark of the scores
run on them."""

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from celltrack.measure import measure_movie
from celltrack.tracks import Tracks, make_lineage


def damaged(
    tracks,  # Tracks with labels
    rng,  # numpy Generator
    pixels=True,  # whether cells are also merged, split, invented and shifted
    rate=1.0,
):  # of all errors; at 1 about one cell in ten suffers
    """Return Tracks of the same movie: cells dropped, frames emptied, links lost, switched and
    invented, tracks cut.

    Without `pixels`, what is left can still be a truth: one with gaps, late daughters and families
    of any size.
    """
    src, dst = tracks.links()
    before = np.full(len(tracks.cells), -1)
    before[dst] = src  # the row of the cell that each cell comes from
    keep = _kept(tracks, src, dst, rng, rate)
    labels = _repainted(tracks, keep, rng, rate * pixels)
    cells = measure_movie(labels)
    frame, before = _carried(tracks.cells, cells, _bridged(before, keep, rng))
    return _linked(cells, _rewired(frame, before, rng, rate), labels, rng, rate)


def _kept(tracks, src, dst, rng, rate):
    """Return which cells stay: fewer around divisions; now and then a whole frame goes, or
    everything."""
    frame, n = tracks.cells.frame.to_numpy(), len(tracks.cells)
    keep = rng.random(n) > 0.05 * rate
    splits = np.bincount(src, minlength=n)[src] > 1
    early, late = rng.random((2, n)) < 0.2 * rate
    keep[src[splits & early[src]]] = False  # the mother's last cell
    keep[dst[splits & late[src]]] = False  # the first cells of all daughters
    if rng.random() < 0.3 * rate:
        keep[frame == rng.integers(len(tracks.labels))] = False
    return keep & (rng.random() > 0.04 * rate)


def _repainted(tracks, keep, rng, rate):
    """Return the label Movie without the cells that go; at a rate above 0, half of these become
    part of another."""
    rows, images = tracks.cells.groupby("frame").indices, []
    shift = rng.integers(-1, 2, tracks.labels.ndim)
    for t, image in enumerate(tracks.labels):
        here = rows.get(t, np.zeros(0, int))
        label, stay = tracks.cells.label.to_numpy()[here], keep[here]
        names = np.zeros(int(image.max(initial=0)) + 1, int)
        names[label[stay]] = label[stay]
        merged = label[~stay & (rng.random(len(here)) < 0.5 * (rate > 0))]
        if stay.any():
            names[merged] = rng.choice(label[stay], len(merged))
        image = names[image]
        if rate and keep.any():
            image = np.roll(_crowded(image, rng, rate), shift, range(image.ndim))
        assert image.max(initial=0) < 2**16
        images.append(image.astype(np.uint16))
    return tracks.labels.like(np.stack(images))


def _crowded(image, rng, rate):
    "Return a label image in which some cells are cut in two, and some are invented."
    top, where = int(image.max(initial=0)) + 1, np.nonzero(image)
    label, x = image[where], where[-1]
    middle = np.bincount(label, x, top) / np.bincount(label, minlength=top).clip(min=1)
    right = (rng.random(top) < 0.04 * rate)[label] & (x > middle[label])
    image[tuple(k[right] for k in where)] += top
    for k in range(rng.binomial(top, 0.03 * rate)):
        box = image[tuple(slice(c, c + 3) for c in rng.integers(0, image.shape))]
        box[box == 0] = 2 * top + k
    return image


def _bridged(before, keep, rng):
    "Return `before` past the cells that go; one gap of four stays open."
    open_ = rng.random(len(keep)) < 0.25
    while (gone := (before >= 0) & ~keep[before]).any():
        before = np.where(gone, np.where(open_, -1, before[before]), before)
    return before


def _carried(old, new, before):
    """Return (frame, before) of the rows of table `new`, matched by frame and label; cells that are
    new come from none."""
    top = max(old.label.max(), new.label.max() if len(new) else 0) + 1
    keys, wanted = (table.frame.to_numpy() * top + table.label.to_numpy() for table in (old, new))
    order = np.argsort(keys)
    at = np.append(order, -1)[np.searchsorted(keys, wanted, sorter=order)]
    row = np.where(np.append(keys, -1)[at] == wanted, at, -1)
    place = np.full(len(old) + 1, -1)
    place[row[row >= 0]] = np.flatnonzero(row >= 0)
    return new.frame.to_numpy(), place[np.append(before, -1)[row]]


def _rewired(frame, before, rng, rate):
    """Return `before` with links lost, switched between two cells of a frame, and invented, many of
    them across frames."""
    n, before = len(frame), np.where(rng.random(len(frame)) < 0.03 * rate, -1, before)
    switched = np.flatnonzero(rng.random(n) < 0.08 * rate)
    a, b = switched[:-1:2], switched[1::2]
    a, b = a[frame[a] == frame[b]], b[frame[a] == frame[b]]
    before[a], before[b] = before[b], before[a]
    earlier = np.searchsorted(frame, frame)  # rows of earlier frames come first
    child = np.flatnonzero((before < 0) & (earlier > 0) & (rng.random(n) < 0.3))
    before[child] = (
        earlier[child] - 1 - (rng.random(len(child)) * earlier[child].clip(max=40)).astype(int)
    )
    return before


def _linked(cells, before, labels, rng, rate):
    """Return the Tracks of these links, with random ids; some tracks are cut: the second part is
    the only child of the first."""
    n, dst = len(cells), np.flatnonzero(before >= 0)
    src = before[dst]
    along = (np.bincount(src, minlength=n)[src] == 1) & (rng.random(len(dst)) > 0.05 * rate)
    pairs = coo_matrix((np.ones(along.sum()), (src[along], dst[along])), (n, n))
    chain = connected_components(pairs, directed=False)[1] if n else np.zeros(0, int)
    track = rng.permutation(chain.max(initial=-1) + 1)[chain] + 1
    cells = cells.assign(track=track)
    parents = dict(zip(track[dst[~along]].tolist(), track[src[~along]].tolist(), strict=True))
    return Tracks(cells, make_lineage(cells, parents, labels), labels, max_children=None)
