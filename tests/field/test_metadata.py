"""A picture opens by its pixels: what cameras, editors and web sites wrote beside them may be damaged, or endless."""

import numpy as np
import pytest
from pictures import EXIF, PICTURE, SPOILT, png, saved

from tutorial_utils.datasets.containers import pixels_alone
from tutorial_utils.datasets.images import load_picture


@pytest.mark.parametrize("name", SPOILT)
def test_damaged_or_endless_notes_do_not_hide_the_picture(name):
    assert load_picture(SPOILT[name]).size == PICTURE.size
    if not name.startswith(("JPEG", "GIF")):  # which lose some of any picture
        np.testing.assert_array_equal(np.asarray(load_picture(SPOILT[name])), np.asarray(PICTURE))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_which_way_is_up_is_still_read(kind):
    turned = EXIF.__class__()
    turned[0x0112] = 6
    assert load_picture(saved(kind, exif=turned)).size == PICTURE.size[::-1]


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP"])
def test_a_file_without_notes_keeps_every_pixel(kind):
    whole = saved(kind)
    assert np.array_equal(np.asarray(load_picture(whole)), np.asarray(load_picture(pixels_alone(whole))))


@pytest.mark.parametrize(
    "content", [b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8", b"RIFF\0\0\0\0WEBP", png()[:60], saved("JPEG")[:300]]
)
def test_what_has_no_pixels_is_still_refused(content):
    with pytest.raises(ValueError, match="picture"):
        load_picture(content)
