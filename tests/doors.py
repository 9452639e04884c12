"""The doors of celltrack: for each, a function that makes one damaged input and tries it.

A door returns whether all links of a table were lost in silence: only where one number or row was
changed, in a table that has links without that change. The doors of movies and labels return a
text where pixels or cells of undamaged files are lost. All else they may do is raise `InputError`.
"""

import contextlib
import copy
import dataclasses
import functools
import io
import json
import os
import sqlite3
from types import SimpleNamespace
from unittest import mock

import numpy as np
import tifffile
import torch
from PIL import Image

import celltrack.cli
import celltrack.show
import celltrack.tune
from celltrack.convert import read_tracks
from celltrack.files import MovieOptions, read_movie
from celltrack.formats.coco import read_coco, write_coco
from celltrack.formats.ctc import check, read_ctc, read_masks, write_ctc
from celltrack.formats.dataset import open_sequence, write_sequence
from celltrack.formats.mot import read_cells, read_mot, write_mot
from celltrack.labels import read_labels
from celltrack.learn.store import load_arrays, load_model
from celltrack.learn.train import OneDevice, TrainingConfig, save_model, train_network
from celltrack.link.gnn import LinkNet, PublishedNet, open_link_net
from celltrack.measure import measure_movie
from celltrack.movie import InputError, Movie
from celltrack.pipeline import TRACKERS, open_labels, open_tracker, track_movie, tuned_settings
from celltrack.score.panel import (
    bootstrap,
    counts_by_track,
    read_pair,
    score_table,
    score_tracks,
)
from celltrack.segment.choose import open_segmenter, segment_movie
from celltrack.segment.unet import UNet, UNet2015
from celltrack.simulate import simulate_movie
from celltrack.track.reid import EmbeddingNet, open_embedder
from celltrack.tracks import Tracks, from_links
from celltrack.tune import search, trials_table
from fuzzing import Door
from mutations import (
    NUMBERS,
    VALUES,
    damage_array,
    damage_bytes,
    damage_column,
    damage_digits,
    damage_json,
    damage_table,
    damage_text,
    encoded,
    pick,
)

torch.set_num_threads(1)
DOORS: dict[str, Door] = {}


def door(name, base):
    "Register a function as the door `name`."

    def register(function):
        DOORS[name] = Door(name, base, function)
        return function

    return register


@functools.cache
def small():
    "Return a movie of 5 frames of 48 × 48 pixels, its truth and its cells."
    movie, truth = simulate_movie(5, (48, 48), 5, seed=1)
    movie = Movie(np.array(movie), "lab/01", movie.spacing, movie.interval)
    truth = truth.with_labels(np.array(truth.labels).astype(np.uint16))
    cells = measure_movie(truth.labels, movie)
    return SimpleNamespace(movie=movie, truth=truth, cells=cells)


def links_of(tracks):
    "Return the number of links."
    return len(tracks.links()[0])


def walk(movie, most=8):
    "Read the first frames of a Movie."
    repr(movie)
    for t in range(min(len(movie), most)):
        movie[t]


# ---- images


MODES = ["L", "I;16", "RGB", "RGBA", "P", "1", "LA", "PA", "F", "CMYK", "I"]


