"Messages: each states the real cause; a copy is advised only where a file was cut short."

import builtins
import io
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

import celltrack
from celltrack import read_movie
from celltrack.cli import main
from celltrack.convert import read_tracks
from celltrack.formats.coco import read_coco
from celltrack.formats.ctc import read_ctc
from celltrack.formats.mot import read_mot
from celltrack.labels import read_labels
from celltrack.learn.store import load_model
from celltrack.movie import InputError

COPY = "Copy it again"
FRAMES = np.random.default_rng(0).integers(0, 255, (5, 64, 64)).astype(np.uint8)


def said(function, *arguments):
    with pytest.raises(InputError) as error:
        function(*arguments)
    return str(error.value)


def whole(movie):
    "Read every frame."
    return [frame for frame in movie]


def read_all(path):
    return whole(read_movie(path))


def label_all(path):
    return whole(read_labels(path))


def write_tiff(path, **options):
    tifffile.imwrite(path, FRAMES if options.pop("frames", True) else FRAMES[0], **options)


def write_coco(path):
    image = {"id": 1, "file_name": "a.jpg", "width": 30, "height": 20}
    cell = {"id": 1, "image_id": 1, "bbox": [1, 2, 3, 4], "track_id": 1}
    path.write_text(json.dumps({"images": [image], "annotations": [cell]}))


def copy_weights(path):
    shutil.copy(Path(celltrack.__file__).parent / "weights" / "gnn.safetensors", path)


def write_mot(path):
    path.write_text("1,1,5,6,10,12\n2,1,6,6,10,12\n")


READERS = {  # a name, how a good file is written, and what reads it
    "stack.tif": (write_tiff, read_all),
    "packed.tif": (lambda path: write_tiff(path, compression="lzw"), read_all),
    "one.tif": (lambda path: write_tiff(path, frames=False), read_all),
    "labels.tif": (lambda path: write_tiff(path, frames=False, compression="lzw"), label_all),
    "a.png": (lambda path: Image.fromarray(FRAMES[0]).save(path), read_all),
    "labels.png": (lambda path: Image.fromarray(FRAMES[0]).save(path), label_all),
    "a.jpg": (lambda path: Image.fromarray(FRAMES[0]).save(path), read_all),
    "ann.json": (write_coco, read_coco),
    "gt.txt": (write_mot, read_mot),
    "w.safetensors": (copy_weights, load_model),
}
LINES = ("gt.txt",)  # a line that is cut is named by its number
PNG = b"\x89PNG\r\n\x1a\n"
WRONG = {
    "words": b"hello, world\n" * 5,
    "page": b"<!DOCTYPE html><html>404</html>",
    "archive": b"PK\3\4" + bytes(200),
}


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("share", [0.5, 0.9, 0.01])
def test_a_file_cut_short_is_to_be_copied_again(name, share, tmp_path):
    write, read = READERS[name]
    write(tmp_path / name)
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[: max(int(share * len(data)), 4)])
    if name in LINES and share == 0.5:
        return  # one line of two is a whole file
    text = said(read, tmp_path / name)
    assert name in text
    assert ("line " in text) if name in LINES else text.endswith(COPY)


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("what", WRONG)
def test_a_file_of_another_kind_is_not_to_be_copied(name, what, tmp_path):
    (tmp_path / name).write_bytes(WRONG[what])
    text = said(READERS[name][1], tmp_path / name)
    assert name in text and COPY not in text, text


@pytest.mark.parametrize("name", ["ann.json", "gt.txt"])
def test_a_picture_is_no_text(name, tmp_path):
    (tmp_path / name).write_bytes(PNG + bytes(60))
    text = said(READERS[name][1], tmp_path / name)
    assert "no text" in text and "PNG" in text


@pytest.mark.parametrize("name", ["packed.tif", "labels.tif", "a.png"])
def test_a_damaged_file_is_called_so(name, tmp_path):
    READERS[name][0](tmp_path / name)
    data = bytearray((tmp_path / name).read_bytes())
    third = len(data) // 3
    data[third : 2 * third] = np.random.default_rng(1).bytes(third)
    (tmp_path / name).write_bytes(data)
    text = said(READERS[name][1], tmp_path / name)
    assert name in text and "It is damaged" in text


@pytest.mark.parametrize("name", READERS)
def test_what_is_no_file_is_called_so(name, tmp_path):
    read = READERS[name][1]
    (tmp_path / name).mkdir()
    text = said(read, tmp_path / name)
    assert name in text and COPY not in text
    (tmp_path / name).rmdir()
    assert COPY not in said(read, tmp_path / name)  # nothing is there
    os.mkfifo(tmp_path / name)
    text = said(read, tmp_path / name)
    assert name in text and COPY not in text


