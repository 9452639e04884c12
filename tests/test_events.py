"""Divisions, deaths, births and links as events: by hand, against py-ctcmetrics, and against plain
loops over cells."""

import json
import math
import os
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from ctc_metrics.metrics import raw_division_metrics
from ctc_metrics.metrics.biological.bc import is_matching
from hypothesis import given, settings, strategies as st
from scipy.optimize import linear_sum_assignment

from celltrack.formats.ctc import read_ctc, split_gaps
from celltrack.movie import InputError, Movie
from celltrack.score.ctc import aogm_operations
from celltrack.score.events import EVENTS, LINKS, event_table, score_events
from celltrack.score.overlap import add_counts, overlaps
from celltrack.simulate import simulate_movie
from celltrack.tracks import Tracks, make_lineage
from damaged import damaged

SHAPES = [(56, 56), (72, 40), (10, 36, 36)]
MOVIES = 60
WORLDS = [
    simulate_movie(16, shape, 12, seed=k, cycle=12.0, death=0.05)[1]
    for k, shape in enumerate(SHAPES, 1)
]


class Case:
    """Truth and result, number `k`: every second truth is itself full of gaps, late daughters and
    large families."""

    def __init__(self, k):
        rng, world = np.random.default_rng(k), WORLDS[k % len(WORLDS)]
        self.truth = damaged(world, rng, pixels=False) if k // 3 % 2 else world
        self.result = damaged(self.truth, rng) if len(self.truth.cells) else self.truth
        self.tables, self.covers, self.name = (
            overlaps(self.truth, self.result),
            covers(self.truth, self.result),
            k,
        )

    def __repr__(self):
        return f"case {self.name}, {self.truth} against {self.result}"


case = cache(Case)


def covers(truth, result):
    "Return for each frame {true label: the result label that covers more than half of it}."
    frames = []
    for a, b in zip(truth.labels, result.labels, strict=True):
        inside = {int(k): b[a == k] for k in np.unique(a[a > 0])}
        most = {k: np.bincount(pixels).argmax() for k, pixels in inside.items()}
        frames.append(
            {k: int(j) for k, j in most.items() if j > 0 and (inside[k] == j).mean() > 0.5}
        )
    return frames


def line_movie(
    text, parents="", edge=1
):  # a row per frame, a letter per pixel of a cell; "c<b": b is the parent of c

    def number(letter):
        return ord(letter) - ord("a") + 1 if letter.isalpha() else 0

    images = np.array([[[number(k) for k in row]] for row in text.split()])
    labels = Movie(np.pad(images, ((0, 0), (edge, edge), (0, 0))))
    t, _, x = np.nonzero(labels)
    table = pd.DataFrame(
        {
            "frame": t,
            "label": np.asarray(labels)[t, edge, x],
            "y": float(edge),
            "x": x.astype(float),
        }
    )
    cells = table.groupby(["frame", "label"], as_index=False).mean()
    cells["track"] = cells.label
    lineage = make_lineage(cells, {number(p[0]): number(p[2]) for p in parents.split()}, labels)
    return Tracks(cells, lineage, labels, max_children=None)


# ---- divisions: py-ctcmetrics


def as_files(truth, result):
    """Return the rows L B E P of truth and result, and for each frame the tracks of the cells that
    match, as py-ctcmetrics wants them."""
    rows, mapped, names = [], ([], []), []
    for tracks in map(split_gaps, (truth, result)):
        rows.append(tracks.lineage[["track", "start", "end", "parent"]].to_numpy(int))
        names.append(tracks.cells.set_index(["frame", "label"]).track.to_dict())
    for t, pairs in enumerate(covers(truth, result)):
        for ids, of, labels in zip(mapped, names, (pairs.keys(), pairs.values()), strict=True):
            ids.append([of[t, k] for k in labels])
    return rows, mapped


