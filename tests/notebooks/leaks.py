"""State that leaks from cell to cell: names that mean two things in a notebook, or nothing yet where they are used."""

from __future__ import annotations

import ast
import symtable
from collections.abc import Iterator

BOUND_ANEW = {
    "figure": "whatever draws one begins with it",
    "ax": "a figure's",
    "axes": "a figure's",
    "captions": "they belong to the pictures of the same cell",
    "shown_as": "it describes the picture of the same cell",
    "_": "nothing reads it",
}
"""Names that several cells may bind, and why nothing leaks from one to the next."""


def leaks(sources: list[str]) -> list[str]:
    """What leaks in the code cells of a notebook, a sentence each. One loop's variable may be another loop's, too."""
    bound: dict[str, list[int]] = {}
    outside_loops: set[str] = set()
    tables = [symtable.symtable(source, "cell", "exec") for source in sources]
    for number, (source, table) in enumerate(zip(sources, tables, strict=True), 1):
        looped, inner = _bound_by_loops(source), _bound_by_comprehensions(source)
        names = {one.get_name() for one in table.get_symbols() if one.is_assigned() or one.is_imported()}
        for name in names - inner:
            bound.setdefault(name, []).append(number)
            if name not in looped:
                outside_loops.add(name)
    found = [
        f"{name} is bound in the code cells {cells}"
        for name, cells in bound.items()
        if len(cells) > 1 and name in outside_loops - BOUND_ANEW.keys()
    ]
    for number, (source, table) in enumerate(zip(sources, tables, strict=True), 1):
        used = set(_used(table)) - _bound_by_comprehensions(source)
        early = [name for name in sorted(used & bound.keys()) if bound[name][0] > number]
        found += [f"code cell {number} uses {name}, which cell {bound[name][0]} defines" for name in early]
    return found


SCOPES = (ast.FunctionDef, ast.ClassDef, ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


def _bound_by_loops(source: str) -> set[str]:
    """What nothing but the `for` loops of a cell binds there."""
    nodes = list(_outside_of_scopes(ast.parse(source)))
    targets = {id(node) for loop in nodes if isinstance(loop, ast.For) for node in ast.walk(loop.target)}
    stored = [node for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)]
    return {node.id for node in stored} - {node.id for node in stored if id(node) not in targets}


def _bound_by_comprehensions(source: str) -> set[str]:
    """What nothing but comprehensions bind in a cell: since Python 3.12, its table of symbols has these names, too."""
    tree = ast.parse(source)
    targets = {name for node in ast.walk(tree) if isinstance(node, ast.comprehension) for name in ast.walk(node.target)}
    outside = {node.id for node in _outside_of_scopes(tree) if isinstance(node, ast.Name)}
    return {node.id for node in targets if isinstance(node, ast.Name)} - outside


def _outside_of_scopes(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a cell but for those that have names of their own."""
    yield node
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, SCOPES):
            yield from _outside_of_scopes(child)


def _used(table: symtable.SymbolTable) -> Iterator[str]:
    """The notebook's names that a cell reads, or that a function, class or comprehension of it will."""
    for one in table.get_symbols():
        if one.is_referenced() and (table.get_type() == "module" or one.is_global()):
            yield one.get_name()
    for inner in table.get_children():
        yield from _used(inner)
