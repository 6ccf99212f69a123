"""Which of the lessons' facts hold under the newest versions of all that the package depends on, and under the oldest.

python tests/benchmarks/matrix.py [--lessons 01 03] [--out docs/matrix.md] [--folder DIR]

Each set of versions gets an environment of its own outside of the repository (8 GB; it needs a network), in which the
lessons are executed; a fact that does not hold is written down, and the lesson goes on. An hour or so. What is done
already lies in the folder: run it again to go on after an interruption, remove the folder to begin anew.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import tomllib
from datetime import date
from pathlib import Path

from tutorial_utils import files
from tutorial_utils.bootstrap import venv_python
from tutorial_utils.execution import ROOT, count_facts, find_notebooks, read_notebook

UV = [sys.executable, "-m", "uv"]
SETS = {"newest": ("highest", "3.13"), "oldest": ("lowest-direct", "3.11")}
"""How uv chooses, and for which Python: the oldest are the least that pyproject.toml declares, with the newest of what
those bring."""

STARTUP = """
import os
from pathlib import Path
from tutorial_utils import checks

asserted = checks.check

def noted(name, *args, **kwargs):
    try:
        asserted(name, *args, **kwargs)
    except AssertionError as error:
        with Path(os.environ["MATRIX_FAILED"]).open("a", encoding="utf-8") as file:
            file.write(" ".join(str(error).split()) + "\\n")

checks.check = noted
"""
"""Runs in the lesson's kernel before its first cell."""

EXECUTE = """
import dataclasses, json, sys
from tutorial_utils.execution import execute, find_notebooks

_, outcome = execute(find_notebooks([sys.argv[1]])[0], lambda done, total: None)
print(json.dumps(dataclasses.asdict(outcome)))
"""

PAGE = """\
# Under other versions

{machine}, {day}. `make matrix` writes this page: the lessons at `mini` under the newest versions that pyproject.toml
allows, and under the oldest that it names. The stored lessons were run under those that constraints.txt pins. What only
tests and tools use is installed, and not tried.

## Facts

| lesson | pinned | {heads} |
|---|---|{rule}|
{facts}

{failed}

## Versions

| package | pinned | {heads} |
|---|---|{rule}|
{versions}
"""


