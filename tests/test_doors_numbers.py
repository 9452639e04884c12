"A number that poisons a movie: bad features, frames, costs and weights are named, not swallowed."

import dataclasses
import json
import resource
import subprocess
import sys
import time
from functools import partial

import numpy as np
import pandas as pd
import pytest
import tifffile
import torch
from safetensors.torch import save

from celltrack.assignment import solve_assignment
from celltrack.detections import cell_boxes, neighbour_distance
from celltrack.learn.store import check_size, find_weights, load_arrays, load_model
from celltrack.link import features
from celltrack.link.gnn import LinkNet, open_link_net
from celltrack.link.graph import candidate_graph
from celltrack.link.solve import Solver, distance_costs, solve_lineage
from celltrack.measure import measure_movie
from celltrack.movie import InputError, Movie
from celltrack.pipeline import open_tracker
from celltrack.segment.choose import Segment
from celltrack.segment.predict import Network, predict_maps
from celltrack.segment.unet import UNet
from celltrack.simulate import simulate_movie
from celltrack.track import sort
from celltrack.track.deepsort import DeepSort, HeightMotion
from celltrack.track.divide import Divide
from celltrack.track.kalman import BoxMotion, PointMotion
from celltrack.track.nearest import GlobalNearestNeighbour, NearestNeighbour
from celltrack.track.reid import EmbeddingNet, open_embedder
from celltrack.track.sort import Sort
from celltrack.tracks import Tracks, check_cells

TRACKERS = ["nearest", "global", "iou", "sort", "sort-divide", "optimum", "gnn", "gnn-greedy"]


@pytest.fixture(scope="module")
def cells():
    movie, truth = simulate_movie(10, (80, 80), cells=5, seed=3)
    return measure_movie(truth.labels, movie)


def spoilt(cells, column, value, row=7):
    "The table with one value replaced; the column holds objects, as after a bad CSV."
    column_of = cells[column].astype(object)
    column_of.iloc[row] = value
    return cells.assign(**{column: column_of})


def message(function, *args, **options):
    with pytest.raises(InputError) as found:
        function(*args, **options)
    return str(found.value)


def where(cells, row=7):
    return f"frame {cells.frame[row]}, label {cells.label[row]}"


@pytest.mark.parametrize("tracker", TRACKERS)
@pytest.mark.parametrize("value", [-1, 0, None, np.nan, np.inf, "big", 10**400])
def test_a_bad_area_is_named(cells, tracker, value):
    text = message(open_tracker(tracker).link, spoilt(cells, "area", value))
    assert "area" in text and where(cells) in text


@pytest.mark.parametrize("column", ["mean", "minor", "major", "border", "std", "y0", "x1", "x"])
@pytest.mark.parametrize("value", [None, np.nan, -np.inf, "?"])
def test_each_known_feature_is_checked(cells, column, value):
    text = message(check_cells, spoilt(cells, column, value))
    assert f"{column} is" in text and where(cells) in text


def test_other_columns_are_left_alone(cells):
    table = cells.assign(category="living", note=None)
    assert check_cells(table).category.eq("living").all()


def test_numbers_written_as_text_are_numbers(cells):
    table = cells.assign(area=cells.area.astype(str), mean=cells["mean"].astype(object))
    checked = check_cells(table)
    assert checked.area.dtype == float and checked["mean"].dtype == float
    a, b = (open_tracker("sort-divide").link(x) for x in (cells, table))
    assert (a.cells.track == b.cells.track).all()


def test_negative_axes_are_no_axes(cells):
    assert "minor -1" in message(check_cells, spoilt(cells, "minor", -1))


