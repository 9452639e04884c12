"""Labels are not pictures, and movies and labels come through one door."""

import logging
import zlib

import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image
from safetensors.numpy import load_file

from celltrack import read_movie, track_movie
from celltrack.cli import main
from celltrack.formats.ctc import check, read_ctc, read_masks
from celltrack.formats.dataset import open_sequence
from celltrack.images import read_image
from celltrack.labels import read_labels
from celltrack.measure import measure_movie
from celltrack.movie import InputError, Movie
from celltrack.segment.generalist import read_source

FRAMES, CELLS = 5, 4
PALETTE = [0, 0, 0, 0, 150, 0, 255, 0, 0, 0, 0, 255, 255, 220, 0]
INK = np.array(PALETTE, np.uint8).reshape(-1, 3)


def label_frame(t, apart=True):
    "Four cells in a row, of labels 1 to 4; they touch unless they are apart."
    image = np.zeros((32, 64), np.uint8)
    for k in range(CELLS):
        start = 3 + t + 13 * k
        image[8:24, start : start + (11 if apart else 13)] = k + 1
    return image


def stack_of_labels(apart=True, count=FRAMES):
    return np.stack([label_frame(t, apart) for t in range(count)])


def write_movie(folder, first=0, count=FRAMES):
    folder.mkdir(parents=True)
    for t, labels in enumerate(stack_of_labels(count=count), first):
        noise = np.random.default_rng(t).integers(90, 110, labels.shape)
        tifffile.imwrite(folder / f"t{t:03}.tif", (noise + 200 * (labels > 0)).astype(np.uint16))
    return folder


def write_labels(folder, save, suffix, apart=True, count=FRAMES):
    "Write one file for each frame with `save(path, labels)`."
    folder.mkdir(parents=True)
    for t, labels in enumerate(stack_of_labels(apart, count)):
        save(folder / f"m{t:03}.{suffix}", labels)
    return folder


def save_palette(path, labels):
    image = Image.fromarray(labels)
    image.putpalette(PALETTE)
    image.save(path)


def save_colours(path, labels):
    Image.fromarray(INK[labels]).save(path)


def save_tiff(change, **options):
    return lambda path, labels: tifffile.imwrite(path, change(labels), **options)


def save_mask(path, labels):
    Image.fromarray(labels > 0).save(path)


def said(function, *arguments, **options):
    with pytest.raises(InputError) as error:
        function(*arguments, **options)
    return str(error.value)


def tracked(capfd, movie, labels, out):
    "Run `celltrack track --labels`; return (cells, tracks) of the result, and what was said."
    code = main(["track", str(movie), "--labels", str(labels), "--out", str(out)])
    heard = capfd.readouterr()
    if code:
        return code, heard.err
    cells = pd.read_csv(next(out.rglob("cells.csv")))
    return (len(cells), cells.track.nunique()), heard.err


@pytest.fixture(autouse=True)
def heard(caplog):
    caplog.set_level(logging.WARNING, "celltrack")
    return caplog


# ---- labels are not pictures

WAYS = {  # how the labels are saved, with the ending: what is said, if anything
    "palette PNG": (save_palette, "png", ""),
    "palette TIFF": (save_palette, "tif", ""),
    "colours PNG": (save_colours, "png", "one label for each"),
    "colours TIFF": (save_tiff(lambda a: INK[a], photometric="rgb"), "tif", "one label for each"),
    "gray as colours": (save_tiff(lambda a: np.stack([a] * 3, -1), photometric="rgb"), "tif", "c"),
    "mask of true and false": (save_tiff(lambda a: a > 0), "tif", "pieces are numbered"),
    "mask of 0 and 255": (save_tiff(lambda a: 255 * (a > 0).astype(np.uint8)), "tif", "numbered"),
    "mask of one bit": (save_mask, "png", "numbered"),
    "floats": (save_tiff(lambda a: a.astype(np.float32)), "tif", ""),
    "last axis of one": (save_tiff(lambda a: a[..., None]), "tif", ""),
    "first axis of one": (save_tiff(lambda a: a[None]), "tif", ""),
}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_save_labels_gives_the_same_cells_and_tracks(way, tmp_path, capfd):
    save, suffix, told = WAYS[way]
    labels = write_labels(tmp_path / "masks", save, suffix)
    found, line = tracked(capfd, write_movie(tmp_path / "01"), labels, tmp_path / "out")
    assert found == (FRAMES * CELLS, CELLS), line
    assert told in line and line.count("m000") == (1 if told else 0)


