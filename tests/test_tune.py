"""`celltrack tune` killed in the middle loses no finished trial; two processes share one file."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing

import pandas as pd
import pytest

from celltrack.formats.ctc import write_ctc, write_masks
from celltrack.simulate import simulate_movie


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
