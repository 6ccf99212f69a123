"""The lessons on a GPU, and in half precision: their code cells at `mini`, with their facts, on this machine.

Lesson 2 is Keras's affair, and lesson 1 computes in single precision everywhere. By default the cells run with smaller
numbers, and those in half precision as far as they sample; whole they are for `make deep`.
"""

import cells
import pytest
import torch
from accelerator import DEVICE, Accelerator
from cells import SMALLER, SMALLER_JUDGING

from tutorial_utils import runtime

pytestmark = pytest.mark.usefixtures("at_the_lessons")

JUDGING = "· Judging"
FAR_ENOUGH = {"03": "· Train it yourself", "04": "· What changes"}
"""Where to stop in float16, which processors take slowly; what lesson 3 trains is in single precision anyway."""

WHOLE = pytest.mark.parametrize("whole", [False, pytest.param(True, marks=pytest.mark.deep)], ids=["smaller", "whole"])


@WHOLE
@pytest.mark.parametrize("lesson", ["01", "03", "04"])
def test_a_lesson_runs_on_an_accelerator(lesson, whole, monkeypatch):
    monkeypatch.setattr(runtime, "device", lambda prefer=None: DEVICE)
    with Accelerator():
        cells.run(lesson, {} if whole else SMALLER[lesson] | SMALLER_JUDGING[lesson])


@WHOLE
@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("lesson", ["03", "04"])
def test_a_lessons_facts_hold_in_half_precision(lesson, precision, whole, monkeypatch):
    monkeypatch.setattr(runtime, "dtype", lambda where, large=False: precision)
    far_enough = JUDGING if precision == torch.bfloat16 else FAR_ENOUGH[lesson]
    cells.run(lesson, *([{}] if whole else [SMALLER[lesson], far_enough]))
