"""Which folders learners can enter and write to, in a view of the file system that only the hub and they have.

A home is closed to other users, and a teacher's clone of this repository, or Python, often lies in one. In the hub's
view that home holds just what learners need.
"""

from __future__ import annotations

import ctypes
import os
import stat
import subprocess
from pathlib import Path

CLONE_NEWNS = 0x00020000
ENTER = stat.S_IXOTH


class DoorsError(RuntimeError):
    """The view could not be made; the message says why."""


def own_view() -> None:
    """Let this process and its children see mounts that nobody else sees."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNS):
        reason = os.strerror(ctypes.get_errno())
        raise DoorsError(f"The hub needs a view of the file system of its own, and got none: {reason}.")
    mount("--make-rprivate", "/")


def open_to_all(folders: list[Path]) -> None:
    """Make folders reachable for every user. A closed folder above one is hidden but for the way to it."""
    kept = {folder: os.open(folder, os.O_PATH) for folder in map(Path.resolve, folders)}
    try:
        for closed in sorted({above for folder in kept if (above := first_closed(folder))}):
            mount("-t", "tmpfs", "-o", "mode=755", "classroom", str(closed))
            for folder, handle in kept.items():
                if closed in folder.parents:
                    folder.mkdir(parents=True, exist_ok=True)
                    mount("--no-canonicalize", "--bind", f"/proc/{os.getpid()}/fd/{handle}", str(folder))
    finally:
        for handle in kept.values():
            os.close(handle)


def read_only(folder: Path) -> None:
    """Let nobody in this view write to a folder, whoever owns it."""
    mount("--bind", str(folder), str(folder))
    mount("-o", "remount,bind,ro", str(folder))


def first_closed(folder: Path) -> Path | None:
    """The highest folder above one that other users cannot enter."""
    return next((above for above in reversed(folder.parents) if not above.stat().st_mode & ENTER), None)


def mount(*arguments: str) -> None:
    """Call mount(8).

    Raises:
        DoorsError: it refused.
    """
    result = subprocess.run(["mount", *arguments], capture_output=True, text=True)
    if result.returncode:
        raise DoorsError(f"mount {' '.join(arguments)} failed: {result.stderr.strip()}.")
