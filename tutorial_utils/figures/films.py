"""The program that writes and reads films, and whether a picture or a film can be read to its end."""

from __future__ import annotations

import functools
import subprocess
from pathlib import Path

import imageio_ffmpeg
from PIL import Image, ImageSequence

from tutorial_utils import failures, require


def ffmpeg() -> str:
    """The program that writes and reads films; it comes with imageio, unless IMAGEIO_FFMPEG_EXE names another.

    Raises:
        ValueError: it does not start.
    """
    program = "ffmpeg"
    try:
        program = imageio_ffmpeg.get_ffmpeg_exe()
        _start(program)
    except (OSError, RuntimeError, subprocess.CalledProcessError) as error:
        reason = require.shortened(error)
        raise ValueError(f"Films need ffmpeg, and {program} does not start: {reason} (IMAGEIO_FFMPEG_EXE?)") from error
    return program


@functools.cache  # what has started once need not be tried for every film
def _start(program: str) -> None:
    subprocess.run([program, "-version"], capture_output=True, check=True)


def plays(path: Path) -> bool:
    """Whether a .png, .gif or .mp4 is there, and can be read to its end."""
    if not path.is_file():
        return False
    if path.suffix.lower() == ".mp4":
        result = subprocess.run([ffmpeg(), "-v", "error", "-i", str(path), "-f", "null", "-"], capture_output=True)
        return result.returncode == 0 and not result.stderr
    try:
        with Image.open(path) as picture:
            for frame in ImageSequence.Iterator(picture):
                frame.load()
        return True
    except Exception as error:  # a damaged file makes Pillow raise a dozen types
        if failures.is_systems(error):
            raise
        return False
