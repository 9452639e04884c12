"""Everything that must hold, in this order: export, clean, rules, notebooks, pytest, docs.

python tools/run_tests.py [STEP ...]    runs only the steps named
python tools/run_tests.py --quick       rules, and the notebooks and tests touched since the commit
python tools/run_tests.py --coverage    all, and how much of the package it ran through (slower)
The last line counts what passed and failed. Cells flagged `real` run where $CELLTRACK_DATA is a
folder; where not, the skipped cells are counted.
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
SOURCES = [
    "settings.ini",
    "setup.py",
    "MANIFEST.in",
    "LICENSE",
    "README.md",
    "CHANGELOG.md",
    "celltrack",
    "nbs",
]
ENV = {
    **os.environ,
    "OMP_NUM_THREADS": "1",
    "MPLBACKEND": "agg",
    "PYTHONDONTWRITEBYTECODE": "1",
}
LIMIT = 600  # seconds after which a notebook is taken to hang
WORKERS = 2  # notebooks, and files of tests, at a time
SETTINGS = ROOT / "tools/coverage.ini"
COVERAGE = "--coverage" in sys.argv[1:]
TRACED = ["-m", "coverage", "run", "--parallel-mode", f"--rcfile={SETTINGS}"] if COVERAGE else []


def run(*command, cwd=ROOT, env=ENV, **options):
    "Run Python with these arguments; return (worked, what it said)."
    command = [sys.executable, *map(str, command)]
    options |= {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    try:
        done = subprocess.run(command, cwd=cwd, env=env, **options)
    except subprocess.TimeoutExpired as e:
        return False, f"{e.stdout or ''}\nstopped after {e.timeout} s"
    return done.returncode == 0, done.stdout


def has_movies():
    "Return whether the real movies are here."
    return os.path.isdir(os.environ.get("CELLTRACK_DATA", ""))


def touched():
    "Return the files that differ from the last commit."
    done = subprocess.run(
        ["git", "status", "--porcelain", "--untracked-files=all"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return {Path(line[3:].split(" -> ")[-1].strip('"')) for line in done.stdout.splitlines()}


# ---- the steps: each yields (what, worked, what to print)


def copy_sources(target):
    "Copy what a package is built from."
    skip = shutil.ignore_patterns("__pycache__", ".*", "nbdev.yml")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, target / name, ignore=skip)
        else:
            shutil.copy2(ROOT / name, target / name)


def contents(folder, parts):
    "Return {path: bytes} of the files in some parts of a folder."
    paths = [p for part in parts for p in (folder / part).rglob("*") if p.is_file()]
    return {p.relative_to(folder): p.read_bytes() for p in paths}


def same_after(command, parts, hint):
    "Run nbdev's `command` on a copy of the project; it must change no file."
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        copy_sources(copy)
        before = contents(copy, parts)
        worked, said = run("-c", command, cwd=copy)
        after = contents(copy, parts)
    names = sorted(before.keys() | after.keys())
    changed = [str(name) for name in names if before.get(name) != after.get(name)]
    return worked and not changed, said + "".join(f"{n} differs: run {hint}\n" for n in changed)


def export():
    command = "from nbdev.doclinks import nbdev_export; nbdev_export()"
    yield "export leaves no difference", *same_after(command, ["celltrack"], "make export")


def clean():
    command = "from nbdev.clean import nbdev_clean; nbdev_clean()"
    yield "clean leaves no difference", *same_after(command, ["nbs"], "make export")


def rules():
    for name, complaints in check.check().items():
        yield name, not complaints, "".join(f"{said}\n" for said in complaints)
    worked = (ROOT / "README.md").read_text(encoding="utf-8") == readme.readme()
    yield "README.md is what nbs/index.ipynb says", worked, "" if worked else "run make export\n"
    for name, command in {"ruff": ["ruff", "check", "."], "mypy": ["mypy", "celltrack"]}.items():
        worked, said = run("-m", *command)
        yield name, worked, "" if worked else said


def notebooks(only=None):
    """Run each notebook in a process of its own with one thread, WORKERS at a time.

    The solutions run in the process of their chapter, whose checks are then fed with answers.
    """
    flags = ["real"] if has_movies() else []

    def touched(nb):
        return only is None or nb.path in only or nb.answers and nb.answers.path in only

    def test(nb):
        begin = time.time()
        script = ROOT / "tools/test_notebook.py"
        worked, said = run(*TRACED, script, ROOT / nb.path, *flags, timeout=LIMIT)
        return f"{nb.path}  {time.time() - begin:.1f} s", worked, said

    repository = check.Repository()
    chapters = [nb for nb in repository.pages + repository.chapters if touched(nb)]
    alone = [nb for nb in repository.notebooks if nb.path.stem == "index" and touched(nb)]
    fed = 0
    with ThreadPoolExecutor(min(WORKERS, os.cpu_count() or 1)) as pool:
        for what, worked, said in pool.map(test, alone + chapters):
            checks = re.findall(r"^exercises: (check_\d+): (\d+) wrong answers fed", said, re.M)
            refused = re.findall(r"^exercises: (check_\d+) (.*)", said, re.M)
            ran = worked or bool(checks)
            yield what, ran, "" if ran else said
            for name, count in checks:
                complaints = [f"{name} {text}\n" for who, text in refused if who == name]
                fed += int(count)
                yield (
                    f"{what.split()[0]} {name}" if complaints else "",
                    not complaints,
                    "".join(complaints),
                )
    books = chapters + [nb.answers for nb in chapters if nb.answers]
    real = sum("real" in cell.flags for nb in books for cell in nb.code)
    done = "ran" if flags else "skipped"
    print(f"    {done} {real} cells that need real movies (CELLTRACK_DATA)")
    print(f"    fed {fed} wrong answers to the checks of the exercises")


def results(report):
    "Yield the outcome of each test of a report in JUnit's form."
    for case in ElementTree.parse(report).iter("testcase"):
        if case.find("skipped") is not None:
            continue
        bad = [*case.iter("failure"), *case.iter("error")]
        name = f"{case.get('classname')}::{case.get('name')}" if bad else ""
        yield name, not bad, "".join(f"{e.text}\n" for e in bad)


def pytest(only=None):
    "Install the package into an empty folder, as a user gets it, and test that."
    tests = [ROOT / "tests"] if only is None else [ROOT / p for p in only]
    with tempfile.TemporaryDirectory() as folder:
        source, target, report = (Path(folder) / n for n in ("source", "installed", "report.xml"))
        source.mkdir()
        copy_sources(source)
        options = ["--quiet", "--no-deps", "--no-build-isolation", "--disable-pip-version-check"]
        worked, said = run("-m", "pip", "install", *options, "--target", target, source)
        yield "pip install .", worked, said if not worked else ""
        if not worked:
            return
        env = {**ENV, "PYTHONPATH": str(target), "CELLTRACK_INSTALLED": str(target)}
        env["COVERAGE_FILE"] = str(ROOT / ".coverage.pytest")
        options = ["-q", "--tb=short", "-p", "no:cacheprovider", f"--junitxml={report}"]
        options += ["-n", WORKERS, "--dist", "loadfile"]  # the files of tests, WORKERS at a time
        if COVERAGE:
            options += ["--cov=celltrack", f"--cov-config={SETTINGS}", "--cov-report="]
        worked, said = run("-m", "pytest", *options, *tests, cwd=folder, env=env)
        if not report.exists():
            yield "pytest", False, said
            return
        yield from results(report)
        print("    " + said.splitlines()[-1])


def coverage():
    "Print how much of the package the notebooks and the tests ran through."
    settings = f"--rcfile={SETTINGS}"
    run("-m", "coverage", "combine", settings)
    worked, said = run("-m", "coverage", "report", settings, "--skip-covered", "--sort=cover")
    (ROOT / ".coverage").unlink(missing_ok=True)
    total = [line for line in said.splitlines() if line.startswith("TOTAL")]
    print(f"    coverage of celltrack: {total[0].split()[-1] if total else said}")


def docs():
    worked, said = run("tools/docs.py", timeout=2 * LIMIT)
    lines = said.splitlines()
    if worked:
        lines = [line for line in lines if line.startswith("skipped: ")] + lines[-1:]
    yield "docs", worked, "".join(f"    {line}\n" for line in lines)


STEPS = {
    "export": export,
    "clean": clean,
    "rules": rules,
    "notebooks": notebooks,
    "pytest": pytest,
    "docs": docs,
}


def quick_steps():
    "Return the steps of `make quick`: rules, and what was touched since the last commit."
    paths = touched()
    steps = {"rules": rules, "notebooks": lambda: notebooks(paths)}
    tests = [p for p in sorted(paths) if p.parent.name == "tests" and p.name.startswith("test_")]
    return steps | ({"pytest": lambda: pytest(tests)} if tests else {})


def main(names):
    names = [name for name in names if name != "--coverage"]
    steps = quick_steps() if names == ["--quick"] else {n: STEPS[n] for n in names or STEPS}
    counts = {True: 0, False: 0}
    for old in ROOT.glob(".coverage.*"):
        old.unlink()
    for name, step in steps.items():
        print(f"== {name}", flush=True)
        try:
            for what, worked, said in step():
                counts[worked] += 1
                if what:
                    print(f"{'ok    ' if worked else 'FAILED'}  {what}", flush=True)
                if said:
                    print(re.sub(r"^(?!    )", "    ", said, flags=re.M).rstrip(), flush=True)
        except Exception as e:  # a step that breaks is one failure; the others still run
            counts[False] += 1
            print(f"FAILED  {name}: {type(e).__name__}: {e}", flush=True)
    if COVERAGE:
        coverage()
    print(f"{counts[True]} passed, {counts[False]} failed")
    return counts[False] > 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
