"""Learners' pictures: any size, mode or orientation becomes upright RGB, or a sentence that names the file."""

import io

import numpy as np
import pytest
from PIL import Image

from tutorial_utils.datasets.images import KEPT, LARGEST, SMALLEST, as_garment, as_square, load_picture

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def encoded(picture: Image.Image, kind: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def corners() -> Image.Image:
    """20 wide, 10 high: red top left, green top right, blue bottom left, black bottom right."""
    picture = Image.new("RGB", (20, 10))
    for color, box in ((RED, (0, 0, 10, 5)), (GREEN, (10, 0, 20, 5)), (BLUE, (0, 5, 10, 10))):
        picture.paste(color, box)
    return picture


TURNS = {  # how to store an upright picture so that the camera's note puts it right
    1: [],
    2: [Image.Transpose.FLIP_LEFT_RIGHT],
    3: [Image.Transpose.ROTATE_180],
    4: [Image.Transpose.FLIP_TOP_BOTTOM],
    5: [Image.Transpose.TRANSPOSE],
    6: [Image.Transpose.ROTATE_90],
    7: [Image.Transpose.TRANSVERSE],
    8: [Image.Transpose.ROTATE_270],
}


@pytest.mark.parametrize("orientation", TURNS)
def test_a_picture_is_turned_upright_as_its_exif_orientation_says(orientation):
    stored = corners()
    for turn in TURNS[orientation]:
        stored = stored.transpose(turn)
    exif = Image.Exif()
    exif[0x0112] = orientation
    upright = load_picture(encoded(stored, exif=exif))
    assert upright.size == (20, 10)
    np.testing.assert_array_equal(np.asarray(upright), np.asarray(corners()))


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "CMYK", "YCbCr", "I", "I;16", "F"])
def test_every_mode_becomes_rgb_of_the_same_size(mode, tmp_path):
    source = Image.new("L", (12, 9))
    source.putpixel((3, 4), 255)
    if mode in ("I", "I;16", "F"):
        picture = Image.fromarray(np.asarray(source).astype({"I": "i4", "I;16": "u2", "F": "f4"}[mode]))
    else:
        picture = (source if mode != "CMYK" else source.convert("RGB")).convert(mode)
    picture.save(tmp_path / "picture.tiff")
    assert Image.open(tmp_path / "picture.tiff").mode == mode
    read = load_picture(tmp_path / "picture.tiff")
    assert read.mode == "RGB" and read.size == (12, 9)
    pixels = np.asarray(read).astype(int)
    assert pixels[4, 3].min() > 250 and pixels[0, 0].max() < 5


def test_a_cmyk_jpeg_keeps_its_colours():
    read = load_picture(encoded(Image.new("RGB", (16, 16), RED).convert("CMYK"), "JPEG", quality=95))
    assert np.abs(np.asarray(read).astype(int) - RED).max() <= 8


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_is_laid_over_white(mode):
    picture = Image.new("RGBA", (16, 16), (0, 0, 0, 0))
    picture.paste((0, 0, 0, 255), (0, 0, 8, 16))
    picture = picture.convert("LA") if mode == "LA" else picture.quantize() if mode == "P" else picture
    stored = encoded(picture)
    assert Image.open(io.BytesIO(stored)).mode == mode
    pixels = np.asarray(load_picture(stored))
    assert (pixels[:, :8] == 0).all()
    assert (pixels[:, 8:] == 255).all()


def test_half_transparent_is_half_white():
    pixels = np.asarray(load_picture(encoded(Image.new("RGBA", (8, 8), (0, 0, 0, 128)))))
    assert np.abs(pixels.astype(int) - 127).max() <= 1


def test_16_bits_are_scaled_to_8_and_not_clipped():
    ramp = np.linspace(1_000, 50_000, 256).astype(np.uint16).reshape(16, 16)
    pixels = np.asarray(load_picture(encoded(Image.fromarray(ramp))))[..., 0].ravel().astype(int)
    assert pixels[0] == 0 and pixels[-1] == 255
    assert (np.diff(pixels) >= 0).all() and np.abs(pixels - np.arange(256)).max() <= 1


def test_a_flat_16_bit_picture_does_not_divide_by_zero():
    pixels = np.asarray(load_picture(encoded(Image.fromarray(np.full((8, 8), 700, np.uint16)))))
    assert (pixels == 0).all()


@pytest.mark.parametrize("size", [(SMALLEST, SMALLEST), (SMALLEST, 500), (KEPT, KEPT)])
def test_sides_within_the_limits_are_read(size):
    assert load_picture(encoded(Image.new("1", size))).size == size


