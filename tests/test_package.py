"""The installed package: what `import celltrack` offers, and what it does not load."""

import os
import pkgutil
import subprocess
import sys
from configparser import ConfigParser
from importlib.metadata import entry_points, version
from pathlib import Path

import pytest

import celltrack

HEAVY = {"numpy", "pandas", "scipy", "torch", "matplotlib", "skimage"}


def loaded_by(code):
    "Return the heavy packages that are loaded after `code` in a fresh interpreter."
    report = (
        f"import sys\ntry:\n    {code}\nexcept SystemExit: pass\n"
        f"print('\\n', *sorted({HEAVY} & sys.modules.keys()))"
    )
    out = subprocess.run(
        [sys.executable, "-c", report], capture_output=True, text=True, check=True
    ).stdout
    return out.splitlines()[-1].split()


def test_it_is_the_installed_one():
    if "CELLTRACK_INSTALLED" not in os.environ:
        pytest.skip("not run by tools/run_tests.py")
    assert Path(celltrack.__file__).is_relative_to(os.environ["CELLTRACK_INSTALLED"])


def test_version_is_that_of_settings():
    settings = ConfigParser(delimiters=["="])
    settings.read(Path(__file__).parent.parent / "settings.ini", encoding="utf-8")
    assert celltrack.__version__ == version("celltrack") == settings["DEFAULT"]["version"]


TOP = {
    "Movie": "movie",
    "Scores": "score.overlap",
    "Tracks": "tracks",
    "measure_movie": "measure",
    "read_movie": "files",
    "read_tracks": "convert",
    "score_tracks": "score.panel",
    "segment_movie": "segment.choose",
    "show_movie": "show",
    "simulate_movie": "simulate",
    "track_movie": "pipeline",
    "write_tracks": "convert",
}


def test_the_top_level_is_the_road_and_its_nouns():
    assert set(celltrack.__all__) == TOP.keys()


@pytest.mark.parametrize("name, module", TOP.items())
def test_names_of_the_top_level_come_from_their_modules(name, module):
    assert getattr(celltrack, name).__module__ == f"celltrack.{module}"
    assert name in dir(celltrack)


def test_no_other_name_is_made_up():
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = celltrack.no_such_name


def test_no_name_hides_a_module():
    modules = {m.name for m in pkgutil.iter_modules(celltrack.__path__)}
    assert not modules & TOP.keys()
    assert {"movie", "tracks", "formats", "score", "segment", "track"} <= modules


def test_every_module_imports():
    code = "import warnings; warnings.simplefilter('error', SyntaxWarning)\n" + "\n".join(
        f"import {m.name}"
        for m in pkgutil.walk_packages(celltrack.__path__, "celltrack.")
        if not m.name.endswith("_modidx")
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_import_loads_nothing_heavy():
    assert loaded_by("import celltrack") == []


def test_sort_divide_needs_no_torch():
    made = "import celltrack as ct; movie, truth = ct.simulate_movie(3, cells=4)"
    track = "ct.track_movie(movie, tracker='sort-divide', labels=truth.labels)"
    assert "torch" not in loaded_by(f"{made}; {track}")


def test_help_loads_nothing_heavy():
    assert (
        loaded_by(
            "sys.argv = ['celltrack', '--help']; from celltrack.cli import main; sys.exit(main())"
        )
        == []
    )


def test_the_command_is_installed():
    commands = [e for e in entry_points(group="console_scripts") if e.name == "celltrack"]
    assert {e.value for e in commands} == {"celltrack.cli:main"}
    assert callable(commands[0].load())


def test_the_network_in_the_box_is_installed_with_its_card():
    from celltrack.learn.store import find_weights
    from celltrack.segment.predict import Network

    path = Path(find_weights("generalist"))
    assert path.is_relative_to(Path(celltrack.__file__).parent)
    card = path.with_suffix(".md").read_text(encoding="utf-8")
    assert all(
        word in card
        for word in ("## Data", "## Runs", "celltrack train-unet", "## Scores", "## Licence")
    )
    assert sum(p.stat().st_size for p in path.parent.iterdir()) < 20e6
    assert Network().parameters["depth"] > 0
