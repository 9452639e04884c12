"""What the programs that others trust say of a pair of trackings. Plain arrays and loops: no score
of celltrack is used, only its names of the operations and of what motmetrics counts."""

from functools import cached_property
from typing import NamedTuple

import motmetrics
import numpy as np
from ctc_metrics import metrics as peer
from ctc_metrics.metrics.biological.tf import calculate_fractions_fo_computed_tracks
from ctc_metrics.utils.representations import (
    count_acyclic_graph_correction_operations,
    merge_tracks,
)
from skimage.metrics import adapted_rand_error, contingency_table, variation_of_information
from trackeval.metrics import HOTA, Identity

from celltrack.score.ctc import OPERATIONS
from celltrack.score.mot import MOTMETRICS

TOLERANCES = range(4)
# our names: those of py-ctcmetrics
SCORES = ("SEG", "DET", "TRA", "LNK", "OP_CSB", "OP_CTB", "CT", "TF", "CCA", "CHOTA")
CHALLENGE = {k: k for k in (*SCORES, "AOGM", "AOGM_0")}
CHALLENGE |= {"HOTA(marker)": "HOTA", **{k: f"AOGM_{k}" for k in OPERATIONS}}
WITHIN = {k: k for k in ("BC", "BIO", "OP_CLB")} | {
    f"division {k.upper()}": f"{k}_div" for k in ("tp", "fp", "fn")
}
# our names: those of motmetrics. A wrong pair fails: our numbers do not come from this table
CLEAR = MOTMETRICS | {
    "identities": "num_unique_objects",
    "MOTA": "mota",
    "precision": "precision",
    "recall": "recall",
    "IDF1": "idf1",
    "IDP": "idp",
    "IDR": "idr",
}


class Cells(NamedTuple):
    "The cells of a label image."

    label: np.ndarray  # (n,)
    area: np.ndarray  # (n,) pixels
    centre: np.ndarray  # (n, d)
    box: np.ndarray  # (n, 2 d) half-open: lowest corner, highest


class Frame(NamedTuple):
    truth: Cells
    result: Cells
    shared: np.ndarray  # (n, m) pixels
    apart: np.ndarray  # (n, m) distance of the centres

    @property
    def iou(self):
        return self.shared / (self.truth.area[:, None] + self.result.area - self.shared)

    @property
    def covered(self):
        return self.shared / self.truth.area[:, None]  # how much of the true cell


def cells_of(image):
    label = np.unique(image[image > 0])
    pixels = [np.argwhere(image == k) for k in label]
    d = image.ndim
    area = np.array([len(p) for p in pixels], float)
    centre = np.array([p.mean(axis=0) for p in pixels], float).reshape(len(label), d)
    box = np.array([np.r_[p.min(axis=0), p.max(axis=0) + 1] for p in pixels], float)
    return Cells(label, area, centre, box.reshape(len(label), 2 * d))


def frame_of(a, b, spacing):
    truth, result = cells_of(a), cells_of(b)
    shared = np.array([[np.sum(b[a == i] == j) for j in result.label] for i in truth.label], float)
    apart = np.linalg.norm((truth.centre[:, None] - result.centre) * spacing, axis=-1)
    return Frame(truth, result, shared.reshape(apart.shape), apart)


class Case:
    "Truth and result, both Tracks with labels, and their Frames."

    def __init__(self, truth, result, name=""):
        self.truth, self.result, self.name = truth, result, name

    def __repr__(self):
        return f"case {self.name}, {self.truth} against {self.result}"

    @cached_property
    def frames(self):
        return [
            frame_of(a, b, self.truth.labels.spacing)
            for a, b in zip(self.truth.labels, self.result.labels, strict=True)
        ]

    @cached_property
    def challenge(self):
        return ctcmetrics(self)


def rows_of(tracks):
    "Return (track, frame, label) of each cell, in order."
    return sorted(tracks.cells[["track", "frame", "label"]].itertuples(index=False, name=None))


def parents_of(tracks):
    return dict(zip(tracks.lineage.track.tolist(), tracks.lineage.parent.tolist(), strict=True))


def answer(function, *arguments, **options):
    """Return what an oracle says; None where it raises, or divides by zero: warnings are errors in
    these tests."""
    try:
        return function(*arguments, **options)
    except (ValueError, IndexError, ZeroDivisionError, RuntimeWarning):
        return None


# py-ctcmetrics ------------------------------------------------------------------------------------


def as_files(tracks):
    """Return (rows L B E P in order of time, {(frame, label): L}), one L for each stretch of a
    track without a gap.

    The order of rows has no meaning in the challenge, but py-ctcmetrics joins one-child chains
    rightly only in this one.
    """
    stretches = []  # (track, its cells)
    last = {}  # the last stretch of each track
    for track, t, label in rows_of(tracks):
        if track not in last or stretches[-1][1][-1][0] < t - 1:
            stretches.append((track, []))
        stretches[-1][1].append((t, label))
        last[track] = len(stretches) - 1
    parent = parents_of(tracks)
    in_time = sorted(range(len(stretches)), key=lambda k: stretches[k][1][0])
    number = {k: n for n, k in enumerate(in_time, 1)}
    rows, names = [], {}
    for k, n in number.items():
        track, cells = stretches[k]
        before = k - 1 if k and stretches[k - 1][0] == track else last.get(parent[track])
        rows.append([n, cells[0][0], cells[-1][0], number.get(before, 0)])
        names |= dict.fromkeys(cells, n)
    return np.array(rows, int).reshape(-1, 4), names


