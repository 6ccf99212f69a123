"""Figures of the lessons. Each function returns one figure of a fixed size, which a notebook shows by itself."""

from __future__ import annotations

import io
import itertools
import math
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import matplotlib
import matplotlib.ticker as ticker
import numpy as np
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import FancyBboxPatch
from matplotlib.text import Text
from mpl_toolkits.mplot3d import Axes3D
from mpl_toolkits.mplot3d.art3d import Poly3DCollection
from PIL import Image

from tutorial_utils import require
from tutorial_utils.figures import alt
from tutorial_utils.figures.palette import ACCENT, INK, QUIET, SECOND, fills, styles, text_on
from tutorial_utils.networks.patches import Size, as_pair, patch_grid, unpatchify

DPI = 90

CHINESE = Path(__file__).parent / "fonts" / "NotoSansCJKsc-subset.otf"
font_manager.fontManager.addfont(CHINESE)

matplotlib.rcdefaults()  # the figures look as here, whatever somebody's matplotlibrc says
matplotlib.rcParams["font.family"] = ["DejaVu Sans", font_manager.FontProperties(fname=CHINESE).get_name()]


class Rate(Protocol):
    """A rate from 0 to 1 and its bounds, such as `measures.intervals.Rate`."""

    @property
    def value(self) -> float: ...

    @property
    def interval(self) -> tuple[float, float]: ...


_TOLD: set[str] = set()
"""Signs of which somebody has been told that no font here has them."""


@contextmanager
def any_sign() -> Iterator[None]:
    """With one warning for all signs that no font here has, and for each sign once: a box stands for it."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    missing = ""
    for warning in caught:
        if found := re.match(r"Glyph (\d+) ", str(warning.message)):
            missing += "".join({chr(int(found[1]))} - _TOLD - {*missing})
        else:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    if missing:
        _TOLD.update(missing)
        warnings.warn(f"No font here has {', '.join(missing)}: in the figure a box stands for it.", stacklevel=2)


class LessonFigure(Figure):
    """A matplotlib figure that shows itself in a notebook, always with the same number of pixels.

    pyplot's inline display crops the figure to its content, so that its size depends on the fonts, and keeps
    every figure alive. This one has no global state; its text form is a description, for readers who cannot
    see the picture and for comparing outputs.
    """

    description = "figure"

    def draw(self, renderer: RendererBase) -> None:
        """Draw all texts as they were typed: a prompt or a name with dollars is no formula. Powers of ten are."""
        powers = {
            label
            for ax in self.findobj(Axes)
            for axis in (ax.xaxis, ax.yaxis)
            if isinstance(axis.get_major_formatter(), ticker.LogFormatter)
            for label in axis.get_ticklabels(which="both")
        }
        for text in self.findobj(Text):
            text.set_parse_math(text in powers)
        with any_sign():
            super().draw(renderer)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> alt.Bundle:
        raw, buffer = io.BytesIO(), io.BytesIO()
        self.savefig(raw, format="rgba")
        width, height = self.canvas.get_width_height()
        pixels = np.frombuffer(raw.getbuffer(), np.uint8).reshape(height, width, 4)
        Image.fromarray(pixels[..., :3]).save(buffer, "PNG", compress_level=9)  # opacity alone would cost a ninth
        return alt.bundle(buffer.getvalue(), f"Figure: {self.description}", alt.of_figure(self, self.description))


def new_figure(
    description: str, rows: int = 1, columns: int = 1, width: float = 9.0, height: float = 3.0, **subplots: Any
) -> tuple[LessonFigure, np.ndarray]:
    """A figure and its axes, an array of shape (rows, columns). Sizes are in inches at 90 pixels each.

    `subplots` goes to `Figure.subplots`: ``width_ratios``, ``sharey`` and so on.
    """
    figure = LessonFigure(figsize=(width, height), dpi=DPI, layout="constrained")
    figure.description = description
    axes = figure.subplots(rows, columns, squeeze=False, **subplots)
    for ax in axes.flat:
        ax.spines[["top", "right"]].set_visible(False)
    return figure, axes


def draw_image(ax: Axes, image: np.ndarray, title: str = "", title_color: str = "black") -> None:
    """Draw one image without ticks: (C, H, W) or (H, W), a numpy array or tensor, uint8 or floats in [0, 1]."""
    image = np.asarray(image)
    if image.ndim == 3:
        image = np.moveaxis(image, 0, -1)
        image = image[..., 0] if image.shape[-1] == 1 else image
    if image.dtype != np.uint8:
        image = np.clip(image, 0, 1)
    top = 255 if image.dtype == np.uint8 else 1
    ax.imshow(image, cmap="gray", vmin=0, vmax=top, interpolation="nearest")
    ax.set_title(title, fontsize=9, color=title_color)
    bare(ax)


def bare(ax: Axes) -> None:
    """Take away an axis's ticks and frame: its content is a picture."""
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)


