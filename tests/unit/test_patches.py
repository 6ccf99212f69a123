"""Patches: compared with a hand-written loop, and put back together exactly."""

import numpy as np
import pytest
import torch

from tutorial_utils.networks.patches import as_pair, patch_grid, patchify, trim_to_patches, unpatchify

LIBRARIES = {"numpy": np.asarray, "torch": torch.from_numpy}
LAYOUTS = [  # leading axes and channels, image size, patch size
    ((1,), (6, 6), 3),
    ((3,), (4, 10), 2),
    ((4,), (6, 8), (3, 4)),
    ((2, 1), (8, 4), (2, 4)),
    ((2, 3), (6, 9), (2, 3)),
    ((5, 4), (4, 4), 4),
    ((1, 3), (5, 3), 1),
]


def image_of(leading: tuple[int, ...], size: tuple[int, int]) -> np.ndarray:
    """Values that are all different, so that none can be in another's place."""
    shape = (*leading, *size)
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


def patchify_by_hand(image: np.ndarray, patch: tuple[int, int]) -> np.ndarray:
    """Patches of one image (C, H, W): row by row, channels slowest within a patch."""
    channels, height, width = image.shape
    patches = []
    for top in range(0, height, patch[0]):
        for left in range(0, width, patch[1]):
            values = []
            for channel in range(channels):
                for y in range(patch[0]):
                    for x in range(patch[1]):
                        values.append(image[channel, top + y, left + x])
            patches.append(values)
    return np.array(patches)


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize(("leading", "size", "patch"), LAYOUTS)
def test_patchify_equals_a_loop_over_pixels(library, leading, size, patch):
    images = image_of(leading, size)
    patches = patchify(LIBRARIES[library](images), patch)
    pair = (patch, patch) if isinstance(patch, int) else patch
    by_hand = [patchify_by_hand(image, pair) for image in images.reshape(-1, *images.shape[-3:])]
    expected = np.stack(by_hand) if images.ndim == 4 else by_hand[0]
    np.testing.assert_array_equal(np.asarray(patches), expected)


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize(("leading", "size", "patch"), LAYOUTS)
def test_unpatchify_is_the_exact_inverse(library, leading, size, patch):
    images = LIBRARIES[library](image_of(leading, size))
    back = unpatchify(patchify(images, patch), size, patch)
    assert type(back) is type(images)
    assert back.dtype == images.dtype
    np.testing.assert_array_equal(np.asarray(back), np.asarray(images))


def test_patchify_orders_values_as_a_convolution_kernel_does():
    images = torch.randn(2, 3, 8, 12)
    kernel = torch.randn(5, 3, 4, 4)
    convolved = torch.nn.functional.conv2d(images, kernel, stride=4).flatten(2).transpose(1, 2)
    torch.testing.assert_close(patchify(images, 4) @ kernel.flatten(1).T, convolved, rtol=1e-4, atol=1e-4)


def test_gradients_flow_through_both_ways():
    images = torch.randn(1, 3, 4, 4, requires_grad=True)
    unpatchify(patchify(images, 2), 4, 2).sum().backward()
    assert torch.equal(images.grad, torch.ones_like(images))


@pytest.mark.parametrize(
    ("image", "patch", "grid"), [(320, 32, (10, 10)), ((28, 14), 7, (4, 2)), ((6, 8), (3, 2), (2, 4)), (4, 4, (1, 1))]
)
def test_patch_grid_counts_rows_then_columns(image, patch, grid):
    assert patch_grid(image, patch) == grid


@pytest.mark.parametrize(
    ("image", "patch", "parts"),
    [
        ((30, 32), 8, ("height of 30", "patch's 8", "24 or 32")),
        ((32, 30), 8, ("width of 30", "patch's 8", "24 or 32")),
        ((32, 33), (32, 16), ("width of 33", "patch's 16", "32 or 48")),
        (5, 8, ("height of 5", "patch's 8", "crop the image to 8,")),
    ],
)
@pytest.mark.parametrize("function", ["patch_grid", "patchify", "unpatchify"])
def test_an_indivisible_side_names_both_numbers_and_the_sizes_that_fit(function, image, patch, parts):
    size = as_pair(image)
    calls = {
        "patch_grid": lambda: patch_grid(image, patch),
        "patchify": lambda: patchify(np.zeros((1, *size)), patch),
        "unpatchify": lambda: unpatchify(np.zeros((1, 1)), image, patch),
    }
    with pytest.raises(ValueError) as caught:
        calls[function]()
    for part in parts:
        assert part in str(caught.value)


@pytest.mark.parametrize("size", [0, -4, (4, 0), (4,), (4, 4, 4), 2.5, (4, 2.0), "16", None])
def test_a_size_that_is_not_one_or_two_positive_whole_numbers_is_named(size):
    with pytest.raises(ValueError) as caught:
        patchify(np.zeros((3, 8, 8)), size)
    assert f"patch_size={size!r}" in str(caught.value)


def test_a_size_may_be_a_numpy_integer():
    assert as_pair(np.int64(4)) == (4, 4)
    assert patch_grid(np.int64(8), (np.int32(4), 2)) == (2, 4)


@pytest.mark.parametrize("shape", [(8, 8), (1, 2, 3, 8, 8)])
def test_patchify_names_a_shape_with_another_number_of_axes(shape):
    with pytest.raises(ValueError) as caught:
        patchify(np.zeros(shape), 4)
    assert str(shape) in str(caught.value)
    assert "(N, C, H, W)" in str(caught.value)


@pytest.mark.parametrize("shape", [(3, 16), (4, 15), (4, 4, 4, 16), (16,)])
def test_unpatchify_names_patches_that_do_not_fit(shape):
    with pytest.raises(ValueError) as caught:
        unpatchify(np.zeros(shape), 8, 4)
    message = str(caught.value)
    assert str(shape) in message and "(8, 8)" in message
    assert "2 x 2 = 4 patches of C x 4 x 4 values" in message


def test_what_whole_patches_do_not_cover_is_cut_off_all_around():
    image = np.arange(7 * 9).reshape(1, 7, 9)
    np.testing.assert_array_equal(trim_to_patches(image, (5, 4)), image[:, 1:6, :8])
    np.testing.assert_array_equal(trim_to_patches(image[..., :7], 7), image[..., :7])
    np.testing.assert_array_equal(trim_to_patches(image[0], (5, 4)), image[0, 1:6, :8])
    with pytest.raises(ValueError, match=r"images of shape \(9,\) must be"):
        trim_to_patches(image[0, 0], 4)


def test_a_patch_larger_than_the_image_is_named():
    with pytest.raises(ValueError, match="A patch of 8 pixels does not fit into the image's height of 7"):
        trim_to_patches(np.zeros((1, 7, 9)), 8)
