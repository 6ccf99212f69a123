"""The code cells of a lesson, run in this process: on another device, with smaller numbers, or more than once."""

from __future__ import annotations

from tutorial_utils.execution import find_notebooks, read_notebook

SMALLER = {
    "01": {
        "10_000 if": "2_500 if",
        "at_least=0.93,": "at_least=0.9,",
        '2000 if scale == "mini" else 10': '400 if scale == "mini" else 10',
    },
    "02": {
        "data = organmnist3d()": "data = organmnist3d()\nparts = {'train': 200, 'val': 60, 'test': 150}\n"
        "parts = {part: tuple(one[:n] for one in getattr(data, part)) for part, n in parts.items()}\n"
        "data = replace(data, **parts)",
        '"mini": (12, 24)': '"mini": (2, 2)',
        "(8,             2)": "(2, 2)",
    },
    "03": {
        "per_class = 4": "per_class = 1",
        "trials = 6": "trials = 2",
        "few = 3000": "few = 600",
        "stops, batch_of = (50, 200, 600), 32": "stops, batch_of = (5, 250), 32",
        "trial_size = 100": "trial_size = 40",
        "many = 300": "many = 40",
        "many_steps = 200": "many_steps = 80",
    },
    "04": {
        "draw_scenes(16,": "draw_scenes(8,",
        "guidance = [1.0, 2.0, 6.0, 12.0]": "guidance = [2.0]",
        '("ddim", 4), ("dpm-multi", 1), ("dpm-multi", 2), ': "",
    },
}
"""What makes the cells of each lesson quick: texts that stand there once, and what is put in their place."""

SMALLER_JUDGING = {
    "01": {},
    "02": {},
    "03": {
        "count = 1000": "count = 200",
        "drawn}, real[:4000]": "drawn}, real[:500]",
        "(drawn, real[:4000])": "(drawn, real[:500])",
    },
    "04": {
        "draw_scenes(40,": "draw_scenes(8,",
        "draw_scenes(20,": "draw_scenes(2,",
        "draw_clips(192,": "draw_clips(24,",
        "steps=100)": "steps=2)",
        "steps=150)": "steps=2)",
        "in_between[0], at_least=0.5": "in_between[0], at_least=0",
        "in_between[1], at_least=0.4": "in_between[1], at_least=0",
        "in_between[3], at_least=0.05": "in_between[3], at_least=-1",
        "at_last[0], at_least=0.6": "at_last[0], at_least=0",
        "at_last[1], at_least=0.3": "at_last[1], at_least=-1",
    },
}
"""What the last sections of the lessons that sample are changed by."""


def sections(lesson: str, changes: dict[str, str], until: str = "") -> list[dict[int, str]]:
    """The code cells of each section of a lesson, by their numbers.

    Args:
        lesson: the beginning of its name.
        changes: texts of the cells, each of which must stand there once, and what is put in their place.
        until: a heading before which to stop; empty for none.
    """
    cells = read_notebook(find_notebooks([lesson])[0]).cells
    sources = {number: cell.source for number, cell in enumerate(cells) if cell.cell_type == "code"}
    replace(sources, changes)
    if until:
        cells = cells[: next(number for number, cell in enumerate(cells) if until in cell.source)]
    found: list[dict[int, str]] = [{}]
    for number, cell in enumerate(cells):
        if cell.cell_type == "markdown" and cell.source.startswith("## "):
            found.append({})
        elif number in sources:
            found[-1][number] = sources[number]
    return found


def replace(sources: dict[int, str], changes: dict[str, str]) -> None:
    """Put the texts of `changes`, each of which must stand there once, in their place in the cells' sources."""
    for old, new in changes.items():
        places = [number for number, source in sources.items() if source.count(old)]
        assert len(places) == 1 and sources[places[0]].count(old) == 1, f"{old!r} stands in the cells {places}"
        sources[places[0]] = sources[places[0]].replace(old, new)


def run(lesson: str, changes: dict[str, str], until: str = "", again: bool = False) -> None:
    """Run the code cells of a lesson in order, in the present folder; arguments as for `sections`.

    Args:
        again: each cell is run twice at once, and when all have come to their end each section once more, the last
            section first.
    """
    parts = sections(lesson, changes, until)
    cells = [(number, source) for part in parts for number, source in part.items() for _ in range(1 + again)]
    if again:
        cells += [cell for part in reversed(parts) for cell in part.items()]
    names = {"__name__": "__main__", "display": lambda *shown: None}
    for number, source in cells:
        exec(compile(source, f"{lesson}, cell {number}", "exec", dont_inherit=True), names)
