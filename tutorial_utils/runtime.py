"""The machine a lesson runs on: its scale, device, precision, seeds and threads.

What a variable or an argument holds and may not hold is a ValueError, which names it and what is allowed.
"""

from __future__ import annotations

import contextlib
import math
import os
import random
import re
import sys
import warnings
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal

from tutorial_utils import require

if TYPE_CHECKING:
    import torch

Scale = Literal["mini", "full"]
SCALES: tuple[Scale, ...] = ("mini", "full")


def scale(asked: str | None = None, name: str = "scale") -> Scale:
    """The scale that is asked for, ``"mini"`` or ``"full"``: by `TUTORIAL_SCALE` if `asked` is None, or else mini."""
    value = asked
    if asked is None:
        value, name = os.environ.get("TUTORIAL_SCALE") or "mini", "TUTORIAL_SCALE"
    if value not in SCALES:
        raise ValueError(f"{name}={value!r} is not a scale: choose 'mini' (bundled, offline) or 'full' (published).")
    return value


def device(prefer: str | None = None) -> torch.device:
    """Where the models run: CUDA if there is a GPU that torch has kernels for, else MPS, else the CPU.

    From then on a GPU computes in full single precision: TF32, which keeps 10 bits of 23, is off.

    Args:
        prefer: a device to use instead, such as ``"cpu"``; by default the variable `TUTORIAL_DEVICE`, if set.

    Warns:
        UserWarning: there is a GPU, but torch has no kernels for it.

    Raises:
        ValueError: the device that was asked for is unknown, not there, or one that torch has no kernels for.
    """
    import torch

    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    wanted = prefer or os.environ.get("TUTORIAL_DEVICE")
    if not wanted:
        where = torch.device(next(kind for kind, present in available.items() if present))
        if obstacle := _obstacle(where):
            warnings.warn(f"{obstacle} The lessons use the processor instead.", stacklevel=2)
            where = torch.device("cpu")
        return where
    kind = wanted.split(":")[0]
    known = re.fullmatch(r"[a-z]+(:\d{1,2})?", wanted, re.ASCII) and available.get(kind)
    if not known or (kind == "cuda" and (torch.device(wanted).index or 0) >= torch.cuda.device_count()):
        present = [name for name, is_there in available.items() if is_there]
        raise ValueError(f"The device {wanted!r} is not available here: choose one of {present}.")
    if obstacle := _obstacle(torch.device(wanted)):
        raise ValueError(f"{obstacle} Choose another device than {wanted!r}, such as 'cpu'.")
    return torch.device(wanted)


def _obstacle(where: torch.device) -> str | None:
    """Why torch cannot compute on a device that is there; None if it can."""
    import torch

    if where.type != "cuda":
        return None
    capability, compiled = torch.cuda.get_device_capability(where), torch.cuda.get_arch_list()
    if _has_kernels(capability, compiled):
        return None
    name, (major, minor) = torch.cuda.get_device_name(where), capability
    return f"PyTorch {torch.__version__} has no kernels for {name} (sm_{major}{minor}), only {', '.join(compiled)}."


def _has_kernels(capability: tuple[int, int], compiled: Sequence[str]) -> bool:
    """Whether a build of torch runs on a GPU.

    A binary (sm_86) runs on GPUs of its own generation that are no older; PTX (compute_86) is compiled when it is
    loaded, for any GPU that is no older. Those that end in "a" are for one GPU alone, in "f" for its generation. See
    https://docs.nvidia.com/cuda/cuda-programming-guide/.

    Args:
        capability: of the GPU, such as (8, 9) for an RTX 40.
        compiled: as `torch.cuda.get_arch_list` gives it. Names of other kinds, as ROCm's, are taken to fit.
    """
    found = [re.fullmatch(r"(sm|compute)_(\d+)(\d)([af]?)", name) for name in compiled]
    return any(match is None or _runs(match, capability) for match in found)


def _runs(compiled: re.Match, capability: tuple[int, int]) -> bool:
    kind, own, suffix = compiled[1], (int(compiled[2]), int(compiled[3])), compiled[4]
    if suffix == "a":
        return own == capability
    return own <= capability and (own[0] == capability[0] or (kind == "compute" and not suffix))


def dtype(where: torch.device, large: bool = False) -> torch.dtype:
    """The working precision on a device: single, in which every fact of the lessons holds.

    Args:
        large: whether the model is too large for that. On a GPU it then gets bfloat16, or float16 if the GPU does not
            compute in bfloat16.
    """
    import torch

    if not large or where.type == "cpu":
        return torch.float32
    if where.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False):
        return torch.bfloat16
    return torch.float16


def tolerance(precision: torch.dtype, single: float) -> float:
    """How far apart two ways to compute the same may end, for numbers of about 1, in a lesson's working precision.

    Args:
        single: what is allowed in single precision. In half it is never less than 16 roundings: 0.016 in float16, 0.125
            in bfloat16, which keeps 8 bits.
    """
    import torch

    return max(single, 16 * torch.finfo(precision).eps)


def seed_everything(seed: int) -> None:
    """Seed Python, numpy and torch, on every device."""
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
