"""Run one notebook from top to bottom, as nbdev does. Warnings of celltrack's own code are errors.

python tools/test_notebook.py NOTEBOOK [real]    real: with the cells that need real movies
"""

import sys
import warnings
from pathlib import Path

from nbdev.test import test_nb

if __name__ == "__main__":
    warnings.filterwarnings("error", module=r"celltrack\b|__main__")
    worked, _ = test_nb(Path(sys.argv[1]), skip_flags=["real"], force_flags=sys.argv[2:])
    sys.exit(not worked)
