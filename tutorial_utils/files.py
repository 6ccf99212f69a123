"""Files that are there as a whole or not at all, whenever a program is interrupted."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


def size_of(folder: Path) -> int:
    """The bytes of all files in a folder; none if it is not there."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@contextlib.contextmanager
def draft(path: Path) -> Iterator[Path]:
    """A temporary name beside `path` to write to, which becomes `path` if the ``with`` block comes to its end.

    If it does not, what was written is removed. The name is this process's own.
    """
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