def test_colours_of_a_movie_are_the_same_labels_in_each_frame(tmp_path):
    labels = read_labels(write_labels(tmp_path / "rgb", save_colours, "png"))
    names = [np.unique(frame) for frame in labels]
    assert len(names[0]) == 1 + CELLS
    assert all((name == names[0]).all() for name in names)


def test_lossy_files_are_refused_with_what_to_save_instead(tmp_path, capfd):
    ways = {
        "jpg": lambda path, labels: Image.fromarray(labels).save(path),
        "png": lambda path, labels: Image.fromarray(labels).save(path, "JPEG"),  # a wrong ending
        "tif": save_tiff(lambda a: a, compression="jpeg"),
    }
    movie = write_movie(tmp_path / "01")
    for suffix, save in ways.items():
        labels = write_labels(tmp_path / suffix, save, suffix)
        code, line = tracked(capfd, movie, labels, tmp_path / "out")
        assert code == 2 and "JPEG" in line and "PNG" in line and "m000" in line, line


def test_labels_that_are_as_they_should_be_say_nothing(tmp_path, heard):
    stack = stack_of_labels(apart=False)
    assert (np.asarray(read_labels(stack)) == stack).all()
    assert (np.asarray(read_labels(255 * (stack == 1))) == 255 * (stack == 1)).all()  # one cell
    assert not heard.records


@pytest.mark.parametrize(
    ("change", "value"),
    [
        (lambda a: np.where(a == 2, 2.5, a).astype(np.float32), "2.5 at y 8, x 16"),
        (lambda a: np.where(a == 3, np.nan, a), "nan at y 8, x 29"),
        (lambda a: a.astype(np.int16) - 1, "-1 at y 0, x 0"),
        (lambda a: a.astype(np.float32) - 1, "-1 at y 0, x 0"),
        (lambda a: np.where(a == 1, np.inf, a), "inf at y 8, x 3"),
    ],
)
def test_the_first_value_that_is_no_label_is_named_with_its_pixel(change, value, tmp_path):
    tifffile.imwrite(tmp_path / "m.tif", change(label_frame(0)))
    text = said(read_labels, tmp_path / "m.tif")
    assert value in text and "m.tif" in text and "0 is background" in text


def test_axes_of_one_are_dropped_everywhere(tmp_path):
    stack = stack_of_labels()
    for name, pixels in {
        "stack": stack[..., None],
        "slices": stack[:, None],
        "one": stack[0][..., None],
    }.items():
        tifffile.imwrite(tmp_path / f"{name}.tif", pixels, photometric="minisblack")
        wanted = stack if name != "one" else stack[:1]
        for read in (read_movie, read_labels):
            assert (np.asarray(read(tmp_path / f"{name}.tif")) == wanted).all(), (name, read)
    assert read_image(tmp_path / "one.tif").shape == (32, 64)
    for array in (stack[..., None], stack[:, None]):
        assert read_movie(array).shape == read_labels(array).shape == stack.shape


# ---- one reader, used by all


def test_truth_of_segment_is_read_as_labels(tmp_path, capfd):
    movie = write_movie(tmp_path / "01")
    truth = tmp_path / "truth.png"
    save_palette(truth, label_frame(0))
    command = ["segment", str(movie / "t000.tif"), "--model", "classic", "--diameter", "14"]
    command += ["--out", str(tmp_path / "out"), "--truth"]
    assert main([*command, str(truth)]) == 0
    assert "SEG" in capfd.readouterr().out
    save_palette(truth, label_frame(0)[:-2])
    assert main([*command, str(truth)]) == 2
    line = capfd.readouterr().err
    assert "(30, 64)" in line and "(32, 64)" in line and "Traceback" not in line
    Image.fromarray(label_frame(0)).save(tmp_path / "truth.jpg")
    assert main([*command, str(tmp_path / "truth.jpg")]) == 2
    assert "JPEG" in capfd.readouterr().err


