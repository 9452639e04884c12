"""Simulated movies stay what they are, options reach them, and sisters leap as far as told."""

from types import SimpleNamespace

import numpy as np
import pytest

from celltrack import microscopes
from celltrack.microscopes import RANGES, RodOptions, random_options, simulate_rods, varied_rods
from celltrack.movie import InputError
from celltrack.simulate import FURTHER, MODALITIES, simulate_movie

# Every 16th pixel of frame 7 of `small_movie`, the number of cells, and that of divisions. No
# checksum: the last digit of a float differs between processors, and may round a pixel up or down.
# Another random number, though, changes nearly all pixels, through the noise.
KEPT = {
    "nuclei": ([140, 371, 74, 98, 89, 621, 162, 211, 78, 158, 262, 139, 201, 410, 132, 166], 74, 3),
    "dic": ([105, 110, 76, 107, 255, 63, 120, 124, 138, 112, 130, 63, 33, 113, 110, 63], 86, 2),
    "phase": ([140, 81, 119, 80, 79, 90, 87, 86, 80, 90, 85, 68, 80, 85, 84, 255], 54, 2),
    "spots": ([79, 106, 89, 131, 113, 126, 242, 129, 88, 127, 99, 135, 99, 169, 133, 159], 73, 0),
    "flat": ([108, 110, 118, 75, 121, 128, 133, 131, 151, 151, 85, 171, 205, 138, 138, 72], 62, 1),
    "spread": (
        [65, 190, 96, 134, 112, 212, 100, 140, 95, 138, 333, 167, 164, 301, 212, 147],
        80,
        2,
    ),
    "rods": ([186, 71, 74, 118, 190, 93, 66, 201, 192, 216, 61, 192, 159, 48, 190, 179], 37, 5),
    "rods-fluorescence": (
        [86, 493, 338, 270, 129, 389, 352, 125, 113, 136, 317, 115, 197, 350, 108, 102],
        37,
        5,
    ),
}


def small_movie(modality, seed=7):
    if "rods" in modality:
        return simulate_movie(8, (64, 64), 2, modality, seed=seed, doubling=3)
    radius = {"flat": dict(radius=12), "spread": dict(radius=14)}
    return simulate_movie(8, (64, 64), 6, modality, seed=seed, cycle=10, **radius.get(modality, {}))


def pixels_of(movie):
    return np.asarray(movie[7], int)[8::16, 8::16].ravel()


@pytest.mark.parametrize("modality", KEPT)
def test_movies_are_what_they_were(modality):
    pixels, cells, divisions = KEPT[modality]
    movie, truth = small_movie(modality)
    assert (np.abs(pixels_of(movie) - pixels) > 1).sum() <= 1
    assert (len(truth.cells), len(truth.divisions())) == (cells, divisions)


@pytest.mark.parametrize("modality", KEPT)
def test_another_movie_would_be_noticed(modality):
    pixels = KEPT[modality][0]
    assert (np.abs(pixels_of(small_movie(modality, seed=8)[0]) - pixels) > 1).sum() > 8


def test_every_modality_is_watched():
    assert set(KEPT) == set(MODALITIES) | set(FURTHER)


def sister_distances(truth):
    position = truth.cells.set_index(["frame", "track"])[["y", "x"]]
    return [
        np.linalg.norm(np.subtract(*(position.loc[d.frame + 1, k] for k in d.children)))
        for d in truth.divisions().itertuples()
    ]


def test_sisters_leap_apart():
    apart = {}
    for leap in (0.0, 1.0):
        truth = simulate_movie(20, cells=25, seed=1, cycle=12, leap=leap, radius=7.0)[1]
        apart[leap] = sister_distances(truth)
        assert len(apart[leap]) > 20
    # 2 × 7 µm on average; neighbours push back
    assert 7 < np.mean(apart[1.0]) - np.mean(apart[0.0]) < 18


