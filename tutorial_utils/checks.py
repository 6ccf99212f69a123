"""`check`: a fact that a notebook states. It is asserted where nobody watches, and reported to whoever is at work.

Somebody who changes a number wants to see what comes of it, and a fact that is then untrue is the point of it. So in a
notebook that a person has opened in Jupyter a fact that does not hold is a line in red, and the notebook goes on.
"""

from __future__ import annotations

import operator
import os
from typing import Any, Literal

import numpy as np

from tutorial_utils.translations import say

MARK = "✓"
CROSS = "✗"
RED, PLAIN = "\x1b[31m", "\x1b[0m"

UNTRUE: dict[str, str] = {}
"""What was found instead, by the names of those facts that did not hold when they were last checked."""


class CheckError(AssertionError):
    """A fact that did not hold. The message has the fact's name and both values."""


def voice() -> Literal["strict", "report"]:
    """How `check` speaks of a fact that does not hold: TUTORIAL_CHECKS says so, or else who runs the notebook.

    nbgrader, which says of itself that it is at work (NBGRADER_EXECUTION), gives points for whatever raises nothing: to
    it every fact is strict. Jupyter's server tells a kernel that somebody has opened which notebook that was for
    (JPY_SESSION_NAME); nbclient, nbconvert and nbval do not.

    Raises:
        ValueError: TUTORIAL_CHECKS is neither "strict" nor "report".
    """
    if os.environ.get("NBGRADER_EXECUTION"):
        return "strict"
    asked = os.environ.get("TUTORIAL_CHECKS") or ("report" if os.environ.get("JPY_SESSION_NAME") else "strict")
    if asked not in ("strict", "report"):
        raise ValueError(f"TUTORIAL_CHECKS={asked!r} is unknown: choose strict (a wrong fact stops) or report.")
    return asked


def check(
    name: str,
    got: Any,
    expected: Any = None,
    *,
    rtol: float = 0.0,
    atol: float = 0.0,
    at_least: float | None = None,
    at_most: float | None = None,
) -> None:
    """State a fact, and print one line that is the same on every machine if it holds.

    The measured value is not printed, because the last digits differ between processors: show it in a cell of
    its own. Give `expected` (numbers, arrays or tensors compared within `atol + rtol * |expected|`, anything
    else by `==`), or a bound, or both bounds.

    Args:
        name: the fact as a short sentence, such as ``"patches put back together give the image"``.
        got: what was measured: a value, a numpy array or a tensor of any shape.

    Raises:
        CheckError: the fact does not hold, and nobody is at work (see `voice`).
        ValueError: neither `expected` nor a bound was given.
    """
    if expected is None and at_least is None and at_most is None:
        raise ValueError(f"check({name!r}) has nothing to compare with: give expected, at_least or at_most.")
    found = _difference(plain(got), plain(expected), rtol, atol, at_least, at_most)
    if not found:
        UNTRUE.pop(name, None)
        print(f"{MARK} {say(name)}")
    elif voice() == "strict":
        raise CheckError(f"{name}: {found}.")
    else:
        UNTRUE[name] = found
        print(f"{RED}{CROSS} {say(f'{name}: {found}; your change made this fact untrue, or found something.')}{PLAIN}")


def untrue() -> None:
    """List the facts that do not hold any more, for the end of a notebook."""
    if not UNTRUE:
        print(say("Every fact that was checked holds."))
    for name, found in UNTRUE.items():
        print(f"{RED}{CROSS} {say(f'{name}: {found}.')}{PLAIN}")


def _difference(
    got: Any, expected: Any, rtol: float, atol: float, at_least: float | None, at_most: float | None
) -> str | None:
    """What is other than stated, with both values; None if nothing is."""
    if expected is not None and not agree(got, expected, rtol, atol):
        tolerance = f" within rtol={rtol}, atol={atol}" if rtol or atol else ""
        return f"got {short(got)}, expected {short(expected)}{tolerance}"
    if at_least is not None and not (_has_order(got) and np.all(np.asarray(got) >= at_least)):
        return f"got {short(got)}, expected at least {at_least}"
    if at_most is not None and not (_has_order(got) and np.all(np.asarray(got) <= at_most)):
        return f"got {short(got)}, expected at most {at_most}"
    return None


def plain(value: Any) -> Any:
    """A tensor (of torch or Keras) as a numpy array; shapes and lists of numbers as tuples; the rest as it is."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        if str(value.dtype) == "torch.bfloat16":  # which numpy does not have
            value = value.float()
    if hasattr(value, "numpy"):
        return value.numpy()
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind == "U":
        value = value.tolist()
    return tuple(value) if isinstance(value, list | tuple) else value


def agree(got: Any, expected: Any, rtol: float, atol: float) -> bool:
    """Whether two `plain` values are the same: numbers within ``atol + rtol * |expected|``, all else by ``==``."""
    if not is_numeric(got) or not is_numeric(expected):
        if isinstance(got, tuple) and isinstance(expected, tuple):
            pairs = zip(map(plain, got), map(plain, expected), strict=False)
            return len(got) == len(expected) and all(agree(*pair, rtol, atol) for pair in pairs)
        same = np.array_equal if isinstance(got, np.ndarray) else operator.eq
        return type(got) is type(expected) and same(got, expected)
    got, expected = np.asarray(got), np.asarray(expected)
    if not (rtol or atol):  # without a detour through floats, which would not tell large whole numbers apart
        return np.array_equal(got, expected)
    return got.shape == expected.shape and bool(np.allclose(got, expected, rtol=rtol, atol=atol))


def is_numeric(value: Any, kinds: str = "biufc") -> bool:
    """Whether something is a number, or numbers in a regular array, of one of numpy's kinds."""
    try:
        return np.asarray(value).dtype.kind in kinds
    except ValueError:  # a ragged list
        return False


def _has_order(value: Any) -> bool:
    """Whether a bound can hold: there is something, and it is real numbers."""
    return is_numeric(value, "biuf") and np.size(value) > 0


def short(value: Any) -> str:
    """A value in a few characters; of a large array its shape, range and mean."""
    if isinstance(value, np.ndarray) and value.size > 8 and is_numeric(value, "biuf"):
        low, high, mean = (float(of(value)) for of in (np.min, np.max, np.mean))
        return f"array{value.shape} in [{low:.6g}, {high:.6g}] with mean {mean:.6g}"
    return repr(value.tolist() if isinstance(value, np.ndarray | np.generic) else value)
