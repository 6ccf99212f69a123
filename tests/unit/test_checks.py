"""Facts: the line is the same whatever was measured, and a fact that does not hold raises with both values."""

import math

import numpy as np
import pytest
import torch

from tutorial_utils import checks
from tutorial_utils.checks import MARK, CheckError, check

HOLDS = {
    "equal numbers": ((3, 3), {}),
    "equal texts": (("cat", "cat"), {}),
    "equal arrays": ((np.eye(2), np.eye(2)), {}),
    "a tensor and an array": ((torch.eye(2, requires_grad=True), np.eye(2)), {}),
    "a shape and a tuple": ((torch.zeros(2, 3).shape, (2, 3)), {}),
    "a list and a tuple": (([1, 2], (1, 2)), {}),
    "a 0-d tensor and a number": ((torch.tensor(0.5), 0.5), {}),
    "a bfloat16 tensor": ((torch.tensor([0.5, 2.0], dtype=torch.bfloat16), [0.5, 2.0]), {}),
    "within rtol": ((1.0009, 1.0), {"rtol": 1e-3}),
    "within atol": ((0.0009, 0.0), {"atol": 1e-3}),
    "unsigned numbers below": ((np.uint8([1]), np.uint8([2])), {"atol": 1}),
    "at the lower bound": ((0.9,), {"at_least": 0.9}),
    "at the upper bound": ((0.9,), {"at_most": 0.9}),
    "between bounds": ((torch.tensor([0.1, 0.9]),), {"at_least": 0, "at_most": 1}),
    "false is expected": ((False, False), {}),
    "zero is expected": ((0, 0), {}),
}

FAILS = {
    "another number": ((3, 4), {}, ("got 3", "expected 4")),
    "another text": (("cat", "dog"), {}, ("'cat'", "'dog'")),
    "another type": (("3", 3), {}, ("'3'", "expected 3")),
    "another shape": ((np.zeros((2, 3)).shape, (3, 2)), {}, ("(2, 3)", "(3, 2)")),
    "broadcastable, but another shape": ((np.zeros(3), 0.0), {}, ("[0.0, 0.0, 0.0]", "expected 0.0")),
    "arrays of other shapes": ((np.zeros((4, 4)), np.zeros((4, 5))), {}, ("array(4, 4)", "array(4, 5)")),
    "ragged": (([[1], [1, 2]], [[1], [1, 3]]), {}, ("[1, 2]", "[1, 3]")),
    "outside rtol": ((1.002, 1.0), {"rtol": 1e-3}, ("1.002", "expected 1.0", "rtol=0.001")),
    "outside atol": ((0.002, 0.0), {"atol": 1e-3}, ("0.002", "atol=0.001")),
    "unsigned numbers that would wrap": ((np.uint8([1]), np.uint8([2])), {}, ("[1]", "[2]")),
    "below the bound": ((0.89,), {"at_least": 0.9}, ("0.89", "at least 0.9")),
    "above the bound": ((0.91,), {"at_most": 0.9}, ("0.91", "at most 0.9")),
    "one value below": ((torch.tensor([0.5, -0.5]),), {"at_least": 0.0}, ("-0.5", "at least 0.0")),
    "outside the second of two bounds": ((2,), {"at_least": 0, "at_most": 1}, ("got 2", "at most 1")),
    "equal, but out of bounds": ((2, 2), {"at_most": 1}, ("got 2", "at most 1")),
    "nan for a lower bound": ((math.nan,), {"at_least": 0.0}, ("nan", "at least 0.0")),
    "nan for an upper bound": ((torch.tensor(math.nan),), {"at_most": 1.0}, ("nan", "at most 1.0")),
    "one nan of many": ((np.array([0.5, math.nan]),), {"at_least": 0.0}, ("nan", "at least 0.0")),
    "nan for a number": ((math.nan, 1.0), {"rtol": 1e9}, ("nan", "expected 1.0")),
    "nan for nan": ((math.nan, math.nan), {}, ("got nan", "expected nan")),
    "nothing was measured": ((np.array([]),), {"at_least": 0.0}, ("got []", "at least 0.0")),
}