def test_a_large_picture_is_scaled_down_and_keeps_its_shape():
    assert load_picture(encoded(Image.new("1", (4 * KEPT, 2 * KEPT)))).size == (KEPT, KEPT // 2)
    assert max(load_picture(encoded(Image.new("1", (LARGEST, SMALLEST)))).size) == KEPT


@pytest.mark.parametrize("size", [(1, 1), (SMALLEST - 1, 100), (100, SMALLEST - 1), (LARGEST + 1, 10), (10, 30_000)])
def test_a_side_outside_the_limits_is_named(size, tmp_path):
    Image.new("1", size).save(tmp_path / "odd.png")
    with pytest.raises(ValueError) as caught:
        load_picture(tmp_path / "odd.png")
    assert f"odd.png has {size[0]} x {size[1]} pixels" in str(caught.value)
    assert f"{SMALLEST} to {LARGEST:,}" in str(caught.value)


NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8))
NOT_PICTURES = {
    "notes.txt": b"This is not a picture.",
    "empty.jpg": b"",
    "cut.jpg": encoded(NOISE, "JPEG")[:-400],
    "cut.png": encoded(NOISE)[:-400],
    "cut.gif": encoded(NOISE, "GIF")[:-400],
    "header.png": encoded(NOISE)[:20],
}


@pytest.mark.parametrize("name", NOT_PICTURES)
def test_a_file_that_is_no_whole_picture_is_named(name, tmp_path):
    (tmp_path / name).write_bytes(NOT_PICTURES[name])
    with pytest.raises(ValueError, match="(not a picture that can be read|could not be read as a picture)") as caught:
        load_picture(tmp_path / name)
    assert name in str(caught.value)


def test_an_upload_is_named_by_its_size():
    with pytest.raises(ValueError, match="the uploaded file of 1,234 bytes is not a picture"):
        load_picture(b"x" * 1_234)


@pytest.mark.parametrize("path", ["holiday/cat.jpg", "."])
def test_a_path_without_a_file_is_named_with_the_folder_it_starts_from(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError) as caught:
        load_picture(path)
    assert path in str(caught.value) and f"relative to {tmp_path.name}/" in str(caught.value)


def test_a_path_may_be_text(tmp_path):
    corners().save(tmp_path / "a.png")
    np.testing.assert_array_equal(np.asarray(load_picture(str(tmp_path / "a.png"))), np.asarray(corners()))


@pytest.mark.parametrize(("background", "garment"), [(240, 30), (10, 200)])
def test_a_garment_is_bright_on_black_whatever_the_photograph_was(background, garment):
    picture = Image.new("RGB", (20, 30), (background,) * 3)
    picture.paste((garment,) * 3, (5, 8, 15, 22))
    made = as_garment(picture)
    pixels = np.asarray(made)
    assert made.mode == "RGB" and made.size == (30, 30)
    assert (pixels[..., 0] == pixels[..., 1]).all() and (pixels[..., 1] == pixels[..., 2]).all()
    assert max(pixels[0].max(), pixels[:, 0].max()) <= 1  # resampling may round up
    assert pixels[10:20, 12:18].min() >= 254


GREY = Image.new("L", (10, 20), 90)
TOLD = {
    "nothing was done": (encoded(corners()), ""),
    "an animation": (encoded(GREY, "GIF", save_all=True, append_images=[corners(), GREY]), "3 frames: the first"),
    "16 bits": (encoded(Image.fromarray(np.arange(64, dtype=np.uint16).reshape(8, 8))), "spread over 0 to 255"),
    "grey": (encoded(GREY), "became RGB: its mode was L"),
    "transparent": (encoded(Image.new("RGBA", (8, 8))), "laid over white"),
    "large": (encoded(Image.new("1", (2 * KEPT, KEPT))), "from 2048 x 1024 pixels to 1024 x 512"),
}


@pytest.mark.parametrize(("content", "words"), TOLD.values(), ids=TOLD)
def test_what_was_done_to_a_picture_is_told(content, words):
    told = []
    load_picture(content, told.append)
    assert words in " ".join(told) and bool(told) == bool(words)


def test_a_turned_picture_says_so():
    exif, told = Image.Exif(), []
    exif[0x0112] = 6
    load_picture(encoded(corners(), exif=exif), told.append)
    assert told == ["It was turned upright, as the camera noted."]


def test_a_damaged_later_frame_is_no_fault_of_the_first():
    frames = [Image.fromarray(np.random.default_rng(k).integers(0, 256, (20, 20), np.uint8)) for k in range(3)]
    whole = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    np.testing.assert_array_equal(load_picture(whole[: len(whole) * 2 // 3]), load_picture(whole))


@pytest.mark.parametrize(("size", "words"), [((20, 10), "the middle 10 x 10 of 20 x 10"), ((30, 30), "From 30 x 30")])
def test_a_square_is_the_middle_of_a_picture_scaled_and_it_is_told(size, words):
    told, picture = [], Image.new("RGB", size, RED)
    picture.paste(BLUE, (size[0] // 4 + 1, 0, 3 * size[0] // 4 - 1, size[1]))
    square = as_square(picture, 12, told.append)
    assert square.size == (12, 12) and len(told) == 1 and words in told[0] and "12 x 12" in told[0]
    assert np.asarray(square)[6, 6, 2] > 250


def test_a_square_of_the_right_size_is_left_alone():
    told, picture = [], Image.new("RGB", (12, 12))
    assert as_square(picture, 12, told.append) is picture and not told


@pytest.mark.parametrize("side", [0, -1, 2.5, LARGEST + 1])
def test_no_square_has_such_a_side(side):
    with pytest.raises(ValueError, match="side="):
        as_square(corners(), side)
