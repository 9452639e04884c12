"Text and COCO as people really have them: the right value, or an error that names the place."

import contextlib
import json
import logging
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from celltrack.cli import main
from celltrack.convert import Convert, read_tracks
from celltrack.files import read_json, read_text
from celltrack.formats.coco import read_coco, write_coco, write_coco_tracks
from celltrack.formats.ctc import check, read_ctc, write_ctc
from celltrack.formats.mot import read_cells, read_mot
from celltrack.movie import InputError, Movie
from celltrack.tracks import Tracks

SQUARE = [[2, 3, 6, 3, 6, 9, 2, 9]]
CODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"]


def said(function, *args, **options):
    "The text of the InputError that a call must raise."
    with pytest.raises(InputError) as found:
        function(*args, **options)
    return str(found.value)


def coco(folder, annotations, images=None, name="ann.json", **more):
    "Write a COCO-like file of a picture of 20 × 30; return its path."
    images = images or [{"id": 5, "file_name": "a.jpg", "height": 20, "width": 30}]
    path = Path(folder) / name
    path.write_text(json.dumps({"images": images, "annotations": annotations, **more}))
    return path


def cell(track=1, image=5, box=(2, 3, 4, 6), **more):
    return {"image_id": image, "bbox": list(box), "track_id": track, **more}


def pictures(*names, **more):
    return [
        {"id": k, "file_name": name, "height": 20, "width": 30, **more}
        for k, name in enumerate(names)
    ]


def save_picture(path, value=7):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((20, 30), value, np.uint8)).save(path)


def two_cells():
    "Tracks of a mother and her daughter, with masks."
    labels = np.zeros((2, 8, 9), np.uint16)
    labels[0, 2:4, 2:4], labels[1, 2:4, 5:7] = 1, 2
    rows = {"frame": [0, 1], "label": [1, 2], "track": [1, 2], "y": 2.5, "x": [2.5, 5.5]}
    cells = pd.DataFrame(rows).assign(y0=2, y1=4, x0=[2, 5], x1=[4, 7])
    lineage = pd.DataFrame(
        {"track": [1, 2], "start": [0, 1], "end": [0, 1], "parent": [0, 1], "fate": "unknown"}
    )
    return Tracks(cells, lineage, Movie(labels))


def recode(path, coding, ends="\n"):
    path.write_bytes(path.read_text().replace("\n", ends).encode(coding))


# K4: text


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
def test_text_in_every_coding(tmp_path, coding, ends):
    path = tmp_path / "GT.TXT"
    path.write_bytes(f"1,1,5,6,10,12{ends}2,1,6,6,10,12{ends}".encode(coding))
    assert read_text(path) == "1,1,5,6,10,12\n2,1,6,6,10,12\n"
    assert read_tracks(path).cells.x0.tolist() == [5, 6]
    path = coco(tmp_path, [cell()], name="ANN.JSON")
    recode(path, coding)
    assert len(read_tracks(path)) == 1
    write_ctc(two_cells(), tmp_path / "01_RES")
    recode(tmp_path / "01_RES" / "res_track.txt", coding, ends)
    assert check(tmp_path / "01_RES") == []
    assert read_ctc(tmp_path / "01_RES").lineage.parent.tolist() == [0, 1]


def test_text_that_is_none(tmp_path):
    path = tmp_path / "gt.txt"
    path.write_bytes(b"1,1,5,6,10,12\n2,1,\xe9")
    assert "gt.txt, line 2: cannot be read as text" in said(read_mot, path)
    assert "a folder, not a file" in said(read_text, tmp_path)
    assert "no such file" in said(read_text, tmp_path / "a.txt")
    assert "no such file" in said(read_text, tmp_path / ("a" * 5000))
    path.write_text("[" * 100_000)
    assert "cannot be read as JSON" in said(read_json, path)
    write_ctc(two_cells(), tmp_path / "01_RES")
    (tmp_path / "01_RES" / "res_track.txt").write_bytes(b"1 0 0 0\n2 1 1 \xff")
    assert "res_track.txt, line 2" in str(check(tmp_path / "01_RES")[0])


