"""The committed notebooks are executed, clean and small."""

import pytest
from hygiene import MAX_MB_TOGETHER, problems

from tutorial_utils.execution import find_notebooks


@pytest.mark.parametrize("path", find_notebooks(), ids=lambda path: path.stem)
def test_notebook_is_clean(path):
    assert problems(path) == []


def test_notebooks_together_are_small():
    assert sum(path.stat().st_size for path in find_notebooks()) <= MAX_MB_TOGETHER * 2**20


def test_there_is_a_lesson():
    assert find_notebooks()
