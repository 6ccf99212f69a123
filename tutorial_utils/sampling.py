"""Images of the classes you ask for: U-ViT, its VAE and a scheduler together, and a folder of samples that can resume.

Sample k has its own seed, so it is the same in every batch, in every order, and on every process.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from einops import rearrange
from PIL import Image
from torch import Tensor

from tutorial_utils import checkpoints, diffusion, files, require, runtime, shards
from tutorial_utils.assets import fetch
from tutorial_utils.datasets import FASHION_CLASSES
from tutorial_utils.uvit import UViT, load_uvit


@dataclass(frozen=True)
class Settings:
    """How to sample; the arguments of `diffusion.sample` of these names explain them.

    `guidance_low` and `guidance_high` are the bounds of the guidance interval, as noise levels.
    """

    scheduler: str = "dpm-multi"
    steps: int = 20
    guidance_scale: float = 2.0
    guidance_low: float = 0.0
    guidance_high: float = float("inf")


SETTINGS = {
    "mini": Settings(steps=16, guidance_low=0.5),  # guided at low noise too, samples are further from real ones
    "full": Settings(scheduler="dpm-single", steps=25, guidance_scale=4.0),  # the published demo's
}
"""The lesson's settings at each scale."""


DECODED_PLACES = 2**13
"""Places of latents that are decoded at once, for the sake of memory: eight images of 256x256 pixels, say."""


@dataclass(frozen=True)
class Generator:
    """A network and the VAE whose latents it generates.

    Attributes:
        network: a `UViT` with classes.
        vae: an `AutoencoderKL` with latents of the network's size.
        class_names: a name for each class but "no class", if they are known.
    """

    network: UViT
    vae: AutoencoderKL
    class_names: tuple[str, ...] = ()

    @property
    def classes(self) -> int:
        """How many classes there are, "no class" left out."""
        return self.network.null_label

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Latents (N, C, H, W), as the network knows them, to images (N, 3, 8 H, 8 W) in [0, 1], on the CPU.

        Raises:
            ValueError: the latents are not of this shape, or not finite.
        """
        layout = f"N {self.vae.config.latent_channels} H W"
        require.floats("latents", latents, layout, least=1, within=require.FINITE)
        scaled = latents.to(self.vae.device, self.vae.dtype) / self.vae.config.scaling_factor
        at_once = max(1, DECODED_PLACES // latents[0, 0].numel())
        images = torch.cat([self.vae.decode(batch).sample.float().cpu() for batch in scaled.split(at_once)])
        return (images / 2 + 0.5).clamp(0, 1)

    def steps(self, labels: Tensor, seeds: Sequence[int], settings: Settings) -> Iterator[diffusion.Step]:
        """Sample latents a step at a time: for each of the labels, integers (N,), with one seed each.

        Raises:
            ValueError: there are not as many seeds as labels, one of them is not allowed, or the settings make no
                sense.
        """
        require.integers("labels", labels, f"{len(seeds)}", within=(0, self.classes))
        sources = diffusion.generators(seeds)
        config, where = self.network.config, self.network.device
        noise = diffusion.draw_noise(sources, (config.in_chans, config.img_size, config.img_size))
        return diffusion.sample(
            self.network,
            diffusion.make_scheduler(settings.scheduler),
            noise.to(where),
            labels.to(where),
            steps=settings.steps,
            guidance_scale=settings.guidance_scale,
            guidance_interval=(settings.guidance_low, settings.guidance_high),
            null_label=self.network.null_label,
            sources=sources,
        )

    def images(self, labels: Tensor, seeds: Sequence[int], settings: Settings, batch_size: int = 100) -> Tensor:
        """Images (N, 3, H, W) in [0, 1] for one or more labels (N,), on the CPU.

        Raises:
            ValueError: as for `steps`, or `batch_size` is below 1.
        """
        require.integers("labels", labels, "N", least=1)
        batch_size = require.whole("batch_size", batch_size, 1)
        batches = (slice(start, start + batch_size) for start in range(0, max(len(labels), len(seeds)), batch_size))
        ends = (diffusion.last(self.steps(labels[batch], seeds[batch], settings)).latent for batch in batches)
        return torch.cat([self.decode(latents) for latents in ends])


def load_generator(scale: str | None = None, device: torch.device | None = None) -> Generator:
    """The U-ViT and the VAE of a scale, fetched, and moved to a device in its working precision.

    Raises:
        AssetError: one of them could not be had.
        ValueError: one of them is not what it should be.
    """
    scale = runtime.scale() if scale is None else runtime.as_scale(scale)
    where = runtime.device() if device is None else device
    runtime.quiet_libraries()  # what they would say is checked here
    precision = runtime.dtype(where)
    network = load_uvit(fetch("uvit", scale)).to(where, precision)
    vae = checkpoints.load(AutoencoderKL, fetch("vae", scale)).to(where, precision)
    return Generator(network, vae, FASHION_CLASSES if scale == "mini" else imagenet_classes())


def imagenet_classes() -> tuple[str, ...]:
    """The names of ImageNet's 1,000 classes."""
    from torchvision.models import ViT_B_16_Weights

    return tuple(ViT_B_16_Weights.DEFAULT.meta["categories"])