def test_track_table_in_capitals(tmp_path):
    write_ctc(two_cells(), tmp_path / "01_RES")
    (tmp_path / "01_RES" / "res_track.txt").rename(tmp_path / "01_RES" / "RES_TRACK.TXT")
    assert check(tmp_path / "01_RES") == [] and len(read_ctc(tmp_path / "01_RES")) == 2


def mot(tmp_path, *lines):
    path = tmp_path / "gt.txt"
    path.write_text("\n".join(lines))
    return path


def test_mot_blank_fields(tmp_path):
    for k, name in enumerate(["frame", "track", "left", "top", "width", "height"]):
        words = ["1", "2", "10", "20", "30", "40", "1", "-1", "-1", "-1"]
        words[k] = ["", " "][k % 2]
        found = said(read_mot, mot(tmp_path, "1,1,10,20,30,40,1,-1,-1,-1", ",".join(words)))
        assert f"line 2: column {k + 1} ({name}) is blank" in found
    cells = read_cells(mot(tmp_path, "1,-1,10,20,30,40,,,,"))
    assert cells[["x0", "y0", "x1", "y1", "score"]].iloc[0].tolist() == [10, 20, 40, 60, -1]
    assert len(read_mot(mot(tmp_path, "1 1 10 20 30 40", "\t", "2\t1\t10\t20\t30\t40"))) == 1
    assert len(read_mot(mot(tmp_path, "1, 1, 10, 20, 30, 40, 1, -1, -1, -1,", ",,,,,,,,,"))) == 1


def test_mot_rows_to_be_ignored(tmp_path, caplog):
    path = mot(tmp_path, "1,1,1,1,9,9,1", "1,2,1,1,9,9,0", "2,1,1,1,9,9,1", "2,2,1,1,9,9,0")
    with caplog.at_level(logging.WARNING, "celltrack"):
        assert read_mot(path).lineage.track.tolist() == [1]
    assert "2 of 4 rows have confidence 0" in caplog.text
    assert len(read_cells(path)) == 4  # of detections it is no flag
    assert len(read_mot(mot(tmp_path, "1,1,1,1,9,9,0", "1,2,1,1,9,9,0.3"))) == 2


def test_mot_rows_that_are_all_to_be_ignored_are_kept_and_told(tmp_path, caplog):
    caplog.set_level(logging.WARNING, "celltrack")
    assert len(read_mot(mot(tmp_path, "1,1,1,1,9,9,-1", "1,2,1,1,9,9,-1"))) == 2  # a result
    assert not caplog.records
    assert len(read_mot(mot(tmp_path, "1,1,1,1,9,9,0", "1,2,1,1,9,9,0"))) == 2
    (record,) = caplog.records
    assert "gt.txt: all 2 rows have confidence 0" in record.getMessage()


@pytest.mark.parametrize(
    "line", ["1,1,nan,5,1,1", "1,1,5,5,1e999,1", "1,1,5,5,1,1,nan", "1,1,1e150,5,1,1"]
)
def test_mot_numbers(tmp_path, line):
    assert "gt.txt, line 1" in said(read_mot, mot(tmp_path, line))


# K5: COCO. What can crash pycocotools is read in an interpreter of its own, with little memory

RUN = """
import resource, sys
from celltrack.formats.coco import read_coco
from celltrack.movie import InputError
resource.setrlimit(resource.RLIMIT_AS, (4 * 2**30,) * 2)
for path in sys.argv[1:]:
    try:
        for t in read_coco(path)[0].tracks.labels:
            pass
        print(path, "was read", flush=True)
    except InputError as e:
        print(e, flush=True)
"""


def outline(code):
    return [cell(1, segmentation=SQUARE), cell(2, segmentation=code)]


def run_lengths(counts, size=(20, 30)):
    return {"size": list(size), "counts": counts}


