"""Which faults the lessons' own facts notice: each of `faults.FAULTS` is tried in the lesson that uses its line.

python tests/mutants/mutants.py [--lessons 01 03] [--words rollout transposed] [--at-once 2] [--whole]

A lesson runs in a process of its own, on one thread, with a copy of the package in which the fault is; it stops at the
first fact that does not hold. It runs with smaller numbers first, and as a whole if the fault survives that (or at
once, with --whole). An exception that is no fact is counted apart. Exits with 1 if the facts of the lessons notice less
than nine in ten.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from faults import FAULTS, LESSON, Fault

from tutorial_utils import files, require, runtime
from tutorial_utils.execution import ROOT

sys.path.insert(0, str(ROOT / "tests" / "devices"))
from cells import SMALLER, SMALLER_JUDGING

DUE = 0.9
PATIENCE = 1_800
"""Seconds for one lesson."""

ALONE = {
    "TUTORIAL_CHECKS": "strict",
    "CPU_LIMIT": "1",
    "OMP_NUM_THREADS": "1",
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
    "MPLBACKEND": "agg",
}
"""What makes a lesson strict, and content with one core."""

UNTRAINED = {
    '"mini": (12, 24)': '"mini": (1, 1)',
    'notes_history["accuracy"][-1], at_least=0.5': 'notes_history["accuracy"][-1], at_least=0',
    "gap, at_most=0.12": "gap, at_most=1",
    'scores["better"][0], at_least=0.7': 'scores["better"][0], at_least=0',
    "least, at_least=0.15": "least, at_least=0",
}
"""Lesson 2 after one epoch, of which the facts on its training ask nothing."""

QUICK = {lesson: SMALLER[lesson] | SMALLER_JUDGING[lesson] for lesson in ("01", "03", "04")} | {"02": UNTRAINED}
"""What makes the lessons quick while their facts hold: texts that stand once in their cells, and others."""


@dataclass(frozen=True)
class Verdict:
    """What came of a fault: "fact", "error" or "survived"; and what was said of it."""

    kind: str
    why: str

    def __str__(self) -> str:
        by = {"fact": "rejected", "error": "rejected by no fact, but an error", "survived": "survived"}[self.kind]
        return f"{by}: {require.shortened(self.why.split(': got ')[0], 90)}" if self.why else by


def main() -> int:
    """Try the faults that were chosen, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lessons", nargs="*", metavar="NN", help="all by default")
    parser.add_argument("--words", nargs="*", metavar="WORD", help="only faults that have one of them anywhere")
    parser.add_argument("--at-once", type=int, default=runtime.cores(), metavar="N", help="a lesson for each core")
    parser.add_argument("--whole", action="store_true", help="without a try with smaller numbers")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "mutants.md")
    options = parser.parse_args()
    files.require_place(options.out.parent, "--out")
    chosen = [fault for fault in FAULTS if is_chosen(fault, options.lessons, options.words)]
    if not chosen:
        raise SystemExit("No fault has these lessons and words.")
    quick = {} if options.whole else QUICK
    with ThreadPoolExecutor(options.at_once) as pool:
        controls = pool.map(lambda lesson: run(lesson, None, quick.get(lesson, {}), ROOT), lessons_of(chosen))
        for lesson, sound in zip(lessons_of(chosen), controls, strict=True):
            if sound.kind != "survived":
                raise SystemExit(f"Lesson {lesson} has no fault yet, and was {sound}")
        verdicts = []
        for fault, verdict in zip(chosen, pool.map(partial(tried, quick=quick), chosen), strict=True):
            print(f"{fault.lesson}  {fault.what}: {verdict}", flush=True)
            verdicts.append(verdict)
    report = table(chosen, verdicts)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with files.draft(options.out) as draft:
        draft.write_text(report, encoding="utf-8")
    print(report[report.rindex("\n\n") :])
    return sum(verdict.kind == "fact" for verdict in verdicts) < DUE * len(chosen)


