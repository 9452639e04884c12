"""Cell tracking from a microscopy movie to scored lineages."""
__version__ = "0.1.0"

_LAZY = {"Movie": "movie", "Tracks": "tracks", "Scores": "score.overlap"}


def __getattr__(name):
    "Import the three nouns on first use, so that `import celltrack` stays quick."
    if name not in _LAZY: raise AttributeError(f"module 'celltrack' has no attribute {name!r}")
    from importlib import import_module
    return getattr(import_module(f"celltrack.{_LAZY[name]}"), name)


def __dir__(): return sorted([*globals(), *_LAZY])
