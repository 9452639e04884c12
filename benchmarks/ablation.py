"""What each part of the method is worth, on DIC-C2DH-HeLa: four small trainings, five ways to read
them, scored on frames never seen.

    python benchmarks/ablation.py --runs FOLDER

Writes nbs/tables/ablation.csv and ablation.json.
The first three quarters of sequence 01 teach (silver outlines, gold where there is), the last
quarter is scored, three frames lie between. The compact network at its own scale (a typical cell
has 24 pixels, and so the score is taken); the same steps, seed and number of crops for every
variant.
Rows with one map are read at a threshold of .5, the others with parameters fitted on frames that
teach. A run that was stopped goes on from its folder. Pixel and cell counts are stored frame by
frame; chapter 37 makes the table of them.
"""

import argparse
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from skimage.measure import label
from skimage.segmentation import expand_labels

from celltrack.learn.store import load_model
from celltrack.learn.train import TrainingConfig, train_network
from celltrack.score.overlap import frame_overlap, seg
from celltrack.segment.augment import Augment, Crops, split_time
from celltrack.segment.generalist import fit_parameters, read_source
from celltrack.segment.predict import predict_maps, to_cells
from celltrack.segment.targets import seams
from celltrack.segment.unet import UNet, cell_loss, cross_entropy
from tables import TABLES, run_record, write_table

MOVIE, TILE, CROPS, SIZE = "DIC-C2DH-HeLa/01", 48, 8, 96
TURN = Augment(True, 1.0, *[0.0] * 8)  # turned and mirrored, nothing else
BEND = Augment(True, 1.0, 0.0, 4.0, 40.0, *[0.0] * 5)  # and bent


def weighted(logits, target, weights, known):
    return cross_entropy(logits[:, 0], target[:, 0], known, weights)


def plain(logits, target, weights, known):
    return cross_entropy(logits[:, 0], target[:, 0], known)


RUNS = {  # name: (outputs, gaps between cells in the target, augmentation, loss)
    "cross-entropy": (1, True, TURN, plain),
    "border weights": (1, True, TURN, weighted),
    "elastic": (1, True, BEND, weighted),
    "watershed": (3, False, BEND, cell_loss),
}
ROWS = {  # what the table says: (run, tiles with context and crossfade)
    "cross-entropy": ("cross-entropy", False),
    "+ border weights": ("border weights", False),
    "+ elastic deformation": ("elastic", False),
    "+ seam and distance": ("watershed", False),
    "+ overlap-tile": ("watershed", True),
}


def pieces(maps):
    """Return labels: the connected pieces of the foreground, grown into the gaps between them,
    where the targets had none."""
    cells = label(maps[0] > 0.5, connectivity=1)
    wide = expand_labels(cells, 1)
    return np.where((cells > 0) | seams(wide), wide, 0)


def tiled(model, image):
    "Return the maps of tiles that know nothing of each other: no context, no crossfade."
    out = np.zeros((model.config["outputs"], *image.shape), np.float32)
    for y in range(0, image.shape[0], TILE):
        for x in range(0, image.shape[1], TILE):
            out[:, y : y + TILE, x : x + TILE] = predict_maps(
                model, image[y : y + TILE, x : x + TILE], TILE, overlap=0
            )
    return out


def learn(name, source, folder, steps):
    "Train one variant, or go on with it; return its network."
    outputs, gaps, augment, loss = RUNS[name]
    torch.manual_seed(0)
    model = UNet(outputs=outputs)
    crops = Crops([([source], CROPS)], SIZE, augment, gaps=gaps)
    made = {
        "made": dict(
            outputs=outputs,
            gaps=gaps,
            augment=asdict(augment),
            loss=loss.__name__,
            crops=CROPS,
            size=SIZE,
        )
    }
    plan = TrainingConfig(steps=steps, every=100, precision="bf16")
    train_network(model, crops, loss, plan, folder / name.replace(" ", "_"), notes=made)
    return load_model(folder / name.replace(" ", "_") / "last.safetensors")[0]


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--runs", type=Path, required=True, help="folder for the runs; unfinished ones go on"
    )
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--out", type=Path, default=TABLES)
    options = parser.parse_args()
    torch.set_num_threads(1)
    source, held = split_time(read_source(MOVIE))
    models = {}
    for name in RUNS:
        models[name] = learn(name, source, options.runs, options.steps)
    parameters = fit_parameters(models["watershed"], [source], samples=8)
    rows = []
    for row, (name, whole) in ROWS.items():
        read = (
            pieces
            if models[name].config["outputs"] == 1
            else lambda maps: to_cells(maps, **parameters)
        )
        for t, (frame, truth) in enumerate(zip(held.frames, held.labels, strict=True)):
            image = frame.astype(np.float32)
            labels, truth = (
                read(
                    predict_maps(models[name], image, TILE, TILE // 2)
                    if whole
                    else tiled(models[name], image)
                ),
                np.maximum(truth, 0),
            )
            scores = seg([frame_overlap(truth, labels)])
            rows.append(
                {
                    "variant": row,
                    "frame": t,
                    "both": int(((labels > 0) & (truth > 0)).sum()),
                    "either": int(((labels > 0) | (truth > 0)).sum()),
                    "jaccard": round(scores["SEG"] * scores["SEG cells"], 4),
                    "cells": scores["SEG cells"],
                    "found": int(labels.max()),
                }
            )
    table = pd.DataFrame(rows)
    settings = {
        "movie": MOVIE,
        "steps": options.steps,
        "crops": CROPS,
        "size": SIZE,
        "tile": TILE,
        "parameters": parameters,
    }
    packages = ["numpy", "scipy", "scikit-image", "torch"]
    record = run_record("ablation.py --runs FOLDER", packages, settings)
    write_table(table, record, options.out.resolve() / "ablation")
    sums = table.groupby("variant", sort=False)[["both", "either", "jaccard", "cells"]].sum()
    print(
        pd.DataFrame(
            {"pixel IoU": sums.both / sums.either, "SEG": sums.jaccard / sums.cells}
        ).round(3)
    )


if __name__ == "__main__":
    main()