@pytest.mark.parametrize("name", [name for name in READERS if name != "w.safetensors"])
def test_a_file_without_the_right_to_read_it(name, tmp_path, monkeypatch):
    READERS[name][0](tmp_path / name)
    real = builtins.open

    def refuse(path, *arguments, **options):
        if Path(str(path)).name == name:
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *arguments, **options)

    monkeypatch.setattr(builtins, "open", refuse)
    monkeypatch.setattr(io, "open", refuse)
    text = said(READERS[name][1], tmp_path / name)
    assert name in text and "Permission denied" in text and COPY not in text


def test_an_empty_file_is_called_so(tmp_path):
    for name in ("stack.tif", "a.png"):
        (tmp_path / name).touch()
        assert "an empty file" in said(read_all, tmp_path / name)


def test_a_folder_may_be_called_as_a_file_is(tmp_path):
    (tmp_path / "movie.tif").mkdir()
    for t, frame in enumerate(FRAMES):
        tifffile.imwrite(tmp_path / "movie.tif" / f"t{t}.tif", frame)
    assert (np.asarray(read_movie(tmp_path / "movie.tif")) == FRAMES).all()
    assert len(read_labels(tmp_path / "movie.tif")) == len(FRAMES)


# ---- commands


def write_lab(folder):
    "A movie 01 of two frames, its truth with two tracks, its result with one of them."
    movie = folder / "01"
    movie.mkdir(parents=True)
    for t in range(2):
        tifffile.imwrite(movie / f"t{t:03}.tif", FRAMES[t])
    image = np.zeros((64, 64), np.uint16)
    image[5:20, 5:20], image[40:60, 40:60] = 1, 2
    for place, name, table, labels in (
        ("01_GT/TRA", "man_track", "man_track.txt", image),
        ("01_RES", "mask", "res_track.txt", image * (image == 1)),
    ):
        (folder / place).mkdir(parents=True)
        for t in range(2):
            tifffile.imwrite(folder / place / f"{name}{t:03}.tif", labels)
        lines = [f"{k} 0 1 0" for k in np.unique(labels)[1:]]
        (folder / place / table).write_text("\n".join(lines))
    return folder


def convert(*words):
    return main(["convert", *map(str, words)])


def test_convert_takes_what_it_is_given(tmp_path, capfd):
    lab = write_lab(tmp_path / "lab")
    for source, wanted in {"01": 2, "01_GT": 2, "01_GT/TRA": 2, "01_RES": 1}.items():
        out = tmp_path / source.replace("/", "_")
        assert convert(lab / source, "--to", "mot", "--out", out) == 0
        assert len(read_tracks(out / "lab_01.txt")) == wanted, source
    out = tmp_path / "told"
    assert convert(lab / "01", "--tracks", "01_RES", "--to", "ctc", "--out", out) == 0
    assert len(read_ctc(out / "lab_01_GT")) == 1
    shutil.copytree(lab / "01_RES", tmp_path / "alone")  # no movie belongs to it
    assert convert(tmp_path / "alone", "--to", "mot", "--out", tmp_path / "a") == 0
    capfd.readouterr()
    assert convert(tmp_path / "alone", "--to", "coco", "--out", tmp_path / "b") == 2
    assert "no frames beside the tracks" in capfd.readouterr().err


def test_convert_tells_how_to_say_where_to_write(tmp_path, capfd):
    lab = write_lab(tmp_path / "lab")
    for make in (False, True):
        if make:
            (tmp_path / "out").mkdir()
        assert convert(lab / "01_RES", tmp_path / "out") == 2
        assert f"--out {tmp_path / 'out'}" in capfd.readouterr().err


def test_text_where_images_are_wanted(tmp_path, capfd):
    lab = write_lab(tmp_path / "lab")
    text = tmp_path / "a.txt"
    text.write_text("hello\n")
    out = ["--out", str(tmp_path / "out")]
    assert main(["track", str(lab / "01"), "--labels", str(text), *out]) == 2
    assert "a.txt: text, not label images" in capfd.readouterr().err
    assert main(["check", str(text)]) == 2
    assert "a.txt: a file, not a folder. Give a folder of masks" in capfd.readouterr().err
    frame = str(lab / "01" / "t000.tif")
    assert main(["segment", frame, "--model", "classic", "--truth", str(text), *out]) == 2
    assert "a.txt: text, not label images" in capfd.readouterr().err
    assert main(["compare", str(lab / "01_GT"), "--labels", str(text), *out]) == 2
    assert "a.txt: text, not label images" in capfd.readouterr().err


def test_a_place_is_named_once(tmp_path, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CELLTRACK_DATA", str(tmp_path))
    assert main(["track", "nothing", "--out", "out"]) == 2
    line = capfd.readouterr().err
    places = line.split("nor as ")[1:]
    assert len(places) == len(set(places)) and line.count(f"{tmp_path}/nothing") <= 1
