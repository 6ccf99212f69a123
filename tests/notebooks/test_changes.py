"""A learner changes something and runs from there on: every cell comes to its end, and the change is to be seen.

The lessons run with smaller numbers, in a kernel that speaks as to a learner. Of each lesson two changes are tried by
default, and all of them by `make deep`.
"""

from contextlib import ExitStack
from dataclasses import dataclass

import pytest
from cells import SMALLER, SMALLER_JUDGING, replace

from tutorial_utils.execution import client_for, find_notebooks, obstacle, read_notebook


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


OPENED = "load_config(config_file, card.options)"

CHANGES = {
    "01": [
        Change("ff72aba1", "(0, 2, 4, 6, 7)", "(2, 5)", "c3c04948"),
        Change("114b7747", "which = 0", "which = 23", "56103994"),
        Change("removed1", "with_holes(1,", "with_holes(3,", "removed1"),
        Change("control0", "var(dim=2)", "amax(dim=2)", "control0"),
        Change("silence1", "[number])", "[number, 0])", "silence1"),
        Change("halves00", "torch.randperm(len(test_images))", "torch.arange(30)", "c3c04948"),
        Change("alllaye1", "min(6,", "min(2,", "alllaye1"),
        Change("a7ed3c53", "(rows, columns))", "(rows, columns), 0)", "a7ed3c53"),
        Change("57cce6f3", "2_500 if", "300 if", "c1ed6c23"),
        Change("attn3do0", "[2, 0, 0, 2]])", "[2, 0, 0, 0], [0, 9, 0, 0]])", "attn3do0"),
        Change("92af947a", "[4, 8, 16, 32, 64]", "[10, 20, 50]", "8dcc3cf2"),
        Change("2e195c41", "patch = 32", "patch = 50", "a74037a2"),
        Change("2c110f25", "coarse = 48", "coarse = 50", "1afe9cb5"),
        Change("fdfb73e8", "side = 336", "side = 250", "a84d3a14"),
        Change("fdfb73e8", 'fetch("chelsea") / "chelsea.png"', '"../docs/clips.gif"', "fdfb73e8"),
    ],
    "02": [
        Change("aa6c6000", "range(-8, 9)", "range(-4, 5)", "aa6c6000"),
        Change("bf8b432b", '"joint"', '"factorised encoder"', "places-drawn"),
        Change("b60b2238", "slice(0, 25)", "slice(25, 50)", "b60b2238"),
        Change("draw-costs", "draw_costs(32, 196,", "draw_costs(64, 49,", "draw-costs"),
        Change("dials", "(7, 7, 7)),", "(14, 7, 7)),", "tubelets-3d"),
        Change("dials", "((8, 8, 8),", "((7, 7, 7),", "53757209"),
        Change("dials", '"mini": (2, 2)', '"mini": (1, 1)', "a5407f59"),
        Change("dials", "(128,           64)", "(64,            128)", "f52e3d38"),
        Change("dials", "(32,            32)", "(7,             7)", "d99671a2"),
        Change("dials", '"joint")', '"factorised encoder")', "d99671a2"),
        Change("dials", '"blocks":           (2, 2)', '"blocks":           (1, 5)', "f52e3d38"),
    ],
    "03": [
        Change("42033c82", "count = 200", "count = 60", "a1a46ae6"),
        Change("e1fd5df6", "with_interval(0.3, 3)", "with_interval(1, 2)", "191cae68"),
        Change("601cbd66", "[5, 10, 20, 40]", "[12, 6]", "0f1a19ea"),
        Change("601cbd66", '"dpm-single")\n', '"dpm-single", "unipc")\n', "0f1a19ea"),
        Change("9735a406", "many = 40", "many = 30", "ff44424d"),
        Change("5d4d8210", "[0.0, 1.0, 2.0, 4.0, 8.0]", "[3.0]", "5d4d8210"),
        Change("9a728bb1", "list(range(len(names)))", "[8, 7]", "3fb7d944"),
        Change("9a728bb1", "per_class = 1", "per_class = 3", "3fb7d944"),
        Change("own-garments-judged", "trial_size = 40", "trial_size = 4", "snapshots-judged"),
        Change("train-on-garments", "(5, 250)", "(3,)", "garments-of-ones-own"),
        Change("train-on-garments", "[1, 5, 8, 9], range(4)", "[8, 8], [1, 2]", "garments-of-ones-own"),
        Change("three-small-networks", "width=48, depth=4", "width=24, depth=2", "three-small-networks"),
        Change("train-all-three", "trials = 2", "trials = 1", "three-compared"),
        Change("train-in-the-plane", "plane_steps = 800", "plane_steps = 20", "loss-in-the-plane"),
        Change("plane-network", "width=48", "width=12", "draw-the-field"),
        Change("two-moons", "draw_moons(4000, seed=0)", "draw_moons(300, seed=5)", "noise-in-the-plane"),
        Change("b2f2bef1", "[4, 5, 6, 7]", "[11]", "191cae68"),
        Change("2969d433", "[0, 100, 250, 450, 700, 999]", "[999, 50.5]", "9de85286"),
        Change("df0287e0", "list(range(8))", "[20, 21, 22]", "4803fef9"),
        Change("de1033c0", "by_class.SETTINGS[scale]", "by_class.SETTINGS[scale], guidance_scale=1.0", "191cae68"),
        Change("de1033c0", "by_class.SETTINGS[scale]", "by_class.SETTINGS[scale], steps=1", "drawn-steps"),
        Change("de1033c0", '"sneaker"', '"bag"', "drawn-steps"),
    ],
    "04": [
        Change("train-course-run", "steps=2)", "steps=0)", "train-course-clips"),
        Change("train-lora-attach", '"rank", 4', '"rank", 1', "train-lora-count"),
        Change("train-ask", '"zorkim"', '"very"', "train-ask-clips"),
        Change("train-colour", '"orange", (1.0, 0.55, 0.15)', '"brown", [0.6, 0.35, 0.15]', "train-colour-ceiling"),
        Change("9df3015e", "draw_scenes(8,", "draw_scenes(3,", "4f10fae0"),
        Change("34f97131", '"a blue sneaker moving left"', '"a boot, moving up!"', "34f97131"),
        Change("3ece51bd", "few = 3", "few = 2", "98e91fae"),
        Change("e9341b50", "guidance = [2.0]", "guidance = [0.0, 1.0]", "3ece51bd"),
        Change("976fac40", "draw_scenes(8,", "draw_scenes(1,", "e9341b50"),
        Change("ffe70e37", "range(6)", "range(2)", "ffe70e37"),
        Change("look-in-one-layer", "layers // 2, len(steps) // 2", "0, 0", "words-in-layers"),
        Change("386ef03c", '    "a red boot moving left",\n', "", "2616a21a"),
        Change("2d79a84c", "config.seed, k", "config.seed + 1, k", "6ac555ba"),
        Change("915e7a4e", OPENED, f'{OPENED}.model_copy(update={{"prompts": ("a red bag.", "运动鞋")}})', "6ac555ba"),
        Change("915e7a4e", OPENED, f'{OPENED}.model_copy(update={{"steps": 1, "guidance_scale": 1.0}})', "ffe70e37"),
        Change("915e7a4e", OPENED, f'{OPENED}.model_copy(update={{"frames": 1, "batch_size": 1}})', "48aa2d8c"),
    ],
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
        self.cells = notebook.cells
        self._client = client_for(notebook, path.parent)

    def __enter__(self) -> "Lesson":
        self._kernel = self._client.setup_kernel()
        self._kernel.__enter__()
        self._run(0)
        self._changed, self._shown = len(self.cells), {cell.id: cell.get("outputs") for cell in self.cells}
        return self

    def __exit__(self, *exception: object) -> None:
        self._kernel.__exit__(*exception)

    def try_out(self, change: Change) -> bool:
        """Run from the changed cell on; whether what it shows became another."""
        numbers = {cell.id: number for number, cell in enumerate(self.cells)}
        changed, seen = numbers[change.cell], self.cells[numbers[change.shows]]
        self._run(self._changed, changed)  # an earlier change is taken back
        before, original = self._shown[change.shows], self.cells[changed].source
        assert original.count(change.old) == 1, f"{change.old!r} does not stand once in {change.cell}"
        self._changed = changed
        self.cells[changed].source = original.replace(change.old, change.new)
        try:
            self._run(changed)
        finally:
            self.cells[changed].source = original
        return contents(before) != contents(seen.outputs)

    def _run(self, first: int, end: int | None = None) -> None:
        for number in range(len(self.cells))[first:end]:
            if self.cells[number].cell_type == "code":
                self._client.execute_cell(self.cells[number], number)


def contents(outputs: list[dict]) -> list:
    """What a cell shows, without counts and kinds."""
    return [output.get("data", output.get("text")) for output in outputs]


@pytest.fixture(scope="module")
def open_lesson():
    """Opens a lesson by its name, in the learner's voice, and closes the one that was open before it."""
    opened = {}
    with ExitStack() as stack:

        def open_by_name(name: str) -> Lesson:
            if name not in opened:
                stack.close()
                opened.clear()
                with pytest.MonkeyPatch.context() as patch:
                    patch.setenv("TUTORIAL_CHECKS", "report")
                    opened[name] = stack.enter_context(Lesson(name))
            return opened[name]

        yield open_by_name


@pytest.mark.parametrize(("name", "change"), CASES)
def test_a_change_comes_to_its_end_and_shows(name, change, open_lesson):
    assert open_lesson(name).try_out(change), f"{change.shows} shows what it had shown before"
