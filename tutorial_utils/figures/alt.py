"""What a figure shows, read from what is drawn in it: the text for readers who cannot see the picture.

Screen readers speak it in the picture's place (`WCAG 1.1.1 <https://www.w3.org/WAI/tutorials/images/complex/>`_). It is
plain text of a few sentences: each panel's title, axes, lines, bars, pictures and words, with two or three digits.
"""

from __future__ import annotations

import base64
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.category import StrCategoryLocator
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.container import BarContainer, ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.patches import FancyBboxPatch
from matplotlib.text import Annotation
from matplotlib.ticker import FixedLocator, PercentFormatter, StrMethodFormatter

LONGEST = 700
"""Characters, at most, before what is left out."""

MANY = 12
"""Things of one kind that are named one by one, at most."""

NEAR = 0.4
"""Units of a diagram between a box and the end of an arrow that belongs to it, at most."""

WRONG = "✗ "
"""Stands before the caption of what is wrong."""

NUMBER = re.compile(r"[-+−]?[\d.,]+(?:e[-+]?\d+)? ?%?")


Bundle = tuple[dict[str, str], dict[str, dict[str, str]]]
"""What a notebook stores of an output: its forms, and what there is to know about each."""


def bundle(png: bytes, text: str, words: str) -> Bundle:
    """A picture for a notebook, with a text form that is the same on every machine and an alternative text."""
    return {"image/png": base64.b64encode(png).decode(), "text/plain": text}, {"image/png": {"alt": words}}


def of_figure(figure: Figure, description: str) -> str:
    """The description, and a sentence for each thing that is drawn in the figure."""
    title = figure.get_suptitle()
    notes = [text.get_text() for text in figure.texts if text.get_text() != title]
    return joined([description, title, *_panels(figure), *notes])


def joined(sentences: Iterable[str]) -> str:
    """Sentences as one text, cut behind a sentence when it grows too long, which is said."""
    whole = [text if text[-1] in ".?!" else f"{text}." for text in map(_plain, sentences) if text]
    whole = [text[0].upper() + text[1:] for text in whole]
    lengths = np.cumsum([len(text) + 1 for text in whole])
    kept = max(1, int((lengths <= LONGEST + 1).sum()))
    left = len(whole) - kept
    rest = [f"Left out here: {left} more {'sentence' if left == 1 else 'sentences'}."] if left else []
    return " ".join([*whole[:kept], *rest])


def listed(words: Sequence[str]) -> str:
    """Words one after another, repeated ones once, and of very many only the first."""
    runs = [(word, len(list(same))) for word, same in itertools.groupby(words)]
    named = [word if count == 1 else f"{word} ({count} times)" for word, count in runs[:MANY]]
    more = sum(count for _, count in runs[MANY:])
    return "; ".join(named) + (f"; and {more} more" if more else "")


def grid(noun: str, captions: Sequence[str], columns: int, kind: str = "") -> str:
    """How many pictures or videos stand in rows of `columns`, and what is written at each."""
    count = len(captions)
    place = f"{count} {noun}s in rows of {columns}" if count > columns > 1 else f"{count} {noun}s side by side"
    if count == 1:
        place = f"one {noun}"
    words = listed([caption for caption in map(_spoken, captions) if caption])
    return f"{place}{kind}{f': {words}' if words else ''}"


def _plain(text: str) -> str:
    """A text in one line; of the sign for what is wrong a reader would hear "ballot x"."""
    return " ".join(text.replace(WRONG, "wrong: ").split())


def _spoken(text: str) -> str:
    """The lines of a caption, set apart."""
    return _plain(re.sub(r"(?<=[^:,;])\n", ", ", text))


def _panels(figure: Figure) -> Iterator[str]:
    panels = [ax for ax in figure.axes if _content(ax)]
    for is_picture, group in itertools.groupby(panels, _is_picture):
        some = list(group)
        if is_picture:
            yield from _pictures(some)
        else:
            for ax in some:
                yield from _panel(ax, f"Panel {panels.index(ax) + 1}: " if len(panels) > 1 else "")


