"""`train-unet` on single pictures of any sizes and names, and a training that stops by itself."""

import logging
import string
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
import torch
from hypothesis import given, settings, strategies as st
from PIL import Image

from celltrack.cli import main
from celltrack.labels import one_mask_each, owners
from celltrack.learn.store import load_model
from celltrack.learn.train import OneDevice, TrainingConfig, save_model, train_network
from celltrack.movie import InputError
from celltrack.segment.augment import (
    NORMAL,
    Crops,
    Source,
    diameter_of,
    split_pictures,
    split_space,
)
from celltrack.segment.generalist import (
    HeldOut,
    TrainUnet,
    fit_parameters,
    mean_score,
    picture_pairs,
    read_source,
    read_sources,
    report,
    smallest_of,
    sources_of,
)
from celltrack.segment.unet import UNet

quick = settings(max_examples=40, deadline=None, derandomize=True, database=None)


def cells(shape, side=12, step=20):
    "Return a picture with square cells and its label image."
    labels = np.zeros(shape, np.uint16)
    for y in range(4, shape[0] - side, step):
        for x in range(4, shape[1] - side, step):
            labels[y : y + side, x : x + side] = labels.max() + 1
    noise = np.random.default_rng(0).normal(50, 5, shape)
    return np.where(labels > 0, 160 + noise, noise).astype(np.uint8), labels


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".tif":
        tifffile.imwrite(path, pixels)
    else:
        Image.fromarray(pixels).save(path)


def write_pair(picture, mask, shape=(64, 80), side=12, labels=None):
    image, own = cells(shape, side)
    save(picture, image)
    save(mask, own if labels is None else labels)


def folder_of(folder, count=5):
    "Write pictures of different sizes, kinds of files and names, with masks beside them."
    for k in range(count):
        ending = (".png", ".tif", ".jpg")[k % 3]
        name = "abcdefghijklm"[k] * (1 + k % 2)
        shape = (64 + 8 * k, 90 - 6 * k)
        write_pair(folder / f"{name}{ending}", folder / f"{name}_mask.png", shape)
    return folder


RULES = {
    "X_img.tif": "X_lab.tif",
    "X.png": "X_mask.png",
    "X.jpg": "X_masks.png",
    "X.tif": "X_label.png",
    "X-1.png": "X-1-labels.tif",
    "X 2.png": "X 2_cp_masks.png",
    "X_3.tif": "X_3_seg.tif",
    "X_raw.tif": "X_raw_cp_masks.tif",
    "images/X.png": "masks/X.png",
    "images/X.jpg": "labels/X.tif",
    "Images/X_img.png": "Masks/X_mask.png",
}


@pytest.mark.parametrize("picture", RULES)
def test_names_of_masks(picture, tmp_path):
    write_pair(tmp_path / picture, tmp_path / RULES[picture])
    (tmp_path / "notes.txt").write_text("no image")
    assert picture_pairs(tmp_path) == [(tmp_path / picture, tmp_path / RULES[picture])]
    assert read_source(tmp_path).pictures


def test_masks_in_a_folder_that_is_named(tmp_path):
    for name in ("one", "three", "seven"):
        write_pair(tmp_path / "data" / f"{name}.png", tmp_path / "drawn" / f"{name}_mask.tif")
    pairs = picture_pairs(tmp_path / "data", "drawn")
    assert [(a.stem, b.stem) for a, b in pairs] == [
        (n, f"{n}_mask") for n in sorted(("one", "three", "seven"))
    ]
    assert len(read_source(tmp_path / "data", str(tmp_path / "drawn"))) == 3
    chosen = picture_pairs(tmp_path / "data", "drawn", files="t*")
    assert [a.stem for a, _ in chosen] == ["three"]
    write_pair(tmp_path / "pack/images/a.png", tmp_path / "pack/masks/a.png")
    assert len(picture_pairs(tmp_path / "pack", "masks")) == 1  # a folder inside it
    with pytest.raises(InputError, match="no picture is named z"):
        picture_pairs(tmp_path / "data", "drawn", files="z*")


