"""The machine a lesson runs on: its scale, device, precision, seeds and threads."""

from __future__ import annotations

import contextlib
import math
import os
import random
import re
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from tutorial_utils import require

if TYPE_CHECKING:
    import torch

Scale = Literal["mini", "full"]
SCALES: tuple[Scale, ...] = ("mini", "full")


def scale() -> Scale:
    """The scale that `TUTORIAL_SCALE` asks for: ``"mini"`` (the default) or ``"full"``.

    Raises:
        ValueError: the variable holds anything else.
    """
    return as_scale(os.environ.get("TUTORIAL_SCALE") or "mini", "TUTORIAL_SCALE")


def as_scale(value: str, name: str = "scale") -> Scale:
    """`value` itself if it is a scale; a ValueError that names it if not."""
    if value not in SCALES:
        raise ValueError(f"{name}={value!r} is not a scale: choose 'mini' (bundled, offline) or 'full' (published).")
    return value


def device(prefer: str | None = None) -> torch.device:
    """Where the models run: CUDA if there is one, else MPS, else the CPU.

    Args:
        prefer: a device to use instead, such as ``"cpu"``; by default the variable `TUTORIAL_DEVICE`, if set.

    Raises:
        ValueError: the device that was asked for is unknown or not there.
    """
    import torch

    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    wanted = prefer or os.environ.get("TUTORIAL_DEVICE")
    if not wanted:
        return torch.device(next(kind for kind, present in available.items() if present))
    kind = wanted.split(":")[0]
    known = re.fullmatch(r"[a-z]+(:\d{1,2})?", wanted, re.ASCII) and available.get(kind)
    if not known or (kind == "cuda" and (torch.device(wanted).index or 0) >= torch.cuda.device_count()):
        present = [name for name, is_there in available.items() if is_there]
        raise ValueError(f"The device {wanted!r} is not available here: choose one of {present}.")
    return torch.device(wanted)


def dtype(where: torch.device) -> torch.dtype:
    """The working precision on a device: bfloat16 on a GPU that computes in it, float16 on others, float32 on a CPU."""
    import torch

    if where.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    return torch.float16 if where.type == "mps" else torch.float32


def seed_everything(seed: int) -> None:
    """Seed Python, numpy and torch, on every device.

    Raises:
        ValueError: the seed is no whole number from 0 to 2^32 - 1, the most that numpy takes.
    """
    import numpy as np
    import torch

    seed = require.whole("seed", seed, 0, 2**32 - 1)
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def use_threads(count: int | None = None) -> int:
    """Set how many threads torch computes with, and return that number: all the cores we may use by default.

    A process can be bound to fewer cores than the machine has, and more threads than cores are the largest cost
    of a small model.

    Raises:
        ValueError: the count is no whole number from 1 to 1,024.
    """
    import torch

    torch.set_num_threads(cores() if count is None else require.whole("count", count, 1, 1_024))
    return torch.get_num_threads()


def quiet_libraries() -> None:
    """Switch off the progress bars and hints of `transformers` and `diffusers`, as far as they are imported."""
    for name in ("transformers", "diffusers"):
        if library := sys.modules.get(name):
            library.utils.logging.set_verbosity_error()
            library.utils.logging.disable_progress_bar()


@contextlib.contextmanager
def silent_startup() -> Iterator[None]:
    """Drop what compiled code writes to stderr, such as TensorFlow's notices while it is imported and first used.

    Exceptions are raised as ever.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # for later notices; the first ones ignore it
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def cores() -> int:
    """Processor cores that this process may use: those it is bound to or, if fewer, a learner's share (CPU_LIMIT).

    JupyterHub sets the variable. Threads beyond the share would only wait for each other.
    """
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(bound, math.ceil(float(os.environ.get("CPU_LIMIT") or bound))))
