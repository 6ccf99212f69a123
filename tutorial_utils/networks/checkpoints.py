"""Checkpoints as diffusers and transformers save them: loaded whole, or refused.

What is refused is a ValueError, which names the file or folder.
"""

from __future__ import annotations

import inspect
import json
import re
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import torch
from accelerate import init_empty_weights
from torch import nn

from tutorial_utils import failures, require

Part = TypeVar("Part")
Network = TypeVar("Network", bound=nn.Module)


def load(kind: type[Part], folder: Path, *, exact: bool = False, **options: Any) -> Part:
    """A network in eval mode, or another part of a model such as an image processor, from its folder on this machine.

    The two libraries warn of weights that are missing, and invent some: here that is an error. Weights are read from
    safetensors only, which can hold no code, unless `options` say ``use_safetensors=None``: then a pickle will do, in
    which code is refused.

    Args:
        kind: a class of diffusers or transformers with `from_pretrained`, to which `options` go.
        exact: whether surplus weights are an error, too; if not, they are left out.

    Raises:
        ValueError: the folder holds something else, or a part of it is missing, damaged, infinite or not a number.
    """
    is_network = issubclass(kind, nn.Module)
    if is_network:
        options = {"use_safetensors": True, "output_loading_info": True} | options
        read_config(folder / "config.json")  # of a text in its place diffusers would think as of a model on the Hub
    try:
        part = kind.from_pretrained(folder, local_files_only=True, **options)
    except Exception as error:  # each of the libraries and of the file formats has its own
        if failures.is_memory(error):
            raise
        raise ValueError(f"{folder} could not be read as a {kind.__name__}: {one_sentence(error)}") from error
    if is_network:
        part, found = part
        if absent := [*found["missing_keys"], *found["mismatched_keys"]]:
            raise ValueError(f"{folder} lacks weights of a {kind.__name__}: {_listed(absent)}")
        if exact and (surplus := found["unexpected_keys"]):
            raise ValueError(f"{folder} holds weights that a {kind.__name__} lacks: {_listed(surplus)}")
        require_finite(part, folder)
    return part


def without_weights(kind: type[Part], folder: Path) -> Part:
    """A network as the `config.json` of a folder describes it, on the meta device, where weights take no memory."""
    config = read_config(folder / "config.json")
    try:
        with torch.device("meta"):
            return kind.from_config(config) if hasattr(kind, "from_config") else kind(kind.config_class(**config))
    except Exception as error:  # whatever a value that does not fit leads to
        raise ValueError(f"{folder} does not describe a {kind.__name__}: {one_sentence(error)}") from error


def require_finite(network: nn.Module, source: Path) -> None:
    """Raise ValueError, which names the file or folder, unless all weights are numbers."""
    wrong = [name for name, weight in network.named_parameters() if not weight.isfinite().all()]
    if wrong:
        names = _listed(wrong)
        raise ValueError(f"{source} holds weights that are infinite or not a number: {names} Fetch it again.")


def read_config(path: Path) -> dict:
    """The keys and values of a .json file."""
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} could not be read: {one_sentence(error)}") from error
    if not isinstance(config, dict):
        raise ValueError(f"{path} must hold keys and their values, and it holds a {type(config).__name__}.")
    return config


def arguments(kind: type, path: Path) -> dict:
    """All arguments of a class, as a .json file has them or, where it is silent, by the class's own defaults.

    Published files are silent on what was added later: Latte-1's says nothing of the length of its videos.
    It raises what `read_config` does, a ValueError.
    """
    config = read_config(path)
    return {name: config.get(name, one.default) for name, one in inspect.signature(kind).parameters.items()}


def _listed(names: Iterable[object]) -> str:
    return one_sentence(", ".join(map(str, names)))


def one_sentence(message: object, width: int = 300) -> str:
    """A message as one sentence: a checkpoint of another network lacks a thousand weights."""
    return f"{require.shortened(message, width).rstrip('.')}."


# --- Files that `torch.save` wrote ------------------------------------------------------------------------------------


def read_state_dict(path: Path) -> object:
    """What a file holds, if that is tensors, numbers, texts, and lists and dictionaries of them.

    Tensors stay on the disk until they are used, unless the file is older than PyTorch 1.6.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except Exception as error:  # pickle, zip and torch each have their own
        if failures.is_memory(error):
            raise
        raise ValueError(
            f"{path} could not be read as a state dict: {type(error).__name__} {_refusal(error)}"
        ) from error


def _refusal(error: Exception) -> str:
    """Why torch could not read a file, without its advice on how to run code that is in it: none is run here."""
    other = re.search(r"(?i)unsupported (operand \S+|global:? (?:GLOBAL )?\S+)", str(error))
    return f"it holds other things than tensors ({other[0]})" if other else require.shortened(error)


def network_with(state: object, build: Callable[[], Network], refusal: str) -> Network:
    """A network whose parameters are the tensors of a state dict, not copies of them.

    Args:
        state: a state dict, or what was found in the place of one.
        build: makes the network. Its parameters take no memory; what else it computes, such as tables of positions,
            is kept.
        refusal: the beginning of the error's message.
    """
    with init_empty_weights(include_buffers=False):
        network = build()
    try:
        network.load_state_dict(state, strict=True, assign=True)
    except (RuntimeError, TypeError, AttributeError) as error:
        raise ValueError(f"{refusal}: {error}") from error
    return network
