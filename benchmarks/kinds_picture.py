"""One picture per kind: what the generalist finds and misses on a kind that it never saw.

    python benchmarks/kinds_picture.py --packs FOLDER [--cache FOLDER]

Needs the four networks of kinds.py in its cache. Writes nbs/images/kinds.webp: a part of one
picture of each kind, with the cells that were found (IoU of at least .5 with a true one, blue),
pieces that are no cell (orange), and true cells that were missed (red). Two minutes on one core.
"""

import argparse
import textwrap
from pathlib import Path

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
import numpy as np
import torch
from scipy.ndimage import uniform_filter

import kinds
from celltrack.movie import contrast
from celltrack.score.overlap import frame_overlap, match_by_iou, seg
from celltrack.segment.augment import diameter_of, rescale, rescale_labels
from celltrack.segment.predict import Network
from celltrack.show import outlines
from tables import save_picture

COLOURS = {"found": (0.35, 0.65, 1.0), "no cell": (1.0, 0.6, 0.0), "missed": (1.0, 0.2, 0.2)}
COLUMNS = 6
SIDE = 7  # of the part that is shown, in typical cells
PIXELS = 200  # of it as drawn


def crowded_part(labels):
    "Return the window in which most cells are, SIDE cells wide."
    side = min(round(SIDE * diameter_of([labels])), *labels.shape)
    share = uniform_filter((labels > 0).astype(float), side, mode="constant")
    middle = np.array(np.unravel_index(share.argmax(), labels.shape))
    corner = np.clip(middle - side // 2, 0, np.array(labels.shape) - side)
    return tuple(slice(k, k + side) for k in corner)


def judged(frame, truth, labels):
    "Return (crowded part in colour, with outlines of found, missed, invented; SEG of the frame)."
    o = frame_overlap(truth, labels)
    pairs = match_by_iou(o)
    right, hit = o.result_labels[o.result[pairs]], o.truth_labels[o.truth[pairs]]
    part, shape = crowded_part(truth), (PIXELS, PIXELS)
    image = np.repeat(rescale(contrast(frame)[part], shape).clip(0, 1)[..., None], 3, -1)
    drawn = {
        "missed": np.where(np.isin(truth, hit), 0, truth),
        "no cell": np.where(np.isin(labels, right), 0, labels),
        "found": np.where(np.isin(labels, right), labels, 0),
    }
    for what, cells in drawn.items():
        image[outlines(rescale_labels(cells[part], shape))] = COLOURS[what]
    return image, seg([o])["SEG"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--packs", type=Path, required=True, help="folder of nuclei and phase")
    parser.add_argument("--cache", type=Path, default=Path("build/kinds"), help="of kinds.py")
    given = parser.parse_args()
    torch.set_num_threads(1)
    paths = kinds.places(given.packs)
    rows = -(-len(paths) // COLUMNS)
    fig, axes = plt.subplots(rows, COLUMNS, figsize=(9, 1.75 * rows), layout="constrained")
    for ax in axes.flat:
        ax.axis("off")
    for ax, (kind, path) in zip(axes.flat, paths.items(), strict=False):
        frames, images, _ = kinds.pictures_of(path)
        fullest = max(range(len(images)), key=lambda k: np.count_nonzero(images[k]))
        frame, truth = frames[fullest], images[fullest]
        net = given.cache / f"run {kinds.fold_of(kind)}" / "last.safetensors"
        image, score = judged(frame, truth, Network(net).segment(frame))
        ax.imshow(image)
        name = "\n".join(textwrap.wrap(kind.removesuffix("/01").replace("_", " "), 20))
        ax.set_title(f"{name}\nSEG {score:.2f}", fontsize=8)
    save_picture(fig, "kinds")


if __name__ == "__main__":
    main()
