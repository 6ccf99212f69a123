"""The committed notebooks are executed, clean and small."""

import nbformat
import pytest
from hygiene import MAX_MB_TOGETHER, problems
from leaks import leaks

from tutorial_utils import links
from tutorial_utils.execution import find_notebooks


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


def test_notebooks_together_are_small():
    assert sum(path.stat().st_size for path in find_notebooks()) <= MAX_MB_TOGETHER * 2**20


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
