"""Masks of cells against plain loops over boolean images, and rods drawn at known places."""

import numpy as np
import pytest

from celltrack.detections import Detections
from celltrack.measure import measure_movie
from celltrack.movie import Movie
from celltrack.shapes import (
    Grid,
    frame_forms,
    frame_runs,
    mask_pairs,
    overlap_table,
    pair_columns,
    read_shapes,
    select_shapes,
)
from celltrack.simulate import simulate_movie
from celltrack.track.divide import (
    APPEAR_FEATURES,
    DIVISION_FEATURES,
    GAP_FEATURES,
    HYPOTHESIS_KINDS,
    Divide,
)
from celltrack.track.sort import Sort

COLONY = {"modality": "rods", "seed": 4, "spacing": (0.1, 0.1), "interval": 5.0, "doubling": 4.2}


@pytest.fixture(scope="module")
def colony():
    film, truth = simulate_movie(8, (120, 120), 3, **COLONY)
    return film, truth.labels, truth.cells[::-1].reset_index(drop=True)  # the last one moves


@pytest.fixture(scope="module")
def shapes(colony):
    film, labels, cells = colony
    return read_shapes(labels, cells, film)


def runs_of(shapes, row):
    mine = shapes.cell == row
    return shapes.start[mine].tolist(), shapes.length[mine].tolist()


def assert_no_mask(shapes, row):
    assert shapes.forms.pixels[row] == 0 and runs_of(shapes, row) == ([], [])
    assert all(np.isnan(column[row]).all() for column in shapes.forms[1:])
    assert (shapes.flow[row] == 0).all()


def assert_same_cell(shapes, row, other, other_row):
    assert runs_of(shapes, row) == runs_of(other, other_row)
    for one, two in zip((shapes.flow, *shapes.forms), (other.flow, *other.forms), strict=True):
        assert np.array_equal(one[row], two[other_row])


# ---- tables with other cells


@pytest.mark.parametrize("place", ["first", "last"])
def test_a_foreign_cell_has_no_mask(colony, shapes, place):
    _, _, cells = colony
    assert np.abs(shapes.flow[-1]).max() > 0
    table = cells.sample(frac=0.8, random_state=1).reset_index(drop=True)
    foreign = 0 if place == "first" else len(table) - 1
    table.loc[foreign, "label"] = 10_000
    found = select_shapes(shapes, table)
    assert_no_mask(found, foreign)
    rows = shapes.keys.get_indexer(list(zip(table.frame, table.label, strict=True)))
    assert (np.diff(found.start) > 0).all() and len(found.keys) == len(table)
    for row in np.flatnonzero(rows >= 0):
        assert_same_cell(found, row, shapes, rows[row])
    last_of_all = np.flatnonzero(rows == len(cells) - 1)  # what the row -1 would be
    assert all(found.forms.pixels[last_of_all] > 0)
    shuffled = select_shapes(found, cells)
    assert (shuffled.forms.pixels > 0).sum() == len(table) - 1


def any_weights():
    "Weights of three networks that have learned nothing."
    rng = np.random.default_rng(0)
    weights = {}
    tables = DIVISION_FEATURES, GAP_FEATURES, APPEAR_FEATURES
    for kind, features in zip(HYPOTHESIS_KINDS, tables, strict=True):
        k = len(features)
        one = {"mean": np.zeros(k), "scale": np.ones(k), "direct": rng.normal(size=k)}
        one |= {"hidden": np.zeros((k, 1)), "bias": np.zeros(1), "out": np.zeros(1)}
        weights |= {f"{kind}.{name}": array for name, array in one.items()}
        weights[f"{kind}.constant"] = np.zeros(())
    return weights


