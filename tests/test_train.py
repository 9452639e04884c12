"""Training under hard conditions: killed at random moments, with helpers, on two processes."""

import importlib
import importlib.util
import json
import multiprocessing
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from celltrack.learn.store import NETWORKS, load_model
from celltrack.learn.train import OneDevice, RunFolder, TrainingConfig, train_network
from celltrack.movie import InputError
from celltrack.segment.augment import Crops, make_source
from celltrack.segment.unet import UNet, cell_loss
from celltrack.simulate import simulate_movie

FILES = {"best.safetensors", "config.json", "curves.png", "last.safetensors", "log.csv", "state.pt"}
STEPS, EVERY = 24, 2
SERVER = multiprocessing.get_context(
    "forkserver"
)  # its processes begin at once: the libraries are loaded
SERVER.set_forkserver_preload(
    ["celltrack.learn.train", "celltrack.segment.unet", "celltrack.simulate"]
)


def job(folder, workers=0, fabric=None):
    "Train a small network in a folder; return it. The score goes up and down: best is not last."
    torch.set_num_threads(1)
    movie, truth = simulate_movie(6, (80, 80), 6, seed=1)
    torch.manual_seed(0)
    model = UNet(widths=(4, 8))
    batches = Crops([([make_source(movie, truth.labels)], 4)], 32)
    plan = TrainingConfig(steps=STEPS, every=EVERY, rate=1e-2, workers=workers)
    train_network(
        model,
        batches,
        cell_loss,
        plan,
        folder,
        lambda net: float(np.sin(net.last.bias.sum().item() * 1e4)),
        fabric or OneDevice("cpu"),
        notes={"movies": ["simulated"]},
    )
    return model


def start(folder, *options):
    process = SERVER.Process(target=job, args=(folder, *options))
    process.start()
    return process


def finish(folder, *options):
    process = start(folder, *options)
    process.join(300)
    assert process.exitcode == 0


def stamp(folder):  # changes with each save
    try:
        found = (folder / "state.pt").stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns


def kill(folder, saves, wait):
    "Start or resume the training, kill it some seconds after a number of saves; return the code."
    process, last = start(folder), stamp(folder)
    end = time.monotonic() + 300
    while saves and process.is_alive() and time.monotonic() < end:
        time.sleep(0.002)
        if stamp(folder) != last:
            last, saves = stamp(folder), saves - 1
    time.sleep(wait)
    process.kill()
    process.join()
    return process.exitcode


def check_whole(folder):
    "Every file that has its name can be read to the end; return the step of the state, or 0."
    names = {path.name for path in folder.iterdir() if not path.name.startswith(".")}
    assert names <= FILES, f"{names - FILES} in the folder"
    if "config.json" in names:
        assert json.loads((folder / "config.json").read_text())["plan"]["steps"] == STEPS
    if "log.csv" in names:
        assert pd.read_csv(folder / "log.csv").step.tolist()[:1] == [EVERY]
    if "curves.png" in names:
        with Image.open(folder / "curves.png") as image:
            image.load()
    for name in names & {"best.safetensors", "last.safetensors"}:
        load_model(folder / name)
    return torch.load(folder / "state.pt", weights_only=True)["step"] if "state.pt" in names else 0


def check_same(folder, other, tolerance=1e-6):
    "Two finished runs have the same weights, best and last, and the same log."
    for name in ("best", "last"):
        (a, notes), (b, its) = (load_model(f / f"{name}.safetensors") for f in (folder, other))
        for key, value in a.state_dict().items():
            torch.testing.assert_close(
                value, b.state_dict()[key], rtol=0, atol=tolerance, msg=f"{name}: {key} differs"
            )
        assert notes["step"] == its["step"], f"{name} is of step {notes['step']} and {its['step']}"
    logs = [pd.read_csv(f / "log.csv") for f in (folder, other)]
    pd.testing.assert_frame_equal(
        logs[0][["step", "loss", "rate"]], logs[1][["step", "loss", "rate"]], rtol=0, atol=1e-5
    )
    assert logs[0].step.tolist() == list(range(EVERY, STEPS + 1, EVERY))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    "The folder of an uninterrupted run."
    folder = tmp_path_factory.mktemp("whole") / "run"
    finish(folder)
    assert {path.name for path in folder.iterdir()} == FILES
    return folder


@pytest.mark.parametrize("seed", [0, 1])
def test_killed_at_random_moments(seed, whole, tmp_path):
    folder, rng, codes, steps = tmp_path / "run", np.random.default_rng(seed), [], [0]
    folder.mkdir()
    for saves in rng.permutation([0, 1, 1, 2, 3]):  # 7 of 12 saves at least
        codes.append(kill(folder, saves, rng.uniform(0, 0.15)))
        steps.append(check_whole(folder))
    assert codes[:3] == [-9] * 3, (
        f"exit codes {codes}: too few of the trainings were killed"
    )  # the last may have ended
    assert steps == sorted(steps) and steps[-1] >= 7 * EVERY, f"states of steps {steps}"
    finish(folder)
    assert check_whole(folder) == STEPS
    check_same(whole, folder)