def peer_divisions(rows, mapped, tolerance):
    """Return (TP, FP, FN) of py-ctcmetrics, and its pairs of divisions that are the same, one row
    (truth, result) each."""
    divide = []
    for table in rows:
        ids, count = np.unique(table[:, 3], return_counts=True)
        divide.append(
            [
                (p, table[table[:, 0] == p, 2][0], table[table[:, 3] == p])
                for p in ids[(ids > 0) & (count > 1)]
            ]
        )
    same = [
        (p, q)
        for p, end, kids in divide[0]
        for q, stop, young in divide[1]
        if abs(end - stop) <= tolerance
        and is_matching(
            q, p, *mapped, kids[:, 0], young[:, 0], end, stop, kids[:, 1], young[:, 1], tolerance
        )
    ]
    return raw_division_metrics(rows[1], rows[0], *mapped, tolerance), np.array(same, int).reshape(
        -1, 2
    )


def one_to_one(same):
    "Return how many of these pairs can be kept when each division may be used once."
    if not len(same):
        return 0
    (p, i), (q, j) = (np.unique(k, return_inverse=True) for k in same.T)
    table = np.zeros((len(p), len(q)))
    table[i, j] = 1
    return int(table[linear_sum_assignment(table, maximize=True)].sum())


def test_divisions_are_those_of_the_challenge():
    """Where py-ctcmetrics counts a division twice, ours is the largest set of its pairs that uses
    each once."""
    found = np.zeros((4, 3), int)
    for k in range(MOVIES):
        files = as_files(case(k).truth, case(k).result)
        for i in range(4):
            counts = score_events(case(k).truth, case(k).result, case(k).tables, tolerance=i).counts
            ours = [counts[f"division {name}"] for name in ("TP", "FP", "FN")]
            (tp, fp, fn), same = peer_divisions(*files, i)
            assert tp == len(same), (
                f"{case(k)}: this test pairs divisions in another way than py-ctcmetrics"
            )
            doubled = tp - one_to_one(same)
            assert ours == [tp - doubled, fp + doubled, fn + doubled], (
                f"{case(k)}, within {i} frames"
            )
            found[i] += ours
    assert (found > 50).all() and found[0, 0] < found[1, 0] <= found[2, 0]


def test_a_division_counts_once():
    """Here two true divisions are near the one of the result; py-ctcmetrics 1.3.3 finds 2 of 1 and
    invents -1."""
    truth = line_movie("mm...... mm...... xx.aa.bb xx.aa.bb ...cc.dd", "a<m b<m c<x d<x")
    result = line_movie("mm...... mm...... mm...... ...pp.qq ...pp.qq", "p<m q<m")
    assert [int(n) for n in peer_divisions(*as_files(truth, result), 2)[0]] == [2, -1, 0]
    counts = score_events(truth, result, tolerance=2).counts
    assert [counts[f"division {name}"] for name in ("TP", "FP", "FN")] == [1, 0, 1]


GOLDEN = Path(os.environ.get("CELLTRACK_GOLDEN", "/no/golden"))


@pytest.mark.skipif(not GOLDEN.is_dir(), reason="CELLTRACK_GOLDEN names no folder")
@pytest.mark.parametrize("name", ["ctc_testing_dataset/03", "ipsc-02/02", "Fluo-N2DL-HeLa_full/01"])
def test_golden(name):
    "The challenge's counts by py-ctcmetrics; F1 and mitotic branching correctness by traccuracy."
    expected = json.loads((GOLDEN / "expected_scores.json").read_text())[name]
    peer, second = (
        expected["py_ctcmetrics_1.3.3"],
        expected.get("traccuracy_0.4.3", {}).get("DivisionMetrics", {}),
    )
    truth, result = (read_ctc(GOLDEN / f"{name}_{side}") for side in ("GT", "RES"))
    tables = overlaps(truth, result)
    for i in range(4):
        scores = score_events(truth, result, tables, tolerance=i)
        assert [scores[f"division {k}"] for k in ("TP", "FP", "FN")] == [
            peer[f"{k}_div({i})"] for k in ("tp", "fp", "fn")
        ]
        assert math.isclose(scores["division F1"], peer[f"BC({i})"], abs_tol=1e-9)
        theirs = second.get(f"Frame Buffer {i}", {})
        for ours, other in (("F1", "Division F1"), ("MBC", "Mitotic Branching Correctness")):
            if other in theirs:
                assert math.isclose(scores[f"division {ours}"], theirs[other], abs_tol=1e-9)