def dark_palette(rng):
    "Return a palette of black and 255 colours, all different, whose lumas are often the same."
    k = rng.permutation(343)[:255]
    return [0, 0, 0, *(np.stack([k % 7, k // 7 % 7, k // 49], 1) + 1).ravel().tolist()]


def picture_bytes(rng, frame):
    "Return (suffix, bytes) of a frame as one of many kinds of pictures."
    mode = pick(rng, MODES)
    image = Image.fromarray(frame.astype(np.uint8))
    if mode in ("RGB", "RGBA", "P") and rng.random() < 0.5:
        image.putpalette(dark_palette(rng))
    image = Image.fromarray(frame.astype(np.uint16)) if mode == "I;16" else image.convert(mode)
    plain = {"L": "PNG GIF WEBP JPEG BMP PPM", "RGB": "PNG JPEG WEBP", "CMYK": "JPEG"}
    plain |= {"F": "TIFF", "P": "PNG GIF TIFF BMP", "PA": "TIFF"}
    form = pick(rng, plain.get(mode, "PNG").split())
    file, more = io.BytesIO(), {}
    if form in ("GIF", "WEBP", "PNG") and mode in ("L", "RGB", "P") and rng.random() < 0.4:
        more = {"save_all": True, "append_images": [image.rotate(90), image.rotate(180)]}
    try:
        image.save(file, form, **more)
    except (OSError, KeyError):  # no such kind
        return ".png", b"hello\n"
    return f".{form.lower()}", file.getvalue()


LETTERS = {2: ["YX"], 3: ["TYX", "ZYX", "CYX", "QYX"], 4: ["TZYX", "TCYX", "ZCYX", "CTYX"]}
KINDS = ["imagej", "imagej", "ome", "ome", "plain", "bare", "pages", "sizes", "palette"]


def stack_bytes(rng, array):
    "Return the bytes of a TIFF of some kind, with axes that may be true."
    kind, array = pick(rng, KINDS), np.asarray(array)
    axes = pick(rng, LETTERS.get(array.ndim, [None]))
    options = {"photometric": "minisblack"}
    if kind == "ome":
        options |= {"ome": True, "metadata": {"axes": axes} if axes else {}}
    elif kind == "imagej":
        axes = None if axes in ("QYX", "CTYX") else axes
        options |= {"imagej": True, "metadata": {"axes": axes, "unit": "um"} if axes else {}}
    elif kind != "plain":
        options["metadata"] = None
    if kind == "palette":
        colours = np.zeros((3, 256), np.uint16)
        colours[:, 1:] = rng.integers(0, 2**16, (3, 255))
        options |= {"photometric": "palette", "colormap": colours}
        array = array.astype(np.uint8)
    if kind != "imagej":
        options["compression"] = pick(rng, [None, None, "zlib", "lzw", "packbits"])
        options["tile"] = pick(rng, [None, None, None, (16, 16)])
        options["predictor"] = options["compression"] in ("zlib", "lzw") and rng.random() < 0.5
    about = {"bigtiff": rng.random() < 0.2, "byteorder": pick(rng, ["<", "<", ">"])}
    file = io.BytesIO()
    with contextlib.suppress(Exception):  # tifffile does not write every kind
        with tifffile.TiffWriter(file, imagej=kind == "imagej", ome=kind == "ome", **about) as tif:
            options = {k: v for k, v in options.items() if k not in ("imagej", "ome")}
            pages = array.reshape(-1, *array.shape[-2:]) if kind in ("pages", "sizes") else [array]
            for k, page in enumerate(pages):
                page = page[:12] if kind == "sizes" and 0 < k == len(pages) - 1 else page
                tif.write(page, contiguous=False, **options)
        return file.getvalue()
    file = io.BytesIO()
    tifffile.imwrite(file, array, photometric="minisblack")
    return file.getvalue()


ODD_FILES = ["t001.tif", "t009.tif", "t0000001.tif", "x.tif", "._t000.tif", "t000.png", "t2.TIF"]
ODD_FILES += ["mask001.tif", "man_track009.tif", "man_seg_001_002.tif", "man_track.txt", "a.nd2"]


def odd_file(rng, folder, data):
    "Put something into a folder that is no frame, or rename, remove, or empty one of the files."
    files = sorted(folder.glob("*"))
    path = pick(rng, [folder / pick(rng, ODD_FILES), pick(rng, files)])
    kinds = ["file", "folder", "loop", "pipe", "rename", "remove", "empty", "text"]
    kind = pick(rng, [*kinds, "broken", "elsewhere"])
    if kind in ("folder", "loop", "pipe", "broken", "elsewhere"):
        path.unlink(missing_ok=True)
    if kind == "file":
        path.write_bytes(data)
    elif kind == "folder":
        path.mkdir()
    elif kind == "loop":
        path.symlink_to(path)
    elif kind == "broken":
        path.symlink_to(folder / "gone")
    elif kind == "elsewhere":
        path.symlink_to(pick(rng, [folder, "/dev/null", "/dev/zero", *files]))
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "rename":
        pick(rng, files).rename(path)
    elif kind == "remove":
        pick(rng, files).unlink()
    else:
        pick(rng, files).write_bytes(b"" if kind == "empty" else b"hello\n")


def options_of_movie(rng):
    "Return options of `read_movie`, most often none."
    options = {}
    if rng.random() < 0.5:
        return options
    if rng.random() < 0.15:
        spacing = [pick(rng, NUMBERS) for _ in range(int(rng.integers(1, 5)))]
        options["spacing"] = pick(rng, [spacing, spacing[0], "text", [1, 1], [[1], [1, 2]], {}])
    if rng.random() < 0.1:
        options["interval"] = pick(rng, [*NUMBERS, "text", []])
    if rng.random() < 0.25:
        options["axes"] = pick(rng, ["TYX", "ZYX", "YX", "TZYX", "CYX", "", "XXX", "tyx", "Q", 5])
    if rng.random() < 0.2:
        options["channel"] = pick(rng, [0, 1, 2, -1, 7, 2**40, 0.5, np.nan, "text"])
    if rng.random() < 0.15:
        options["missing"] = pick(rng, ["refuse", "renumber", "empty", "empty", "text", None])
    if rng.random() < 0.1:
        options["files"] = pick(rng, ["*", "*_c1*", "t*", "", "[", "\0", "../*", 5])
    return options


@door("movies", small)
def movies(rng, folder, base):
    "A folder of images, a TIFF, a picture, an array or a list; lost: pixels of a sound one."
    frames = np.array(base.movie)[:3, :24, :24]
    kind = pick(rng, ["folder", "folder", "stack", "stack", "picture", "array", "stacks"])
    options, sound = options_of_movie(rng), False
    if kind == "array":
        for _ in range(int(rng.integers(1, 3))):
            frames = damage_array(rng, frames)
        return walk(read_movie(pick(rng, [frames, list(frames)]), **options))
    path, count = folder / "01", frames.size
    if kind == "picture":
        suffix, data = picture_bytes(rng, frames[0])
        data = damage_bytes(rng, data) if rng.random() < 0.7 else data
        path = folder / f"a{pick(rng, [suffix, '.png', '.tif', '.jpg', '.lsm', '.nd2', ''])}"
        path.write_bytes(data)
    elif kind == "stack":
        shape = pick(rng, [(3, 24, 24), (24, 24), (2, 3, 24, 24), (1, 24, 24), (2, 2, 2, 24, 24)])
        stack = np.resize(frames, shape).astype(pick(rng, ["u1", "u2", "f4"]))
        data, count, sound = stack_bytes(rng, stack), stack.size, not options
        for _ in range(int(rng.integers(0, 3))):
            job = pick(rng, [damage_bytes, damage_digits])
            data, sound = job(rng, data), sound and job is damage_digits
        path = folder / f"a{pick(rng, ['.tif', '.tif', '.TIFF', '.stk', '.ome.tif', '.png', ''])}"
        path.write_bytes(data)
    elif kind == "stacks":
        path.mkdir()
        seed, suffix = int(rng.integers(99)), pick(rng, [".tif", ".TIF"])
        for t in range(2):
            data = stack_bytes(np.random.default_rng(seed), frames)
            (path / f"t{t}{suffix}").write_bytes(data)
    else:
        path.mkdir()
        sound, count = write_folder(rng, path, frames), None
        sound = sound and not options
        count = frames[0].size * len(list(path.iterdir()))
        if rng.random() < 0.1:  # masks beside the images
            for file in sorted(path.glob("*.*")):
                end = pick(rng, ["_masks", "_cp_masks", "-label"])
                tifffile.imwrite(path / f"{file.stem}{end}.tif", np.zeros((24, 24), np.uint8))
        if rng.random() < 0.1:
            path = sorted(path.iterdir())
    movie = read_movie(path, **options)
    walk(movie)
    return sound and int(np.prod(movie.shape)) < count and "pixels of a sound movie"


NAMES = ["t{0:03d}", "t{0:03d}", "t{0}", "mask{0:03d}", "man_track{0:03d}", "cell_{0:02d}_masks"]
NAMES += [
    "img_channel000_position000_time{0:09}_z000",
    "B03_T{0:04}F001L01A01Z01C01",
    "exp_t{0}_c1",
]
NAMES += [
    "exp_t{0:02}_c{1}",
    "{0}0",
    "frame",
    "a{0}_{1}_{0}",
    "Zelle é {0}",
    "man_seg_{0:03}_{1:03}",
]


def write_folder(rng, path, frames):
    "Write frames as files; return whether none of them, and nothing beside them, was damaged."
    name = pick(rng, NAMES)
    suffix = pick(rng, [".tif", ".tif", ".png", ".TIFF", ".JPG"])
    bad, sound = int(rng.integers(len(frames))), True
    for t, frame in enumerate(frames):
        file = io.BytesIO()
        if t == bad and rng.random() < 0.4:
            frame, sound = damage_array(rng, frame), False
        try:
            if suffix in (".tif", ".TIFF"):
                tifffile.imwrite(file, frame)
            else:
                form = "PNG" if suffix == ".png" else "JPEG"
                Image.fromarray(frame.astype(np.uint8)).save(file, form)
        except Exception:  # no file can hold this array
            continue
        data = file.getvalue()
        if t == bad and rng.random() < 0.5:
            data, sound = damage_bytes(rng, data), False
        (path / f"{name.format(t, t % 2)}{suffix}").write_bytes(data)
    sound = sound and len(list(path.iterdir())) == len(frames)
    if rng.random() < 0.3 and any(path.iterdir()):
        odd_file(rng, path, stack_bytes(rng, frames[0]))
        sound = False
    return sound


# ---- labels


def label_files(rng, folder, images):
    "Write label images in some way; return their path, and how many cells if all is sound."
    place, count = folder / "masks", None
    if rng.random() < 0.15:  # masks, without a label for each cell
        images = pick(rng, [images > 0, 255 * (images > 0), (images > 0).astype(np.uint8)])
        return label_files(rng, folder, images.astype(np.uint8))[0], None
    kind = pick(rng, ["pictures", "stack", "folder", "folder"])
    if kind == "stack":
        data = stack_bytes(rng, images.astype(pick(rng, ["u1", "u2", "f4", "i4"])))
        if rng.random() < 0.5:
            data = pick(rng, [damage_bytes, damage_digits])(rng, data)
        else:
            count = cells_in(images)
        place = folder / f"masks{pick(rng, ['.tif', '.TIF', '.png', ''])}"
        place.write_bytes(data)
        return place, count
    place.mkdir()
    if kind == "folder":
        if write_folder(rng, place, images):
            count = cells_in(images)
        return place, count
    seed = int(rng.integers(2**31))
    for t, image in enumerate(images):
        suffix, data = picture_bytes(np.random.default_rng(seed), image)
        (place / f"mask{t:03d}{suffix}").write_bytes(data)
    mode = pick(np.random.default_rng(seed), MODES)
    return place, None if mode == "1" else cells_in(images)


def cells_in(images):
    "Return how many cells some label images hold."
    return sum(len(np.unique(image[image > 0])) for image in images)


@door("labels", small)
def labels(rng, folder, base):
    "Label images in files or an array, measured, linked, checked; lost: cells of sound ones."
    movie, images = base.movie, np.array(base.truth.labels)
    if rng.random() < 0.3:
        images = damage_array(rng, images)
        found = Movie(images) if rng.random() < 0.5 else read_labels(images)
        return track_movie(movie, tracker="nearest", labels=found) and None
    place, count = label_files(rng, folder, images)
    job = pick(rng, ["open", "open", "read", "masks", "check"])
    if job == "check":
        list(map(str, check(place)))
        return None
    if job == "open":
        reading = MovieOptions().reading()
        if rng.random() < 0.4:
            reading["channel"] = pick(rng, [None, 0, 1])
            reading["files"] = pick(rng, [None, "*", "mask*", "*_c1*"])
            reading["missing"] = pick(rng, ["refuse", "renumber", "empty"])
            count = None
        found = open_labels(place, movie, folder / "01", reading)
        cells = track_movie(movie, tracker="nearest", labels=found).cells
        return count is not None and len(cells) != count and "cells of sound labels"
    options = {}
    if job == "read":
        options = options_of_movie(rng)
        options.pop("spacing", None), options.pop("interval", None)
        found = read_labels(place, pick(rng, [movie, None]), **options)
    else:
        found = read_masks(place)[0]
    cells = measure_movie(found)
    known = count is not None and not options and found.ndim == 2
    return known and len(cells) != count and "cells of sound labels"


# ---- formats


@functools.cache
def ctc_files():
    "Return the small movie and its files in the form of the challenge, {name: bytes}."
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as box:
        write_ctc(small().truth, Path(box) / "TRA", truth=True)
        files = {p.name: p.read_bytes() for p in (Path(box) / "TRA").iterdir()}
    return SimpleNamespace(files=files, **vars(small()))


@door("ctc", ctc_files)
def ctc(rng, folder, base):
    "A truth in the form of the challenge: its table or one of its masks is damaged."
    files, local, capitals = dict(base.files), False, rng.random() < 0.1
    tra = folder / "01_GT" / "TRA"
    tra.mkdir(parents=True)
    name = "man_track.txt"
    part = rng.random()
    if part < 0.4:
        files[name], local = damage_text(rng, files[name].decode())
    elif part < 0.5:
        files[name] = encoded(rng, files[name].decode())
    else:
        name = pick(rng, sorted(set(files) - {name}))
        if rng.random() < 0.5:
            files[name] = damage_bytes(rng, files[name])
        else:
            file = io.BytesIO()
            with contextlib.suppress(Exception):
                image = tifffile.imread(io.BytesIO(files[name]))
                tifffile.imwrite(file, damage_array(rng, image))
                files[name] = file.getvalue()
    for name, data in files.items():
        (tra / (name.upper() if capitals else name)).write_bytes(data)
    if rng.random() < 0.2:
        odd_file(rng, tra, b"")
    job = pick(rng, ["strict", "strict", "lenient", "check", "sequence", "score", "tracks"])
    if job == "tracks":
        return local and links_of(read_tracks(folder / "01_GT")) == 0
    if job == "score":
        return score_tracks(*read_pair(tra, tra)) and None
    if job == "check":
        list(map(str, check(pick(rng, [folder / "01_GT", tra]))))
        return None
    if job == "sequence":
        (folder / "01").mkdir()
        for t, frame in enumerate(base.movie):
            tifffile.imwrite(folder / "01" / f"t{t:03d}.tif", frame)
        sequence = open_sequence(folder / "01")
        return len(sequence.truth) and sequence.cells is None
    tracks = read_ctc(folder / "01_GT", strict=job == "strict")
    return local and links_of(tracks) == 0


@functools.cache
def coco_files():
    "Return the content of annotations.json in both dialects, and the pictures."
    import tempfile
    from pathlib import Path

    found = {}
    with tempfile.TemporaryDirectory() as box:
        for dialect in ("course", "standard"):
            write_coco(Path(box) / dialect, (small().movie, small().truth), dialect)
            text = (Path(box) / dialect / "annotations.json").read_text()
            found[dialect] = json.loads(text)
        place = Path(box) / "course"
        pictures = {str(p.relative_to(place)): p.read_bytes() for p in place.rglob("*.jp*g")}
    return SimpleNamespace(json=found, pictures=pictures)


POLYGONS = [[[1, 1, 9, 1, 9, 9]], [1, 1, 9, 1, 9, 9], [[1, 1, 9]], [], [[]], [[1e9] * 6], None]
POLYGONS += [[[float("nan")] * 6], [[1, 1, 1e308, 1, 9, 9]], {"size": [48, 48], "counts": [9]}]
POLYGONS += [{"size": [48, 48], "counts": [2304]}, {"size": [9, 9], "counts": "PPYo0"}]
POLYGONS += [{"size": [48, 48], "counts": "P" * 99}, {"size": [2**31, 2**31], "counts": [1]}]
POLYGONS += [{"size": [48, 48], "counts": [-5, 2309]}, {"size": [48], "counts": []}, {"counts": 1}]
POLYGONS += [[[1, 1, 1e8, 1, 9, 9]], [["1", 1, 9, 1, 9, 9]], [[1, 1, 9, 1, 9, 9], []], "text"]
POLYGONS += [
    [[-1e7, -1e7, 1e7, -1e7, 0, 1e7]],
    [[1, 1, 1, 1, 1, 1]],
    {"size": [48, 48.5]},
    [[1, [1]]],
]
POLYGONS += [{"size": [48, 48], "counts": [0, 2304]}, {"size": [48, 48], "counts": [10**400]}]
NAMES_OF_FILES = [
    "../out.jpg",
    "..\\out.jpg",
    "a\\b.jpg",
    "/etc/passwd",
    "a\0b",
    "\ud800",
    "x" * 5000,
    "",
    ".",
    None,
]
KEYS = {
    "images": "id file_name file_name width height frame_id frame_index video_id".split(),
    "annotations": "id image_id bbox segmentation area iscrowd category_id track_id instance_id "
    "cell_id parent_id time_of_division time_of_death".split(),
    "videos": ["id", "name"],
    "categories": ["id", "name"],
}


def damage_key(rng, data):
    "Change a key of the format in one row or in all; return whether in one annotation alone."
    kind = pick(rng, ["annotations", "annotations", "images", "images", *KEYS])
    key, rows = pick(rng, KEYS[kind]), data[kind]
    every = rng.random() < 0.3
    values = [*VALUES, 1, 2, 3, 10**400, [1, 1, 5, 5], [1, 1, -5, 5], "2", "a.jpg"]
    values += POLYGONS if key == "segmentation" else 4 * NAMES_OF_FILES if "name" in key else []
    value, lose = pick(rng, values), rng.random() < 0.3
    for row in rows if every else [pick(rng, rows)]:
        row[key] = value
        if lose:
            del row[key]
    return kind == "annotations" and not every


def damaged_coco(rng, base):
    "Return (bytes, whether one annotation alone was changed) of a COCO-like file."
    data = json.loads(json.dumps(base.json[pick(rng, sorted(base.json))]))
    job = rng.random()
    if job < 0.2:
        row = pick(rng, data["annotations"])
        row["segmentation"] = pick(rng, POLYGONS)
        return json.dumps(data).encode(), False
    if job < 0.5:
        local = damage_key(rng, data)
        return json.dumps(data).encode(), local
    if job < 0.8:
        text, path = damage_json(rng, data, POLYGONS)
        local = len(path) > 2 and path[0] == "annotations"
        return text.encode(errors="replace"), local
    if job < 0.9:
        rng.shuffle(data[pick(rng, ["images", "annotations"])])
        return encoded(rng, json.dumps(data, indent=pick(rng, [None, 1]))), False
    return damage_bytes(rng, json.dumps(data).encode()), False


def write_pictures(rng, root, pictures):
    "Write the pictures of a COCO-like file where it says, beside it, or not at all; one outside."
    place = pick(rng, [".", ".", "images", "elsewhere", None])
    for name, content in pictures.items():
        (root.parent / "out.jpg").write_bytes(content)
        if place is not None:
            file = root / place / name
            file.parent.mkdir(exist_ok=True, parents=True)
            file.write_bytes(content)


@door("coco", coco_files)
def coco(rng, folder, base):
    "A COCO-like file in which one value is another; lost: links, or the bounds of its folder."
    root = folder / "in"
    root.mkdir()
    data, local = damaged_coco(rng, base)
    path = root / pick(rng, ["annotations.json", "annotations.json", "a.json", "ANN.JSON"])
    path.write_bytes(data)
    write_pictures(rng, root, base.pictures)
    if rng.random() < 0.3:
        tracks = read_tracks(path)
        return local and links_of(tracks) == 0
    lost = []
    images = pick(rng, [None, None, root, root / "elsewhere", root / "images"])
    whole = root if path.name == "annotations.json" else path
    for video in read_coco(whole, pick(rng, ["auto", "auto", "course", "standard"]), images):
        lost.append(video.tracks is None or links_of(video.tracks) == 0)
        if video.movie is not None:
            walk(video.movie, 3)
            if any(not p.resolve().is_relative_to(root) for p in video.movie.frames.paths):
                return "the bounds of its folder"
        if video.tracks is not None and video.tracks.labels is not None:
            walk(video.tracks.labels, 3)
    return local and bool(lost) and all(lost)


@functools.cache
def mot_text():
    "Return the small truth as MOT text."
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as box:
        write_mot(small().truth, Path(box) / "gt.txt")
        return (Path(box) / "gt.txt").read_text()


@door("mot", mot_text)
def mot(rng, folder, base):
    "A MOT file in which a word, a line or the coding is another."
    kind, local = rng.random(), False
    if kind < 0.6:
        data, local = damage_text(rng, base)
    elif kind < 0.8:
        data = damage_column(rng, base).encode(errors="replace")
    else:
        text = pick(rng, [base, base.replace(",", " "), base.replace(",-1", ",")])
        data = encoded(rng, text)
    path = folder / pick(rng, ["gt.txt", "GT.TXT", "a.csv"])
    path.write_bytes(data)
    job = pick(rng, [read_mot, read_mot, read_tracks, read_cells])
    found = job(path)
    if job is read_cells:
        linked = open_tracker("nearest").link(found)
        return local and links_of(linked) == 0
    return local and links_of(found) == 0


# ---- tables


def use_tracks(rng, tracks):
    "Ask Tracks everything that they can be asked."
    repr(tracks), list(tracks), tracks.births(), tracks.deaths(), tracks.divisions()
    joined = tracks.joined()
    graph = joined.to_networkx()
    Tracks.from_networkx(graph, max_children=None)
    tracks.to_napari()
    if tracks.labels is not None:
        walk(tracks.relabelled(), 5)
    if rng.random() < 0.1:
        tracks._repr_html_()


@door("tracks", small)
def tracks(rng, folder, base):
    "Tables of cells and lineage, links, labels, and all that Tracks can do and be written to."
    truth = base.truth
    cells, lineage, images = truth.cells, truth.lineage, pick(rng, [None, truth.labels])
    local = False
    part = pick(rng, ["cells", "cells", "cells", "lineage", "labels", "links"])
    if part == "links":
        src, dst = (np.array(side).astype(object) for side in truth.links())
        side = pick(rng, [src, dst])
        side[int(rng.integers(len(side)))] = pick(rng, VALUES)
        children = pick(rng, [2, None, 0, -1, np.nan, "text"])
        use_tracks(rng, from_links(truth.cells, src.tolist(), dst.tolist(), images, children))
        return None
    if part == "cells":
        cells, local = damage_table(rng, cells)
        lineage = pick(rng, [None, lineage])
    elif part == "lineage":
        lineage, _ = damage_table(rng, lineage)
    else:
        images = damage_array(rng, np.array(truth.labels))
    found = Tracks(cells, lineage, images, pick(rng, [2, 2, None]))
    use_tracks(rng, found)
    job = pick(rng, ["none", "mot", "ctc", "coco"])
    if job == "coco" and len(found):
        write_coco(folder / "out", (base.movie, found), pick(rng, ["course", "standard"]))
        read_tracks(folder / "out")
    elif job == "mot":
        write_mot(found, folder / "gt.txt")
        read_mot(folder / "gt.txt")
    elif job == "ctc" and found.labels is not None:
        write_ctc(found, folder / "01_RES")
    return local and links_of(found) == 0


@functools.cache
def linkers(name):
    "Return the small movie and a linker."
    linker = open_tracker(name)
    return SimpleNamespace(open=[by_motion_alone(linker), linker], **vars(small()))


def by_motion_alone(linker):
    "Return a linker that looks at no pictures."
    if hasattr(linker, "embedder"):
        return dataclasses.replace(linker, embedder=None)
    inner = getattr(linker, "linker", None)
    return linker if inner is None else dataclasses.replace(linker, linker=by_motion_alone(inner))


def odd_linker(rng, linker):
    "Return a linker of which one parameter is another, or the linker inside of it."
    inner = getattr(linker, "linker", None)
    if inner is not None and rng.random() < 0.5:
        return dataclasses.replace(linker, linker=odd_linker(rng, inner))
    plain = int, float, str, bool, type(None)
    known = [f.name for f in dataclasses.fields(linker) if isinstance(f.default, plain)]
    name = pick(rng, [n for n in known if n not in ("weights", "embedder", "spacing")] or known)
    value = pick(rng, [*VALUES, 1, 1, 2, 3, 10, 1000])
    if "spacing" in known and rng.random() < 0.1:
        name, value = "spacing", pick(rng, [[value, value], [1, value], value])
    return dataclasses.replace(linker, **{name: value})


def use_online(rng, linker, cells):
    "Give the frames one by one, one of them damaged, and perhaps after a long wait."
    tracker, bad = copy.deepcopy(linker), int(rng.integers(5))
    later = pick(rng, [0, 0, 1, 300, 1e5, 1e9, 2**62])
    for t in range(5):
        table = cells[cells.frame == t]
        if t >= bad:
            table = table.assign(frame=table.frame + int(later))
        if t == bad and rng.random() < 0.7:
            table, _ = damage_table(rng, table)
        tracker.update(table)


def link(name, rng, folder, base):
    "A cells table in which a number, a column or the rows are others."
    linker = base.open[int(rng.random() < 0.5)]
    if rng.random() < 0.2:
        linker = odd_linker(rng, linker)
    if rng.random() < 0.2 and hasattr(linker, "update"):
        return use_online(rng, linker, base.cells)
    table, local = damage_table(rng, base.cells)
    if rng.random() < 0.3:
        table, also = damage_table(rng, table)
        local = local and also
    movie = pick(rng, [base.movie, base.movie, None])
    if rng.random() < 0.05:
        movie = base.movie.like(base.movie.frames, spacing=[pick(rng, [*NUMBERS, 1e-5]), 1])
    images = pick(rng, [None, None, base.truth.labels]) if len(table) == len(base.cells) else None
    found = linker.link(table, movie, images)
    found.links()
    return local and links_of(found) == 0 < links_of(linker.link(base.cells, movie))


for tracker in TRACKERS:
    base = functools.partial(linkers, tracker)
    DOORS[f"link-{tracker}"] = Door(f"link-{tracker}", base, functools.partial(link, tracker))


@door("scores", small)
def scores(rng, folder, base):
    "A result in which cells, links or labels are damaged, and options that cannot be."
    truth, result = base.truth, base.truth
    if rng.random() < 0.9:
        cells, labels = result.cells, result.labels
        if rng.random() < 0.7:
            cells, _ = damage_table(rng, cells)
        else:
            labels = Movie(damage_array(rng, np.array(labels)))
        result = Tracks(cells, None, labels, max_children=None)
    options = {}
    for name in ("tolerance", "margin", "matching", "official", "masks"):
        if rng.random() < 0.08:
            options[name] = pick(rng, [*NUMBERS, 1, 2, 5, "text", "mask", None])
    if rng.random() < 0.5:
        truth, result = result, truth
    found = score_tracks(truth, result, **options)
    score_table(found)
    if not all(np.isnan(v) or np.isfinite(v) for v in found.values.values()):
        raise AssertionError("a score is infinite")
    if rng.random() < 0.1 and not options:
        bootstrap([counts_by_track(truth, result)], 3)


# ---- networks and folders


def odd_path(rng, path, data=b""):
    "Make a path that is a folder, a pipe, a link to itself or to nothing, or an empty file."
    kind = pick(rng, ["folder", "full", "pipe", "loop", "link", "empty", "none"])
    if kind in ("folder", "full"):
        path.mkdir()
        if kind == "full":
            (path / path.name).write_bytes(data)
            (path / "best.safetensors").write_bytes(data[: len(data) // 2])
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind in ("loop", "link"):
        path.symlink_to(path if kind == "loop" else path.parent / "nothing")
    elif kind == "empty":
        path.write_bytes(b"")


@functools.cache
def weight_files():
    "Return small weights of each kind, as bytes."
    import tempfile
    from pathlib import Path

    torch.manual_seed(0)
    nets = {"unet": UNet(widths=(4, 8)), "gnn": LinkNet(width=4, depth=1), "reid": EmbeddingNet(4)}
    nets |= {"gnn2": PublishedNet(), "unet2": UNet2015(1, 1, width=2)}
    found = {}
    with tempfile.TemporaryDirectory() as box:
        for name, net in nets.items():
            save_model(net, Path(box) / name, parameters={"threshold": 0.5})
            found[name] = (Path(box) / name).read_bytes()
    return SimpleNamespace(files=found, **vars(small()))


@door("segment", weight_files)
def segment(rng, folder, base):
    "Frames whose pixels are none, and options of the segmenters."
    frames = np.array(base.movie)[:2]
    for _ in range(int(rng.integers(0, 3))):
        frames = damage_array(rng, frames)
    options = {}
    if rng.random() < 0.4:
        options["diameter"] = pick(rng, [*NUMBERS, 8, 8, 8, 20, "text"])
    name = pick(rng, ["classic"] * 8 + ["tiny"] * 6 + ["text"])
    if rng.random() < 0.05:  # the shipped network is slow
        name = pick(rng, ["generalist", "auto"])
    if name == "tiny":
        name = folder / "net.safetensors"
        name.write_bytes(base.files["unet"])
    if name == "classic" and rng.random() < 0.5:
        options["modality"] = pick(rng, ["nuclei", "phase", "dic", "auto", "text", 1])
    if rng.random() < 0.1:
        options[pick(rng, ["threshold", "seam", "tile", "smallest"])] = pick(rng, NUMBERS)
    movie = read_movie(frames, spacing=None if rng.random() < 0.8 else [pick(rng, NUMBERS)] * 2)
    walk(segment_movie(movie, name, **options), 2)


@door("weights", weight_files)
def weights(rng, folder, base):
    "Weights in which bytes, the description or a number are others, opened as any kind."
    data = base.files[pick(rng, sorted(base.files))]
    size = int.from_bytes(data[:8], "little")
    kind = pick(rng, ["bytes", "header", "notes", "number", "none", "large", "cut", "path"])
    if kind == "bytes":
        data = damage_bytes(rng, data)
    elif kind == "cut":
        data = data[: int(rng.integers(len(data)))]
    elif kind == "number":
        at = 8 + size + 4 * int(rng.integers((len(data) - 8 - size) // 4))
        value = np.float32(pick(rng, [np.nan, np.inf, -np.inf, 1e38, 0])).tobytes()
        data = data[:at] + value + data[at + 4 :]
    elif kind in ("header", "notes", "large"):
        header = json.loads(data[8 : 8 + size])
        if kind == "large":
            notes = json.loads(header["__metadata__"]["celltrack"])
            network = notes["network"]
            name = pick(rng, sorted(set(network) - {"kind"}))
            large = pick(rng, [10**9, 10**5, 10**4, 10**18, 3])
            network[name] = [large] * 3 if isinstance(network[name], list) else large
            header["__metadata__"]["celltrack"] = json.dumps(notes)
            new = json.dumps(header)
        elif kind == "notes":
            text = header["__metadata__"]["celltrack"]
            header["__metadata__"]["celltrack"] = damage_json(rng, json.loads(text))[0]
            new = json.dumps(header)
        else:
            new = damage_json(rng, header)[0]
        new = new.encode(errors="replace")
        data = len(new).to_bytes(8, "little") + new + data[8 + size :]
    path = folder / "net.safetensors"
    if kind == "path":
        odd_path(rng, path, data)
    else:
        path.write_bytes(data)
    job = pick(rng, ["model", "arrays", "segment", "link", "embed"])
    if job == "model":
        load_model(path)
    elif job == "arrays":
        load_arrays(path)
    elif job == "segment":
        walk(segment_movie(base.movie[:1], open_segmenter(path, base.movie[:1], diameter=12)))
    elif job == "link":
        open_link_net(path)
        open_tracker("gnn", links=path).link(base.cells, base.movie)
    else:
        open_embedder(path).embed(base.movie, base.cells)


def tiny_training(folder, steps=2):
    "Train a network of one layer in a folder, or go on."
    torch.manual_seed(0)
    net = torch.nn.Conv2d(1, 1, 3, padding=1)
    net.config = {"kind": "none"}

    def batches(step):
        return torch.ones(2, 1, 1, 4, 4) * step

    def loss(output, target):
        return ((output - target) ** 2).mean()

    config = TrainingConfig(steps=steps, every=1, rate=1e-2)
    device = OneDevice("cpu")
    train_network(
        net, batches, loss, config, folder, lambda _: 0.5, device, notes={"movies": ["a"]}
    )


@functools.cache
def run_files():
    "Return the files of a run that was stopped after its first step."
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as box:
        folder = Path(box) / "run"
        tiny_training(folder)
        return {p.name: p.read_bytes() for p in folder.iterdir()}


def damage_state(rng, data):
    "Return a state in which one value is another."
    state = torch.load(io.BytesIO(data), weights_only=True)
    holder, key = state, pick(rng, sorted(state))
    while isinstance(holder[key], (dict, list)) and len(holder[key]) and rng.random() < 0.8:
        holder = holder[key]
        key = pick(rng, list(holder) if isinstance(holder, dict) else range(len(holder)))
    kind = pick(rng, ["value", "lose", "nan", "shape"])
    if kind == "lose":
        del holder[key]
    elif kind == "nan" and isinstance(holder[key], torch.Tensor):
        holder[key] = torch.full_like(holder[key], float("nan"))
    elif kind == "shape" and isinstance(holder[key], torch.Tensor):
        holder[key] = torch.zeros(2, 3)
    else:
        holder[key] = pick(rng, VALUES)
    file = io.BytesIO()
    torch.save(state, file)
    return file.getvalue()


@door("runs", run_files)
def runs(rng, folder, base):
    "The folder of a training in which a file is damaged or missing; the training goes on."
    files, run = dict(base), folder / "run"
    run.mkdir()
    name = pick(rng, ["config.json", "state.pt", "state.pt", "log.csv", "best.safetensors"])
    kind = pick(rng, ["bytes", "inside", "inside", "inside", "lose", "path"])
    if kind == "inside" and name == "config.json":
        files[name] = damage_json(rng, json.loads(files[name]))[0].encode(errors="replace")
    elif kind == "inside" and name == "state.pt":
        files[name] = damage_state(rng, files[name])
    elif kind == "lose":
        del files[name]
    elif kind == "path":
        odd_path(rng, run / name, files.pop(name))
    else:
        files[name] = damage_bytes(rng, files[name])
    for name, data in files.items():
        (run / name).write_bytes(data)
    tiny_training(run, int(pick(rng, [2, 2, 3])))


def score_of(setting, report, number):
    "Return the score of a setting, without any work."
    return float(number)


@functools.cache
def trial_files():
    "Return a file of two trials and the record of the best setting."
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as box:
        path = Path(box) / "trials.db"
        search(path, "sort", score_of, 2)
        record = {"study": "sort", "best": {"gate": 1.25, "max_age": 1, "min_hits": 1}}
        return SimpleNamespace(trials=path.read_bytes(), record=record, **vars(small()))


def damage_trials(rng, path):
    "Change a file of trials as another program could: a column, or a table that is lost."
    with contextlib.closing(sqlite3.connect(path)) as file, file:
        names = file.execute("select name from sqlite_master where type = 'table' order by name")
        table = pick(rng, [name for (name,) in names])
        column = pick(rng, [row[1] for row in file.execute(f"pragma table_info({table})")])
        kind = pick(rng, ["value", "value", "value", "value", "delete", "drop", "add"])
        if kind == "value":
            value = pick(rng, [None, "text", "", -1, 0, 1, 5, 1e300, "{}", "[1]", b"\xff", 2**62])
            text = f"update or ignore {table} set {column} = ?"
            file.execute(text, [value])
        elif kind == "add":
            file.execute(f"alter table {table} add column other")
        else:
            file.execute(f"{'delete from' if kind == 'delete' else 'drop table'} {table}")


@door("trials", trial_files)
def trials(rng, folder, base):
    "A file of trials, or the settings that it found, damaged; the search goes on, or is used."
    kind = pick(rng, ["bytes", "inside", "inside", "path", "settings", "settings"])
    if kind == "settings":
        path = folder / "sort-best.json"
        text = damage_json(rng, base.record)[0] if rng.random() < 0.8 else "{}"
        data = text.encode(errors="surrogatepass")
        path.write_bytes(data if rng.random() < 0.8 else damage_bytes(rng, data))
        return open_tracker("sort", **tuned_settings(path)).link(base.cells) and None
    path = folder / "trials.db"
    if kind == "path":
        odd_path(rng, path, base.trials)
    else:
        path.write_bytes(damage_bytes(rng, base.trials) if kind == "bytes" else base.trials)
    if kind == "inside":
        with contextlib.suppress(sqlite3.Error):
            damage_trials(rng, path)
    found = search(path, pick(rng, ["sort", "sort", "sort", "deepsort"]), score_of, 3)
    trials_table(found)


# ---- options


@functools.cache
def command_files():
    "Return a folder that each input copies: a movie of the challenge, its truth and a result."
    import atexit
    import shutil
    import tempfile
    from pathlib import Path

    box = Path(tempfile.mkdtemp(prefix="doors"))
    owner = os.getpid()
    atexit.register(lambda: os.getpid() == owner and shutil.rmtree(box, ignore_errors=True))
    write_sequence(box / "01", small().movie, small().truth, gold=small().truth.relabelled())
    write_ctc(small().truth, box / "01_RES")
    write_mot(small().truth, box / "gt.txt")
    os.mkfifo(box / "pipe")
    (box / "loop").symlink_to(box / "loop")
    return box


WORDS_OF = {  # command: the words that make it quick
    "track": "{box}/01 --labels {box}/01_GT/SEG --out {out}",
    "segment": "{box}/01 --model classic --diameter 9 --out {out}",
    "score": "{box}/01_GT {box}/01_RES",
    "compare": "{box}/01_GT --trackers nearest --out {out}/a.csv",
    "check": "{box}/01_GT",
    "convert": "{box}/01 --out {out}",
    "simulate": "--frames 2 --size 48 --cells 3 --out {out}",
    "train-unet": "{box}/01 --gap 1 --simulated 0 --size 64 --steps 1 --crops 1 --out {out}",
    "train-reid": "{box}/01 --gap 1 --width 4 --steps 1 --identities 2 --each 2 --out {out}",
    "train-gnn": "{box}/01 --simulated 0 --width 4 --depth 1 --steps 1 --out {out}",
    "tune": "sort {box}/01 --trials 1 --out {out}",
}
OPTION_WORDS = "0 -1 1 2 3 0.5 nan inf -inf 1e-300 1e300 2000000000 -2000000000 text 1e5".split()
OPTION_WORDS += ["", "9" * 400, "٣", "auto", "/dev/null", "/", ".", "{box}", "{box}/01"]
OPTION_WORDS += ["{box}/01_GT", "{box}/gt.txt", "{box}/pipe", "{box}/loop", "x" * 5000, "a\0b"]


@functools.cache
def options_of(command):
    "Return the options that a command has."
    from pkgutil import resolve_name

    kind = resolve_name(celltrack.cli.COMMANDS[command][0])
    left_out = {"out", "devices", "workers", "movies", "truths", "folders", "names", "sources"}
    left_out |= {"data", "study", "pairs", "folder"}  # of the words without --
    left_out |= {"simulated"}  # each such movie takes seconds
    left_out |= {"processes"}  # the fuzz runs in a process that may not have others
    return [f.name for f in dataclasses.fields(kind) if f.name not in left_out]


@door("options", command_files)
def options(rng, folder, box):
    "A command on a small movie, with one or two options at random; exit code 3 is an exception."
    often = [*WORDS_OF, "track", "segment", "score", "compare", "check", "convert", "simulate"]
    command = pick(rng, often)
    words = WORDS_OF[command].format(box=box, out=folder / "out").split()
    for _ in range(int(rng.integers(1, 3))):
        name = pick(rng, options_of(command)).replace("_", "-")
        words += [f"--{name}", pick(rng, OPTION_WORDS).format(box=box)]
    if rng.random() < 0.1:
        words[int(rng.integers(len(words)))] = pick(rng, OPTION_WORDS).format(box=box)
    said = io.StringIO()
    before = os.getcwd()
    os.chdir(folder)
    without_rival = mock.patch("celltrack.cases.find_spec", return_value=None)  # LapTrack is slow
    try:
        with without_rival, contextlib.redirect_stdout(io.StringIO()):
            with contextlib.redirect_stderr(said):
                code = celltrack.cli.main([command, *words])
    finally:
        os.chdir(before)
    if code not in (0, 1, 2):
        raise AssertionError(f"exit code {code}: {' '.join(words)}: {said.getvalue()[-300:]}")
    if code == 2:
        raise InputError(said.getvalue().strip()[-300:])
