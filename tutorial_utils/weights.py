"""Weights in a file that `torch.save` wrote: read without running any code that may be in it, and used as they are."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch
from accelerate import init_empty_weights
from torch import nn

Network = TypeVar("Network", bound=nn.Module)


def read(path: Path) -> object:
    """What a file holds, if that is tensors, numbers, texts, and lists and dictionaries of them.

    Tensors stay on the disk until they are used, unless the file is older than PyTorch 1.6.

    Raises:
        ValueError: the file is damaged or no such file, or it holds something else, which may be code.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except Exception as error:  # pickle, zip and torch each have their own
        reason = f"{type(error).__name__} {error}".splitlines()[0]
        raise ValueError(f"{path} could not be read as a state dict: {reason}") from error


def network_with(state: object, build: Callable[[], Network], refusal: str) -> Network:
    """A network whose parameters are the tensors of a state dict, not copies of them.

    Args:
        state: a state dict, or what was found in the place of one.
        build: makes the network. Its parameters take no memory; what else it computes, such as tables of positions,
            is kept.
        refusal: the beginning of the error's message.

    Raises:
        ValueError: tensors are missing, surplus or of another shape, or this is no state dict.
    """
    with init_empty_weights(include_buffers=False):
        network = build()
    try:
        network.load_state_dict(state, strict=True, assign=True)
    except (RuntimeError, TypeError, AttributeError) as error:
        raise ValueError(f"{refusal}: {error}") from error
    return network