def test_a_movie_stays_a_movie(tmp_path):
    for t in range(3):
        write_pair(tmp_path / "01" / f"t{t:03}.tif", tmp_path / "drawn" / f"t{t:03}.tif")
    assert picture_pairs(tmp_path / "01") == []  # no masks
    assert picture_pairs(tmp_path / "01", "drawn") == []  # numbered, of one size
    assert not read_source(tmp_path / "01", "drawn").pictures
    write_pair(tmp_path / "01" / "t003.tif", tmp_path / "drawn" / "t003.tif", (70, 70))
    assert len(picture_pairs(tmp_path / "01", "drawn")) == 4  # of two sizes
    (tmp_path / "01" / "t003.tif").unlink()
    (tmp_path / "drawn" / "t003.tif").unlink()
    write_pair(tmp_path / "other" / "x.tif", tmp_path / "01" / "t001_mask.tif")
    assert len(picture_pairs(tmp_path / "01", str(tmp_path / "01"))) == 0  # as it was read before
    for t in range(3):
        write_pair(tmp_path / "other" / "x.tif", tmp_path / "01_ST/SEG" / f"man_seg{t:03}.tif")
    assert picture_pairs(tmp_path / "01") == []  # annotated as the challenge does it
    assert picture_pairs(tmp_path / "nowhere") == picture_pairs(tmp_path / "other/x.tif") == []


@pytest.mark.parametrize(
    "more, said",
    [
        ({"a_label.tif": None}, "a.png: two masks, a_label.tif and a_mask.png"),
        ({"a_img.png": None}, "a_mask.png: the mask of a.png and of a_img.png"),
        ({"zz_mask.png": None}, "zz_mask.png: a mask without a picture"),
        ({"masks/a.png": None, "images/a.png": None}, "masks in .* and in .*masks"),
        (
            {f"no{k}.png": None for k in range(9)},
            "9 of 14 pictures have no mask: no0.png, .*no0_mask",
        ),
        (
            {"a_mask.png": np.zeros((9, 9), np.uint8)},
            r"a_mask.png: \(9, 9\) pixels, its picture a.png",
        ),
        ({"a.png": b"\x89PNG no picture at all"}, "a.png: neither TIFF nor PNG"),
        ({"a_mask.png": b""}, "a_mask.png: "),
    ],
)
def test_what_is_refused(more, said, tmp_path, capsys):
    folder_of(tmp_path / "data")
    for name, content in more.items():
        if isinstance(content, bytes):
            (tmp_path / "data" / name).write_bytes(content)
        else:
            save(tmp_path / "data" / name, cells((64, 90))[0] if content is None else content)
    with pytest.raises(InputError, match=said):
        read_source(tmp_path / "data")
    out = tmp_path / "run"
    assert main(["train-unet", str(tmp_path / "data"), "--out", str(out), "--steps", "1"]) == 2
    assert capsys.readouterr().err.startswith("celltrack: error: ") and not out.exists()


def test_no_cell_at_all(tmp_path):
    write_pair(tmp_path / "a.png", tmp_path / "a_mask.png", labels=np.zeros((64, 80), np.uint8))
    with pytest.raises(InputError, match="no cell in any mask"):
        read_source(tmp_path)
    with pytest.raises(InputError, match="no cell in any mask"):
        read_source(tmp_path, diameter=12)


def test_a_few_pictures_without_a_mask_are_left_out(tmp_path, caplog):
    folder_of(tmp_path)
    (tmp_path / "bb_mask.png").unlink()
    with caplog.at_level(logging.WARNING, "celltrack"):
        assert len(read_source(tmp_path)) == 4
    assert "1 of 5 pictures have no mask and are left out: bb.tif" in caplog.text


