"""Score segmenters on the last quarter of four real sequences, and write
nbs/tables/segmentation.csv and .json.

    python benchmarks/segmentation.py --held RUN [RUN ...] --full RUN [RUN ...]
RUN: folders of trainings, each begun with the last weights of the one before (the card of the
weights has their commands). Those of --held hold the last quarter out. The last weights count: no
frame that is scored has chosen the step. Those of the last full run are written to
celltrack/weights, in half precision, and the card is written anew. Rows: the run that never saw the
frames, the shipped weights (which have), and the classic segmenter (presets fitted on these
sequences). Nothing is set by hand: each segmenter finds the size of the cells in the movie. Each
row twice: as found, and after `refine`. SEG against gold where frames have it, and against
silver outlines (SIM+: gold, complete); DET by the gold markers.
"""

import argparse
import json
from dataclasses import fields
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from celltrack.formats.dataset import open_sequence
from celltrack.learn.store import load_model
from celltrack.learn.train import save_model
from celltrack.movie import Movie, atomic
from celltrack.score.ctc import OPERATIONS
from celltrack.score.overlap import frame_overlap, seg
from celltrack.score.panel import as_markdown
from celltrack.segment.augment import NORMAL
from celltrack.segment.choose import open_segmenter
from celltrack.segment.generalist import COMPACT, TrainUnet
from celltrack.segment.predict import refine
from tables import TABLES, WEIGHTS, run_record, write_table

MOVIES = ["DIC-C2DH-HeLa/01", "Fluo-N2DH-SIM+/01", "Fluo-N2DL-HeLa/01", "PhC-C2DL-PSC/01"]


def det(tables):  # Overlaps of true markers with a result
    "Return DET from node operations alone: 1 - (10 FN + 5 NS + FP) / (10 true cells), at least 0."
    cost = cells = 0
    for o in tables:
        hits = np.bincount(o.result[o.matched], minlength=len(o.result_area))
        missed = len(o.truth_area) - o.matched.sum()
        cost += (
            OPERATIONS["FN"].cost * missed
            + OPERATIONS["NS"].cost * (hits - 1).clip(min=0).sum()
            + OPERATIONS["FP"].cost * (hits == 0).sum()
        )
        cells += OPERATIONS["FN"].cost * len(o.truth_area)
    return 1 - min(cost, cells) / cells if cells else float("nan")


def overlaps_of(truth, labels, numbers):  # {frame: image}; labels of the frames of these numbers
    "Return the overlap of each frame that has a truth."
    return [
        frame_overlap(truth[number].labels, labels[k])
        for k, number in enumerate(numbers)
        if number in truth
    ]


def rows_of(name, model, share=0.25):
    """Return the scores of one segmenter on the last frames of one movie, as they are and after
    `refine`."""
    sequence = open_sequence(name)
    movie = sequence.movie
    gold, silver, markers = (
        {image.frame: image for image in images}
        for images in (sequence.gold, sequence.silver, sequence.markers)
    )
    segmenter = open_segmenter(model, movie)
    pick = range(round(len(movie) * (1 - share)), len(movie))
    found = [segmenter.segment(movie[t]) for t in pick]
    size = getattr(segmenter, "diameter", None) or 2 * segmenter.radius
    base = {"movie": name, "frames": len(pick), "diameter": round(size, 1)}
    for refined, labels in ((False, found), (True, refine(Movie(found, shape=movie.frame_shape)))):
        numbers = [movie.first + t for t in pick]
        drawn = overlaps_of(gold, labels, numbers)
        yield base | {
            "refined": refined,
            "gold_cells": sum(len(o.truth_area) for o in drawn),
            "SEG_gold": round(seg(drawn)["SEG"], 4),
            "SEG_silver": round(seg(overlaps_of(silver or gold, labels, numbers))["SEG"], 4),
            "DET": round(det(overlaps_of(markers, labels, numbers)), 4),
        }


