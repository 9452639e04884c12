"""Run one notebook from top to bottom, as nbdev does. Warnings of celltrack's own code are errors.

python tools/test_notebook.py NOTEBOOK [real]    real: with the cells that need real movies
After a chapter its solutions run, and tools/answers.py feeds its checks right and wrong answers.
"""

import contextlib
import json
import sys
import warnings
from pathlib import Path

from IPython.core.interactiveshell import InteractiveShell
from nbdev.test import test_nb

from answers import feed_all


def run(path, flags):
    "Run a notebook; return whether it worked, and the module that it filled."
    worked, _ = test_nb(path, skip_flags=["real"], force_flags=flags)
    return worked, InteractiveShell._instance.user_module


def sources(path):
    "Return the code cells of a notebook."
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


def answers_work(path, chapter, answers):
    "Feed the checks of a chapter, print a line about each; return whether all is well."
    sys.modules["__main__"] = chapter  # where the chapter's own classes are looked up
    well = True
    with contextlib.chdir(path.parent):
        namespaces = vars(chapter), vars(answers)
        for name, fed, complaints in feed_all(path.stem, sources(path), *namespaces):
            for said in complaints:
                print(f"exercises: {name} {said}")
            print(f"exercises: {name}: {fed} wrong answers fed", flush=True)
            well &= not complaints
    return well


def main(path, flags):
    warnings.filterwarnings("error", module=r"celltrack\b|__main__")
    worked, chapter = run(path, flags)
    solutions = path.parent / "solutions" / path.name
    if not worked or not solutions.exists():
        return worked
    worked, answers = run(solutions, flags)
    return worked and answers_work(path, chapter, answers)


if __name__ == "__main__":
    sys.exit(not main(Path(sys.argv[1]), sys.argv[2:]))
