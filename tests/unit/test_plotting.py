"""Figures: fixed in size whatever the data, described in words, and gone when nobody holds them."""

import base64
import inspect
import io
import itertools

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from PIL import Image

from tutorial_utils.figures import plotting
from tutorial_utils.measures.intervals import Rate
from tutorial_utils.networks.patches import patchify


def images(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).random(shape, dtype=np.float32)


def probabilities(seed: int) -> np.ndarray:
    values = images(seed, 6)
    return values / values.sum()


NAMES = ["T-shirt/top", "trouser", "a class with a very long name indeed", "dress", "coat", "bag"]


def diagram(image: np.ndarray) -> plotting.LessonFigure:
    """A picture, an arrow and a box."""
    figure, ax = plotting.new_diagram("a picture becomes tokens", 6, 2)
    plotting.draw_image(plotting.draw_inset(ax, 0, 0.5, 1), image)
    plotting.draw_arrow(ax, (1.1, 1), (1.9, 1))
    plotting.draw_box(ax, 2, 0.5, 2, 1, "tokens")
    return figure


FIGURES = {  # for each public function a call that depends on a seed
    "show_patch_grid": lambda seed: plotting.show_patch_grid(images(seed, 3, 8, 12), 2, 4),
    "show_patches": lambda seed: plotting.show_patches(patchify(images(seed, 3, 8, 12), 4), (2, 3), 4),
    "show_sequence": lambda seed: plotting.show_sequence(patchify(images(seed, 3, 8, 12), 4), 4, per_row=4),
    "new_diagram": lambda seed: diagram(images(seed, 3, 8, 8)),
    "show_top_k": lambda seed: plotting.show_top_k(probabilities(seed), NAMES, images(seed, 1, 8, 8), k=3),
    "show_confusion": lambda seed: plotting.show_confusion(np.int64(100 * images(seed, 6, 6)), NAMES),
    "show_attention": lambda seed: plotting.show_attention(images(seed, 3, 8, 8), images(seed, 2, 4, 4), ["a", "b"]),
    "show_matrices": lambda seed: plotting.show_matrices({"q": images(seed, 3, 4), "k": images(seed, 4, 3)}),
    "show_images": lambda seed: plotting.show_images(images(seed, 5, 3, 8, 8), ["one\ntwo"] * 5, columns=3),
    "show_curves": lambda seed: plotting.show_curves({"fit": (range(4), images(seed, 4))}, "epoch", "loss"),
    "show_rate_curves": lambda seed: plotting.show_rate_curves(
        {"most": ([0, 1], [Rate(seed, 9), Rate(7, 9)])}, "removed", "right"
    ),
    "show_rates": lambda seed: plotting.show_rates({"fit": {"red": images(seed, 1)[0], "blue": 0.5}}, "right"),
}


def shown(figure: plotting.LessonFigure) -> Image.Image:
    """The picture that a notebook gets."""
    return Image.open(io.BytesIO(base64.b64decode(figure._repr_mimebundle_()[0]["image/png"])))


def test_every_figure_function_is_tested_here():
    public = {name for name, _ in inspect.getmembers(plotting, inspect.isfunction) if name.startswith("show_")}
    assert public == set(FIGURES) - {"new_diagram"}


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_has_the_same_pixels_twice_and_the_same_size_for_other_data(name):
    figure = FIGURES[name](0)
    assert isinstance(figure, plotting.LessonFigure)
    first, second, other = shown(figure), shown(FIGURES[name](0)), shown(FIGURES[name](1))
    assert first.size == second.size == other.size
    assert first.size == tuple(np.int64(figure.get_size_inches() * plotting.DPI))
    assert first.tobytes() == second.tobytes()
    assert first.tobytes() != other.tobytes()  # the data is in the picture


@pytest.mark.parametrize("name", FIGURES)
def test_a_figures_text_describes_it_without_its_data(name):
    texts = {FIGURES[name](seed)._repr_mimebundle_()[0]["text/plain"] for seed in (0, 1)}
    assert len(texts) == 1
    text = texts.pop()
    assert text.startswith("Figure: ") and len(text) > len("Figure: figure")
    assert "0x" not in text


@pytest.mark.parametrize("name", FIGURES)
def test_no_figure_stays_open(name):
    shown(FIGURES[name](0))
    assert plt.get_fignums() == []


