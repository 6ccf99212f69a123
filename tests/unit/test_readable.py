"""Every figure of the package can be read, and the check of that can fail."""

import numpy as np
import pytest
from figures import FIGURES, IMAGE
from readable import POINTS, stamps, unreadable

from tutorial_utils.figures import plotting


@pytest.mark.parametrize("name", FIGURES)
def test_the_words_of_every_figure_can_be_read(name):
    assert unreadable(FIGURES[name]("some words")) == []


@pytest.mark.parametrize("color", [plotting.ACCENT, plotting.SECOND, plotting.QUIET, plotting.INK])
def test_the_words_in_a_box_of_every_colour_can_be_read(color):
    figure, ax = plotting.new_diagram("a box", 4, 2)
    plotting.draw_box(ax, 0, 0, 4, 2, "attention", color)
    assert unreadable(figure) == []


@pytest.mark.parametrize("share", np.linspace(0, 1, 11))
def test_the_numbers_of_a_confusion_matrix_can_be_read_on_every_shade(share):
    matrix = np.array([[share, 1 - share], [0.5, 0.5]])
    assert unreadable(plotting.show_confusion(matrix, ["cat", "dog"])) == []
    assert unreadable(plotting.show_matrices({"a": matrix})) == []


def test_small_words_pale_words_and_words_over_pictures_are_found():
    figure, axes = plotting.new_figure("words")
    plotting.draw_image(axes[0, 0], np.zeros((4, 4)))
    for x, words, look in (
        (0, "small", {"fontsize": POINTS - 1, "color": "white"}),
        (1, "dark", {"color": plotting.INK}),
        (2, "good", {"color": "white"}),
    ):
        axes[0, 0].text(x, x, words, **look)
    axes[0, 0].set_title("pale", color=plotting.QUIET)
    assert [problem.split()[0] for problem in unreadable(figure)] == ["'small'", "'dark'", "'pale'"]


def test_a_grid_of_as_many_pictures_as_fit_shows_no_stamps_and_of_more_does():
    assert stamps(plotting.show_images([IMAGE] * 20, ["a caption"] * 20, columns=10, width=9.6)) == []
    assert len(stamps(plotting.show_images([IMAGE] * 12, columns=12))) == 12