def ctcmetrics(case):
    """Return the numbers of py-ctcmetrics 1.3.3 by its own names, without those for which it has no
    answer.

    "TF, its order" is TF with the break in its loop, which makes TF depend on the numbers of the
    tracks; TF has none.
    """
    (truth, a), (result, b) = as_files(case.truth), as_files(case.result)
    labels, mapped, ious = ([], []), ([], []), []
    for t, f in enumerate(case.frames):
        i, j = np.nonzero(f.covered > 0.5)
        ious.append(f.iou[i, j])
        for side, names, cells, k in ((0, a, f.truth, i), (1, b, f.result, j)):
            ids = np.array([names[t, label] for label in cells.label.tolist()], int)
            labels[side].append(sorted(ids.tolist()))
            mapped[side].append(ids[k].tolist())
    say = {
        "SEG": peer.seg(labels[0], ious),
        "CT": answer(peer.ct, result, truth, labels[0], *mapped),
        "TF": answer(tf, truth, labels[0], *mapped),
        "TF, its order": answer(peer.tf, truth, labels[0], *mapped),
        "CCA": answer(peer.cca, result, truth),
    }
    stats = answer(count_acyclic_graph_correction_operations, truth, result, *labels, *mapped)
    if stats:
        say |= {f"AOGM_{k}": stats[k] for k in OPERATIONS}
        say |= dict(zip(("TRA", "AOGM", "AOGM_0"), peer.tra(**stats), strict=True))
        say |= {"DET": peer.det(**stats), "LNK": answer(peer.lnk, **stats)}
        say |= {
            "OP_CSB": peer.op_csb(say["SEG"], say["DET"]),
            "OP_CTB": peer.op_ctb(say["SEG"], say["TRA"]),
        }
    for i in TOLERANCES:
        counts = answer(peer.raw_division_metrics, result, truth, *mapped, i)
        if counts is None:
            continue
        bc = peer.bc(*counts)
        say |= dict(zip((f"tp_div({i})", f"fp_div({i})", f"fn_div({i})"), counts, strict=True))
        say |= {f"BC({i})": bc, f"BIO({i})": peer.bio(say["CT"], say["TF"], bc, say["CCA"])}
        if say.get("LNK") is not None:
            say[f"OP_CLB({i})"] = peer.op_clb(say["LNK"], say[f"BIO({i})"])
    say |= joined_scores(truth, result, labels, mapped)
    return {name: value for name, value in say.items() if value is not None}


def tf(truth, labels, *mapped):
    "Return py-ctcmetrics' TF from its own fractions, with no break."
    best = {}
    for followed in calculate_fractions_fo_computed_tracks(truth, labels, *mapped).values():
        for track, part in followed.items():
            best[track] = max(best.get(track, 0), part)
    return float(np.mean(list(best.values()))) if best else 0.0


def joined_scores(truth, result, labels, mapped):
    "Return what py-ctcmetrics computes after it has joined one-child chains."
    if not len(truth) or not len(result):
        return {}
    a, *mine = merge_tracks(truth, labels[0], mapped[0])
    b, *theirs = merge_tracks(result, labels[1], mapped[1])

    def whole(frames):  # it trips over an empty list, which is an array of float
        return [np.array(f, int) for f in frames]

    (labels_a, mapped_a), (labels_b, mapped_b) = map(whole, mine), map(whole, theirs)
    data = labels_a, labels_b, mapped_a, mapped_b
    said = [answer(metric, *data) for metric in (peer.hota, peer.mota, peer.idf1)]
    said.append(answer(peer.chota, a, b, *data))
    said.append(answer(peer.faf, labels_b, mapped_b))
    return {name: value for numbers in said if numbers for name, value in numbers.items()}


# TrackEval and motmetrics -------------------------------------------------------------------------

SIMILARITY = {
    "marker": lambda f: f.covered,
    "mask": lambda f: f.iou,
    "box": lambda f: box_iou(f.truth.box, f.result.box),
    "point": lambda f: 1 - f.apart / MAX_DISTANCE,
}
MAX_DISTANCE = 6.0


def box_iou(a, b):
    d = a.shape[1] // 2
    both = np.prod(
        (np.minimum(a[:, None, d:], b[:, d:]) - np.maximum(a[:, None, :d], b[:, :d])).clip(min=0),
        axis=-1,
    )

    def size(box):
        return np.prod(box[:, d:] - box[:, :d], axis=1)

    return both / (size(a)[:, None] + size(b) - both)


