"""Animations of the lessons. They play in a notebook, on GitHub and in a static page, because they are pictures.

Arguments that are not as described are a ValueError, which names them.
"""

from __future__ import annotations

import io
import math
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from einops import repeat
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.transforms import IdentityTransform
from PIL import Image, PngImagePlugin

from tutorial_utils import files
from tutorial_utils.figures import alt
from tutorial_utils.figures.films import ffmpeg
from tutorial_utils.figures.plotting import ACCENT, DPI, LessonFigure, any_sign

LARGEST = 10_000
"""Pixels along a side of a grid, at most."""

SMALLEST = 80
"""Pixels that a video of a grid is wide on the screen, at least."""

GAP = 8
"""Pixels between the videos of a grid, and around it."""


@dataclass(frozen=True, eq=False)
class Animation:
    """Frames that show themselves in a notebook as an animated PNG, in true colour and over and over.

    Its text form is the description, for readers who cannot see the pictures and for comparing outputs.

    Args:
        frames: (F, H, W, 3), uint8. A frame that repeats the one before is stored as a longer showing of that one.
        fps: frames per second, from 0.01 to 60, which every player can keep up with.
        description: what there is to see, in words that are the same on every machine.
        content: what else a reader who cannot see the pictures should know, such as what is written in them.
    """

    frames: np.ndarray = field(repr=False)
    fps: float
    description: str = "frames"
    content: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        shape, dtype = self.frames.shape, self.frames.dtype
        if dtype != np.uint8 or len(shape) != 4 or shape[-1] != 3 or 0 in shape:
            raise ValueError(f"frames are {dtype} of shape {shape}; they must be uint8 of shape (F, H, W, 3).")
        if not 0.01 <= self.fps <= 60:
            raise ValueError(f"fps={self.fps}; choose 0.01 to 60 frames per second.")

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> alt.Bundle:
        buffer = io.BytesIO()
        self._write_png(buffer)
        speed = f"Animation of {_number(len(self.frames), 'frame')}, {self.fps:g} in a second"
        words = alt.joined([self.description, self.content, speed])
        return alt.bundle(buffer.getvalue(), f"Animation: {self.description}", words)

    def save(self, path: str | Path) -> None:
        """Write a file of the kind that the suffix names, under a temporary name first.

        ``.png`` is exact and loops. ``.gif`` loops, but has 256 colours in a frame and counts time in hundredths of a
        second. ``.mp4`` is the smallest, but loses detail; it plays once, and has even sides: a last row or column is
        doubled where need be.

        Raises:
            ValueError: another suffix.
            OSError: the folder does not exist, or the file cannot be written; a file of this name stays as it was.
        """
        path = Path(path)
        writers: dict[str, Callable[[Path], None]] = {
            ".png": self._write_png,
            ".gif": self._write_gif,
            ".mp4": self._write_mp4,
        }
        suffix = path.suffix.lower()
        if suffix not in writers:
            raise ValueError(f"{path.name} has the suffix {path.suffix!r}; choose one of {', '.join(writers)}.")
        if not path.parent.is_dir():
            raise FileNotFoundError(f"{path.name} cannot be saved: make the folder {path.parent} first.")
        with files.draft(path) as partial:
            writers[suffix](partial)

    def _write_png(self, file: Path | BinaryIO) -> None:
        # Pixels that never change are drawn once and then left out (transparent): captions would cost a third more.
        # Pillow's best compression would take four times as long to save 2 %.
        layers = np.pad(self.frames, ((0, 0), (0, 0), (0, 0), (0, 1)), constant_values=255)
        layers[1:, (self.frames == self.frames[0]).all(axis=(0, 3))] = 0
        first, *others = map(Image.fromarray, layers)
        duration, over = 1000 / self.fps, PngImagePlugin.Blend.OP_OVER
        first.save(file, "PNG", save_all=True, append_images=others, duration=duration, loop=0, blend=over)

    def _write_gif(self, file: Path) -> None:
        first, *others = map(Image.fromarray, self.frames)
        duration = 10 * round(100 / self.fps)
        first.save(file, "GIF", save_all=True, append_images=others, duration=duration, loop=0)

    def _write_mp4(self, file: Path) -> None:
        # imageio's writer would resize to multiples of 16, and say nothing when ffmpeg fails at the end
        height, width = self.frames.shape[1:3]
        frames = np.pad(self.frames, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        size = f"{frames.shape[2]}x{frames.shape[1]}"
        source = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", size, "-r", str(self.fps), "-i", "-"]
        target = ["-c:v", "libx264", "-pix_fmt", "yuv420p", "-movflags", "+faststart", "-f", "mp4", str(file)]
        result = subprocess.run(
            [ffmpeg(), "-v", "error", *source, *target], input=frames.tobytes(), capture_output=True
        )
        if result.returncode:
            raise OSError(f"ffmpeg could not write the video: {result.stderr.decode(errors='replace').strip()}")


def animate(
    videos: Sequence[np.ndarray],
    captions: Sequence[str] = (),
    columns: int = 5,
    fps: float = 8,
    right: Sequence[bool] | None = None,
    side: int = 84,
    title: str = "",
    description: str = "",
) -> Animation:
    """Videos that play side by side in a grid on white, their pixels enlarged without smoothing.

    Args:
        videos: N of them, each (F, H, W) or (F, C, H, W) with C 1 or 3, numpy arrays or tensors, uint8 or floats in
            [0, 1]; floats outside are clipped. All have the same F, H and W.
        captions: N texts to write above the videos, or none. Columns are as wide as the widest.
        columns: videos in a row, at most.
        fps: frames per second, from 0.01 to 60.
        right: N truth values, or none; a caption is red and has a cross where `right` is False.
        side: the most pixels that a video may be wide on the screen, unless it would be too small to be seen. Each of
            its pixels becomes a square of whole pixels, and a video that is wider stays as it is.
        title: a text to write above the grid.
        description: what the videos show, in words that are the same on every machine; without it they are counted.
    """
    videos = [_as_frames(video, f"videos[{index}]") for index, video in enumerate(videos)]
    if not videos:
        raise ValueError("videos is empty; give at least one.")
    for index, video in enumerate(videos):
        if video.shape != videos[0].shape:
            raise ValueError(
                f"videos[{index}] has {_size(video)}, videos[0] has {_size(videos[0])}; "
                "videos that play side by side must have the same."
            )
    captions = list(captions) or [""] * len(videos)
    right = [True] * len(videos) if right is None else list(right)
    for name, values in (("captions", captions), ("right", right)):
        if len(values) != len(videos):
            raise ValueError(
                f"{name} has length {len(values)} for {_number(len(videos), 'video')}; give one for each, or none."
            )
    if columns < 1:
        raise ValueError(f"columns={columns}; choose 1 or more.")

    captions = [caption if good else f"{alt.WRONG}{caption}" for caption, good in zip(captions, right, strict=True)]
    factor = max(side // videos[0].shape[2], math.ceil(SMALLEST / videos[0].shape[2]))
    count, height, width = len(videos[0]), factor * videos[0].shape[1], factor * videos[0].shape[2]
    background, corners = _draw_captions(captions, title, min(columns, len(videos)), height, width)
    frames = repeat(background, "h w c -> f h w c", f=count).copy()
    for video, (top, left) in zip(videos, corners, strict=True):
        tile = repeat(video, "f h w c -> f (h a) (w b) c", a=factor, b=factor)
        frames[:, top : top + height, left : left + width] = tile
    words = description or f"{_number(len(videos), 'video')} of {_number(count, 'frame')}"
    return Animation(frames, fps, f"{title}: {words}" if title else words, alt.grid("video", captions, columns))


def _as_frames(video: np.ndarray, name: str) -> np.ndarray:
    """A video as `animate` takes it, as uint8 (F, H, W, 3)."""
    values = np.asarray(video)
    if values.ndim not in (3, 4) or 0 in values.shape or (values.ndim == 4 and values.shape[1] not in (1, 3)):
        raise ValueError(
            f"{name} has shape {values.shape}; a video is (F, H, W) or (F, C, H, W) with C 1 or 3. "
            "Put a single video in a list."
        )
    if values.dtype != np.uint8:
        if values.dtype.kind != "f":
            raise ValueError(f"{name} is {values.dtype}; a video is uint8 from 0 to 255 or floats in [0, 1].")
        if missing := int(np.isnan(values).sum()):
            raise ValueError(f"{name} has {missing} NaN among its {values.size} values; a video has floats in [0, 1].")
        values = np.uint8(np.rint(255 * np.clip(values, 0, 1)))
    if values.ndim == 3:
        values = values[:, None]
    return repeat(values, "f c h w -> f h w (c copies)", copies=3 // values.shape[1])


def _size(frames: np.ndarray) -> str:
    count, height, width = frames.shape[:3]
    return f"{_number(count, 'frame')} of {height} x {width} pixels"


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _draw_captions(
    captions: Sequence[str], title: str, columns: int, height: int, width: int
) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """A picture of all that does not move, and where in it the videos belong.

    Returns:
        uint8 (H, W, 3), and for each caption the top and left pixel of its video, `height` by `width` pixels.
    """
    figure = LessonFigure(dpi=DPI, facecolor="white")
    canvas = FigureCanvasAgg(figure)
    # places in pixels, counted from below; and a prompt with dollars is no formula
    style = {"ha": "center", "va": "bottom", "transform": IdentityTransform(), "parse_math": False}
    heading = figure.text(0, 0, title, fontsize=11, color="black", **style)
    labels = [
        figure.text(0, 0, caption, fontsize=9, color=ACCENT if caption.startswith(alt.WRONG) else "black", **style)
        for caption in captions
    ]
    with any_sign():
        boxes = [text.get_window_extent(canvas.get_renderer()) for text in (heading, *labels)]
    (title_width, *widths), (title_height, *heights) = (
        [math.ceil(length) for length in lengths]
        for lengths in zip(*((box.width, box.height) for box in boxes), strict=True)
    )

    above = max(heights)
    cell_width, cell_height = max(width, *widths) + GAP, above + height + GAP
    start = title_height + GAP if title else GAP // 2
    total_width = max(columns * cell_width, title_width) + GAP
    total_height = start + math.ceil(len(captions) / columns) * cell_height + GAP // 2
    if max(total_width, total_height) > LARGEST:
        raise ValueError(
            f"the grid would have {total_width:,} x {total_height:,} pixels, and {LARGEST:,} a side is the most: "
            "choose shorter captions, fewer videos, other columns or a smaller side."
        )
    margin = (total_width - columns * cell_width) // 2

    figure.set_size_inches(total_width / DPI, total_height / DPI)
    heading.set_position((total_width / 2, total_height - start + GAP // 2))
    corners = []
    for index, label in enumerate(labels):
        row, column = divmod(index, columns)
        top = start + row * cell_height + GAP // 2 + above
        left = margin + column * cell_width + (cell_width - width) // 2
        label.set_position((left + width / 2, total_height - top))
        corners.append((top, left))
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3], corners
