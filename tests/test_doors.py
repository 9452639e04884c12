"""Random bad input at every door: an answer or an `InputError`, in time, no link lost in silence.

`python benchmarks/fuzz.py --door NAME --seed K` tries one input again, with its traceback.
"""

import numpy as np
import pytest

from celltrack.movie import InputError, Movie
from celltrack.score.panel import score_tracks
from celltrack.segment.choose import segment_movie
from doors import DOORS, small
from fuzzing import fuzz

INPUTS = 500  # of each door; `benchmarks/fuzz.py` tries more


@pytest.mark.no_cover  # tracing takes a third more time; a line that junk reaches is not tested
@pytest.mark.filterwarnings("ignore")  # of a bad number on its way: what comes of it counts
@pytest.mark.parametrize("name", DOORS)
def test_every_input_is_fine_or_refused(name):
    report = fuzz(DOORS[name], range(INPUTS))
    found = [f"--seed {seed}: {outcome}: {text}" for seed, outcome, text in report.failures]
    assert not found, f"--door {name}, {len(found)} of {INPUTS}:\n" + "\n".join(found)
    assert report.counts["fine"] >= INPUTS // 50, f"{name}: hardly an input is taken"


@pytest.mark.parametrize(
    "option, value",
    [("tolerance", "text"), ("tolerance", np.nan), ("margin", -1), ("masks", 5), ("masks", "text")],
)
def test_options_of_scores_are_named(option, value):
    with pytest.raises(InputError, match=option):
        score_tracks(small().truth, small().truth, **{option: value})


@pytest.mark.parametrize("name", ["classic", "generalist"])
@pytest.mark.parametrize("diameter", [1e-300, 2e9, np.nan, -1])
def test_absurd_diameters_are_refused(name, diameter):
    with pytest.raises(InputError, match="diameter|radius"):
        segment_movie(small().movie[:1], name, diameter=diameter)[0]


@pytest.mark.parametrize("option", ["threshold", "seam", "soft", "depth", "smallest"])
def test_absurd_parameters_are_refused(option):
    with pytest.raises(InputError, match=option):
        segment_movie(small().movie[:1], "generalist", diameter=10, **{option: np.inf})[0]


def test_gray_values_too_large_to_compare_are_named():
    frames = np.array(small().movie[:1], float)
    frames[0, 0, 0] = 1e300
    with pytest.raises(InputError, match="1e\\+300"):
        segment_movie(Movie(frames), "classic")[0]