def test_drawn_outlines_are_neither_picture_nor_mask(tmp_path):
    write_pair(tmp_path / "a.png", tmp_path / "a_cp_masks.png")
    save(tmp_path / "a_cp_outlines.png", cells((64, 80))[0])
    assert len(picture_pairs(tmp_path)) == 1


letters = st.text(string.ascii_letters + string.digits, min_size=1, max_size=6)
endings = st.sampled_from(
    ["_mask", "_masks", "_label", "_labels", "_cp_masks", "_lab", "_seg", "-mask"]
)


@quick
@given(st.lists(st.tuples(letters, endings, st.booleans()), min_size=1, unique_by=lambda x: x[0]))
def test_each_mask_finds_its_picture(names):
    pictures = [Path("lab", f"{stem}{'_img' * named}.png") for stem, _, named in names]
    masks = [Path("lab", f"{stem}{ending}.tif") for stem, ending, _ in names]
    pairs = one_mask_each(Path("lab"), pictures, owners(pictures, masks[::-1]))
    assert pairs == list(zip(pictures, masks, strict=True))


@quick
@given(st.lists(st.integers(10, 40), min_size=1, max_size=6))  # each with 4 cells or more
def test_each_picture_is_brought_to_the_size_of_a_cell(tmp_path_factory, sides):
    folder = tmp_path_factory.mktemp("sizes")
    for k, side in enumerate(sides):
        _, labels = cells((100, 100), side, side + 4)
        write_pair(folder / f"p{k}.png", folder / f"p{k}_mask.png", (100, 100), side, labels)
    source = read_source(folder)
    for labels in source.labels:
        found = diameter_of([labels]) * source.scale
        assert NORMAL / 1.6 < found < NORMAL * 1.6
    told = read_source(folder, diameter=12)
    assert {frame.shape for frame in told.frames} == {(100, 100)} and told.scale == NORMAL / 12


@quick
@given(st.lists(st.booleans(), min_size=4, max_size=12), st.floats(0.01, 0.99), st.integers(0, 9))
def test_pictures_held_out(full, share, seed):
    labels = [np.full((3 + t, 4), int(has), np.int32) for t, has in enumerate(full)]
    frames = [np.full(a.shape, t, np.float16) for t, a in enumerate(labels)]
    source = Source("some", frames, labels, 1.0, True)
    learn, held = split_pictures(source, share, seed)
    again = split_pictures(source, share, seed)
    if sum(full) < 4:
        assert learn is source and held is None  # 4 columns are too few to divide
        return
    both = sorted(float(f[0, 0]) for part in (learn, held) for f in part.frames)
    assert both == list(range(len(full))) and learn.pictures and held.pictures
    assert all(a.any() for a in held.labels) and any(a.any() for a in learn.labels)
    assert [len(part) for part in again] == [len(learn), len(held)]
    assert all(map(np.array_equal, again[1].frames, held.frames))


def test_few_pictures_are_divided_in_space(tmp_path, caplog):
    for k, width in enumerate((300, 200)):
        write_pair(tmp_path / f"p{k}.png", tmp_path / f"p{k}_mask.png", (64, width))
    learn, held = split_pictures(read_source(tmp_path, diameter=24), 0.25, 0)
    assert [f.shape[1] for f in learn.frames] == [201, 126]
    assert [f.shape[1] for f in held.frames] == [75, 50]
    assert "too few pictures with cells to hold some out (2)" in caplog.text


