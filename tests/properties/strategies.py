"""What the property-based tests share: calls whose errors must be documented ones, and inputs that fit or just do not.

The contract of a public function is its docstring: what it answers, and which errors it raises. `attempt` holds every
call to the second half. The tests hold the answers to the first.
"""

from __future__ import annotations

import math
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor

import tutorial_utils

PACKAGE = str(Path(tutorial_utils.__file__).parent)

REFUSED = object()
"""What `attempt` returns where a function raised an error that it documents."""

TRIED: Counter[tuple[str, str]] = Counter()
"""How often each function has answered, and how often refused."""


def attempt(function: Callable, *arguments: Any, **options: Any) -> Any:
    """What a call returns, or `REFUSED` if it raises an error of a kind that its docstring names, in our own words.

    An error that a library raises goes on, even if it is of the right kind: its words help no learner.
    """
    name = f"{function.__module__}.{function.__qualname__}"
    try:
        answer = function(*arguments, **options)
    except Exception as error:
        if not (documented(function, error) and in_our_words(error)):
            raise
        answer = REFUSED
    TRIED[name, "refused" if answer is REFUSED else "answered"] += 1
    return answer


def documented(function: Callable, error: Exception) -> bool:
    """Whether the docstring of a function (of a method: or of its class, or of its module) names an error's kind."""
    texts = [function.__doc__, getattr(getattr(function, "__self__", None), "__doc__", None)]
    module = __import__(function.__module__, fromlist=["__doc__"])
    return any(type(error).__name__ in (text or "") for text in (*texts, module.__doc__))