def identities(tracks, join):
    "Return {(frame, label): identity from 0}; with `join`, a parent and its only child are one."
    parent = parents_of(tracks)
    children = [p for p in parent.values() if p]

    def root(track):
        while join and children.count(parent[track]) == 1:
            track = parent[track]
        return track

    root_of = {track: root(track) for track in parent}
    number = {r: k for k, r in enumerate(sorted(set(root_of.values())))}
    return {(t, label): number[root_of[track]] for track, t, label in rows_of(tracks)}


class PeerMovie:
    """A case as TrackEval and motmetrics take it: identities, similarities and possible pairs of
    each frame."""

    def __init__(self, case, matching, join):
        sides = identities(case.truth, join), identities(case.result, join)

        def of(names, frames):
            return [
                np.array([names[t, k] for k in cells.label.tolist()], int)
                for t, cells in enumerate(frames)
            ]

        self.truth = of(sides[0], [f.truth for f in case.frames])
        self.result = of(sides[1], [f.result for f in case.frames])
        self.sizes = {
            f"num_{who}_{what}": n
            for who, names in zip(("gt", "tracker"), sides, strict=True)
            for what, n in (("ids", len(set(names.values()))), ("dets", len(names)))
        }
        self.similarity = [SIMILARITY[matching](f).clip(min=0) for f in case.frames]
        self.apart = [f.apart for f in case.frames]
        if matching == "marker":
            self.possible = [s > 0.5 for s in self.similarity]
        elif matching == "point":
            self.possible = [apart <= MAX_DISTANCE for apart in self.apart]
        else:
            self.possible = [s >= 0.5 for s in self.similarity]

    @property
    def tied(self):
        """Whether a cell has two possible partners, equally similar and equally far away: any
        choice between them is right."""
        rows = []
        frames = zip(self.possible, self.similarity, self.apart, strict=True)
        for t, (possible, similarity, apart) in enumerate(frames):
            for i, j in np.argwhere(possible).tolist():
                pair = similarity[i, j], apart[i, j]
                rows += [(t, "truth", i, *pair), (t, "result", j, *pair)]
        return len(set(rows)) < len(rows)

    def trackeval(self):
        "Return TrackEval's HOTA, an array over 19 thresholds for each number."
        return HOTA().eval_sequence(self.data())

    def identity(self):
        "Return TrackEval's identity scores."
        possible = [np.where(p, s, 0) for p, s in zip(self.possible, self.similarity, strict=True)]
        return Identity({"PRINT_CONFIG": False, "THRESHOLD": 1e-9}).eval_sequence(
            self.data() | {"similarity_scores": possible}
        )

    def data(self):
        return self.sizes | {
            "num_timesteps": len(self.truth),
            "gt_ids": self.truth,
            "tracker_ids": self.result,
            "similarity_scores": self.similarity,
        }

    def motmetrics(self):
        """Return motmetrics' accumulator.

        It decides by the order of cells where two want the same partner back, and which of two
        equal sums it takes is chance. So cells come by their last match, the latest first, and
        nearer centres are better by a hair, as in ours.
        """
        log = motmetrics.MOTAccumulator(auto_id=True)
        pairs = self.similarity, self.possible, self.apart
        for a, b, s, possible, apart in zip(self.truth, self.result, *pairs, strict=True):
            last = np.array([log.last_match.get(k, -1) for k in a.tolist()], int)
            order = np.argsort(-last, kind="stable")
            cost = np.where(possible, 1 - s + 1e-11 * apart, np.nan)
            log.update(a[order], b, cost[order])
        return log


def clear(*logs):  # motmetrics' accumulators, one per movie
    "Return the numbers of motmetrics 1.4.0 by its own names, of all these movies together."
    movies = [str(k) for k in range(len(logs))]
    table = motmetrics.metrics.create().compute_many(
        logs, metrics=[*CLEAR.values(), "motp"], names=movies, generate_overall=True
    )
    return table.loc["OVERALL"].to_dict()


# scikit-image -------------------------------------------------------------------------------------


def adapted_rand(a, b):  # label images of a frame, or of a movie that uses no label in two frames
    """Return scikit-image's adapted Rand error. Its precision, by the documentation over the
    result, is over the truth."""
    found = answer(adapted_rand_error, a, b)
    names = "adapted Rand error", "Rand recall", "Rand precision"
    return dict(zip(names, found, strict=True)) if found else {}


def information(a, b):  # as in `adapted_rand`
    "Return scikit-image's variation of information, and the Rand index of its table."
    split, merge = variation_of_information(a, b)
    table = contingency_table(a, b, sparse_type="array")

    def pairs(n):
        return (n * (n - 1)).sum() / 2

    apart = pairs(table.sum(axis=1)) + pairs(table.sum(axis=0)) - 2 * pairs(table.data)
    rand_index = 1 - apart / pairs(np.array([a.size]))
    return {"VI split": split, "VI merge": merge, "Rand index": rand_index}
