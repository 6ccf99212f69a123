"""A folder of samples that several processes fill together, and that an interrupted run goes on filling.

The folder says in `request.json` what it is for. Every finished batch is a file in `parts/` until the last is there,
and then they become one `samples.npz`.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tutorial_utils import files, require

Progress = Callable[[int, int], None]
"""Called with the number of finished batches and of all, from each process."""


def fill(
    out: Path,
    request: dict,
    count: int,
    batch_size: int,
    make: Callable[[slice], np.ndarray],
    finish: Callable[[np.ndarray], dict[str, np.ndarray]],
    progress: Progress,
) -> None:
    """Make samples in batches, and write them into `samples.npz` in order.

    Under `accelerate launch` the processes share the batches; those on several machines need an `out` that they share.

    Args:
        out: a folder, new or from an interrupted run with the same request; a finished one is left alone.
        request: all that the samples depend on, as JSON can say it.
        count: how many samples, at least 1.
        batch_size: samples in a batch, at least 1.
        make: called with the numbers of a batch, returns its samples (N, ...).
        finish: called once with all samples, returns the arrays of `samples.npz`.

    Raises:
        ValueError: `out` holds the samples of another request, or parts of them are missing or damaged at the end; or
            a number is below 1.
    """
    from accelerate import PartialState

    require.whole("count", count, 1)
    require.whole("batch_size", batch_size, 1)
    processes = PartialState()
    with processes.main_process_first():  # the others then find the request in place
        _claim(out, request)
    if (out / "samples.npz").exists():
        return
    parts = [out / "parts" / f"{start:08}.npz" for start in range(0, count, batch_size)]
    for number, part in enumerate(parts):
        if number % processes.num_processes == processes.process_index and not part.exists():
            _write_npz(part, samples=make(slice(number * batch_size, (number + 1) * batch_size)))
        progress(sum(part.exists() for part in parts), len(parts))
    processes.wait_for_everyone()
    if processes.is_main_process:
        _write_npz(out / "samples.npz", **finish(_read(parts)))
        shutil.rmtree(out / "parts")
    processes.wait_for_everyone()


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
    (out / "parts").mkdir(parents=True, exist_ok=True)
    with files.draft(path) as partial:
        partial.write_text(json.dumps(request, indent=2) + "\n", encoding="utf-8")


def _read_request(path: Path) -> object:
    """What a request says; None, which no request is, if it is damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return None


def _read(parts: list[Path]) -> np.ndarray:
    """The samples of all parts, one after the other."""
    if missing := [part.name for part in parts if not part.exists()]:
        folder = parts[0].parent
        raise ValueError(f"{folder} lacks {', '.join(missing)}: all machines must share the folder {folder.parent}.")
    return np.concatenate([_read_part(part) for part in parts])


def _read_part(part: Path) -> np.ndarray:
    try:
        with np.load(part, allow_pickle=False) as saved:
            return saved["samples"]
    except Exception as error:  # a damaged file makes zipfile and numpy raise a dozen types
        raise ValueError(f"{part} is damaged: delete it and ask again, so that it is made anew.") from error


def _write_npz(path: Path, **arrays: np.ndarray) -> None:
    with files.draft(path) as partial, partial.open("wb") as file:
        np.savez(file, **arrays)
