"""Real cells beside simulated ones: the picture at the top of chapter 29.

    python benchmarks/microscopes.py --images FOLDER

FOLDER holds two open collections of images, one folder each: `phc_bacteria_micromorph` and
`fluo_bacteria_micromorph` (HoldenLab/micromorph, test-data, © 2025 Simone Coppola, BSD-3-Clause)
and `phc_t98g_usiigaci` (oist/Usiigaci, © 2018 Okinawa Institute of Science and Technology, MIT).
Writes nbs/images/microscopes.webp. Half a minute on one core.
"""

import argparse
import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import matplotlib
import numpy as np
import tifffile

matplotlib.use("agg")
import matplotlib.pyplot as plt

from celltrack.microscopes import simulate_rods
from celltrack.movie import contrast
from celltrack.simulate import simulate_movie
from tables import save_picture

REAL = {  # file, and the window that is shown
    "bacteria, phase contrast": ("phc_bacteria_micromorph/single-cell-phase_img.tif", (0, 0, 151)),
    "bacteria, stained membrane": (
        "fluo_bacteria_micromorph/example_stack_1_img.tif",
        (10, 0, 158),
    ),
    "flat cells, phase contrast": ("phc_t98g_usiigaci/set01_img.tif", (100, 100, 330)),
}


def simulated():
    "Return a simulated picture for each of the real ones."
    rod = dict(width=1.1, added=3.2, colony=1, blur=0.09, doubling=12)
    black = dict(noise=0.7, texture=0.05, signal=210)
    dark = simulate_rods(6, (151, 151), 1, seed=3, spacing=(0.07, 0.07), **rod, **black)[0]
    stained = dict(membrane=0.7, signal=700, haze=0.3, brightness_spread=0.1, noise=0.6, debris=40)
    place = dict(seed=5, spacing=(0.06, 0.06))
    glow = simulate_rods(8, (158, 158), 2, "rods-fluorescence", **place, **rod, **stained)[0]
    flat = simulate_movie(12, (330, 330), 16, "flat", seed=5)[0]
    return dark[5], glow[7], flat[11]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=Path, required=True, help="folder of the real images")
    folder = parser.parse_args().images
    fig, axes = plt.subplots(2, 3, figsize=(8, 5.6), layout="constrained")
    for column, (title, (file, (y, x, side))), made in zip(
        axes.T, REAL.items(), simulated(), strict=True
    ):
        real = tifffile.imread(folder / file)[y : y + side, x : x + side].astype(np.float32)
        for ax, image in zip(column, (real, made), strict=True):
            ax.imshow(contrast(image), vmin=0, vmax=1, cmap="gray")
            ax.set(xticks=[], yticks=[])
        column[0].set_title(title, fontsize=12)
    axes[0, 0].set_ylabel("real", fontsize=12)
    axes[1, 0].set_ylabel("simulated", fontsize=12)
    save_picture(fig, "microscopes")


if __name__ == "__main__":
    main()
