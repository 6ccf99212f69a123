"""Cells can be run again, as learners do, and the facts hold: twice at once, and a section after the whole notebook."""

import cells
import pytest
from cells import SMALLER, SMALLER_JUDGING

pytestmark = pytest.mark.usefixtures("at_the_lessons")

FAR_ENOUGH = {"01": "## 6 ", "03": "## 5 ", "04": "## 5 "}
"""A heading of each lesson behind which cells only take longer: `make deep` runs those, too."""


@pytest.mark.parametrize("whole", [False, pytest.param(True, marks=pytest.mark.deep)], ids=["beginning", "whole"])
@pytest.mark.parametrize("lesson", FAR_ENOUGH)
def test_a_cell_can_be_run_twice_and_a_section_again(lesson, whole):
    changes = {} if whole else SMALLER[lesson] | SMALLER_JUDGING[lesson]
    cells.run(lesson, changes, "" if whole else FAR_ENOUGH[lesson], again=True)