def test_a_tensor_is_drawn_as_the_array_it_holds():
    image = torch.rand(3, 8, 8)
    assert shown(plotting.show_images([image])).tobytes() == shown(plotting.show_images([image.numpy()])).tobytes()


@pytest.mark.parametrize("shape", [(3, 8, 10), (1, 8, 10), (8, 10)])
def test_bytes_and_fractions_are_drawn_alike(shape):
    values = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    drawn = [shown(plotting.show_images([image])).tobytes() for image in (values, np.float32(values) / 255)]
    assert drawn[0] == drawn[1]


def test_a_dark_image_is_not_stretched_to_white():
    figure = plotting.show_images([np.full((8, 8), 0.1)])
    assert figure.axes[0].images[0].norm(0.1) == pytest.approx(0.1)


def test_patches_stand_in_their_places_on_the_grid():
    image = images(0, 3, 8, 12)
    figure = plotting.show_patches(patchify(image, 4), (2, 3), 4)
    drawn = [np.asarray(ax.images[0].get_array()) for ax in figure.axes]
    rows = [np.concatenate(drawn[start : start + 3], axis=1) for start in (0, 3)]
    np.testing.assert_array_equal(np.concatenate(rows), np.moveaxis(image, 0, -1))


def test_a_sequence_shows_every_patch_in_order_and_numbers_it():
    image = images(0, 3, 8, 12)
    figure = plotting.show_sequence(patchify(image, 4), 4, per_row=4)
    used = [ax for ax in figure.axes if ax.images]
    assert [ax.get_xlabel() for ax in used] == ["1", "2", "3", "4", "5", "6"]
    np.testing.assert_array_equal(used[4].images[0].get_array(), np.moveaxis(image[:, 4:, 4:8], 0, -1))


def test_a_patch_grid_has_lines_between_its_patches_only():
    figure = plotting.show_patch_grid(images(0, 3, 8, 12), 4, (8, 3))
    positions = [
        (
            sorted(line.get_ydata()[0] for line in ax.lines if line.get_ydata()[0] == line.get_ydata()[1]),
            sorted(line.get_xdata()[0] for line in ax.lines if line.get_xdata()[0] == line.get_xdata()[1]),
        )
        for ax in figure.axes
    ]
    assert positions == [([3.5], [3.5, 7.5]), ([], [2.5, 5.5, 8.5])]


def test_top_k_bars_are_the_largest_in_descending_order():
    values = np.array([0.1, 0.4, 0.05, 0.3, 0.15, 0.0])
    figure = plotting.show_top_k(values, NAMES, k=3)
    (ax,) = figure.axes
    assert [bar.get_width() for bar in ax.patches] == [0.4, 0.3, 0.15]
    assert [label.get_text() for label in ax.get_yticklabels()] == [NAMES[i] for i in (1, 3, 4)]
    assert ax.yaxis_inverted()  # the largest on top


def test_top_k_of_fewer_classes_shows_them_all():
    assert len(plotting.show_top_k(np.array([0.25, 0.75]), ["no", "yes"], k=5).axes[0].patches) == 2


def test_a_confusion_matrix_shows_percents_of_the_true_class():
    figure = plotting.show_confusion(np.array([[3, 1], [0, 0]]), ["a", "b"])
    assert {(text.get_position(), text.get_text()) for text in figure.axes[0].texts} == {
        ((0, 0), "75"),
        ((1, 0), "25"),
    }


def test_captions_are_red_and_have_a_cross_where_the_answer_is_wrong():
    figure = plotting.show_images(images(0, 2, 8, 8), ["good", "bad"], columns=2, right=[True, False])
    assert [ax.title.get_color() for ax in figure.axes] == ["black", plotting.ACCENT]
    assert [ax.get_title() for ax in figure.axes] == ["good", "✗ bad"]


def test_an_attention_map_stands_alone_in_the_frame_of_its_image_in_sharp_squares_from_zero_on():
    weights = np.array([[0.0, 0.1, 0.4]])
    _, axes = plotting.new_figure("a map")
    drawn = plotting.draw_attention(axes[0, 0], np.ones((3, 4, 12)), weights)
    assert list(axes[0, 0].images) == [drawn]
    np.testing.assert_array_equal(drawn.get_array(), weights)
    assert drawn.get_extent() == [-0.5, 11.5, 3.5, -0.5] and drawn.get_interpolation() == "nearest"
    assert drawn.get_clim() == (0, 0.4) and drawn.get_alpha() is None


