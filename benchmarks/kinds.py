"""Leave one kind of picture out: how good is the generalist on a microscope that it never saw?

    python benchmarks/kinds.py --packs FOLDER [--cache FOLDER] [--folds A B C D] [--steps 3000]

Writes nbs/tables/kinds.csv. FOLDER holds the packs `nuclei` and `phase`: one folder of pictures
with masks for each kind; the movies of the challenge lie under $CELLTRACK_DATA. The kinds are
shared out among four folds by family, so that pictures of one source are never learned from and
tested on. For each fold a network learns from all other kinds, from the movies of other families
and from simulated movies, and is tested on the kinds left out. Kinds in NEVER are learned from in
no fold. Beside it: the network of the next fold, which saw the kind and learned as many steps; the
shipped weights, which learned from all but those in NEVER; those of the version before (--first
FILE); and the classic segmenter. Each is scored with the diameter that it finds by itself, in each
picture, and with the true one. Trained networks are kept in the cache folder, and so are scores, by
kind, segmenter and the content of its weights: a killed run goes on.
"""

import argparse
import os
import time
import zlib
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd
import torch

from celltrack.formats.dataset import open_sequence
from celltrack.images import read_image
from celltrack.labels import LabelFiles
from celltrack.learn.store import find_weights, load_model
from celltrack.learn.train import save_model
from celltrack.score.overlap import frame_overlap, seg, segmentation
from celltrack.segment.augment import NORMAL, diameter_of
from celltrack.segment.choose import classic
from celltrack.segment.generalist import (
    TrainUnet,
    annotations,
    fit_parameters,
    picture_pairs,
    read_source,
    train_segmenter,
)
from celltrack.segment.predict import Network
from tables import kept, kept_for, run_record, write_table

MOVIES = ["DIC-C2DH-HeLa/01", "Fluo-N2DH-SIM+/01", "Fluo-N2DL-HeLa/01", "PhC-C2DL-PSC/01"]
FAMILIES = {  # family: what the names of its kinds begin with
    "nuclei of many labs": ["dsb256"],
    "nuclei of screens": ["dsb360", "dsb520", "bbbc039", "Fluo-N2DL-HeLa"],
    "large nuclei, tissue": ["bsst"],
    "whole cells, ovules": ["wc_", "plant"],
    "yeast": ["phc_yeast", "bf_yeast"],
    "bacteria": ["phc_bacteria", "fluo_bacteria", "bf_ecoli"],
    "flat cells in phase contrast": ["phc_t98g", "phc_a549"],
    "spotted nuclei": ["Fluo-N2DH-SIM+"],
    "small cells in phase contrast": ["PhC-C2DL-PSC"],
    "DIC": ["DIC-C2DH-HeLa"],
}
FOLDS = {
    "A": ["nuclei of many labs", "yeast", "DIC"],
    "B": ["nuclei of screens", "bacteria"],
    "C": ["large nuclei, tissue", "whole cells, ovules", "small cells in phase contrast"],
    "D": ["flat cells in phase contrast", "spotted nuclei"],
}
# masks of low quality, or a licence that was read second hand: to test on, never to learn from
NEVER = ["dic_cho", "phc_c2c12", "fluo_ecoli"]
OPTIONS = {"simulated": 3, "held": 0.0}
MOST = 8  # pictures of a kind that are scored


def family_of(name):
    "Return the family of a kind; None for those in NEVER."
    short = name.split("/")[0] if name in MOVIES else Path(name).name
    for family, begins in FAMILIES.items():
        if short.startswith(tuple(begins)):
            return family
    if short.startswith(tuple(NEVER)):
        return None
    raise SystemExit(f"{name}: of no family")


def fold_of(name):
    "Return the fold in which a kind is left out; D for those that are never learned from."
    family = family_of(name)
    return next((fold for fold, families in FOLDS.items() if family in families), "D")


def places(packs):
    "Return {kind: path or name} of all kinds and movies."
    folders = [path for pack in ("nuclei", "phase") for path in sorted((packs / pack).iterdir())]
    kinds = {path.name: path for path in folders if path.is_dir() and "montage" not in path.name}
    return kinds | {name: Path(name) for name in MOVIES}


