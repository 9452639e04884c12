"""What the benchmarks share that write nbs/tables: the movies, what was computed before, the run
record, the two files, and pictures of the chapters.

A table NAME.csv has a run record NAME.json beside it: the command, its settings, the machine, and
the versions of the packages that matter.
"""

import json
import os
import pickle
import platform
import time
import zlib
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

from celltrack.movie import atomic

ROOT = Path(__file__).parents[1]
TABLES = ROOT / "nbs" / "tables"
WEIGHTS = ROOT / "celltrack" / "weights"
TOLERANCES = {  # real movies, and the tolerance of the challenge for divisions, in frames
    "DIC-C2DH-HeLa": 1,
    "Fluo-N2DH-SIM+": 3,
    "Fluo-N2DL-HeLa": 1,
    "PhC-C2DL-PSC": 2,
}
MODALITIES = ("nuclei", "dic", "phase")  # of simulated movies, in turn
# columns of the panel that the tables compare trackers by
PANEL = ["LNK", "CT", "TF", "BC", "CCA", "BIO", "TRA", "IDF1", "HOTA", "division F1"]


def kept(path: Path | None, make: Callable[[], Any]) -> Any:
    "Return what `make` gives, from a file if it was made before; without a path it is made anew."
    if path and path.exists():
        return pickle.loads(path.read_bytes())
    value = make()
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic(path) as new:
            new.write_bytes(pickle.dumps(value))
    return value


def kept_for(folder: Path, settings: Any) -> Path:
    "Return the folder in `folder` of what was made with these settings."
    return folder / f"{zlib.crc32(json.dumps(settings).encode()):08x}"


def run_record(
    command: str,  # as typed, after "python benchmarks/"
    packages: Sequence[str],  # whose versions matter
    settings: dict[str, Any],
    start: float | None = None,  # what time.perf_counter() said
) -> dict[str, Any]:
    "Return what one needs to repeat a run."
    record = {"command": f"python benchmarks/{command}", **settings, "cpus": os.cpu_count()}
    if start is not None:
        record["seconds"] = round(time.perf_counter() - start, 1)
    versions = {name: version(name) for name in ("celltrack", *packages)}
    return record | {"versions": versions | {"python": platform.python_version()}}


def write_table(
    table: pd.DataFrame,
    record: dict[str, Any],
    path: str | Path,  # of the CSV, or its name in nbs/tables
) -> None:
    "Write a table and its run record."
    path = (TABLES / path).with_suffix(".csv")
    with atomic(path) as new:
        table.to_csv(new, index=False)
    with atomic(path.with_suffix(".json")) as new:
        new.write_text(json.dumps(record, indent=2) + "\n")


def with_stored(table: pd.DataFrame, stored: pd.DataFrame, key: list[str]) -> pd.DataFrame:
    "Return the table, then those rows of the stored one whose key it does not have."
    known = pd.MultiIndex.from_frame(table[key])
    return pd.concat([table, stored[~pd.MultiIndex.from_frame(stored[key]).isin(known)]])


def save_picture(fig: Any, name: str) -> None:  # a figure of matplotlib; its name in nbs/images
    "Save a figure as WebP and say how large it is."
    path = ROOT / "nbs" / "images" / f"{name}.webp"
    fig.savefig(path, dpi=144, pil_kwargs=dict(quality=80))
    print(f"{path.relative_to(ROOT)}: {path.stat().st_size / 1024:.0f} KB")


def markdown_rows(table: pd.DataFrame) -> str:
    "Return a table as Markdown, as for a card of weights; – for a number that is none."
    rows = [table.columns, ["---"] * table.shape[1], *table.itertuples(index=False)]
    cells = [["–" if value != value else str(value) for value in row] for row in rows]
    return "\n".join("| " + " | ".join(row) + " |" for row in cells)
