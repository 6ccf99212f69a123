"""Pictures from a learner's disk, made into what a model expects; and what a model made, on its way to a file.

Arguments that are not as described are a ValueError, which names them.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from einops import rearrange
from PIL import Image, ImageOps, UnidentifiedImageError

from tutorial_utils import failures, require
from tutorial_utils.datasets.containers import pixels_alone

if TYPE_CHECKING:
    from torch import Tensor

SMALLEST, LARGEST, KEPT = 8, 20_000, 1_024  # pixels a side
MOST = 100_000_000  # pixels in all: some hundred megabytes of memory

ORIENTATION = 0x0112  # EXIF's number of the note which way is up

FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""What Pillow reads by itself; for some others it would start a program."""


Tell = Callable[[str], object]
"""What takes a sentence: `print`, for one."""


def _in_silence(sentence: str) -> None:
    """Tell nobody."""


def load_picture(source: str | Path | bytes, tell: Tell = _in_silence) -> Image.Image:
    """Open a picture as RGB, upright as the camera held it, with transparency laid over white.

    One with a longer side than 1,024 pixels is scaled down to that: no lesson looks at more.

    Args:
        source: a path, or the content of a file, as an upload button gives it.
        tell: is given a sentence for everything that was done to the picture.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not a picture, is cut short, or is too small or too large; the message names it.
    """
    if isinstance(source, bytes):
        name, content = f"the uploaded file of {len(source):,} bytes", source
    else:
        name, path = str(source), _existing(source)
        if path is None:
            raise FileNotFoundError(f"There is no picture at {name}: check the path, relative to {Path.cwd().name}/.")
        content = path.read_bytes()
    file = io.BytesIO(pixels_alone(content))
    try:
        with warnings.catch_warnings(action="ignore"):  # Pillow's, of what is refused here or does not matter
            picture = Image.open(file, formats=FORMATS)
            (width, height), upright = picture.size, None
            if SMALLEST <= min(width, height) <= max(width, height) <= LARGEST and width * height <= MOST:
                upright, done = _upright(picture)
    except UnidentifiedImageError as error:
        raise ValueError(f"{name} is not a picture that can be read: save it as PNG or JPEG.") from error
    except Exception as error:  # a damaged file makes Pillow raise a dozen types
        if failures.is_memory(error):
            raise
        raise ValueError(f"{name} could not be read as a picture: {error or type(error).__name__}") from error
    if upright is None:
        raise ValueError(
            f"{name} has {width} x {height} pixels: each side must have {SMALLEST} to {LARGEST:,}, "
            f"and all together {MOST:,} at most."
        )
    for sentence in [*_said_of_frames(content), *done]:
        tell(sentence)
    return upright


def _existing(path: str | Path) -> Path | None:
    """The file at a path; None if there is none, as for a name that no file can have."""
    try:
        file = Path(path).expanduser()
        return file if file.is_file() else None
    except (OSError, ValueError, RuntimeError):
        return None


def _upright(picture: Image.Image) -> tuple[Image.Image, list[str]]:
    """RGB, turned as the camera held it, and no larger than we keep; and what was done for that."""
    done = _said_of(picture)
    stored = picture.size
    if picture.mode not in ("1", "P"):  # these have nothing between their colours, and would be scaled badly
        picture.thumbnail((KEPT, KEPT))
    picture.load()  # so that what follows is no fault of the pixels
    with contextlib.suppress(Exception):  # which way is up is a note like any other: if it is damaged, as it is
        before = picture.getexif().get(ORIENTATION, 1)
        picture = ImageOps.exif_transpose(picture)
        if before in range(2, 9):
            done.append("It was turned upright, as the camera noted.")
    picture = _as_rgb(picture)
    picture.thumbnail((KEPT, KEPT))
    if sorted(picture.size) != sorted(stored):
        done.append(f"It was scaled from {_sides(stored)} pixels to {_sides(picture.size)}.")
    return picture, done


