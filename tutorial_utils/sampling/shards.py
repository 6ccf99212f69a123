"""A folder of samples that several processes fill together, and that an interrupted run goes on filling.

The folder says in `request.json` what it is for. Every finished batch is a file in `parts/` until the last is there,
and then they become one `samples.npz`.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tutorial_utils import failures, files, require

if TYPE_CHECKING:
    from accelerate import PartialState

Saved = dict[str, np.ndarray]

Progress = Callable[[int, int], None]
"""Called with the number of finished batches and of all, from each process."""


def fill(
    out: Path,
    request: dict,
    count: int,
    batch_size: int,
    make: Callable[[slice], np.ndarray],
    finish: Callable[[np.ndarray], Saved],
    complete: Callable[[Saved], None],
    progress: Progress,
) -> None:
    """Make samples in batches, and write them into `samples.npz` in order.

    Under `accelerate launch` the processes share the batches; those on several machines need an `out` that they share.

    Args:
        out: a folder, new or from an earlier run with the same request. Of that all counts that is whole: what is
            damaged is made anew.
        request: all that the samples depend on, as JSON can say it.
        count: how many samples, at least 1.
        batch_size: samples in a batch, at least 1.
        make: called with the numbers of a batch, returns its samples (N, ...).
        finish: called once with all samples, returns the arrays of `samples.npz`, as long as there are samples.
        complete: called at the end of every run with these arrays, writes what is missing beside them.

    Raises:
        ValueError: `out` holds the samples of another request, or another run is filling it, or parts are missing or
            damaged at the end; or a number is below 1.
    """
    from accelerate import PartialState

    require.whole("count", count, 1)
    require.whole("batch_size", batch_size, 1)
    processes = PartialState()
    with contextlib.ExitStack() as stack:
        with processes.main_process_first():  # the others then find the request in place
            _claim(out, request)
            if processes.is_main_process:
                stack.enter_context(files.alone(out / "parts", f"{out} is being filled"))
                _claim(out, request)  # somebody may have claimed it for another in between
        saved = _read_saved(out / "samples.npz", count)
        if saved is None:
            saved = _make(out, count, batch_size, make, finish, progress, processes)
        if processes.is_main_process:
            complete(saved)
            shutil.rmtree(out / "parts", ignore_errors=True)
        processes.wait_for_everyone()


def _make(
    out: Path,
    count: int,
    batch_size: int,
    make: Callable[[slice], np.ndarray],
    finish: Callable[[np.ndarray], Saved],
    progress: Progress,
    processes: PartialState,
) -> Saved:
    """Make the parts that are missing; and, in the first process, `samples.npz` of all of them."""
    batches = [slice(start, min(start + batch_size, count)) for start in range(0, count, batch_size)]
    parts = {out / "parts" / f"{numbers.start:08}.npz": numbers for numbers in batches}
    for number, (part, numbers) in enumerate(parts.items()):
        own = number % processes.num_processes == processes.process_index
        if own and not _is_whole(part, numbers.stop - numbers.start):
            _write_npz(part, samples=make(numbers))
        progress(sum(part.exists() for part in parts), len(parts))
    processes.wait_for_everyone()
    if not processes.is_main_process:
        return {}
    saved = finish(_read(list(parts)))
    _write_npz(out / "samples.npz", **saved)
    return saved


def is_main_process() -> bool:
    """Whether this is the only process, or the first of those that `accelerate launch` started.

    From the first call on, each process has a GPU of its own where there are several: call it before models are loaded.
    """
    from accelerate import PartialState

    return PartialState().is_main_process


def _claim(out: Path, request: dict) -> None:
    """Write down what a folder is for, or make sure that it is for this."""
    path = out / "request.json"
    if path.exists():
        if _read_request(path) != json.loads(json.dumps(request)):
            raise ValueError(f"{out} holds the samples of another request (see {path}): choose another folder.")
        return
    if (out / "samples.npz").exists():
        raise ValueError(f"{out} holds samples.npz, but not what was asked for: choose another folder.")
    out.mkdir(parents=True, exist_ok=True)
    with files.draft(path) as partial:
        partial.write_text(json.dumps(request, indent=2) + "\n", encoding="utf-8")


def _read_request(path: Path) -> object:
    """What a request says; None, which no request is, if it is damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return None


def _read_saved(path: Path, count: int) -> Saved | None:
    """The arrays of a finished `samples.npz`; None if there is none, or it is not what it should be."""
    if not path.exists():
        return None
    try:
        saved = _read_npz(path)
    except ValueError:
        saved = {}
    if saved and all(len(array) == count for array in saved.values()):
        return saved
    print(f"{path} is damaged: its samples are made anew.", file=sys.stderr)
    return None


def _read(parts: list[Path]) -> np.ndarray:
    """The samples of all parts, one after the other."""
    if missing := [part.name for part in parts if not part.exists()]:
        folder = parts[0].parent
        raise ValueError(f"{folder} lacks {', '.join(missing)}: all machines must share the folder {folder.parent}.")
    return np.concatenate([_read_npz(part)["samples"] for part in parts])


def _is_whole(part: Path, count: int) -> bool:
    """Whether a part holds all of its samples."""
    try:
        return part.exists() and len(_read_npz(part)["samples"]) == count
    except (ValueError, KeyError):
        return False


def _read_npz(path: Path) -> Saved:
    try:
        with np.load(path, allow_pickle=False) as saved:
            return dict(saved)
    except Exception as error:  # a damaged file makes zipfile and numpy raise a dozen types
        if failures.is_systems(error):
            raise
        raise ValueError(f"{path} is damaged: delete it and ask again, so that it is made anew.") from error


def _write_npz(path: Path, **arrays: np.ndarray) -> None:
    with files.draft(path) as partial, partial.open("wb") as file:
        np.savez(file, **arrays)
