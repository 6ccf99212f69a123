"""The lessons as the class needs them: a copy for each learner, and their imports for all."""

from __future__ import annotations

import ast
import contextlib
from collections.abc import Iterator
from pathlib import Path

import nbformat

from tutorial_utils import files

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
COPIED = (".ipynb", ".yaml")
APART = {"keras", "tensorflow"}  # TensorFlow starts threads, and Keras reads its backend from the learner's environment


def copy_missing(home: Path) -> None:
    """Give a learner each notebook, and each recipe that it reads, that is not there yet; leave the others alone."""
    for original in sorted(NOTEBOOKS.rglob("*")):
        place = Path("notebooks") / original.relative_to(NOTEBOOKS)
        copy = home / place
        if original.suffix in COPIED and not copy.exists() and not any(part.startswith(".") for part in place.parts):
            copy.parent.mkdir(parents=True, exist_ok=True)
            with files.draft(copy) as partial:
                partial.write_bytes(original.read_bytes())


def import_all() -> None:
    """Import what the lessons import, except what must not be shared."""
    for statement in sorted(set(_imports())):
        with contextlib.suppress(ImportError):  # a lesson will say so better
            exec(statement, {})


def _imports() -> Iterator[str]:
    for path in NOTEBOOKS.glob("*.ipynb"):
        for cell in nbformat.read(path, as_version=4).cells:
            if cell.cell_type == "code":
                yield from map(ast.unparse, filter(_shared, ast.walk(ast.parse(cell.source))))


def _shared(node: ast.AST) -> bool:
    if isinstance(node, ast.ImportFrom):
        return node.module.split(".")[0] not in APART
    return isinstance(node, ast.Import) and not {name.name.split(".")[0] for name in node.names} & APART