def test_interpolated_cells_have_no_mask(monkeypatch):
    film, truth = simulate_movie(20, (160, 160), 20, seed=3)
    cells = truth.cells
    rng = np.random.default_rng(0)
    gone = (rng.random(len(cells)) < 0.1) & cells.frame.between(3, 16)
    kept = cells[~gone].reset_index(drop=True)
    known = []

    def spy(*args):
        known.append((select_shapes(*args), args[1]))
        return known[-1][0]

    monkeypatch.setattr("celltrack.track.divide.select_shapes", spy)
    tracks = Divide(Sort(fill=True), any_weights()).link(kept, film, truth.labels)
    (found, table), *others = known
    added = np.flatnonzero(~table.observed)
    assert not others and len(added) > 10 and len(tracks.cells) >= len(table)
    whole = read_shapes(truth.labels, kept, film)
    rows = whole.keys.get_indexer(list(zip(table.frame, table.label, strict=True)))
    assert sorted(rows[rows >= 0]) == list(range(len(kept)))
    for row in range(len(table)):
        if rows[row] < 0:
            assert_no_mask(found, row)
        else:
            assert_same_cell(found, row, whole, rows[row])
    assert (rows[added] < 0).all()


def test_without_shapes_nothing_is_known(shapes):
    src, dst = np.arange(3), np.arange(3) + 1
    columns = pair_columns(mask_pairs(None, src, dst))
    assert all(column.shape == (3,) and np.isnan(column).all() for column in columns.values())
    assert [*columns] == [*pair_columns(mask_pairs(shapes, src, dst))]


# ---- moved masks


