"""What becomes of a learner's answer: it is tried on a few cases, and a wrong one is told what it looks like.

An exercise is the right function, cases to try, and mistakes that people make. Each mistake is a function as well, and
its docstring is what is said to a learner whose answer gives the same: where to look, without the solution.
"""

from __future__ import annotations

import copy
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from tutorial_utils import checks, failures, require
from tutorial_utils.checks import CROSS, MARK, PLAIN, RED, CheckError
from tutorial_utils.translations import say

if TYPE_CHECKING:
    from torch import Tensor

LESSONS = ("1", "2", "3", "4")
NOT_YET = (
    "not yet: write it in the place of `raise NotImplementedError()`, here or in the exercise whose function you call, "
    "and run the cells"
)


@dataclass(frozen=True)
class Exercise:
    """What a function should do.

    Attributes:
        right: gives the answer to any case.
        cases: makes the arguments of each case, by a name that says what is particular about it.
        mistakes: functions that somebody wrote who made one; the docstring of each says where to look.
        atol: how far off a number may be.
    """

    right: Callable[..., Any]
    cases: Callable[[], dict[str, tuple]]
    mistakes: tuple[Callable[..., Any], ...] = ()
    atol: float = 1e-5

    def judge(self, answer: Callable[..., Any]) -> Verdict:
        """Try an answer on each case, up to the first that it gets wrong."""
        cases = self.cases()
        for name, arguments in cases.items():
            given = _tried(lambda case=arguments: answer(*copy.deepcopy(case)))
            if isinstance(given, Verdict):
                return given if given.state == "not yet" else Verdict("wrong", f"{name}: {given.words}")
            got, wanted = checks.plain(given), checks.plain(self.right(*copy.deepcopy(arguments)))
            if not checks.agree(got, wanted, 0, self.atol):
                return Verdict("wrong", f"{name}: {_seen(got, wanted)}{self._clue(arguments, got, wanted)}")
        return Verdict("right", f"right in {len(cases)} of {len(cases)} cases: {'; '.join(cases)}")

    def _clue(self, arguments: tuple, got: Any, wanted: Any) -> str:
        """What a wrong answer looks like: a mistake of this exercise, or else one that can be made anywhere."""
        for mistaken in self.mistakes:
            if checks.agree(got, checks.plain(mistaken(*copy.deepcopy(arguments))), 0, self.atol):
                return f" {mistaken.__doc__}"
        return next((f" {words}" for words, holds in ANYWHERE.items() if holds(got, wanted, self.atol)), "")


@dataclass(frozen=True)
class Investigation:
    """What an answer should achieve, measured with a miniature.

    Attributes:
        measure: what comes of what the answer gives, and in words what was measured.
        arguments: makes what the answer is called with.
        at_least: the least that will do; no bound by default.
        at_most: the most that will do; no bound by default.
        advice: what to think about if it is missed.
    """

    measure: Callable[[Any], tuple[float, str]]
    arguments: Callable[[], tuple] = tuple
    at_least: float = -np.inf
    at_most: float = np.inf
    advice: str = ""

    def judge(self, answer: Callable[..., Any]) -> Verdict:
        """Measure an answer. A ValueError of the measurement is what is wrong with the answer's form."""
        given = _tried(lambda: answer(*self.arguments()))
        if isinstance(given, Verdict):
            return given
        try:
            value, words = self.measure(given)
        except ValueError as error:
            return Verdict("wrong", require.shortened(error))
        if self.at_least <= value <= self.at_most:
            return Verdict("right", words)
        return Verdict("wrong", f"{words} {self.advice}")


@dataclass(frozen=True)
class Verdict:
    """What was found about an answer, and in words."""

    state: Literal["right", "wrong", "not yet"]
    words: str


def check_exercise(number: str, answer: Callable[..., Any]) -> None:
    """Say whether a function does what an exercise asks for.

    Args:
        number: the exercise's, such as ``"3.2"``: lesson 3, exercise 2.
        answer: the function that was written.

    Raises:
        ValueError: there is no such exercise, or `answer` is no function.
        CheckError: the answer is not right, and nobody is at work (see `checks.voice`).
    """
    exercise = find(number)
    if not callable(answer):
        raise ValueError(f"answer={require.shortened(repr(answer), 60)} is no function: give its name alone.")
    verdict = exercise.judge(answer)
    if verdict.state == "right":
        # a measured number can differ between machines, so a case's line says which cases, and an investigation's less
        words = verdict.words if isinstance(exercise, Exercise) else "right: measured as asked for"
        print(f"{MARK} {number} {say(words)}")
    elif checks.voice() == "strict":
        raise CheckError(f"{number} {verdict.words.removesuffix('.')}.")
    elif verdict.state == "not yet":
        print(f"… {number} {say(f'{verdict.words}.')}")
    else:
        print(f"{RED}{CROSS} {number} {say(verdict.words)}{PLAIN}")