def _content(ax: Axes) -> bool:
    """Whether a panel shows something of its own: an empty place does not, and neither does the bar of the colours."""
    return not hasattr(ax, "_colorbar") and bool(
        ax.lines or ax.patches or ax.images or ax.texts or ax.collections or ax.child_axes
    )


def _is_picture(ax: Axes) -> bool:
    numbered = len(ax.get_xticks()) + len(ax.get_yticks()) or (ax.get_xlabel() and ax.get_ylabel())
    return bool(ax.images) and not numbered and not _words(ax) and not _squares(ax)


# Pictures


def _pictures(panels: list[Axes]) -> Iterator[str]:
    """Pictures without numbers at their sides: what is written at them, row by row where rows differ."""
    spec = panels[0].get_subplotspec()  # a picture on a diagram has none
    columns = spec.get_gridspec().ncols if spec else len(panels)
    rows = [panels[start : start + columns] for start in range(0, len(panels), columns)]
    maps = [values.shape for ax in panels if (values := _map_of(ax.images[-1])) is not None]
    squares = f", maps of {maps[0][0]} by {maps[0][1]} squares" if maps else ""
    if len(rows) == 1 or not (maps or any(ax.get_ylabel() for ax in panels)):
        yield grid("picture", [_caption(ax) for ax in panels], columns, squares)
        return
    heads = _heads([[_title(ax) for ax in row] for row in rows]) or _heads(
        [[ax.get_xlabel() for ax in row] for row in rows[::-1]]
    )
    yield f"{len(panels)} pictures in rows of {columns}{squares}" + (f"; the columns: {listed(heads)}" if heads else "")
    for number, row in enumerate(rows, 1):
        words = listed([caption for ax in row if (caption := _spoken(_caption(ax, heads)))])
        yield f"Row {row[0].get_ylabel() or number}{': ' if words else ''}{words}"


def _heads(rows: list[list[str]]) -> list[str]:
    """The words over the columns of a grid, if they stand at its first row alone."""
    first, *others = rows
    return first if any(first) and not any(itertools.chain(*others)) else []


def _title(ax: Axes) -> str:
    return ax.get_title() or ax.get_title(loc="left")


def _caption(ax: Axes, known: Sequence[str] = ()) -> str:
    """What is written at a picture and not known yet, and, if its colours are values, where the largest is."""
    written = [words for words in (_title(ax), ax.get_xlabel()) if words not in known]
    return ", ".join(filter(None, [*written, _brightest(ax)]))


def _brightest(ax: Axes) -> str:
    values = _map_of(ax.images[-1])
    if values is None:
        return ""
    row, column = np.unravel_index(np.nanargmax(values), values.shape)
    return f"most in row {row + 1}, column {column + 1}"


def _map_of(image: AxesImage) -> np.ndarray | None:
    """The values that the colours of an image stand for; a picture in grey or in colours of its own has none."""
    values = np.ma.filled(np.ma.asarray(image.get_array(), dtype=float), np.nan)
    grey = values.ndim == 3 or image.get_cmap().name == "gray"
    return None if grey or np.isnan(values).all() else values


# Plots and diagrams


def _panel(ax: Axes, which: str) -> Iterator[str]:
    """Sentences on one panel, of which the first says which it is."""
    axes = [_axis(axis, name) for axis, name in ((ax.xaxis, "x"), (ax.yaxis, "y"))]
    head = "; ".join(filter(None, [_title(ax), *axes]))
    yield head and which + head
    for series in ax.containers:
        if isinstance(series, BarContainer):
            yield _bars(ax, series)
        elif isinstance(series, ErrorbarContainer) and not _is_part_of_bars(ax, series):
            yield _with_intervals(ax, series)
    yield from _lines(ax)
    yield from (_points(ax, points) for points in ax.collections)
    if areas := [area.get_label() for area in ax.patches if area.get_label() and area.get_label()[0] != "_"]:
        yield f"Marked areas: {listed(areas)}"
    yield from (_map(ax, image) for image in ax.images)
    if pictures := [inset for inset in ax.child_axes if inset.images]:
        yield from _pictures(pictures)
    if words := _words(ax):
        yield f"Written in it: {listed(words)}"
    if arrows := _arrows(ax):
        yield f"Arrows: {'; '.join(arrows)}"


