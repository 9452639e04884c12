"""Commands killed at a write: the command given again ends as if nothing had happened.

A first run counts the writes (an audit hook sees files opened, renamed, made and removed, and what
SQLite is told). The command then runs again and again, each time in a fresh folder, and at another
write it gets TERM, HUP or KILL; KILL leaves half of a file that is just being written. TERM must
end in exit code 143 and HUP in 129, and neither may leave a stray. Given once more, the command
must leave the same files, byte for byte, states tensor for tensor and trials row for row, and
nothing else: not in its folder, nor in the one for temporary files. `make test` kills at a sample
of the writes, a minute and a half on two cores. At each of them, by TERM and by KILL:

    python tests/test_kills.py --all [COMMAND ...]      an hour for all; ends with a table
    python tests/test_kills.py --all --hup train-unet   by HUP, too
"""

import importlib
import json
import multiprocessing
import os
import shutil
import signal
import sqlite3
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch

from celltrack.formats.dataset import write_sequence
from celltrack.simulate import simulate_movie

COMMANDS = {
    "track": "track 01 --model classic --diameter 12 --out out",
    "segment": "segment 01 --model classic --diameter 12 --out out",
    "convert-coco": "convert 01 --to coco --dialect standard --out out",
    "convert-ctc": "convert 01 --to ctc --out out",
    "convert-mot": "convert 01 --to mot --out out",
    "tune": "tune sort 01 --trials 3 --out out",
    "tune-grid": "tune sort-template 01 --grid --trials 2 --out out",
    "tune-network": "tune appearance 01 --trials 2 --steps 2 --held 0.4 --out out",
    "train-unet": "train-unet 01 --gap 1 --simulated 0 --size 64 --crops 1 --steps 2 --every 1 "
    "--out out",
    "train-reid": "train-reid 01 --gap 1 --held 0.4 --width 4 --identities 2 --each 2 --steps 2 "
    "--every 1 --out out",
    "train-gnn": "train-gnn 01 --simulated 0 --width 4 --depth 1 --frames 4 --steps 2 --every 1 "
    "--out out",
}
CODES = {signal.SIGTERM: 143, signal.SIGKILL: -9, signal.SIGHUP: 129}  # how a command ends
ONLY_ALL = {"tune-network"}  # too slow for `make test`
SAMPLE = 3  # kills of each command in `make test`, one by each signal
SERVER = multiprocessing.get_context("forkserver")  # the libraries are loaded once
SERVER.set_forkserver_preload(
    [
        "celltrack.cli",
        "celltrack.pipeline",
        "celltrack.convert",
        "celltrack.show",
        "celltrack.tune",
        "celltrack.segment.generalist",
        "celltrack.track.reid",
        "celltrack.link.solve",
        "matplotlib.pyplot",
        "skimage.segmentation",
        "optuna.importance",
        "alembic.command",
        "sqlalchemy.dialects.sqlite",
        "matplotlib.backends.backend_agg",
        "celltrack.link.gnn",
        "celltrack.track.divide",
        "celltrack.score.errors",
    ]
)


# ---- in the process that is killed


class Killer:
    "An audit hook that counts writes under a folder, and ends its process at one of them."

    EVENTS = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate"}

    def __init__(self, folder, at, signal_number):
        self.folder, self.at, self.signal_number = str(folder), at, signal_number
        self.writes: list[str] = []
        self.busy = False

    def __call__(self, event, args):
        if self.busy:
            return
        if event in self.EVENTS and self.is_write(event, args):
            self.count(f"{event} {args[0]}", args[0] if event == "open" else None)

    def is_write(self, event, args):
        if event == "open" and not args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC):
            return False
        if not isinstance(args[0], (str, os.PathLike)):
            return False
        return os.path.abspath(args[0]).startswith(self.folder)

    def statement(self, text):
        if text.split(" ", 1)[0].upper() in ("INSERT", "UPDATE", "COMMIT", "CREATE"):
            self.count(f"sqlite {text[:60]}", None)

    def count(self, what, half):
        self.writes.append(what)
        if len(self.writes) - 1 != self.at:
            return
        self.busy = True
        if self.signal_number == signal.SIGKILL and half is not None:
            Path(half).write_bytes(b"half")
        os.kill(os.getpid(), self.signal_number)
        self.busy = False


