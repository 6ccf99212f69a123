"""What a committed notebook must look like. `problems` is used by the tests, and by the test of the tests."""

from __future__ import annotations

import base64
import json
import re
import struct
from collections.abc import Iterator
from pathlib import Path

import nbformat
from leaks import leaks
from nbformat import NotebookNode

from tutorial_utils import links
from tutorial_utils.checks import MARK
from tutorial_utils.execution import WIDGET, count_facts

MAX_MB = 3.5
MAX_MB_TOGETHER = 12.0
MIN_FACTS = 8
MAX_IGNORED = 1 / 3
MAX_LINES = 20
HOT_LINK = re.compile(r"!\[[^\]]*\]\(https?:|<img[^>]+src=.https?:")
TIMING = re.compile(r"\b\d+(\.\d+)? ?(ms|µs|s/it|it/s)\b|\bWall time")
MACHINE_PATH = re.compile(r"(?<![\w./])/(?:home|root|Users|tmp|work|usr|opt|mnt|var)/[\w.-]+|[A-Z]:\\\\?Users")

SMALL_WORDS = re.compile(r"\b(?:fontsize|labelsize)=([\d.]+)")
PALE_WORDS = re.compile(r"\b(?:text|annotate|suptitle|set_title|set_[xyz]label)\(.*\bQUIET\b")
GRID = re.compile(r"(\d+) pictures (?:in rows of (\d+)|side by side)")
CUT = re.compile(r"^[^.]*\bpatches\b|\bPanel ")  # pieces of a picture, and pictures beside something else
MIN_POINTS = 7
MIN_PIXELS = 78
MIN_WORDS = 3
COUNTED = """a an the of and in by x no one two without description has been provided figure image picture photo
animation video clip frame patch map panel row column side second caption class pixel plot graph"""
"""Words that say how much there is of what, and nothing else: they describe no picture."""


def problems(path: Path) -> list[str]:
    """Everything that is wrong with one notebook, a sentence each."""
    notebook = nbformat.read(path, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]
    found = [*_execution(code), *_outputs(code), *_facts(notebook, code), *leaks([cell.source for cell in code])]
    if any(HOT_LINK.search(cell.source) for cell in notebook.cells if cell.cell_type == "markdown"):
        found.append("its text shows a picture from the network")
    if notebook.metadata.get("kernelspec", {}).get("name") != "python3":
        found.append("the kernelspec is not python3")
    first = links.cell(path.stem, links.repository())
    if [cell.source for cell in notebook.cells if cell.get("id") == links.LAUNCH] not in ([], [first]):
        found.append("its first code cell is not the one of this repository: run python -m tutorial_utils.links")
    if "widgets" in notebook.metadata:
        found.append("it stores widget state")
    if path.stat().st_size > MAX_MB * 2**20:
        found.append(f"it is larger than {MAX_MB:g} MiB")
    return [f"{path.name}: {problem}" for problem in found]


def _execution(code: list[NotebookNode]) -> list[str]:
    counts = [cell.execution_count for cell in code]
    found = [] if counts == list(range(1, len(code) + 1)) else ["it was not executed top to bottom in one run"]
    for number, cell in enumerate(code, 1):
        if "execution" in cell.metadata:
            found.append(f"code cell {number} stores when it ran")
        if len(cell.source.splitlines()) > MAX_LINES:
            found.append(f"code cell {number} has more than {MAX_LINES} lines")
    return found


def _outputs(code: list[NotebookNode]) -> list[str]:
    found = []
    for number, cell in enumerate(code, 1):
        if any(float(size) < MIN_POINTS for size in SMALL_WORDS.findall(cell.source)):
            found.append(f"code cell {number} writes in less than {MIN_POINTS} points")
        if PALE_WORDS.search(cell.source):
            found.append(f"code cell {number} writes in QUIET, which is too pale for words")
        for output in cell.outputs:
            if output.output_type == "error":
                found.append(f"code cell {number} stores an error")
            if output.get("name") == "stderr":
                found.append(f"code cell {number} stores stderr")
            if WIDGET in output.get("data", {}):
                found.append(f"code cell {number} stores a widget")
            found += [f"code cell {number} {problem}" for problem in _pictures(output)]
            if match := TIMING.search(_text(output)):
                found.append(f"code cell {number} stores the timing {match.group()}")
            if match := MACHINE_PATH.search(_text(output)):
                found.append(f"code cell {number} stores the path {match.group()}")
    return found


def _pictures(output: NotebookNode) -> Iterator[str]:
    """What a reader who cannot see an output's pictures would miss."""
    for kind in (kind for kind in output.get("data", {}) if kind.startswith("image/")):
        words = output.get("metadata", {}).get(kind, {}).get("alt", "")
        if not words.strip():
            yield "shows a picture without an alternative text"
        elif len(_meaning(words)) < MIN_WORDS:
            yield f"shows a picture of which its alternative text says nothing: {words!r}"
        elif kind == "image/png" and not CUT.search(words) and (grid := GRID.search(words)):
            width, _ = struct.unpack(">II", base64.b64decode(output.data[kind][:64])[16:24])
            if width < MIN_PIXELS * int(grid[2] or grid[1]):
                yield f"shows pictures that are narrower than {MIN_PIXELS} pixels: {grid[0]} in {width}"


def _meaning(words: str) -> set[str]:
    """The words of an alternative text that say more than how many pictures there are, and how large."""
    found = re.findall(r"[^\W\d_]{2,}", words.lower())
    return {word for word in found if not {word, word.removesuffix("s"), word.removesuffix("es")} & {*COUNTED.split()}}


def _text(output: NotebookNode) -> str:
    """An output without its pictures, whose encoding can look like anything."""
    data = {kind: value for kind, value in output.get("data", {}).items() if not kind.startswith("image/")}
    return output.get("text", "") + json.dumps(data)


def _facts(notebook: NotebookNode, code: list[NotebookNode]) -> list[str]:
    found = []
    if (facts := count_facts(notebook)) < MIN_FACTS:
        found.append(f"it asserts {facts} facts, fewer than {MIN_FACTS}")
    ignored = [cell for cell in code if "nbval-ignore-output" in cell.metadata.get("tags", [])]
    if len(ignored) > MAX_IGNORED * len(code):
        found.append(f"{len(ignored)} of its {len(code)} code cells ignore their output, more than a third")
    for cell in ignored:
        if any(MARK in output.get("text", "") for output in cell.outputs):
            found.append("a cell that ignores its output asserts a fact: the fact's line would not be compared")
    return found