def train(fold, sources, paths, cache, steps):  # {kind: Source}, {kind: its place}
    "Return the file of the network that learned from all kinds but those of a fold."
    groups = {}
    for name, source in sources.items():
        if fold_of(name) != fold and family_of(name):
            pack = "" if name in MOVIES else paths[name].parent.name  # drawn together
            groups.setdefault(pack or name, []).append(replace(source, pack=pack))
    learn = list(groups.values())
    out = cache / f"run {fold}"
    options = TrainUnet([], out, steps=steps, every=max(steps // 12, 1), **OPTIONS)
    train_segmenter(options, learn, [])
    path = out / "last.safetensors"
    model, notes = load_model(path)
    if "parameters" not in notes:
        few = [s.part(np.unique([0, len(s) - 1])) for group in learn for s in group]
        parameters = fit_parameters(model, few, rounds=1)
        save_model(model, path, **notes | {"parameters": parameters})
    return path


def pictures_of(path):
    "Return (pictures, label images, whether they are frames of one movie) to score."
    if str(path) in MOVIES:
        sequence = open_sequence(path)
        found = annotations(sequence)
        pick = np.linspace(0, len(found) - 1, MOST).round().astype(int)
        numbers = [sorted(found)[k] for k in pick]
        frames = [sequence.movie[t - sequence.movie.first] for t in numbers]
        return frames, [found[t][0] for t in numbers], True
    pairs = picture_pairs(path)
    pairs = [pairs[k] for k in np.unique(np.linspace(0, len(pairs) - 1, MOST).round().astype(int))]
    masks = LabelFiles([mask for _, mask in pairs])
    return [read_image(p) for p, _ in pairs], [masks[k] for k in range(len(pairs))], False


def overlaps_of(images, frames, segmenters):
    "Return the Overlaps of each frame by its segmenter, and how certain this one was."
    tables, certainty = [], []
    for image, frame, segmenter in zip(images, frames, segmenters, strict=True):
        tables.append(frame_overlap(image, segmenter.segment(frame)))
        certainty.append(getattr(segmenter, "certainty", np.nan))
    return tables, certainty


def row_of(kind, path, who, make):
    "Return the scores of a segmenter: with the diameter that it finds, and with the true one."
    frames, images, one_movie = pictures_of(path)
    true = [diameter_of(images if one_movie else [image]) for image in images]
    if one_movie:
        found = [make(None).fit(frames)] * len(frames)
    else:
        found = [make(None).fit([frame]) for frame in frames]
    told = [make(d if np.isfinite(d) else NORMAL) for d in true]
    begin = time.process_time()
    own, sure = overlaps_of(images, frames, found)
    given, _ = overlaps_of(images, frames, told)
    seconds = time.process_time() - begin
    sizes = [getattr(s, "diameter", None) or 2 * s.radius for s in found]
    off = np.abs(np.log(np.array(sizes) / true))
    return {
        "kind": kind,
        "family": family_of(kind) or "never learned from",
        "segmenter": who,
        "pictures": len(frames),
        "cells": sum(len(o.truth_area) for o in own),
        "SEG": round(seg(own)["SEG"], 4),
        "F1": round(segmentation(own)["F1"], 4),
        "SEG, true diameter": round(seg(given)["SEG"], 4),
        "F1, true diameter": round(segmentation(given)["F1"], 4),
        "true diameter": round(float(np.nanmedian(true)), 1),
        "found diameter": round(float(np.nanmedian(sizes)), 1),
        "within 20 %": round(float(np.mean(off[np.isfinite(true)] < np.log(1.2))), 3),
        "certainty": round(float(np.nanmean(sure)), 3) if np.isfinite(sure).any() else np.nan,
        "seconds": round(seconds / 2 / len(frames), 2),
    }


def segmenters_of(kind, nets, first):  # {fold: weights}
    "Return {segmenter: (its weights, function of a diameter that makes it)} for a kind."
    folds = list(FOLDS)
    other = folds[(folds.index(fold_of(kind)) + 1) % len(folds)]
    weights = {"never saw this kind": nets[fold_of(kind)], "first edition": first}
    weights["shipped"] = find_weights("generalist")
    if family_of(kind):
        weights["saw this kind"] = nets.get(other)
    makers = {who: (w, lambda d, w=w: Network(w, d)) for who, w in weights.items() if w}
    return makers | {"classic": (None, lambda d: classic(diameter=d))}


def place_of(cache, kind, who, weights):
    "Return where a row is kept; other weights, another place."
    which = f" {zlib.crc32(weights.read_bytes()):08x}" if weights else ""
    return cache / "rows" / f"{kind.replace('/', '_')} {who}{which}.pickle"


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--packs", type=Path, required=True, help="folder of nuclei and phase")
    parser.add_argument("--cache", type=Path, default=Path("build/kinds"), help="kept here")
    parser.add_argument("--first", help="weights of the version before")
    parser.add_argument("--folds", nargs="+", default=list(FOLDS), help="only these")
    parser.add_argument("--steps", type=int, default=3000)
    given = parser.parse_args()
    torch.set_num_threads(1)
    first = given.first and find_weights(given.first)
    paths = places(given.packs)
    sources = kept(
        kept_for(given.cache, list(paths)) / "sources.pickle",
        lambda: {name: read_source(path) for name, path in paths.items()},
    )
    nets = {f: train(f, sources, paths, given.cache, given.steps) for f in given.folds}
    rows = []
    for kind in (name for name in paths if fold_of(name) in nets):
        segmenters = segmenters_of(kind, nets, first)
        for who, (weights, make) in segmenters.items():
            place = place_of(given.cache, kind, who, weights)
            rows.append(kept(place, lambda k=kind, w=who, m=make: row_of(k, paths[k], w, m)))
        print(pd.DataFrame(rows[-len(segmenters) :]).to_string(index=False), flush=True)
    table = pd.DataFrame(rows)
    settings = OPTIONS | {"steps": given.steps, "folds": FOLDS, "never learned from": NEVER}
    settings["first edition"] = first and Path(first).name
    settings["data"] = {name: len(source) for name, source in sources.items()}
    record = run_record("kinds.py --packs FOLDER", ["numpy", "scipy", "torch"], settings)
    if set(given.folds) == set(FOLDS):
        write_table(table, record, "kinds")


if __name__ == "__main__":
    main()
