"""What the benchmarks share."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Hashable, Iterator
from pathlib import Path
from statistics import median

from tutorial_utils.execution import ROOT
from tutorial_utils.openmp import OWN_CHOICE

import numpy as np

LESSON_2 = """
from tutorial_utils.execution import find_notebooks, read_notebook

lesson = {"__name__": "__main__"}
for cell in read_notebook(find_notebooks(["02"])[0]).cells:
    if cell.cell_type == "code":
        exec(cell.source, lesson)
    if "def compiled(" in cell.source:
        break
"""
"""What opens lesson 2 in a process, as far as the definition of `compiled`: its names are then in `lesson`."""

TIMED = "\nimport time\nwork()\nstarted = time.perf_counter()\nwork()\nprint(time.perf_counter() - started)"


def in_turn(variants: dict[Hashable, Callable[[], None]], rounds: int) -> dict[Hashable, list[float]]:
    """Seconds of each variant in turn, round by round, so that a drift of the machine's speed meets all alike."""
    seconds = {name: [] for name in variants}
    for round_number in range(rounds + 1):
        for name, call in variants.items():
            started = time.perf_counter()
            call()
            if round_number:  # the first round warms up
                seconds[name].append(time.perf_counter() - started)
    return seconds


def headline(what: str, value: str) -> None:
    """Print a result that counts. Under `make report`, which names a file in REPORT_ROWS, it is a row of the report."""
    print(f"{what}: {value}")
    if rows := os.environ.get("REPORT_ROWS"):
        with Path(rows).open("a", encoding="utf-8") as file:
            file.write(json.dumps([what, value]) + "\n")


def run(work: str, tree: Path, count: int) -> list[float]:
    """The seconds of each of some processes that work at the same time, in the project as it stands in `tree`.

    Args:
        work: Python that defines ``work()``. It is called twice, and the second time counts.
    """
    own = {name: value for name, value in os.environ.items() if name not in OWN_CHOICE}  # not what this process has set
    env = own | {"PYTHONPATH": str(tree), "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, "-c", work + TIMED]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    processes = [subprocess.Popen(command, cwd=tree, env=env, **streams) for _ in range(count)]
    return [float(process.communicate()[0].split()[-1]) for process in processes]


def ratio(new: list[float], old: list[float], times: int) -> str:
    """The ratio of two medians, with the interval that holds 95% of those of resampled measurements."""
    chance = np.random.default_rng(0)
    medians = [np.median(chance.choice(values, (10_000, len(values))), axis=1) for values in (new, old)]
    low, high = np.quantile(medians[0] / medians[1] / times, [0.025, 0.975])
    return f"{median(new) / median(old) / times:.2f} x ({low:.2f} to {high:.2f}, n = {len(new)} and {len(old)})"


def spread(seconds: list[float]) -> str:
    return f"{median(seconds):.2f} s ({min(seconds):.2f} to {max(seconds):.2f})"


@contextlib.contextmanager
def worktree(commit: str | None) -> Iterator[Path | None]:
    """The project as it was at a commit."""
    if commit is None:
        yield None
        return
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "baseline"
        subprocess.run(["git", "worktree", "add", "--quiet", "--detach", tree, commit], cwd=ROOT, check=True)
        try:
            yield tree
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", tree], cwd=ROOT, check=True)