def _is_part_of_bars(ax: Axes, series: ErrorbarContainer) -> bool:
    return any(getattr(other, "errorbar", None) is series for other in ax.containers)


def _lines(ax: Axes) -> Iterator[str]:
    """Each line with a name; of those without, one or two, if they are not the grid of a picture or of a diagram."""
    told = {line for series in ax.containers if isinstance(series, ErrorbarContainer) for line in _parts(series)}
    lines = [line for line in ax.lines if line not in told]
    unnamed = [line for line in lines if line.get_label().startswith("_")]
    bare = bool(ax.images) or not len(ax.get_xticks())
    for line in lines:
        name = "a line" if line in unnamed else line.get_label()
        if line not in unnamed or (len(unnamed) <= 2 and not bare):
            yield _line(ax, name, line.get_xdata(orig=False), line.get_ydata(orig=False))
    if len(unnamed) > 2 and not bare:
        yield f"{len(unnamed)} lines without names"


def _parts(series: ErrorbarContainer) -> list[Line2D]:
    line, caps, _ = series.lines
    return [*([line] if line else []), *caps]


def _axis(axis: Axis, name: str) -> str:
    """An axis's label and what it reaches over; of an axis of names the names come with what stands there."""
    low, high = axis.get_data_interval()
    span = np.isfinite([low, high]).all() and len(axis.get_ticklocs()) and not _names(axis)
    reach = f" from {_number(axis, low)} to {_number(axis, high)}" if span else ""
    scale = ", logarithmic" if axis.get_scale() == "log" else ""
    label = axis.get_label_text()
    return f"{name} axis: {label or 'numbers'}{reach}{scale}" if label or reach else ""


def _names(axis: Axis) -> dict[float, str]:
    """The names that stand at the places of an axis, if it is one of names."""
    if not isinstance(axis.get_major_locator(), FixedLocator | StrCategoryLocator):
        return {}
    places = [float(place) for place in axis.get_majorticklocs()]
    labels = [_plain(str(label)) for label in axis.get_major_formatter().format_ticks(places)]
    named = any(label and not NUMBER.fullmatch(label) for label in labels)
    return dict(zip(places, labels, strict=True)) if named else {}


def _number(axis: Axis, value: float) -> str:
    """A value with three digits, in the unit of its axis."""
    shown = axis.get_major_formatter()
    if isinstance(shown, PercentFormatter):
        return f"{100 * value / shown.xmax:.3g}%"
    if isinstance(shown, StrMethodFormatter):
        return shown(value)
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e9 else f"{value:.3g}"


def _place(axis: Axis, value: float) -> str:
    """The name that stands at a value, or nearly there, or its number."""
    names = _names(axis)
    nearest = min(names, key=lambda place: abs(place - value), default=np.inf)
    return names[nearest] if abs(nearest - value) < 0.5 else _number(axis, value)


def _bars(ax: Axes, bars: BarContainer) -> str:
    """Each bar with its length, or, of very many, the range and the longest."""
    upright = bars.orientation != "horizontal"
    along, across = (ax.yaxis, ax.xaxis) if upright else (ax.xaxis, ax.yaxis)
    lengths = [bar.get_height() if upright else bar.get_width() for bar in bars]
    middles = [bar.get_x() + bar.get_width() / 2 if upright else bar.get_y() + bar.get_height() / 2 for bar in bars]
    written = {text.xy[0 if upright else 1]: text.get_text() for text in ax.texts if isinstance(text, Annotation)}
    label = "Bars" if bars.get_label().startswith("_") else f"Bars {bars.get_label()}"
    if len(bars) > MANY:
        longest = int(np.argmax(lengths))
        return (
            f"{len(bars)} {label[0].lower()}{label[1:]}, {_number(along, min(lengths))} to "
            f"{_number(along, lengths[longest])}, the longest at {_place(across, middles[longest])}"
        )
    reach = _reaches(bars.errorbar, upright, along, len(bars))
    said = [
        f"{_place(across, middle)} {written.get(middle) or _number(along, length)}{interval}"
        for middle, length, interval in zip(middles, lengths, reach, strict=True)
    ]
    return f"{label}: {'; '.join(said)}"