def blobs(rng, n_frames, shape, n, side):
    "Label images of boxes with holes, some of them at the edges."
    frames = np.zeros((n_frames, *shape), int)
    for frame in frames:
        for label in range(1, n + 1):
            corner = [int(rng.integers(-side // 2, size)) for size in shape]
            box = tuple(slice(max(c, 0), c + side) for c in corner)
            frame[box] = np.where(rng.random(frame[box].shape) < 0.9, label, frame[box])
    return frames


def moved_mask(mask, step):
    "The mask moved by whole pixels; what leaves the frame is gone."
    out = np.zeros_like(mask)
    place = np.argwhere(mask) + step
    place = place[((place >= 0) & (place < mask.shape)).all(1)]
    out[tuple(place.T)] = True
    return out


CASES = {
    "2D": ((40, 50), 20, 9, (1.0, 1.0)),
    "2D, rows left out": ((200, 130), 24, 44, (0.25, 1.0)),
    "3D": ((9, 24, 30), 20, 8, (2.0, 1.0, 0.5)),
}


@pytest.mark.parametrize("lag", [1, 2])
@pytest.mark.parametrize("case", CASES)
def test_moved_masks_against_a_loop(case, lag):
    shape, n, side, spacing = CASES[case]
    rng = np.random.default_rng(len(case) + lag)
    labels = Movie(blobs(rng, 5, shape, n, side), spacing=spacing)
    cells = measure_movie(labels)
    shapes = read_shapes(labels, cells)
    grid = shapes.grid
    if "left out" in case:
        assert max(grid.stride) > 1
    d, count = len(shape), len(cells)
    steps = rng.integers(-9, 10, (count, d))
    steps[rng.random(count) < 0.3] = 0
    shift = (steps + rng.uniform(-0.4, 0.4, (count, d))) * grid.unit
    wanted = rng.random(count) < 0.8
    masks = [
        grid.take(labels[t]) == label for t, label in zip(cells.frame, cells.label, strict=True)
    ]
    expected = {}
    cut = np.zeros((d, 2), int)  # cells that leave the frame, by axis and side
    for i in np.flatnonzero(wanted):
        moved = moved_mask(masks[i], steps[i])
        place = np.argwhere(masks[i]) + steps[i]
        cut += np.stack([(place < 0).any(0), (place >= grid.shape).any(0)], axis=1)
        for j in np.flatnonzero(cells.frame == cells.frame[i] + lag):
            common = int((moved & masks[j]).sum())
            if common:
                expected[i * count + j] = common
    assert cut.min() >= 1 and len(expected) > 30  # every edge is crossed
    for block in (50, 1_000_000):
        found = overlap_table(shapes, lag, shift, wanted, block=block)
        assert dict(zip(found.code.tolist(), found.pixels.astype(int), strict=True)) == expected
    still = overlap_table(shapes, lag, block=50)
    plain = {
        i * count + j: int((masks[i] & masks[j]).sum())
        for i in range(count)
        for j in np.flatnonzero(cells.frame == cells.frame[i] + lag)
    }
    plain = {code: pixels for code, pixels in plain.items() if pixels}
    assert dict(zip(still.code.tolist(), still.pixels.astype(int), strict=True)) == plain


# ---- forms


def draw_rod(shape, spacing, one, two, radius):
    "Mask of all pixels within a radius of a segment, in physical units."
    place = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1) * spacing
    along = two - one
    share = ((place - one) @ along / (along @ along)).clip(0, 1)
    return np.linalg.norm(place - one - share[..., None] * along, axis=-1) <= radius


RODS = [
    ((120, 300), (1.0, 0.5), (2, 3), (1, 2)),
    ((300, 120), (0.5, 1.0), (1, 1), (0, 0)),
    ((50, 100, 200), (2.0, 1.0, 0.5), (1, 1, 1), (0, 0, 0)),
    ((50, 100, 200), (2.0, 1.0, 0.5), (1, 2, 3), (0, 1, 2)),
]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("shape, spacing, stride, origin", RODS)
def test_rods_of_known_ends(shape, spacing, stride, origin, seed):
    rng = np.random.default_rng(seed)
    spacing = np.array(spacing)
    unit = spacing * stride
    extent = np.array(shape) * spacing
    direction = rng.normal(size=len(shape))
    direction /= np.linalg.norm(direction)
    middle = extent / 2 + rng.uniform(-3, 3, len(shape))
    half_length, radius = 30.0, 8.0
    inner = (half_length - radius) * direction
    frame = draw_rod(shape, spacing, middle - inner, middle + inner, radius).astype(int)
    at_the_edge = any(frame.take([0, -1], axis=axis).any() for axis in range(frame.ndim))
    assert not at_the_edge
    on_grid = tuple(-(-(n - o) // s) for n, o, s in zip(shape, origin, stride, strict=True))
    grid = Grid(origin, stride, on_grid, unit)
    rows, forms = frame_forms(*frame_runs(grid.take(frame), np.array([1]), np.array([0])), grid)
    assert rows.tolist() == [0]
    step = np.linalg.norm(unit)
    assert np.abs(forms.centre[0] - middle).max() < 0.1 * step
    assert abs(forms.axis[0] @ direction) > 0.999
    ends = np.stack([end[0] for end in forms.ends])
    if forms.axis[0] @ direction < 0:
        ends = ends[::-1]
    known = middle + half_length * np.array([[-1], [1]]) * direction
    assert np.linalg.norm(ends - known, axis=1).max() < 0.7 * step
    # the half width is that of an ellipse or ellipsoid with the variance of a thin rod's section
    assert radius * 0.98 < forms.half_width[0] < radius * 1.2
    assert np.isclose(forms.size[0] ** len(shape), frame.sum() * spacing.prod(), rtol=0.02)


def test_a_stray_pixel_is_no_end():
    frame = draw_rod((80, 160), (1, 1), np.array([40, 40]), np.array([40, 80]), 6).astype(int)
    frame[40, 155] = 1
    grid = Grid((0, 0), (1, 1), frame.shape, np.ones(2))
    _, forms = frame_forms(*frame_runs(frame, np.array([1]), np.array([0])), grid)
    assert 155 - forms.centre[0, 1] > 90  # the stray pixel, along the axis
    assert 26 <= forms.high[0] < 40 and 26 <= -forms.low[0] < 40


def test_centres_are_where_the_cells_are():
    film, truth = simulate_movie(4, (120, 130), 6, seed=2, spacing=(0.5, 0.5))
    repeated = [np.kron(frame, np.ones((3, 4), int)) for frame in truth.labels]
    labels = Movie(np.stack([np.pad(f, ((9, 0), (5, 0))) for f in repeated]), spacing=(0.2, 0.1))
    cells = measure_movie(labels)
    shapes = read_shapes(labels, cells)
    assert min(shapes.grid.stride) > 1 and min(shapes.grid.origin) > 0
    position = Detections.from_cells(cells, labels).position
    apart = (shapes.forms.centre - position) / shapes.grid.unit
    assert np.abs(apart).max() < 0.2 and np.abs(apart.mean(0)).max() < 0.05