def run_here(words, lab, at, signal_number):
    "Run a command in the folder `lab`, killed at write number `at`; list the writes beside it."
    from celltrack.cli import main

    torch.set_num_threads(1)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # these tests may run under nohup
    os.chdir(lab)
    tempfile.tempdir = str(lab.parent / "tmp")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    said = os.open(lab.parent / "said.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(said, 2)
    killer = Killer(lab.parent, at, signal_number)
    sys.addaudithook(killer)
    if words[0] == "tune":
        sqlalchemy = importlib.import_module("sqlalchemy")  # comes with optuna

        def watch(connection, _):
            connection.set_trace_callback(killer.statement)

        sqlalchemy.event.listen(sqlalchemy.pool.Pool, "connect", watch)
    code = main(words)
    killer.busy = True
    (lab.parent / "writes.json").write_text(json.dumps(killer.writes))
    os._exit(code)


# ---- in the process that kills


def source(folder, name):
    "Write the smallest movie that the command takes: seven frames of a cell make an identity."
    frames = 18 if name in ("train-reid", "tune-network") else 8
    movie, truth = simulate_movie(frames, (64, 64), 6, seed=3, speed=0.5)
    write_sequence(folder / "01", movie, truth, gold=truth.relabelled())


class Lab:
    "A folder in which a command runs, made anew for each kill: paths stay the same."

    def __init__(self, folder, name):
        self.folder, self.words = Path(folder), COMMANDS[name].split()
        self.source = self.folder / "source"
        source(self.source, name)

    def fresh(self):
        for name in ("lab", "tmp"):
            shutil.rmtree(self.folder / name, ignore_errors=True)
        (self.folder / "tmp").mkdir()
        shutil.copytree(self.source, self.folder / "lab")

    def run(self, at=-1, signal_number=signal.SIGKILL):
        "Run the command; return (exit code, what it said)."
        args = (self.words, self.folder / "lab", at, signal_number)
        process = SERVER.Process(target=run_here, args=args)
        process.start()
        process.join(120)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise AssertionError("the command hangs")
        return process.exitcode, (self.folder / "said.txt").read_text()[-2000:]

    def writes(self):
        return json.loads((self.folder / "writes.json").read_text())

    def left(self):
        "Return {name: content} of the results, and names of what no command should leave."
        lab = self.folder / "lab"
        files = {str(p.relative_to(lab)): content(p) for p in lab.rglob("*") if p.is_file()}
        strays = [str(p) for p in (self.folder / "tmp").iterdir()]
        strays += [str(p) for p in lab.rglob(".*")]
        return files, strays


def content(path):
    "Return what a file says, without the times and numbers of processes in it."
    if path.name == "state.pt":
        return torch.load(path, weights_only=True)
    if path.suffix == ".json":
        record = json.loads(path.read_text())
        if isinstance(record, dict):
            record.pop("seconds", None)
        return record
    if path.suffix == ".db":
        with closing(sqlite3.connect(path)) as file:
            return [file.execute(question).fetchall() for question in TRIALS]
    return path.read_bytes()


TRIALS = [  # all that a study knows, but for times
    "select study_name, direction, objective from studies join study_directions using (study_id)",
    "select trial_id, number, state from trials order by 1",
    "select trial_id, param_name, param_value, distribution_json from trial_params order by 1, 2",
    "select trial_id, objective, value from trial_values order by 1, 2",
    "select trial_id, step, intermediate_value from trial_intermediate_values order by 1, 2",
    "select trial_id, key, value_json from trial_user_attributes order by 1, 2",
    "select trial_id, key, value_json from trial_system_attributes order by 1, 2",
]


def same(a, b):
    "Return whether two contents are equal, tensor for tensor."
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b or a != a and b != b


def differences(whole, files):
    "Return the names of the files that are not as after the undisturbed run."
    return sorted(
        name
        for name in whole.keys() | files.keys()
        if name not in whole or name not in files or not same(whole[name], files[name])
    )


def undisturbed(lab):
    "Run a command twice without a kill; return its files and its writes."
    lab.fresh()
    code, said = lab.run()
    assert code == 0, said
    whole, strays = lab.left()
    assert not strays, f"an undisturbed run leaves {strays}"
    writes = lab.writes()
    lab.fresh()
    assert lab.run()[0] == 0
    assert not differences(whole, lab.left()[0]), "two undisturbed runs differ"
    return whole, writes


def kill_and_repeat(lab, whole, at, signal_number):
    "Kill the command at a write, run it again; return {kind of complaint: what was found}."
    lab.fresh()
    code, said = lab.run(at, signal_number)
    wrong = {}
    if code != CODES[signal_number] or "Traceback" in said:
        wrong["exit"] = f"ends with {code}: {said}"
    if signal_number != signal.SIGKILL and lab.left()[1]:
        wrong["strays"] = f"a run that could clear up left {lab.left()[1]}"
    code, said = lab.run()
    if code != 0:
        return wrong | {"rerun": f"the run after it ends with {code}: {said}"}
    files, strays = lab.left()
    if strays:
        wrong["strays"] = f"the run after it left {strays}"
    other = differences(whole, files)
    if other:
        wrong["differing"] = f"{other} differ"
    return wrong


def moments(count, sample, seed):
    "Return (write, signal) pairs spread over all writes; their order is drawn."
    edges = np.linspace(0, count, sample + 1).astype(int)
    rng = np.random.default_rng(seed)
    signals = [list(CODES)[k] for k in rng.permutation(sample) % len(CODES)]
    pairs = zip(edges[:-1], edges[1:], strict=True)
    return [
        (int(rng.integers(a, max(b, a + 1))), number)
        for (a, b), number in zip(pairs, signals, strict=True)
    ]


@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in ONLY_ALL])
def test_killed_at_a_write(name, tmp_path):
    lab = Lab(tmp_path, name)
    whole, writes = undisturbed(lab)
    for at, signal_number in moments(len(writes), SAMPLE, len(name)):
        wrong = kill_and_repeat(lab, whole, at, signal_number)
        assert not wrong, f"{signal_number.name} at write {at} ({writes[at]}): {wrong}"


