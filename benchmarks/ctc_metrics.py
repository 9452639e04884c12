"""SEG, DET, TRA and LNK from files: celltrack against py-ctcmetrics, in one run, one thread each.

    python benchmarks/ctc_metrics.py [--truth 01_GT] [--result 01_RES] [--repeat N]

Default is `Fluo-N2DL-HeLa_full/01` under $CELLTRACK_GOLDEN. All take turns, equally often. Prints CPU seconds, median and best,
their ratios to the peer's, the same with our label images already in memory, and the largest difference of the numbers.
"""
import argparse
import contextlib
import io
import os
import statistics
import sys
import time
from pathlib import Path

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"): os.environ[name] = "1"
HERE = Path(__file__).resolve().parent
sys.path = [p for p in sys.path if Path(p).resolve() != HERE]  # this file has the name of the peer's package

import numpy as np
from ctc_metrics.scripts.evaluate import evaluate_sequence

from celltrack.movie import Movie, read_image
from celltrack.score.ctc import COST, ctc, outlines_beside, read_pair
from celltrack.score.overlap import overlap
from celltrack.tracks import Tracks

METRICS = ["Valid", "SEG", "DET", "TRA", "LNK"]


def seconds(function):
    "Return (CPU seconds of one run, its value)."
    start = time.process_time()
    value = function()
    return time.process_time() - start, value


def theirs(truth, result):
    with contextlib.redirect_stdout(io.StringIO()):
        return evaluate_sequence(str(result), str(truth), list(METRICS), threads=1)


def in_memory(truth, result):
    "Return a function that scores the same folders with all label images read before."
    a, b, _, _ = read_pair(truth, result)
    first = a.labels.first
    hold = lambda tracks: Tracks(tracks.cells, tracks.lineage, Movie(np.asarray(tracks.labels), first=first), max_children=None)
    a, b = hold(a), hold(b)
    gold = [(g.labels, g.frame - first) for g in outlines_beside(truth / "TRA")]
    return lambda: ctc(a, b, masks=[overlap(image, b.labels[t]) for image, t in gold])


def main():
    golden = Path(os.environ.get("CELLTRACK_GOLDEN", "golden")) / "Fluo-N2DL-HeLa_full"
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--truth", type=Path, default=golden / "01_GT")
    parser.add_argument("--result", type=Path, default=golden / "01_RES")
    parser.add_argument("--repeat", type=int, default=3)
    args = parser.parse_args()
    files = sorted(p for folder in (args.truth, args.result) for p in folder.rglob("*.tif"))
    for path in files: read_image(path)  # both find the files in the cache of the operating system
    mine, held = lambda: ctc(*read_pair(args.truth, args.result)), in_memory(args.truth, args.result)
    peer, files_read, memory = "py-ctcmetrics, from files", "celltrack, from files", "celltrack, images in memory"
    functions = {peer: lambda: theirs(args.truth, args.result), files_read: mine, memory: held}
    times, values = {name: [] for name in functions}, {}
    for _ in range(args.repeat):  # other work on the machine slows everything: take turns
        for name, function in functions.items():
            spent, values[name] = seconds(function)
            times[name].append(spent)
    scores, expected = values[files_read], values[peer]
    names = {"AOGM": "AOGM", "AOGM_0": "AOGM_0", **{k: k for k in METRICS[1:]}, **{"AOGM_" + k: k for k in COST}}
    difference = max(abs(scores[name] - expected[key]) for key, name in names.items())
    print(f"{len(files)} label images;", *(f"{name} {scores[name]:.6f}" for name in METRICS[1:]), end="\n\n")
    print(f"| SEG + DET + TRA + LNK, {args.repeat} runs each | median s | peer / it | best s | peer / it |")
    print("|---|---|---|---|---|")
    for name, spent in times.items():
        ratios = [f"{f(spent):.3f} | {f(times[peer]) / f(spent):.1f}" for f in (statistics.median, min)]
        print(f"| {name} | {' | '.join(ratios)} |")
    print(f"\nlargest difference of {len(names)} numbers: {difference:.1e}")
    if not difference < 1e-9: raise SystemExit("the numbers differ")


if __name__ == "__main__": main()
