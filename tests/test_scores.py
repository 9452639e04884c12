"""Every score against the programs that others trust: on damaged movies, and on the golden
results."""

import contextlib
import io
import json
import math
import os
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import tifffile
from ctc_metrics.metrics import ALL_METRICS
from ctc_metrics.scripts.evaluate import evaluate_sequence
from trackeval.metrics import HOTA, Identity

from celltrack.assignment import max_weight_matching
from celltrack.formats.ctc import check, read_ctc, write_ctc, write_masks
from celltrack.formats.dataset import open_sequence
from celltrack.formats.mot import read_mot
from celltrack.images import read_image
from celltrack.lineage import lineage_graph
from celltrack.measure import measure_movie
from celltrack.movie import Movie
from celltrack.score.ctc import (
    OPERATIONS,
    aogm_operations,
    biology_counts,
    biology_values,
    lineages,
    lookup,
    match_divisions,
    matched_nodes,
    score_ctc,
    single_pairs,
)
from celltrack.score.events import score_events
from celltrack.score.mot import (
    HOTA as HOTA_FAMILY,
    MOT,
    hota,
    hota_counts,
    mot_counts,
    pair_detections,
    score_mot,
)
from celltrack.score.overlap import (
    Comparison,
    add_counts,
    frame_overlap,
    overlaps,
    seg,
    segmentation,
)
from celltrack.score.panel import read_pair
from celltrack.simulate import simulate_movie
from celltrack.tracks import Tracks
from damaged import damaged
from oracles import (
    CHALLENGE,
    CLEAR,
    MAX_DISTANCE,
    SCORES,
    TOLERANCES,
    WITHIN,
    Case,
    PeerMovie,
    adapted_rand,
    as_files,
    clear,
    ctcmetrics,
    information,
)

MOVIES = 200
SHAPES = [(48, 48), (64, 40), (6, 32, 32), (8, 24, 36)]
HOTA_NAMES = ["HOTA", "DetA", "AssA", "LocA", "DetRe", "DetPr", "AssRe", "AssPr"]
ID_NAMES = ["IDTP", "IDF1", "IDP", "IDR"]


@pytest.fixture(scope="module")
def cases():
    worlds = [
        simulate_movie(10, SHAPES[k % 4], 8, seed=k, cycle=10.0, death=0.02)[1] for k in range(16)
    ]
    return [damaged_case(worlds[k % 16], k) for k in range(MOVIES)]


@pytest.fixture(scope="module")
def whole(cases):
    return [c for c in cases if len(c.truth) and len(c.result)]


def damaged_case(world, seed):
    rng = np.random.default_rng(seed)
    truth = damaged(world, rng, pixels=False)
    return Case(truth, damaged(truth if len(truth) else world, rng), seed)


def compare(case, ours, theirs, names):
    """Fail unless the numbers of both are the same to 1e-9.

    `names` is {our name: their name}, or our names where they are the same.
    """
    if not isinstance(names, dict):
        names = {name: name for name in names}
    for a, b in names.items():
        said = np.mean(theirs[b])
        assert abs(ours[a] - said) < 1e-9, f"{case}: {a} is {ours[a]}, the oracle says {said}"


def within(i):
    """Return {our name: that of py-ctcmetrics} of what depends on the tolerance; our counts have
    one name for all."""
    return {
        k if k.startswith("division") else f"{k}({i})": f"{name}({i})" for k, name in WITHIN.items()
    }


# what the movies hold -----------------------------------------------------------------------------


def features(case):
    "Yield what is unusual in a case."
    for side, tracks in (("truth", case.truth), ("result", case.result)):
        lineage, frames = tracks.lineage.set_index("track"), tracks.cells.frame
        if lineage.empty:
            yield f"empty {side}"
            continue
        child = lineage[lineage.parent > 0]
        size = child.groupby("parent").parent.transform("size")
        late = child.start - child.parent.map(lineage.end) > 1
        if (tracks.cells.groupby("track").size() < lineage.end - lineage.start + 1).any():
            yield f"gap inside a track of the {side}"
        if (size == 1).any():
            yield f"only child in the {side}"
        if (late & (size == 1)).any():
            yield f"gap before an only child in the {side}"
        if (late & (size > 1)).any():
            yield f"late daughter in the {side}"
        if (size > 2).any():
            yield f"three children or more in the {side}"
        if frames.nunique() < len(tracks.labels):
            yield f"empty frame in the {side}"
    if "z" in case.truth.cells:
        yield "3D"
    for f in case.frames:
        if (f.covered > 0.5).sum(0).max(initial=0) > 1:
            yield "merged cells"
        if (f.shared / f.result.area > 0.5).sum(1).max(initial=0) > 1:
            yield "split cell"
        if (f.shared.sum(0) == 0).any():
            yield "invented cell"
        if (f.shared.sum(1) == 0).any():
            yield "missed cell"


