"""The committed notebooks are executed, clean and small."""

import base64
import importlib
import io
import re

import nbformat
import pytest
from hygiene import MAX_MB_TOGETHER, problems
from leaks import leaks
from PIL import Image

from tutorial_utils import links
from tutorial_utils.editions import cleared
from tutorial_utils.execution import find_notebooks
from tutorial_utils.pages import AS_TYPED, markdown_to_html
from tutorial_utils.slides import QUESTION

CHECK = re.compile(r'check_exercise\("([\d.]+)", (\w+)\)$')


@pytest.mark.parametrize("path", find_notebooks(), ids=lambda path: path.stem)
def test_notebook_is_clean(path):
    assert problems(path) == []


@pytest.mark.parametrize("path", find_notebooks(), ids=lambda path: path.stem)
def test_a_lesson_begins_with_the_cell_that_fetches_the_course_from_the_address_in_pyproject(path, tmp_path):
    notebook = nbformat.read(path, as_version=4)
    first = notebook.cells[1]
    assert (first.id, first.source) == (links.LAUNCH, links.cell(path.stem, links.repository()))
    links.put_cell(notebook, links.cell(path.stem, "https://github.com/somebody/else"))
    nbformat.write(notebook, tmp_path / path.name)
    (problem,) = problems(tmp_path / path.name)
    assert "is not the one of this repository" in problem


@pytest.mark.parametrize("path", find_notebooks(), ids=lambda path: path.stem)
def test_a_lesson_asks_before_it_shows(path):
    cells = nbformat.read(path, as_version=4).cells
    asked = [at for at, cell in enumerate(cells) if cell.cell_type == "markdown" and QUESTION in cell.source]
    assert len(asked) >= 4
    for at, following in zip(asked, [*asked[1:], len(cells)], strict=True):
        question = cells[at].source.partition(QUESTION)[2]
        assert question.count('<input type="checkbox">') >= 2 and question.count("<summary>Reveal</summary>") == 1
        after = [cell.source for cell in cells[at + 1 : following] if cell.cell_type == "code"]
        assert any("check(" in source for source in after), f"nothing asserts the answer to {question[:60]!r}"


@pytest.mark.parametrize("path", find_notebooks(), ids=lambda path: path.stem)
def test_every_formula_of_a_lesson_can_be_set(path):
    texts = [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "markdown"]
    pages = [markdown_to_html(text) for text in texts]
    assert sum(page.count("<math") for page in pages) >= 10
    assert [page for page in pages if AS_TYPED in page] == []


@pytest.mark.parametrize("path", find_notebooks(), ids=lambda path: path.stem)
def test_an_exercise_has_hints_a_gap_and_its_check(path):
    cells = nbformat.read(path, as_version=4).cells
    checks = {found[1]: at for at, cell in enumerate(cells) if (found := CHECK.match(cell.source))}
    lesson = importlib.import_module(f"tutorial_utils.exercises.lesson_{int(path.stem[:2])}")
    assert list(checks) == list(lesson.EXERCISES) and len(checks) >= 6
    for number, at in checks.items():
        task, solution = cells[at - 2].source, cells[at - 1].source
        assert f"**{number} · " in task and 1 <= task.count("<details><summary>Hint") <= 3
        name = CHECK.match(cells[at].source)[2]
        assert solution.startswith(f"def {name}(") and cleared(solution) != solution
        kinds = [cell.metadata.nbgrader for cell in (cells[at - 1], cells[at])]
        assert [(kind.solution, kind.grade) for kind in kinds] == [(True, False), (False, True)]


def test_notebooks_together_are_small():
    assert sum(path.stat().st_size for path in find_notebooks()) <= MAX_MB_TOGETHER * 2**20


NOTHING = ["", " ", "7 images.", "3 x 4 patches", "Figure", "Two pictures side by side, without captions.", "1 video"]
NOTHING += [
    "No description has been provided for this image",
    "6 videos of 8 frames. Animation of 8 frames, 8 in a second.",
]


@pytest.mark.parametrize("words", [None, *NOTHING])
def test_a_picture_without_words_or_with_a_bare_count_is_found(tmp_path, words):
    assert [problem.split(" ", 4)[-1][:15] for problem in pictured(tmp_path, words)] == ["shows a picture"]


@pytest.mark.parametrize(
    "words", ["Accuracy falls from 93% to 10%.", "Two pictures: sneaker; ankle boot.", "一只 红色 运动鞋"]
)
def test_a_picture_with_a_description_is_sound(tmp_path, words):
    assert pictured(tmp_path, words) == []


@pytest.mark.parametrize(
    ("words", "wide"), [("Bags. 4 pictures in rows of 2.", 160), ("Bags. 2 pictures side by side.", 160)]
)
def test_a_grid_of_stamps_is_found(tmp_path, words, wide):
    words = f"{words} Row 1: a bag; a coat; a boot."
    assert pictured(tmp_path, words, wide) == pictured(tmp_path, f"The patches of one. {words}", 99) == []
    (problem,) = pictured(tmp_path, words, wide - 10)
    assert "narrower than 78 pixels" in problem


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("ax.text(1, 1, 'a', fontsize=6.5)", "writes in less than 7 points"),
        ("ax.tick_params(labelsize=5)", "writes in less than 7 points"),
        ("ax.text(1, 1, 'a', color=plotting.QUIET)", "writes in QUIET"),
        ("ax.plot(x, y, markersize=3, color=plotting.QUIET)\nax.text(1, 1, 'a', fontsize=7)", ""),
    ],
)
def test_words_that_are_small_or_pale_are_found(tmp_path, source, problem):
    found = [line for line in pictured(tmp_path, None, source=source) if "writes" in line]
    assert len(found) == bool(problem) and all(problem in line for line in found)


def pictured(folder, words: str | None, wide: int = 400, source: str = "1 # a picture") -> list[str]:
    """What is said about the pictures of a notebook with one of them."""
    about, png = {} if words is None else {"image/png": {"alt": words}}, io.BytesIO()
    Image.new("RGB", (wide, 9)).save(png, "PNG")
    data = {"image/png": base64.b64encode(png.getvalue()).decode()}
    cell = nbformat.v4.new_code_cell(source, execution_count=1)
    cell.outputs = [nbformat.v4.new_output("display_data", data, metadata=about)]
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), folder / "01_pictures.ipynb")
    return [line for line in problems(folder / "01_pictures.ipynb") if "picture" in line[21:] or "writes" in line]


@pytest.mark.parametrize(
    ("cells", "found"),
    [
        (["x = 1", "print(x)"], []),
        (["x = 1", "x = 2"], ["x is bound in the code cells [1, 2]"]),
        (["x = 1", "def x(): pass"], ["x is bound in the code cells [1, 2]"]),
        (["import math", "for math in range(3): pass"], ["math is bound in the code cells [1, 2]"]),
        (["for x in range(3): y = x", "for x in range(3): pass", "[y for y in range(3)]"], []),
        (["for x in range(3): pass\nx = 0", "for x in range(3): pass"], ["x is bound in the code cells [1, 2]"]),
        (["print(x)", "x = 1"], ["code cell 1 uses x, which cell 2 defines"]),
        (["def f(): return x", "x = 1"], ["code cell 1 uses x, which cell 2 defines"]),
        (["def f(x): return [x for _ in range(2)]", "x = 1"], []),
        (["figure = 1", "figure = 2"], []),
    ],
)
def test_state_that_leaks_is_found(cells, found):
    assert leaks(cells) == found


def test_there_is_a_lesson():
    assert find_notebooks()