def main() -> None:
    """Measure what is left to be measured, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--lessons", nargs="+", metavar="NN", help="beginnings of names; all by default")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "matrix.md")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "tutorial-matrix")
    parser.add_argument("--known", action="store_true", help="run nothing more: write what is known already")
    options = parser.parse_args()
    files.require_place(options.out.parent, "--out")
    lessons = [path.stem for path in find_notebooks(options.lessons)]
    results = {chosen: measure(chosen, lessons, options.folder / chosen, options.known) for chosen in options.sets}
    page = written(results, lessons)
    with files.draft(options.out) as partial:
        partial.write_text(page, encoding="utf-8")
    print(page)


def measure(chosen: str, lessons: list[str], folder: Path, known: bool) -> dict:
    """The versions of a set, and what came of each lesson under them; what is known already is read."""
    if not known:
        environment(chosen, folder)
    python = venv_python(str(folder / "venv"))
    listing = subprocess.check_output([*UV, "pip", "list", "--format=json", "--python", python], text=True)
    versions = {normal(one["name"]): one["version"] for one in json.loads(listing)}
    return {"versions": versions, **{lesson: outcome(lesson, python, folder, known) for lesson in lessons}}


def environment(chosen: str, folder: Path) -> None:
    """Create the environment of a set of versions, or bring it up to date, without what was measured before."""
    resolution, python = SETS[chosen]
    resolve = [*UV, "pip", "compile", "--quiet", "--resolution", resolution, "--python-version", python]
    resolve += ["--only-binary", ":all:", "--extra", "lesson2", "--no-header", "--no-annotate", "pyproject.toml"]
    wanted = subprocess.check_output(resolve, cwd=ROOT, text=True)
    requirements = folder / "requirements.txt"
    if requirements.exists() and requirements.read_text(encoding="utf-8") == wanted:
        return
    requirements.unlink(missing_ok=True)  # until the environment is whole
    for known in folder.glob("*.json"):
        known.unlink()
    subprocess.run([*UV, "venv", "--quiet", "--clear", "--python", python, folder / "venv"], check=True)
    with files.draft(requirements) as partial:
        partial.write_text(wanted, encoding="utf-8")
        target = venv_python(str(folder / "venv"))
        subprocess.run([*UV, "pip", "sync", "--quiet", "--python", target, partial], check=True)


def outcome(lesson: str, python: str, folder: Path, known: bool = False) -> dict:
    """Execute a lesson in an environment: its facts that hold, those that do not, and where it stopped if it did.

    An empty one, if it was not executed yet and only what is known is wanted.
    """
    result, failed = folder / f"{lesson}.json", folder / f"{lesson}.failed"
    if result.exists() or known:
        return json.loads(result.read_text(encoding="utf-8")) if result.exists() else {}
    startup = folder / "ipython" / "profile_default" / "startup" / "startup.py"
    startup.parent.mkdir(parents=True, exist_ok=True)
    startup.write_text(STARTUP, encoding="utf-8")
    failed.write_text("", encoding="utf-8")
    variables = {name: value for name, value in os.environ.items() if not name.startswith("TUTORIAL_")}
    variables |= {"PYTHONPATH": str(ROOT), "IPYTHONDIR": str(folder / "ipython"), "MATRIX_FAILED": str(failed)}
    run = subprocess.run(
        [python, "-c", EXECUTE, lesson], cwd=ROOT, env=variables, stdout=subprocess.PIPE, text=True, check=False
    )
    found = json.loads(run.stdout) if run.returncode == 0 else {"facts": 0, "error": "before its first cell"}
    found["failed"] = failed.read_text(encoding="utf-8").splitlines()
    with files.draft(result) as partial:
        partial.write_text(json.dumps(found), encoding="utf-8")
    return found


def written(results: dict[str, dict], lessons: list[str]) -> str:
    """The page."""
    facts, failed = [], []
    for path in find_notebooks(lessons):
        stored = count_facts(read_notebook(path))
        found = [result[path.stem] for result in results.values()]
        cells = [f"{one['facts']} of {stored}" if one else "not run" for one in found]
        facts.append(" | ".join(["", path.stem, f"{stored}", *cells, ""]).strip())
        for chosen, result in results.items():
            one = result[path.stem]
            failed += [f"- {chosen}, {path.stem}: {line}" for line in one.get("failed", [])]
            failed += [f"- {chosen}, {path.stem} stopped {one['error']}"] if one.get("error") else []
    heading = "What does not hold, or stops a lesson:" if failed else "Every fact that was looked at holds."
    return PAGE.format(
        machine=f"{platform.system()} ({platform.machine()}), no GPU",
        day=date.today(),
        heads=" | ".join(f"{chosen}, Python {SETS[chosen][1]}" for chosen in results),
        rule="|".join(["---"] * len(results)),
        facts="\n".join(facts),
        failed="\n".join([heading, *([""] if failed else []), *failed]),
        versions="\n".join(rows(results)),
    )


def rows(results: dict[str, dict]) -> list[str]:
    """A row for each direct dependency."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    direct = [*project["dependencies"], *project["optional-dependencies"]["lesson2"]]
    pins = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().split() if "==" in line)
    pins = {normal(name): version for name, version in pins.items()}
    names = sorted(normal(re.match(r"[\w.-]+", line)[0]) for line in direct)
    return [
        f"| {name} | {pins[name]} | {' | '.join(result['versions'].get(name, '') for result in results.values())} |"
        for name in names
    ]


def normal(name: str) -> str:
    """A package's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    main()
