"""Pictures of the classes you ask for: U-ViT and its VAE, and a folder of samples that can resume.

Arguments that are not as described are a ValueError, which names them.
"""

from __future__ import annotations

import functools
import hashlib
import math
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from PIL import Image
from torch import Tensor

from tutorial_utils import files, require, runtime
from tutorial_utils.assets.store import fetch
from tutorial_utils.datasets.fashion_mnist import FASHION_CLASSES
from tutorial_utils.datasets.images import grid
from tutorial_utils.datasets.names import Names
from tutorial_utils.figures.films import plays
from tutorial_utils.networks import checkpoints
from tutorial_utils.networks.uvit import UViT, load_uvit
from tutorial_utils.sampling import shards
from tutorial_utils.sampling.diffusion import UVIT, Settings
from tutorial_utils.sampling.sampler import Sampler

SETTINGS = {
    # guided at low noise too, samples are further from real ones
    "mini": Settings(steps=16, guidance_scale=1.5, guidance_interval=(0.5, math.inf)),
    "full": Settings(scheduler="dpm-single", steps=25, guidance_scale=4.0),  # the published demo's
}
"""The lesson's settings at each scale."""


DECODED_PLACES = 2**13
"""Places of latents that are decoded at once, for the sake of memory: eight images of 256x256 pixels, say."""


def load(scale: str | None = None, device: torch.device | None = None) -> tuple[UViT, AutoencoderKL, Names]:
    """The U-ViT and the VAE of a scale, fetched, on a device in its working precision; and the names of the classes.

    Raises:
        AssetError: one of them could not be had.
        ValueError: one of them is not what it should be.
    """
    scale = runtime.scale(scale)
    where = runtime.device() if device is None else device
    runtime.quiet_libraries()  # what they would say is checked here
    precision = runtime.dtype(where)
    network = load_uvit(fetch("uvit", scale)).to(where, precision)
    vae = checkpoints.load(AutoencoderKL, fetch("vae", scale)).to(where, precision)
    return network, vae, FASHION_CLASSES if scale == "mini" else imagenet_classes()


def load_own(folder: Path, device: torch.device | None = None) -> tuple[UViT, AutoencoderKL, Names]:
    """As `load`, of a folder that ``python -m tutorial_utils train uvit`` has made.

    The VAE is the folder's own, in ``vae``, or VAE-mini if there is none; the classes have the names of the pictures
    that it was trained on, or just numbers, if the folder does not know them.

    Raises:
        AssetError: VAE-mini could not be had.
        ValueError: the folder is not there, or holds something else.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder} is no folder: give one that `train uvit` has made.")
    where = runtime.device() if device is None else device
    runtime.quiet_libraries()
    precision = runtime.dtype(where)
    network = load_uvit(folder)
    own = folder / "vae"
    vae = checkpoints.load(AutoencoderKL, own if own.is_dir() else fetch("vae", "mini"))
    if network.null_label is None:
        raise ValueError(f"{folder} holds a network without classes: there is nothing to choose from.")
    if network.config.in_chans != vae.config.latent_channels:
        channels = f"{network.config.in_chans} channels, and its VAE's {vae.config.latent_channels}"
        raise ValueError(f"{folder} holds a network whose latents have {channels}.")
    return network.to(where, precision), vae.to(where, precision), _class_names(folder, network.null_label)


def _class_names(folder: Path, count: int) -> Names:
    """The names that a recipe has written beside its checkpoint."""
    report = folder / "metrics.json"
    names = checkpoints.read_config(report).get("classes") if report.is_file() else None
    if names is None:
        return Names(map(str, range(count)))
    if not isinstance(names, list) or len(names) != count or not all(isinstance(name, str) for name in names):
        given = require.shortened(repr(names), 80)
        raise ValueError(f"{report} must name {count} classes, as many as the network has, and it says {given}.")
    return Names(names)


def digest_of(folder: Path) -> str:
    """What tells the weights in a folder from others'; an OSError if they cannot be read."""
    weights = sorted(path for path in folder.rglob("*") if path.suffix in (".safetensors", ".pth"))
    return hashlib.sha256("".join(map(files.digest, weights)).encode()).hexdigest()[:12]


def sampler(network: UViT, vae: AutoencoderKL, batch_size: int = 100) -> Sampler:
    """What samples pictures by class; the last label means no class.

    Args:
        network: one with classes.
        vae: one with latents of the network's size.
    """
    config, none = network.config, network.null_label
    return Sampler(
        network,
        UVIT,
        (config.in_chans, config.img_size, config.img_size),
        functools.partial(decode, vae),
        torch.full((none + 1,), none, device=network.device),
        batch_size,
    )


@torch.no_grad()
def decode(vae: AutoencoderKL, latents: Tensor) -> Tensor:
    """Latents (N, C, H, W), as the network knows them, to images (N, 3, 8 H, 8 W) in [0, 1], on the CPU."""
    require.floats("latents", latents, f"N {vae.config.latent_channels} H W", least=1, within=require.FINITE)
    scaled = latents.to(vae.device, vae.dtype) / vae.config.scaling_factor
    at_once = max(1, DECODED_PLACES // latents[0, 0].numel())
    images = torch.cat([vae.decode(batch).sample.float().cpu() for batch in scaled.split(at_once)])
    return (images / 2 + 0.5).clamp(0, 1)


def imagenet_classes() -> Names:
    """The names of ImageNet's 1,000 classes."""
    from torchvision.models import ViT_B_16_Weights

    return Names(ViT_B_16_Weights.DEFAULT.meta["categories"])


def chosen_classes(words: str, names: Sequence[str]) -> list[int]:
    """Labels from a comma-separated list of numbers or of the classes' names, or from "all".

    A class that is called by a number is meant by its name, not by its label.
    """
    if words.strip() == "all":
        return list(range(len(names)))
    known_as = {str(label): label for label in range(len(names))}
    known_as |= {_folded(name): label for label, name in enumerate(names)}
    labels = []
    for word in (word.strip() for word in words.split(",")):
        if _folded(word) not in known_as:
            some = ", ".join(name.lower() for name in names) if len(names) <= 20 else "a name"
            raise ValueError(f"{word!r} is no class: choose from 0 to {len(names) - 1}, or {some}.")
        labels.append(known_as[_folded(word)])
    return labels


def _folded(name: str) -> str:
    """A name as all its spellings: in any case, and with accents as either a keyboard or a file system makes them."""
    return unicodedata.normalize("NFC", name).casefold()


def sample_to_folder(
    sampler: Sampler,
    labels: Sequence[int],
    seed: int,
    settings: Settings,
    out: Path,
    progress: shards.Progress = lambda done, total: None,
    besides: Mapping[str, str] | None = None,
) -> None:
    """Write `samples.npz` and `grid.png`: one sample for each label, in order. See `Sampler.fill`.

    Args:
        besides: what else tells these samples from others', such as the network.
    """

    def finish(images: np.ndarray) -> shards.Saved:
        return {"images": images, "labels": np.array(labels)}

    def complete(saved: shards.Saved) -> None:
        if not plays(out / "grid.png"):
            with files.draft(out / "grid.png") as partial:
                Image.fromarray(grid(saved["images"])).save(partial, "PNG")

    request = {"labels": list(labels), "seed": seed, "batch_size": sampler.batch_size} | asdict(settings)
    request |= besides or {}
    asked = torch.tensor(labels, dtype=torch.int64)
    sampler.fill(out, request, asked, seed, settings, finish, complete, progress=progress)
