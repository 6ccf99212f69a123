"""The cells of lesson 1 in which learners look at a picture of their own: every file is classified, or named."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from pathlib import Path

import models
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image
from strategies import REFUSED, attempt
from test_pictures import encoded, noise, whole

from tutorial_utils.definitions import definitions
from tutorial_utils.execution import find_notebooks
from tutorial_utils.figures import controls

PHOTO = Image.fromarray(np.uint8(np.linspace(20, 110, 40 * 24)).reshape(24, 40)).convert("RGB")


def turned() -> bytes:
    """A picture that a camera stored on its side, with a note on how to turn it."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(PHOTO.rotate(90, expand=True), "JPEG", exif=exif)


READ = {
    "CMYK JPEG": encoded(noise("CMYK", 40, 24), "JPEG"),
    "16 bits": encoded(noise("I;16", 40, 24), "PNG"),
    "palette": encoded(noise("P", 40, 24), "PNG"),
    "palette with transparency": encoded(noise("P", 40, 24), "PNG", transparency=3),
    "grey with transparency": encoded(noise("LA", 40, 24), "PNG"),
    "turned by EXIF": turned(),
    "black and white": encoded(noise("1", 40, 24), "PNG"),
    "animated GIF": encoded(PHOTO, "GIF", save_all=True, append_images=[noise("P", 40, 24)]),
    "as long as is allowed": encoded(Image.new("RGB", (20_000, 8)), "PNG"),
}
NAMED = {
    "truncated JPEG": whole("JPEG")[:200],
    "truncated PNG": whole("PNG")[:200],
    "1x1": encoded(Image.new("RGB", (1, 1)), "PNG"),
    "30,000x2": encoded(Image.new("RGB", (30_000, 2)), "PNG"),
    "more pixels than memory holds": encoded(Image.new("1", (15_000, 15_000)), "PNG"),
    "empty": b"",
    "a text": b"my picture",
    "a page": b"<html>404</html>",
}


@pytest.fixture(scope="module")
def classify() -> Callable:
    """What the lesson's cells define, with a network that has learned nothing."""
    lesson = find_notebooks(["01"])[0]
    given = {"model": models.vit(), "processor": models.processor(), "device": torch.device("cpu")}
    given |= {"scale": "mini", "short_names": ["shirt", "shoe", "bag"], "subset_labels": None}
    cell = definitions(lesson, **given).classify

    def classify(source: str | Path | bytes) -> Figure:
        """Raises ValueError and FileNotFoundError, as `images.load_picture` does."""
        return cell(source)

    return classify


@pytest.fixture
def classify_at_full(classify):
    cell = classify.__closure__[0].cell_contents
    cell.__globals__["scale"] = "full"
    yield classify
    cell.__globals__["scale"] = "mini"


@pytest.mark.parametrize("name", READ)
def test_a_picture_of_any_kind_is_classified_from_a_path_and_from_an_upload(classify, name, tmp_path):
    (tmp_path / "mine").write_bytes(READ[name])
    for source in (tmp_path / "mine", str(tmp_path / "mine"), READ[name]):
        figure = attempt(classify, source)
        widths = [bar.get_width() for bar in figure.axes[-1].patches]
        assert sum(widths) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("name", READ)
def test_so_it_is_at_full_scale(classify_at_full, name):
    assert attempt(classify_at_full, READ[name]) is not REFUSED


@pytest.mark.parametrize("name", NAMED)
def test_what_is_no_usable_picture_is_named(classify, name, tmp_path):
    (tmp_path / "mine").write_bytes(NAMED[name])
    for source in (tmp_path / "mine", NAMED[name]):
        assert attempt(classify, source) is REFUSED
    with pytest.raises(ValueError, match="mine"):
        classify(tmp_path / "mine")


def test_a_path_to_nothing_or_to_a_folder_is_named(classify, tmp_path):
    for source in (tmp_path, tmp_path / "none.png", "", "~/none.png", "\0"):
        assert attempt(classify, source) is REFUSED


def test_which_frame_of_an_animation_is_judged_is_said(classify, capsys):
    attempt(classify, READ["animated GIF"])
    assert "2 frames: the first is shown" in capsys.readouterr().out


def test_a_picture_on_its_side_is_shown_upright(classify):
    shown, upright = (
        np.float32(attempt(classify, content).axes[0].images[0].get_array())
        for content in (READ["turned by EXIF"], encoded(PHOTO, "JPEG"))
    )
    assert np.abs(shown - upright).mean() < upright.std() / 4


@pytest.mark.parametrize("name", [*READ, *NAMED])
def test_the_upload_button_takes_any_file_and_lives_on(classify, name):
    shown = []
    button, _ = attempt(controls.upload, lambda content: shown.append(classify(content)), "your picture").children
    now = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    for content in (READ | NAMED)[name], READ["palette"]:
        file = {"name": "a", "type": "image/png", "size": len(content), "last_modified": now}
        button.set_trait("value", ({**file, "content": memoryview(content)},))
    assert len(shown) == (2 if name in READ and name != "palette" else 1)