def normal(*shape: int, seed: int = 0) -> Tensor:
    """Normal numbers for a case, ``(*shape)``, the same on every machine."""
    import torch

    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def find(number: str) -> Exercise | Investigation:
    """An exercise by its number; a ValueError that names those there are if there is none."""
    lesson = str(number).partition(".")[0]
    lessons = [lesson] if lesson in LESSONS else LESSONS
    every = {
        name: exercise
        for lesson in lessons
        for name, exercise in importlib.import_module(f"tutorial_utils.exercises.lesson_{lesson}").EXERCISES.items()
    }
    if number not in every:
        quotes = "" if isinstance(number, str) else f' Put the number in quotes: "{number}".'
        raise ValueError(f"There is no exercise {number!r}: choose one of {', '.join(every)}." + quotes)
    return every[number]


def _tried(call: Callable[[], Any]) -> Any:
    """What a learner's function gives, or a verdict if it gives nothing or stops."""
    try:
        given = call()
    except NotImplementedError:
        return Verdict("not yet", NOT_YET)
    except Exception as error:  # whatever a learner's code can raise
        if failures.is_memory(error):
            raise
        return Verdict("wrong", f"your function stopped with {type(error).__name__}: {require.shortened(error, 200)}")
    if given is None:
        return Verdict("wrong", "your function gave nothing back (None): is a `return` missing?")
    return given


def _seen(got: Any, wanted: Any) -> str:
    """What came, without what should have come."""
    if isinstance(got, tuple) and isinstance(wanted, tuple) and not checks.is_numeric(wanted):
        return _part_seen(got, wanted)
    if checks.is_numeric(got, "c"):
        return "got complex numbers: somewhere the root of a negative number is taken."
    if not (checks.is_numeric(got, "biuf") and checks.is_numeric(wanted)):
        return f"got {require.shortened(checks.short(got), 100)}."
    if np.shape(got) != np.shape(wanted):
        return f"got shape {np.shape(got)}, and the answer has shape {np.shape(wanted)}."
    if np.ndim(got) == 0:
        return f"got {got:.4g}." if isinstance(got, float) else f"got {checks.short(got)}."
    got, wanted = np.asarray(got, float), np.asarray(wanted, float)
    wrong = np.argwhere(~np.isclose(got, wanted, rtol=0, atol=1e-5))
    place = tuple(wrong[0].tolist())
    why = " (it comes of 0 / 0, or of the root of a negative number)" if np.isnan(got[place]) else ""
    here = f"the first at {list(place)}, where you have {got[place]:.4g}{why}"
    return f"{len(wrong)} of {got.size} numbers are wrong, {here}."


def _part_seen(got: tuple, wanted: tuple) -> str:
    if len(got) != len(wanted):
        return f"{len(wanted)} values are expected, and you gave {len(got)}."
    parts = zip(map(checks.plain, got), map(checks.plain, wanted), strict=True)
    number, one, other = next((n, *pair) for n, pair in enumerate(parts, 1) if not checks.agree(*pair, 0, 1e-5))
    return f"of the {len(got)} values that you gave, number {number}: {_seen(one, other)}"


def _comparable(got: Any, wanted: Any) -> bool:
    numbers = checks.is_numeric(got, "iuf") and checks.is_numeric(wanted, "iuf")
    return numbers and np.size(wanted) > 0 and bool(np.isfinite(got).all())


def _has_another_shape(got: Any, wanted: Any, atol: float) -> bool:
    return np.shape(got) != np.shape(wanted) and _alike(np.ravel(got), np.ravel(wanted), atol)


def _alike(got: Any, wanted: Any, atol: float) -> bool:
    return np.shape(got) == np.shape(wanted) and bool(np.allclose(got, wanted, rtol=1e-4, atol=atol))


def _is_multiple(got: Any, wanted: Any, atol: float) -> bool:
    one, other = (np.asarray(values, float).ravel() for values in (got, wanted))
    if np.shape(got) != np.shape(wanted) or len(one) < 2 or not np.any(other) or not np.any(one):
        return False
    return bool(np.allclose(one, other * (one @ other) / (other @ other), rtol=1e-4, atol=atol))


def _is_shifted(got: Any, wanted: Any, atol: float) -> bool:
    if np.shape(got) != np.shape(wanted) or np.size(wanted) < 2:  # any number is off from another by something
        return False
    difference = np.asarray(got, float) - np.asarray(wanted, float)
    return bool(np.allclose(difference, difference.flat[0], rtol=0, atol=atol)) and abs(difference.flat[0]) > atol


def _has_same_numbers(got: Any, wanted: Any, atol: float) -> bool:
    one, other = (np.sort(np.asarray(values, float).ravel()) for values in (got, wanted))
    return len(one) > 1 and one.shape == other.shape and bool(np.allclose(one, other, rtol=1e-4, atol=atol))


def _numeric(holds: Callable[[Any, Any, float], bool]) -> Callable[[Any, Any, float], bool]:
    return lambda got, wanted, atol: _comparable(got, wanted) and holds(got, wanted, atol)


ANYWHERE = {
    "The numbers are right, and in the right order: only the shape is another.": _numeric(_has_another_shape),
    "It is right but for its sign.": _numeric(lambda got, wanted, atol: _alike(-np.asarray(got), wanted, atol)),
    "It is right but for one factor, which all numbers share.": _numeric(_is_multiple),
    "All numbers are off by the same amount.": _numeric(_is_shifted),
    "The numbers are right, and stand in another order or other axes.": _numeric(_has_same_numbers),
}
"""What can be wrong with any array of numbers: what is said, and whether it holds of (got, wanted, atol)."""