FEATURES = [
    f"{what} {side}"
    for side in ("truth", "result")
    for what in (
        "gap inside a track of the",
        "only child in the",
        "gap before an only child in the",
        "late daughter in the",
        "three children or more in the",
        "empty frame in the",
    )
]
FEATURES += [
    "empty truth",
    "empty result",
    "3D",
    "merged cells",
    "split cell",
    "invented cell",
    "missed cell",
]


def test_the_movies_hold_everything_that_may_go_wrong(cases):
    found = Counter(name for case in cases for name in set(features(case)))
    assert found.keys() == set(FEATURES)
    assert min(found.values()) > 4, found


# the oracles on them ------------------------------------------------------------------------------


def test_challenge_is_py_ctcmetrics(whole):
    """All of the challenge's scores and operations. BC and CCA: the oracle has none where the truth
    has no event of the kind."""
    other_order = 0  # cases in which the break in the oracle's loop matters: see `ctcmetrics`
    for case in whole:
        theirs, tables = case.challenge, overlaps(case.truth, case.result)
        other_order += abs(theirs["TF"] - theirs["TF, its order"]) > 1e-9
        for i in TOLERANCES:
            ours = score_ctc(case.truth, case.result, tables, masks=case.truth.labels, tolerance=i)
            names = CHALLENGE | within(i)
            unknown = {k for k, name in names.items() if name not in theirs}
            assert (
                unknown
                == {k for k in ("CCA", f"BC({i})") if math.isnan(ours[k])}
                == ours.reasons.keys()
            )
            compare(case, ours, theirs, {k: name for k, name in names.items() if k not in unknown})
    assert other_order


def test_official_tf_is_that_of_py_ctcmetrics(whole):
    """With its own numbers of the true tracks as labels: its loop over tracks ends early, in their
    order."""
    for case in whole:
        comparison = Comparison(case.truth, case.result)
        x, y = comparison.part(lineages)
        number = as_files(case.truth)[1]
        cells = zip(x.graph.frame.tolist(), x.graph.label.tolist(), strict=True)
        named = np.array([number[cell] for cell in cells])
        x = x._replace(graph=x.graph._replace(label=named))
        matched = comparison.part(matched_nodes)
        ours = biology_values(biology_counts(x, y, matched, official=True))
        compare(case, ours, case.challenge, {"TF": "TF, its order"})


def test_events_are_py_ctcmetrics(whole):
    "BC is the F1 of divisions; the links that are not found are the repairs EA."
    for case in whole:
        theirs, tables = case.challenge, overlaps(case.truth, case.result)
        for i in TOLERANCES:
            ours = score_events(case.truth, case.result, tables, tolerance=i)
            names = {f"division {k.upper()}": f"{k}_div({i})" for k in ("tp", "fp", "fn")}
            compare(case, ours, theirs, names)
            if f"BC({i})" in theirs:
                compare(case, ours, theirs, {"division F1": f"BC({i})"})
        assert ours["links"] - ours["links found"] == theirs["AOGM_EA"]


def scores_of(pairs):
    "Return the Scores of `score_mot` and `hota` of DetectionPairs."
    return MOT.scores(mot_counts(pairs)), HOTA_FAMILY.scores(hota_counts(pairs))


@pytest.mark.parametrize("matching, join", [("marker", True), ("mask", False)])
def test_hota_is_trackeval_and_clear_is_motmetrics(whole, matching, join):
    tied = 0
    for case in whole:
        theirs = PeerMovie(case, matching, join)
        pairs = pair_detections(case.truth, case.result, matching=matching, join=join)
        scores, finer = scores_of(pairs)
        compare(case, finer, theirs.trackeval(), HOTA_NAMES)
        compare(case, scores, theirs.identity(), ID_NAMES)
        tied += theirs.tied
        if theirs.tied:
            continue
        said = clear(theirs.motmetrics())
        compare(case, scores, said, CLEAR)
        compare(case, scores, {"MOTP": 1 - said["motp"]}, ["MOTP"] if scores["matches"] else [])
    assert tied < 4


@pytest.mark.parametrize("matching", ["box", "point"])
def test_boxes_and_points(whole, matching):
    for case in whole[::10]:
        peer = PeerMovie(case, matching, True)
        options = {"matching": matching}
        options |= {"max_distance": MAX_DISTANCE} if matching == "point" else {}
        ours = score_mot(case.truth, case.result, **options)
        compare(case, ours, peer.identity(), ID_NAMES)
        compare(case, ours, clear(peer.motmetrics()), CLEAR)
        finer = hota(case.truth, case.result, **options)
        compare(case, finer, peer.trackeval(), HOTA_NAMES)


