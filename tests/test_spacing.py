"""The size of a pixel goes with the files: movie, truth and result, from command to command."""

import numpy as np
import pytest

from celltrack.cli import main
from celltrack.files import read_movie
from celltrack.formats.ctc import read_ctc
from celltrack.formats.dataset import open_sequence, write_sequence
from celltrack.score.mot import score_mot
from celltrack.simulate import simulate_movie

VOXEL = (5.0, 0.65, 0.65)


@pytest.fixture(scope="module")
def volumes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("volumes")
    movie, truth = simulate_movie(3, (6, 60, 50), 6, seed=1, spacing=VOXEL, radius=6)
    write_sequence(folder / "01", movie, truth, gold=truth.relabelled())
    return folder, movie, truth


def test_a_movie_and_its_truth_keep_the_size_of_a_voxel(volumes):
    folder, movie, truth = volumes
    again = read_movie(folder / "01")
    assert np.allclose(again.spacing, VOXEL, rtol=1e-6) and (np.asarray(again) == movie).all()
    for tracks in (read_ctc(folder / "01_GT"), open_sequence(folder / "01").tracks()):
        assert np.allclose(tracks.labels.spacing, VOXEL, rtol=1e-6)
        assert (np.asarray(tracks.labels) == np.asarray(truth.labels)).all()
    assert read_ctc(folder / "01_GT", spacing=(2, 1, 1)).labels.spacing == (2, 1, 1)


def test_a_result_keeps_it_too(volumes, tmp_path, capsys):
    folder, _, truth = volumes
    command = ["track", str(folder / "01"), "--model", "classic", "--out", str(tmp_path)]
    assert main(command) == 0
    assert "not stated" not in capsys.readouterr().err
    (result,) = tmp_path.glob("*/01_RES")
    assert np.allclose(read_ctc(result).labels.spacing, VOXEL, rtol=1e-6)


def test_distances_are_in_micrometres_whichever_way_the_tracks_came(volumes):
    folder, _, truth = volumes
    moved = truth.cells.assign(z=truth.cells.z + 1)  # one slice deeper
    apart = type(truth)(moved, truth.lineage, truth.labels)
    for one in (truth, read_ctc(folder / "01_GT")):
        scores = score_mot(one, apart, matching="point", max_distance=6.0)
        assert scores["ADE"] == pytest.approx(5.0, rel=1e-5)


def test_flat_movies_state_it_too_and_pixels_of_one_micrometre_say_nothing(tmp_path):
    for spacing in ((0.5, 0.4), (1.0, 1.0)):
        movie, truth = simulate_movie(2, (40, 30), 3, seed=1, spacing=spacing)
        write_sequence(tmp_path / f"{spacing[0]}" / "01", movie, truth)
        again = read_movie(tmp_path / f"{spacing[0]}" / "01")
        assert np.allclose(again.spacing, spacing, rtol=1e-6)
    plain = next((tmp_path / "1.0" / "01").glob("*.tif")).read_bytes()
    assert b"ImageJ" not in plain


def test_volumes_of_unknown_size_get_a_word(tmp_path, capsys):
    movie, _ = simulate_movie(2, (4, 30, 30), 3, seed=1, spacing=(1, 1, 1))
    write_sequence(tmp_path / "01", movie)
    segment = ["segment", str(tmp_path / "01"), "--model", "classic"]
    assert main([*segment, "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().err
    assert said.count("the size of its voxels is not stated, and taken as 1 µm") == 1
    told = ["--spacing", "3", "1", "1", "--out", str(tmp_path / "told")]
    assert main([*segment, *told]) == 0
    assert "not stated" not in capsys.readouterr().err
