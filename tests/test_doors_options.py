"""Options and folders: numbers out of range, damaged folders, signals, strays, archives."""

import errno
import json
import math
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from contextlib import closing, suppress
from dataclasses import MISSING, fields
from pathlib import Path
from pkgutil import resolve_name
from typing import Annotated, get_args, get_origin, get_type_hints

import numpy as np
import pytest
import tifffile
import torch

from celltrack.cli import COMMANDS, main
from celltrack.formats.dataset import check_archive, find_movie, write_sequence
from celltrack.learn.train import OneDevice, TrainingConfig, train_network
from celltrack.movie import SWEPT, InputError, atomic, check_ranges, scratch_folder
from celltrack.pipeline import tuned_settings
from celltrack.simulate import simulate_movie
from celltrack.tune import open_study, search, trials_table


def numeric_options():
    "Return (command, its dataclass, field, whether it is whole, its pairs) of each number."
    found = []
    for name, (place, _) in COMMANDS.items():
        command = resolve_name(place)
        hints = get_type_hints(command, include_extras=True)
        for field in fields(command):
            hint, marks = hints[field.name], ()
            if get_origin(hint) is Annotated:
                hint, marks = get_args(hint)[0], hint.__metadata__
            kinds = {t for part in (hint, *get_args(hint)) for t in (part, *get_args(part))}
            if kinds & {int, float}:
                pairs = [mark for mark in marks if type(mark) is tuple]
                found.append((name, command, field.name, int in kinds, pairs))
    return found


OPTIONS = numeric_options()
IDS = [f"{name} {field}" for name, _, field, _, _ in OPTIONS]


def made(command, **options):
    "Return the dataclass of a command, whatever it needs given."
    needed = [f for f in fields(command) if f.default is MISSING and f.default_factory is MISSING]
    first = {f.name: "sort" if f.name == "study" else [Path("nowhere")] for f in needed}
    return command(**{**first, **options})


def outside(whole, pair):
    least, most = pair
    wrong = [least - 1, most * 2 + 1, math.nan, math.inf, -math.inf, "many", 10**400]
    return wrong + [0.5 * (least + most) + 0.25] * whole


def test_there_are_numeric_options():
    assert len(OPTIONS) > 50 and {name for name, *_ in OPTIONS} >= {"track", "tune", "train-gnn"}


@pytest.mark.parametrize("name, command, field, whole, pairs", OPTIONS, ids=IDS)
def test_every_numeric_option_has_a_range(name, command, field, whole, pairs):
    assert len(pairs) == 1, f"celltrack {name} --{field}: write Annotated[..., (least, most)]"
    several = field == "spacing"
    check_ranges(made(command))
    for good in pairs[0]:
        check_ranges(made(command, **{field: [good, good] if several else good}))
    for wrong in outside(whole, pairs[0]):
        options = made(command, **{field: [pairs[0][0], wrong] if several else wrong})
        with pytest.raises(InputError, match=f"--{field.replace('_', '-')} .*: give a"):
            options.run()  # nothing else is looked at before, also in Python


@pytest.mark.parametrize("name, command, field, whole, pairs", OPTIONS, ids=IDS)
def test_the_command_line_refuses_before_it_works(
    name, command, field, whole, pairs, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    needed = {"score": ["a", "b"], "tune": ["sort", "a"], "demo": [], "simulate": []}
    option = "--" + field.replace("_", "-")
    for wrong in (pairs[0][0] - 1, pairs[0][1] * 2 + 1, "nan", "inf", "-inf", "many", ""):
        assert main([name, *needed.get(name, ["a"]), option, str(wrong)]) == 2, wrong
        assert option in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


# a dataclass of a command that is stopped, damaged folders


class Line(torch.nn.Module):
    "The smallest network with a description."

    config = {"kind": "Line"}

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)

    def forward(self, x):
        return self.layer(x)


def squares(output, target):
    return ((output - target) ** 2).mean()


def batches(step):
    x = torch.randn(4, 2, generator=torch.Generator().manual_seed(step))
    return x, x.sum(1, keepdim=True)


