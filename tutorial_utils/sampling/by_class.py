"""Pictures of the classes you ask for: U-ViT and its VAE, and a folder of samples that can resume.

Arguments that are not as described are a ValueError, which names them.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
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
    """Labels from a comma-separated list of numbers or of the classes' names, or from "all"."""
    if words.strip() == "all":
        return list(range(len(names)))
    known_as = {name.lower(): label for label, name in enumerate(names)}
    known_as |= {str(label): label for label in range(len(names))}
    labels = []
    for word in (word.strip() for word in words.split(",")):
        if word.lower() not in known_as:
            some = ", ".join(name.lower() for name in names) if len(names) <= 20 else "a name"
            raise ValueError(f"{word!r} is no class: choose from 0 to {len(names) - 1}, or {some}.")
        labels.append(known_as[word.lower()])
    return labels


def sample_to_folder(
    sampler: Sampler,
    labels: Sequence[int],
    seed: int,
    settings: Settings,
    out: Path,
    progress: shards.Progress = lambda done, total: None,
) -> None:
    """Write `samples.npz` and `grid.png`: one sample for each label, in order. See `Sampler.fill`."""

    def finish(images: np.ndarray) -> shards.Saved:
        return {"images": images, "labels": np.array(labels)}

    def complete(saved: shards.Saved) -> None:
        if not plays(out / "grid.png"):
            with files.draft(out / "grid.png") as partial:
                Image.fromarray(grid(saved["images"])).save(partial, "PNG")

    request = {"labels": list(labels), "seed": seed, "batch_size": sampler.batch_size} | asdict(settings)
    asked = torch.tensor(labels, dtype=torch.int64)
    sampler.fill(out, request, asked, seed, settings, finish, complete, progress=progress)
