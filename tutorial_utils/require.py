"""What the public functions ask of the tensors and numbers that they are given, in one place and in the same words.

Every function here raises a ValueError that names the argument, what it is and what it may be.
"""

from __future__ import annotations

import difflib
import math
import operator
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

UNIT = (0.0, 1.0)
"""Bounds of the pixels of an image."""

FINITE = (-math.inf, math.inf)
"""Bounds of anything that is a number at all."""

LONGEST_LINE = 500
"""Characters of a reason. What is longer lists something, such as the thousand weights of another network."""

LONGEST_WORD = 50
"""Characters of an unknown word that are compared with the known ones."""

ALIKE = 0.7
"""From this likeness on, of 1, a name may be what an unknown word means: one letter of four may be another."""

SLACK = 1e-3
"""So far beyond its bounds a float may be, for resampling and half precision round."""


def floats(
    name: str, values: Tensor, layout: str, *, least: int = 0, within: tuple[float, float] | None = None
) -> None:
    """Raise ValueError unless a tensor of floats is as described.

    Args:
        name: what the caller calls the tensor.
        layout: its axes, such as ``"N 3 H W"``, or the last of them, such as ``"... H W"``. A number is a length; a
            letter is any length of at least 1, the same wherever it stands.
        least: how large N must be; 0 allows for an empty batch.
        within: bounds of the values, none of which may then be infinite or NaN; None if they may be anything.
    """
    _require_layout(name, values, layout, least, "floats", ("torch.float", "torch.bfloat"))
    if within is None or not values.numel() or unreadable(values):
        return
    low, high = (bound.item() for bound in values.aminmax())  # NaN if there is one anywhere
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ValueError(f"{int((~values.isfinite()).sum())} values of the {name} are infinite or not a number.")
    if low < within[0] - SLACK or high > within[1] + SLACK:
        raise ValueError(f"{name} go from {low:g} to {high:g}: bring them to {within[0]:g} to {within[1]:g} first.")


def integers(name: str, values: Tensor, layout: str, *, least: int = 0, within: tuple[int, int] | None = None) -> None:
    """As `floats`, a ValueError for anything but whole numbers: labels, indices and corners."""
    _require_layout(name, values, layout, least, "whole numbers", ("torch.int", "torch.uint"))
    if within is None or not values.numel() or unreadable(values):
        return
    low, high = (bound.item() for bound in values.aminmax())
    if low < within[0] or high > within[1]:
        raise ValueError(f"{name} go from {low} to {high}: {within[0]} to {within[1]} is allowed.")


def unreadable(values: Tensor) -> bool:
    """Whether a tensor has no values, or none that may be looked at: while a network is compiled, or a CUDA graph
    recorded, nothing is computed yet.
    """
    from torch import compiler, cuda  # here, since not everything that asks for numbers needs torch

    recorded = values.is_cuda and cuda.is_available() and cuda.is_current_stream_capturing()
    return values.is_meta or compiler.is_compiling() or recorded


def whole(name: str, value: int, least: int, most: int | None = None) -> int:
    """`value` as an int; a ValueError that names it unless it is a whole number within bounds."""
    number = operator.index(value) if hasattr(value, "__index__") else None
    if number is None or number < least or (most is not None and number > most):
        allowed = f"of at least {least}" if most is None else f"from {least} to {most:,}"
        raise ValueError(f"{name}={value!r} must be a whole number {allowed}.")
    return number


def meant(word: object, known: Iterable[str]) -> str:
    """ " Did you mean ...?" with the names among `known` that are most like an unknown word; empty if none is."""
    text = str(word).casefold().strip()
    alike = {name: max(_likeness(text[:LONGEST_WORD], part) for part in _parts(name)) for name in known}
    same = [name for name in alike if name.casefold() == text]
    best = same or [name for name in sorted(alike, key=alike.get, reverse=True) if alike[name] >= ALIKE][:3]
    return f" Did you mean {' or '.join(map(repr, best))}?" if best else ""


def _parts(name: str) -> list[str]:
    """A name and its words, in small letters."""
    return [name.casefold(), *re.findall(r"\w+", name.casefold().replace("_", " "))]


def _likeness(one: str, other: str) -> float:
    return difflib.SequenceMatcher(None, one, other).ratio()


def shortened(message: object, width: int = 300) -> str:
    """A message on one line: libraries can have a thousand lines to say, and the last of them says why.

    If it has more than `width` characters, it is cut after its beginning. Its last line is kept whole, if that has less
    than `LONGEST_LINE`; and of a message in a single line as much of its end as of its beginning.
    """
    lines = [" ".join(line.split()) for line in str(message).splitlines() if line.strip()]
    whole = " ".join(lines)
    if len(whole) <= width:
        return whole
    end = lines[-1] if len(lines) > 1 and len(lines[-1]) <= LONGEST_LINE else whole[-(width // 2) :]
    return f"{whole[: max(width // 2, width - len(end)) - 3].rstrip()} … {end.lstrip()}"


def _require_layout(name: str, values: Tensor, layout: str, least: int, kind: str, dtypes: tuple[str, ...]) -> None:
    axes = layout.split()
    due = f"{kind} ({', '.join(axes)}) are due{f', with N at least {least}' if least else ''}"
    if not hasattr(values, "is_floating_point"):
        raise ValueError(f"{name} are a {type(values).__name__} and no tensor: {due}, and torch.tensor makes them one.")
    if not str(values.dtype).startswith(dtypes) or not _fits(tuple(values.shape), axes, least):
        raise ValueError(f"{name} are {values.dtype} {tuple(values.shape)}: {due}.")


def _fits(shape: tuple[int, ...], axes: list[str], least: int) -> bool:
    if axes[0] == "...":
        axes = axes[1:]
        shape = shape[len(shape) - len(axes) :]
    if len(shape) != len(axes):
        return False
    lengths = dict(zip(axes, shape, strict=True))  # of a letter that stands twice, the second length
    least_of = {axis: least if axis == "N" else 1 for axis in axes}
    return all(
        length == int(axis) if axis.isdecimal() else length == lengths[axis] >= least_of[axis]
        for axis, length in zip(axes, shape, strict=True)
    )
