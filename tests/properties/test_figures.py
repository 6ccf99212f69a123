"""Figures and animations: any picture that fits is drawn at the promised size, and whatever else is refused by name."""

from __future__ import annotations

import datetime
import io
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure
from PIL import Image
from strategies import REFUSED, attempt, texts

from tutorial_utils.datasets import images
from tutorial_utils.figures import controls, palette, plotting, video
from tutorial_utils.measures.intervals import Rate
from tutorial_utils.sampling import latte

few = settings(max_examples=6)  # a figure takes a tenth of a second

captions = st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=12) | st.sampled_from(
    ["$x^$", "a\nb", "$5 and $6"]
)


@st.composite
def pictures(draw: st.DrawFn, channels: tuple[int, ...] = (1, 3), side: int = 8) -> np.ndarray | torch.Tensor:
    """An image (C, H, W), or (H, W) if it is grey: bytes or floats, an array or a tensor."""
    height, width = draw(st.integers(1, side)), draw(st.integers(1, side))
    shape = draw(st.sampled_from([(c, height, width) for c in channels] + [(height, width)]))
    values = np.random.default_rng(draw(st.integers(0, 9))).random(shape)
    values = draw(st.sampled_from([np.float32(values), np.float64(values), np.uint8(255 * values)]))
    return torch.from_numpy(values) if draw(st.booleans()) else values


def assert_drawn(figure: Figure) -> None:
    """A notebook gets a picture of it, of the size that was asked for, and the words for it."""
    shown, about = figure._repr_mimebundle_()
    assert shown["text/plain"].startswith("Figure: ") and shown["image/png"] and about["image/png"]["alt"]


def matrix(rows: int, columns: int) -> np.ndarray:
    return np.random.default_rng(0).random((rows, columns))


# --- Figures --------------------------------------------------------------------------------------------------------


@few
@given(shown=st.lists(pictures(), max_size=5), columns=st.integers(1, 4))
def test_any_pictures_are_shown_in_a_grid(shown, columns):
    words = [f"picture {index}" for index in range(len(shown))]
    assert_drawn(attempt(plotting.show_images, shown, words, columns, right=[False] * len(shown)))


@few
@given(image=pictures(), maps=st.integers(1, 3), rows=st.integers(1, 4), columns=st.integers(1, 4))
def test_any_attention_is_shown_over_any_picture(image, maps, rows, columns):
    weights = np.random.default_rng(0).random((maps, rows, columns))
    assert_drawn(attempt(plotting.show_attention, image, weights, ["a map"] * maps))


@few
@given(patch=st.integers(1, 4), rows=st.integers(1, 3), columns=st.integers(1, 3), channels=st.sampled_from([1, 3]))
def test_any_image_is_shown_as_its_patches(patch, rows, columns, channels):
    image = np.random.default_rng(0).random((channels, patch * rows, patch * columns))
    patches = image.reshape(rows * columns, -1)
    assert_drawn(attempt(plotting.show_patch_grid, image, patch, (patch, patch)))
    assert_drawn(attempt(plotting.show_patches, patches, (rows, columns), patch))
    assert_drawn(attempt(plotting.show_sequence, patches, patch, 4))


@few
@given(classes=st.integers(1, 6), k=st.integers(1, 8), image=st.none() | pictures())
def test_any_classes_are_shown(classes, k, image):
    names = [f"class {number}" for number in range(classes)]
    probabilities = np.random.default_rng(0).dirichlet(np.ones(classes))
    figure = attempt(plotting.show_top_k, probabilities, names, image, k)
    assert [bar.get_width() for bar in figure.axes[-1].patches] == sorted(probabilities, reverse=True)[:k]
    assert_drawn(attempt(plotting.show_confusion, np.random.default_rng(0).integers(0, 9, (classes, classes)), names))