def draw_patch_grid(ax: Axes, image: np.ndarray, patch_size: Size, title: str = "") -> None:
    """Draw one image (C, H, W) with lines between its patches."""
    patch_grid(tuple(image.shape[-2:]), patch_size)
    draw_image(ax, image, title)
    height, width = as_pair(patch_size)
    line = {"color": "white", "linewidth": 1.2}
    for y in range(height, image.shape[-2], height):
        ax.axhline(y - 0.5, **line)
    for x in range(width, image.shape[-1], width):
        ax.axvline(x - 0.5, **line)


FACES = [0, 1, 3, 2], [4, 5, 7, 6], [0, 1, 5, 4], [2, 3, 7, 6], [0, 2, 6, 4], [1, 3, 7, 5]
"""The six sides of a box, by the numbers of its corners, which count up in binary: (depth, row, column)."""


def draw_tubelets(
    ax: Axes3D, shape: tuple[int, int, int], sides: tuple[int, int, int], firsts: Sequence[int], title: str = ""
) -> None:
    """Draw the boxes that are tokens inside a volume, one of them marked. Rows run from the top down.

    Args:
        shape: of the volume, (depth, height, width) in voxels.
        sides: of a box, likewise. Boxes that do not fit into the volume are left out.
        firsts: the slices at which boxes begin; over height and width they lie side by side.

    Raises:
        ValueError: a side is no whole number from 1 to the volume's, or no box fits into it.
    """
    for side, whole in zip(sides, shape, strict=True):
        require.whole(f"sides={sides}: a box's side", side, 1, whole)
    firsts = [first for first in firsts if 0 <= first <= shape[0] - sides[0]]
    if not firsts:
        raise ValueError(f"firsts: no box of {sides} voxels fits into a volume of {shape} there. Choose smaller ones.")
    rows, columns = (range(0, whole - side + 1, side) for whole, side in zip(shape[1:], sides[1:], strict=True))
    starts = np.array(list(itertools.product(firsts, rows, columns)))
    offsets = np.array(list(itertools.product(*((0, side) for side in sides))))
    depth, row, column = np.moveaxis(starts[:, None] + offsets, 2, 0)
    corners = np.stack([depth, column, shape[1] - row], axis=2)  # (boxes, 8 corners, 3), the last upwards
    marked = np.abs(starts + np.array(sides) / 2 - np.array(shape) * (0.4, 0.3, 0.6)).sum(axis=1).argmin()
    faces = [
        to_rgba(ACCENT) if number == marked else to_rgba(QUIET, 0.1) for number in range(len(starts)) for _ in FACES
    ]
    boxes = corners[:, np.array(FACES)].reshape(-1, 4, 3)
    ax.add_collection3d(Poly3DCollection(boxes, facecolors=faces, edgecolors=to_rgba(INK, 0.25), linewidths=0.5))
    ax.set(title=title, xlabel="slice", ylabel="column", xticks=[], yticks=[], zticks=[])
    ax.set(xlim=(0, shape[0]), ylim=(0, shape[2]), zlim=(0, shape[1]), box_aspect=(1.6, 1, 1))
    ax.set_zlabel("row", labelpad=-14)
    ax.xaxis.labelpad = ax.yaxis.labelpad = -14
    ax.view_init(22, -60)


