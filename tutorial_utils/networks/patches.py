"""Cutting images into patches, the tokens of a Vision Transformer, and putting them back together.

Arguments that are not as described are a ValueError, which names them.
"""

from __future__ import annotations

from numbers import Integral
from typing import TypeVar

from einops import rearrange

Array = TypeVar("Array")  # a numpy array or a torch tensor: what goes in comes out

Size = int | tuple[int, int]


def as_pair(size: Size, name: str = "size") -> tuple[int, int]:
    """``(height, width)`` of a square given by its side, or of a pair."""
    pair = tuple(size) if isinstance(size, tuple | list) else (size, size)
    if len(pair) != 2 or not all(isinstance(side, Integral) and side > 0 for side in pair):
        raise ValueError(f"{name}={size!r} must be one positive whole number, or two: (height, width).")
    return pair


def patch_grid(image_size: Size, patch_size: Size) -> tuple[int, int]:
    """How many rows and columns of patches an image has.

    Raises:
        ValueError: the patch does not divide the image; the message names the nearest sizes that fit.
    """
    image, patch = as_pair(image_size, "image_size"), as_pair(patch_size, "patch_size")
    for axis, side, step in zip(("height", "width"), image, patch, strict=True):
        if side % step:
            below, above = side - side % step, side - side % step + step
            fits = f"{above}" if below == 0 else f"{below} or {above}"
            raise ValueError(
                f"The image's {axis} of {side} pixels is not a multiple of the patch's {step}: "
                f"resize or crop the image to {fits}, or choose a patch that divides {side}."
            )
    return image[0] // patch[0], image[1] // patch[1]


def trim_to_patches(images: Array, patch_size: Size) -> Array:
    """The middle of images (..., H, W), as much of it as whole patches cover.

    Raises:
        ValueError: not one patch fits; the message has both sizes.
    """
    if images.ndim < 2:
        raise ValueError(f"images of shape {tuple(images.shape)} must be (..., H, W).")
    sides, steps = tuple(images.shape[-2:]), as_pair(patch_size, "patch_size")
    kept = []
    for axis, side, step in zip(("height", "width"), sides, steps, strict=True):
        if step > side:
            raise ValueError(
                f"A patch of {step} pixels does not fit into the image's {axis} of {side}: choose a smaller."
            )
        start = side % step // 2
        kept.append(slice(start, start + side - side % step))
    return images[(..., *kept)]


def patchify(images: Array, patch_size: Size) -> Array:
    """Cut images into non-overlapping patches, row by row, each flattened to a vector.

    Args:
        images: (C, H, W) or (N, C, H, W), any number of channels, a numpy array or a torch tensor.
        patch_size: side of a square patch, or (height, width), in pixels.

    Returns:
        (L, C * ph * pw) or (N, L, C * ph * pw), where L is the number of patches. Within a patch the channel
        varies slowest and the column fastest, the order of a convolution's flattened kernel.
    """
    if images.ndim not in (3, 4):
        raise ValueError(f"images of shape {tuple(images.shape)} must be (C, H, W) or (N, C, H, W).")
    height, width = as_pair(patch_size, "patch_size")
    patch_grid(tuple(images.shape[-2:]), patch_size)
    return rearrange(images, "... c (row h) (col w) -> ... (row col) (c h w)", h=height, w=width)


def unpatchify(patches: Array, image_size: Size, patch_size: Size) -> Array:
    """The exact inverse of `patchify`.

    Args:
        patches: (L, C * ph * pw) or (N, L, C * ph * pw).
        image_size: side of the square image, or (height, width), in pixels.
        patch_size: as given to `patchify`.

    Returns:
        (C, H, W) or (N, C, H, W).
    """
    height, width = as_pair(patch_size, "patch_size")
    rows, columns = patch_grid(image_size, patch_size)
    if patches.ndim not in (2, 3) or patches.shape[-2] != rows * columns or patches.shape[-1] % (height * width):
        raise ValueError(
            f"patches of shape {tuple(patches.shape)} do not make an image of {as_pair(image_size)}: expected "
            f"{rows} x {columns} = {rows * columns} patches of C x {height} x {width} values each."
        )
    return rearrange(patches, "... (row col) (c h w) -> ... c (row h) (col w)", row=rows, h=height, w=width)
