"""Every figure of the course with one text in all the places where a person's words can stand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tutorial_utils.figures import plotting, video
from tutorial_utils.figures.plotting import LessonFigure
from tutorial_utils.measures.intervals import Rate

IMAGE = np.linspace(0, 1, 3 * 8 * 8).reshape(3, 8, 8)
PATCHES = np.linspace(0, 1, 4 * 48).reshape(4, 48)


def _on_axes(draw: Callable) -> Callable[[str], LessonFigure]:
    def figure(text: str) -> LessonFigure:
        made, axes = plotting.new_figure(text)
        draw(axes[0, 0], text)
        return made

    return figure


def _all_labels(ax, text: str) -> None:
    """What a lesson writes by itself, on an axis of its own kind."""
    ax.loglog([1, 100], [1, 100], label=text)
    ax.set(title=text, xlabel=text, ylabel=text)
    ax.text(1, 1, text)
    ax.annotate(text, (1, 1))
    ax.legend(title=text)
    ax.figure.suptitle(text)


def _diagram(text: str) -> LessonFigure:
    figure, ax = plotting.new_diagram(text, 4, 2)
    plotting.draw_box(ax, 0, 0, 2, 1, text)
    plotting.draw_arrow(ax, (2, 0), (3, 0))
    plotting.draw_image(plotting.draw_inset(ax, 3, 0, 1), IMAGE, text)
    return figure


def _tubelets(text: str) -> LessonFigure:
    figure, axes = plotting.new_figure(text, subplot_kw={"projection": "3d"})
    plotting.draw_tubelets(axes[0, 0], (4, 4, 4), (2, 2, 2), [0, 2], text)
    return figure


FIGURES: dict[str, Callable[[str], LessonFigure]] = {
    "new_figure": _on_axes(_all_labels),
    "bare": _on_axes(lambda ax, text: plotting.bare(ax)),
    "draw_image": _on_axes(lambda ax, text: plotting.draw_image(ax, IMAGE, text)),
    "draw_patch_grid": _on_axes(lambda ax, text: plotting.draw_patch_grid(ax, IMAGE, 4, text)),
    "draw_attention": _on_axes(lambda ax, text: plotting.draw_attention(ax, IMAGE, np.eye(2), text)),
    "draw_tubelets": _tubelets,
    "new_diagram": _diagram,
    "draw_box": _diagram,
    "draw_arrow": _diagram,
    "draw_inset": _diagram,
    "show_patch_grid": lambda text: plotting.show_patch_grid(IMAGE, 2, 4),
    "show_patches": lambda text: plotting.show_patches(PATCHES, (2, 2), 4),
    "show_sequence": lambda text: plotting.show_sequence(PATCHES, 4, 2),
    "show_top_k": lambda text: plotting.show_top_k(np.array([0.7, 0.3]), [text, text], IMAGE),
    "show_confusion": lambda text: plotting.show_confusion(np.eye(2), [text, text]),
    "show_attention": lambda text: plotting.show_attention(IMAGE, np.eye(2)[None], [text]),
    "show_images": lambda text: plotting.show_images([IMAGE, IMAGE], [text, text], right=[True, False]),
    "show_curves": lambda text: plotting.show_curves({text: ([1, 2], [3, 4])}, text, text),
    "show_matrices": lambda text: plotting.show_matrices({text: np.eye(2)}),
    "show_rate_curves": lambda text: plotting.show_rate_curves({text: ([1], [Rate(1, 2)])}, text, text),
    "show_rates": lambda text: plotting.show_rates({text: {text: 0.5, f"{text} ": 1.0}}, text),
}


def animation(text: str) -> video.Animation:
    """The only picture that is no figure when it is shown."""
    return video.animate([IMAGE[:, None].repeat(2, 1).swapaxes(0, 1)], [text], title=text)
