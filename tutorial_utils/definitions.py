"""The code in a lesson's cells, to be tested and measured by itself."""

from __future__ import annotations

import ast
from pathlib import Path
from types import ModuleType
from typing import Any

from tutorial_utils import execution


def definitions(path: Path, **given: Any) -> ModuleType:
    """What a notebook defines, without running the lesson: for tests and benchmarks of the code in its cells.

    Args:
        given: values of the lesson's that its definitions refer to, such as the data.

    Returns:
        A module with the notebook's imports, functions, classes and CONSTANTS, executed in order.

    Raises:
        ValueError: the file is no notebook.
    """
    module = ModuleType(path.stem)
    module.__dict__.update(given)
    for cell in execution.read_notebook(path).cells:
        if cell.cell_type == "code":
            tree = ast.parse(cell.source, path.name)
            tree.body = [node for node in tree.body if _defines(node)]
            exec(compile(tree, path.name, "exec", dont_inherit=True), module.__dict__)
    return module


def _defines(node: ast.stmt) -> bool:
    if isinstance(node, ast.With):
        return all(isinstance(inner, ast.Import | ast.ImportFrom) for inner in node.body)
    if isinstance(node, ast.Assign):
        names = [name.id for target in node.targets for name in ast.walk(target) if isinstance(name, ast.Name)]
        return all(len(name) > 1 and name.isupper() for name in names)  # one capital letter is a mere number
    return isinstance(node, ast.Import | ast.ImportFrom | ast.FunctionDef | ast.ClassDef)