@pytest.mark.parametrize("tracker", TRACKERS)
@pytest.mark.parametrize(
    "frames",
    [
        lambda t: t + 2_000_000_000,
        lambda t: np.where(t == t.max(), 2_000_000_000, t),
        lambda t: t * 100_000,
        lambda t: t * 10**17,
        lambda t: t * 9_000,
    ],
)
@pytest.mark.parametrize("boxes", [True, False])
def test_large_frame_numbers(cells, tracker, frames, boxes):
    "A named error, or a result in time that grows with the cells."
    table = cells if boxes else cells[["frame", "label", "y", "x"]]
    begin = time.perf_counter()
    try:
        tracks = open_tracker(tracker).link(table.assign(frame=frames(table.frame)))
        assert len(tracks.cells) == len(table)
    except InputError as error:
        assert "the last is of frame" in str(error) and "rank" in str(error)
    assert time.perf_counter() - begin < 20


def test_what_the_message_about_frames_advises(cells):
    table = cells.assign(frame=cells.frame * 60_000 + 10**9)
    assert "cells.frame.rank(method='dense') - 1" in message(check_cells, table)
    frame = table.frame.rank(method="dense") - 1
    assert (check_cells(table.assign(frame=frame)).frame == cells.frame).all()


def test_a_long_movie_with_one_cell_late_is_legal(cells):
    for frame in (0, 20_000, 99_999):
        one = cells.iloc[:1].assign(frame=frame)
        assert len(Sort().link(one)) == len(Solver().link(one)) == 1


@pytest.mark.parametrize("frame", ["1e19", 1e19, 2**63, 0.5, "one"])
def test_frames_and_labels_are_whole_and_fit(cells, frame):
    for column in ("frame", "label"):
        assert f"{column} is {frame}" in message(check_cells, spoilt(cells, column, frame))


@pytest.mark.parametrize("tracker", TRACKERS)
@pytest.mark.parametrize("column", ["y", "x", "y0", "x1"])
@pytest.mark.parametrize("value", [1e150, -1e150, 1e308, 1e10])
def test_coordinates_out_of_all_pictures(cells, tracker, column, value):
    text = message(open_tracker(tracker).link, spoilt(cells, column, value))
    assert f"{column} is" in text and where(cells) in text


@pytest.mark.parametrize("tracker", TRACKERS)
@pytest.mark.parametrize("value", [1e9, -1e9, 1e-300])
def test_coordinates_far_but_possible(cells, tracker, value):
    table = cells[["frame", "label", "y", "x"]]
    tracks = open_tracker(tracker).link(spoilt(table, "y", value))
    assert len(tracks.links()[0]) > 0.8 * len(open_tracker(tracker).link(table).links()[0])


@pytest.mark.parametrize("tracker", ["sort-divide", "optimum", "gnn"])
@pytest.mark.parametrize("value", [1e300, 1e-300])
def test_areas_far_but_possible(cells, tracker, value):
    good, table = open_tracker(tracker).link(cells), spoilt(cells, "area", value)
    assert len(open_tracker(tracker).link(table).links()[0]) > 0.9 * len(good.links()[0])


def test_an_online_tracker_runs_for_weeks(cells):
    tracker = Sort(max_age=3)
    tracker.update(cells[cells.frame == 0])
    later = cells[cells.frame == 1].assign(frame=2_000_000_000)
    assert len(tracker.update(later)) == len(later) and tracker.frame == 2_000_000_000
    assert "in order" in message(tracker.update, later)


def test_frames_without_cells_change_nothing():
    "Skipped while nothing lives: the same tracks as of a tracker that takes each of them."
    movie, truth = simulate_movie(12, (80, 80), cells=5, seed=4)
    cells = measure_movie(truth.labels, movie)
    cells = cells[~cells.frame.isin([4, 5, 6, 7])].reset_index(drop=True)
    cells["frame"] += 5  # and none at the start
    for tracker in (Sort(), Sort(max_age=2), Sort.reference(), Sort.reference(min_hits=1)):
        online = type(tracker)(**vars_of(tracker))
        step_by_step = [online.update(cells[cells.frame == t]) for t in range(17)]
        a = pd.concat([x for x in step_by_step if len(x)], ignore_index=True)
        b = tracker.link(cells).cells
        keys = ["frame", "label", "track"]
        assert sorted(map(tuple, a[keys].to_numpy())) == sorted(map(tuple, b[keys].to_numpy()))