def test_everything_copes_with_frames_of_different_sizes(tmp_path):
    folder_of(tmp_path, 6)
    empty = np.zeros((50, 60), np.uint8)
    write_pair(tmp_path / "zz.png", tmp_path / "zz_mask.png", (50, 60), labels=empty)
    source = read_source(tmp_path)
    assert len({frame.shape for frame in source.frames}) == 7
    crops = Crops([([source], 3)], 32)
    assert [part.shape[-1] for part in crops(0)] == [32] * 4
    assert all(torch.equal(a, b) for a, b in zip(crops(5), crops(5), strict=True))
    torch.manual_seed(0)
    model = UNet(widths=(4, 8)).eval()
    held = HeldOut([source])
    assert len(held.parts[0]) == 6 and 0 <= held(model) <= 1  # all that have cells
    assert np.isnan(HeldOut([source.part([6])])(model))
    assert fit_parameters(model, [source], rounds=1)["smallest"] == smallest_of([source]) > 0
    left, right = split_space(source, 0.25, 4)
    for whole, a, b in zip(source.frames, left.frames, right.frames, strict=True):
        assert a.shape[1] + 4 + b.shape[1] == whole.shape[1]


def test_the_command(tmp_path, capsys):
    small = "--frames 8 --size 96 --cells 8 --out".split()
    assert main(["simulate", *small, str(tmp_path / "lab")]) == 0
    folder = folder_of(tmp_path / "pictures", 4)
    write_pair(tmp_path / "more/images/a.png", tmp_path / "more/masks/a.png", (48, 150))
    start = tmp_path / "small.safetensors"
    torch.manual_seed(0)
    save_model(UNet(widths=(4, 8)), start)
    data = [str(tmp_path / "lab/01"), str(folder), str(tmp_path / "more")]
    options = f"--gap 1 --simulated 0 --crops 1 --size 64 --steps 2 --start {start}".split()
    run = tmp_path / "run"
    words = ["train-unet", *data, "--out", str(run), *options]
    capsys.readouterr()
    assert main(words) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("SEG on held-out frames (before -> after training, step ")
    assert "/pictures 0." in said[0] and "lab/01 0." in said[0]
    assert said[-1].endswith((f"--model {start}", f"--model {run / 'best.safetensors'}"))
    notes = load_model(run)[1]
    assert sorted(notes["data"]["learned_from"].values()) == [1, 3, 5]
    assert pd.read_csv(run / "log.csv").step.tolist() == [1, 2]  # a tenth is less than a step
    before = (run / "log.csv").read_bytes()
    assert main(words) == 0
    assert (run / "log.csv").read_bytes() == before
    assert capsys.readouterr().out.splitlines() == said
    everything = tmp_path / "all"
    words = ["train-unet", str(folder), *options, "--held", "0", "--out", str(everything)]
    assert main(words) == 0
    use = f"celltrack track MOVIE --model {everything / 'best.safetensors'}"
    assert capsys.readouterr().out.splitlines() == [f"Use the new weights: {use}"]


def test_pictures_to_validate_on(tmp_path):
    folder_of(tmp_path / "pictures", 4)
    write_pair(tmp_path / "more/images/a.png", tmp_path / "more/masks/a.png")
    options = TrainUnet([tmp_path / "pictures"], validate=[tmp_path / "more"])
    learn, held = sources_of(options)
    assert (len(learn[0][0]), len(held[0])) == (4, 1)


def test_a_pack_is_drawn_from_as_one_movie(tmp_path):
    for kind, count in (("nuclei", 4), ("yeast", 5)):
        folder_of(tmp_path / "pack" / kind, count)
    folder_of(tmp_path / "single", 4)
    (tmp_path / "pack" / "montages").mkdir()  # without masks
    learn, held = sources_of(TrainUnet([tmp_path / "pack", tmp_path / "single"]))
    assert [[len(source) for source in group] for group in learn] == [[3, 4], [3]]
    assert [source.name for source in held] == [
        "pack/nuclei",
        "pack/yeast",
        f"{tmp_path.name}/single",
    ]


