"""What the fuzz of the doors that read files has found: each kind once, with its right value."""

import numpy as np
import pytest
import tifffile

from celltrack.files import read_movie
from celltrack.formats.coco import write_coco
from celltrack.formats.ctc import read_masks
from celltrack.labels import read_labels
from celltrack.movie import InputError, Movie
from celltrack.segment.choose import segment_movie
from celltrack.simulate import simulate_movie
from celltrack.tracks import Tracks

FIVE = np.arange(5 * 16 * 16, dtype=np.uint16).reshape(5, 16, 16)


def write_masks(folder, count=3):
    "Write label images of two cells."
    folder.mkdir()
    for t in range(count):
        labels = np.zeros((16, 16), np.uint16)
        labels[2:6, 2:6], labels[9:13, 9 + t : 13 + t] = 1, 2
        tifffile.imwrite(folder / f"mask{t:03d}.tif", labels)
    return folder


def test_a_file_without_a_suffix_is_what_its_bytes_are(tmp_path):
    path = tmp_path / "movie"
    tifffile.imwrite(tmp_path / "movie.tif", FIVE, metadata={"axes": "TYX"})
    (tmp_path / "movie.tif").rename(path)
    assert (np.asarray(read_movie(path)) == FIVE).all()
    path.write_bytes(b"hello, no image is written here")
    with pytest.raises(InputError, match="begins with b'hello, n'"):
        read_movie(path)


@pytest.mark.parametrize("what", ["spacing", "interval"])
@pytest.mark.parametrize("value", ["text", [[1], [1, 2]], {}, [], 10**400])
def test_spacing_and_interval_are_numbers(what, value):
    with pytest.raises(InputError, match=what):
        read_movie(FIVE, **{what: value})
    with pytest.raises(InputError, match=what):
        Movie(FIVE, **{what: value})


@pytest.mark.parametrize(
    "told", [{"missing": "renumbr"}, {"channel": 0.5}, {"channel": "text"}, {"axes": 5}]
)
def test_how_to_read_is_no_riddle(tmp_path, told):
    tifffile.imwrite(tmp_path / "a.tif", FIVE)
    with pytest.raises(InputError, match=f"{[*told][0]} .*{[*told.values()][0]}"):
        read_movie(tmp_path / "a.tif", **told)


LINKS = {"loop": "leads to itself", "gone": "which is not there"}


@pytest.mark.parametrize("kind", LINKS)
@pytest.mark.parametrize("name", ["mask001.tif", "mask000.tif", "mask003.tif"])
@pytest.mark.parametrize("read", [read_movie, read_labels, read_masks])
def test_links_that_lead_to_no_file(tmp_path, kind, name, read):
    folder = write_masks(tmp_path / "masks")
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to(folder / (name if kind == "loop" else "gone"))
    with pytest.raises(InputError, match=f"{name}: .*{LINKS[kind]}"):
        found = read(folder)
        np.asarray(found[0] if read is read_masks else found)


@pytest.mark.parametrize(
    "shape, stated",
    [
        ("[2, 3, 32, 16]", "1 pages"),
        ("[2, 2, 16, 16]", r'{"shape": \[2, 2, 16, 16\]}'),
        ("[2, 3, 16, 15]", r'{"shape": \[2, 3, 16, 15\]}'),
    ],
)
def test_metadata_of_tifffile_that_disagree(tmp_path, shape, stated):
    options = {"photometric": "minisblack", "compression": "zlib"}
    tifffile.imwrite(tmp_path / "a.tif", np.resize(FIVE, (2, 3, 16, 16)), **options)
    data = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(data.replace(b"[2, 3, 16, 16]", shape.encode()))
    with pytest.raises(InputError, match=f"tifffile metadata state {stated}.* it has 6"):
        read_movie(tmp_path / "a.tif")
    assert len(read_movie(tmp_path / "a.tif", axes="TYX")) == 6


@pytest.mark.parametrize("model", ["classic", "generalist"])
@pytest.mark.parametrize("value", ["text", 0, -1, np.nan])
def test_diameter_is_a_number(model, value):
    with pytest.raises(InputError, match="diameter"):
        segment_movie(Movie(FIVE), model, diameter=value)[0]


@pytest.mark.parametrize("value", ["text", -1, 0.5, np.nan])
def test_max_children_is_a_whole_number(value):
    _, truth = simulate_movie(3, (48, 48), 3, seed=1)
    with pytest.raises(InputError, match="max_children"):
        Tracks(truth.cells, truth.lineage, None, value)


@pytest.mark.parametrize("part", ["frames", "shape"])
def test_coco_of_tracks_and_another_movie(tmp_path, part):
    movie, truth = simulate_movie(3, (48, 48), 3, seed=1)
    other = movie[:2] if part == "frames" else Movie(np.asarray(movie)[:, :40])
    with pytest.raises(InputError, match="tracks: .* frames"):
        write_coco(tmp_path / "out", (other, truth), "standard")
    assert not (tmp_path / "out").exists()
