"""The solver on more cells than 16 bits can count, and its proof against scipy's branch and bound;
the graph network across windows."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st
from scipy.optimize import Bounds, LinearConstraint, milp

from celltrack.link.solve import (
    Costs,
    Solver,
    central_duals,
    integer_program,
    lineage_cost,
    lower_bound,
    solve_lineage,
    uncertain_links,
)
from celltrack.tracks import check_tracks


def grid(side, frames=2):
    y, x = (k.ravel() for k in np.mgrid[:side, :side] * 10.0)
    tables = [
        pd.DataFrame(
            {"frame": t, "label": np.arange(1, len(y) + 1), "y": y + t, "x": x + t, "area": 20.0}
        )
        for t in range(frames)
    ]
    return pd.concat(tables, ignore_index=True)


def test_more_cells_than_16_bits():
    cells = grid(260)
    tracks = Solver().link(cells)
    check_tracks(tracks)
    assert len(cells) > 2 * 65_535 and len(tracks) == 260**2 > 65_535
    assert (
        not tracks.cells.duplicated(["frame", "track"]).any()
        and tracks.lineage.track.max() == 260**2
    )
    assert (tracks.cells.groupby("track").label.nunique() == 1).all()


@st.composite
def problems(draw):
    rng, n = np.random.default_rng(draw(st.integers(0, 10**6))), draw(st.integers(2, 30))
    frame = np.sort(rng.integers(0, 6, n))
    pairs = np.argwhere(
        (frame[None] - frame[:, None] > 0)
        & (frame[None] - frame[:, None] < 4)
        & (rng.random((n, n)) < 0.5)
    )
    least = draw(st.sampled_from([0.0, -6.0]))
    return Costs(
        frame,
        *pairs.T,
        rng.uniform(0, 6, len(pairs)),
        rng.uniform(0, 6, n),
        rng.uniform(least, 6, n),
        rng.uniform(least, 6, n),
    )


@settings(deadline=None, max_examples=60)
@given(p=problems(), most=st.sampled_from([1, 20, 10**6]))
def test_solver_is_the_optimum(p, most):
    program = integer_program(p, np.arange(len(p.src)), np.zeros(len(p.frame), int))
    found = solve_lineage(p, most, ahead=10)
    if len(p.src):
        n, b = len(program.objective), len(program.earlier)
        both = np.zeros((b, n))
        for variables in (program.disappears, program.divides):
            both[np.arange(b), variables] = 1
        best = milp(
            program.objective,
            integrality=np.ones(n),
            bounds=Bounds(0, 1),
            constraints=[
                LinearConstraint(program.equations, program.right_side, program.right_side),
                LinearConstraint(both, -np.inf, 1),
            ],
        )
        cells = np.arange(len(p.frame))
        appear = p.appear[np.setdiff1d(cells, program.later)].sum()
        disappear = p.disappear[np.setdiff1d(cells, program.earlier)].sum()
        assert np.isclose(found.cost, best.fun + appear + disappear, atol=1e-6)
    assert np.isclose(found.cost, lineage_cost(p, found.chosen))
    assert found.bound <= found.cost + 1e-9
    if found.status == "linear":
        assert found.proven
    assert lower_bound(p, central_duals(p, found)) <= found.cost + 1e-9
    assert (uncertain_links(p, found).margin > -1e-9).all() or not found.proven


def test_notes_do_not_change_the_linker():
    linker = Solver()
    before = repr(linker)
    notes = linker.link(grid(5)).notes
    assert repr(linker) == before and linker == Solver()
    assert notes["gap"] < 1e-6 and notes["status"] == "linear"
    table = notes["uncertain_links"]
    assert len(table) == 25 and (np.diff(table.margin) >= 0).all()


@pytest.mark.parametrize("name", ["gnn", "gnn-greedy"])
def test_padding_and_scale_do_not_matter(name):
    from celltrack.measure import measure_movie
    from celltrack.movie import Movie
    from celltrack.pipeline import open_tracker
    from celltrack.simulate import simulate_movie

    movie, truth = simulate_movie(8, (120, 120), 20, seed=3)
    cells = measure_movie(truth.labels, movie)
    coarse = Movie(movie.frames, movie.name, (3.0, 3.0), movie.interval)
    larger = measure_movie(Movie(truth.labels.frames, spacing=(3.0, 3.0)), coarse)
    moved = cells.assign(**{k: cells[k] + 50 for k in ("y", "x", "y0", "x0", "y1", "x1")})
    parts = [
        {
            frozenset(zip(g.frame, g.label, strict=True))
            for _, g in open_tracker(name).link(c, m).cells.groupby("track")
        }
        for c, m in ((cells, movie), (larger, coarse), (moved, None))
    ]
    assert parts[0] == parts[1] == parts[2]