def test_masks_of_a_pack_are_named_once_for_all(tmp_path):
    for kind, name in (("a", "drawn"), ("b", "drawn"), ("c", "other")):
        for picture in ("one", "three"):
            folder = tmp_path / "pack" / kind
            write_pair(folder / f"{picture}.png", folder / name / f"{picture}.png")
    sources = read_sources(tmp_path / "pack", "drawn")
    assert [source.name for source in sources] == ["pack/a", "pack/b"]
    with pytest.raises(InputError, match="pack: "):
        read_sources(tmp_path / "pack", "nowhere")


def test_numbered_pictures_of_a_pack_are_no_frames(tmp_path, caplog):
    for k in range(3):  # of one size: with --labels, alone they would be a movie
        folder = tmp_path / "pack" / "nuclei"
        write_pair(folder / f"n{k:03}.tif", folder / "drawn" / f"n{k:03}.tif")
    save(tmp_path / "pack" / "overview.png", cells((64, 80))[0])
    save(tmp_path / "pack" / "bare" / "a.png", cells((64, 80))[0])
    (source,) = read_sources(tmp_path / "pack", "drawn")
    assert source.pictures and source.name == "pack/nuclei" and len(source) == 3
    assert "pack/bare: pictures without masks, left out" in caplog.text


def test_a_narrow_kind_of_a_pack_is_learned_from_whole(tmp_path, caplog):
    write_pair(tmp_path / "pack/wide/a.png", tmp_path / "pack/wide/a_mask.png", (64, 400))
    write_pair(tmp_path / "pack/narrow/a.png", tmp_path / "pack/narrow/a_mask.png", (64, 40))
    (learn,), held = sources_of(TrainUnet([tmp_path / "pack"], split="space"))
    assert [source.frames[0].shape[1] for source in learn] == [40, 400 - 100 - 41]
    assert [source.name for source in held] == ["pack/wide"]  # the gap: 3 cells of 13.5 pixels
    assert "pack/narrow" in caplog.text and "all of it is learned from" in caplog.text
    with pytest.raises(InputError, match="pack/narrow"):  # alone there is nothing to test on
        sources_of(TrainUnet([tmp_path / "pack/narrow"], split="space"))


def test_masks_beside_the_pictures_can_be_named(tmp_path):
    write_pair(tmp_path / "data/a.png", tmp_path / "data/a_mask.png")
    write_pair(tmp_path / "data/images/a.png", tmp_path / "data/masks/a.png")
    with pytest.raises(InputError, match="Choose with --labels"):
        picture_pairs(tmp_path / "data")
    (pair,) = picture_pairs(tmp_path / "data", str(tmp_path / "data"))
    assert pair == (tmp_path / "data/a.png", tmp_path / "data/a_mask.png")


def test_a_movie_with_a_folder_inside_is_no_pack(tmp_path):
    for t in range(3):
        write_pair(tmp_path / f"01/t{t:03}.tif", tmp_path / f"01/drawn/t{t:03}.tif")
    (tmp_path / "01/previews").mkdir()
    (source,) = read_sources(tmp_path / "01", "drawn")
    assert len(source) == 3 and not source.pictures and source.pack == ""


def test_what_is_learned_from_is_not_tested_on(tmp_path):
    for kind in "ab":
        folder_of(tmp_path / "pack" / kind, 4)
        folder_of(tmp_path / "other" / "pack" / kind, 4)
    pack = tmp_path / "pack"
    for data, validate in (([pack], [pack / "a"]), ([pack, tmp_path / "other/pack/b"], [])):
        with pytest.raises(InputError, match="pack/[ab]: given twice"):
            sources_of(TrainUnet(data, validate=validate))


def source_of(name, pictures=True, pack=""):
    "Return a Source of 12 small frames, each one cell."
    frame, labels = np.zeros((20, 20), np.float32), np.ones((20, 20), np.int32)
    return Source(name, [frame] * 12, [labels] * 12, 1.0, pictures, pack)