def test_movies_are_pooled_as_the_oracles_do(whole):
    few = whole[::12]
    ours = MOT.scores(add_counts([score_mot(c.truth, c.result).counts for c in few]))
    finer = HOTA_FAMILY.scores(add_counts([hota(c.truth, c.result).counts for c in few]))
    peers = [PeerMovie(case, "marker", True) for case in few]

    def together(metric, said):
        return metric.combine_sequences(dict(enumerate(said)))

    compare("pooled", finer, together(HOTA(), [p.trackeval() for p in peers]), HOTA_NAMES)
    identity = Identity({"PRINT_CONFIG": False})
    compare("pooled", ours, together(identity, [p.identity() for p in peers]), ID_NAMES)
    names = {k: name for k, name in CLEAR.items() if k != "identities"}
    compare("pooled", ours, clear(*(p.motmetrics() for p in peers)), names)


def test_rand_and_information_are_scikit_image(cases):
    """Frame by frame, and the whole movie, whose frames share no label: the pairs and bits of all
    frames are added up."""
    for case in cases:
        tables = overlaps(case.truth, case.result)
        movies = [
            np.stack([image.astype(int) for image in tracks.labels])
            for tracks in (case.truth, case.result)
        ]
        for a, b, o in zip(*movies, tables, strict=True):
            ours, theirs = segmentation([o]), adapted_rand(a, b)
            compare(
                case,
                ours,
                theirs | information(a, b),
                [*theirs, "VI split", "VI merge", "Rand index"],
            )
            assert theirs or math.isnan(
                ours["adapted Rand error"] * ours["Rand precision"] * ours["Rand recall"]
            )
        ours = segmentation(tables)
        frames = np.arange(len(tables)).reshape(-1, *[1] * (movies[0].ndim - 1))
        a, b = (movie + 1000 * frames for movie in movies)
        theirs = adapted_rand(np.where(movies[0], a, 0), b)
        compare(case, ours, theirs | information(a, b), [*theirs, "VI split", "VI merge"])


def test_a_result_against_itself_is_perfect(whole):
    for case in whole[::5]:
        for tracks in (case.truth, case.result):
            tables = overlaps(tracks, tracks)
            scores = (
                score_ctc(tracks, tracks, tables, masks=tables)
                + score_mot(tracks, tracks, tables)
                + hota(tracks, tracks, tables)
            )
            for name, value in scores.values.items():
                best = 0 if name in ("ADE", "FAF") else 1
                assert math.isnan(value) or value == best, f"{tracks}: {name} is {value}"


# where there is nothing to count ------------------------------------------------------------------


def of_labels(labels):
    cells = measure_movie(labels)
    return Tracks(cells.assign(track=cells.label), labels=labels)


def line(*rows):
    "Return Tracks of a movie of one row of pixels per frame; a digit is a cell and its track."
    return of_labels(Movie(np.array([[[int(k) for k in row]] for row in rows])))


def everything(truth, result):
    tables = overlaps(truth, result)
    return (
        score_ctc(truth, result, tables, masks=tables)
        + score_mot(truth, result, tables)
        + hota(truth, result, tables)
    )


ZERO_WITHOUT_RESULT = {*SCORES, "HOTA(marker)", "BIO(1)", "OP_CLB(1)"} - {"CCA"}
ZERO_WITHOUT_RESULT |= {"MOTA", "MOTAL", "IDF1", "IDR", "recall", "FAF", "JACT"}
ZERO_WITHOUT_RESULT |= {"HOTA", "HOTA(0)", "DetA", "DetRe"}
ZERO_WITHOUT_TRUTH = {"IDF1", "IDP", "precision", "JACT", "HOTA", "HOTA(0)", "DetA", "DetPr"}
THEIRS = {  # what the oracles say instead: a number out of nothing, or an error
    "empty result": {
        "AssA": 0,
        "LocA": 1,
        "AssRe": 0,
        "AssPr": 0,
        "DetPr": 0,
        "CHOTA": None,
        "HOTA(marker)": None,
    },
    "empty truth": {
        "SEG": 0,
        "CT": 0,
        "TF": 0,
        "DET": None,
        "TRA": None,
        "LNK": None,
        "CHOTA": None,
        "HOTA(marker)": None,
        "AssA": 0,
        "LocA": 1,
        "AssRe": 0,
        "AssPr": 0,
        "DetRe": 0,
        "MOTA": -math.inf,
    },
}