def _reaches(errorbar: ErrorbarContainer | None, upright: bool, axis: Axis, count: int) -> list[str]:
    """The intervals of `count` values in brackets, or nothing for each if not each has one."""
    spans = [span[:, 1 if upright else 0] for span in errorbar.lines[2][0].get_segments()] if errorbar else []
    if len(spans) != count:
        return [""] * count
    return [f" ({_number(axis, low)} to {_number(axis, high)})" for low, high in spans]


def _with_intervals(ax: Axes, series: ErrorbarContainer) -> str:
    """Points with their intervals; of many points not each interval, and of very many the ends alone."""
    line, _, spans = series.lines
    if line is None or not spans:
        return ""
    x, y = line.get_xdata(orig=False), line.get_ydata(orig=False)
    label = series.get_label() if not series.get_label().startswith("_") else "Points"
    upright = series.has_yerr
    (values, along), (places, across) = ((y, ax.yaxis), (x, ax.xaxis))[:: 1 if upright else -1]
    reach = _reaches(series, upright, along, len(values))
    count = len(values) * (1 if _names(across) else len(ax.containers))
    level = len(values) > 1 and (values == values[0]).all()
    all_told, last = count <= MANY and not level, f"; the last interval{reach[-1]}" if len(values) else ""
    if level or count > 2 * MANY:
        return _line(ax, label, x, y) + last
    said = [
        f"{_number(along, value)}{interval if all_told else ''} at {_place(across, place)}"
        for place, value, interval in zip(places, values, reach, strict=True)
    ]
    return f"{label}: {'; '.join(said)}{'' if all_told else last}"


def _line(ax: Axes, label: str, x: Sequence[float], y: Sequence[float]) -> str:
    """How a line runs: its ends, and its lowest and highest points between them."""
    x, y = (np.atleast_1d(np.asarray(values, dtype=float)) for values in (x, y))
    there = np.isfinite(x) & np.isfinite(y)
    x, y = x[there], y[there]
    if not len(x):
        return f"{label}: nothing"
    if len(x) > 1 and (y == y[0]).all():
        return f"{label}: {_number(ax.yaxis, y[0])} throughout"
    if len(x) > 1 and (x == x[0]).all():
        return f"{label}: upright at {_place(ax.xaxis, x[0])}"
    if len(x) > 1 and not (np.diff(x) > 0).all():
        start, end = (f"({_number(ax.xaxis, x[k])}, {_number(ax.yaxis, y[k])})" for k in (0, -1))
        return f"{label}: from {start} to {end}"

    def at(k: int) -> str:
        return f"{_number(ax.yaxis, y[k])} at {_place(ax.xaxis, x[k])}"

    ends = ["from", at(0), "to", at(-1)] if len(x) > 1 else [at(0)]
    margin = 0.02 * np.ptp(y)
    lowest = [f"lowest {at(y.argmin())}"] if y.min() < min(y[0], y[-1]) - margin else []
    highest = [f"highest {at(y.argmax())}"] if y.max() > max(y[0], y[-1]) + margin else []
    return f"{label}: {', '.join([' '.join(ends), *lowest, *highest])}"


