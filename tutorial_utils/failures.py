"""The system's errors in one line: what happened to which file, what was needed, and what to do.

For whoever runs a command: a full disk, a folder that may not be read or memory that runs out are no faults of the
program, and its thousand lines of traceback help nobody.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import sys

OUT_OF_MEMORY = re.compile(
    r"(?i)not enough memory|out of memory|(can.?t|cannot|unable to) allocate|bad_alloc|failed to allocate"
)

ADVICE = {
    errno.ENOSPC: "free some space there, or choose another place",
    errno.EDQUOT: "free some of your space there, or choose another place",
    errno.EROFS: "choose another place",
    errno.EACCES: "choose another place, or ask its owner to let you in (chmod -R o+rX)",
    errno.EPERM: "choose another place, or ask its owner",
    errno.ENOENT: "check the path",
    errno.ENOTDIR: "a part of that path is a file: choose another place",
    errno.EISDIR: "that is a folder: choose another place",
    errno.EIO: "is the disk, the stick or the share still there?",
    errno.EMFILE: "close other programs, or raise the limit (ulimit -n)",
    errno.ENFILE: "close other programs",
}


def is_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out: Python's, numpy's, torch's, TensorFlow's or the system's."""
    if isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
        return True
    return isinstance(error, RuntimeError | OSError) and bool(OUT_OF_MEMORY.search(str(error)))


def is_systems(error: BaseException) -> bool:
    """Whether an error is the machine's and says nothing about the content of a file."""
    return is_memory(error) or (isinstance(error, OSError) and error.errno in ADVICE)


def in_a_line(error: BaseException) -> str:
    """An error for which `is_systems` holds, or any other OSError, as one sentence for a person."""
    if is_memory(error):
        return f"The memory ran out{_asked(error)}. {_free()}Close other programs, or choose smaller batches."
    path = f"{error.filename}: " if getattr(error, "filename", None) else ""
    return f"{path}{reason(error)}."


def reason(error: BaseException) -> str:
    """What happened and what to do, without the path."""
    what = getattr(error, "strerror", None) or " ".join(str(error).split()).rstrip(".") or type(error).__name__
    advice = ADVICE.get(getattr(error, "errno", None))
    return f"{what}: {advice}" if advice else what


def _asked(error: BaseException) -> str:
    """How much was asked for at last, as far as the error says it."""
    match = re.search(r"allocate (?:about )?([\d.]+) ?([KMGT]i?B|bytes)?", str(error))
    if not match:
        return ""
    amount, unit = match.groups()
    if unit in (None, "bytes"):
        amount, unit = f"{float(amount) / 1e9:.1f}", "GB"
    return f" when {amount} {unit} more were asked for"


def _free() -> str:
    with contextlib.suppress(Exception):  # there may not be enough left to look
        import psutil

        return f"{psutil.virtual_memory().available / 1e9:.1f} GB of this machine's are free. "
    return ""


def any_encoding() -> None:
    """Let both streams take any text: what a terminal's encoding lacks becomes a question mark."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError):  # a stream of another kind, or a closed one
            stream.reconfigure(errors="replace")


def nobody_listens() -> None:
    """After a broken pipe: let Python end without saying so once more."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