def test_helpers_change_nothing(whole, tmp_path):
    finish(tmp_path / "run", 2)
    check_same(whole, tmp_path / "run")


def squares(output, target):
    return ((output - target) ** 2).mean()


def linear(fabric):
    "Train a network without batch norm: the gradient of a batch is the mean of its halves'."
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(4, 1, 1)
    )

    def draws(step):
        return torch.randn(2, 4, 1, 8, 8, generator=torch.Generator().manual_seed(step)).unbind()

    train_network(model, draws, squares, TrainingConfig(steps=8, rate=1e-2), fabric=fabric)
    return model


@pytest.mark.skipif(
    importlib.util.find_spec("lightning_fabric") is None, reason="lightning-fabric is not installed"
)
def test_two_processes(tmp_path):
    done = subprocess.run(
        [sys.executable, __file__, tmp_path], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    first, second = (torch.load(tmp_path / f"rank{k}.pt", weights_only=True) for k in (0, 1))
    for key, value in first["cells"].items():
        if "running" not in key:
            assert torch.equal(value, second["cells"][key]), f"{key} differs between the processes"
    assert (first["saves"], second["saves"]) == (STEPS // EVERY, 0)
    assert {path.name for path in (tmp_path / "run").iterdir()} == FILES and check_whole(
        tmp_path / "run"
    ) == STEPS
    written = load_model(tmp_path / "run/last.safetensors")[0].state_dict()
    assert all(torch.equal(value, first["cells"][key]) for key, value in written.items())
    alone = linear(OneDevice("cpu")).state_dict()
    for rank in (first, second):
        for key, value in alone.items():
            torch.testing.assert_close(rank["linear"][key], value, rtol=0, atol=1e-6)


def two_processes(folder):
    "What each of the processes does: the same loop, another fabric."
    from lightning_fabric import Fabric

    fabric = Fabric(accelerator="cpu", devices=2, strategy="ddp")
    fabric.launch()
    saves, save = [], RunFolder.save

    def counted(run, *args):
        saves.append(1)
        save(run, *args)

    RunFolder.save = counted
    model = job(folder / "run", fabric=fabric)
    kept = {"cells": model.state_dict(), "saves": len(saves), "linear": linear(fabric).state_dict()}
    torch.save(kept, folder / f"rank{fabric.global_rank}.pt")
    fabric.barrier()


def test_the_command_trains_goes_on_and_serves_the_others(tmp_path, capsys):
    from celltrack.cli import main

    movie, run = tmp_path / "lab" / "01", tmp_path / "run"
    small = "--frames 8 --size 96 --cells 8".split()
    assert main(["simulate", *small, "--out", str(movie.parent)]) == 0
    options = "--gap 1 --simulated 0 --size 64 --every 1".split()
    words = ["train-unet", str(movie), "--out", str(run), *options]
    assert main([*words, "--steps", "2"]) == 0
    assert {p.name for p in run.iterdir()} == FILES
    for name in ("best", "last"):
        notes = load_model(run / f"{name}.safetensors")[1]
        assert notes["parameters"].keys() == {"threshold", "seam", "soft", "depth", "smallest"}
        assert notes["data"]["held"] == 0.25
    before = (run / "log.csv").read_bytes()
    assert main([*words, "--steps", "2"]) == 0  # finished: nothing is learned twice
    assert (run / "log.csv").read_bytes() == before
    assert main([*words, "--steps", "3"]) == 2  # another configuration in the same folder
    capsys.readouterr()
    assert main([*words, "--steps", "2", "--no-resume"]) == 2  # a run is never overwritten
    assert "there is a run in it" in capsys.readouterr().err
    assert (run / "log.csv").read_bytes() == before
    out = tmp_path / "masks"
    segment = ["segment", str(movie), "--model", str(run), "--diameter", "17"]
    assert main([*segment, "--out", str(out)]) == 0
    assert len(list(out.rglob("mask*.tif"))) == 8


def test_all_commands_share_their_options():
    from celltrack.link.gnn import TrainGnn
    from celltrack.segment.generalist import TrainUnet
    from celltrack.track.reid import TrainReid

    for command in (TrainUnet, TrainReid, TrainGnn):
        options = command([], devices=1, workers=2, precision="bf16", resume=False)
        config = options.config()
        assert (config.workers, config.precision) == (2, "bf16")
        assert config.steps == options.steps and options.open_fabric().half
        with pytest.raises(InputError, match="devices 0"):
            command([], devices=0).check()


@pytest.mark.parametrize(
    "name, kind", [("generalist", "UNet"), ("reid", "EmbeddingNet"), ("gnn", "LinkNet")]
)
def test_weights_by_name_in_a_fresh_interpreter(name, kind):
    program = f"""
import sys
from celltrack.learn.store import load_model
assert not [m for m in sys.modules if m.startswith(("celltrack.link", "celltrack.track."))]
print(type(load_model({name!r})[0]).__name__)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == kind, done.stderr


def test_every_network_of_the_registry_is_there():
    for kind, place in NETWORKS.items():
        module, name = place.split(":")
        network = getattr(importlib.import_module(module), name)
        assert issubclass(network, torch.nn.Module), kind


if __name__ == "__main__":
    two_processes(Path(sys.argv[1]))