def show_patch_grid(image: np.ndarray, *patch_sizes: Size) -> LessonFigure:
    """One image (C, H, W) under the grid of each patch size, side by side."""
    count = len(patch_sizes)
    figure, axes = new_figure(
        f"an image with lines between its patches, patch size {', '.join(map(str, patch_sizes))}",
        1,
        count,
        3.0 * count,
        3.3,
    )
    for ax, size in zip(axes.flat, patch_sizes, strict=True):
        rows, columns = patch_grid(tuple(image.shape[-2:]), size)
        draw_patch_grid(ax, image, size, f"patch {size}: {rows} x {columns} = {rows * columns} tokens")
    return figure


def show_patches(patches: np.ndarray, grid: tuple[int, int], patch_size: Size, width: float = 4.5) -> LessonFigure:
    """Patches (L, C * ph * pw) as separate tiles, in their places on the grid."""
    images = _patch_images(patches, patch_size)
    rows, columns = grid
    if rows * columns != len(images):
        raise ValueError(f"grid={grid} has {rows * columns} places for {len(images)} patches.")
    description = f"an image cut into patches, {rows} rows of {columns}, with gaps between them"
    figure, axes = new_figure(description, rows, columns, width, width * rows / columns)
    for ax, image in zip(axes.flat, images, strict=True):
        draw_image(ax, image)
    return figure


def show_sequence(patches: np.ndarray, patch_size: Size, per_row: int = 32, width: float = 9.0) -> LessonFigure:
    """Patches (L, C * ph * pw) as the sequence a transformer sees: one after another, numbered."""
    images = _patch_images(patches, patch_size)
    rows = math.ceil(len(images) / per_row)
    description = f"the patches of an image one after another, numbered from 1 to {len(images)}"
    figure, axes = new_figure(description, rows, per_row, width, rows * (width / per_row + 0.2))
    for index, ax in enumerate(axes.flat):
        if index < len(images):
            draw_image(ax, images[index])
            ax.set_xlabel(str(index + 1), fontsize=7, labelpad=1)
        else:
            bare(ax)
    return figure


def _patch_images(patches: np.ndarray, patch_size: Size) -> list[np.ndarray]:
    """Each flattened patch as an image (C, ph, pw)."""
    return [unpatchify(np.asarray(patch)[None], patch_size, patch_size) for patch in patches]


def new_diagram(description: str, width: float, height: float, unit: float = 0.75) -> tuple[LessonFigure, Axes]:
    """A figure with one empty canvas, `width` by `height` units of `unit` inches, to draw boxes and arrows on."""
    figure, axes = new_figure(description, 1, 1, width * unit, height * unit)
    axes[0, 0].set(xlim=(0, width), ylim=(0, height))
    bare(axes[0, 0])
    return figure, axes[0, 0]


def draw_box(ax: Axes, x: float, y: float, width: float, height: float, text: str, color: str = SECOND) -> None:
    """Draw a rounded box with text in it; `x` and `y` are its lower left corner."""
    corners = FancyBboxPatch((x, y), width, height, boxstyle="round,pad=0,rounding_size=0.12", color=color, linewidth=0)
    ax.add_patch(corners)
    ax.text(x + width / 2, y + height / 2, text, ha="center", va="center", color=text_on(color), fontsize=9)


def draw_arrow(ax: Axes, start: tuple[float, float], end: tuple[float, float], color: str = QUIET) -> None:
    """Draw an arrow from one point to another."""
    ax.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": color, "linewidth": 1.4})


def draw_inset(ax: Axes, x: float, y: float, side: float) -> Axes:
    """A square of `side` for a picture on a diagram, its lower left corner at `x` and `y`."""
    return ax.inset_axes((x, y, side, side), transform=ax.transData)


def show_top_k(
    probabilities: np.ndarray, names: Sequence[str], image: np.ndarray | None = None, k: int = 5
) -> LessonFigure:
    """The k most probable classes as bars, beside the image (C, H, W) if one is given.

    Args:
        probabilities: (K,), summing to 1.
        names: the K classes' names.
    """
    probabilities = np.asarray(probabilities)
    best = np.argsort(probabilities)[::-1][:k]
    pictures = 0 if image is None else 1
    figure, axes = new_figure(
        f"the {len(best)} most probable classes as bars{', beside the image' if pictures else ''}",
        1,
        1 + pictures,
        5 + 3 * pictures,
        2.6,
        width_ratios=[1, 2][-1 - pictures :],
    )
    if image is not None:
        draw_image(axes[0, 0], image)
    ax = axes[0, -1]
    colors = [ACCENT] + [QUIET] * (len(best) - 1)
    bars = ax.barh(range(len(best)), probabilities[best], color=colors)  # by number: two names may be the same
    ax.set_yticks(range(len(best)), [names[i] for i in best])
    ax.bar_label(bars, fmt="%.3f", padding=3, fontsize=8)
    ax.invert_yaxis()
    ax.set(xlim=(0, 1.12), xlabel="probability")
    return figure