def test_training_and_comparing_read_labels_alike(tmp_path):
    movie = write_movie(tmp_path / "01", first=7)
    write_labels(tmp_path / "palette", save_palette, "png")
    for path in sorted((tmp_path / "palette").iterdir(), reverse=True):
        path.rename(path.with_name(f"m{int(path.stem[1:]) + 7:03}.png"))
    tifffile.imwrite(tmp_path / "stack.tif", stack_of_labels())
    for name in ("palette", "stack.tif"):
        sequence = open_sequence(movie, name)
        assert len(sequence.cells) == FRAMES * CELLS, name
        assert len(read_source(movie, name)) == FRAMES, name
        half = sequence.frames(1, 3)
        assert (half.labels[0] == label_frame(1)).all()


def test_check_and_score_read_labels_alike(tmp_path):
    result = tmp_path / "01_RES"
    result.mkdir()
    for t, labels in enumerate(stack_of_labels()):
        tifffile.imwrite(result / f"mask{t:03}.tif", labels.astype(np.float32))
    rows = [f"{k} 0 {FRAMES - 1} 0" for k in range(1, CELLS + 1)]
    (result / "res_track.txt").write_text("\n".join(rows))
    assert [defect.kind for defect in check(result)] == ["type"]
    assert "float32" in str(check(result)[0])
    assert main(["score", str(result), str(result)]) == 0
    tifffile.imwrite(result / "mask003.tif", label_frame(3) / 2)
    assert "unreadable" in {defect.kind for defect in check(result)}
    assert main(["score", str(result), str(result)]) == 2


# ---- one door


def test_labels_may_be_all_that_a_movie_may_be(tmp_path, capfd):
    movie = write_movie(tmp_path / "lab" / "01", first=3)
    stack = stack_of_labels()
    tifffile.imwrite(tmp_path / "lab" / "masks.tif", stack)
    tifffile.imwrite(tmp_path / "imagej.tif", stack, imagej=True, metadata={"axes": "TYX"})
    tifffile.imwrite(tmp_path / "slices.tif", stack, imagej=True, metadata={"axes": "ZYX"})
    places = [
        tmp_path / "imagej.tif",
        tmp_path / "slices.tif",
        "masks.tif",
    ]  # a path, and a name beside the movie
    for k, place in enumerate(places):
        found, line = tracked(capfd, movie, place, tmp_path / f"out{k}")
        assert found == (FRAMES * CELLS, CELLS), line
    masks = sorted(p.name for p in (tmp_path / "out0").rglob("mask*.tif"))
    assert masks[0] == "mask003.tif" and len(masks) == FRAMES
    one = tmp_path / "one.tif"
    tifffile.imwrite(one, stack[0])
    found, line = tracked(capfd, movie / "t003.tif", one, tmp_path / "single")
    assert found == (CELLS, CELLS), line
    labels, numbers = read_masks(tmp_path / "imagej.tif")
    assert (np.asarray(labels) == stack).all() and numbers.tolist() == list(range(FRAMES))


def test_labels_are_found_by_the_name_of_a_data_set(tmp_path, capfd, monkeypatch):
    monkeypatch.setenv("CELLTRACK_DATA", str(tmp_path / "data"))
    write_movie(tmp_path / "data" / "lab" / "01")
    write_labels(tmp_path / "data" / "masks", save_palette, "png")
    found, line = tracked(capfd, "lab/01", "masks", tmp_path / "out")
    assert found == (FRAMES * CELLS, CELLS), line


def test_a_hole_in_the_masks_moves_no_frame(tmp_path, capfd):
    movie = write_movie(tmp_path / "01")
    masks = write_labels(tmp_path / "masks", save_tiff(lambda a: a), "tif")
    (masks / "m004.tif").rename(masks / "m005.tif")
    code, line = tracked(capfd, movie, masks, tmp_path / "out")
    assert code == 2 and "number 5 for frame 4" in line