CARD = """# generalist

The network that `celltrack segment` and `celltrack track` use by default, second edition: it finds
cells in flat pictures of fluorescence, phase contrast, bright field and DIC, bright on dark or dark
on bright. Architecture: `celltrack.segment.unet.UNet` with {network}: {parameters:,} parameters,
stored in half precision. A typical cell is shown to it {normal:.0f} pixels wide; its maps are
foreground, seam and distance, made into cells with {reading}.

## Data

- The first sequences of {movies} of the Cell Tracking Challenge (silver outlines, gold where there
  is; Fluo-N2DH-SIM+: gold). No frame of the second sequences. The images belong to their providers
  (celltrackingchallenge.net) and are not part of celltrack.
- Movies simulated by `celltrack.simulate` and `celltrack.microscopes`: {share} of each batch of
  the last run.
- Packs of pictures under permissive licences, {kinds} kinds (cropped; fragments removed, masks
  renumbered):
{sources}

Not learned from: `dic_cho_bbbc030` (its licence was read second hand), `phc_c2c12_laptrack` and
`fluo_ecoli_colicoords` (loose masks). They are only tested on. `packs/flat` in a command is a
folder of the two kinds of flat cells, taken out of `packs/phase` so that they are drawn more often.

## Runs

Each begins with the last weights of the one before, as its command says; the first with random
ones:

{runs}
All on CPUs, in {precision}, with the same data, network and optimizer; each DATA gives the same
number of crops to a batch. The runs with a quarter held out never saw the last quarter of the
sequences, nor the three frames before it, nor a quarter of the pictures of each kind. The scores of
the last of them are the honest ones, with two reservations: the typical diameter that sets the
magnification in training is measured on all frames, and the recipe was chosen with a look at the
frames held out. The runs after it saw everything, and the weights of the last are shipped: its
scores on the same frames are no test; they only show that it has learned no less.

## Scores on the last quarter

{table}

SEG against gold (frames that have it), against silver (SIM+: gold, all cells), DET by the gold
markers; nothing set by hand. `python benchmarks/segmentation.py` writes this card.

## Kinds of pictures that it never saw

Networks of the same recipe, each without whole families of pictures (`benchmarks/kinds.py`;
{kinds_folds} networks, {kinds_steps} steps each). SEG and F1 at IoU .5; each finds the diameter by
itself. The four movies are no test of the first edition, which learned from them, nor of classic,
whose presets were chosen on them:

{unseen}

## Licence

Apache License 2.0, as celltrack. Whoever uses scores or pictures of the challenge's movies keeps to
its conditions of use.
"""

# beginnings of the names of kinds: what their card must say
SOURCES = {
    "dsb": "BBBC038v1, available from the Broad Bioimage Benchmark Collection [Caicedo et al., "
    "Nature Methods 16:1247, 2019]; corrected masks by K. Lopuhin et al. (CC0)",
    "bbbc039": "BBBC039v1 (Caicedo et al., Cytometry Part A, 2019), available from the Broad "
    "Bioimage Benchmark Collection (Ljosa et al., Nature Methods, 2012) (CC0)",
    "bsst": "Kromp F. et al., An annotated fluorescence image dataset for training nuclear "
    "segmentation methods, Sci Data 7:262 (2020), BioStudies S-BSST265 (CC0)",
    "plant, wc_plant": "PlantSeg (Wolny et al., eLife 2020) test data, (c) 2019 Heidelberg "
    "Collaboratory for Image Processing, (c) 2024 European Molecular Biology Laboratory (MIT); "
    "GoNuclear (Vijayan et al., Development 2024)",
    "wc_epithelium": "EpiTools sample data, (c) 2022-2023 EpiTools Developers (BSD 3-Clause)",
    "phc_t98g": "Tsai H.-F. et al., Usiigaci, SoftwareX 2019, (c) 2018 Okinawa Institute of "
    "Science & Technology Graduate University (MIT)",
    "phc_yeast": "YeastVision, (c) 2022 North Carolina State University (BSD 3-Clause)",
    "bf_yeast_traps": "Pietsch J. M. J. et al., eLife 12:e79812 (2023), BABY, (c) 2023 Julian "
    "Pietsch, Alan Munoz and Diane Adjavon (MIT)",
    "bf_yeast_cellstar": "CellStar sample (BSD)",
    "phc_a549": "cytounet, (c) 2021 Nelson Gonzabato (MIT)",
    "phc_bacteria, fluo_bacteria": "micromorph, (c) 2025 Simone Coppola (BSD 3-Clause)",
    "bf_ecoli": "ColiCoords, (c) 2018 Jochem Smit (MIT)",
}