BAD = {
    "NaN": [[float("nan"), 3, 6, 3, 6, 9]],
    "infinity": [[2, 3, 6, float("inf"), 6, 9]],
    "1e999": "1e999",
    "far": [[2, 3, 1e8, 3, 6, 9]],
    "farther": [[2, 3, 6, 3, 6, -(10**12)]],
    "long": [[-30, -20, 60, 40] * 50_000],
    "text": [["a", 3, 6, 3, 6, 9]],
    "400 digits": [[10**400, 3, 6, 3, 6, 9]],
    "other size": run_lengths([10, 590], (2000, 3000)),
    "wide": run_lengths([0, 10**12], (10**6, 10**6)),
    "no size": {"counts": [10, 590]},
    "too short": run_lengths([10, 10]),
    "too long": run_lengths([10, 591]),
    "negative": run_lengths([-10, 610]),
    "fraction": run_lengths([10.5, 589.5]),
    "short text": run_lengths("1o"),
    "cut text": run_lengths("fi0ooooooooooooo"),
    "bad text": run_lengths("\x01\x02"),
    "foreign text": run_lengths("äöü"),
    "no text": run_lengths(""),
    "null": run_lengths(None),
    "number": 7,
    "words": "polygon",
    "nested": [[[2, 3], [6, 3], [6, 9]]],
    "objects": [{"size": [20, 30], "counts": [10, 590]}],
}


