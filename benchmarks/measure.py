"""Region features: celltrack.measure against skimage.measure.regionprops_table, the same features,
in the same run.

python benchmarks/measure.py [--repeat 5]
"""

import argparse
import time
from functools import partial

import numpy as np
from skimage.measure import regionprops_table

from celltrack.measure import measure_frame
from celltrack.simulate import simulate_movie

FEATURES = [
    "label",
    "area",
    "centroid",
    "bbox",
    "axis_major_length",
    "axis_minor_length",
    "intensity_mean",
    "intensity_min",
    "intensity_max",
    "intensity_std",
]
CASES = [
    ("2D, course size", (256, 256), 40),
    ("2D, the target's frame", (2048, 2048), 2000),
    ("2D, crowded", (2048, 2048), 5000),
    ("3D", (32, 256, 256), 100),
]


def best(function, repeat):
    "Return the shortest of `repeat` times in seconds."
    times = []
    for _ in range(repeat):
        begin = time.perf_counter()
        function()
        times.append(time.perf_counter() - begin)
    return min(times)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=5)
    repeat = parser.parse_args().repeat
    print(
        f"{'frame':24} {'cells':>6} {'in cells':>8} {'celltrack ms':>13} "
        f"{'scikit-image ms':>16} {'ratio':>6}"
    )
    for name, shape, cells in CASES:
        movie, truth = simulate_movie(1, shape, cells=cells, seed=0)
        image, labels = movie[0], truth.labels[0]
        features = FEATURES + (["orientation", "eccentricity"] if len(shape) == 2 else [])
        ours = measure_frame(labels, image)
        theirs = regionprops_table(labels, image, properties=features)
        assert np.array_equal(ours.label, theirs["label"]) and np.allclose(
            ours["std"], theirs["intensity_std"]
        )
        assert np.allclose(ours.major, theirs["axis_major_length"], atol=1e-6)
        a = best(partial(measure_frame, labels, image), repeat)
        peer = partial(regionprops_table, labels, image, properties=features)
        b = best(peer, max(1, repeat // 2))
        print(
            f"{name:24} {len(ours):6} {(labels > 0).mean():8.0%} {a * 1e3:13.1f} "
            f"{b * 1e3:16.1f} {b / a:6.1f}"
        )


if __name__ == "__main__":
    main()
