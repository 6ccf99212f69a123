"""One Markdown table of what was measured: notebooks, start-up, ratios, downloads, bad input, learners.

python tests/benchmarks/report.py [--quick] [--out docs/report.md]

On two processor cores: an hour or two, with --quick forty minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from datetime import date
from importlib.metadata import version
from pathlib import Path
from statistics import median

from tutorial_utils import files, runtime
from tutorial_utils.execution import ROOT, execute, find_notebooks

import psutil

HERE = Path(__file__).parent
REPORT = ROOT / "docs" / "report.md"
QUICK = {
    "bench_vivit.py": ["--seeds", "1"],
    "bench_uvit.py": ["--samples", "500"],
    "bench_latte.py": ["--prompts", "32"],
    "bench_shared.py": ["--rounds", "4"],
}
TESTS = ("tests/unit/test_faults.py", "tests/properties")
"""Their own headlines count the faults survived and the bad inputs tried."""

PAGE = """\
# What was measured

{machine}, {day}. `{command}` writes this page; ratios are against a baseline of the same run.

| | |
|---|---|
{rows}
"""


def main() -> None:
    """Measure all, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer seeds, samples and prompts")
    parser.add_argument("--out", type=Path, default=REPORT)
    options = parser.parse_args()
    files.require_place(options.out.parent, "--out")  # an hour or two is to be written there
    rows = [*notebooks(), *imports(), *headlines(options.quick)]
    table = "\n".join(f"| {what} | {value} |" for what, value in rows)
    command = " ".join([".venv/bin/python tests/benchmarks/report.py", *(["--quick"] * options.quick)])
    page = PAGE.format(machine=machine(), day=date.today(), command=command, rows=table)
    for heading, text in sections(options.out):  # of GPUs, which are measured elsewhere
        page = with_section(page, heading, text)
    with files.draft(options.out) as partial:
        partial.write_text(page, encoding="utf-8")
    print(page)


def sections(path: Path) -> list[tuple[str, str]]:
    """The headings of a page after its first, each with its text."""
    page = path.read_text(encoding="utf-8") if path.exists() else ""
    return [tuple(part.strip() for part in text.split("\n", 1)) for text in page.split("\n## ")[1:]]


def with_section(page: str, heading: str, text: str) -> str:
    """A page with a section at its end, in the place of an older one under the same heading."""
    before, *parts = page.split("\n## ")
    kept = [part for part in parts if part.split("\n", 1)[0] != heading]
    return "\n## ".join([before, *kept, f"{heading}\n\n{text}\n"])


def machine() -> str:
    """What it was measured on."""
    memory = psutil.virtual_memory().total / 2**30
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "tensorflow", "diffusers"))
    return (
        f"{runtime.cores()} cores ({platform.machine()}), {memory:.0f} GiB of memory, {runtime.device()}; "
        f"{platform.system()}, Python {platform.python_version()}, {versions}"
    )


def notebooks() -> list[tuple[str, str]]:
    """Seconds, peak memory and facts of each lesson at `mini`."""
    rows = []
    for path in find_notebooks():
        _, outcome = execute(path, lambda done, total: None)
        found = outcome.error or f"{outcome.seconds:.0f} s, {outcome.peak_memory_gb:.1f} GB, {outcome.facts} facts"
        rows.append((f"`{outcome.name}`: time, peak memory", found))
    return rows


def imports() -> list[tuple[str, str]]:
    """Seconds that Python takes to start, with the package and with what lesson 1 imports."""
    cases = {
        "Python alone": "pass",
        "`import tutorial_utils`": "import tutorial_utils",
        "what lesson 1 imports first": "import torch; from tutorial_utils import controls, images, plotting, runtime",
    }
    rows = []
    for name, code in cases.items():
        seconds = []
        for _ in range(3):
            seconds.append(float(subprocess.check_output([sys.executable, "-c", TIMED.format(code=code)], text=True)))
        rows.append((f"start-up: {name}", f"{median(seconds):.2f} s"))
    return rows


TIMED = "import time, psutil, os; {code}; print(time.time() - psutil.Process(os.getpid()).create_time())"


def headlines(quick: bool) -> list[tuple[str, str]]:
    """What the benchmarks and the tests of faults and bad input note down."""
    with tempfile.TemporaryDirectory() as folder:
        noted = Path(folder) / "rows"
        noted.touch()
        environment = os.environ | {"REPORT_ROWS": str(noted)}
        for bench in sorted(HERE.glob("bench_*.py")):
            arguments = QUICK.get(bench.name, []) if quick else []
            subprocess.run([sys.executable, bench, *arguments], env=environment, check=True)
        subprocess.run([sys.executable, "-m", "pytest", "-q", *TESTS], env=environment, cwd=ROOT, check=False)
        return [tuple(json.loads(line)) for line in noted.read_text(encoding="utf-8").splitlines()]


if __name__ == "__main__":
    main()