def vars_of(tracker):
    from dataclasses import fields

    return {f.name: getattr(tracker, f.name) for f in fields(tracker)}


@pytest.mark.parametrize("tracker", ["nearest", "global", "sort", "sort-divide", "optimum", "gnn"])
def test_cells_listed_twice_do_not_lose_all_links(cells, tracker):
    "The median distance to a neighbour is 0 then; it was the gate."
    table = cells[["frame", "label", "y", "x"]]
    twice = pd.concat([table, table.assign(label=table.label + 1000)], ignore_index=True)
    assert neighbour_distance(twice.frame.to_numpy(), twice[["y", "x"]].to_numpy()) > 1
    assert len(open_tracker(tracker).link(twice).links()[0]) > 0.8 * len(table)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e20])
@pytest.mark.parametrize("kind", ["link", "appear", "disappear", "divide"])
def test_the_solver_refuses_costs_that_are_none(cells, kind, bad):
    costs = distance_costs(cells)
    values = getattr(costs, kind).copy()
    values[3] = bad
    spoilt_costs = costs._replace(**{kind: values})
    assert f"costs: {kind} is {bad}" in message(solve_lineage, spoilt_costs)
    for how in ("optimum", "frames", "greedy"):
        linker = Solver(lambda *_: spoilt_costs, how)
        assert "(frame" in message(linker.link, cells)


@pytest.mark.parametrize("option", [{"birth": np.nan}, {"death": np.inf}, {"cost": [np.nan]}])
def test_the_assignment_refuses_costs_that_are_none(option):
    given = {"src": [0], "dst": [0], "cost": [1.0], "birth": 3.0} | option
    message(solve_assignment, **given)


def test_linkers_refuse_options_that_lose_all_links(cells):
    for bad in (np.nan, 0, -1):
        message(NearestNeighbour, bad)
        message(GlobalNearestNeighbour, bad)
        message(Sort, gate=bad)
        message(Sort, size=bad)
        message(Sort, spacing=(1, bad))
        message(Divide, gate=bad)
        message(Solver, time_limit=bad)
    message(Sort, min_hits=2_000_000_000)
    message(open_tracker, "iou", iou_threshold=np.nan)
    message(Sort.reference, iou_threshold=np.nan)
    message(PointMotion, velocity=np.nan)
    message(Divide, max_gap=-1)
    assert len(Divide(max_gap=2_000_000_000, late=10**9).link(cells).cells) == len(cells)
    for row in (cells.groupby("frame").head(1), cells):  # an infinite gate: all that is possible
        assert len(GlobalNearestNeighbour(np.inf).link(row).links()[0]) >= 0.8 * len(row) - 1


def test_a_table_of_tracks_is_checked_too(cells):
    tracks = Sort().link(cells)
    assert "area -1" in message(Tracks, spoilt(tracks.cells, "area", -1))


# weights


def write_weights(path, model, spoil=None, **notes):
    state = {name: value.clone() for name, value in model.state_dict().items()}
    if spoil is not None:
        name = next(name for name, value in state.items() if value.is_floating_point())
        state[name].view(-1)[0] = spoil
    text = json.dumps({"network": model.config} | notes)
    path.write_bytes(save(state, {"celltrack": text}))
    return path


@pytest.mark.parametrize("spoil", [np.nan, np.inf])
def test_weights_that_are_not_finite(tmp_path, spoil):
    for k, model in enumerate([UNet(widths=(4, 8)), LinkNet(width=8), EmbeddingNet()]):
        path = write_weights(tmp_path / f"{k}.safetensors", model, spoil)
        for door in (load_model, load_arrays):
            assert f"{k}.safetensors" in message(door, path)
            assert "NaN or infinite" in message(door, path)
    assert "NaN or infinite" in message(Network, tmp_path / "0.safetensors")
    assert "NaN or infinite" in message(open_link_net, tmp_path / "1.safetensors")
    assert "NaN or infinite" in message(open_embedder, tmp_path / "2.safetensors")