# ---- deaths and births, links and tracks: plain loops


def touches(image, label):
    faces = [np.take(image, k, axis) for axis in range(image.ndim) for k in (0, -1)]
    return any((face == label).any() for face in faces)


def cells_of(tracks):
    "Return {track: {frame: label}}."
    found = {}
    for row in tracks.cells.itertuples():
        found.setdefault(row.track, {})[row.frame] = row.label
    return found


def stretch(labels, frame, step):  # {frame: label} of a track
    "Return the part of a track without a gap that ends (step -1) or begins (step 1) in `frame`."
    part = {}
    while frame in labels:
        part[frame] = labels[frame]
        frame += step
    return part


def births_and_deaths(tracks):
    "Return two lists of events (frame, the stretch of its track)."
    births, deaths = [], []
    labels, last = cells_of(tracks), len(tracks.labels) - 1
    for row in tracks.lineage.itertuples():
        label = labels[row.track]
        inside = not touches(tracks.labels[row.start], label[row.start])
        if row.parent == 0 and row.start > 0 and inside:
            births.append((row.start, stretch(label, row.start, 1)))
        if row.track in tracks.lineage.parent.tolist():
            continue
        inside = not touches(tracks.labels[row.end], label[row.end])
        if row.fate == "died" or row.fate == "unknown" and row.end < last and inside:
            deaths.append((row.end, stretch(label, row.end, -1)))
    return births, deaths


def matches(covered):
    "Return {(frame, true label): result label}, without results that cover several true cells."
    once = [
        {k: j for k, j in pairs.items() if list(pairs.values()).count(j) == 1} for pairs in covered
    ]
    return {(t, k): j for t, pairs in enumerate(once) for k, j in pairs.items()}


def late_events(
    these, those, pairs, tolerance, when
):  # events of truth and result; the earlier or the later frame decides
    "Return by how many frames the events found are late."
    cost = np.full((len(these), len(those)), 1e6)
    for i, (t, part) in enumerate(these):
        for j, (s, other) in enumerate(those):
            k = when(t, s)
            if (
                abs(t - s) <= tolerance
                and k in part
                and k in other
                and pairs.get((k, part[k])) == other[k]
            ):
                cost[i, j] = abs(s - t)
    i, j = linear_sum_assignment(cost)
    return [those[b][0] - these[a][0] for a, b in zip(i, j, strict=True) if cost[a, b] < 1e6]


def test_deaths_and_births():
    count = {"death": 0, "birth": 0}
    for k in range(MOVIES):
        ends, pairs = (
            [births_and_deaths(tracks) for tracks in (case(k).truth, case(k).result)],
            matches(case(k).covers),
        )
        for tolerance in (0, 2):
            scores = score_events(
                case(k).truth, case(k).result, case(k).tables, tolerance=tolerance
            )
            for kind, these, those, when in zip(("birth", "death"), *ends, (max, min), strict=True):
                late = late_events(these, those, pairs, tolerance, when)
                expected = [
                    len(late),
                    len(those) - len(late),
                    len(these) - len(late),
                    sum(map(abs, late)),
                ]
                assert [
                    scores[f"{kind} {name}"] for name in ("TP", "FP", "FN", "late")
                ] == expected, f"{case(k)}, {kind}"
                if late:
                    assert math.isclose(scores[f"{kind} timing"], np.mean(np.abs(late)))
                count[kind] += len(late)
    assert min(count.values()) > 100


