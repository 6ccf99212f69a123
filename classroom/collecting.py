"""Copies of what learners have written, for a teacher to look at and to grade.

Learners own their homes, and may have put anything there while root reads them: links to what is not theirs, files
without an end. So each file is opened by its name in a folder that is open already, without following a link.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from tutorial_utils import files

LARGEST = 2**28
"""Bytes of a file that is copied: no lesson is larger, and the disk is the teacher's."""


def collect(homes: Path, folder: Path, owner: tuple[int, int]) -> dict[str, list[str]]:
    """Copy each learner's files into a new folder, as ``folder/NAME/...``: hidden files and links stay behind.

    The copies can be read by their owner and by nobody else, and written by nobody.

    Args:
        owner: the ids of the user and the group that the copies will belong to.

    Returns:
        For each learner by name what was left out, with the reason.

    Raises:
        ValueError: the folder is no place for copies; the message names it. Nothing has been copied then.
        OSError: a copy could not be made, and nothing is left of the others.
    """
    folder = _place(folder, homes)
    with files.draft_folder(folder) as made:
        made.parent.mkdir(mode=0o700)
        made.mkdir(mode=0o700)
        left_out = {home.name: _copy_home(home, made / home.name) for home in sorted(homes.iterdir())}
        for path in (made, *made.rglob("*")):
            os.chown(path, *owner, follow_symlinks=False)
    return left_out


def _place(folder: Path, homes: Path) -> Path:
    folder = folder.absolute()
    if os.path.lexists(folder) and not (folder.is_dir() and not folder.is_symlink() and not any(folder.iterdir())):
        raise ValueError(f"{folder} is there already: name a new folder, so that nothing is written over.")
    if not folder.parent.is_dir():
        raise ValueError(f"{folder.parent} is no folder: make it first, or choose another for DIR.")
    if homes.resolve() in (folder.resolve(), *folder.resolve().parents):
        raise ValueError(f"{folder} is among the learners' homes: choose another folder for DIR.")
    files.require_place(folder.parent, "DIR")
    return folder


def _copy_home(home: Path, copy: Path) -> list[str]:
    """Copy what a home's owner has written; return what was left out."""
    owner, left_out = home.stat().st_uid, []
    for place, folders, names, handle in os.fwalk(home, follow_symlinks=False):
        inside = Path(place).relative_to(home)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        links = [name for name in folders if stat.S_ISLNK(os.stat(name, dir_fd=handle, follow_symlinks=False).st_mode)]
        left_out += [f"{inside / name}: not copied; it is a link" for name in links]
        (copy / inside).mkdir(mode=0o700)
        for name in sorted(name for name in names if not name.startswith(".")):
            try:
                _copy_file(name, handle, owner, copy / inside / name)
            except ValueError as error:
                left_out.append(f"{inside / name}: {error}")
    return left_out


def _copy_file(name: str, folder: int, owner: int, copy: Path) -> None:
    """Copy a file; a ValueError says why it is none that is copied."""
    try:
        handle = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)  # a pipe would wait
    except OSError as error:
        raise ValueError(f"not copied ({error.strerror}); it is a link, or has gone") from error
    with os.fdopen(handle, "rb") as source:
        about = os.fstat(handle)
        if not stat.S_ISREG(about.st_mode) or about.st_uid != owner:
            raise ValueError("not copied; it is no file, or not the learner's")
        if about.st_size > LARGEST:
            raise ValueError(
                f"not copied; it has {about.st_size / 2**20:.0f} MB, and {LARGEST / 2**20:.0f} is the most"
            )
        with copy.open("xb") as target:
            target.write(source.read(about.st_size))  # and no more, however fast it grows
        copy.chmod(0o400)
