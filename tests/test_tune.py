"""`celltrack tune` killed in the middle loses no finished trial; two processes share one file."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pandas as pd
import pytest

from celltrack.formats.ctc import write_ctc, write_masks
from celltrack.movie import close, lock_folder
from celltrack.simulate import simulate_movie
from celltrack.tune import SPACES, open_study, points, search, trials_table


@pytest.fixture(scope="module")
def movie(tmp_path_factory):
    here = tmp_path_factory.mktemp("movie")
    film, truth = simulate_movie(30, (160, 160), 24, seed=1, speed=5.0)
    write_ctc(truth, here / "01_GT" / "TRA", truth=True)
    write_masks(truth.labels, here / "01_GT" / "SEG", "man_seg")
    write_masks(film, here / "01", "t")
    return here / "01"


def tune(movie, out, trials):
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            "celltrack.cli",
            "tune",
            "sort",
            str(movie),
            "--out",
            str(out),
            "--trials",
            str(trials),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def finished(out):
    "Return {number: value} of the trials that are complete."
    if not (out / "trials.db").exists():
        return {}
    try:
        with closing(sqlite3.connect(f"file:{out / 'trials.db'}?mode=ro", uri=True)) as db:
            return dict(
                db.execute(
                    "select number, value from trials join trial_values using (trial_id) "
                    "where state = 'COMPLETE'"
                )
            )
    except sqlite3.OperationalError:
        return {}  # the tables are being made


def wait_for(out, count, seconds=120):
    end = time.time() + seconds
    while len(finished(out)) < count:
        assert time.time() < end, f"only {finished(out)} after {seconds} s"
        time.sleep(0.05)


def test_killed_and_started_again(movie, tmp_path):
    first = tune(movie, tmp_path, 200)
    wait_for(tmp_path, 5)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    before = finished(tmp_path)
    assert 5 <= len(before) < 200
    total = len(before) + 4
    second = tune(movie, tmp_path, total)
    said, _ = second.communicate(timeout=200)
    assert second.returncode == 0, said
    after = finished(tmp_path)
    assert before.items() <= after.items()
    table, record = (
        pd.read_csv(tmp_path / "sort-trials.csv"),
        json.loads((tmp_path / "sort-best.json").read_text()),
    )
    assert (table.state.isin(["complete", "pruned"])).sum() >= total and record["chosen by"] == max(
        after.values()
    )


def test_two_processes_share(movie, tmp_path):
    both = [tune(movie, tmp_path, 30)]
    wait_for(tmp_path, 1)
    both.append(tune(movie, tmp_path, 30))
    for process in both:
        said, _ = process.communicate(timeout=300)
        assert process.returncode == 0, said
    table = pd.read_csv(tmp_path / "sort-trials.csv")
    count = table.state.isin(["complete", "pruned"]).sum()
    assert 30 <= count <= 31 and table.trial.is_unique  # the last of each may end at the same time


def unsteady(setting, report, number):
    report(0, setting["max_age"])
    time.sleep(number % 3 / 100)
    return setting["max_age"] + setting["min_hits"] / 10


def search_with(count, path, trials, grid=False, study="sort"):
    "Search by several threads at once, as several processes do; return the study."
    args = path, study, unsteady, trials, grid
    open_study(path, study, grid)
    with ThreadPoolExecutor(count) as pool:
        running = [pool.submit(search, *args) for _ in range(count)]
    for one in running:
        one.result()  # raises what was raised in the thread
    return open_study(path, study, grid)


def test_several_try_the_same_first_settings(tmp_path):
    alone = search_with(1, tmp_path / "one.db", 10)
    together = search_with(3, tmp_path / "three.db", 10)
    assert len(alone.trials) == 10 <= len(together.trials)
    assert [t.params for t in alone.trials[:8]] == [t.params for t in together.trials[:8]]


def test_several_try_each_point_of_a_grid_once(tmp_path):
    study = search_with(6, tmp_path / "trials.db", 30, grid=True, study="sort-template")
    assert [t.params for t in study.trials if t.params] == points(SPACES["sort-template"])
    assert len(trials_table(study)) == 30


def test_a_grid_that_was_put_in_line_by_half(tmp_path):
    path = tmp_path / "trials.db"
    study = open_study(path, "sort-template")
    for setting in points(SPACES["sort-template"])[:7]:
        study.enqueue_trial(setting)
    study = search(path, "sort-template", unsteady, 30, grid=True)
    assert [t.params for t in study.trials] == points(SPACES["sort-template"])


def cut_off(path, machine=None):
    "Begin a trial as a process does that is then killed; return its settings."
    trial = open_study(path, "sort").ask()
    if machine:
        trial.set_user_attr("machine", machine)
    return {
        name: trial.suggest_categorical(name, values) for name, values in SPACES["sort"].items()
    }


def states(path):
    return [trial.state.name for trial in open_study(path, "sort").get_trials()]


@pytest.mark.filterwarnings("ignore:Heartbeat")
def test_only_the_dead_are_put_back_in_line(tmp_path):
    path = tmp_path / "trials.db"
    setting = cut_off(path)
    lock = lock_folder(tmp_path, shared=True)  # somebody is at work
    assert states(path) == ["RUNNING"]
    close(lock)
    assert states(path) == ["WAITING"]
    study = search(path, "sort", unsteady, 1)
    assert [(t.number, t.params, t.state.name) for t in study.trials] == [(0, setting, "COMPLETE")]


@pytest.mark.filterwarnings("ignore:Heartbeat")
def test_trials_of_another_machine_are_left_to_their_heartbeat(tmp_path):
    cut_off(tmp_path / "trials.db", machine="elsewhere")
    assert states(tmp_path / "trials.db") == ["RUNNING"]