def train(folder, steps=4):
    torch.manual_seed(0)
    config = TrainingConfig(steps=steps, every=2, rate=1e-2)
    return train_network(Line(), batches, squares, config, folder, fabric=OneDevice("cpu"))


@pytest.fixture(scope="module")
def state(tmp_path_factory):
    "The state of a run that has two of four steps behind it."
    folder = tmp_path_factory.mktemp("run")
    train(folder)
    return (folder / "state.pt").read_bytes(), (folder / "config.json").read_bytes()


def unfinished(folder, state):
    folder.mkdir()
    (folder / "state.pt").write_bytes(state[0])
    (folder / "config.json").write_bytes(state[1])
    return folder


def changed(path, change):
    found = torch.load(path, weights_only=True)
    change(found)
    torch.save(found, path)


def spoil(key, value):
    return lambda state: state.update({key: value})


def spoil_weight(state):
    state["model"]["layer.weight"][0, 0] = math.nan


def spoil_memory(state):
    state["optimizer"]["state"][0]["exp_avg"][0, 0] = math.inf


def spoil_shape(state):
    state["optimizer"]["state"][0]["exp_avg"] = torch.zeros(7)


def spoil_betas(state):
    state["optimizer"]["param_groups"][0]["betas"] = ("a", "b")


DAMAGES = {
    "no step": lambda state: state.pop("step"),
    "no log": lambda state: state.pop("log"),
    "no best": lambda state: state.pop("best"),
    "no model": lambda state: state.pop("model"),
    "no optimizer": lambda state: state.pop("optimizer"),
    "text step": spoil("step", "two"),
    "negative step": spoil("step", -3),
    "log of text": spoil("log", [["a", "b", "c", "d"]]),
    "log of numbers": spoil("log", [1, 2]),
    "nan best": spoil("best", math.nan),
    "text best": spoil("best", "good"),
    "nan weight": spoil_weight,
    "infinite memory": spoil_memory,
    "shape of memory": spoil_shape,
    "empty memory": lambda state: state["optimizer"].update(state={}),
    "betas": spoil_betas,
    "model of text": spoil("model", {"layer.weight": "x", "layer.bias": "y"}),
    "optimizer of text": spoil("optimizer", "adam"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damaged_state(name, state, tmp_path):
    folder = unfinished(tmp_path / "run", state)
    changed(folder / "state.pt", DAMAGES[name])
    before = (folder / "state.pt").read_bytes()
    with pytest.raises(InputError, match="state.pt: no state of this network"):
        train(folder)
    assert (folder / "state.pt").read_bytes() == before


@pytest.mark.parametrize("junk", [b"", b"junk", b"PK\3\4" + bytes(50), b"\x80\x02c__main__\nx\n."])
def test_junk_state(junk, state, tmp_path):
    folder = unfinished(tmp_path / "run", state)
    (folder / "state.pt").write_bytes(junk)
    with pytest.raises(InputError, match="state.pt: no state of this network"):
        train(folder)


def test_state_cut_at_any_byte(state, tmp_path):
    folder = unfinished(tmp_path / "run", state)
    for end in range(1, len(state[0]), 101):
        (folder / "state.pt").write_bytes(state[0][:end])
        with pytest.raises(InputError, match="state.pt"):
            train(folder)


@pytest.mark.parametrize(
    "text", ["", "[", "[1]", "3", "null", '{"plan": 7}', '{"plan": [1]}', "[" * 99999, "\0\xff"]
)
def test_damaged_config(text, state, tmp_path):
    folder = unfinished(tmp_path / "run", state)
    (folder / "config.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match=r"config\.json"):
        train(folder)


def test_a_whole_state_goes_on(state, tmp_path):
    folder = unfinished(tmp_path / "run", state)
    changed(folder / "state.pt", lambda state: state.update(step=2, log=state["log"][:1]))
    assert train(folder).step.tolist() == [2, 4]


# files of trials


@pytest.fixture(scope="module")
def movie(tmp_path_factory):
    here = tmp_path_factory.mktemp("movie")
    film, truth = simulate_movie(12, (96, 96), 8, seed=1)
    write_sequence(here / "01", film, truth, gold=truth.labels)
    return here / "01"


def score(setting, report, number):
    return float(number)


def test_trials_that_are_none(tmp_path):
    path = tmp_path / "trials.db"
    path.write_bytes(b"junk" * 1000)
    with pytest.raises(InputError, match=r"trials\.db: cannot be used"):
        open_study(path, "sort")
    path.unlink()
    path.mkdir()
    with pytest.raises(InputError, match=r"trials\.db: cannot be used"):
        open_study(path, "sort")


def test_trials_with_junk_in_the_middle(tmp_path):
    path = tmp_path / "trials.db"
    search(path, "sort", score, 3)
    data = bytearray(path.read_bytes())
    for page in range(4096, len(data), 4096):
        data[page : page + 2000] = b"junk" * 500
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"trials\.db"):
        open_study(path, "sort")


def test_trials_with_a_name_that_is_no_text(tmp_path):
    path = tmp_path / "trials.db"
    with closing(sqlite3.connect(path)) as file, file:
        file.execute("create table trials (a)")
    data = path.read_bytes()
    path.write_bytes(data.replace(b"CREATE TABLE trials (a)", b"CREATE T\xfcBLE trials (a)"))
    with pytest.raises(InputError, match=r"trials\.db: cannot be used .* can't decode"):
        open_study(path, "sort")


def test_trials_that_another_program_holds(tmp_path, monkeypatch):
    path = tmp_path / "trials.db"
    search(path, "sort", score, 1)
    connect = sqlite3.connect
    with closing(connect(path)) as other:
        other.execute("begin exclusive")
        monkeypatch.setattr(sqlite3, "connect", lambda path, timeout: connect(path, timeout=0.1))
        with pytest.raises(InputError, match="Another program is at work on it"):
            open_study(path, "sort")


def test_trials_of_another_search_space(tmp_path):
    path = tmp_path / "trials.db"
    search(path, "sort", score, 2)
    with closing(sqlite3.connect(path)) as file, file:
        (old,) = file.execute(
            "select distribution_json from trial_params where param_name = 'gate'"
        ).fetchone()
        new = old.replace("0.75", "0.5")
        file.execute(
            "update trial_params set distribution_json = ? where param_name = 'gate'", [new]
        )
    with pytest.raises(InputError, match=r"another search space \(gate\)"):
        open_study(path, "sort")


@pytest.mark.parametrize(
    "change",
    [
        "update trials set state = '{}'",
        "update trials set number = null",
        "update trial_values set value = null",
        "update trial_values set value_type = '1e300'",
        "delete from trial_values",
        "update studies set study_name = 'another'",
        "update study_directions set direction = 5",
        "delete from study_directions",
        "update trial_params set distribution_json = '[1]'",
        "update trial_params set param_value = 'text'",
        "update version_info set schema_version = 99",
        "drop table trial_params",
    ],
)
def test_trials_that_another_hand_has_changed(change, tmp_path):
    "A named error, or a search that goes on."
    path = tmp_path / "trials.db"
    search(path, "sort", score, 2)
    with closing(sqlite3.connect(path)) as file, file, suppress(sqlite3.IntegrityError):
        file.execute(change)
    try:
        found = search(path, "sort", score, 3)
    except InputError as error:
        assert "trials.db: " in str(error) and "Give another --out" in str(error)
    else:
        assert len(trials_table(found)) >= 1  # trials whose settings are lost may not count


def test_a_fault_of_the_objective_is_not_one_of_the_file(tmp_path):
    def broken(setting, report, number):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        search(tmp_path / "trials.db", "sort", broken, 1)


@pytest.mark.parametrize("value", [[1], [], {}, None, "1", True])
def test_tuned_values_that_are_no_numbers(value, tmp_path):
    path = tmp_path / "sort-best.json"
    path.write_text(json.dumps({"study": "sort", "best": {"max_age": value}}))
    if value is None:
        assert tuned_settings(path) == {"max_age": value}
    else:
        with pytest.raises(InputError, match=r"sort-best\.json: --max-age"):
            tuned_settings(path)


TUNED = {
    "": "JSON",
    "[": "JSON",
    "[" * 99999: "JSON",
    "[1]": "no settings of SORT",
    '{"study": "deepsort", "best": {}}': "no settings of SORT",
    '{"study": "sort", "best": [1]}': "no settings of SORT",
    '{"study": "sort", "best": {"gate": NaN}}': "--gate nan",
    '{"study": "sort", "best": {"gate": "wide"}}': "--gate wide",
    '{"study": "sort", "best": {"max_age": -1}}': "--max-age -1",
    '{"study": "sort", "best": {"max_age": 1.5}}': "--max-age 1.5",
    '{"study": "sort", "best": {"min_hits": 1e999}}': "--min-hits inf",
    '{"study": "sort", "best": {"speed": 1}}': "no setting speed",
}


@pytest.mark.parametrize("text", TUNED, ids=range(len(TUNED)))
def test_tuned_files(text, movie, tmp_path, capsys):
    path = tmp_path / "sort-best.json"
    path.write_text(text)
    words = ["track", str(movie), "--tuned", str(path), "--out", str(tmp_path / "out")]
    assert main(words) == 2
    said = capsys.readouterr().err
    assert "sort-best.json" in said and TUNED[text] in said
    assert not (tmp_path / "out").exists()


# what is no file


def odd_files(folder):
    os.mkfifo(folder / "pipe")
    (folder / "loop").symlink_to(folder / "loop")
    return [folder / "pipe", folder / "loop", Path("/dev/zero")]


def test_pipes_and_loops_are_refused(movie, tmp_path, capsys):
    for odd in odd_files(tmp_path):
        out = ["--out", str(tmp_path / "out")]
        masks = ["track", str(movie), "--labels", "01_GT/SEG", *out]
        for words in (
            ["segment", str(odd), *out],
            ["track", str(odd), *out],
            ["track", str(movie), "--labels", str(odd), *out],
            [*masks, "--tuned", str(odd)],
            [*masks, "--tracker", "gnn", "--links", str(odd)],
            ["segment", str(movie), "--model", str(odd), *out],
            ["score", str(odd), str(odd)],
            ["check", str(odd)],
            ["convert", str(odd), *out],
            ["show", str(odd), *out],
            ["train-unet", str(odd), *out],
            ["train-reid", str(odd), *out],
            ["train-gnn", str(odd), "--simulated", "0", *out],
            ["tune", "sort", str(odd), *out],
            ["compare", str(odd), *out],
        ):
            assert main(words) == 2, words
            assert odd.name in capsys.readouterr().err, words


def test_pipes_in_place_of_what_a_run_keeps(state, tmp_path):
    for name in ("config.json", "state.pt"):
        folder = unfinished(tmp_path / name, state)
        (folder / name).unlink()
        os.mkfifo(folder / name)
        with pytest.raises(InputError, match=name):
            train(folder)
    os.mkfifo(tmp_path / "trials.db")
    with pytest.raises(InputError, match="a pipe"):
        open_study(tmp_path / "trials.db", "sort")


def test_not_found_names_each_place_once(tmp_path, monkeypatch):
    for data, place in ((tmp_path, tmp_path / "x"), (Path("."), Path("x")), (tmp_path, "x")):
        monkeypatch.setenv("CELLTRACK_DATA", str(data))
        monkeypatch.chdir(tmp_path)
        with pytest.raises(InputError) as caught:
            find_movie(place)
        said = str(caught.value).replace(f"{tmp_path}/", "")
        assert said.replace(".cache/celltrack/x", "").count("x") <= 2 + ("path" in "x"), said
    with pytest.raises(InputError, match="letters"):
        find_movie("a" * 5000)


# strays, signals, a full disk


def stray(folder, name="old_name", old=None):
    box = folder / f".celltrack-{name}"
    (box / "new").mkdir(parents=True)
    (box / "old").mkdir()
    (box / "new" / "result.txt").write_text("hal")
    if old:
        (box / "old" / old).write_text("the only one")
    return box


def test_strays_are_swept_and_what_is_in_use_is_not(tmp_path):
    left = stray(tmp_path), stray(tmp_path, "old_safe", "result.txt")
    mine = tmp_path / ".celltrack-notes"  # not made by us
    mine.mkdir()
    SWEPT.clear()
    with atomic(tmp_path / "first") as first:
        SWEPT.clear()
        with atomic(tmp_path / "second") as second:
            second.write_text("2")
        assert first.parent.is_dir() and not any(box.exists() for box in left)
        first.write_text("1")
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        ".celltrack-notes",
        "first",
        "result.txt",
        "second",
    ]
    assert (tmp_path / "result.txt").read_text() == "the only one"


def test_a_new_file_wins_over_what_a_killed_run_moved_aside(tmp_path):
    stray(tmp_path, old="result.txt")
    (tmp_path / "result.txt").write_text("newer")
    SWEPT.clear()
    with atomic(tmp_path / "other") as other:
        other.write_text("2")
    assert (tmp_path / "result.txt").read_text() == "newer"
    assert not list(tmp_path.glob(".celltrack-*"))


def test_scratch_of_killed_runs_is_swept(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    stray(tmp_path)
    SWEPT.clear()
    with scratch_folder() as scratch:
        assert list(tmp_path.iterdir()) == [scratch]
    assert not list(tmp_path.iterdir())


def test_many_write_in_one_folder(tmp_path):
    def write(number):
        for k in range(40):
            SWEPT.clear()
            with atomic(tmp_path / f"{number}-{k}") as path:
                path.write_text(str(k))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(list(tmp_path.iterdir())) == 160


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_names_the_path(code, tmp_path):
    def full():
        raise OSError(code, os.strerror(code))

    target = tmp_path / "result"
    with pytest.raises(OSError) as caught, atomic(target) as new:
        new.write_text("some")
        full()
    assert caught.value.filename == str(target) and not list(tmp_path.iterdir())


LIMITED = """
import resource, sys
from pathlib import Path
import numpy as np
from celltrack.cli import explain
from celltrack.movie import atomic
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
try:
    with atomic(sys.argv[1]) as new:
        exec(sys.argv[2])
except BaseException as error:
    sys.exit(explain(error))
"""


@pytest.mark.parametrize(
    "write",
    [
        "new.write_bytes(bytes(50_000))",
        "import tifffile; tifffile.imwrite(new, np.ones((200, 200)))",
        "np.ones(50_000).tofile(new)",
        "import pandas as pd; pd.DataFrame(np.ones((9999, 2))).to_csv(new)",
    ],
)
def test_a_write_that_fails_names_the_path(write, tmp_path):
    target = tmp_path / "result.tif"
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, target, write], capture_output=True, text=True
    )
    assert done.returncode == 2 and done.stderr.startswith(f"celltrack: error: {target}: ")
    assert not list(tmp_path.iterdir())


