"""How many cells must one draw? SEG of a network that learns from a few pictures of one kind.

    python benchmarks/recipe.py FOLDER [--start generalist] [--cells 10 30 100 300] [--cache FOLDER]

FOLDER holds pictures with masks, as `celltrack train-unet` takes it. Half of the pictures,
drawn by the seed, are the test: nothing is learned from them and nothing is chosen on them. From
the others come training sets of about 10, 30, 100 and 300 annotated cells: whole pictures until the
number is reached, of the last one the left part only. Each is learned from as the command does it,
a quarter held out and early stopping included, once from the start weights and once from scratch
with as many steps. The start weights without any training are the baseline.
SEG and F1 (IoU of .5) are those of chapter 20.
Writes nbs/tables/recipe.csv and its run record. What was trained is kept in the cache folder, so a
run that was stopped goes on. The typical size of a cell is measured on all masks of the folder.
"""

import argparse
import os
import zlib
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd
from scipy import ndimage

from celltrack.learn.store import find_weights, load_model
from celltrack.movie import InputError
from celltrack.score.overlap import frame_overlap, seg, segmentation
from celltrack.segment.augment import hold_out
from celltrack.segment.generalist import (
    TrainUnet,
    fit_parameters,
    maps_of,
    read_source,
    train_segmenter,
)
from celltrack.segment.predict import PARAMETERS, SEGMENTING, to_cells
from tables import kept, kept_for, run_record, write_table

STEPS = 300  # for 100 cells; for others by the square root of their number
OPTIONS = {"simulated": 0, "crops": 8}


def halves(source, seed):
    "Return (training pictures in random order, test): numbers of the pictures."
    order = np.random.default_rng(seed).permutation(len(source)).tolist()
    middle = len(order) // 2
    return order[middle:], sorted(order[:middle])


def with_cells(source, order, count):
    "Return the Source of the first pictures with `count` whole cells; of the last its left part."
    part = source.part([])
    for t in order:
        missing = count - part.cell_count()
        if missing <= 0:
            break
        labels = source.labels[t]
        ends = sorted(at[1].stop for at in ndimage.find_objects(labels) if at)
        width = ends[missing - 1] if missing < len(ends) else labels.shape[1]
        part.frames.append(source.frames[t][:, :width])
        part.labels.append(labels[:, :width])
    return part


def scored(model, parameters, test):
    "Return SEG, F1 at IoU .5 and the number of true cells of the test."
    tables = []
    for frame, labels in zip(test.frames, test.labels, strict=True):
        maps = maps_of(model, frame, test.scale)
        found = to_cells(maps, test.scale, **parameters)
        tables.append(frame_overlap(np.maximum(labels, 0), found))
    whole = segmentation(tables)
    return {"SEG": seg(tables)["SEG"], "F1": whole["F1"], "test cells": whole["cells in truth"]}


def trained(part, start, steps, seed, folder):
    "Train as the command does; return (network, parameters of `to_cells`, step of the weights)."
    options = TrainUnet([], folder, start=start, steps=steps, seed=seed, **OPTIONS)
    learn, held = hold_out(part, options.split, options.held, options.gap, options.seed)
    notes = {"learned from": learn.cell_count()}
    train_segmenter(options, [[learn]], [held] if held else [], notes=notes)
    model, notes = load_model(folder)
    return model, fit_parameters(model, [learn]), notes["step"]


def rows_of(source, start, seed, counts, steps, cache):
    "Yield a row per network of one seed."
    order, tested = halves(source, seed)
    test = replace(source.part(tested), name="test")
    common = {"folder": source.name, "seed": seed, "test pictures": len(test)}

    def untrained():
        model, notes = load_model(start, SEGMENTING)
        return scored(model, PARAMETERS | notes.get("parameters", {}), test)

    found = kept(cache / f"start {seed}.pickle", untrained)
    yield common | {"network": "start weights", "cells": 0, "annotated": 0} | found
    for count in counts:
        part = with_cells(source, order, count)
        if part.cell_count() < 0.8 * count:
            continue
        planned = max(round(steps * (count / 100) ** 0.5), 1)
        for network, first in (("from start", start), ("from scratch", None)):
            place = f"{network} {count} {seed}"

            def result(part=part, first=first, planned=planned, place=place):
                run = trained(part, first, planned, seed, cache / place)
                return scored(*run[:2], test) | {"step": run[2]}

            facts = {"network": network, "cells": count, "annotated": part.cell_count()}
            facts |= {"pictures": len(part), "steps": planned}
            yield common | facts | kept(cache / f"{place}.pickle", result)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="pictures with masks")
    parser.add_argument("--start", default="generalist", help="weights to begin with")
    parser.add_argument("--cells", type=int, nargs="+", default=[10, 30, 100, 300])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=STEPS, help="for 100 cells")
    parser.add_argument("--cache", type=Path, default=Path("build/recipe"))
    parser.add_argument("--out", default="recipe", help="name in nbs/tables, or path of the CSV")
    parser.add_argument("--note", default="", help="what the start weights are, for the record")
    given = parser.parse_args()
    source = read_source(given.folder)
    weights = zlib.crc32(find_weights(given.start).read_bytes())
    cache = kept_for(given.cache, [source.name, weights, given.steps, OPTIONS])
    rows = []
    for seed in given.seeds:
        told = source, given.start, seed, given.cells, given.steps, cache
        for row in rows_of(*told):
            rows.append(row)
            print(
                {k: round(v, 3) if isinstance(v, float) else v for k, v in row.items()}, flush=True
            )
    settings = {
        "folder": source.name,
        "pictures": len(source),
        "cells in all": source.cell_count(),
        "start": given.note or Path(given.start).name,
        "cells": given.cells,
        "seeds": given.seeds,
        "steps for 100 cells": given.steps,
        **OPTIONS,
    }
    record = run_record("recipe.py FOLDER", ["numpy", "scipy", "torch"], settings)
    write_table(pd.DataFrame(rows).round(4), record, given.out)


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        raise SystemExit(f"recipe.py: {error}") from None
