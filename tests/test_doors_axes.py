"Which axis is time: stacks, channels, names of files, missing frames."

import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image

from celltrack.cli import COMMANDS, main
from celltrack.files import MovieOptions, read_movie
from celltrack.formats.dataset import open_sequence, write_sequence
from celltrack.labels import read_labels
from celltrack.movie import InputError
from celltrack.simulate import simulate_movie

WITHOUT_MOVIE = {"demo", "simulate", "download"}  # commands that read none
FIVE = np.arange(5 * 16 * 16, dtype=np.uint16).reshape(5, 16, 16)


def write(folder, *names):
    folder.mkdir(exist_ok=True)
    for k, name in enumerate(names):
        tifffile.imwrite(folder / name, FIVE[k % 5])
    return folder


def test_slices_that_are_times(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, FIVE, imagej=True, metadata={"axes": "ZYX"})
    assert read_movie(path).shape == (1, 5, 16, 16)
    assert (np.asarray(read_movie(path, axes="TYX")) == FIVE).all()


@pytest.mark.parametrize("suffix", ["lsm", "stk", "btf", "tf8"])
def test_content_decides(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    tifffile.imwrite(path.with_suffix(".tif"), FIVE, bigtiff=suffix == "btf")
    path.with_suffix(".tif").rename(path)
    assert (np.asarray(read_movie(path)) == FIVE).all()


@pytest.mark.parametrize("suffix", ["lsm", "stk", "btf", "tf8"])
def test_content_decides_in_a_folder(tmp_path, suffix):
    for t, frame in enumerate(FIVE):
        tifffile.imwrite(tmp_path / "a.tif", frame, bigtiff=suffix == "btf")
        (tmp_path / "a.tif").rename(tmp_path / f"t{t}.{suffix}")
    assert (np.asarray(read_movie(tmp_path)) == FIVE).all()


@pytest.mark.parametrize("suffix", ["gif", "png", "webp"])
def test_animated(tmp_path, suffix):
    gray = [np.full((16, 16), 40 * t, np.uint8) for t in range(5)]
    images = [Image.fromarray(frame) for frame in gray]
    path = tmp_path / f"a.{suffix}"
    options = {"lossless": True} if suffix == "webp" else {}
    images[0].save(path, save_all=True, append_images=images[1:], **options)
    assert (np.asarray(read_movie(path)) == gray).all()
    path.rename(tmp_path / "a.jpg")  # the content decides, not the suffix
    assert (np.asarray(read_movie(tmp_path / "a.jpg")) == gray).all()


def test_metadata_disagree(tmp_path):
    about = "ImageJ=1.54f\nimages=5\nframes=3\nhyperstack=true\n"
    options = {"photometric": "minisblack", "metadata": None, "description": about}
    tifffile.imwrite(tmp_path / "a.tif", FIVE, **options)
    with pytest.raises(InputError, match="state 3 pages .* it has 5"):
        read_movie(tmp_path / "a.tif")
    assert len(read_movie(tmp_path / "a.tif", axes="TYX")) == 5


@pytest.mark.parametrize("times", [3, 10])
def test_ome_states_other_pages(tmp_path, times):
    about = (
        '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0">'
        '<Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16" SizeX="16" SizeY="16" '
        f'SizeZ="1" SizeC="1" SizeT="{times}"><Channel ID="Channel:0:0" SamplesPerPixel="1"/>'
        "<TiffData/></Pixels></Image></OME>"
    )
    options = {"photometric": "minisblack", "metadata": None, "description": about}
    tifffile.imwrite(tmp_path / "a.ome.tif", FIVE, **options)
    with pytest.raises(InputError, match=f"OME metadata state {times} pages .* it has 5"):
        read_movie(tmp_path / "a.ome.tif")
    assert (np.asarray(read_movie(tmp_path / "a.ome.tif", axes="TYX")) == FIVE).all()


def test_a_file_that_was_cut_is_said_to_be_cut(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((12, 64, 64), np.uint16))
    (tmp_path / "cut.tif").write_bytes((tmp_path / "a.tif").read_bytes()[:50_000])
    with pytest.raises(InputError, match="Is it complete"):
        read_movie(tmp_path / "cut.tif")


def test_channels(tmp_path):
    both = np.stack([FIVE, 9000 + FIVE], 1)  # t, c, y, x
    tifffile.imwrite(tmp_path / "tc.tif", both, imagej=True, metadata={"axes": "TCYX"})
    options = {"photometric": "minisblack", "metadata": {"axes": "CYX"}}
    tifffile.imwrite(tmp_path / "c.tif", both[0], **options)
    (tmp_path / "folder").mkdir()
    for t in range(5):
        tifffile.imwrite(tmp_path / "folder" / f"t{t}.tif", both[t], **options)
    for name, count in {"tc.tif": 5, "c.tif": 1, "folder": 5}.items():
        with pytest.raises(InputError, match="--channel 0 to 1"):
            np.asarray(read_movie(tmp_path / name))
        for channel in (0, 1):
            movie = read_movie(tmp_path / name, channel=channel)
            assert (np.asarray(movie) == both[:count, channel]).all(), name


def test_names(tmp_path, caplog):
    names = [f"img_channel000_position000_time{t:09}_z000.tif" for t in range(12)]
    assert len(read_movie(write(tmp_path / "a", *names))) == 12
    yokogawa = [f"B03_T{t:04}F001L01A01Z01C01.tif" for t in range(1, 13)]
    assert (read_movie(write(tmp_path / "y", *yokogawa))[7] == FIVE[2]).all()
    one = [f"exp_t{t:02}_c1.tif" for t in range(12)]
    assert (read_movie(write(tmp_path / "o", *one))[11] == FIVE[1]).all()
    depth = write(tmp_path / "z", *[f"t{t}_z{z}.tif" for t in range(3) for z in range(2)])
    with pytest.raises(InputError, match=r"t \(0 to 2\) and z \(0 to 1\).*--files 't\*_z0.tif'"):
        read_movie(depth)
    assert (read_movie(depth, files="t*_z0.tif")[1] == FIVE[2]).all()
    two = write(tmp_path / "b", *[f"exp_t{t:02}_c{c}.tif" for t in range(3) for c in (1, 2)])
    with pytest.raises(InputError, match=r"t \(0 to 2\) and c \(1 to 2\)"):
        read_movie(two)
    assert (read_movie(two, channel=2)[1] == FIVE[3]).all()
    masks = write(tmp_path / "c", "t0.tif", "t0_masks.tif", "t1.tif", "t1_masks.tif")
    caplog.set_level("INFO", "celltrack")
    assert (read_movie(masks)[1] == FIVE[2]).all()
    assert "2 files are named as masks" in caplog.text and "--labels" in caplog.text
    assert (read_labels(masks)[1] == FIVE[3]).all()


def test_missing(tmp_path):
    folder = write(tmp_path / "a", "t000.tif", "t001.tif", "t003.tif")
    with pytest.raises(InputError, match="--missing"):
        read_movie(folder)
    assert len(read_movie(folder, missing="renumber")) == 3
    movie = read_movie(folder, missing="empty")
    assert len(movie) == 4 and movie[2].max() == 0 and (movie[3] == FIVE[2]).all()
    tens = write(tmp_path / "b", "t000.tif", "t010.tif", "t020.tif")
    with pytest.raises(InputError, match="counts 18 frames without cells"):
        read_movie(tens)
    assert (np.asarray(read_movie(tens, missing="renumber")) == FIVE[:3]).all()


def test_stacks_in_a_folder(tmp_path):
    for k in range(2):
        tifffile.imwrite(tmp_path / f"t{k}.tif", FIVE, imagej=True, metadata={"axes": "TYX"})
    with pytest.raises(InputError, match="5 time points"):
        read_movie(tmp_path)
    assert len(read_movie(tmp_path, axes="TYX")) == 10


@pytest.mark.parametrize("suffix", ["nd2", "czi", "lif", "avi", "npy"])
def test_foreign(tmp_path, suffix):
    (tmp_path / f"a.{suffix}").write_bytes(b"something else")
    with pytest.raises(InputError, match=f"format .{suffix} is not read"):
        read_movie(tmp_path / f"a.{suffix}")


# ---- masks by their numbers


@pytest.fixture
def lab(tmp_path):
    "A movie of six frames with its truth; return its folder and the label images."
    movie, truth = simulate_movie(6, (96, 96), 6, seed=2)
    write_sequence(tmp_path / "01", movie, truth, gold=truth.labels)
    return tmp_path, np.asarray(truth.labels)


def write_masks(folder, labels, numbers):
    folder.mkdir()
    for number, image in zip(numbers, labels, strict=True):
        tifffile.imwrite(folder / f"m{number:03}.tif", image)
    return folder


def tracked(place, masks, *options):
    "Run `celltrack track --labels`; return the number of cells by frame."
    out = place / f"out_{masks.name}"
    command = ["track", str(place / "01"), "--labels", str(masks), "--out", str(out), *options]
    assert main(command) == 0
    return pd.read_csv(next(out.rglob("cells.csv"))).groupby("frame").size().to_dict()


def counts(labels):
    return {t: len(np.unique(image)) - 1 for t, image in enumerate(labels)}


def test_masks_that_count_in_tens_are_renumbered(lab, capfd):
    place, labels = lab
    tens = write_masks(place / "tens", labels, range(0, 60, 10))
    assert main(["track", str(place / "01"), "--labels", str(tens), "--out", str(place / "o")]) == 2
    line = capfd.readouterr().err
    assert "number 10 for frame 1" in line and "--missing renumber" in line
    assert "--missing empty" not in line  # would not help
    assert tracked(place, tens, "--missing", "renumber") == counts(labels)
    found = open_sequence(place / "01", tens, missing="renumber")
    assert (np.asarray(found.labels) == labels).all()
    with pytest.raises(InputError, match="--missing renumber"):
        open_sequence(place / "01", tens)


@pytest.mark.parametrize("lost", [0, 3, 5])
def test_a_missing_mask_is_a_frame_without_cells(lab, capfd, lost):
    place, labels = lab
    there = [t for t in range(6) if t != lost]
    masks = write_masks(place / "masks", labels[there], there)
    command = ["track", str(place / "01"), "--labels", str(masks), "--out", str(place / "o")]
    assert main(command) == 2
    line = capfd.readouterr().err
    assert "1 frame without cells: --missing empty" in line and f"frame {lost} " in line
    assert "renumber" not in line  # would shift the frames
    assert main([*command, "--missing", "renumber"]) == 2
    wanted = {t: n for t, n in counts(labels).items() if t != lost}
    assert tracked(place, masks, "--missing", "empty") == wanted
    found = open_sequence(place / "01", masks, missing="empty")
    assert not found.labels[lost].any() and (found.labels[there[-1]] == labels[there[-1]]).all()
    with pytest.raises(InputError, match="--missing empty"):
        _ = open_sequence(place / "01", masks).labels


def test_a_choice_holds_for_movie_and_masks(lab):
    place, labels = lab
    for path in sorted((place / "01").iterdir(), reverse=True):
        path.rename(path.with_name(f"t{10 * int(path.stem[1:]):03}.tif"))
    masks = write_masks(place / "masks", labels[[0, 1, 5]], [0, 10, 50])  # by number, not in a row
    found = open_sequence(place / "01", masks, missing="renumber")
    assert found.files[found.files.kind == "labels"].frame.tolist() == [0, 1, 5]
    with pytest.raises(InputError, match="a mask of number 5 for frame 2"):
        _ = found.labels
    gold = open_sequence(place / "01", missing="renumber").gold
    assert [image.frame for image in gold] == [0]  # of the files that the movie has
    assert tracked(place, masks, "--missing", "empty").keys() == {0, 10, 50}


def test_masks_are_ordered_by_the_number_that_varies(lab):
    place, labels = lab
    folder = place / "masks"
    folder.mkdir()
    for t, image in enumerate(labels):
        tifffile.imwrite(folder / f"img_time{t:09}_z000_masks.tif", image)
    assert tracked(place, folder) == counts(labels)
    for path in (place / "01").iterdir():  # two channels, and masks of both
        for c in (1, 2):
            tifffile.imwrite(path.with_name(f"{path.stem}_c{c}.tif"), tifffile.imread(path))
        path.unlink()
    both = place / "both"
    both.mkdir()
    for t, image in enumerate(labels):
        for c in (1, 2):
            tifffile.imwrite(both / f"t{t:03}_c{c}.tif", image * (c == 2))
    assert tracked(place, both, "--channel", "2") == counts(labels)


def test_a_label_stack_is_read_as_its_movie_is(lab, caplog):
    place, labels = lab
    movie = read_movie(place / "01")
    for axes in ("ZYX", "TYX"):
        tifffile.imwrite(place / "a.tif", labels, imagej=True, metadata={"axes": axes})
        assert (np.asarray(read_labels(place / "a.tif", movie)) == labels).all()
    volume = read_movie(np.stack([np.asarray(movie)]))
    tifffile.imwrite(place / "b.tif", labels)  # without axes
    assert (read_labels(place / "b.tif", volume)[0] == labels).all()
    assert "--axes" not in caplog.text  # the movie has said it


# ---- the same options everywhere


def test_options_of_movies_on_the_commands(lab, capfd):
    place, labels = lab
    for path in (place / "01").iterdir():
        image = tifffile.imread(path)
        both = np.stack([image, image.max() - image])
        options = {"photometric": "minisblack", "metadata": {"axes": "CYX"}}
        tifffile.imwrite(path, both, **options)
    truth, movie = str(place / "01_GT"), str(place / "01")
    for command in (
        ["show", truth, "--out", str(place / "shown")],
        ["convert", movie, "--out", str(place / "converted")],
        ["score", truth, truth, "--gallery", str(place / "gallery")],
        ["check", truth, "--images", movie],
        ["segment", movie, "--model", "classic", "--out", str(place / "segmented")],
        ["track", movie, "--labels", "01_GT/TRA", "--out", str(place / "tracked")],
        ["compare", movie, "--trackers", "nearest", "--out", str(place / "compared")],
    ):
        assert main(command) == 2, command
        assert "--channel 0 to 1" in capfd.readouterr().err, command
        assert main([*command, "--channel", "0"]) == 0, command


def test_show_does_not_shift_frames(lab, capfd):
    place, _ = lab
    (place / "01" / "t002.tif").unlink()
    command = ["show", str(place / "01_GT"), "--out", str(place / "shown"), "--missing"]
    assert main([*command, "renumber"]) == 2
    assert "6 frames" in capfd.readouterr().err
    assert main([*command, "empty"]) == 0


def test_convert_takes_a_movie_that_is_one_file(lab, capfd):
    place, _ = lab
    stack = np.asarray(read_movie(place / "01"))
    (place / "01").rename(place / "away")
    tifffile.imwrite(place / "01.tif", stack, imagej=True, metadata={"axes": "ZYX"})
    command = ["convert", str(place / "01.tif"), "--to", "mot", "--out", str(place / "mot")]
    assert main(command) == 2
    assert "--axes TYX" in capfd.readouterr().err
    assert main([*command, "--axes", "TYX"]) == 0


@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in WITHOUT_MOVIE])
def test_options_say_what_they_are(name, capsys):
    assert main([name, "--help"]) == 0
    text = capsys.readouterr().out
    assert all(f"--{option}" in text for option in MovieOptions().reading())


def test_a_path_that_is_not_there_is_named_once(tmp_path, capfd, monkeypatch):
    monkeypatch.setenv("CELLTRACK_DATA", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    for name in ("nothing/01", str(tmp_path / "nothing" / "01")):
        assert main(["track", name, "--out", str(tmp_path / "out")]) == 2
        line = capfd.readouterr().err
        looked = [word.strip(".,:") for word in line.split() if word.strip(".,:").endswith("/01")]
        assert len({str(tmp_path / place) for place in looked}) == len(looked), line
