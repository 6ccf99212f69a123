"""What a learner gets of a notebook with solutions: gaps, and each solution one click away."""

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from tutorial_utils import editions

WRITTEN = """def double(x):  # a number, twice
    ### BEGIN SOLUTION
    twice = x + x
    return twice
    ### END SOLUTION"""
CHECKED = {"nbgrader": {"grade": True, "grade_id": "check-double", "locked": True, "points": 1, "solution": False}}


def text_of(*cells) -> str:
    return nbformat.writes(new_notebook(cells=list(cells)))


@pytest.fixture
def given():
    line = [new_output("stream", text="✓ 1.1 right in 1 of 1 cases: two")]
    return nbformat.reads(
        editions.student(
            text_of(
                new_markdown_cell("**1.1** Double a number."),
                new_code_cell(WRITTEN, execution_count=1),
                new_code_cell('check_exercise("1.1", double)', outputs=line, execution_count=2, metadata=CHECKED),
                new_code_cell("read()", outputs=line, execution_count=3),
            )
        ),
        as_version=4,
    )


def test_a_solution_gives_way_to_a_gap_that_says_it_is_one(given):
    gap = given.cells[1].source
    assert gap == "def double(x):  # a number, twice\n    # YOUR CODE HERE\n    raise NotImplementedError()"
    names = {}
    exec(gap, names)
    with pytest.raises(NotImplementedError):
        names["double"](2)


def test_what_is_to_be_written_has_no_output_and_what_is_to_be_read_keeps_it(given):
    written, checked, read = (cell for cell in given.cells if cell.cell_type == "code")
    assert not written.outputs and not checked.outputs and checked.execution_count is None
    assert read.outputs and read.execution_count == 3


def test_the_solution_is_one_click_away_below_its_check(given):
    folded = given.cells[3]
    assert folded.cell_type == "markdown" and folded.source.startswith("<details><summary>Solution</summary>")
    assert "    return twice" in folded.source and "SOLUTION" not in folded.source
    nbformat.validate(given)


def test_several_gaps_in_a_cell_keep_what_stands_between_them():
    source = "a = 1\n### BEGIN SOLUTION\nb = 2\n### END SOLUTION\nc = 3\n### BEGIN SOLUTION\nd = 4\n### END SOLUTION"
    cleared = editions.cleared(source)
    assert cleared.count("raise NotImplementedError()") == 2 and "c = 3" in cleared and "b = 2" not in cleared


@pytest.mark.parametrize(
    "source", ["### BEGIN SOLUTION\nx = 1", "x = 1\n### END SOLUTION", "### END SOLUTION\n### BEGIN SOLUTION"]
)
def test_a_marker_without_its_other_half_is_refused(source):
    with pytest.raises(ValueError, match="BEGIN SOLUTION"):
        editions.cleared(source)


def test_a_notebook_without_solutions_is_as_it_was():
    text = text_of(new_code_cell("1 + 1"))
    assert editions.student(text) == text
