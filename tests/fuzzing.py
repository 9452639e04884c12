"""Random inputs to the doors of celltrack, in forked processes under limits of memory and time.

`tests/test_doors.py` and `benchmarks/fuzz.py` both run the doors of `tests/doors.py` through this.
"""

import multiprocessing
import multiprocessing.connection
import os
import resource
import shutil
import tempfile
import time
import traceback
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from celltrack.movie import InputError

OUTCOMES = "fine", "refused", "exception", "crash", "hang", "lost"
FAILURES = OUTCOMES[2:]
MEMORY = 2**32  # bytes that an input may take beyond what the process has
SECONDS = 25  # after which an input is taken to hang
FORK = multiprocessing.get_context("fork")


@dataclass
class Door:
    "A way into celltrack: what is prepared once, and a function that makes and tries one input."

    name: str
    base: Callable[[], Any]  # made once, before the processes are forked
    try_one: Callable  # (rng, folder, base) -> whether, or what, is lost in silence


@dataclass
class Report:
    "What became of the inputs of a door."

    door: str
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(OUTCOMES, 0))
    failures: list[tuple[int, str, str]] = field(default_factory=list)  # seed, outcome, message

    def add(self, seed: int, outcome: str, message: str) -> None:
        self.counts[outcome] += 1
        if outcome in FAILURES:
            self.failures.append((seed, outcome, message))


def generator(door: Door, seed: int) -> np.random.Generator:
    "Return the random numbers of an input: the same for the same door and seed."
    return np.random.default_rng([zlib.crc32(door.name.encode()), seed])


def outcome_of(door: Door, base: Any, seed: int, folder: Path) -> tuple[str, str]:
    "Return (outcome, message) of one input; what it writes lies in a folder of its own."
    try:
        lost = door.try_one(generator(door, seed), folder, base)
    except InputError as error:
        return ("refused", str(error)) if str(error).strip() else ("exception", "no message")
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)
        own = [f for f in where if "celltrack" in f.filename] or where[-1:]
        place = f"{Path(own[-1].filename).name}:{own[-1].lineno} {own[-1].name}"
        return "exception", f"{type(error).__name__}: {str(error)[:200]} ({place})"
    what = lost if isinstance(lost, str) else "all links"
    return ("lost", what) if lost else ("fine", "")


# ---- the processes


def limit_memory() -> None:
    "Let this process have so much more memory, and no core file."
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, size + MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def serve(connection, door: Door, base: Any, box: str) -> None:
    "Try each seed that comes, and send back what became of it, until None comes."
    limit_memory()
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    tempfile.tempdir = box  # what an input leaves behind there goes with the box
    while (seed := connection.recv()) is not None:
        folder = Path(tempfile.mkdtemp(prefix="input"))
        connection.send(outcome_of(door, base, seed, folder))
        shutil.rmtree(folder, ignore_errors=True)


class Worker:
    "A process that tries inputs of a door, replaced when it dies or hangs."

    def __init__(self, door: Door, base: Any, box: str):
        self.connection, other = FORK.Pipe()
        self.process = FORK.Process(target=serve, args=(other, door, base, box), daemon=True)
        self.process.start()
        other.close()
        self.seed: int | None = None
        self.until = np.inf

    def give(self, seed: int, seconds: float) -> None:
        self.seed, self.until = seed, time.monotonic() + seconds
        self.connection.send(seed)

    def answer(self) -> tuple[str, str] | None:
        "Return (outcome, message), or None while the input is being tried."
        try:
            if self.connection.poll():
                return self.connection.recv()
        except (EOFError, OSError):
            self.process.join()
            return "crash", f"exit code {self.process.exitcode}"
        if time.monotonic() > self.until:
            return "hang", "no answer in time"
        return None

    def end(self) -> None:
        self.process.kill()
        self.process.join()
        self.connection.close()


def fuzz(
    door: Door,
    seeds: Sequence[int],
    workers: int = 2,
    seconds: float = SECONDS,
) -> Report:
    "Try the inputs of these seeds; return the Report."
    report, waiting = Report(door.name), list(seeds)[::-1]
    base = door.base()
    with tempfile.TemporaryDirectory() as box:
        team = [Worker(door, base, box) for _ in range(max(1, min(workers, len(waiting))))]
        while waiting or any(worker.seed is not None for worker in team):
            for k, worker in enumerate(team):
                found = None if worker.seed is None else worker.answer()
                if found is not None:
                    report.add(worker.seed, *found)
                    worker.seed = None
                    if found[0] in ("crash", "hang"):
                        worker.end()
                        worker = team[k] = Worker(door, base, box)
                if worker.seed is None and waiting:
                    worker.give(waiting.pop(), seconds)
            busy = [worker.connection for worker in team if worker.seed is not None]
            multiprocessing.connection.wait(busy, 0.5 if busy else 0)
        for worker in team:
            worker.end()
    return report
