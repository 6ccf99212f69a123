"""The code cells of a lesson, run in this process: on another device, in another precision, with smaller numbers."""

from __future__ import annotations

from tutorial_utils.execution import find_notebooks, read_notebook


def run(lesson: str, changes: dict[str, str], until: str = "") -> None:
    """Run the code cells of a lesson in order, in the present folder.

    Args:
        lesson: the beginning of its name.
        changes: texts of the cells, each of which must stand there once, and what is put in their place.
        until: a heading before which to stop; empty for none.
    """
    cells = read_notebook(find_notebooks([lesson])[0]).cells
    if until:
        cells = cells[: next(number for number, cell in enumerate(cells) if until in cell.source)]
    sources = {number: cell.source for number, cell in enumerate(cells) if cell.cell_type == "code"}
    for old, new in changes.items():
        places = [number for number, source in sources.items() if source.count(old)]
        assert len(places) == 1 and sources[places[0]].count(old) == 1, f"{old!r} stands in the cells {places}"
        sources[places[0]] = sources[places[0]].replace(old, new)
    names = {"__name__": "__main__", "display": lambda *shown: None}
    for number, source in sources.items():
        exec(compile(source, f"{lesson}, cell {number}", "exec", dont_inherit=True), names)
