"""Garments on a 64x64 canvas: what VAE-mini compresses, U-ViT-mini generates and Latte-mini sets in motion.

The photographs are Fashion-MNIST's, 28x28 and grey. A *still* is one enlarged to the whole canvas (lesson 3). A
*sprite* is one in its own size, tinted, anywhere on a black canvas (one frame of lesson 4's videos).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

SIDE = 64
"""Pixels along each side of the canvas."""

SPRITE = 28
"""Pixels along each side of a sprite, Fashion-MNIST's own size."""

COLOURS = {
    "red": (1.0, 0.15, 0.15),
    "yellow": (1.0, 1.0, 0.15),
    "green": (0.15, 1.0, 0.15),
    "cyan": (0.15, 1.0, 1.0),
    "blue": (0.15, 0.15, 1.0),
    "magenta": (1.0, 0.15, 1.0),
}
"""Six tints as (red, green, blue) in [0, 1], with hues 60 degrees apart."""


def stills(grey: torch.Tensor) -> torch.Tensor:
    """Enlarge grey images to stills with three equal channels.

    Args:
        grey: (N, 1, 28, 28), any values; what they mean is kept.

    Returns:
        (N, 3, 64, 64), enlarged bilinearly.

    Raises:
        ValueError: the images have another shape.
    """
    require_sprites(grey)
    if grey.shape[1] != 1:
        raise ValueError(f"images have {grey.shape[1]} channels: grey ones, with one, are expected.")
    return F.interpolate(grey, size=(SIDE, SIDE), mode="bilinear").expand(-1, 3, -1, -1)


def shrink(images: torch.Tensor) -> torch.Tensor:
    """Stills (N, 3, 64, 64) back to grey images in Fashion-MNIST's own size, (N, 1, 28, 28)."""
    grey = images.mean(1, keepdim=True)
    return F.interpolate(grey, size=(SPRITE, SPRITE), mode="bilinear", antialias=True)


def tint(grey: torch.Tensor, rgb: torch.Tensor) -> torch.Tensor:
    """Give grey images a colour each: black stays black, white becomes the colour.

    Args:
        grey: (N, 1, H, W) in [0, 1].
        rgb: (N, 3) in [0, 1], such as rows of `COLOURS`.

    Returns:
        (N, 3, H, W) in [0, 1].
    """
    return grey * rgb[:, :, None, None]


def place(sprites: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """Put each sprite on a black canvas.

    Args:
        sprites: (N, C, 28, 28).
        rows, columns: integers (N,), the canvas pixel that the sprite's top left corner goes to, 0 to 36.

    Returns:
        (N, C, 64, 64).

    Raises:
        ValueError: the sprites have another shape, or one would leave the canvas.
    """
    require_sprites(sprites)
    last = SIDE - SPRITE
    for name, corner in (("rows", rows), ("columns", columns)):
        if len(corner) and (corner.min() < 0 or corner.max() > last):
            raise ValueError(f"{name} go from {corner.min()} to {corner.max()}: a sprite fits from 0 to {last}.")
    canvas = sprites.new_zeros(len(sprites), sprites.shape[1], SIDE, SIDE)
    for image, sprite, row, column in zip(canvas, sprites, rows.tolist(), columns.tolist(), strict=True):
        image[:, row : row + SPRITE, column : column + SPRITE] = sprite
    return canvas


def hue(images: torch.Tensor) -> torch.Tensor:
    """The hue of each image as a whole, in degrees: 0 is red, 120 green, 240 blue.

    The angle of the mean colour on the colour wheel (the hue of Preucil 1953), so that dark pixels count little.

    Args:
        images: (N, 3, H, W) in [0, 1].

    Returns:
        (N,), 0 to 360; meaningless where an image is grey.
    """
    red, green, blue = images.mean((2, 3)).unbind(1)
    angle = torch.atan2(3**0.5 * (green - blue), 2 * red - green - blue)
    return angle.rad2deg() % 360


def require_sprites(images: torch.Tensor) -> None:
    """Raise ValueError unless `images` is (N, C, 28, 28)."""
    if images.ndim != 4 or images.shape[-2:] != (SPRITE, SPRITE):
        raise ValueError(f"images have the shape {tuple(images.shape)}: (N, C, {SPRITE}, {SPRITE}) is expected.")
