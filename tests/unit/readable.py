"""Whether the words of a figure can be read: none small, none pale on what is behind it, no picture a stamp."""

from __future__ import annotations

from unittest import mock

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from tutorial_utils.figures.palette import CONTRAST, contrast

POINTS = 7
PIXELS = 78  # 80, and what the layout takes for gaps


def unreadable(figure: Figure) -> list[str]:
    """What in a figure cannot be read, a sentence each."""
    canvas, texts = FigureCanvasAgg(figure), []
    with mock.patch.object(Text, "draw", lambda text, renderer: texts.append(text)):  # all but the words is drawn
        canvas.draw()
    behind = np.asarray(canvas.buffer_rgba())[::-1, :, :3] / 255
    found = []
    for text in (text for text in texts if text.get_text().strip()):
        (left, bottom), (right, top) = np.int64(np.clip(text.get_window_extent().get_points(), 0, None))
        pixels = behind[bottom : top + 1, left : right + 1].reshape(-1, 3)
        if text.get_fontsize() < POINTS:
            found.append(f"{text.get_text()!r} has {text.get_fontsize():g} points")
        if (ratio := contrast(text.get_color(), np.median(pixels, axis=0))) < CONTRAST:
            found.append(f"{text.get_text()!r} has a contrast of {ratio:.1f}")
    return found


def stamps(figure: Figure) -> list[str]:
    """Pictures that are too small to be seen, a sentence each."""
    FigureCanvasAgg(figure).draw()
    sides = [ax.get_window_extent().width for ax in figure.findobj(Axes) if ax.images and not hasattr(ax, "_colorbar")]
    return [f"a picture is {side:.0f} pixels wide" for side in sides if side < PIXELS]