def in_our_words(error: Exception) -> bool:
    """Whether an error comes from a `raise` in the package, with something to say."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return last.filename.startswith(PACKAGE) and last.line.startswith("raise ") and bool(str(error).strip())


# --- Tensors --------------------------------------------------------------------------------------------------------


FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
INTEGERS = (torch.int64, torch.int32, torch.uint8)


@dataclass(frozen=True)
class Axes:
    """A tensor that a function takes: its axes, as `require` writes them, and what its values may be.

    Attributes:
        layout: lengths and letters; what a letter stands for is drawn once for all tensors of a call.
        within: bounds; None where anything goes, infinities and NaN included.
        least: of N.
        dtypes: those that fit.
    """

    layout: str
    within: tuple[float, float] | None = None
    least: int = 0
    dtypes: tuple[torch.dtype, ...] = FLOATS

    @property
    def whole(self) -> bool:
        return not self.dtypes[0].is_floating_point


def lengths(draw: st.DrawFn, specs: list[Axes]) -> dict[str, int]:
    """A length for each letter."""
    least = max(spec.least for spec in specs)
    letters = sorted({axis for spec in specs for axis in spec.layout.split() if axis.isalpha()})
    return {letter: draw(st.integers(least if letter == "N" else 1, least + 3)) for letter in letters}


def shape_of(draw: st.DrawFn, spec: Axes, sizes: dict[str, int]) -> list[int]:
    axes = spec.layout.split()
    leading = draw(st.lists(st.integers(1, 3), max_size=2)) if axes[0] == "..." else []
    return [*leading, *(sizes.get(axis) or int(axis) if axis != "N" else sizes["N"] for axis in axes if axis != "...")]


def filled(draw: st.DrawFn, spec: Axes, shape: list[int]) -> Tensor:
    """A tensor of this shape whose values fit: all alike, the bounds among them, or at random."""
    low, high = spec.within or (-2, 2)
    low, high = max(low, -100), min(high, 100)
    unit = draw(st.sampled_from(["low", "high", "random"]))
    source = torch.Generator().manual_seed(draw(st.integers(0, 99)))
    values = torch.rand(shape, generator=source) if unit == "random" else torch.full(shape, float(unit == "high"))
    dtype = draw(st.sampled_from(spec.dtypes))
    if spec.whole:
        return (low + (high - low) * values).round().to(dtype)
    return (low + (high - low) * values).to(dtype)


@st.composite
def fitting(draw: st.DrawFn, specs: dict[str, Axes]) -> dict[str, Tensor]:
    """Tensors for all arguments of a call, all as described."""
    sizes = lengths(draw, list(specs.values()))
    return {name: filled(draw, spec, shape_of(draw, spec, sizes)) for name, spec in specs.items()}


@st.composite
def misfitting(draw: st.DrawFn, specs: dict[str, Axes]) -> dict[str, Tensor]:
    """The same with one of the tensors spoiled in one way."""
    given = draw(fitting(specs))
    name = draw(st.sampled_from(sorted(specs)))
    ways = spoilings(specs[name], first=name == next(iter(specs)))
    spoil = ways[draw(st.sampled_from(sorted(ways)))]
    return given | {name: spoil(given[name])}


def spoilings(spec: Axes, first: bool) -> dict[str, Callable[[Tensor], Tensor]]:
    """Every way in which a tensor that fits can be made not to."""
    axes = spec.layout.split()
    open_start = axes[0] == "..."
    ways: dict[str, Callable[[Tensor], Tensor]] = {}
    if torch.int64 not in spec.dtypes or spec.whole:
        ways["another type"] = _other_type(spec)
    if not open_start:
        ways["an axis too many"] = lambda values: values[None]
    if axes != ["..."]:
        ways["too few axes"] = lambda values: torch.zeros((1,) * (len(axes) - 1 - open_start), dtype=values.dtype)
    for place, axis in enumerate(axes):
        place -= len(axes)
        if axis.isdecimal() or (axis == "N" and not first):
            ways[f"axis {place} too long"] = lambda values, place=place: torch.cat(
                [values, values.new_zeros(_one(values, place))], place
            )
        if (axis.isalpha() and axis != "N") or (axis == "N" and spec.least and first):
            ways[f"axis {place} empty"] = lambda values, place=place: values.narrow(place, 0, 0)
    if spec.least > 1:
        ways["too few"] = lambda values: values[: spec.least - 1]
    if spec.within is not None:
        ways |= _bad_values(spec)
    return ways


def _one(values: Tensor, place: int) -> list[int]:
    shape = list(values.shape)
    shape[place] = 1
    return shape


def _other_type(spec: Axes) -> Callable[[Tensor], Tensor]:
    return (lambda values: values.float() + 0.5) if spec.whole else (lambda values: values.to(torch.int64))


def _bad_values(spec: Axes) -> dict[str, Callable[[Tensor], Tensor]]:
    low, high = spec.within
    bad = {} if spec.whole else {"NaN": math.nan, "infinite": math.inf, "minus infinite": -math.inf}
    bad |= {name: value for name, value in (("too low", low - 1), ("too high", high + 1)) if math.isfinite(value)}

    def put(values: Tensor, value: float) -> Tensor:
        """A copy of at least one value with the last one replaced."""
        some = values if values.numel() else values.new_zeros([max(1, length) for length in values.shape])
        if not some.dtype.is_floating_point:  # bytes hold nothing below 0, and no whole number is NaN
            some = some.to(torch.int64 if spec.whole else torch.float64)
        return torch.cat([some.flatten()[:-1], some.new_tensor([value])]).view(some.shape)

    return {name: lambda values, value=value: put(values, value) for name, value in bad.items()}


# --- Numbers and texts ----------------------------------------------------------------------------------------------


def numbers_outside(least: int, most: int | None) -> st.SearchStrategy:
    """Whole numbers beyond the bounds, near and far, and what is no whole number."""
    beyond = st.integers(max_value=least - 1) | st.sampled_from([-(2**63), -(2**64)])
    if most is not None:
        beyond |= st.integers(min_value=most + 1) | st.sampled_from([2**64, 2**200])
    return beyond | st.floats() | st.sampled_from(["3", math.nan, math.inf])


texts = st.text(max_size=40) | st.sampled_from(
    ["", " ", "\0", "$x^$", "..", "~nobody/x", "-1", "²", "١", "9" * 5_000, "a" * 300]
)
"""Any text, and some that programs stumble over."""