@pytest.mark.parametrize(
    "door, name, found, wanted, command",
    [
        (Network, "reid", "EmbeddingNet", "UNet or UNet2015", "train-unet"),
        (Network, "gnn", "LinkNet", "UNet or UNet2015", "train-unet"),
        (open_link_net, "generalist", "UNet", "LinkNet", "train-gnn"),
        (open_link_net, "reid", "EmbeddingNet", "LinkNet", "train-gnn"),
        (open_embedder, "generalist", "UNet", "EmbeddingNet or ReidNet", "train-reid"),
        (open_embedder, "gnn", "LinkNet", "EmbeddingNet or ReidNet", "train-reid"),
    ],
)
def test_weights_of_another_kind(door, name, found, wanted, command):
    text = message(door, name)
    assert f"weights of {found}, not of {wanted}" in text and f"`celltrack {command}`" in text


def test_weights_that_fit_in_kind_only(tmp_path):
    two = write_weights(tmp_path / "two.safetensors", UNet(outputs=2, widths=(4, 8)))
    assert "2 maps" in message(Network, two)
    few = write_weights(tmp_path / "few.safetensors", LinkNet(nodes=5, width=8))
    assert "other features" in message(open_link_net, few)
    for bad in ([1], {"threshold": None}, {"depht": 1}, {"seam": float("nan")}):
        odd = write_weights(tmp_path / "odd.safetensors", UNet(widths=(4, 8)), parameters=bad)
        assert "parameters" in message(Network, odd)


LARGE = [
    (UNet(widths=(4, 8)), "widths", [10**9] * 3),
    (UNet(widths=(4, 8)), "inputs", 10**9),
    (UNet(widths=(4, 8)), "outputs", 10**18),
    (LinkNet(width=8), "depth", 10**9),
    (LinkNet(width=8), "width", 10**9),
    (LinkNet(width=8), "nodes", 10**30),
    (EmbeddingNet(4), "width", 10**5),
    (EmbeddingNet(4), "slices", 10**9),
]


@pytest.mark.parametrize("model, name, value", LARGE)
def test_descriptions_of_enormous_networks(model, name, value, tmp_path):
    "Refused before anything is built: neither time nor memory is taken."
    network = model.config | {name: value}
    path = write_weights(tmp_path / "large.safetensors", model, network=network)
    before, begin = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    text = message(load_model, path)
    assert "large.safetensors: " in text and ("too few for" in text or "no network is" in text)
    assert time.perf_counter() - begin < 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB


def test_the_look_at_the_size_draws_no_random_numbers():
    for model in (UNet(widths=(4, 8)), LinkNet(width=8), EmbeddingNet(4)):
        state = torch.get_rng_state()
        check_size(model.config, model.state_dict())
        assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("name", ["a\0b", "x" * 5000, "", "none", "\ud800"])
def test_names_that_are_no_weights(name):
    message(find_weights, name)


def test_the_command_says_which_kind(tmp_path):
    movie = tmp_path / "movie.tif"
    tifffile.imwrite(movie, np.random.default_rng(0).random((2, 32, 32)).astype(np.float32))
    text = message(Segment([movie], tmp_path / "out", model="reid").run)
    assert "weights of EmbeddingNet, not of UNet" in text


# memory of `gnn`


def test_links_are_described_block_by_block(cells, monkeypatch):
    "The features are the same in blocks of any size, so that memory need not grow with them."
    movie, truth = simulate_movie(30, (120, 120), cells=12, seed=5)
    cells = measure_movie(truth.labels, movie)
    cells = cells[np.random.default_rng(0).random(len(cells)) > 0.1].reset_index(drop=True)
    links = candidate_graph(cells)
    whole = features.describe(cells, links, labels=truth.labels)
    blocks = features.link_blocks
    for most in (1, 50, 300):
        monkeypatch.setattr(features, "link_blocks", lambda links, most=most: blocks(links, most))
        assert len(blocks(links, most)) > 3
        assert np.array_equal(
            np.sort(np.concatenate(blocks(links, most))), np.arange(len(links.src))
        )
        again = features.describe(cells, links, labels=truth.labels)
        assert np.array_equal(whole.edges, again.edges, equal_nan=True)
        assert np.array_equal(whole.nodes, again.nodes)