def test_leap_draws_nothing_before_the_first_division():
    plain, leaping, other = (
        simulate_movie(12, (96, 96), 8, seed=3, cycle=30, **options)
        for options in ({}, {"leap": 1.0}, {"leap": 0.0})
    )
    assert np.array_equal(np.asarray(plain[0]), np.asarray(other[0]))
    assert plain[1].cells.equals(other[1].cells)
    first = plain[1].divisions().frame.min()  # without a leap the last frame before has a waist
    assert first >= 2
    assert np.array_equal(np.asarray(plain[0])[:first], np.asarray(leaping[0])[:first])
    assert not np.array_equal(plain[0][first], leaping[0][first])


def recorded(monkeypatch):
    "Return a list of the calls that `varied_rods` will make, (arguments, options)."
    calls = []

    def record(*arguments, lazy=None, **options):
        calls.append((arguments, options))

    monkeypatch.setattr(microscopes, "simulate_rods", record)
    return calls


@pytest.mark.parametrize("spacing", [0.07, 0.1, 0.13, 0.2])
def test_glow_stays_around_its_rod(spacing):
    point = np.zeros((41, 41))
    point[20, 20] = 1.0
    scene = SimpleNamespace(options=RodOptions(), spacing=(spacing, spacing))
    blurred = microscopes.blurred_by_boxes(point, 0.4, scene)
    np.testing.assert_allclose(blurred, blurred[::-1, ::-1], atol=1e-12)
    assert 0 < blurred[20, 20] < 1


FIXED = dict(blur=0.01, doubling=3.5, colony=3.0, width=0.9, added=2.0, noise=0.0, signal=123.0)
FIXED |= dict(death=0.25, drift=0.5, texture=0.0)


@pytest.mark.parametrize("option", [*FIXED, "all"])
def test_what_is_fixed_arrives(option, monkeypatch):
    fixed = FIXED if option == "all" else {option: FIXED[option]}
    calls = recorded(monkeypatch)
    for seed in range(20):
        varied_rods(seed, 20, 200, **fixed)
    assert len(calls) == 20
    for arguments, options in calls:
        assert options.items() >= fixed.items()
        assert arguments[2] >= 1  # cells, however fast they grow


def test_without_fixed_options_all_are_drawn(monkeypatch):
    calls = recorded(monkeypatch)
    for seed in range(20):
        varied_rods(seed, 20, 200)
    for arguments, options in calls:
        assert set(options) == {*RANGES[arguments[3]], "colony"}
        assert options["blur"] >= 0.7 * arguments[5][0]  # as wide as a pixel allows
        assert 2 ** (20 / options["doubling"]) * arguments[2] < 2 * 500
    assert {arguments[3] for arguments, _ in calls} == {"rods", "rods-fluorescence"}


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: random_options("nuclei", np.random.default_rng(0)), "random_options: modality"),
        (lambda: simulate_rods(1, modality="nuclei"), "simulate_rods: modality 'nuclei'"),
        (lambda: simulate_movie(1, modality="x-ray"), "simulate_movie: modality 'x-ray'"),
        (lambda: simulate_rods(1, doubling=2), "simulated rods: doubling 2: give"),
        (lambda: simulate_rods(0), "simulated rods: 0 frames"),
        (lambda: simulate_movie(1, (3, 8, 8), modality="flat"), "simulated flat: frames of"),
        (
            lambda: simulate_movie(1, speeed=3),
            "simulated nuclei: no option 'speeed'; known: radius",
        ),
    ],
)
def test_errors_say_what_is_wrong(call, words):
    with pytest.raises(InputError) as caught:
        call()
    assert str(caught.value).startswith(words)


def test_random_options_are_options():
    for modality in RANGES:
        drawn = random_options(modality, np.random.default_rng(1))
        known = RodOptions if "rods" in modality else microscopes.CellOptions
        assert set(drawn) <= set(vars(known()))
        assert all(low <= drawn[k] <= high for k, (low, high) in RANGES[modality].items())