def show_confusion(matrix: np.ndarray, names: Sequence[str]) -> LessonFigure:
    """A confusion matrix of counts (K, K), true classes down, as shares of each true class."""
    matrix = np.asarray(matrix)
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    side = 2.2 + 0.45 * len(names)
    figure, axes = new_figure(
        f"confusion matrix: how often each of {len(names)} classes is taken for which", 1, 1, side + 0.6, side
    )
    ax = axes[0, 0]
    drawn = ax.imshow(shares**0.5, cmap="Blues", vmin=0, vmax=1)  # the root makes rare confusions visible
    for row, column in zip(*np.nonzero(shares > 0.005), strict=True):
        color = text_on(drawn.to_rgba(shares[row, column] ** 0.5))
        ax.text(column, row, f"{100 * shares[row, column]:.0f}", ha="center", va="center", color=color, fontsize=8)
    ax.set_xticks(range(len(names)), names, rotation=45, ha="right", rotation_mode="anchor", fontsize=8)
    ax.set_yticks(range(len(names)), names, fontsize=8)
    ax.set(xlabel="predicted", ylabel="true", title="percent of each true class")
    return figure


def show_attention(image: np.ndarray, maps: np.ndarray, titles: Sequence[str]) -> LessonFigure:
    """An image (C, H, W), and beside it each attention map (M, rows, columns) with its own scale, in percent."""
    maps = np.asarray(maps)
    columns = len(maps) + 1
    figure, axes = new_figure("an image, and beside it where attention goes in it", 1, columns, 2.0 * columns, 2.2)
    draw_image(axes[0, 0], image, "image")
    for ax, weights, title in zip(axes.flat[1:], maps, titles, strict=True):
        drawn = draw_attention(ax, image, 100 * weights, title)
        figure.colorbar(drawn, location="bottom", shrink=0.9, format="%g%%").ax.tick_params(labelsize=7)
    return figure


def draw_attention(
    ax: Axes, image: np.ndarray, weights: np.ndarray, title: str = "", most: float | None = None
) -> AxesImage:
    """Draw one attention map (rows, columns) as squares, in the frame of the image (C, H, W) that it is about.

    The image itself is not drawn: what is bright there would look attended.

    Args:
        most: the weight that is drawn brightest; None for the map's largest. Nothing is drawn black.

    Returns:
        what a colour bar can be made of.
    """
    weights = np.asarray(weights)
    height, width = image.shape[-2:]
    extent = (-0.5, width - 0.5, height - 0.5, -0.5)
    top = (float(weights.max()) if most is None else most) or 1.0
    drawn = ax.imshow(weights, cmap="inferno", vmin=0, vmax=top, extent=extent, interpolation="nearest")
    ax.set_title(title, fontsize=9)
    bare(ax)
    return drawn


def show_matrices(matrices: dict[str, np.ndarray], width: float = 9.0) -> LessonFigure:
    """Small matrices side by side, each number written into its square: ``{name: (rows, columns)}``."""
    shapes = [np.shape(matrix) for matrix in matrices.values()]
    unit = width / sum(columns + 0.6 for _, columns in shapes)  # inches a square
    figure, axes = new_figure(
        f"matrices with their numbers: {', '.join(matrices)}",
        1,
        len(matrices),
        width,
        unit * max(rows for rows, _ in shapes) + 0.5,
        width_ratios=[columns for _, columns in shapes],
    )
    for ax, (name, matrix) in zip(axes.flat, matrices.items(), strict=True):
        values = np.asarray(matrix)
        ax.imshow(values, cmap="Blues", vmin=0, vmax=2 * max(abs(values).max(), 1e-9))  # pale, to be read upon
        for (row, column), value in np.ndenumerate(values):
            ax.text(column, row, f"{value:.2f}".rstrip("0").rstrip("."), ha="center", va="center", fontsize=9)
        ax.set_title(name, fontsize=9)
        bare(ax)
    return figure