def test_links_and_tracks():
    """Links found: all but the repairs EA. Cells followed: for each true track, a loop over all
    tracks of the result."""
    for k in range(MOVIES):
        truth, result, pairs = case(k).truth, case(k).result, matches(case(k).covers)
        scores = score_events(truth, result, case(k).tables)
        lost = aogm_operations(truth, result, case(k).tables)["EA"]
        assert scores["links found"] == scores["links"] - len(lost)
        tracks, others = (
            c.set_index(["frame", "label"]).track.to_dict()
            for c in (truth.joined().cells, result.joined().cells)
        )
        followed = 0
        for track in set(tracks.values()):
            followers = [
                others[t, pairs[t, label]]
                for (t, label), own in tracks.items()
                if own == track and (t, label) in pairs
            ]
            followed += max([followers.count(other) for other in followers], default=0)
        assert (scores["cells"], scores["cells followed"]) == (len(truth.cells), followed)


# ---- properties


def test_perfect():
    found = 0
    for k in range(0, MOVIES, 4):
        truth = case(k).truth
        scores = score_events(truth, truth, tolerance=k % 3)
        for name, value in scores.values.items():
            if not math.isnan(value):
                assert value == (not name.endswith(("timing", "bias"))), (
                    f"{case(k)}: {name} {value}"
                )
        events = event_table(truth, truth)
        assert set(events.outcome) <= {"TP"}
        found += len(events)
    assert found > 100


@pytest.mark.parametrize("k", range(0, 30, 5))
def test_by_position(k):
    "Where the masks are the same, centres match what masks match; and distances are physical."
    truth, rng = case(k).truth, np.random.default_rng(k)
    assert len(truth.cells)
    result = damaged(truth, rng, pixels=False)
    a, b = (
        score_events(truth, result, tolerance=2),
        score_events(truth, result, tolerance=2, max_distance=1e-6),
    )
    assert a.counts == b.counts and repr(a) == repr(b)
    moved = Tracks(
        result.cells.assign(x=result.cells.x + 1), result.lineage, result.labels, max_children=None
    )

    def by(reach, spacing):
        return score_events(truth, moved, max_distance=reach, spacing=spacing).counts

    size = len(truth.axes) - 1
    assert by(1.01, (1.0,) * size + (1.0,)) == score_events(truth, result).counts
    assert by(1.01, (1.0,) * size + (0.01,))["links"] == a["links"]
    assert by(1.01, (9.0,) * size + (2.0,))["cells followed"] == 0


def changed(tracks, factor, rim, swap, seed):
    """Return Tracks with other names, a rim, and two axes swapped; which cells touch the edge is
    kept in a column."""
    labels = np.stack(list(tracks.labels)).astype(np.int64) * factor
    labels = np.pad(labels, [(0, 0)] + [(rim, rim)] * tracks.labels.ndim)
    border = [
        touches(tracks.labels[t], label)
        for t, label in zip(tracks.cells.frame, tracks.cells.label, strict=True)
    ]
    names = np.append(0, 1 + np.random.default_rng(seed).permutation(tracks.lineage.track.max()))
    cells = tracks.cells[["frame", "label", "track", *tracks.axes]].assign(
        border=border, track=names[tracks.cells.track]
    )
    cells["label"] *= factor
    lineage = tracks.lineage.assign(
        track=names[tracks.lineage.track], parent=names[tracks.lineage.parent]
    )
    places = {k: cells[k] + rim for k in tracks.axes}
    if swap:
        places |= dict(
            zip((tracks.axes[0], "x"), (places["x"], places[tracks.axes[0]]), strict=True)
        )
    step = tracks.labels.spacing
    labels = Movie(
        labels.swapaxes(1, -1) if swap else labels,
        spacing=(step[-1], *step[1:-1], step[0]) if swap else step,
    )
    return Tracks(cells.assign(**places), lineage, labels, max_children=None)


