"""Garments on a 64x64 canvas: what VAE-mini compresses, U-ViT-mini generates and Latte-mini sets in motion.

The photographs are Fashion-MNIST's, 28x28 and grey. A *still* is one enlarged to the whole canvas (lesson 3). A
*sprite* is one in its own size, tinted, anywhere on a black canvas (one frame of lesson 4's videos).
Arguments that are not as described are a ValueError, which names them.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from tutorial_utils import require

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
        grey: floats (N, 1, 28, 28), any values; what they mean is kept.

    Returns:
        (N, 3, 64, 64), enlarged bilinearly.
    """
    require_sprites(grey, channels="1")
    return F.interpolate(grey, size=(SIDE, SIDE), mode="bilinear").expand(-1, 3, -1, -1)


def shrink(images: torch.Tensor) -> torch.Tensor:
    """Stills, floats (N, 3, 64, 64), back to grey images in Fashion-MNIST's own size, float32 (N, 1, 28, 28)."""
    require.floats("images", images, f"N 3 {SIDE} {SIDE}")
    grey = images.float().mean(1, keepdim=True)
    return F.interpolate(grey, size=(SPRITE, SPRITE), mode="bilinear", antialias=True)


def tint(grey: torch.Tensor, rgb: torch.Tensor) -> torch.Tensor:
    """Give grey images a colour each: black stays black, white becomes the colour.

    Args:
        grey: (N, 1, H, W) in [0, 1].
        rgb: (N, 3) in [0, 1], such as rows of `COLOURS`.

    Returns:
        (N, 3, H, W) in [0, 1].
    """
    require.floats("images", grey, "N 1 H W")
    require.floats("colours", rgb, f"{len(grey)} 3")
    return grey * rgb[:, :, None, None]


def place(sprites: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """Put each sprite on a black canvas.

    Args:
        sprites: floats (N, C, 28, 28).
        rows, columns: integers (N,), the canvas pixel that the sprite's top left corner goes to, 0 to 36.

    Returns:
        (N, C, 64, 64), on the sprites' device.
    """
    require_sprites(sprites)
    for name, corner in (("rows", rows), ("columns", columns)):
        require.integers(name, corner, f"{len(sprites)}", within=(0, SIDE - SPRITE))
    canvas = sprites.new_zeros(len(sprites), sprites.shape[1], SIDE, SIDE)
    image, along = torch.arange(len(sprites), device=sprites.device), torch.arange(SPRITE, device=sprites.device)
    row, column = (c.to(sprites.device, non_blocking=True)[:, None] + along for c in (rows, columns))  # (N, 28)
    canvas[image[:, None, None], :, row[:, :, None], column[:, None]] = sprites.permute(0, 2, 3, 1)
    return canvas


def hue(images: torch.Tensor) -> torch.Tensor:
    """The hue of each image as a whole, in degrees: 0 is red, 120 green, 240 blue.

    The angle of the mean colour on the colour wheel (the hue of Preucil 1953), so that dark pixels count little.

    Args:
        images: (N, 3, H, W) in [0, 1].

    Returns:
        (N,), 0 to 360; meaningless where an image is grey.
    """
    require.floats("images", images, "N 3 H W")
    red, green, blue = images.mean((2, 3)).unbind(1)
    angle = torch.atan2(3**0.5 * (green - blue), 2 * red - green - blue)
    return angle.rad2deg() % 360


def require_sprites(images: torch.Tensor, channels: str = "C", within: tuple[float, float] | None = None) -> None:
    """Raise ValueError unless `images` are floats (N, C, 28, 28), with so many channels and within bounds, if given."""
    require.floats("images", images, f"N {channels} {SPRITE} {SPRITE}", within=within)