def sources_of(kinds):
    "Return a line per source of the pictures, with its kinds; stop at a kind of no source."
    lines = {}
    for kind in kinds:
        short = Path(kind).name
        begins = [b for b in SOURCES if short.startswith(tuple(b.split(", ")))]
        if len(begins) != 1:
            raise SystemExit(f"{kind}: SOURCES must name its source once")
        lines.setdefault(begins[0], []).append(f"`{short}`")
    return "\n".join(f"  - {', '.join(found)}: {SOURCES[b]}" for b, found in lines.items())


def recipe(run, held, goes_on):  # folder; what it must have held out, whether it began trained
    """Return what the trainings must have in common; stop where a run is unfinished, or another
    than it is said to be."""
    config = json.loads((run / "config.json").read_text())
    _, notes = load_model(run / "last.safetensors")
    data, plan = config["data"], config["plan"]
    if notes["step"] != plan["steps"] or "parameters" not in notes:
        raise SystemExit(f"{run}: not finished")
    if data["start"] != ("last.safetensors" if goes_on else None):
        raise SystemExit(f"{run}: begun with {data['start']}")
    names = data["learned_from"]
    if not set(MOVIES) <= set(names):
        raise SystemExit(f"{run}: other movies")
    if (data["held"], data["gap"], data["split"]) != (held, 3, "time"):
        raise SystemExit(f"{run}: holds out {data['held']}")
    how = {k: plan[k] for k in ("optimizer", "decay", "warmup", "clip", "precision")}
    how |= {k: data[k] for k in ("crops", "simulated", "size", "augment", "border", "network")}
    return how | {"learned_from": sorted(n if n in MOVIES else Path(n).name for n in names)}


def put_in_box(run):
    "Store the last weights of a run in the package, in half precision."
    model, notes = load_model(run / "last.safetensors")
    save_model(model.half(), WEIGHTS / "generalist.safetensors", **notes)


def places_of(names):
    "Return the DATA of a run: the kinds of a pack were given as one folder."
    return list(dict.fromkeys(n if n in MOVIES else f"packs/{n.split('/')[0]}" for n in names))


def command_of(config):
    "Return the command of a run: every option that is not the default."
    data, given = config["data"], config["plan"] | config["data"]
    given["patience"] = given["patience"] or 0  # None in a plan: it never stops early
    changed = [
        f"--{f.name} {given[f.name]}"
        for f in fields(TrainUnet)
        if f.name in given and given[f.name] not in (None, f.default)
    ]
    places = " ".join(places_of(data["learned_from"]))
    return f"celltrack train-unet {places} --out RUN {' '.join(changed)}"


def unseen():
    "Return the scores of kinds left out as Markdown, the steps of those networks, their number."
    table = pd.read_csv(TABLES / "kinds.csv")
    record = json.loads((TABLES / "kinds.json").read_text())
    columns = ["family", "kind", "pictures", "cells", "SEG", "F1"]
    mine = table[table.segmenter == "never saw this kind"].set_index("kind")
    for who in ("first edition", "classic"):
        mine[f"SEG, {who}"] = table[table.segmenter == who].set_index("kind").SEG
    shown = mine.reset_index()[[*columns, "SEG, first edition", "SEG, classic"]]
    return as_markdown(shown.set_index("family")), record["steps"], len(record["folds"])