def says(case):
    "Return all that the oracles say of a case, by our names."
    peer = PeerMovie(case, "marker", True)
    said = {k: float(np.mean(v)) for k, v in peer.trackeval().items()}
    said["MOTA"] = clear(peer.motmetrics())["mota"]
    return said | {k: case.challenge.get(name) for k, name in CHALLENGE.items()}


def test_empty_result(cases):
    "Nothing found is 0 where the truth decides, and undefined where the result is divided by."
    some = [case for case in cases if len(case.truth) and not len(case.result)]
    for case in some:
        ours = everything(case.truth, case.result)
        zero = ZERO_WITHOUT_RESULT | {k for k in ("BC(1)", "CCA") if not math.isnan(ours[k])}
        if not case.truth.divisions().empty:
            assert "BC(1)" in zero
        assert {k for k, v in ours.values.items() if v == 0} == zero
        assert set(ours.values) - zero == ours.reasons.keys()
        theirs = says(case)
        assert {k: theirs[k] for k in THEIRS["empty result"]} == THEIRS["empty result"]
        compare(
            case, ours, theirs, ["DET", "TRA", "LNK", "SEG", "CT", "TF", "MOTA", "HOTA", "DetA"]
        )
    assert some


def test_empty_truth(cases):
    "All is undefined but what the result is divided by, which is 0."
    some = [case for case in cases if len(case.result) and not len(case.truth)]
    for case in some:
        ours = everything(case.truth, case.result)
        assert {k for k, v in ours.values.items() if v == 0} == ZERO_WITHOUT_TRUTH
        assert set(ours.values) - ZERO_WITHOUT_TRUTH - {"FAF"} == ours.reasons.keys()
        theirs = says(case)
        assert {k: theirs[k] for k in THEIRS["empty truth"]} == THEIRS["empty truth"]
        compare(case, ours, theirs, ["HOTA", "DetA", "DetPr"])
    assert some


def test_nothing_at_all():
    """Two empty movies, and two of one frame: no exception, and no score out of nothing but FAF,
    which is per frame."""
    nothing, one = line("000", "000"), line("011")
    scores = everything(nothing, nothing)
    assert set(scores.values) - {"FAF"} == scores.reasons.keys()
    scores = everything(one, one)
    assert all(scores[k] == 1 for k in ("SEG", "DET", "TRA", "CT", "HOTA", "IDF1"))
    assert {"LNK", "BC(1)", "CCA"} <= scores.reasons.keys()
    for tracks in (one, nothing):
        assert "TRA" not in ctcmetrics(Case(tracks, tracks))  # it raises


# through files ------------------------------------------------------------------------------------


def write(case, folder):
    write_ctc(case.truth, folder / "01_GT" / "TRA", truth=True)
    write_masks(case.truth.relabelled(), folder / "01_GT" / "SEG", "man_seg")
    write_ctc(case.result, folder / "01_RES")
    by_start(folder)
    return folder / "01_GT", folder / "01_RES"


def by_start(folder, sign=1):
    "Sort the track tables in time, parents first; with sign -1 backwards."
    for table in folder.rglob("*_track.txt"):
        lines = table.read_text().splitlines(True)
        table.write_text("".join(sorted(lines, key=lambda line: sign * int(line.split()[1]))))


def peer_reads(truth, result, metrics=ALL_METRICS):
    with contextlib.redirect_stdout(io.StringIO()):
        return evaluate_sequence(str(result), str(truth), list(metrics), threads=1)


def test_files_give_the_same_numbers(whole, tmp_path):
    """The oracle's own reader and matching on written movies, ours from the same files, and ours
    from memory.

    It trips over frames without cells; its TF, and what is made of it, depends on the order of
    labels: `official`.
    """
    full = [
        c
        for c in whole
        if all(t.cells.frame.nunique() == len(t.labels) for t in (c.truth, c.result))
    ]
    flat = [c for c in full if c.truth.labels.ndim == 2]
    chosen = flat[:3] + [c for c in full if c not in flat][:3]
    assert len(chosen) == 6
    for case in chosen:
        folders = write(case, tmp_path / str(case.name))
        theirs, pair = peer_reads(*folders), read_pair(*folders)
        known = [name for name, v in theirs.items() if v is not None]
        for i in TOLERANCES:
            from_files, official = (
                score_ctc(*pair, tolerance=i, official=way) for way in (False, True)
            )
            compare(
                case,
                official,
                theirs,
                {k: name for k, name in (CHALLENGE | within(i)).items() if name in known},
            )
            assert repr(from_files) == repr(
                score_ctc(case.truth, case.result, masks=case.truth.labels, tolerance=i)
            )


