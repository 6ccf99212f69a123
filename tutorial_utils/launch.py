"""Set-up on a machine that has a Python, and often a torch, of its own, such as Colab's or Kaggle's.

The first cell of each lesson fetches the course and calls `install`, before anything else of the course is there. So
this module uses nothing but Python's own library. What the host brings stays as it is, above all torch, whose build
fits the host's GPU; so the pins of constraints.txt do not count here.
"""

from __future__ import annotations

import importlib
import os
import re
import site
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path

from tutorial_utils import bootstrap, installer

ROOT = Path(__file__).resolve().parents[1]
KEPT = ("torch", "torchvision")
"""What the host has of these stays as it is found."""

LEFT_OUT = ("colour-science", "hypothesis", "jupyterlab", "nbval", "pre-commit", "pytest", "ruff", "uv")
"""What a lesson elsewhere does without: the host has a Jupyter of its own, and the others test or set up the course."""

ELSEWHERE = ("prefix", "root", "target", "user")
"""Settings with which pip would install where this Python does not look."""


class LaunchError(SystemExit):
    """What stands in the way, in one line, which is all that a notebook shows of it."""


def install(*extras: str) -> None:
    """Install what a lesson needs beside what is here, so that this very kernel can go on, and say so.

    From then on the working folder is the lessons' own, in which they look for their files.

    Args:
        extras: those of pyproject.toml that the lesson needs, such as ``"lesson2"``.

    Raises:
        LaunchError: the Python or the torch that is here does not suit, or pip could not install something.
    """
    check_python()
    wanted, kept = requirements(extras), found(KEPT)
    check_torch(wanted, kept)
    check_pip()
    before = versions()
    print("Installing what the lessons need; this takes a minute or two.", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        constraints = Path(folder, "kept.txt")
        constraints.write_text("".join(f"{name}=={version}\n" for name, version in kept.items()))
        pip("install", "--quiet", "--constraint", str(constraints), *wanted.values())
    pip("install", "--quiet", "--no-deps", "--editable", str(ROOT))
    look_again()
    after = versions()
    print(report(before, after, kept))
    if renewed := changed_under(before, after):
        print(f"Restart the kernel now, and begin again: it has loaded an older {', '.join(renewed)}.")


def check_python() -> None:
    """Raise LaunchError unless this Python is one that every package supports."""
    here = sys.version_info[:2]
    if not bootstrap.OLDEST <= here <= bootstrap.NEWEST:
        here, oldest, newest = (".".join(map(str, one)) for one in (here, bootstrap.OLDEST, bootstrap.NEWEST))
        raise LaunchError(f"The course needs Python {oldest} to {newest}, and this kernel is Python {here}.")


def requirements(extras: tuple[str, ...] = ()) -> dict[str, str]:
    """What to install: names, each with its line of pyproject.toml, such as ``"torch": "torch>=2.6"``."""
    import tomllib  # Python 3.11 and later

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = [*project["dependencies"], *(line for extra in extras for line in project["optional-dependencies"][extra])]
    return {name_of(line): line for line in lines if name_of(line) not in LEFT_OUT}


def name_of(requirement: str) -> str:
    """The name that a requirement begins with, as indexes compare it."""
    return re.sub(r"[-_.]+", "-", re.match(r"[\w.-]+", requirement)[0]).lower()


def found(names: tuple[str, ...]) -> dict[str, str]:
    """The versions of those that are installed here."""
    here = versions()
    return {name: here[name] for name in names if name in here}


def versions() -> dict[str, str]:
    """The version of every distribution that is installed here."""
    return {name_of(one.metadata["Name"]): one.version for one in metadata.distributions() if one.metadata["Name"]}


def check_torch(wanted: dict[str, str], kept: dict[str, str]) -> None:
    """Raise LaunchError if something that stays as it is found is older than what the course can use."""
    for name, version in kept.items():
        bound = re.search(r">=\s*([\d.]+)", wanted.get(name, ""))
        if bound and numbers(version) < numbers(bound[1]):
            raise LaunchError(
                f"The course needs {name} {bound[1]} or later, and here is {version}. Choose a newer environment, or "
                "renew both in this one: pip install --upgrade torch torchvision"
            )


def numbers(version: str) -> tuple[int, ...]:
    """The release of a version: ``(2, 6, 0)`` of ``"2.6.0+cu124"``."""
    return tuple(map(int, re.findall(r"\d+", re.match(r"[\d.]*", version)[0])))


def check_pip() -> None:
    """Raise LaunchError if a configuration file sends what pip installs elsewhere; variables that do are left out."""
    for line in pip("config", "list").splitlines():
        key = line.partition("=")[0]
        if key.rpartition(".")[2] in ELSEWHERE:
            raise LaunchError(f"pip is told to install elsewhere: {line}. Undo it: python -m pip config unset {key}")


def pip(*arguments: str) -> str:
    """Run pip in this Python: what it says.

    Raises:
        LaunchError: pip's own reason, whole.
    """
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]
    variables = {f"PIP_{name.upper()}" for name in ELSEWHERE}
    environment = {name: value for name, value in os.environ.items() if name not in variables}
    result = subprocess.run(
        command, env=environment, cwd=ROOT, capture_output=True, text=True, encoding="utf-8", errors="replace"
    )
    if result.returncode:
        raise LaunchError(f"pip could not install the packages. {installer.reason(result.stderr, result.returncode)}")
    return result.stdout


def look_again() -> None:
    """Let this kernel find what has been installed since it began, and the lessons their files."""
    for place in (str(ROOT), site.getusersitepackages()):  # pip resorts to the latter where the host's is read-only
        if place not in sys.path and Path(place).is_dir():
            sys.path.append(place)
    importlib.invalidate_caches()
    if Path.cwd() != ROOT and ROOT not in Path.cwd().parents:
        os.chdir(ROOT / "notebooks")


def report(before: dict[str, str], after: dict[str, str], kept: dict[str, str]) -> str:
    """One line: what was installed, and what was left alone."""
    beside = " and ".join(f"{name} {version}" for name, version in kept.items())
    new = sum(before.get(name) != version for name, version in after.items())
    stays = f", beside {beside}, which stay as they were" if kept else ""
    return f"Installed {new} packages for the course in {ROOT}{stays}."


def changed_under(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """Distributions of which this kernel has loaded another version than is installed now."""
    owners = metadata.packages_distributions()
    loaded = {name_of(owner) for module in owners.keys() & sys.modules.keys() for owner in owners[module]}
    return sorted(name for name in loaded & before.keys() & after.keys() if before[name] != after[name])