def test_shapes_are_compared_before_a_spacing_is_taken_over(tmp_path, capfd):
    volumes = np.zeros((FRAMES, 3, 32, 64), np.uint16) + np.arange(64, dtype=np.uint16)
    tifffile.imwrite(
        tmp_path / "01.tif",
        volumes,
        imagej=True,
        resolution=(2, 2),
        metadata={"axes": "TZYX", "spacing": 2.0, "unit": "um"},
    )
    flat = write_labels(tmp_path / "masks", save_tiff(lambda a: a), "tif")
    tifffile.imwrite(tmp_path / "masks.tif", stack_of_labels())
    for place in (flat, tmp_path / "masks.tif"):
        code, line = tracked(capfd, tmp_path / "01.tif", place, tmp_path / "out")
        assert code == 2 and "spacing" not in line
        assert "(32, 64)" in line and "(3, 32, 64)" in line
        with pytest.raises(InputError) as error:
            _ = open_sequence(tmp_path / "01.tif", place).labels
        assert "spacing" not in str(error.value) and "(3, 32, 64)" in str(error.value)
    movie = Movie(volumes, spacing=(2, 0.5, 0.5))
    labels = read_labels(np.zeros(volumes.shape, np.uint8), movie)
    assert labels.spacing == movie.spacing


def test_labels_that_are_not_there_are_named_once(tmp_path, capfd):
    movie = write_movie(tmp_path / "01")
    code, line = tracked(capfd, movie, "nothing", tmp_path / "out")
    assert code == 2 and line.count("nothing") == 1


# ---- a mask of whole numbers


def ones_of(stack):
    return (stack > 0).astype(np.uint8)


@pytest.mark.parametrize("value", [1, 7, 255])
@pytest.mark.parametrize("kind", ["files", "stack", "array"])
def test_a_mask_of_whole_numbers_is_told_from_labels_by_its_movie(value, kind, tmp_path, heard):
    masks = value * ones_of(stack_of_labels())
    source = masks
    if kind == "files":
        source = write_labels(tmp_path / "ones", save_tiff(lambda a: value * ones_of(a)), "tif")
    if kind == "stack":
        source = tmp_path / "ones.tif"
        tifffile.imwrite(source, masks, photometric="minisblack")
    labels = read_labels(source)
    for t in (3, 0, 1, 2, 4):  # in any order
        assert np.unique(labels[t]).tolist() == [0, 1, 2, 3, 4], t
        assert ((labels[t] > 0) == (masks[t] > 0)).all()
    (record,) = heard.records
    assert "4 separate pieces are numbered" in record.getMessage()


def one_cell(dtype=np.uint8, value=1):
    "A cell alone, which is in one piece."
    return (value * (stack_of_labels() == 2)).astype(dtype)


def test_a_movie_of_one_cell_stays_one_cell(heard):
    rag = one_cell()
    rag[:, 2, 2] = 1  # one pixel apart
    parted = one_cell()
    parted[2:4, :, 20:23] = 0  # in two pieces, in two of five frames
    for movie in (one_cell(), one_cell(value=7), one_cell(value=255), rag):
        assert (np.asarray(read_labels(movie)) == movie).all()
    assert not heard.records
    assert (np.asarray(read_labels(parted)) == parted).all()


def test_one_value_here_and_others_there_are_labels(heard):
    movie = stack_of_labels()
    movie[0][movie[0] > 0] = 1  # four cells of one label, in this frame alone
    assert (np.asarray(read_labels(movie)) == movie).all()
    (record,) = heard.records
    assert "label 1 lies in 4 separate pieces" in record.getMessage()
    movie = np.stack([(movie[0] > 0) * np.uint8(k + 1) for k in range(FRAMES)])  # 1, 2, 3 …
    assert (np.asarray(read_labels(movie)) == movie).all()


def test_a_label_in_two_pieces_beside_others_is_a_warning(heard):
    movie = stack_of_labels()
    movie[movie == 4] = 3
    assert (np.asarray(read_labels(movie)) == movie).all()
    (record,) = heard.records
    assert "label 3 lies in 2 separate pieces and counts as one cell" in record.getMessage()


@pytest.mark.parametrize("count", [5, 30])
def test_a_value_in_pieces_is_told_in_whatever_frame(count, heard):
    movie = ones_of(stack_of_labels(count=count))
    movie[[0, 10, 20] if count > 5 else 0] = movie[0] * (stack_of_labels()[0] == 2)  # one piece
    labels = read_labels(movie)
    assert (labels[0] == movie[0]).all() and not heard.records
    assert all((labels[t] == movie[t]).all() for t in range(1, 5))
    (record,) = heard.records
    assert "frame 1: label 1 lies in 4 separate pieces" in record.getMessage()


