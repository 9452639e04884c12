"""Run notebooks from top to bottom and keep their outputs, cleaned: a second run changes nothing.

python tools/run_notebooks.py [PATH ...]    default: all, two at a time
Cells flagged `real` keep their old outputs where the real movies are missing.
"""

import base64
import io
import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
import oxipng
from nbclient import NotebookClient
from nbdev.clean import nbdev_clean
from PIL import Image

from check import ROOT, Cell, Repository

ZOPFLI = oxipng.Deflaters.zopfli(1)


class Runner(NotebookClient):
    "Runs every cell but those with `eval: false`, and real ones without data."

    async def async_execute_cell(self, cell, cell_index, *args, **options):
        seen = Cell(cell_index, cell.cell_type, cell.source)
        real = all(os.path.isdir(os.environ.get(name, "")) for name in ("CELLTRACK_DATA",))
        if not seen.runs or "real" in seen.flags and not real:
            return cell
        return await super().async_execute_cell(cell, cell_index, *args, **options)


def without_bars(nb):
    "Drop progress bars: their widgets say nothing once the cell is done."
    nb.metadata.pop("widgets", None)
    for cell in nb.cells:
        if "outputs" in cell:
            cell.outputs = [
                out
                for out in cell.outputs
                if "application/vnd.jupyter.widget-view+json" not in out.get("data", {})
            ]


def lean_tables(nb):
    "Drop the style that pandas repeats in each table (the site has its own); one line a row."
    for data in (out.get("data", {}) for cell in nb.cells for out in cell.get("outputs", [])):
        if "text/html" in data:
            bare = re.sub(r"<style scoped>.*?</style>\n", "", data["text/html"], flags=re.S)
            bare = re.sub(r"^ +(?=<)", "", bare, flags=re.M)
            data["text/html"] = re.sub(r"\n(?=<t[hd]\b|</tr>)", "", bare)


def smaller(nb):
    "Store pictures as PNG with 64 colours, packed as tightly as that goes without loss."
    for data in (out.get("data", {}) for cell in nb.cells for out in cell.get("outputs", [])):
        if "image/png" in data:
            picture = Image.open(io.BytesIO(base64.b64decode(data["image/png"]))).convert("RGB")
            few = picture.quantize(64, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
            png = io.BytesIO()
            few.save(png, "PNG")
            packed = oxipng.optimize_from_memory(png.getvalue(), level=2, deflate=ZOPFLI)
            data["image/png"] = base64.b64encode(packed).decode()


def run(path):
    "Run one notebook in its folder and write it back."
    nb = nbformat.read(path, 4)
    Runner(
        nb,
        timeout=600,
        kernel_name="python3",
        record_timing=False,
        coalesce_streams=True,
        resources={"metadata": {"path": path.parent}},
    ).execute()
    without_bars(nb)
    lean_tables(nb)
    smaller(nb)
    nbformat.write(nb, path)
    nbdev_clean(str(path))


def run_apart(path):
    "Run one notebook in a process of its own; return whether it ran through."
    return subprocess.run([sys.executable, __file__, str(path)]).returncode == 0


if __name__ == "__main__":
    os.chdir(ROOT)
    os.environ["OMP_NUM_THREADS"] = "1"  # the same sums on every machine
    os.environ["IN_TEST"] = "1"  # no export from within
    paths = [Path(p).resolve() for p in sys.argv[1:]]
    paths = paths or [ROOT / nb.path for nb in Repository().notebooks]
    if len(paths) > 1:
        with ThreadPoolExecutor(2) as pool:
            worked = list(pool.map(run_apart, paths))
        failed = [path.name for path, fine in zip(paths, worked, strict=True) if not fine]
        sys.exit(f"stopped with an error: {', '.join(failed)}" if failed else 0)
    else:
        begin = time.time()
        run(paths[0])
        print(f"{paths[0].relative_to(ROOT)}  {time.time() - begin:.1f} s", flush=True)
