"""Everything that must hold, run in this order: export, clean, rules, readme, notebooks, pytest, docs.

python tools/run_tests.py [STEP ...]    runs only the steps named. The last line counts what passed and failed.
Cells flagged `real` run where $CELLTRACK_DATA and $CELLTRACK_GOLDEN are folders; where not, the skipped cells are counted.
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import check
import readme

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ["settings.ini", "setup.py", "MANIFEST.in", "LICENSE", "README.md", "CHANGELOG.md", "celltrack", "nbs"]
ENV = {**os.environ, "OMP_NUM_THREADS": "1", "MPLBACKEND": "agg", "PYTHONDONTWRITEBYTECODE": "1"}
LIMIT, WORKERS = 600, 2  # seconds after which a notebook is taken to hang; notebooks at a time
TEST_NOTEBOOK = """
import sys, warnings
from pathlib import Path
from nbdev.test import test_nb
warnings.filterwarnings("error", module=r"celltrack\\b|__main__")
sys.exit(not test_nb(Path(sys.argv[1]), skip_flags=["real"], force_flags=sys.argv[2:])[0])
"""


def run(*command, cwd=ROOT, env=ENV, **options):
    "Run Python with these arguments; return (worked, what it said)."
    try: done = subprocess.run([sys.executable, *map(str, command)], cwd=cwd, env=env, text=True, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, **options)
    except subprocess.TimeoutExpired as e: return False, f"{e.stdout or ''}\nstopped after {e.timeout} s"
    return done.returncode == 0, done.stdout


def copy_sources(target):
    skip = shutil.ignore_patterns("__pycache__", ".*", "nbdev.yml")
    for name in SOURCES:
        if (ROOT / name).is_dir(): shutil.copytree(ROOT / name, target / name, ignore=skip)
        else: shutil.copy2(ROOT / name, target / name)


def same_after(command, parts, hint):
    "Run nbdev's `command` on a copy of the project; it must change no file."
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        copy_sources(copy)
        files = lambda: {p.relative_to(copy): p.read_bytes() for part in parts for p in (copy / part).rglob("*") if p.is_file()}
        before = files()
        worked, said = run("-c", command, cwd=copy)
        after = files()
    changed = [str(name) for name in sorted(before.keys() | after.keys()) if before.get(name) != after.get(name)]
    return worked and not changed, said + "".join(f"{name} differs: run {hint}\n" for name in changed)


def export():
    yield "export leaves no difference", *same_after(
        "from nbdev.doclinks import nbdev_export; nbdev_export()", ["celltrack"], "make export")


def clean():
    yield "clean leaves no difference", *same_after("from nbdev.clean import nbdev_clean; nbdev_clean()", ["nbs"], "make export")


def rules():
    for name, complaints in check.check().items():
        yield name, not complaints, "".join(f"{said}\n" for said in complaints)


def front_page():
    worked = (ROOT / "README.md").read_text(encoding="utf-8") == readme.readme()
    yield "README.md is what nbs/index.ipynb says", worked, "" if worked else "run make export\n"


def notebooks():
    "Run each notebook in a process of its own with one thread, as many at a time as there are cores, at most WORKERS."
    real = all(os.path.isdir(os.environ.get(name, "")) for name in ("CELLTRACK_DATA", "CELLTRACK_GOLDEN"))

    def test(nb):
        begin = time.time()
        worked, said = run("-c", TEST_NOTEBOOK, ROOT / nb.path, *["real"] * real, timeout=LIMIT)
        return f"{nb.path}  {time.time() - begin:.1f} s", worked, "" if worked else said

    all_of_them = check.Repository().notebooks
    skipped = sum("real" in cell.flags for nb in all_of_them for cell in nb.code)
    with ThreadPoolExecutor(min(WORKERS, os.cpu_count() or 1)) as pool: yield from pool.map(test, all_of_them)
    print(f"    {'ran' if real else 'skipped'} {skipped} cells that need real movies" + ("" if real else " (CELLTRACK_DATA, CELLTRACK_GOLDEN)"))


def pytest():
    "Install the package into an empty folder, as a user gets it, and test that."
    with tempfile.TemporaryDirectory() as folder:
        source, target, report = (Path(folder) / name for name in ("source", "installed", "report.xml"))
        source.mkdir()
        copy_sources(source)
        worked, said = run("-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--disable-pip-version-check",
                           "--target", target, source)
        yield "pip install .", worked, said if not worked else ""
        if not worked: return
        worked, said = run("-m", "pytest", "-q", "--tb=short", "-p", "no:cacheprovider", f"--junitxml={report}", ROOT / "tests", cwd=folder,
                           env={**ENV, "PYTHONPATH": str(target), "CELLTRACK_INSTALLED": str(target)})
        cases = list(ElementTree.parse(report).iter("testcase")) if report.exists() else []
        for case in cases:
            if case.find("skipped") is not None: continue
            bad = [*case.iter("failure"), *case.iter("error")]
            yield f"{case.get('classname')}::{case.get('name')}" if bad else "", not bad, "".join(f"{e.text}\n" for e in bad)
        if cases: print("    " + said.splitlines()[-1])
        else: yield "pytest", False, said


def docs():
    worked, said = run("tools/docs.py", timeout=2 * LIMIT)
    yield "docs", worked, said if not worked else "".join(f"    {line}\n" for line in said.splitlines()[-1:])


STEPS = {"export": export, "clean": clean, "rules": rules, "readme": front_page, "notebooks": notebooks, "pytest": pytest, "docs": docs}


def main(names):
    counts = {True: 0, False: 0}
    for name in names or STEPS:
        print(f"== {name}", flush=True)
        try:
            for what, worked, said in STEPS[name]():
                counts[worked] += 1
                if what: print(f"{'ok    ' if worked else 'FAILED'}  {what}", flush=True)
                if said: print(re.sub(r"^(?!    )", "    ", said, flags=re.M).rstrip(), flush=True)
        except Exception as e:  # a step that breaks is one failure; the others still run
            counts[False] += 1
            print(f"FAILED  {name}: {type(e).__name__}: {e}", flush=True)
    print(f"{counts[True]} passed, {counts[False]} failed")
    return counts[False] > 0


if __name__ == "__main__": sys.exit(main(sys.argv[1:]))