def test_maps_share_a_scale_if_asked_to_and_a_map_of_nothing_is_black():
    _, axes = plotting.new_figure("maps", 1, 2)
    image, nothing = np.ones((3, 4, 4)), np.zeros((2, 2))
    assert plotting.draw_attention(axes[0, 0], image, nothing + 0.2, most=0.8).get_clim() == (0, 0.8)
    drawn = plotting.draw_attention(axes[0, 1], image, nothing)
    assert (drawn.to_rgba(nothing)[..., :3] < 0.02).all()


def test_each_attention_map_has_a_bar_with_its_own_scale_in_percent():
    figure = plotting.show_attention(np.ones((3, 4, 4)), np.array([[[0.25, 0]], [[0, 0.5]]]), ["a", "b"])
    _, first, second, *bars = figure.axes
    assert [ax.images[0].get_clim() for ax in (first, second)] == [(0, 25), (0, 50)]
    assert len(bars) == 2 and all("%" in bar.get_xticklabels()[0].get_text() for bar in bars)


def test_every_number_of_a_matrix_is_written_in_its_place():
    figure = plotting.show_matrices({"scores": np.array([[1, 0.5], [-2, 0.128]])})
    written = {text.get_position(): text.get_text() for text in figure.axes[0].texts}
    assert written == {(0, 0): "1", (1, 0): "0.5", (0, 1): "-2", (1, 1): "0.13"}


def test_rates_are_drawn_with_their_intervals_and_more_than_four_can_be_told_apart():
    rates = [Rate(8, 10), Rate(3, 10)]
    figure = plotting.show_rate_curves({f"line {k}": ([0, 0.5], rates) for k in range(8)}, "removed", "right")
    bars = [one for one in figure.axes[0].containers if one.has_yerr]
    looks = {(one.lines[0].get_color(), one.lines[0].get_linestyle()) for one in bars}
    assert len(looks) == 8
    for rate, (low, high) in zip(rates, bars[0].lines[2][0].get_segments(), strict=True):
        assert (low[1], high[1]) == pytest.approx(rate.interval)


WRONG = {
    "a grid of another size": (lambda: plotting.show_patches(np.zeros((4, 12)), (3, 3), 2), "9 places for 4 patches"),
    "a patch that does not divide": (lambda: plotting.show_patch_grid(np.zeros((3, 8, 8)), 3), "8 pixels .* 3"),
    "patches of another length": (lambda: plotting.show_sequence(np.zeros((4, 13)), 2), r"shape \(1, 13\)"),
    "too few titles": (lambda: plotting.show_attention(np.zeros((1, 8, 8)), np.zeros((2, 4, 4)), ["a"]), "shorter"),
}


@pytest.mark.parametrize(("call", "message"), WRONG.values(), ids=WRONG)
def test_data_that_does_not_fit_is_an_error(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_bars_in_groups_have_the_rates_in_percent_side_by_side():
    rates = {"one": {"red": 0.5, "blue": 1.0}, "two": {"red": 0.25, "blue": 0.0}}
    bars = plotting.show_rates(rates, "right").axes[0].patches
    assert [bar.get_height() for bar in bars] == [50, 100, 25, 0]
    edges = [(bar.get_x(), bar.get_x() + bar.get_width()) for bar in sorted(bars, key=lambda bar: bar.get_x())]
    assert all(end <= start for (_, end), (start, _) in itertools.pairwise(edges))


@pytest.mark.parametrize("last", [1, 2, 12])
def test_epochs_are_whole_numbers_even_if_there_is_only_one(last):
    epochs = range(1, last + 1)
    (ax,) = plotting.show_curves({"training": (epochs, [0.5] * last)}, "epoch", "accuracy").axes
    assert all(float(tick).is_integer() for tick in ax.get_xticks())


def test_boxes_lie_side_by_side_and_one_is_marked():
    _, axes = plotting.new_figure("boxes", subplot_kw={"projection": "3d"})
    plotting.draw_tubelets(axes[0, 0], (6, 5, 4), (1, 2, 2), [1, 4], "a token")
    (boxes,) = axes[0, 0].collections
    assert len(boxes._faces) == 2 * 2 * 2 * 6  # two slices, two rows that fit, two columns, six sides
    colors = boxes.get_facecolor()
    assert (colors[:, 3] == 1).sum() == 6 and axes[0, 0].get_zlim() == (0, 5)
