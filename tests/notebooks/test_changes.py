"""A learner changes something and runs from there on: every cell comes to its end, and the change is to be seen.

The lessons run with smaller numbers, in a kernel that speaks as to a learner. Of each lesson two changes are tried by
default, and all of them by `make deep`.
"""

from dataclasses import dataclass

import pytest
from cells import SMALLER, SMALLER_JUDGING, replace
from nbclient import NotebookClient

from tutorial_utils.execution import OwnKernel, SilentOutput, find_notebooks, obstacle, read_notebook


@dataclass(frozen=True)
class Change:
    """What a learner puts in the place of `old`, which stands once in the cell with that id.

    Attributes:
        shows: the id of a cell whose output is then another.
    """

    cell: str
    old: str
    new: str
    shows: str


CHANGES = {
    "01": [
        Change("d8fd1b3e", "patch = 32", "patch = 64", "a74037a2"),
    ],
    "02": [
        Change("aa6c6000", "range(-8, 9)", "range(-4, 5)", "aa6c6000"),
        Change("b60b2238", "slice(0, 25)", "slice(25, 50)", "b60b2238"),
        Change("draw-costs", "draw_costs(32, 196,", "draw_costs(64, 49,", "draw-costs"),
        Change("dials", "(7, 7, 7)),", "(14, 7, 7)),", "places-drawn"),
        Change("dials", "((8, 8, 8),", "((7, 7, 7),", "53757209"),
        Change("dials", '"mini": (2, 2)', '"mini": (1, 1)', "a5407f59"),
        Change("dials", "(128,           64)", "(64,            128)", "f52e3d38"),
        Change("dials", "(32,            32)", "(7,             7)", "d99671a2"),
        Change("dials", '"joint")', '"factorised encoder")', "a8695909"),
        Change("dials", "(2, 2)", "(1, 5)", "f52e3d38"),
    ],
    "03": [],
    "04": [],
}
"""By lesson. The first two of each are tried by default; a list from the last cell to the first takes least time."""

CASES = [
    pytest.param(lesson, change, id=f"{lesson}-{change.new}", marks=[pytest.mark.deep] if place > 1 else [])
    for lesson, changes in CHANGES.items()
    for place, change in enumerate(changes)
]


class Lesson:
    """A lesson in a kernel of its own, all of whose cells have been run."""

    def __init__(self, name: str):
        path = find_notebooks([name])[0]
        if lacking := obstacle(path):
            pytest.skip(lacking)
        notebook = read_notebook(path)
        sources = {number: cell.source for number, cell in enumerate(notebook.cells) if cell.cell_type == "code"}
        replace(sources, SMALLER[name] | SMALLER_JUDGING[name])
        for number, source in sources.items():
            notebook.cells[number].source = source
        self.cells, self._changed = notebook.cells, len(notebook.cells)
        self._client = NotebookClient(
            notebook,
            timeout=600,
            kernel_name="python3",
            kernel_manager_class=OwnKernel,
            extra_arguments=["--log-level=ERROR"],
            resources={"metadata": {"path": str(path.parent)}},
        )
        self._client.widget_registry = {"@jupyter-widgets/output": {"OutputModel": SilentOutput}}

    def __enter__(self) -> "Lesson":
        self._kernel = self._client.setup_kernel()
        self._kernel.__enter__()
        self._run(0)
        return self

    def __exit__(self, *exception: object) -> None:
        self._kernel.__exit__(*exception)

    def try_out(self, change: Change) -> bool:
        """Run from the changed cell on; whether what it shows became another."""
        numbers = {cell.id: number for number, cell in enumerate(self.cells)}
        changed, seen = numbers[change.cell], self.cells[numbers[change.shows]]
        self._run(self._changed, changed)  # an earlier change is taken back
        before, original = seen.outputs, self.cells[changed].source
        assert original.count(change.old) == 1, f"{change.old!r} does not stand once in {change.cell}"
        self._changed = changed
        self.cells[changed].source = original.replace(change.old, change.new)
        try:
            self._run(changed)
        finally:
            self.cells[changed].source = original
        return [output.get("data", output.get("text")) for output in before] != [
            output.get("data", output.get("text")) for output in seen.outputs
        ]

    def _run(self, first: int, end: int | None = None) -> None:
        for number in range(len(self.cells))[first:end]:
            if self.cells[number].cell_type == "code":
                self._client.execute_cell(self.cells[number], number)


@pytest.fixture(scope="module")
def lesson(request):
    """The lesson whose name the parameter begins, in the learner's voice."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TUTORIAL_CHECKS", "report")
        with Lesson(request.param) as opened:
            yield opened


@pytest.mark.parametrize(("lesson", "change"), CASES, indirect=["lesson"])
def test_a_change_comes_to_its_end_and_shows(lesson, change):
    assert lesson.try_out(change), f"{change.shows} shows what it had shown before"