@pytest.mark.parametrize(("values", "options"), HOLDS.values(), ids=HOLDS)
def test_a_fact_that_holds_prints_its_name_and_no_number(values, options, capsys):
    check("the fact", *values, **options)
    assert capsys.readouterr().out == f"{MARK} the fact\n"


@pytest.mark.parametrize(("values", "options", "parts"), FAILS.values(), ids=FAILS)
def test_a_fact_that_fails_raises_with_both_values_and_prints_nothing(values, options, parts, capsys):
    with pytest.raises(CheckError) as caught:
        check("the fact", *values, **options)
    assert str(caught.value).startswith("the fact: ")
    for part in parts:
        assert part in str(caught.value)
    assert capsys.readouterr().out == ""


def test_a_large_array_is_described_by_shape_range_and_mean():
    with pytest.raises(CheckError, match=r"array\(100,\) in \[0, 99\] with mean 49.5") as caught:
        check("the fact", np.arange(100), np.zeros(100))
    assert len(str(caught.value)) < 200


def test_a_check_without_anything_to_compare_with_is_an_error():
    with pytest.raises(ValueError, match=r"check\('the fact'\).*expected, at_least or at_most"):
        check("the fact", 3)


def test_a_failed_fact_is_an_assertion():
    with pytest.raises(AssertionError):
        check("the fact", 1, 2)


# --- Two voices -----------------------------------------------------------------------------------------------------


@pytest.fixture
def learner(monkeypatch):
    """Somebody has opened the notebook in Jupyter, and no fact has been found untrue yet."""
    monkeypatch.setenv("JPY_SESSION_NAME", "work/03_uvit_sampling.ipynb")
    monkeypatch.setattr(checks, "UNTRUE", {})


@pytest.mark.parametrize(("values", "options", "parts"), FAILS.values(), ids=FAILS)
def test_to_a_learner_a_fact_that_fails_is_a_line_and_the_notebook_goes_on(learner, values, options, parts, capsys):
    check("the fact", *values, **options)
    said = capsys.readouterr().out
    assert said.startswith(f"{checks.RED}{checks.CROSS} the fact: ") and said.count("\n") == 1
    assert all(part in said for part in (*parts, "your change made this fact untrue, or found something"))


@pytest.mark.parametrize(("values", "options"), HOLDS.values(), ids=HOLDS)
def test_to_a_learner_a_fact_that_holds_is_the_same_line(learner, values, options, capsys):
    check("the fact", *values, **options)
    assert capsys.readouterr().out == f"{MARK} the fact\n"


def test_at_the_end_stands_what_does_not_hold_any_more(learner, capsys):
    check("first", 1, 2)
    check("second", 1, 2)
    check("first", 2, 2)
    capsys.readouterr()
    checks.untrue()
    assert capsys.readouterr().out == f"{checks.RED}{checks.CROSS} second: got 1, expected 2.{checks.PLAIN}\n"
    check("second", 2, 2)
    capsys.readouterr()
    checks.untrue()
    assert capsys.readouterr().out == "Every fact that was checked holds.\n"


@pytest.mark.parametrize(
    ("asked", "watched", "raises"), [("strict", True, True), ("report", False, False), ("", False, True)]
)
def test_the_variable_decides_and_without_it_who_is_at_work(asked, watched, raises, monkeypatch, capsys):
    monkeypatch.setattr(checks, "UNTRUE", {})
    monkeypatch.setenv("TUTORIAL_CHECKS", asked)
    if watched:
        monkeypatch.setenv("JPY_SESSION_NAME", "any.ipynb")
    if raises:
        with pytest.raises(CheckError):
            check("the fact", 1, 2)
    else:
        check("the fact", 1, 2)


@pytest.mark.parametrize("at_work", ["autograde", "validate"])
def test_whoever_grades_is_told_strictly_whatever_else_is_set(at_work, learner, monkeypatch):
    monkeypatch.setenv("TUTORIAL_CHECKS", "report")
    monkeypatch.setenv("NBGRADER_EXECUTION", at_work)
    with pytest.raises(CheckError):
        check("the fact", 1, 2)


def test_another_voice_is_refused_by_name(monkeypatch):
    monkeypatch.setenv("TUTORIAL_CHECKS", "quiet")
    with pytest.raises(ValueError, match="TUTORIAL_CHECKS='quiet' is unknown: choose strict"):
        check("the fact", 1, 2)