def card(held, full, table):  # folders of the runs, in their order; of scores
    "Write the card of the shipped weights."
    lines = []
    for run in held + full:
        what = "everything" if run in full else "a quarter of each held out"
        config, log = json.loads((run / "config.json").read_text()), pd.read_csv(run / "log.csv")
        plan, data = config["plan"], config["data"]
        frames = ", ".join(f"{k} {v}" for k, v in data["learned_from"].items())
        lines += [
            f"- {what}: `{command_of(config)}`",
            f"  (frames: {frames}; loss at the end {log.loss.iloc[-1]:.3f})",
            "",
        ]
    model, notes = load_model(WEIGHTS / "generalist.safetensors")
    kinds = [name for name in data["learned_from"] if name not in MOVIES]
    real = data["crops"] * len(places_of(data["learned_from"]))
    others, steps, folds = unseen()
    whole = table.diameter.round().astype(int)
    text = CARD.format(
        network=", ".join(f"{k} {v}" for k, v in model.config.items() if k in COMPACT),
        parameters=sum(p.numel() for p in model.parameters()),
        normal=NORMAL,
        reading=", ".join(f"{k} {v}" for k, v in notes["parameters"].items()),
        runs="\n".join(lines),
        movies=", ".join(name.removesuffix("/01") for name in MOVIES),
        kinds=len(kinds),
        sources=sources_of(kinds),
        precision={"bf16": "bfloat16", "32": "float32"}[plan["precision"]],
        share=f"{data['simulated']} of {real + data['simulated']} crops",
        table=as_markdown(table.assign(diameter=whole).set_index("segmenter")),
        unseen=others,
        kinds_steps=f"{steps:,}",
        kinds_folds=folds,
    )
    with atomic(WEIGHTS / "generalist.md") as new:
        new.write_text(text)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--held", type=Path, nargs="+", default=[], help="folders of runs that never saw the frames"
    )
    parser.add_argument(
        "--full",
        type=Path,
        nargs="+",
        default=[],
        help="folders of runs that saw all; default: the shipped weights stay",
    )
    parser.add_argument("--out", type=Path, default=TABLES / "segmentation.csv")
    options = parser.parse_args()
    torch.set_num_threads(1)
    held = [recipe(run, 0.25, goes_on=k > 0) for k, run in enumerate(options.held)]
    if options.full:
        full = [recipe(run, 0, goes_on=True) for run in options.full]
        if not held or any(other != full[0] for other in held + full):
            raise SystemExit(f"{options.full[0]}: give --held RUN of the same recipe")
        sources_of(name for name in full[0]["learned_from"] if name not in MOVIES)
        unseen()  # what the card needs is there
        put_in_box(options.full[-1])
    segmenters = {"shipped": "generalist", "classic": "classic"}
    if options.held:
        last = options.held[-1] / "last.safetensors"
        segmenters = {"never saw these frames": str(last)} | segmenters
    rows = []
    for who, model in segmenters.items():
        for name in MOVIES:
            rows += [{"segmenter": who, **row} for row in rows_of(name, model)]
            print(pd.DataFrame(rows[-2:]).to_string(index=False, header=len(rows) == 2), flush=True)
    packages = ["numpy", "scipy", "scikit-image", "torch"]
    record = run_record("segmentation.py --held RUN ... --full RUN ...", packages, {})
    if options.held:
        record["held"] = [json.loads((run / "config.json").read_text()) for run in options.held]
    write_table(pd.DataFrame(rows), record, options.out.resolve())
    if options.held and options.full:
        card(options.held, options.full, pd.DataFrame(rows))


if __name__ == "__main__":
    main()
