"""What is made from the repository's address: each lesson's first cell, and links that open a lesson elsewhere.

``python -m tutorial_utils.links`` writes them. The address is the one in pyproject.toml under ``[project.urls]``, as
``Repository``. Where there is none there are no links, and the cell asks the variable `TUTORIAL_REPOSITORY`.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from tutorial_utils.execution import ROOT, find_notebooks, read_notebook, write_notebook
from tutorial_utils.files import draft

LAUNCH = "launch"
"""The id of the cell. Its place is below the lesson's head."""

CELL = """\
# @title For Colab and its like: fetch the course, where it is not installed
import importlib.util
import os
import sys

if importlib.util.find_spec("tutorial_utils") is None:
    address = os.environ.get("TUTORIAL_REPOSITORY", "{address}")
    os.environ["GIT_TERMINAL_PROMPT"] = "0"  # a wrong address is an error, not a question
    course = ".." if os.access("../tutorial_utils", os.F_OK) else "video-transformers"
    git = os.popen(f'git clone -q --depth 1 "{{address}}" {{course}} 2>&1').read()
    sys.path.insert(0, os.path.realpath(course))
    if importlib.util.find_spec("tutorial_utils") is None:
        git = f"Not fetched: TUTORIAL_REPOSITORY={{address!r}} (its ZIP also works). {{git}}"
        sys.exit(" ".join(git.split()))
    importlib.import_module("tutorial_utils.launch").install({extras})"""

HIDDEN = {"cellView": "form", "jupyter": {"source_hidden": True}, "tags": ["remove-cell"]}
"""Folded on Colab and in JupyterLab, and left out of pages, where there is nothing to run."""

EXTRAS = {"02_vivit_organmnist3d": "lesson2"}
"""Lessons that need more than the package does, and its extra that has it."""

SITES = {
    "Colab": (
        "https://colab.research.google.com/assets/colab-badge.svg",
        "https://colab.research.google.com/github/{place}/blob/main/{path}",
    ),
    "Kaggle": (
        "https://kaggle.com/static/images/open-in-kaggle.svg",
        "https://kaggle.com/kernels/welcome?src=https://github.com/{place}/blob/main/{path}",
    ),
    "Binder": (
        "https://mybinder.org/badge_logo.svg",
        "https://mybinder.org/v2/gh/{place}/main?urlpath=lab/tree/{path}",
    ),
    "Codespaces": ("https://github.com/codespaces/badge.svg", "https://codespaces.new/{place}"),
}
"""Badges, and where a notebook of a public repository on GitHub opens. ModelScope's notebooks have no such address."""

BEGIN, END = "<!-- links: python -m tutorial_utils.links -->\n", "<!-- end of links -->\n"


def main() -> None:
    """Write the cell of every lesson, and the links of the README."""
    address = repository()
    for path in find_notebooks():
        notebook = read_notebook(path)
        put_cell(notebook, cell(path.stem, address))
        write_notebook(notebook, path)
    readme = ROOT / "README.md"
    page = with_links(readme.read_text(encoding="utf-8"), badges(address, [path.stem for path in find_notebooks()]))
    with draft(readme) as partial:
        partial.write_text(page, encoding="utf-8")


def repository(project: Path = ROOT / "pyproject.toml") -> str:
    """The repository's address; empty if `project` has none.

    Raises:
        ValueError: it is no address that git could clone.
    """
    urls = tomllib.loads(project.read_text(encoding="utf-8"))["project"].get("urls", {})
    address = urls.get("Repository", "")
    if address and not re.fullmatch(r"[a-z]+://[\w.:/@~+-]+", address, re.ASCII):
        raise ValueError(f"{project}: Repository = {address!r} is not an address such as https://github.com/a/b.")
    return address.removesuffix("/")


def cell(lesson: str, address: str) -> str:
    """The source of a lesson's first cell."""
    extra = EXTRAS.get(lesson)
    return CELL.format(address=address, extras=f'"{extra}"' if extra else "")


def put_cell(notebook: NotebookNode, source: str) -> None:
    """Put the cell below a lesson's head, or in the place of the one that is there, and count the code cells anew."""
    first = nbformat.v4.new_code_cell(source, id=LAUNCH, metadata=HIDDEN)
    notebook.cells = [one for one in notebook.cells if one.get("id") != LAUNCH]
    notebook.cells.insert(1, first)
    code = [one for one in notebook.cells if one.cell_type == "code" and one.source.strip()]
    for number, one in enumerate(code, 1):
        one.execution_count = number
        for output in one.outputs:
            if output.output_type == "execute_result":
                output.execution_count = number


def hosts(address: str, path: str) -> dict[str, str]:
    """Where a notebook opens, by the names of `SITES`; nowhere unless the address is one on GitHub."""
    place = address.removeprefix("https://github.com/").removesuffix(".git")
    if place in ("", address):
        return {}
    return {site: link.format(place=place, path=path) for site, (_, link) in SITES.items()}


def badges(address: str, lessons: list[str]) -> str:
    """A table of links that open each lesson elsewhere; empty unless the address is one on GitHub."""
    if not hosts(address, ""):
        return ""
    rows = [
        f"| {lesson} | "
        + " ".join(
            f"[![Open in {site}]({SITES[site][0]})]({link})"
            for site, link in hosts(address, f"notebooks/{lesson}.ipynb").items()
        )
        + " |"
        for lesson in lessons
    ]
    return "\n".join(["", "| Without installing anything | |", "|---|---|", *rows, "", ""])


def with_links(page: str, links: str) -> str:
    """A page with `links` between its two marks.

    Raises:
        ValueError: it has no such place.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"The page needs a place for links: the lines {BEGIN.strip()} and {END.strip()}.")
    return f"{before}{BEGIN}{links}{END}{after}"


if __name__ == "__main__":
    main()
