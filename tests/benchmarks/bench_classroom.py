"""A class on one server: the memory of a learner, and how many fit, from scratch and with imports shared, in one run.

sudo .venv/bin/python tests/benchmarks/bench_classroom.py
"""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import statistics
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from timing import headline
from tutorial_utils.execution import ROOT, read_notebook

import psutil

NAMES, MACHINE = ["anna", "ben", "cleo"], 16  # GB
WAYS = {"each from scratch": {"CLASSROOM_PLAIN": "1"}, "imports shared": {}}


def main() -> None:
    """Print a table of each way, and the ratio of the numbers of learners."""
    if importlib.util.find_spec("jupyterhub") is None or os.geteuid():
        print("A class on one server: not measured. It takes root, and what `make classroom` installs.")
        return
    sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "classroom")]
    fitting = {way: table(way, *measure(variables)) for way, variables in WAYS.items()}
    before, after = fitting.values()
    for stage in before:
        headline(
            f"classroom: learners in {MACHINE} GB, each with {stage}, imports shared against each from scratch",
            f"{after[stage]} against {before[stage]}, {after[stage] / before[stage]:.1f} x",
        )


def table(way: str, shared: float, each: dict[str, float]) -> dict[str, int]:
    """Print what a learner takes at each stage; return how many learners fit."""
    fitting = {stage: int((1000 * MACHINE - shared) / own) for stage, own in each.items()}
    print(f"{way}: {shared:.0f} MB for all together, and for each learner")
    for stage, own in each.items():
        print(f"  with {stage:30} {own:5.0f} MB, so {fitting[stage]:3} in {MACHINE} GB")
    return fitting


def measure(variables: dict[str, str]) -> tuple[float, dict[str, float]]:
    """MB that there are once, and MB that another learner adds, by stage: what all have in common, the first brings."""
    from classroom.passwords import read
    from client import classroom

    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder) / "state"
        with classroom(state, NAMES, CLASSROOM_MEMORY="4G", **variables) as address:
            passwords = read(state / "passwords")
            added = []
            for name in NAMES:
                start = memory()
                added.append({stage: memory() - start for stage in stages(address, name, passwords[name])})
            each = {stage: statistics.mean(learner[stage] for learner in added[1:]) for stage in added[-1]}
            return start - (len(NAMES) - 1) * each["lesson 1 at its end"], each


def stages(address: str, name: str, password: str) -> Iterator[str]:
    """Take a learner through lesson 1, and stop wherever there is something to measure."""
    from client import LESSON_1, Learner, code_cells

    learner = Learner(address, name)
    assert learner.sign_in(password)
    learner.start_server()
    yield "a server"
    kernel = learner.start_kernel()
    kernel.run("pass")
    yield "a server and an idle kernel"
    cells = code_cells(read_notebook(LESSON_1))
    kernel.run("\n".join(imports(cells)))
    yield "lesson 1's imports"
    for cell in cells:
        reply = kernel.run(cell)
        assert reply.status == "ok", reply
    yield "lesson 1 at its end"


def imports(cells: list[str]) -> list[str]:
    """All import statements."""
    nodes = (node for cell in cells for node in ast.walk(ast.parse(cell)))
    return [ast.unparse(node) for node in nodes if isinstance(node, ast.Import | ast.ImportFrom)]


def memory() -> float:
    """MB of all that this process has started: every page once, however many share it, and the tables of pages."""
    kilobytes = 0
    for process in psutil.Process().children(recursive=True):
        folder = Path(f"/proc/{process.pid}")
        try:
            text = (folder / "smaps_rollup").read_text() + (folder / "status").read_text()
        except OSError:  # it has just ended
            continue
        kilobytes += sum(map(int, re.findall(r"^(?:Pss|VmPTE):\s+(\d+) kB", text, re.MULTILINE)))
    return kilobytes * 1024 / 1e6


if __name__ == "__main__":
    main()
