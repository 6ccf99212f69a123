"""Colours that differ for every eye, looks that differ without them, and words that can be read on all."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
from matplotlib.colors import to_rgb

ACCENT, SECOND, QUIET, INK = "#cb4758", "#00798c", "#8f959c", "#30475e"
"""The colours of every plot: what to look at, what to compare it with, everything else, and dark boxes.

They differ for the colour-blind too, and all but QUIET are dark enough for words on white.
"""

CONTRAST = 4.5
"""Of words to what is behind them, at least (WCAG 2.2, 1.4.3)."""

COLORS = ACCENT, SECOND, QUIET, INK
DASHES = "-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1))
MARKS = "os^DvPX*<>ph"
HATCHES = "", "//", "..", "xx", "--"


def styles() -> Iterator[dict[str, Any]]:
    """Looks for one line after another, without end: ``ax.plot(x, y, label=name, **look)``.

    The first twenty differ in colour or dashes, and the first twelve in their marks alone.
    """
    looks = zip(*map(itertools.cycle, (COLORS, DASHES, MARKS)), strict=True)
    return ({"color": color, "linestyle": dashes, "marker": mark} for color, dashes, mark in looks)


def fills() -> Iterator[dict[str, Any]]:
    """Looks for one group of bars after another, likewise: ``ax.bar(places, heights, label=name, **look)``."""
    looks = zip(*map(itertools.cycle, ((QUIET, SECOND, ACCENT, INK), HATCHES)), strict=True)
    return ({"facecolor": color, "hatch": hatch, "edgecolor": "white"} for color, hatch in looks)


def contrast(one: Any, other: Any) -> float:
    """The contrast of two opaque colours as matplotlib takes them, from 1 to 21 (WCAG 2.2)."""
    values = np.array([to_rgb(one), to_rgb(other)])
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    darker, lighter = sorted(linear @ (0.2126, 0.7152, 0.0722))
    return (lighter + 0.05) / (darker + 0.05)


def text_on(background: Any) -> str:
    """The colour for words on a background: white if it can be read there, else black."""
    return "white" if contrast("white", background) >= CONTRAST else "black"