@settings(max_examples=12, deadline=None, derandomize=True)
@given(
    st.sampled_from([k for k in range(24) if len(case(k).result.cells)]),
    st.integers(1, 10**6),
    st.integers(0, 3),
    st.booleans(),
    st.integers(0, 9),
    st.sampled_from([{}, {"max_distance": 3.0, "tolerance": 2}]),
)
def test_names_rim_and_axes_change_nothing(k, factor, rim, swap, seed, options):
    truth, result = case(k).truth, case(k).result
    a, b = changed(truth, factor, rim, swap, seed), changed(result, factor + 1, rim, swap, seed + 1)
    before, after = score_events(truth, result, **options), score_events(a, b, **options)
    assert before.counts == after.counts and repr(before) == repr(after)


@settings(max_examples=8, deadline=None, derandomize=True)
@given(
    st.lists(
        st.sampled_from([k for k in range(0, 30, 3) if len(case(k).result.cells)]),
        min_size=2,
        max_size=3,
        unique=True,
    )
)
def test_pooled_counts_are_those_of_one_large_movie(numbers):
    "Movies side by side, far apart, are one movie; its counts are the sums of theirs."

    def beside(side):
        cells, lineage, images, names, x = [], [], [], 0, 0
        for k in numbers:
            tracks = changed(getattr(case(k), side), 1, 2, False, k)
            cells.append(
                tracks.cells.assign(
                    label=tracks.cells.label + names,
                    track=tracks.cells.track + names,
                    x=tracks.cells.x + x,
                )
            )
            lineage.append(
                tracks.lineage.assign(
                    track=tracks.lineage.track + names,
                    parent=tracks.lineage.parent + names * (tracks.lineage.parent > 0),
                )
            )
            image = np.stack(list(tracks.labels))
            images.append(np.where(image > 0, image + names, 0))
            names, x = names + 100_000, x + image.shape[-1]
        return Tracks(
            pd.concat(cells),
            pd.concat(lineage),
            Movie(np.concatenate(images, axis=-1)),
            max_children=None,
        )

    one = score_events(beside("truth"), beside("result"))
    counts = add_counts([score_events(case(k).truth, case(k).result).counts for k in numbers])
    assert one.counts == counts
    assert repr(EVENTS.scores(counts) + LINKS.scores(counts)) == repr(one)


# ---- by hand


def test_errors_have_reasons():
    before, after = ".aa.....bbbb.. ", ".aa....cc..dd. "
    truth = line_movie(3 * before + 3 * after, "c<b d<b")

    def table(text, parents):
        return event_table(truth, line_movie(text, parents)).query("event == 'division'")

    late = table(3 * before + ".aa....bbbbbb. " + 2 * after, "c<b d<b")
    assert late[["outcome", "frame", "result_frame", "reason"]].values.tolist() == [
        ["TP", 2, 3, ""]
    ]
    assert set(table(3 * before + 3 * after, "c<b").reason) == {"goes on as one cell"}
    assert set(table(3 * before + 3 * after, "").reason) == {"ends here"}
    assert set(table(3 * before + 3 * after.replace("a", "e"), "c<b e<b").reason) == {
        "other daughters"
    }
    assert set(table(6 * ".aa........... ", "").reason) == {"cell not matched"}