def _points(ax: Axes, points: object) -> str:
    """Scattered points, and what else has a name."""
    label = points.get_label()
    named = bool(label) and not label.startswith("_")
    if not isinstance(points, PathCollection):
        return f"Drawn: {label}" if named and not isinstance(points, LineCollection) else ""
    places = np.ma.filled(np.ma.asarray(points.get_offsets(), dtype=float), np.nan)
    if not len(places):
        return ""
    spans = [
        f"{name} {_number(axis, low)} to {_number(axis, high)}"
        for name, axis, low, high in zip(
            "xy", (ax.xaxis, ax.yaxis), np.nanmin(places, axis=0), np.nanmax(places, axis=0), strict=True
        )
    ]
    return f"{label if named else 'Points'}: {len(places)} of them, {', '.join(spans)}"


def _map(ax: Axes, image: AxesImage) -> str:
    """A map whose squares are values: each row, or the largest of it where rows have names; else the range."""
    values = _map_of(image)
    if values is None:
        return ""
    rows, columns = ({round(place): name for place, name in _names(axis).items()} for axis in (ax.yaxis, ax.xaxis))
    written = _squares(ax)
    if written and not rows:
        lines = itertools.groupby(sorted(written), key=lambda square: square[0])
        return "rows " + " / ".join(" ".join(written[square] for square in line) for _, line in lines)
    if rows and columns and values.shape == (len(rows), len(columns)):
        said = (
            ", ".join(
                f"{columns[column]} {written.get((row, column)) or f'{values[row, column]:.3g}'}"
                for column in np.argsort(values[row])[: -3 if written else -2 : -1]
                if not written or (row, column) in written
            )
            for row in rows
        )
        return f"Largest in each row: {'; '.join(f'{rows[row]}: {line}' for row, line in zip(rows, said, strict=True))}"
    low, high = np.nanmin(values), np.nanmax(values)
    return f"A map of {values.shape[0]} by {values.shape[1]} squares, from {low:.3g} to {high:.3g}, {_brightest(ax)}"


# Words


def _squares(ax: Axes) -> dict[tuple[int, int], str]:
    """What is written into the squares of a map, by row and column."""
    values = _map_of(ax.images[0]) if ax.images else None
    if values is None:
        return {}
    places = {text.get_position()[::-1]: text.get_text() for text in ax.texts}
    return {place: places[place] for place in np.ndindex(values.shape) if place in places}


def _words(ax: Axes) -> list[str]:
    """What is written in a panel, but the lengths of bars and the numbers in squares."""
    squares = _squares(ax)
    return [
        words
        for text in ax.texts
        if (words := _plain(text.get_text()))
        and text.get_position()[::-1] not in squares
        and not (isinstance(text, Annotation) and any(isinstance(one, BarContainer) for one in ax.containers))
    ]


def _arrows(ax: Axes) -> list[str]:
    """Which boxes of a diagram arrows lead to, and from which."""
    boxes = [patch for patch in ax.patches if isinstance(patch, FancyBboxPatch)]
    arrows = [text for text in ax.texts if isinstance(text, Annotation) and text.arrow_patch and not text.get_text()]
    leading: dict[str, list[str]] = {}
    for arrow in arrows:
        start, end = (_box_at(ax, boxes, *place) for place in (arrow.get_position(), arrow.xy))
        if start and end:
            leading.setdefault(end, []).append(start)
    groups = itertools.groupby(leading.items(), key=lambda one: ", ".join(one[1]))
    return [f"{starts} to {', '.join(end for end, _ in ends)}" for starts, ends in groups]


def _box_at(ax: Axes, boxes: list[FancyBboxPatch], x: float, y: float) -> str:
    """The words in the box next to a point, if one is near."""

    def distance(box: FancyBboxPatch) -> float:
        aside = max(box.get_x() - x, x - box.get_x() - box.get_width(), 0)
        above = max(box.get_y() - y, y - box.get_y() - box.get_height(), 0)
        return max(aside, above)

    box = min(boxes, key=distance, default=None)
    if box is None or distance(box) > NEAR:
        return ""
    middle = (box.get_x() + box.get_width() / 2, box.get_y() + box.get_height() / 2)
    return next((_plain(text.get_text()) for text in ax.texts if text.get_position() == middle), "")
