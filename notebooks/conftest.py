"""How nbval runs the notebooks: patient with slow cells, deaf to stderr, done at a failure."""

from __future__ import annotations

import os
import platform
import re
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest
from nbval.plugin import IPyNbCell

from tutorial_utils import surroundings
from tutorial_utils.execution import heading_above, known_places, obstacle

# The stored outputs are those of `mini`, whatever a learner's shell and other tools are set to.
os.environ["TUTORIAL_SCALE"] = "mini"
surroundings.clear()

PATTERNS = Path(__file__).with_name("nbval_sanitize.cfg")
HERE = {re.escape(place) + r"(?:[\\/][\w.@+-]+)*[\\/]?": "PATH" for place in known_places()}
"""Paths on this machine, which may have blanks in them, unlike those that a pattern finds."""

OUTPUT_TIMEOUT = (
    60  # nbval gives up after 5 s without output, less than importing TensorFlow can take
)
REPORTED = ("torch", "transformers", "keras", "tensorflow", "diffusers", "nbval")


def pytest_configure(config: pytest.Config) -> None:
    config.option.nbval_sanitize_with = str(PATTERNS)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    cells = [item for item in items if isinstance(item, IPyNbCell)]
    obstacles = {path: obstacle(path) for path in {Path(item.path) for item in cells}}
    for item in cells:
        item.output_timeout = OUTPUT_TIMEOUT
        if reason := obstacles[Path(item.path)]:
            item.add_marker(pytest.mark.skip(reason=reason))


def pytest_runtest_setup(item: pytest.Item) -> None:
    if not isinstance(item, IPyNbCell):
        return
    notebook = item.parent
    if getattr(notebook, "first_failure", None):
        pytest.skip(f"the notebook stopped at {notebook.first_failure}")
    if "stderr" not in notebook.skip_compare:
        notebook.skip_compare += ("stderr",)
        notebook.sanitize_patterns = HERE | notebook.sanitize_patterns
    if item.cell.execution_count is None and item.cell.source.strip():
        notebook.first_failure = item.name
        pytest.fail(
            "The cell is stored without having been executed: run `make refresh`.",
            pytrace=False,
        )


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo):
    report = (yield).get_result()
    if report.failed and isinstance(item, IPyNbCell):
        item.parent.first_failure = item.name
        report.sections.append(
            ("where", f"{Path(item.path).name}, {item.name}, under '{heading_of(item)}'")
        )
        report.sections.append(("machine", machine()))


def heading_of(item: IPyNbCell) -> str:
    """The last heading above a cell, the name by which a reader knows it."""
    cells = item.parent.nb.cells
    code = [index for index, cell in enumerate(cells) if cell.cell_type == "code"]
    return heading_above(item.parent.nb, code[item.cell_num])


@cache
def machine() -> str:
    """Versions and device, which explain a difference in the last digits."""
    from tutorial_utils import runtime

    versions = ", ".join(map(with_version, REPORTED))
    python = f"Python {platform.python_version()}, {platform.machine()}"
    return f"{versions}; {python}, {runtime.device()}"


def with_version(name: str) -> str:
    """A package and its version; a light environment lacks some."""
    try:
        return f"{name} {version(name)}"
    except PackageNotFoundError:
        return f"no {name}"