def sample_seed(seed: int, k: int) -> int:
    """The seed of sample k in the run with `seed`: runs with different seeds share none.

    Raises:
        ValueError: one of the two is no whole number of at least 0.
    """
    entropy = [require.whole("seed", seed, 0), require.whole("k", k, 0)]
    return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0] >> 1)


def chosen_classes(words: str, generator: Generator) -> list[int]:
    """Labels from a comma-separated list of numbers or names, or from "all".

    Raises:
        ValueError: one of them is no class.
    """
    if words.strip() == "all":
        return list(range(generator.classes))
    names = {name.lower(): label for label, name in enumerate(generator.class_names)}
    known_as = names | {str(label): label for label in range(generator.classes)}
    labels = []
    for word in (word.strip() for word in words.split(",")):
        if word.lower() not in known_as:
            known = f"0 to {generator.classes - 1}" + (
                f", or {', '.join(names)}" if len(names) <= 20 else ", or a name"
            )
            raise ValueError(f"{word!r} is no class: choose from {known}.")
        labels.append(known_as[word.lower()])
    return labels


# --- A folder of samples ------------------------------------------------------------------------------------------


def sample_to_folder(
    generator: Generator,
    labels: Sequence[int],
    seed: int,
    settings: Settings,
    out: Path,
    batch_size: int,
    progress: shards.Progress = lambda done, total: None,
) -> None:
    """Write `samples.npz` and `grid.png`: one sample for each label, in order.

    An interrupted run goes on from the batches that it has finished, and processes share them: see `shards.fill`.

    Args:
        labels: one for each sample; sample k has the seed ``sample_seed(seed, k)``.
        out: a folder, new or from an interrupted run with the same request.

    Raises:
        ValueError: `out` holds the samples of another request, or parts of them are missing at the end; there are no
            labels, or one of them is no class; or a number is not allowed.
    """
    seeds = [sample_seed(seed, k) for k in range(len(labels))]
    asked = torch.tensor(labels, dtype=torch.int64)
    require.integers("labels", asked, "N", least=1, within=(0, generator.classes))
    generator.steps(asked[:1], seeds[:1], settings)  # what makes no sense in them is refused before `out` is claimed

    def make(mine: slice) -> np.ndarray:
        return as_bytes(generator.images(asked[mine], seeds[mine], settings, batch_size))

    def finish(images: np.ndarray) -> dict[str, np.ndarray]:
        with files.draft(out / "grid.png") as partial:
            Image.fromarray(grid(images)).save(partial, "PNG")
        return {"images": images, "labels": np.array(labels), "seeds": np.array(seeds)}

    request = {"labels": list(labels), "seed": seed, "batch_size": batch_size} | asdict(settings)
    shards.fill(out, request, len(labels), batch_size, make, finish, progress)


def grid(images: np.ndarray, columns: int | None = None) -> np.ndarray:
    """One or more images (N, H, W, 3) as one picture, row by row.

    Args:
        columns: images in a row, at most; None for a grid as square as can be.

    Raises:
        ValueError: there are no images, they have another shape, or the columns are not at least 1.
    """
    if images.ndim != 4 or images.shape[3] != 3 or 0 in images.shape:
        raise ValueError(f"images of shape {images.shape} make no grid: one or more of (N, H, W, 3) are due.")
    columns = int(np.ceil(len(images) ** 0.5)) if columns is None else require.whole("columns", columns, 1)
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    filled = np.zeros((rows * columns, *images.shape[1:]), images.dtype)
    filled[: len(images)] = images
    height, width = images.shape[1:3]
    return filled.reshape(rows, columns, height, width, 3).swapaxes(1, 2).reshape(rows * height, columns * width, 3)


def as_bytes(images: Tensor) -> np.ndarray:
    """Images (..., 3, H, W) in [0, 1] as bytes (..., H, W, 3).

    Raises:
        ValueError: the images are not as described.
    """
    require.floats("images", images, "... 3 H W", within=require.UNIT)
    return rearrange((images * 255).round().to(torch.uint8), "... c h w -> ... h w c").numpy()