@few
@given(lines=st.integers(1, 4), points=st.integers(0, 5))
def test_any_four_lines_and_bars_are_shown(lines, points):
    names = [f"line {number}" for number in range(lines)]
    assert_drawn(
        attempt(plotting.show_curves, {name: (range(points), matrix(1, points)[0]) for name in names}, "x", "y")
    )
    assert_drawn(attempt(plotting.show_rates, {name: dict.fromkeys("abc", 0.5) for name in names}, "clips"))
    found = {name: (range(points), [Rate(k, 5) for k in range(points)]) for name in names}
    assert_drawn(attempt(plotting.show_rate_curves, found, "x", "y"))


@few
@given(shapes=st.lists(st.tuples(st.integers(1, 4), st.integers(1, 4)), min_size=1, max_size=4))
def test_any_small_matrices_are_shown(shapes):
    assert_drawn(attempt(plotting.show_matrices, {f"matrix {k}": matrix(*shape) for k, shape in enumerate(shapes)}))


@few
@given(shape=st.tuples(*[st.integers(1, 6)] * 3), data=st.data())
def test_boxes_of_any_size_that_fit_are_drawn_and_others_refused(shape, data):
    sides = tuple(data.draw(st.integers(0, side + 1)) for side in shape)
    figure, axes = plotting.new_figure("boxes", subplot_kw={"projection": "3d"})
    drawn = attempt(plotting.draw_tubelets, axes[0, 0], shape, sides, range(shape[0]))
    fits = all(1 <= side <= whole for side, whole in zip(sides, shape, strict=True))
    assert (drawn is not REFUSED) == fits
    if fits:
        assert_drawn(figure)


@few
@given(width=st.integers(1, 8), height=st.integers(1, 4), x=st.floats(-9, 9), y=st.floats(-9, 9), image=pictures())
def test_anything_is_drawn_on_a_diagram(width, height, x, y, image):
    figure, ax = attempt(plotting.new_diagram, "a diagram", width, height)
    attempt(plotting.draw_box, ax, x, y, 1, 1, "a box")
    attempt(plotting.draw_arrow, ax, (x, y), (x + 1, y + 1))
    inset = attempt(plotting.draw_inset, ax, 0, 0, 1)
    attempt(plotting.draw_image, inset, image)
    attempt(plotting.draw_attention, inset, image, matrix(2, 2))
    attempt(plotting.draw_patch_grid, inset, image if image.ndim == 3 else image[None], 1)
    attempt(plotting.bare, ax)
    assert_drawn(figure)


@few
@given(rows=st.integers(1, 3), columns=st.integers(1, 3), width=st.floats(1, 9), height=st.floats(1, 9))
def test_a_figure_has_the_axes_and_the_size_that_were_asked_for(rows, columns, width, height):
    figure, axes = attempt(plotting.new_figure, "a figure", rows, columns, width, height)
    assert axes.shape == (rows, columns) and tuple(figure.get_size_inches()) == (width, height)
    assert_drawn(figure)


colors = st.tuples(*[st.floats(0, 1)] * 3) | st.sampled_from(["white", "#cb4758", (0.5, 0.5, 0.5, 1.0)])


@given(one=colors, other=colors)
def test_any_two_colours_have_a_contrast_and_words_can_be_read_on_each(one, other):
    ratio = attempt(palette.contrast, one, other)
    assert 1 <= ratio <= 21.001 and ratio == attempt(palette.contrast, other, one)
    assert attempt(palette.contrast, attempt(palette.text_on, one), one) >= palette.CONTRAST


# --- Animations -----------------------------------------------------------------------------------------------------


lengths = st.sampled_from([0, 1, 2, 5])


@settings(max_examples=40)
@given(
    shape=st.lists(lengths, max_size=5),
    kind=st.sampled_from(["uint8", "float16", "float64", "int64", "bool", "complex64"]),
    value=st.sampled_from([0, 1, math.nan, math.inf, -math.inf, 1e30]),
)
def test_any_array_is_a_list_of_videos_or_refused(shape, kind, value):
    with np.errstate(all="ignore"):
        videos = np.full(shape, value).astype(kind)
    if videos.ndim:
        animation = attempt(video.animate, videos)
        fits = len(shape) in (4, 5) and 0 not in shape and (len(shape) == 4 or shape[2] in (1, 3))
        numbers = kind == "uint8" or (kind in ("float16", "float64") and not math.isnan(value))
        assert (animation is not REFUSED) == (fits and numbers)


