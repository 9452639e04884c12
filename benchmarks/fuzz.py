"""How much bad input do the doors of celltrack take? Prints a table: a row per door, its counts.

    python benchmarks/fuzz.py --inputs 10000                 all doors
    python benchmarks/fuzz.py --door mot --door coco         these
    python benchmarks/fuzz.py --door mot --seed 123          one input again, with its traceback
Each input is a small valid file, table or list of words, damaged at random: its number is its seed.
It is tried in a forked process that may take 4 GiB more memory, and 25 s. Right are two outcomes:
the input is fine, or it is refused with an InputError. Wrong are any other exception, a crash, a
hang, and a table of which all links are lost because of one number.
"""

import argparse
import os
import sys
import tempfile
import time
import traceback
from pathlib import Path

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")
os.environ.setdefault("MPLBACKEND", "agg")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from doors import DOORS
from fuzzing import OUTCOMES, fuzz, generator


def again(door, seed):
    "Try one input in this process; print what became of it."
    with tempfile.TemporaryDirectory() as folder:
        try:
            lost = door.try_one(generator(door, seed), Path(folder), door.base())
            print("all links lost in silence" if lost else "fine")
        except Exception:
            traceback.print_exc()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=500, help="of each door")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--door", action="append", choices=sorted(DOORS))
    parser.add_argument("--seed", type=int, help="try this input alone, with its traceback")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    doors = [DOORS[name] for name in options.door or DOORS]
    if options.seed is not None:
        return again(doors[0], options.seed)
    print("| door | inputs | " + " | ".join(OUTCOMES) + " | s |")
    print("|---|" + "---:|" * (len(OUTCOMES) + 2))
    wrong = []
    for door in doors:
        begin = time.perf_counter()
        seeds = range(options.first, options.first + options.inputs)
        report = fuzz(door, seeds, options.workers)
        counts = " | ".join(str(report.counts[k]) for k in OUTCOMES)
        seconds = time.perf_counter() - begin
        print(f"| {door.name} | {options.inputs} | {counts} | {seconds:.0f} |", flush=True)
        wrong += [(door.name, *failure) for failure in report.failures]
    for name, seed, outcome, message in wrong:
        print(f"--door {name} --seed {seed}: {outcome}: {message}")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