def test_the_order_of_rows_means_nothing(whole, tmp_path):
    """But with children before their parents the oracle joins chains wrongly, and its CHOTA is
    another."""
    case = next(
        c
        for c in whole
        if all(t.cells.frame.nunique() == len(t.labels) for t in (c.truth, c.result))
    )
    folders = write(case, tmp_path)
    ours, theirs = score_ctc(*read_pair(*folders)), peer_reads(*folders)
    by_start(tmp_path, -1)
    assert repr(score_ctc(*read_pair(*folders))) == repr(ours)
    assert (
        theirs["CHOTA"] == pytest.approx(ours["CHOTA"], abs=1e-9) != peer_reads(*folders)["CHOTA"]
    )


def test_what_the_oracle_cannot_read(tmp_path):
    "It calls a movie invalid whose files begin at 5, and raises where the result is empty."
    truth, nothing = line("1102", "0112"), line("0000", "0000")
    folders = write(Case(truth, nothing), tmp_path / "empty")
    with pytest.warns(UserWarning), pytest.raises(ValueError):
        peer_reads(*folders)
    assert score_ctc(*read_pair(*folders))["DET"] == 0
    late = Tracks(truth.cells, labels=Movie(np.stack(list(truth.labels)), first=5))
    folders = write(Case(late, late), tmp_path / "late")
    with pytest.warns(UserWarning):
        assert peer_reads(*folders, ["Valid", "TRA"]) == {"Valid": 0, "TRA": None}
    assert score_ctc(*read_pair(*folders))["TRA"] == 1


def test_large_labels(tmp_path):
    "The oracle adds two labels of 16 bits, and finds half of a perfect result."
    labels = np.zeros((3, 8, 8), np.uint16)
    labels[:, 1:3, 1:3], labels[:, 5:7, 5:7] = 2, 65534
    tracks = of_labels(Movie(labels))
    folders = write(Case(tracks, tracks), tmp_path)
    assert peer_reads(*folders)["DET"] < 0.5
    scores = score_ctc(*read_pair(*folders))
    assert scores["SEG"] == scores["DET"] == scores["TRA"] == scores["CT"] == scores["CHOTA"] == 1


def write_slices(folder, outlines):  # {(frame, z): (y, x)}
    folder.mkdir(parents=True)
    for (t, z), labels in outlines.items():
        tifffile.imwrite(folder / f"man_seg_{t:03d}_{z:03d}.tif", labels)


def test_gold_slices_by_hand(tmp_path):
    "Each gold slice is scored alone, against the same slice of the result."
    found = np.zeros((2, 3, 6, 8), np.uint16)
    found[:, :, 1, 1:4] = 1  # three pixels of a row in every slice
    found[:, 2, 4, 1:3] = 2  # two pixels, in the last slice alone
    tracks = of_labels(Movie(found))
    write_ctc(tracks, tmp_path / "01_GT" / "TRA", truth=True)
    write_ctc(tracks, tmp_path / "01_RES")
    a, b, c = (np.zeros((6, 8), np.uint16) for _ in range(3))
    a[1, 1:5] = 7  # four pixels, three found: 3/4
    b[1, 1:7] = 7  # six, three found: only half, 0
    b[4, 1:3] = 9  # as found: 1
    c[1, 1:3] = 3  # two, covered by three: 2/3
    write_slices(tmp_path / "01_GT" / "SEG", {(0, 0): a, (0, 2): b, (1, 1): c})
    truth, result, tables, masks = read_pair(tmp_path / "01_GT", tmp_path / "01_RES")
    for scores in (
        score_ctc(truth, result, tables, masks),
        score_ctc(tracks, tracks, masks=open_sequence(tmp_path / "01_GT").gold),
    ):
        assert (
            scores["SEG"] == pytest.approx(np.mean([3 / 4, 0, 1, 2 / 3]))
            and scores["SEG cells"] == 4
        )
        assert scores["SEG matched"] == 3 and scores["TRA"] == scores["DET"] == 1


# golden results: the official program's logs, and every number of expected_scores.json ------------

needs_golden = pytest.mark.skipif(
    "CELLTRACK_GOLDEN" not in os.environ, reason="CELLTRACK_GOLDEN is not set"
)
GOLDEN = Path(os.environ.get("CELLTRACK_GOLDEN", "golden"))
HEADS = {
    "NS": "Splitting",
    "FN": "False Negative",
    "FP": "False Positive",
    "ED": "Redundant",
    "EA": "To Be Added",
    "EC": "Wrong Semantics",
}


