"""A learner's own picture, whatever it is: upright RGB that the lesson's cells can use, or a sentence that names it."""

import io
from functools import cache

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image
from strategies import REFUSED, attempt, texts

from tutorial_utils.datasets import containers, images

pytestmark = pytest.mark.filterwarnings("error")  # none reaches a notebook

KINDS = {"PNG": {}, "JPEG": {"quality": 90}, "GIF": {}, "BMP": {}, "TIFF": {}, "WEBP": {"lossless": True}, "PPM": {}}
MODES = ["1", "L", "P", "RGB", "RGBA", "LA", "CMYK", "YCbCr", "LAB", "HSV", "I", "I;16", "F"]


def noise(mode: str, width: int, height: int, seed: int = 0) -> Image.Image:
    """A picture whose pixels are all different."""
    source = np.random.default_rng(seed)
    if mode in ("I", "I;16", "F"):
        kind, most = {"I": ("i4", 2**31), "I;16": ("u2", 2**16), "F": ("f4", 1e30)}[mode]
        return Image.fromarray((source.random((height, width)) * (most - 1)).astype(kind))
    return Image.fromarray(source.integers(0, 256, (height, width, 3), np.uint8)).convert(mode)


def encoded(picture: Image.Image, kind: str, **options) -> bytes | None:
    """The content of a file, or None where the format has no such pictures."""
    buffer = io.BytesIO()
    try:
        picture.save(buffer, kind, **options)
    except (OSError, ValueError, KeyError):
        return None
    return buffer.getvalue()


@cache
def whole(kind: str) -> bytes:
    """A sound file of each format, small enough that chance damages every part of it."""
    return encoded(noise("RGB", 20, 12), kind, **KINDS[kind])


def assert_usable(picture: Image.Image) -> None:
    """What the cells of lesson 1 do with it."""
    assert picture.mode == "RGB" and 1 <= min(picture.size) <= max(picture.size) <= images.KEPT
    garment = attempt(images.as_garment, picture)
    for side in (1, 336):
        assert attempt(images.as_square, picture, side).size == (side, side)
    pixels = np.asarray(garment)
    assert garment.mode == "RGB" and garment.size == (max(picture.size),) * 2
    assert (pixels == pixels[..., :1]).all()


sizes = st.integers(images.SMALLEST, 40) | st.sampled_from([images.KEPT + 1, 2_000])


@given(mode=st.sampled_from(MODES), kind=st.sampled_from(sorted(KINDS)), width=sizes, height=st.integers(8, 40))
def test_a_sound_picture_of_any_mode_format_and_shape_is_read(mode, kind, width, height):
    if (content := encoded(noise(mode, width, height), kind)) is not None:
        picture = attempt(images.load_picture, content)
        assert picture is not REFUSED
        assert_usable(picture)
        if max(width, height) <= images.KEPT:
            assert picture.size == (width, height)


def assert_read_or_refused(content: bytes) -> None:
    picture = attempt(images.load_picture, content)
    if picture is not REFUSED:
        assert_usable(picture)


@given(kind=st.sampled_from(sorted(KINDS)), kept=st.floats(0, 1, exclude_max=True))
def test_a_picture_that_is_cut_short_is_read_or_named(kind, kept):
    assert_read_or_refused(whole(kind)[: int(kept * len(whole(kind)))])


@given(kind=st.sampled_from(["PNG", "JPEG", "GIF", "WEBP"]), kept=st.floats(0, 0.9))
def test_a_compressed_picture_that_lacks_a_tenth_is_always_named(kind, kept):
    assert attempt(images.load_picture, whole(kind)[: int(kept * len(whole(kind)))]) is REFUSED


@given(kind=st.sampled_from(sorted(KINDS)), data=st.data())
def test_a_picture_with_damaged_bytes_is_read_or_named(kind, data):
    content = bytearray(whole(kind))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content) - 1) | st.integers(0, 80))  # headers are at the front
        content[place] = data.draw(st.integers(0, 255))
    assert_read_or_refused(bytes(content))


STARTS = [
    b"",
    b"\x89PNG\r\n\x1a\n",
    b"\xff\xd8\xff",
    b"GIF89a",
    b"BM",
    b"II*\0",
    b"RIFF\0\0\0\0WEBP",
    b"P6 ",
    b"%!PS-Adobe-3.0 EPSF-3.0",
]


@given(start=st.sampled_from(STARTS), rest=st.binary(max_size=200))
def test_any_bytes_are_read_or_named(start, rest):
    assert_read_or_refused(start + rest)


@given(path=texts)
@example("data:image/png;base64," + "A" * 5_000)
def test_any_text_is_a_path_to_a_picture_or_is_refused(path):
    assert attempt(images.load_picture, path) is REFUSED


@given(
    width=st.integers(1, images.SMALLEST - 1) | st.sampled_from([images.LARGEST + 1, 30_000]),
    height=st.sampled_from([1, 2, 8, 100]),
    turned=st.booleans(),
)
def test_a_side_that_is_too_short_or_too_long_is_refused(width, height, turned):
    size = (height, width) if turned else (width, height)
    assert attempt(images.load_picture, encoded(Image.new("1", size), "PNG")) is REFUSED


def test_more_pixels_than_memory_should_hold_are_refused_before_they_are_unpacked():
    with pytest.raises(ValueError, match="12000 x 12000 pixels: .* all together 100,000,000 at most"):
        images.load_picture(encoded(Image.new("1", (12_000, 12_000)), "PNG"))
    assert attempt(images.load_picture, encoded(Image.new("1", (12_000, 12_000)), "PNG")) is REFUSED


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_no_numbers_are_refused(value):
    values = np.zeros((9, 9), np.float32)
    values[4, 4] = value
    assert attempt(images.load_picture, encoded(Image.fromarray(values), "TIFF")) is REFUSED


def test_a_large_picture_of_16_bits_is_scaled_as_one_of_8_is():
    ramp = np.linspace(0, 65_535, 2 * images.KEPT).astype(np.uint16)
    pixels = np.asarray(images.load_picture(encoded(Image.fromarray(np.tile(ramp, (20, 1))), "PNG")))[0, :, 0]
    assert pixels[0] < 3 and pixels[-1] > 252 and (np.diff(pixels.astype(int)) >= 0).all()


def test_a_format_for_which_pillow_would_start_a_program_is_refused(monkeypatch):
    monkeypatch.setattr("subprocess.check_call", lambda *_, **__: pytest.fail("a program was started"))
    page = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 40 40\n%%EndComments\nshowpage\n"
    assert attempt(images.load_picture, page) is REFUSED


@given(mode=st.sampled_from(["RGB", "L"]), width=st.integers(1, 50), height=st.integers(1, 50), seed=st.integers(0, 9))
def test_any_picture_becomes_a_square_grey_garment(mode, width, height, seed):
    assert_usable(noise(mode, width, height, seed).convert("RGB"))


@given(
    content=st.binary(max_size=60), kind=st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8", b"RIFF\0\0\0\0WEBP"])
)
def test_no_bytes_are_too_much_for_whoever_looks_for_pixels(content, kind):
    assert attempt(containers.pixels_alone, kind + content).startswith(kind[:4])
