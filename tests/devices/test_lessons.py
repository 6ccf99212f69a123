"""The lessons on a GPU, and in half precision: their code cells at `mini`, with their facts, on this machine.

Lesson 2 is Keras's affair, and lesson 1 computes in single precision everywhere. By default the cells run with smaller
numbers, and those in half precision as far as they sample; whole they are for `make deep`.
"""

import cells
import pytest
import torch
from accelerator import DEVICE, Accelerator

from tutorial_utils import runtime

pytestmark = pytest.mark.usefixtures("at_the_lessons")

SMALLER = {
    "01": {
        'fashion_mnist("test")': '(part[:2500] for part in fashion_mnist("test"))',
        "at_least=0.93,": "at_least=0.9,",
        "torch.randperm(len(test_images))[:500]": "torch.randperm(len(test_images))[:200]",
    },
    "03": {
        "per_class = 8": "per_class = 1",
        "many = 200": "many = 40",
        'solve("dpm-single", 200)': 'solve("dpm-single", 80)',
    },
    "04": {
        "draw_scenes(16,": "draw_scenes(8,",
        "guidance = [1.0, 3.0, 6.0, 12.0]": "guidance = [3.0]",
        '("ddim", 4),\n        ("ddim", 12),\n        ("dpm-multi", 4),\n        ("dpm-multi", 8),\n': "",
    },
}
DIALS, JUDGING = "## 6 · Dials", "## 7 · Judging"
SMALLER_JUDGING = {
    "01": {},
    "03": {
        "count = 1000": "count = 200",
        'real[:4000]),\n        "generated"': 'real[:500]),\n        "generated"',
        "drawn, real[:4000]": "drawn, real[:500]",
    },
    "04": {"draw_scenes(40,": "draw_scenes(8,", "for k in range(40)": "for k in range(8)"},
}
"""What the last sections of the lessons that sample are changed by."""

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
    far_enough = JUDGING if precision == torch.bfloat16 else DIALS  # processors take float16 slowly
    cells.run(lesson, *([{}] if whole else [SMALLER[lesson], far_enough]))