def show_images(
    images: Sequence[np.ndarray],
    captions: Sequence[str] = (),
    columns: int = 8,
    width: float = 9.0,
    right: Sequence[bool] | None = None,
    description: str = "",
) -> LessonFigure:
    """Images, each (C, H, W) or (H, W), in a grid; a caption is red and has a cross where `right` is False.

    `description` says what they show, in words that are the same on every machine; without it they are counted.
    """
    rows = max(1, math.ceil(len(images) / columns))
    captions = list(captions) or [""] * len(images)
    side = width / columns
    lines = max((caption.count("\n") + 1 if caption else 0 for caption in captions), default=0)
    figure, axes = new_figure(
        description or f"{len(images)} images", rows, columns, width, rows * (side + 0.17 * lines)
    )
    for index, ax in enumerate(axes.flat):
        if index < len(images):
            wrong = right is not None and not right[index]
            caption = f"{alt.WRONG}{captions[index]}" if wrong else captions[index]
            draw_image(ax, images[index], caption, ACCENT if wrong else "black")
        else:
            bare(ax)
    return figure


def show_curves(curves: dict[str, tuple[Sequence[float], Sequence[float]]], xlabel: str, ylabel: str) -> LessonFigure:
    """Training curves, or any lines over a common axis: ``{name: (x, y)}``."""
    figure, axes = new_figure(f"{ylabel} against {xlabel}: {', '.join(curves)}", 1, 1, 6.5, 3.2)
    ax = axes[0, 0]
    for (name, (x, y)), look in zip(curves.items(), styles(), strict=False):
        ax.plot(x, y, label=name, markersize=4, markevery=1 + len(x) // 25, **look)
    ax.set(xlabel=xlabel, ylabel=ylabel)
    ax.xaxis.set_major_locator(
        ticker.MaxNLocator(integer=all(float(v).is_integer() for x, _ in curves.values() for v in x), min_n_ticks=1)
    )
    ax.legend(frameon=False, handlelength=3)
    return figure


def show_rate_curves(
    curves: dict[str, tuple[Sequence[float], Sequence[Rate]]], xlabel: str, ylabel: str
) -> LessonFigure:
    """Rates over a common axis, each with its interval as a bar: ``{name: (x, rates)}``."""
    figure, axes = new_figure(f"{ylabel} against {xlabel}: {', '.join(curves)}", 1, 1, 8, 3.6)
    ax = axes[0, 0]
    for (name, (x, rates)), look in zip(curves.items(), styles(), strict=False):
        found = np.array([(rate.value, *rate.interval) for rate in rates]).reshape(-1, 3)
        reach = abs(found[:, 1:] - found[:, :1]).T
        ax.errorbar(x, found[:, 0], reach, label=name, markersize=4, capsize=2, **look)
    ax.set(xlabel=xlabel, ylabel=ylabel)
    ax.yaxis.set_major_formatter(ticker.PercentFormatter(1))
    ax.legend(frameon=False, fontsize=8, handlelength=3, bbox_to_anchor=(1, 0.5), loc="center left")
    return figure


def show_rates(rates: dict[str, dict[str, float]], ylabel: str) -> LessonFigure:
    """Bars in groups, in percent: ``{name: {group: rate from 0 to 1}}``, all names with the same groups."""
    figure, axes = new_figure(f"{ylabel}, in percent, as bars: {', '.join(rates)}", 1, 1, 8, 3)
    ax, groups = axes[0, 0], list(next(iter(rates.values())))
    width = 0.8 / len(rates)
    for index, ((name, found), look) in enumerate(zip(rates.items(), fills(), strict=False)):
        left = [place + width * (index - (len(rates) - 1) / 2) for place in range(len(groups))]
        bars = ax.bar(left, [100 * found[group] for group in groups], 0.92 * width, label=name, **look)
        ax.bar_label(bars, fmt="%.0f", fontsize=8)
    ax.set(xticks=range(len(groups)), xticklabels=groups, ylabel=f"{ylabel}, %", ylim=(0, 125))
    ax.legend(frameon=False, ncols=len(rates), loc="upper center")
    return figure