MEASURE = """
import resource, sys
import numpy as np, pandas as pd, torch
torch.set_num_threads(1)
from celltrack.link.features import describe
from celltrack.link.graph import candidate_graph
from celltrack.link.gnn import open_link_net, predict_links
frames = int(sys.argv[1])
rng = np.random.default_rng(0)
n = 150
home = rng.random((n, 2)) * 300
rows = [pd.DataFrame({"frame": t, "label": np.arange(1, n + 1), "y": p[:, 0], "x": p[:, 1]})
        for t in range(frames) for p in [home + rng.normal(0, 2, (n, 2))]]
cells = pd.concat(rows, ignore_index=True)
net = open_link_net()
links = candidate_graph(cells)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
predict_links(net, describe(cells, links))
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(len(links.src), after - before)
"""


def test_memory_of_gnn_grows_with_its_tables_alone():
    "A link needs 216 bytes of features; all columns of all links at once would take 2,000 each."
    found = []
    for frames in (60, 240):
        done = subprocess.run(
            [sys.executable, "-c", MEASURE, str(frames)], capture_output=True, text=True, check=True
        )
        found.append(np.array(done.stdout.split(), float))
    links, kilobytes = found[1] - found[0]
    assert 1024 * kilobytes / links < 700, found


def test_torch_has_finite_weights_in_the_box():
    for name in ("generalist", "gnn", "reid"):
        model, _ = load_model(name)
        assert all(torch.isfinite(x).all() for x in model.state_dict().values())
    assert all(np.isfinite(x).all() for x in load_arrays("divide").values())


# parameters of linkers, axes, long waits


@pytest.mark.parametrize("value", ["text", "", None, [], [2], {}, np.nan, -1, 1e300 + 0j])
def test_parameters_of_linkers_are_numbers_in_a_range(value):
    for kind, options in (
        (Sort, ["gate", "max_age", "min_hits", "shrink"]),
        (Divide, ["gate", "late", "max_gap", "rounds"]),
        (DeepSort, ["gate", "weight", "budget", "max_age"]),
        (Sort.reference, ["max_age", "min_hits", "iou_threshold"]),
        (DeepSort.reference, ["max_age", "n_init", "max_cosine", "nn_budget"]),
        (Solver, ["window_links", "time_limit"]),
    ):
        for option in options:
            known = {"n_init": "n_init|min_hits", "nn_budget": "budget"}
            with pytest.raises(InputError, match=f"{known.get(option, option)} .*give a"):
                kind(**{option: value})
    if value is not None:
        for option in ("size", "spacing"):
            if option == "size" or not isinstance(value, list):
                assert option in message(Sort, **{option: value})
        assert "max_distance" in message(NearestNeighbour, value)
    assert "iou_threshold" in message(
        lambda: dataclasses.replace(open_tracker("iou"), iou_threshold=value)
    )


def test_parameters_far_but_possible(cells):
    few = len(open_tracker("global").link(cells).links()[0])
    for most in (1e9, 1e150, 1e300, np.inf):
        assert len(open_tracker("global", max_distance=most).link(cells).links()[0]) >= few
        assert len(open_tracker("nearest", max_distance=most).link(cells).links()[0]) >= few
        assert len(Divide(gate=most).link(cells).cells) == len(cells)
    assert len(Sort(max_age=10**12).link(cells).cells) == len(cells)


@pytest.mark.parametrize("tracker", [*TRACKERS, "sort-flow", "deepsort"])
def test_cells_of_other_axes_than_the_movie(tracker):
    movie, truth = simulate_movie(4, (48, 48), cells=3, seed=1)
    cells = measure_movie(truth.labels, movie).assign(z=1.0)
    for table in (cells, cells[["frame", "label", "z", "y", "x"]], cells.iloc[:0]):
        linker = DeepSort(None) if tracker == "deepsort" else open_tracker(tracker)
        assert "axes z y x" in message(linker.link, table, movie)