def is_chosen(fault: Fault, lessons: list[str] | None, words: list[str] | None) -> bool:
    """Whether a fault is of one of these lessons and has one of these words; None or no word is any."""
    text = " ".join(vars(fault).values()).lower()
    return (not lessons or fault.lesson in lessons) and (not words or any(word.lower() in text for word in words))


def lessons_of(faults: list[Fault]) -> list[str]:
    """The lessons in which faults are."""
    return sorted({fault.lesson for fault in faults})


def tried(fault: Fault, course: Path = ROOT, quick: Mapping[str, dict[str, str]] = QUICK) -> Verdict:
    """What comes of a fault in a lesson of a course: with smaller numbers, and if it survives those, with its own."""
    changes = quick.get(fault.lesson, {})
    verdict = run(fault.lesson, fault, changes, course)
    return run(fault.lesson, fault, {}, course) if changes and verdict.kind == "survived" else verdict


def run(lesson: str, fault: Fault | None, changes: dict[str, str], course: Path) -> Verdict:
    """A lesson from the beginning, with a fault if any, and other changes of its cells."""
    if fault and fault.where == LESSON:
        changes = {fault.old: fault.new} | changes
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        shutil.copytree(course / "tutorial_utils", copy / "tutorial_utils")
        for name in ("notebooks", "data", "docs"):
            (copy / name).symlink_to(course / name)
        if fault and fault.where != LESSON:
            put(fault, copy / "tutorial_utils" / fault.where)
        command, place = [sys.executable, Path(__file__).with_name("trial.py")], {"cwd": copy / "notebooks"}
        asked = {"input": json.dumps([lesson, changes]), "capture_output": True, "text": True, "timeout": PATIENCE}
        try:
            found = subprocess.run(command, **place, **asked, env=environment(copy), check=False)
        except subprocess.TimeoutExpired:
            return Verdict("error", f"it took more than {PATIENCE:,} seconds")
    if found.returncode:
        return Verdict("error", f"the process ended with {found.returncode}: {found.stderr[-500:]}")
    return Verdict(*json.loads(found.stdout.splitlines()[-1]))


def put(fault: Fault, module: Path) -> None:
    """Write a fault into a module."""
    text = module.read_text(encoding="utf-8")
    require_once(fault, text)
    module.write_text(text.replace(fault.old, fault.new), encoding="utf-8")


def require_once(fault: Fault, text: str) -> None:
    """Raise ValueError unless what a fault replaces stands once in a text."""
    if (count := text.count(fault.old)) != 1:
        raise ValueError(f"{fault.old!r} stands {count} times in {fault.where} of lesson {fault.lesson}.")


def environment(copy: Path) -> dict[str, str]:
    """The variables of a process that takes the package from a copy."""
    theirs = {name: value for name, value in os.environ.items() if not name.startswith("TUTORIAL_")}
    return theirs | ALONE | {"PYTHONPATH": os.pathsep.join([str(copy), str(ROOT / "tests" / "devices")])}


def table(faults: list[Fault], verdicts: list[Verdict]) -> str:
    """All faults with their verdicts, and a line for each lesson."""
    rows = ["| lesson | where | fault | what came of it |", "|---|---|---|---|"]
    for fault, verdict in zip(faults, verdicts, strict=True):
        rows.append(f"| {fault.lesson} | {fault.where} | {fault.what} | {verdict} |")
    rows += ["", "| lesson | faults | rejected by a fact | by an error | survived |", "|---|---|---|---|---|"]
    for lesson in [*lessons_of(faults), "all"]:
        kinds = Counter(v.kind for f, v in zip(faults, verdicts, strict=True) if lesson in (f.lesson, "all"))
        by_fact = f"{kinds['fact']} ({kinds['fact'] / kinds.total():.0%})"
        rows.append(f"| {lesson} | {kinds.total()} | {by_fact} | {kinds['error']} | {kinds['survived']} |")
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    sys.exit(main())