def logged(path):
    """Return {operation: rows}, (frame, label) or (frame, label, frame, label), and the score of an
    official log."""
    blocks = re.split(r"-{5,}(.*?)-{5,}\n", path.read_text().split("=====")[0])[1:]

    def rows(body):
        lines = [re.findall(r"=(\d+)", line) for line in body.splitlines()]
        return sorted(tuple(map(int, numbers)) for numbers in lines)

    found = {head: rows(body) for head, body in zip(blocks[::2], blocks[1::2], strict=True)}
    return {
        k: next((rows for head, rows in found.items() if text in head), [])
        for k, text in HEADS.items()
    }, last_number(path)


def last_number(path):
    return float(path.read_text().split()[-1])


@needs_golden
@pytest.mark.parametrize("name", ["ctc_testing_dataset/03", "ipsc-02/02"])
@pytest.mark.parametrize("log, kinds", [("TRA", [*OPERATIONS]), ("DET", ["NS", "FN", "FP"])])
def test_official_logs(name, log, kinds):
    "The same repairs one by one, not only as many."
    truth, result, tables, _ = read_pair(GOLDEN / f"{name}_GT", GOLDEN / f"{name}_RES")
    ours = aogm_operations(truth, result, tables)
    theirs, measure = logged(GOLDEN / f"{name}_RES" / f"{log}_log.txt")
    assert {k: sorted(map(tuple, ours[k].tolist())) for k in kinds} == {k: theirs[k] for k in kinds}
    assert score_ctc(truth, result, tables)[log] == pytest.approx(measure, abs=5e-7)


@needs_golden
def test_official_segmentation_log():
    "The Jaccard index of each of the 121 cells."
    folder, found = GOLDEN / "ctc_testing_dataset", 0
    log = (folder / "01_RES" / "SEG_log.txt").read_text()
    for t, block in re.findall(r"-+T=(\d+) Z=0-+\n((?:GT_label.*\n)+)", log):
        o, jaccard = gold_overlap(folder, int(t)), dict.fromkeys(range(100), 0)
        jaccard |= dict(
            zip(
                o.truth_labels[o.truth[o.matched]].tolist(),
                o.jaccard[o.matched].tolist(),
                strict=True,
            )
        )
        rows = [(int(k), float(v)) for k, v in re.findall(r"GT_label=(\d+) J=(\S+)", block)]
        assert [k for k, _ in rows] == o.truth_labels.tolist()
        assert [v for _, v in rows] == pytest.approx([jaccard[k] for k, _ in rows], rel=1e-5)
        found += len(rows)
    assert found == 121


def gold_overlap(folder, t):
    return frame_overlap(
        *(
            read_image(folder / f"{name}{t:03d}.tif")
            for name in ("01_GT/SEG/man_seg", "01_RES/mask")
        )
    )


def leaves(tree, path=()):
    "Return {path: value} of nested dicts."
    if not isinstance(tree, dict):
        return {path: tree}
    return {p: v for k, branch in tree.items() for p, v in leaves(branch, (*path, k)).items()}


def same(path, ours, theirs):
    """Whether two numbers are the same in all digits given; null is what the oracle has no answer
    to."""
    if theirs is None:
        return math.isnan(ours)
    if isinstance(theirs, str):
        return ours == theirs
    return ours == pytest.approx(
        theirs, rel=0, abs=5e-7 if "official_CTC_software" in path else 1e-9
    )


@needs_golden
def test_clear_of_cells_is_that_of_py_ctcmetrics():
    "No detection covers two cells here; py-ctcmetrics would give it to both."
    expected = json.loads((GOLDEN / "expected_scores.json").read_text())
    theirs = expected["Fluo-N2DL-HeLa_full/01"]["py_ctcmetrics_1.3.3"]
    sides = [read_ctc(GOLDEN / "Fluo-N2DL-HeLa_full" / name) for name in ("01_GT", "01_RES")]
    names = {k: k for k in ("MOTA", "IDF1", "IDP", "IDR", "FAF", "IDTP")}
    names |= {"switches": "IDSW", "misses": "FN", "false positives": "FP"}
    compare("Fluo-N2DL-HeLa", score_mot(*sides), theirs, names)


@needs_golden
def test_motmetrics_as_backend():
    sides = [read_mot(GOLDEN / "mot" / "TUD-Campus" / name) for name in ("gt.txt", "test.txt")]
    ours, theirs = (
        score_mot(*sides, matching="box", backend=name) for name in ("celltrack", "motmetrics")
    )
    compare("TUD-Campus", ours, theirs, list(ours.values))