def test_left_ended_or_died():
    "a dies, b leaves, c is born, d enters, e lives on; a fate that is known is believed."
    text = (
        "..aa..ee....bb ..aa..ee.....b ..aa..ee.cc..b ......ee.cc... d.....ee.cc... dd....ee.cc..."
    )
    truth = line_movie(text)

    def labels(tracks, kind, **options):
        return event_table(tracks, tracks, **options).query("event == @kind").label.tolist()

    assert labels(truth, "death") == [1] and labels(truth, "birth") == [3]
    for fate, dead in (("left", []), ("ended", []), ("divided", []), ("died", [1])):
        lineage = truth.lineage.assign(fate=truth.lineage.fate.mask(truth.lineage.track == 1, fate))
        assert labels(Tracks(truth.cells, lineage, truth.labels), "death") == dead
    tall = line_movie(text, edge=20)
    assert (
        labels(tall, "death") == [1]
        and labels(tall, "death", margin=3) == []
        and labels(tall, "birth", margin=3) == [3]
    )
    boxes = truth.cells.assign(
        x0=truth.cells.x.astype(int), y0=1, x1=truth.cells.x.astype(int) + 1, y1=2
    )
    boxes.loc[(boxes.label == 2), "x1"] = 14
    boxed = Tracks(boxes, truth.lineage, truth.labels)
    assert labels(boxed, "death") == [1] and labels(boxed, "birth") == [3]


class Watched:
    "A label movie that counts how often frames are read."

    def __init__(self, frames):
        self.frames, self.read = list(frames), 0

    def __len__(self):
        return len(self.frames)

    def __getitem__(self, t):
        self.read += 1
        return self.frames[t]


def test_label_images_are_read_once_at_most():
    truth = WORLDS[0]
    bare = truth.cells.drop(columns=["y0", "x0", "y1", "x1"])
    for cells, least, most in (
        (truth.cells, 0, 1),
        (bare.assign(border=False), 0, 1),
        (bare, 2, 1 + len(truth.labels)),
    ):
        frames = Watched(truth.labels)
        tracks = Tracks(
            cells,
            truth.lineage.assign(fate="unknown"),
            Movie(frames, shape=truth.labels.frame_shape),
        )
        frames.read = 0
        score_events(tracks, tracks, overlaps(truth, truth))
        assert least <= frames.read <= 2 * most, (
            "each side reads each frame once, and none where borders or boxes are known"
        )


def test_nothing():
    truth = line_movie("a.bb a.bb a.c. a.d.", "c<b d<c")
    nothing = Tracks(truth.cells[:0], truth.lineage[:0], truth.labels.map(np.zeros_like))
    empty, invented = score_events(truth, nothing), score_events(nothing, truth)
    assert (
        empty["division FN"] == 0
        and empty["cells followed"] == 0
        and empty["association accuracy"] == 0
    )
    assert invented.reasons["association accuracy"] == "the truth has no link" and math.isnan(
        invented["division F1"]
    )
    assert invented.reasons["target effectiveness"] == "the truth has no cell"
    family = line_movie(".bb. .bb. c..d c..d", "c<b d<b")
    assert score_events(family, nothing)["division F1"] == 0 and math.isnan(
        score_events(family, nothing)["division precision"]
    )
    assert (
        score_events(nothing, family)["division MBC"] == 0
        and score_events(nothing, family)["division precision"] == 0
    )
    assert len(score_events(nothing, nothing).reasons) == len(score_events(nothing, nothing).values)
    assert (
        len(event_table(nothing, nothing)) == 0
        and score_events(family, nothing, max_distance=1.0)["links found"] == 0
    )
    assert EVENTS.scores(add_counts([]))["division TP"] == 0


@pytest.mark.parametrize(
    "options, word",
    [
        ({"tolerance": -1}, "tolerance"),
        ({"tolerance": math.nan}, "tolerance"),
        ({"max_distance": 0}, "max_distance"),
        ({"max_distance": math.inf}, "max_distance"),
        ({"max_distance": 1, "spacing": (1.0,)}, "axis"),
        ({"max_distance": 1, "spacing": (1.0, 0.0)}, "positive"),
        ({}, "no labels"),
    ],
)
def test_refused(options, word):
    truth = line_movie("a.bb a.bb")
    bare = Tracks(truth.cells, truth.lineage)
    with pytest.raises(InputError, match=word):
        score_events(bare, bare, **options)
