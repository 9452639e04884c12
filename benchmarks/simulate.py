"""Seconds to simulate movies with their truth, and as ratios: per million pixels, per thousand
cells.

`python benchmarks/simulate.py` prints one row per movie; `--long` adds 1024² × 100 frames of 2,000
cells, drawn lazily.
"""

import resource
import sys
import time

from celltrack.simulate import simulate_movie

MOVIES = {
    "nuclei, 30 cells": dict(frames=60),
    "dic, 12 cells": dict(frames=60, cells=12, modality="dic"),
    "phase, 80 cells": dict(frames=60, cells=80, modality="phase"),
    "3D, 20 cells": dict(frames=20, shape=(16, 128, 128), cells=20),
    "10,000 cells": dict(frames=3, shape=(2048, 2048), cells=10_000),
}
LONG = {"long and lazy": dict(frames=100, shape=(1024, 1024), cells=2000, lazy=True)}


def main():
    simulate_movie(1, (32, 32), 2)  # imports
    print(
        f"{'movie':<20}{'frames':>8}{'frame':>14}{'cells':>9}{'seconds':>9}"
        f"{'s / Mpixel':>12}{'s / 1000 cells':>16}{'peak MB':>9}"
    )
    for name, wish in (MOVIES | (LONG if "--long" in sys.argv else {})).items():
        start = time.perf_counter()
        movie, truth = simulate_movie(**wish)
        seconds = time.perf_counter() - start
        pixels = 1
        for n in movie.shape:
            pixels *= n
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            f"{name:<20}{len(movie):>8}{'×'.join(map(str, movie.frame_shape)):>14}"
            f"{len(truth.cells):>9}{seconds:>9.2f}{seconds / pixels * 1e6:>12.3f}"
            f"{seconds / max(len(truth.cells), 1) * 1000:>16.3f}{peak:>9.0f}"
        )


if __name__ == "__main__":
    main()