def test_segmentations_that_crashed(tmp_path):
    paths = []
    for name, code in BAD.items():
        paths.append(coco(tmp_path, outline(code), name=f"{name}.json"))
        text = paths[-1].read_text()
        paths[-1].write_text(text.replace('"1e999"', "[[1e999, 3, 6, 3, 6, 9]]"))
    command = [sys.executable, "-c", RUN, *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    found = done.stdout.splitlines()
    for path, line in zip(paths, found, strict=False):
        assert line.startswith(f"{path}: annotations[1].segmentation"), line
    assert done.returncode == 0 and len(found) == len(paths), done.stderr[-500:]


def test_memory_of_a_far_box(tmp_path):
    path = coco(tmp_path, [cell(1, segmentation=SQUARE), cell(2, box=(1, 1, 9e7, 9e7))])
    labels = read_coco(path)[0].tracks.labels
    assert (labels[0][5, 25:] == 2).all()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 4 * 2**20  # KB


def test_every_read_gives_the_same_pixels(tmp_path):
    counts = [100, 100, 400]
    path = coco(tmp_path, outline(run_lengths(counts)))
    first, second = (np.asarray(read_coco(path)[0].tracks.labels) for _ in range(2))
    assert np.array_equal(first, second) and (first[0][:, 7:10] == 2).all()


@pytest.mark.parametrize("empty", [[], None, [[]]])
def test_no_segmentation_is_the_box(tmp_path, empty):
    path = coco(
        tmp_path, [cell(1, segmentation=SQUARE), cell(2, box=(10, 4, 5, 3), segmentation=empty)]
    )
    (video,) = read_coco(path)
    labels = video.tracks.labels[0]
    wanted = np.zeros((20, 30), bool)
    wanted[4:7, 10:15] = True
    assert np.array_equal(labels == 2, wanted) and (labels[3:9, 2:5] == 1).all()
    assert video.cells.area.tolist() == [(labels == 1).sum(), 15]
    path = coco(tmp_path, [cell(1, segmentation=empty), cell(2)])
    assert read_coco(path)[0].tracks.labels is None  # boxes only


def test_polygons(tmp_path):
    flat = read_coco(coco(tmp_path, outline(SQUARE[0])[1:]))[0].tracks.labels[0]
    nested = read_coco(coco(tmp_path, outline(SQUARE)[1:]))[0].tracks.labels[0]
    assert np.array_equal(flat, nested) and (flat[3:9, 2:5] == 2).all()
    for few in ([[2, 3, 6, 3]], [2, 3], [[2, 3, 6, 3, 6]], [[2, 3, 6, 3, 6, 9, 1]]):
        found = said(read_coco, coco(tmp_path, outline(few)))
        assert "annotations[1].segmentation: a polygon of" in found
    outside = [[40, 3, 46, 3, 46, 9]]
    assert "no pixel of the picture" in said(read_coco, coco(tmp_path, outline(outside)))


def test_crowds_are_no_cells(tmp_path, caplog):
    crowd = cell(2, iscrowd=1, segmentation={"counts": 3})
    with caplog.at_level(logging.WARNING, "celltrack"):
        tracks = read_tracks(coco(tmp_path, [crowd, cell(1, iscrowd=0, segmentation=SQUARE)]))
    assert tracks.lineage.track.tolist() == [1] and "1 annotations with iscrowd" in caplog.text


def test_pictures_elsewhere(tmp_path):
    here = tmp_path / "json"
    here.mkdir()
    rows = [cell(1, image=k, segmentation=SQUARE) for k in range(2)]
    names = ["data\\img\\a1.jpg", "data\\img\\a2.jpg"]
    path = coco(here, rows, pictures(*names))
    (video,) = read_coco(path)
    assert video.movie is None and video.tracks.labels.shape == (2, 20, 30)
    for k, folder in enumerate([here / "images", here, here / "data" / "img"]):
        for name in ("a1.jpg", "a2.jpg"):
            save_picture(folder / name, 10 * (k + 1))
        (video,) = read_coco(path)  # the nearest to what the file says
        assert len(video.movie) == 2 and abs(int(video.movie[1][0, 0]) - 10 * (k + 1)) <= 1
    save_picture(tmp_path / "other" / "a1.jpg", 90)
    save_picture(tmp_path / "other" / "a2.jpg", 90)
    (video,) = read_coco(path, images=tmp_path / "other")
    assert abs(int(video.movie[0][0, 0]) - 90) <= 1
    Convert([path], "coco", tmp_path / "out", images=tmp_path / "other").run()
    assert len(read_coco(tmp_path / "out")[0].movie) == 2


def test_sizes_that_disagree(tmp_path):
    save_picture(tmp_path / "a.jpg")
    images = [{"id": 5, "file_name": "a.jpg", "height": 20, "width": 31}]
    found = said(read_coco, coco(tmp_path, outline(SQUARE), images))
    assert "(20, 30)" in found and "(20, 31)" in found
    images = [{"id": 5, "file_name": "b.jpg", "height": 10**9, "width": 10**9}]
    assert "1000000000" in said(read_coco, coco(tmp_path, outline(SQUARE), images))
    images = [{"id": 5, "file_name": "b.jpg"}]
    assert "width and height" in said(read_coco, coco(tmp_path, outline(SQUARE), images))


def test_track_ids_from_zero(tmp_path):
    rows = [cell(0, 0), cell(1, 1, parent_id=0), cell(2, 1, (9, 9, 3, 3), parent_id=0)]
    tracks = read_tracks(coco(tmp_path, rows, pictures("1.jpg", "2.jpg")))
    assert tracks.lineage[["track", "parent"]].to_numpy().tolist() == [[1, 0], [2, 1], [3, 1]]
    rows[0]["parent_id"] = 0  # then 0 says that there is none
    tracks = read_tracks(coco(tmp_path, rows, pictures("1.jpg", "2.jpg")))
    assert tracks.lineage.parent.tolist() == [0, 0, 0]


def test_one_null_of_twelve(tmp_path):
    rows = [cell(1, k) for k in range(12)]
    rows[7]["track_id"] = None
    path = coco(tmp_path, rows, pictures(*(f"{k}.jpg" for k in range(12))))
    found = said(read_coco, path)
    assert "annotations[7] has no" in found and "11 of 12" in found


def test_no_annotations_at_all(tmp_path):
    path = coco(tmp_path, [])
    (video,) = read_coco(path)
    assert len(video.cells) == 0 and video.tracks is None
    assert "no annotations at all" in said(read_tracks, path)
    for to in ("coco", "mot", "ctc"):
        assert "no annotations at all" in said(Convert([path], to, tmp_path / "out").run)
    path.write_text('{"images": [], "annotations": []}')
    assert "no images" in said(Convert([path], "mot", tmp_path / "out").run)
    (tmp_path / "gt.txt").write_text("\n")
    assert "no cells" in said(Convert([tmp_path / "gt.txt"], "mot", tmp_path / "out").run)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("value", ["7", 1.5, True, [1], {}, 10**400, -(10**400), float("nan")])
def test_ids_that_are_not_whole(tmp_path, value):
    places = {"images": ["id", "video_id", "frame_id", "width"]}
    places["annotations"] = ["image_id", "track_id", "parent_id", "category_id"]
    for kind, keys in places.items():
        for key in keys:
            data = {"images": pictures("a.jpg"), "annotations": [cell(1, 0)]}
            data[kind][0][key] = value
            path = tmp_path / "ann.json"
            path.write_text(json.dumps(data))
            found = said(read_coco, path)
            assert f"{kind}[0].{key} is" in found and len(found) < 300


def test_boxes(tmp_path):
    for box in ([10**400, 1, 1, 1], [1, 1, 1e150, 1], [1, 1, float("nan"), 1], "abcd", [1, 2, 3]):
        assert "annotations[0].bbox is" in said(read_coco, coco(tmp_path, [cell(box=box)]))
    assert "has no bbox" in said(read_coco, coco(tmp_path, [cell() | {"bbox": None}]))


def test_images_out_of_order(tmp_path, caplog):
    names = ["t10.jpg", "t9.jpg", "t11.jpg"]
    rows = [cell(1, k, (k + 1, 1, 2, 2)) for k in range(3)]
    with caplog.at_level(logging.WARNING, "celltrack"):
        tracks = read_tracks(coco(tmp_path, rows, pictures(*names)))
    assert tracks.cells.sort_values("frame").x0.tolist() == [2, 1, 3]  # t9, t10, t11
    assert "in the order of their names" in caplog.text
    images = pictures(*names)
    images[0]["frame_id"] = 4
    assert "images[1] has no frame_id" in said(read_coco, coco(tmp_path, rows, images))
    for k, image in enumerate(images):
        image["frame_id"] = 6 - k
    tracks = read_tracks(coco(tmp_path, rows, images))
    assert tracks.cells.sort_values("frame").x0.tolist() == [3, 2, 1]


@pytest.mark.parametrize(
    "name", ["../secret.jpg", "a/../../secret.jpg", "..\\secret.jpg", "/etc/x"]
)
def test_names_that_lead_out(tmp_path, name):
    save_picture(tmp_path / "secret.jpg")
    (tmp_path / "in").mkdir()
    path = coco(tmp_path / "in", [cell(1, 0)], pictures(name))
    assert "leads out of" in said(read_coco, path)
    assert read_coco(path, images=tmp_path / "in")[0].movie is None
    found = read_coco(path, images=tmp_path)[0].movie  # told where the images are
    assert (found is None) == (name == "/etc/x")


@pytest.mark.parametrize("name", ["a\0.jpg", "\ud800.jpg", "a" * 5000, "a/" * 2500, "", 7, ["a"]])
def test_names_that_are_none(tmp_path, name):
    found = said(read_coco, coco(tmp_path, [cell(1, 0)], pictures(name)))
    assert "images[0].file_name is" in found and len(found) < 300
    found.encode()
    if name and isinstance(name, str):
        videos = [{"id": 0, "name": name}]
        path = coco(tmp_path, [cell(1, 0)], pictures("a.jpg"), videos=videos)
        assert "videos[0].name is" in said(read_coco, path)


def test_videos_do_not_lead_out(tmp_path):
    for name in ("..", "../../evil", "..\\evil"):
        path = coco(tmp_path, [cell(1, 0)], pictures("a.jpg"), videos=[{"id": 0, "name": name}])
        with contextlib.redirect_stdout(None):
            Convert([path], "mot", tmp_path / "deep" / "out").run()
        assert {p.name for p in tmp_path.iterdir()} <= {"ann.json", "deep"}
        assert [p.name for p in (tmp_path / "deep").iterdir()] == ["out"]


def test_round_trip(tmp_path):
    tracks = two_cells()
    write_coco_tracks(tracks, tmp_path / "alone.json")
    back = read_tracks(tmp_path / "alone.json")
    assert np.array_equal(np.asarray(back.labels), np.asarray(tracks.labels))
    movie = Movie(np.zeros((2, 8, 9), np.uint8))
    write_coco(tmp_path / "out", (movie, tracks), "standard")
    (video,) = read_coco(tmp_path / "out")
    assert video.tracks.lineage.parent.tolist() == [0, 1] and video.movie.shape == (2, 8, 9)


# from the command line


def convert(capfd, *words):
    "Run `celltrack convert --to mot`; return the exit code and the last line that was said."
    code = main(["convert", *map(str, words), "--to", "mot"])
    said = capfd.readouterr()
    return code, (said.out + said.err).strip().splitlines()[-1]


def test_names_in_capitals(tmp_path, capfd):
    mot(tmp_path, "1,1,5,6,10,12").rename(tmp_path / "GT.TXT")
    coco(tmp_path, [cell()], name="ANN.JSON")
    (tmp_path / "lab").mkdir()
    coco(tmp_path / "lab", [cell()], name="ANNOTATIONS.JSON")
    for source in ("GT.TXT", "ANN.JSON", "lab"):
        assert len(read_tracks(tmp_path / source)) == 1
        code, line = convert(capfd, tmp_path / source, "--out", tmp_path / "out")
        assert code == 0 and "1 tracks, 1 cells" in line, line


def test_fields_that_are_parted_otherwise(tmp_path, capfd):
    for line in ("1;1;10;20;30;40", "1 1 10,5 20,5 30 40"):  # a table of a German computer
        code, said_ = convert(capfd, mot(tmp_path, line), "--out", tmp_path / "out")
        assert code == 2 and "line 1" in said_ and "between commas or blanks" in said_


def test_a_bad_file_ends_a_command_with_one_line(tmp_path, capfd):
    bad = {
        "annotations[0].track_id": [cell(10**400)],
        "annotations[0].bbox": [cell(box=(1, 1, 10**400, 1))],
        "annotations[1].segmentation": outline([[2, 3, 1e8, 3, 6, 9]]),
        "annotations[2] has no": [cell(1), cell(2), cell(None)],
        "no annotations at all": [],
    }
    for found, rows in bad.items():
        code, line = convert(capfd, coco(tmp_path, rows), "--out", tmp_path / "out")
        assert code == 2 and line.startswith("celltrack: error: ") and found in line, line
        assert len(line) < 400 and not (tmp_path / "out").exists()
    for name in ("../../secret.jpg", "a\0.jpg", "\ud800.jpg", "a" * 5000):
        code, line = convert(capfd, coco(tmp_path, [cell(1, 0)], pictures(name)))
        assert code == 2 and "images[0].file_name is" in line and len(line) < 400


def test_rows_to_be_ignored_are_counted(tmp_path, capfd):
    path = mot(tmp_path, "1,1,1,1,9,9,1", "1,2,1,1,9,9,0", "2,1,1,1,9,9,1", "2,2,1,1,9,9,0")
    assert main(["convert", str(path), "--to", "mot", "--out", str(tmp_path / "out")]) == 0
    said_ = capfd.readouterr()
    assert "2 of 4 rows have confidence 0" in said_.err and "1 tracks, 2 cells" in said_.out
    rows = (tmp_path / "out" / "gt.txt").read_text().splitlines()
    assert [row[:4] for row in rows] == ["1,1,", "2,1,"]


def test_blank_fields_move_no_column(tmp_path, capfd):
    path = mot(tmp_path, "1,1,10,20,30,40,,,,", "2,1,11,21,30,40,,-1,,-1")
    code, _ = convert(capfd, path, "--out", tmp_path / "out")
    rows = (tmp_path / "out" / "gt.txt").read_text().splitlines()
    assert code == 0 and [[float(x) for x in row.split(",")] for row in rows] == [
        [1, 1, 10, 20, 30, 40, -1, -1, -1, -1],
        [2, 1, 11, 21, 30, 40, -1, -1, -1, -1],
    ]
    code, line = convert(capfd, mot(tmp_path, "1,1,10,,30,40,1,-1,-1,-1"), "--out", tmp_path / "o")
    assert code == 2 and "line 1: column 4 (top) is blank" in line