@few
@given(
    words=st.lists(captions, min_size=2, max_size=2),
    title=captions,
    columns=st.integers(-1, 3),
    fps=st.floats(),
    side=st.integers(-5, 40),
)
def test_any_captions_stand_above_the_videos(words, title, columns, fps, side):
    animation = attempt(video.animate, np.zeros((2, 2, 4, 4), np.uint8), words, columns, fps, None, side, title)
    assert (animation is not REFUSED) == (columns >= 1 and 0.01 <= fps <= 60)
    if animation is not REFUSED:
        assert animation._repr_mimebundle_()[0]["text/plain"].startswith("Animation: ")


@pytest.mark.parametrize("options", [{"side": 10**6}, {"captions": ["a" * 10_000]}, {"title": "a" * 10_000}], ids=list)
def test_a_grid_that_memory_would_not_hold_is_refused(options):
    assert attempt(video.animate, np.zeros((1, 2, 4, 4), np.uint8), **options) is REFUSED


@few
@given(name=texts, kind=st.sampled_from([".png", ".gif", ".mp4", ".PNG", "", ".jpg"]))
def test_an_animation_is_saved_under_a_name_of_a_known_kind_or_refused(tmp_path_factory, name, kind):
    folder = tmp_path_factory.mktemp("saved")
    animation = video.Animation(np.zeros((2, 4, 4, 3), np.uint8), 8)
    saved = attempt(animation.save, folder / f"{name.replace('/', '')[:20]}{kind}")
    files = [path for path in folder.iterdir() if path.is_file()]
    assert len(files) == (0 if saved is REFUSED else 1)


@few
@given(frames=st.integers(1, 9), side=st.sampled_from([1, 2, 64, 300]))
def test_a_clip_of_any_size_is_saved_in_three_forms(tmp_path_factory, frames, side):
    folder = tmp_path_factory.mktemp("clip")
    attempt(latte.save_clip, np.zeros((frames, side, side, 3), np.uint8), folder / "a", 8, "black")
    assert sorted(path.name for path in folder.iterdir()) == ["a.gif", "a.mp4", "a.png"]
    assert Image.open(io.BytesIO((folder / "a.png").read_bytes())).size == (
        side * min(8, frames),
        side * -(-frames // 8),
    )


def png() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (9, 9)).save(buffer, "PNG")
    return buffer.getvalue()


SOUND = png()


# --- Controls -------------------------------------------------------------------------------------------------------


@few
@given(options=st.lists(st.integers(), max_size=4, unique=True), start=st.integers())
def test_a_dial_stands_at_one_of_its_options_or_is_refused(options, start):
    drawn = []
    dial = attempt(controls.slider, drawn.append, options, start, "x")
    assert (dial is not REFUSED) == (start in options) == (drawn == [start])
    dials = attempt(controls.dials, lambda *values: None, {"x": options}, {"y": start})
    assert dials is REFUSED


@few
@given(total=st.integers(-3, 5))
def test_progress_counts_to_a_total_or_is_refused(total):
    show = attempt(controls.progress, total)
    assert (show is not REFUSED) == (total >= 0)
    if show is not REFUSED:
        show(total, "done")


@few
@given(content=st.binary(max_size=40))
def test_an_upload_of_anything_leaves_the_control_alive(content):
    drawn = []
    button, _ = attempt(controls.upload, lambda content: drawn.append(images.load_picture(content)), "picture").children
    now = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    file = {"name": "a", "type": "image/png", "size": len(content), "last_modified": now}
    button.set_trait("value", ({**file, "content": memoryview(content)},))
    button.set_trait("value", ({**file, "content": memoryview(SOUND)},))
    assert len(drawn) == 1
