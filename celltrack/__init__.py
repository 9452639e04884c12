"""Cell tracking from a microscopy movie to scored lineages."""

__version__ = "0.1.0"

_MODULES = {  # a name is imported when it is first used, so that `import celltrack` stays quick
    "Movie": "movie",
    "Tracks": "tracks",
    "Scores": "score.overlap",
    "read_movie": "movie",
    "simulate_movie": "simulate",
    "measure_movie": "measure",
    "segment_movie": "segment.choose",
    "track_movie": "pipeline",
    "score_tracks": "score.panel",
    "show_movie": "show",
    "read_tracks": "convert",
    "write_tracks": "convert",
}


def __getattr__(name: str):
    "Import a name of the toolkit on first use."
    if name not in _MODULES:
        raise AttributeError(f"module 'celltrack' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"celltrack.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_MODULES])