SLOW = """
import os, sys, time
from pathlib import Path
import celltrack.cli as cli
from celltrack.movie import atomic, scratch_folder
import celltrack.formats.dataset as dataset

class Slow:
    def run(self):
        with scratch_folder() as scratch, atomic(Path(sys.argv[1]) / "result") as new:
            (scratch / "labels").write_text("some")
            new.write_text("half")
            print("ready", flush=True)
            time.sleep(60)

import dataclasses
dataset.Check = dataclasses.dataclass(type("Check", (), {"run": Slow.run, "__doc__": "Slow."}))
sys.exit(cli.main(["check"]))
"""


def heed_signals():
    "Let a process heed what this one ignores, under nohup or in the background of a shell."
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


def slow(folder):
    temporary = folder / "tmp"
    temporary.mkdir(exist_ok=True)
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW, folder / "out"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(temporary)},
        preexec_fn=heed_signals,
    )
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize("name, code", [("SIGTERM", 143), ("SIGHUP", 129), ("SIGINT", 130)])
def test_signals_clear_up(name, code, tmp_path):
    process = slow(tmp_path)
    process.send_signal(getattr(signal, name))
    if name == "SIGTERM":
        process.send_signal(signal.SIGTERM)  # `timeout` sends it twice
    said = process.communicate(timeout=30)[1]
    assert process.returncode == code and "stopped" in said and "Traceback" not in said
    assert not list((tmp_path / "out").iterdir()) and not list((tmp_path / "tmp").iterdir())