KINDS = "exit", "rerun", "differing", "strays"


def kill_at_all(name, signals, shift=0, step=1):
    "Kill a command at each of its writes; print what goes wrong, return a row of the table."
    counts = dict.fromkeys(KINDS, 0)
    with tempfile.TemporaryDirectory() as folder:
        lab = Lab(Path(folder), name)
        whole, writes = undisturbed(lab)
        moments = range(shift, len(writes), step)
        for at in moments:
            for signal_number in signals:
                wrong = kill_and_repeat(lab, whole, at, signal_number)
                for kind, what in wrong.items():
                    counts[kind] += 1
                    where = f"{signal_number.name} at write {at} ({writes[at]})"
                    print(f"    {name}, {where}: {what}", flush=True)
    return [name, len(writes), *[len(moments)] * len(signals), *counts.values()]


def main(words):
    "Print the table of the commands given, or of all."
    signals = [s for s in CODES if s != signal.SIGHUP or "--hup" in words]
    heads = ["command", "writes", *[s.name[3:] for s in signals], "wrong exit code"]
    heads += ["rerun failed", "rerun differs", "strays"]
    print("|", " | ".join(heads), "|")
    print("|", " | ".join("---" for _ in heads), "|", flush=True)
    for name in [word for word in words if not word.startswith("-")] or COMMANDS:
        print("|", " | ".join(map(str, kill_at_all(name, signals))), "|", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
