"""Files and folders that are there as a whole or not at all, and places for them that are known to be good."""

from __future__ import annotations

import codecs
import contextlib
import errno
import hashlib
import os
import platform
import shutil
import stat
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path


def size_of(folder: Path) -> int:
    """The bytes of all files in a folder; none if it is not there."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def digest(path: Path, algorithm: str = "sha256") -> str:
    """The digest of a file's content, in hexadecimal."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, algorithm).hexdigest()


@contextlib.contextmanager
def draft(path: Path) -> Iterator[Path]:
    """A temporary name beside `path` to write to, which becomes `path` if the ``with`` block comes to its end.

    If it does not, what was written is removed. The name is this writer's own, whoever else writes to `path`, and a
    file that is replaced hands its rights on.
    """
    partial = path.with_name(f"{path.name[:50]}.{uuid.uuid4().hex[:8]}.partial")
    try:
        yield partial
        if path.is_file():
            shutil.copymode(path, partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextlib.contextmanager
def draft_folder(path: Path) -> Iterator[Path]:
    """As `draft`, for a folder of the same name, which the ``with`` block makes; it replaces all of a former one."""
    workshop = path.absolute().parent / f"{uuid.uuid4().hex[:8]}.partial"
    try:
        made = workshop / path.name
        yield made
        made.stat()  # or the former one would be moved away for nothing
        if path.exists():
            path.rename(workshop / "former")
        made.rename(path)
    finally:
        shutil.rmtree(workshop, ignore_errors=True)


@contextlib.contextmanager
def alone(folder: Path, what: str) -> Iterator[None]:
    """Let one process at a time work in a folder.

    Args:
        what: is being done to what, for whoever comes second.

    Raises:
        ValueError: somebody is at work there; the message says who.
    """
    from filelock import FileLock, Timeout

    folder.mkdir(parents=True, exist_ok=True)
    lock, note = FileLock(folder / "lock"), folder / "at-work"
    try:
        lock.acquire(blocking=False)
    except Timeout:
        who = note.read_text(encoding="utf-8") if note.exists() else "another process"
        raise ValueError(f"{what} by {who}: wait for its end, or choose another folder.") from None
    try:
        with draft(note) as partial:
            partial.write_text(f"process {os.getpid()} on {platform.node() or 'this machine'}", encoding="utf-8")
        yield
    finally:
        lock.release()


def edited_text(path: Path) -> str:
    """The text of a file that people write by hand, whatever their editor put around it: marks and line ends.

    Raises:
        OSError: it cannot be read.
        ValueError: a line is in no encoding that is known here; the message names it.
    """
    try:
        content = path.read_bytes()
    except ValueError as error:  # no file can have such a name
        raise FileNotFoundError(errno.ENOENT, f"No such file ({error})", str(path)) from error
    encoding = "utf-16" if content[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line, wrong = content[: error.start].count(b"\n") + 1, content[error.start]
        raise ValueError(
            f"{path} cannot be read: line {line} is not text in UTF-8 (the byte {wrong:#x}): save the file in UTF-8."
        ) from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


# --- Is this a good place? --------------------------------------------------------------------------------------------


def require_place(folder: Path, name: str) -> None:
    """Raise ValueError unless files can be put into a folder, which need not exist yet.

    Args:
        name: what the caller calls it, such as ``"--out"``.
    """
    if not writable(folder) or (folder.exists() and not folder.is_dir()):
        raise ValueError(f"{folder} is not a folder that can be written to: choose another for {name}.")


def writable(folder: Path) -> bool:
    """Whether files can be put into a folder, or into the one where it would be created."""
    # Trying is the only test that holds for administrators, network shares and Windows alike.
    try:
        with tempfile.TemporaryFile(dir=nearest(folder)):
            return True
    except OSError:
        return False


def free_bytes(folder: Path) -> int:
    """The space that is free on the disk of a folder, which need not exist yet."""
    return shutil.disk_usage(nearest(folder)).free


def nearest(folder: Path) -> Path:
    """A folder, or the one in which it would be created."""
    return next((path for path in (folder, *folder.parents) if path.exists()), folder)


# --- Who may read it? -------------------------------------------------------------------------------------------------


def make_shared(folder: Path) -> None:
    """Make a folder that everybody can read, and those above it that are missing; one that is there is left alone."""
    for missing in [path for path in (*reversed(folder.parents), folder) if not path.exists()]:
        missing.mkdir(exist_ok=True)
        open_to_all(missing)


def open_to_all(folder: Path) -> None:
    """Let everybody read a folder and all that is in it, whatever the umask was: what is shared is no secret."""
    for path in (folder, *folder.rglob("*")):
        more = stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH
        if path.is_dir():
            more |= stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode | more != mode and (not hasattr(os, "geteuid") or os.geteuid() in (0, path.stat().st_uid)):
            path.chmod(mode | more)