@needs_golden
@pytest.mark.parametrize(
    "name",
    [
        "ctc_testing_dataset/01",
        "ctc_testing_dataset/03",
        "ipsc-02/02",
        "Fluo-N2DL-HeLa_full/01",
        "mot",
    ],
)
def test_every_golden_number(name):
    expected = json.loads((GOLDEN / "expected_scores.json").read_text())
    assert len(expected) == 5  # the names above
    theirs = leaves(expected[name])
    ours = leaves(
        people()
        if name == "mot"
        else outlined()
        if name == "ctc_testing_dataset/01"
        else tracked(name)
    )
    assert theirs.keys() <= ours.keys(), f"not compared: {sorted(theirs.keys() - ours.keys())}"
    wrong = {path: (ours[path], v) for path, v in theirs.items() if not same(path, ours[path], v)}
    assert not wrong, wrong


def outlined():
    folder = GOLDEN / "ctc_testing_dataset"
    ours = seg([gold_overlap(folder, g.frame) for g in open_sequence(folder / "01_GT").gold])
    return {
        "official_CTC_software": ours.values,
        "own_SEG_check": ours["SEG"],
        "n_gt_objects": ours["SEG cells"],
    }


def tracked(name):
    """Return our numbers of a pair of folders under the names of the official program,
    py-ctcmetrics and traccuracy."""
    folders = GOLDEN / f"{name}_GT", GOLDEN / f"{name}_RES"
    truth, result, tables, masks = read_pair(*folders)
    scores = [
        score_ctc(truth, result, tables, masks or truth.labels, tolerance=i, official=True)
        for i in TOLERANCES
    ]
    found = {name: scores[0][k] for k, name in CHALLENGE.items()} | joined_flavour(
        truth, result, tables
    )
    found |= {name: s[k] for i, s in enumerate(scores) for k, name in within(i).items()}
    found |= {
        "Valid": not any(map(check, folders)),
        "gt_divisions": scores[0]["division TP"] + scores[0]["division FN"],
    }
    found |= dict.fromkeys(
        ("BC", "MT", "ML"), math.nan
    )  # null in the file: names that py-ctcmetrics has not
    return {
        "official_CTC_software": scores[0].values,
        "py_ctcmetrics_1.3.3": found,
        "traccuracy_0.4.3": traccuracy(truth, result, tables),
    }


def joined_flavour(truth, result, tables):
    """Return py-ctcmetrics' own CLEAR and identity scores from our matched pairs.

    One-child chains are joined, a result cell may be several true cells, and a pair of tracks may
    be any two that met. Ours follow motmetrics: one to one.
    """
    comparison = Comparison(truth, result, tables)
    x, y = comparison.part(lineages)
    t, r = comparison.part(matched_nodes)
    n, m, tp, matched = len(x.track), len(y.track), len(t), len(np.unique(r))
    order = np.lexsort((x.graph.frame[t], x.track[t]))
    a, b = x.track[t][order], y.track[r][order]
    switches = int(((a[1:] == a[:-1]) & (b[1:] != b[:-1])).sum())
    pairs, shared = np.unique(np.stack([a, b]), axis=1, return_counts=True)
    idtp = int(shared[max_weight_matching(*pairs, shared)].sum())
    fn, fp, double = n - tp, m - matched, tp - matched
    return {
        "TP": tp,
        "FN": fn,
        "FP": fp,
        "IDSW": switches,
        "MULTI-ASSIGNMENTS": double,
        "MOTA": 1 - (fn + fp + switches + double) / n,
        "Precision": tp / (tp + fp),
        "Recall": tp / n,
        "IDTP": idtp,
        "IDFP": tp + fp - idtp,
        "IDFN": n - idtp,
        "IDP": idtp / (tp + fp),
        "IDR": idtp / n,
        "IDF1": 2 * idtp / (tp + fp + n),
        "Frames": len(tables),
        "FAF": (m - len(single_pairs((t, r))[0])) / len(tables),
    }


def traccuracy(truth, result, tables):
    """Return our numbers by the names of traccuracy 0.4.3, as far as it agrees with the official
    program.

    It takes the link from a parent to its only child for one along a track: what is wrong about it
    is another number.
    """
    a, b = lineage_graph(truth), lineage_graph(result)
    c = score_ctc(truth, result, tables).counts
    right, kept = c["links"] - c["EA"], len(b.src)
    matched = Comparison(truth, result, tables).part(matched_nodes)
    wrong = wrong_kind(a, b, matched)

    def cost(*kinds):
        return sum(OPERATIONS[k].cost * c[k] for k in kinds)

    nodes, links, edges = (
        cost("NS", "FN", "FP"),
        cost("ED", "EA") + wrong,
        OPERATIONS["EA"].cost * c["links"],
    )
    numbers = {
        "AOGM": nodes + links,
        "fp_nodes": c["FP"],
        "fn_nodes": c["FN"],
        "ns_nodes": c["NS"],
        "fp_edges": c["ED"],
        "fn_edges": c["EA"],
        "ws_edges": wrong,
        "TRA": 1 - (nodes + links) / c["AOGM_0"],
        "DET": 1 - nodes / (10 * c["cells"]),
        "LNK": 1 - links / edges,
    }
    basic = ratios("Node", len(a.frame), len(b.frame), c["cells"] - c["FN"]) | ratios(
        "Edge", c["links"], kept, right
    )
    return {
        "CTCMetrics": numbers,
        "BasicMetrics": basic,
        "DivisionMetrics": {
            f"Frame Buffer {i}": found_divisions(truth, result, tables, i) for i in range(3)
        },
    }