def test_boxes_without_an_inside_are_named_by_flow():
    movie, truth = simulate_movie(4, (48, 48), cells=3, seed=1)
    cells = measure_movie(truth.labels, movie).assign(y0=0, y1=0)
    assert "an empty box in frame 0" in message(open_tracker("sort-flow").link, cells, movie)


@pytest.mark.parametrize("spacing", [1e-300, 1e150, 1e308])
def test_spacings_of_no_microscope(spacing):
    assert "spacing" in message(Movie, np.zeros((2, 8, 8)), spacing=(spacing, 1))


def online(tracker, cells):
    "What an online tracker puts out in all: sorted rows of frame, label, track."
    out = [tracker.update(cells[cells.frame == t]) for t in sorted(set(cells.frame))]
    out = pd.concat([table for table in out if len(table)])[["frame", "label", "track"]]
    return sorted(map(tuple, out.to_numpy().tolist()))


MOVING = partial(PointMotion, velocity=1.0)
WAITING = {
    "sort": lambda age: Sort(max_age=age),
    "velocity": lambda age: Sort(max_age=age, motion=MOVING),
    "reference": lambda age: Sort.reference(max_age=age, min_hits=1),
    "deepsort": lambda age: DeepSort(None, max_age=age),
    "deepsort reference": lambda age: DeepSort.reference(age, 1, embedder=None),
}


@pytest.mark.parametrize("name", WAITING)
def test_a_long_wait_is_as_many_short_ones(cells, name, monkeypatch):
    late = cells.assign(frame=cells.frame + 400 * (cells.frame > 4))
    quick = online(WAITING[name](1000), late)
    tracks = WAITING[name](1000).link(late).cells
    assert sorted(map(tuple, tracks[["frame", "label", "track"]].to_numpy().tolist())) == quick
    monkeypatch.setattr(sort, "SHORT_WAIT", 10**9)
    assert online(WAITING[name](1000), late) == quick


@pytest.mark.parametrize("motion", [PointMotion, MOVING, BoxMotion, HeightMotion])
def test_what_is_expected_after_a_wait(cells, motion):
    models = [motion(2), motion(2)]
    first, second = (cell_boxes(cells[cells.frame == t].sort_values("label")[:3]) for t in (0, 1))
    for model in models:
        model.start(first)
        model.predict()
        model.update(np.arange(3), second)
    for _ in range(500):
        expected = models[0].predict()
    models[1].wait(499)
    assert np.allclose(expected, models[1].predict(), equal_nan=True)
    one, other = (getattr(model, "filter", model) for model in models)
    assert np.allclose(one.P, other.P) and np.allclose(one.v, other.v)


@pytest.mark.parametrize("name", WAITING)
def test_an_online_tracker_waits_a_billion_frames(cells, name):
    tracker = WAITING[name](2 * 10**9)
    begin = time.perf_counter()
    for t, frame in enumerate([0, 1, 2, 10**9, 10**9 + 1]):
        tracker.update(cells[cells.frame == t].assign(frame=frame))
    assert tracker.frame == 10**9 + 1 and time.perf_counter() - begin < 5


def test_a_gap_too_long_to_fill(cells):
    tracker = Sort(max_age=10**9, fill=True)
    tracker.update(cells[cells.frame == 0])
    text = message(tracker.update, cells[cells.frame == 0].assign(frame=10**8))
    assert "fill: " in text and "smaller max_age" in text


def test_weights_too_large_to_compute_with_are_named():  # they are finite, and pass at loading
    net = UNet(1, 3, (4, 8))
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(1e30 * (torch.arange(parameter.numel()) % 3 - 1).view_as(parameter))
    with pytest.raises(InputError, match="numbers that are not finite"):
        predict_maps(net.eval(), np.eye(32, dtype=np.float32))
