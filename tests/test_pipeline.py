"""The road in one call, and its command: what it may not do without a word."""

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import tifffile

from celltrack.cli import main
from celltrack.formats.ctc import write_masks
from celltrack.movie import InputError
from celltrack.pipeline import (
    TRACKERS,
    Track,
    open_tracker,
    result_folders,
    track_movie,
    write_result,
)
from celltrack.segment.choose import create, segment_movie
from celltrack.simulate import simulate_movie
from celltrack.tracks import from_links


@pytest.fixture(scope="module")
def pair():
    return simulate_movie(5, (80, 80), 8, seed=3)


def write_movie(folder, pair):
    "Write images, and masks beside them, named as the folder."
    movie, truth = pair
    write_masks((np.asarray(movie) // 8).astype(np.uint16), folder, "t")
    write_masks(truth.labels, folder.with_name("masks"), "mask")
    return folder


def record_of(out):
    return json.loads((out / "run.json").read_text())


def test_the_road_in_a_fresh_interpreter(tmp_path):
    script = """
import celltrack as ct
movie, truth = ct.simulate_movie(5, (80, 80), 8, seed=3)
tracks = ct.track_movie(ct.read_movie(movie), segmenter="classic")
print(ct.score_tracks(truth, tracks)["TRA"] > 0.5)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "True\n" and not list(tmp_path.iterdir())


def test_track_movie_writes_and_prints_nothing(pair, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    movie, truth = pair
    tracks = track_movie(movie, labels=truth.labels)
    assert tracks.labels is truth.labels and len(tracks.cells) == len(truth.cells)
    assert not list(tmp_path.iterdir()) and capsys.readouterr() == ("", "")


@pytest.mark.parametrize("option, interval", [([], 10.0), (["--interval", "5"], 5.0)])
def test_no_default_overrules_the_file(pair, tmp_path, option, interval):
    path = tmp_path / "lab" / "movie.tif"
    path.parent.mkdir()
    metadata = {"axes": "TYX", "finterval": 600, "tunit": "sec", "unit": "um"}
    stack = (np.asarray(pair[0]) // 8).astype(np.uint16)
    tifffile.imwrite(path, stack, imagej=True, resolution=(2, 2), metadata=metadata)
    words = ["track", path, "--out", tmp_path / "out", "--model", "classic", "--diameter", "18"]
    assert main([*map(str, words), *option]) == 0
    record = record_of(tmp_path / "out" / "lab_movie")
    assert record["interval"] == interval and record["spacing"] == [0.5, 0.5]


class Broken:
    "A linker with a mistake in its constructor."

    def __init__(self, gate=1.0):
        self.gate = gate + "1"


def test_an_error_of_the_constructor_is_no_unknown_option(monkeypatch):
    monkeypatch.setitem(TRACKERS, "broken", f"{__name__}:Broken")
    monkeypatch.setitem(sys.modules, __name__, sys.modules[__name__])
    with pytest.raises(TypeError, match="unsupported operand"):
        open_tracker("broken", gate=2.0)
    with pytest.raises(InputError, match="no option gates"):
        open_tracker("broken", gates=2.0)


@pytest.mark.parametrize("name", [name for name in TRACKERS if "gnn" not in name])
def test_an_unknown_option_is_named(name):
    with pytest.raises(InputError, match="no_such_option"):
        open_tracker(name, no_such_option=1)


def test_create_passes_what_a_base_class_takes():
    class Child(Broken):
        def __init__(self, size=1, **options):
            self.size, self.options = size, options

    assert create("child", Child, {"gate": 3, "size": 2}).options == {"gate": 3}
    with pytest.raises(InputError, match="no option gat"):
        create("child", Child, {"gat": 3})


def test_labels_are_not_set_past_the_checks(pair):
    movie, truth = pair
    tracks = track_movie(movie, labels=truth.labels)
    with pytest.raises(AttributeError):
        tracks.labels = truth.labels
    with pytest.raises(InputError, match="labels"):
        tracks.with_labels(truth.labels[:2])


def test_names_keep_all_but_a_real_suffix(pair, tmp_path):
    paths = [write_movie(tmp_path / "d" / f"day.{k}", pair) for k in (1, 2)]
    for path in paths:
        Track([path], tmp_path / "out", labels="masks").run()
    names = sorted(p.name for p in (tmp_path / "out").iterdir())
    assert names == ["d_day.1", "d_day.2"]
    assert (tmp_path / "out" / "d_day.2" / "day.2_RES" / "res_track.txt").exists()


def test_a_result_of_another_movie_is_kept(pair, tmp_path):
    first, second = (write_movie(tmp_path / lab / "d" / "01", pair) for lab in "ab")
    out = tmp_path / "out"
    Track([first], out, labels="masks").run()
    Track([first], out, labels="masks").run()  # the same movie again
    before = record_of(out / "d_01")
    with pytest.raises(InputError, match="holds the result of"):
        Track([second], out, labels="masks").run()
    assert record_of(out / "d_01") == before and before["source"] == str(first)
    movie, truth = pair
    with pytest.raises(InputError, match="holds the result of"):
        write_result(track_movie(movie, labels=truth.labels), out / "d_01", movie, second)
    assert record_of(out / "d_01") == before


@pytest.mark.parametrize("kind", ["a file, where a folder", "a folder, where a file"])
def test_what_is_in_the_way_is_refused_before_the_work(pair, tmp_path, capsys, kind):
    path, out = write_movie(tmp_path / "movie", pair), tmp_path / "results"
    if kind.startswith("a file"):
        out.write_text("of somebody")
    else:
        ((_, folder),) = result_folders([path], out)
        (folder / "cells.csv").mkdir(parents=True)
    assert main(["track", str(path), "--tuned", "no such file", "--out", str(out)]) == 2
    assert kind in capsys.readouterr().err  # not the settings that are missing


def test_a_segmentation_of_another_movie_is_kept(pair, tmp_path):
    paths = [write_movie(tmp_path / lab / "d" / "01", pair) for lab in "ab"]
    words = ["--model", "classic", "--diameter", "18", "--out", str(tmp_path / "out")]
    assert main(["segment", str(paths[0]), *words]) == 0
    assert main(["segment", str(paths[1]), *words]) == 2
    assert main(["segment", str(paths[0]), *words]) == 0


def test_a_record_without_its_movie_is_refused_in_words(pair, tmp_path, capsys):
    path = write_movie(tmp_path / "d" / "01", pair)
    old = tmp_path / "out" / "d_01" / "run.json"
    old.parent.mkdir(parents=True)
    old.write_text('{"command": "track", "movie": "d/01"}')  # as older versions wrote it
    words = ["track", str(path), "--labels", "masks", "--out", str(tmp_path / "out")]
    assert main(words) == 2
    assert "does not say where its movie lies" in capsys.readouterr().err


def test_uncertain_links_are_drawn_where_no_cell_has_another_mother(tmp_path):
    movie, truth = simulate_movie(3, (96, 96), 2, seed=1)
    tracks = track_movie(movie, tracker="optimum", labels=truth.labels)
    write_result(tracks, tmp_path, movie)
    assert (tmp_path / "uncertain_links.png").stat().st_size


def test_uncertain_links_are_those_of_the_answer():
    from celltrack.pipeline import has_found_mother

    rows = [[0, 1], [1, 1], [1, 2]]
    cells = pd.DataFrame(rows, columns=["frame", "label"]).assign(x=0.0, y=0.0, area=1.0)
    tracks = from_links(cells, [0], [1])
    table = pd.DataFrame(rows, columns=["frame", "label"], dtype="Int64")
    table["mother frame"] = pd.array([pd.NA] * 3, "Int64")
    assert has_found_mother(table, tracks).tolist() == [False, True, False]
    table["mother frame"] = pd.array([pd.NA, 0, pd.NA], "Int64")
    assert not has_found_mother(table, tracks).any()
    movie, truth = simulate_movie(14, (128, 128), 24, seed=4, leap=1.0)
    found = track_movie(movie, labels=truth.labels)
    assert not has_found_mother(found.notes["uncertain_links"], found).any()


def test_same_seed_same_scores(tmp_path):
    words = "demo --frames 4 --size 96 --cells 6 --out".split()
    assert main([*words, str(tmp_path / "a")]) == main([*words, str(tmp_path / "b")]) == 0
    a, b = ((tmp_path / name / "scores.csv").read_text() for name in "ab")
    assert a.replace(str(tmp_path / "a"), "") == b.replace(str(tmp_path / "b"), "")


class Counting:
    calls = 0

    def segment(self, frame):
        self.calls += 1
        return (frame > np.median(frame)).astype(np.uint32)


@pytest.mark.parametrize("kept", [None, "folder"])
def test_each_frame_is_segmented_once(pair, tmp_path, kept):
    counting = Counting()
    labels = segment_movie(pair[0], counting, tmp_path if kept else None)
    assert counting.calls == 0
    for _ in range(2):
        for t, image in enumerate(labels):
            assert image.dtype == np.uint32
            assert np.array_equal(image, pair[0][t] > np.median(pair[0][t]))
    assert counting.calls == len(labels)
    assert bool(list(tmp_path.iterdir())) == bool(kept)


def test_verbose_tells_of_every_frame(pair, tmp_path, capsys):
    path = write_movie(tmp_path / "d" / "01", pair)
    words = ["track", str(path), "--labels", "masks", "--out", str(tmp_path / "out")]
    assert main(words) == 0
    quiet = capsys.readouterr()
    assert quiet.err.count("frame ") == 0 and "5 frames" in quiet.err
    assert main([*words, "-v"]) == 0
    assert capsys.readouterr().err.count("frame ") == 5
