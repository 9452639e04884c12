"""Cell tracking from a microscopy movie to scored lineages."""

__version__ = "0.1.0"

import lazy_loader

# the names of __init__.pyi are imported when they are first used: `import celltrack` stays quick
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