def test_a_pack_has_one_vote():
    pack = [source_of(f"pack/{kind}", pack="pack") for kind in "abcdefgh"]
    alone, film = source_of("pack/z"), source_of("lab/01", pictures=False)
    held = HeldOut([*pack, alone, film])
    assert [len(part) for part in held.parts] == [2] * 8 + [8, 3]
    scores = {part.name: 0.2 for part in pack} | {"pack/z": 0.6, "lab/01": 1.0}
    assert mean_score(held.parts, scores) == pytest.approx(0.6)
    some = scores | {"pack/z": np.nan, "pack/a": np.nan}
    assert mean_score(held.parts, some) == pytest.approx(0.6)
    assert np.isnan(mean_score(held.parts, dict.fromkeys(scores, np.nan)))


def test_what_the_command_says():
    options = TrainUnet([], Path("run"), start="generalist", steps=300)
    held = [source_of("a"), source_of("b")]
    lines = report(options, held, 180, 30, {"a": 0.1, "b": np.nan}, {"a": 0.5, "b": np.nan})
    assert lines == [
        "stopped after step 180 of 300: SEG has not risen for long",
        "SEG on held-out frames (before -> after training, step 30): "
        "a 0.100 -> 0.500, b nan -> nan",
        "Use the new weights: celltrack track MOVIE --model run/best.safetensors",
    ]
    worse = report(options, held[:1], 300, 30, {"a": 0.5}, {"a": 0.4})
    assert "not helped" in worse[-1] and worse[-1].endswith("--model generalist")
    assert len(worse) == 2
    options.start = None
    assert report(options, held[:1], 300, 300, {}, {"a": 0.4})[0] == (
        "SEG on held-out frames (step 300): a 0.400"
    )


def test_defaults_depend_on_the_steps():
    plans = {
        (300, None): (30, 5),
        (5, None): (1, 5),
        (2000, None): (200, 5),
        (2400, 400): (400, 5),
        (100_000, 250): (250, 200),
    }
    for (steps, every), plan in plans.items():
        config = TrainUnet([], steps=steps, every=every).config()
        assert (config.every, config.patience) == plan
    assert TrainUnet([], patience=0).config().patience is None
    assert TrainUnet([], patience=2).config().patience == 2


# ---- a training that stops by itself

SCORES = [0.1, 0.5, 0.3, np.nan, 0.5, 0.4, 0.2, 0.9]  # of steps 2, 4 ...


def train(folder=None, patience=3, stop_at=None):
    "Train a tiny network with these scores; return (network, log)."
    torch.manual_seed(0)
    model = torch.nn.Conv2d(1, 1, 3)
    model.config = {"kind": "none"}
    done = []

    def batch(step):
        done.append(step)
        if step == stop_at:
            raise OSError("no power")
        return torch.randn(2, 2, 1, 8, 8, generator=torch.Generator().manual_seed(step)).unbind()

    def loss(output, target):
        return ((output - target[..., 1:-1, 1:-1]) ** 2).mean()

    config = TrainingConfig(steps=16, every=2, patience=patience)
    log = train_network(
        model,
        batch,
        loss,
        config,
        folder,
        lambda net: SCORES[done[-1] // 2],
        OneDevice("cpu"),
    )
    return model, log


def test_training_stops_when_the_score_no_longer_rises(tmp_path):
    model, log = train()
    assert log.step.tolist() == [2, 4, 6, 8, 10, 12]  # three scores in a row did not rise
    assert log.rate.iloc[-1] == train(patience=None)[1].rate.iloc[5]  # the schedule is the same
    assert train(patience=None)[1].step.iloc[-1] == 16
    for stop in (3, 9, 11):
        folder = tmp_path / str(stop)
        with pytest.raises(OSError, match="no power"):
            train(folder, stop_at=stop)
        resumed, same = train(folder)
        again, finished = train(folder)
        for other, table in ((resumed, same), (again, finished)):
            pd.testing.assert_frame_equal(log, table)
            for a, b in zip(model.parameters(), other.parameters(), strict=True):
                assert torch.equal(a, b)