def wrong_kind(a, b, pairs):  # Graphs, matched nodes
    "Return how many links of both sides divide on one side and not on the other."
    t, r = single_pairs(pairs)
    partner = lookup(r, t, len(b.frame))

    def kind(g):
        return (np.bincount(g.src)[g.src] > 1).tolist()

    true_links = zip(a.src.tolist(), a.dst.tolist(), strict=True)
    true = dict(zip(true_links, kind(a), strict=True))
    links = zip(partner[b.src].tolist(), partner[b.dst].tolist(), strict=True)
    return sum(
        true.get(link, divides) != divides for link, divides in zip(links, kind(b), strict=True)
    )


def ratios(what, n, m, tp):
    return {
        f"Total GT {what}s": n,
        f"Total Pred {what}s": m,
        f"True Positive {what}s": tp,
        f"False Positive {what}s": m - tp,
        f"False Negative {what}s": n - tp,
        f"{what} Recall": tp / n,
        f"{what} Precision": tp / m,
        f"{what} F1": 2 * tp / (n + m),
    }


def found_divisions(truth, result, tables, tolerance):
    s = score_events(truth, result, tables, tolerance=tolerance)
    tp, fp, fn = (s[f"division {k}"] for k in ("TP", "FP", "FN"))
    comparison = Comparison(truth, result, tables)
    matched = single_pairs(comparison.part(matched_nodes))
    d, _, _, (in_time, _) = match_divisions(
        *comparison.part(lineages), matched, 0
    )  # same frame only
    return {
        "Division Recall": s["division recall"],
        "Division Precision": s["division precision"],
        "Division F1": s["division F1"],
        "Mitotic Branching Correctness": s["division MBC"],
        "Total GT Divisions": tp + fn,
        "Total Predicted Divisions": tp + fp,
        "True Positive Divisions": tp,
        "False Positive Divisions": fp,
        "False Negative Divisions": fn,
        "Wrong Children Divisions": len(np.setdiff1d(in_time, d)),
    }


def people():
    """Return our numbers of TUD-Campus by the names of motmetrics, of TrackEval, and of the
    challenge's own program."""
    truth, result = (
        read_mot(GOLDEN / "mot" / "TUD-Campus" / name) for name in ("gt.txt", "test.txt")
    )
    n, h = scores_of(pair_detections(truth, result, matching="box"))
    first = {name: n[k] for k, name in CLEAR.items()} | {
        "motp": 1 - n["MOTP"],
        "num_matches": n["matches"] - n["switches"],
    }
    second = {k: n[k] for k in ("MOTA", "MOTP", "MT", "PT", "ML", *ID_NAMES)}
    second |= {k: h[k] for k in (*HOTA_NAMES, "HOTA(0)", "LocA(0)")}
    second |= {
        "CLR_TP": n["matches"],
        "CLR_FN": n["misses"],
        "CLR_FP": n["false positives"],
        "IDSW": n["switches"],
        "Frag": n["fragmentations"],
        "IDFN": n["objects"] - n["IDTP"],
        "IDFP": n["detections"] - n["IDTP"],
    }
    percent = {"IDF1": "IDF1", "IDP": "IDP", "IDR": "IDR", "Rcll": "recall", "Prcn": "precision"}
    count = {
        "GT": "identities",
        "MT": "MT",
        "PT": "PT",
        "ML": "ML",
        "FP": "false positives",
        "FN": "misses",
        "IDs": "switches",
        "FM": "fragmentations",
    }

    def rate(names):
        return [f"{k} {100 * n[v]:.1f}" for k, v in names.items()]

    line = [*rate(percent), f"FAR {n['FAF']:.2f}", *(f"{k} {n[v]}" for k, v in count.items())]
    line += rate({k: k for k in ("MOTA", "MOTP", "MOTAL")})
    first = {k: round(float(v), 10) for k, v in first.items()}  # as in the file
    return {
        "TUD-Campus": {"motmetrics_1.4.0": first, "trackeval_1.3.0": second},
        "published_matlab_devkit": {"TUD-Campus": " ".join(line)},
    }