def test_a_value_in_pieces_one_pixel_apart_is_told(heard):
    movie = np.ones((2, 301, 301), np.uint8)
    movie[:, 1::60], movie[:, :, 1::60] = 0, 0  # lines that every fourth pixel misses
    movie[:, :1], movie[:, :, :1] = 0, 0
    movie[0, 61:], movie[0, :, 61:] = 0, 0  # one piece in the first frame
    assert (np.asarray(read_labels(movie)) == movie).all()
    (record,) = heard.records
    assert "label 1 lies in 25 separate pieces" in record.getMessage()


@pytest.mark.parametrize("count", [5, 30])
def test_a_movie_of_ones_that_a_user_builds_is_told(count, heard):
    images = Movie(np.random.default_rng(0).integers(90, 110, (count, 32, 64)), "lab/01")
    ones = ones_of(stack_of_labels(count=count))
    ones[0] *= stack_of_labels()[0] == 2
    ways = {
        "movie": lambda: measure_movie(Movie(ones, "lab/ones")),
        "array": lambda: measure_movie(ones, images),
        "track": lambda: track_movie(images, labels=Movie(ones, "lab/ones"), tracker="nearest"),
        "read": lambda: track_movie(images, labels=ones, tracker="nearest"),
    }
    for way, measure in ways.items():
        heard.clear()
        measure()
        (record,) = heard.records  # once for a movie
        text = record.getMessage()
        assert "frame 1: label 1 lies in 4 separate pieces and counts as one cell" in text, way


def test_cells_alone_and_normal_labels_are_measured_without_a_word(heard):
    rag = one_cell()
    rag[:, 2, 2] = 1
    for labels in (one_cell(), rag, 0 * rag, stack_of_labels()):
        measure_movie(Movie(labels))
    assert not heard.records


def test_where_a_table_names_the_labels_no_piece_is_numbered(tmp_path, heard):
    result = tmp_path / "01_RES"
    result.mkdir()
    for t, labels in enumerate(stack_of_labels()):
        tifffile.imwrite(result / f"mask{t:03}.tif", np.isin(labels, [1, 2]).astype(np.uint16))
    (result / "res_track.txt").write_text(f"1 0 {FRAMES - 1} 0")
    tracks = read_ctc(result)
    assert tracks.lineage.track.tolist() == [1] and check(result) == []
    assert "label 1 lies in 2 separate pieces" in heard.records[0].getMessage()


def test_the_log_names_files_by_folder_and_name(tmp_path, heard):
    masks = write_labels(tmp_path / "ones", save_tiff(lambda a: a > 0), "tif")
    _ = read_labels(masks)[0]
    volume = 255 * ones_of(stack_of_labels())
    tifffile.imwrite(tmp_path / "ones" / "stack.tif", volume, imagej=True, metadata={"axes": "ZYX"})
    _ = read_labels(tmp_path / "ones" / "stack.tif")[0]
    assert len(heard.records) == 3  # one of them says how the stack was read
    for record in heard.records:
        assert record.getMessage().startswith("ones/") and str(tmp_path) not in record.getMessage()


# ---- the label doors of all commands

