"""What the lessons import, for all learners at once."""

from __future__ import annotations

import ast
import contextlib
from collections.abc import Iterator

import nbformat

from tutorial_utils.working import LESSONS

APART = {"keras", "tensorflow"}  # TensorFlow starts threads, and Keras reads its backend from the learner's environment


def import_all() -> None:
    """Import what the lessons import, except what must not be shared."""
    for statement in sorted(set(_imports())):
        with contextlib.suppress(ImportError):  # a lesson will say so better
            exec(statement, {})


def _imports() -> Iterator[str]:
    for path in LESSONS.glob("*.ipynb"):
        for cell in nbformat.read(path, as_version=4).cells:
            if cell.cell_type == "code":
                yield from map(ast.unparse, filter(_shared, ast.walk(ast.parse(cell.source))))


def _shared(node: ast.AST) -> bool:
    if isinstance(node, ast.ImportFrom):
        return node.module.split(".")[0] not in APART
    return isinstance(node, ast.Import) and not {name.name.split(".")[0] for name in node.names} & APART
