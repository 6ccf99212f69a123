"""Garments on the canvas: enlarged, tinted and placed, and a hue that is the tint's."""

import pytest
import torch

from tutorial_utils.datasets.garments import COLOURS, SIDE, SPRITE, hue, place, require_sprites, shrink, stills, tint

LAST = SIDE - SPRITE


def pictures(count: int = 3, channels: int = 1) -> torch.Tensor:
    """Random values, none of them black."""
    return torch.rand(count, channels, SPRITE, SPRITE, generator=torch.Generator().manual_seed(0)) * 0.9 + 0.1


# --- Stills -------------------------------------------------------------------------------------------------------


def test_stills_fill_the_canvas_with_three_equal_channels():
    images = stills(pictures())
    assert images.shape == (3, 3, SIDE, SIDE)
    assert torch.equal(images[:, 0], images[:, 1]) and torch.equal(images[:, 0], images[:, 2])


@pytest.mark.parametrize("value", [-1.0, 0.0, 255.0])
def test_stills_keep_what_the_values_mean(value):
    grey = torch.full((1, 1, SPRITE, SPRITE), value)
    torch.testing.assert_close(stills(grey), torch.full((1, 3, SIDE, SIDE), value))


def test_stills_are_enlarged_bilinearly_about_the_pixels_centres():
    ramp = torch.arange(SPRITE, dtype=torch.float32)
    grey = (ramp[:, None] + 100 * ramp).expand(1, 1, -1, -1)
    at = ((torch.arange(SIDE) + 0.5) * SPRITE / SIDE - 0.5).clamp(0, SPRITE - 1)
    torch.testing.assert_close(stills(grey)[0, 0], at[:, None] + 100 * at, atol=1e-2, rtol=0)


def test_a_still_shrinks_back_to_its_smooth_photograph():
    ramp = torch.linspace(0, 1, SPRITE)
    grey = (ramp[:, None] * ramp).expand(2, 1, -1, -1)
    back = shrink(stills(grey))
    assert back.shape == (2, 1, SPRITE, SPRITE)
    torch.testing.assert_close(back, grey, atol=0.03, rtol=0)


# --- Tints and hues -----------------------------------------------------------------------------------------------


def test_black_stays_black_and_white_becomes_the_colour():
    grey = torch.tensor([0.0, 0.5, 1.0]).view(1, 1, 1, 3).expand(2, -1, -1, -1)
    rgb = torch.tensor([[1.0, 0.5, 0.25], [0.0, 0.2, 1.0]])
    tinted = tint(grey, rgb)
    assert tinted.shape == (2, 3, 1, 3)
    for level, column in ((0.0, 0), (0.5, 1), (1.0, 2)):
        torch.testing.assert_close(tinted[:, :, 0, column], level * rgb)


def test_the_six_tints_are_sixty_degrees_apart_in_the_order_of_the_colour_wheel():
    assert list(COLOURS) == ["red", "yellow", "green", "cyan", "blue", "magenta"]
    rgb = torch.tensor(list(COLOURS.values()))
    assert rgb.min() >= 0 and rgb.max() <= 1
    found = hue(tint(pictures(6), rgb))
    difference = (found - torch.arange(6) * 60.0 + 180) % 360 - 180  # 359.99 is red too
    assert difference.abs().max() < 0.01


def test_a_sprite_has_the_hue_of_its_tint_wherever_it_is():
    rgb = torch.tensor([COLOURS["cyan"]]).expand(3, -1)
    canvas = place(tint(pictures(), rgb), torch.tensor([0, 17, LAST]), torch.tensor([LAST, 3, 0]))
    torch.testing.assert_close(hue(canvas), torch.full((3,), 180.0), atol=0.01, rtol=0)


def test_the_hue_of_a_colour_between_two_lies_between_theirs():
    images = torch.tensor([[1.0, 0.5, 0.0], [0.5, 0.0, 1.0]])[:, :, None, None]
    found = hue(images)
    assert 0 < found[0] < 60 and 240 < found[1] < 300


def test_hues_are_degrees_from_0_to_360():
    found = hue(torch.rand(500, 3, 1, 1, generator=torch.Generator().manual_seed(0)))
    assert found.shape == (500,)
    assert found.min() >= 0 and found.max() <= 360 and found.min() < 30 and found.max() > 330


# --- Placing ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3])
def test_each_sprite_is_where_it_was_put_and_the_rest_is_black(channels):
    sprites = pictures(4, channels)
    rows, columns = torch.tensor([0, LAST, 5, 12]), torch.tensor([LAST, 0, 20, 1])
    canvas = place(sprites, rows, columns)
    assert canvas.shape == (4, channels, SIDE, SIDE)
    for image, sprite, row, column in zip(canvas, sprites, rows, columns, strict=True):
        assert torch.equal(image[:, row : row + SPRITE, column : column + SPRITE], sprite)
        assert (image != 0).sum() == channels * SPRITE**2


def test_placing_leaves_the_sprites_as_they_were():
    sprites = pictures()
    canvas = place(sprites, torch.zeros(3, dtype=torch.long), torch.zeros(3, dtype=torch.long))
    canvas.fill_(7)
    assert torch.equal(sprites, pictures())


@pytest.mark.parametrize("corner", [-1, LAST + 1])
def test_a_sprite_that_would_leave_the_canvas_is_refused(corner):
    inside, outside = torch.tensor([4, 4, 4]), torch.tensor([4, corner, 4])
    with pytest.raises(ValueError, match=f"rows go from .*{corner}.*0 to 36 is allowed"):
        place(pictures(), outside, inside)
    with pytest.raises(ValueError, match=f"columns go from .*{corner}.*0 to 36 is allowed"):
        place(pictures(), inside, outside)


def test_as_many_corners_as_sprites_are_needed():
    with pytest.raises(ValueError):
        place(pictures(3), torch.tensor([1, 2]), torch.tensor([1, 2]))


# --- Shapes -------------------------------------------------------------------------------------------------------

WRONG = [(2, 1, 32, 32), (2, 1, 28, 27), (2, 28, 28), (28, 28), (1, 2, 1, 28, 28)]


@pytest.mark.parametrize("shape", WRONG, ids=str)
def test_images_that_are_no_sprites_are_refused_with_their_shape(shape):
    wrong = torch.zeros(shape)
    calls = (
        lambda: require_sprites(wrong),
        lambda: stills(wrong),
        lambda: place(wrong, torch.tensor([0, 0]), torch.tensor([0, 0])),
    )
    for call in calls:
        with pytest.raises(ValueError, match=r"images are torch.float32 \(.*: floats \(N, [C1], 28, 28\) are due"):
            call()


@pytest.mark.parametrize("channels", [1, 3])
def test_sprites_have_any_number_of_channels(channels):
    require_sprites(torch.zeros(2, channels, SPRITE, SPRITE))


@pytest.mark.parametrize("channels", [2, 3])
def test_stills_are_made_of_grey_images_only(channels):
    with pytest.raises(ValueError, match=r"images are .*\(1, \d, 28, 28\): floats \(N, 1, 28, 28\) are due"):
        stills(pictures(1, channels))