def _said_of(picture: Image.Image) -> list[str]:
    """What becomes of a picture's colours, a sentence each."""
    done = []
    if picture.mode.startswith("I;16") or picture.mode in ("I", "F"):
        done.append("Its values were spread over 0 to 255, from its darkest to its brightest.")
    if picture.has_transparency_data:
        done.append("What is transparent was laid over white.")
    if picture.mode not in ("RGB", "RGBA", "P", "PA"):
        done.append(f"It became RGB: its mode was {picture.mode}.")
    return done


def _said_of_frames(content: bytes) -> list[str]:
    """What becomes of an animation. Its frames are counted apart: a damaged one is no fault of the first."""
    with contextlib.suppress(Exception), warnings.catch_warnings(action="ignore"):
        file = Image.open(io.BytesIO(pixels_alone(content)), formats=FORMATS)
        if (frames := getattr(file, "n_frames", 1)) > 1:
            return [f"It has {frames} frames: the first is shown."]
    return []


def _sides(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"


def _as_rgb(picture: Image.Image) -> Image.Image:
    """Three channels of 8 bits, whatever the mode was."""
    if picture.mode.startswith("I;16") or picture.mode in ("I", "F"):  # convert() would clip these to white
        values = np.asarray(picture, dtype=np.float64)
        if not np.isfinite(values).all():
            raise ValueError("it holds values that are infinite or not a number.")
        span = values.max() - values.min()
        picture = Image.fromarray(np.uint8(255 * ((values - values.min()) / (span or 1))))
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    return picture.convert("RGB")


def as_square(picture: Image.Image, side: int, tell: Tell = _in_silence) -> Image.Image:
    """The middle of a picture, as large a square of it as there is, scaled to `side` pixels a side.

    Args:
        picture: RGB, such as `load_picture` returns it.
        side: from 1 to 20,000.
        tell: is given a sentence if anything was done.
    """
    side = require.whole("side", side, 1, LARGEST)
    if picture.size == (side, side):
        return picture
    shorter = min(picture.size)
    part = "" if shorter == max(picture.size) else f"the middle {_sides((shorter, shorter))} of "
    tell(f"From {part}{_sides(picture.size)} pixels it was brought to {_sides((side, side))}.")
    return ImageOps.fit(picture, (side, side), Image.Resampling.BICUBIC)


def as_garment(picture: Image.Image) -> Image.Image:
    """A photograph in the manner of Fashion-MNIST: grey, square, the garment bright and the background black.

    Garments are mostly photographed on something bright, so a picture with a bright border is inverted.

    Args:
        picture: RGB, such as `load_picture` returns it.

    Returns:
        RGB with three equal channels, as large as the longer side of `picture`.
    """
    grey = ImageOps.autocontrast(picture.convert("L"))
    pixels = np.asarray(grey)
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    if np.median(border) > 127:
        grey = ImageOps.invert(grey)
    return ImageOps.pad(grey, (max(grey.size),) * 2, color=0).convert("RGB")


def grid(images: np.ndarray, columns: int | None = None) -> np.ndarray:
    """One or more images (N, H, W, 3) as one picture, row by row.

    Args:
        columns: images in a row, at most; None for a grid as square as can be.
    """
    if images.ndim != 4 or images.shape[3] != 3 or 0 in images.shape:
        raise ValueError(f"images of shape {images.shape} make no grid: one or more of (N, H, W, 3) are due.")
    columns = int(np.ceil(len(images) ** 0.5)) if columns is None else require.whole("columns", columns, 1)
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    filled = np.zeros((rows * columns, *images.shape[1:]), images.dtype)
    filled[: len(images)] = images
    height, width = images.shape[1:3]
    return filled.reshape(rows, columns, height, width, 3).swapaxes(1, 2).reshape(rows * height, columns * width, 3)


def as_bytes(images: Tensor) -> np.ndarray:
    """Images (..., 3, H, W) in [0, 1] as bytes (..., H, W, 3)."""
    require.floats("images", images, "... 3 H W", within=require.UNIT)
    return rearrange((images * 255).round().byte(), "... c h w -> ... h w c").numpy()