DOORS = {
    "track": "track {lab}/01 --labels {labels} --tracker nearest --out {out}",
    "tune": "tune sort {lab}/01 --labels {labels} --trials 1 --out {out}",
    "compare": "compare {lab}/01_GT --labels {labels} --trackers nearest --out {out}/table.csv",
    "train-unet": "train-unet {lab}/01 --labels {labels} --simulated 0 --steps 1 "
    "--crops 1 --size 64 --diameter 12 --gap 0 --out {out}",
    "train-reid": "train-reid {lab}/01 --labels {labels} --gap 1 --held 0.4 --width 4 "
    "--identities 2 --each 2 --steps 1 --out {out}",
    "train-gnn": "train-gnn {lab}/01 --labels {labels} --simulated 0 --width 4 --depth 1 "
    "--frames 4 --steps 1 --out {out}",
}


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    "A movie of ten frames with its truth, and its labels saved in several ways."
    lab = tmp_path_factory.mktemp("lab")
    write_movie(lab / "01", count=10)
    truth = lab / "01_GT" / "TRA"
    truth.mkdir(parents=True)
    for t, labels in enumerate(stack_of_labels(count=10)):
        tifffile.imwrite(truth / f"man_track{t:03}.tif", labels.astype(np.uint16))
    rows = [f"{k} 0 9 0" for k in range(1, CELLS + 1)]
    (truth / "man_track.txt").write_text("\n".join(rows))
    write_labels(lab / "plain", save_tiff(lambda a: a), "tif", count=10)
    write_labels(lab / "palette", save_palette, "png", count=10)
    write_labels(lab / "lossy", lambda path, a: Image.fromarray(60 * a).save(path), "jpg", count=10)
    return lab


def numbers_in(folder):
    "What a command has written, but for times and the names of its folders."
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.suffix == ".safetensors":
            found[name] = {k: zlib.crc32(value.tobytes()) for k, value in load_file(path).items()}
        elif path.suffix == ".csv":
            table = pd.read_csv(path)
            times = [c for c in table if "second" in c or "memory" in c or c in ("time", "number")]
            found[name] = table.drop(columns=times).to_csv()
    return found


@pytest.mark.parametrize("door", DOORS)
def test_every_command_reads_a_palette_as_labels_and_refuses_jpg(door, lab, tmp_path, capfd):
    written = {}
    for labels in ("plain", "palette"):
        out = tmp_path / labels
        line = DOORS[door].format(lab=lab, labels=labels, out=out)
        assert main(line.split()) == 0, capfd.readouterr().err[-500:]
        written[labels] = numbers_in(out)
    assert written["plain"] and written["palette"] == written["plain"]
    line = DOORS[door].format(lab=lab, labels="lossy", out=tmp_path / "lossy")
    assert main(line.split()) == 2
    said = capfd.readouterr().err.splitlines()[-1]
    assert "m000.jpg: labels compressed as JPEG" in said and "PNG" in said, said


def test_check_and_score_read_a_palette_and_refuse_jpeg(lab, tmp_path, capfd):
    truth = lab / "01_GT"
    for name, save in {
        "palette": save_palette,
        "lossy": save_tiff(lambda a: 60 * a, compression="jpeg"),
    }.items():
        result = tmp_path / name / "01_RES"
        result.mkdir(parents=True)
        for t, labels in enumerate(stack_of_labels(count=10)):
            save(result / f"mask{t:03}.tif", labels)
        table = (truth / "TRA" / "man_track.txt").read_text()
        (result / "res_track.txt").write_text(table)
    good, bad = tmp_path / "palette" / "01_RES", tmp_path / "lossy" / "01_RES"
    assert [defect.kind for defect in check(good)] == ["type"]  # 8 bits, where 16 are the rule
    assert main(["score", str(truth), str(good), "--csv", str(tmp_path / "scores.csv")]) == 0
    scores = pd.read_csv(tmp_path / "scores.csv").iloc[0]
    assert scores.TRA == scores.DET == scores.IDF1 == 1
    assert "unreadable" in {defect.kind for defect in check(bad)}
    assert main(["check", str(bad)]) == 1
    assert "compressed as JPEG" in capfd.readouterr().out
    assert main(["score", str(truth), str(bad)]) == 2
    assert "compressed as JPEG" in capfd.readouterr().err


def test_track_movie_takes_labels_as_the_command_does(tmp_path, heard):
    movie = read_movie(write_movie(tmp_path / "01"))
    stack = stack_of_labels()
    sources = {
        "array": stack,
        "mask": stack > 0,
        "ones": ones_of(stack),
        "floats": stack.astype(float),
        "palette": write_labels(tmp_path / "palette", save_palette, "png"),
    }
    for name, labels in sources.items():
        tracks = track_movie(movie, tracker="nearest", labels=labels)
        assert (len(tracks.cells), len(tracks)) == (FRAMES * CELLS, CELLS), name
    assert "0 is background" in said(
        track_movie, movie, "classic", "nearest", stack.astype(int) - 1
    )