def test_a_killed_run_is_swept_by_the_next(tmp_path):
    killed, alive = slow(tmp_path), slow(tmp_path)
    killed.kill()
    killed.communicate()
    assert len(list((tmp_path / "out").iterdir())) == 2
    third = slow(tmp_path)  # sweeps what the first left, not what the second works in
    assert len(list((tmp_path / "out").iterdir())) == len(list((tmp_path / "tmp").iterdir())) == 2
    for process in (alive, third):
        process.terminate()
        process.communicate(timeout=30)
        assert process.returncode == 143
    assert not list((tmp_path / "out").iterdir()) and not list((tmp_path / "tmp").iterdir())


def children_of(parent):
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            words = status.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(words[1]) == parent and words[0] != "Z":
            found.append(int(status.parent.name))
    return found


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="asks /proc for the children")
@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM"])
def test_the_helpers_of_tune_end_with_it(name, movie, tmp_path):
    words = ["tune", "sort", str(movie), "--out", str(tmp_path), "--trials", "100000"]
    parent = subprocess.Popen(
        [sys.executable, "-m", "celltrack.cli", *words, "--processes", "2"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    end = time.monotonic() + 120
    children = []
    while len(children) < 2 and time.monotonic() < end:  # a worker, and Python's tracker
        time.sleep(0.1)
        children = children_of(parent.pid)
    time.sleep(3)
    assert parent.poll() is None
    parent.send_signal(getattr(signal, name))
    said = parent.communicate(timeout=60)[1]
    assert "Traceback" not in said
    end = time.monotonic() + 30
    while any(map(is_running, children)) and time.monotonic() < end:
        time.sleep(0.1)
    assert not [pid for pid in children if is_running(pid)]
    assert parent.returncode == (-9 if name == "SIGKILL" else 143)


def test_an_archive_that_grows_is_refused(tmp_path):
    rng = np.random.default_rng(0)
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for k in range(8):
            archive.writestr(f"Bomb/t{k}.tif", bytes(5_000_000))
    image = rng.integers(0, 4096, (100, 100)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "t.tif", image)
    with zipfile.ZipFile(tmp_path / "good.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(tmp_path / "t.tif", "Good/01/t000.tif")
        archive.writestr("Good/01_GT/SEG/mask.tif", bytes(1_000_000))
    check_archive(tmp_path / "good.zip", "good")
    with pytest.raises(InputError, match="40,000,000"):
        check_archive(tmp_path / "bomb.zip", "bomb")


def test_the_record_of_a_run_that_is_none(movie, tmp_path, capsys):
    words = ["segment", str(movie), "--model", "classic", "--out", str(tmp_path)]
    for text in ("", "[", "[1]", "[" * 99999, json.dumps({"source": 3})):
        (tmp_path / f"{movie.parent.name}_01.json").write_text(text)
        assert main(words) == 2
        assert f"{tmp_path}" in capsys.readouterr().err


def test_crops_of_a_size_that_the_network_cannot_draw():
    from celltrack.segment.generalist import COMPACT, check_size
    from celltrack.segment.unet import UNet, UNet2015

    check_size(UNet(), 128, 2)
    check_size(UNet2015(outputs=3, width=2), 132, 1)
    with pytest.raises(InputError, match="--size 17: .* Give 16 or 32"):
        check_size(UNet(), 17, 2)
    with pytest.raises(InputError, match="--size 48: .* Give 32 or 64"):
        check_size(UNet(**COMPACT), 48, 2)
    with pytest.raises(InputError, match="--size 128: .* Give 116 or 132"):
        check_size(UNet2015(outputs=3, width=2), 128, 2)
    with pytest.raises(InputError, match="--size 16: .* Give --size 32, or more --crops"):
        check_size(UNet(), 16, 1)
    check_size(UNet(), 16, 2)


@pytest.mark.parametrize("option", ["--csv", "--gallery"])
def test_a_nul_byte_is_no_name(option, capsys):
    assert main(["score", "01_GT", "01_RES", option, "a\0b"]) == 2
    assert "NUL byte" in capsys.readouterr().err
