"""VAE-mini: a diffusers `AutoencoderKL`, 64x64 RGB to 8x8x4 latents, shared by lessons 3 and 4.

Half of each batch are stills (garments that fill the canvas, grey or tinted), half are frames (a tinted sprite
anywhere on a black canvas). A VAE likes to lose the tint, since brightness alone explains most of every picture. Four
things keep it: normalisation over groups of several channels (with one channel to a group, GroupNorm removes the
brightness of each, and with it the tint), latents that start with little noise, no grey stills at first, and a loss in
which colour counts more than brightness, and a picture's mean colour more again. At the end the latents' mean and
standard deviation are folded into the two 1x1 convolutions around them, so that latents times the scaling factor, which
is Stable Diffusion's, are of zero mean and unit variance.

Muon takes the convolutions: after 100 steps of 32 images its loss was lower than Adam's after 200.

    python -m tutorial_utils train vae

The run resumes from the state found in `--work`. 1,000 of the training images are held out for the log; the test set
is read once, at the end.
"""

from __future__ import annotations

import functools
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from torch import nn
from torchmetrics.functional.image import peak_signal_noise_ratio

from tutorial_utils.datasets.garments import COLOURS, SIDE, SPRITE, hue, place, stills, tint
from tutorial_utils.progress import each
from tutorial_utils.recipes.pictures import Pictures
from tutorial_utils.recipes.reports import write_report
from tutorial_utils.recipes.training import (
    Run,
    command,
    hybrid_optimizers,
    minutes_of,
    shortened,
    warmup_cosine,
)

SCALING_FACTOR = 0.18215
"""Latents times this are what networks learn; Stable Diffusion's VAE has the same."""


@dataclass(frozen=True)
class Recipe:
    """Every choice of the recipe. The learning rate is the peak of a warm-up and half-cosine schedule.

    During the first `tinted_steps` no still is grey, and colour weighs more: a network that has learned to answer in
    grey does not find its way to colours within any time that we could wait. `frame_weight` weighs frames, which are
    four fifths empty, against stills; `tinted_colour_weight` and then `colour_weight` the colour's part of the error,
    what is left without the mean of the channels; `hue_weight` the error of a picture's mean colour, which is its hue,
    and small, since a sprite covers a tenth of a frame; `kl_weight` the mean Kullback-Leibler divergence of a latent's
    element from a standard normal. Gradients longer than `clip` are shortened.
    """

    seed: int = 0
    held_out: int = 1_000
    widths: tuple[int, ...] = (8, 16, 64, 92)
    steps: int = 13_700
    tinted_steps: int = 1_000
    warmup: int = 300
    lr: float = 2e-3
    clip: float = 1.0
    grey_stills: int = 40
    tinted_stills: int = 24
    frames: int = 64
    frame_weight: float = 4.0
    tinted_colour_weight: float = 4.0
    colour_weight: float = 1.0
    hue_weight: float = 50.0
    kl_weight: float = 1e-5
    ema_decay: float = 0.999


def build(widths: tuple[int, ...] = Recipe.widths) -> AutoencoderKL:
    """The network: three halvings of the side, one residual block for each width. Most of its weights are where the
    side is short, so that they cost little time.

    Its latents start with a spread of exp(-3). With the usual spread of 1 the tint, which is a weak signal at first,
    drowns in noise, and the network settles for grey.
    """
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=widths,
        layers_per_block=1,
        norm_num_groups=2,
        mid_block_add_attention=False,
        latent_channels=4,
        sample_size=SIDE,
        scaling_factor=SCALING_FACTOR,
    )
    with torch.no_grad():
        vae.quant_conv.bias[vae.config.latent_channels :] = -6.0  # the logarithm of the variance
    return vae


@functools.cache
def palette(device: torch.device) -> torch.Tensor:
    """The six colours, (6, 3), on a device."""
    return torch.tensor(list(COLOURS.values())).to(device)


def any_tint(grey: torch.Tensor) -> torch.Tensor:
    """(N, 1, H, W) in one of the six colours each, with a little jitter so that the VAE learns more than six."""
    rgb = palette(grey.device)[torch.randint(len(COLOURS), (len(grey),), device=grey.device)]
    return tint(grey, (rgb + 0.1 * torch.randn_like(rgb)).clamp(0, 1))


def frames(grey: torch.Tensor) -> torch.Tensor:
    """Tinted sprites (N, 1, 28, 28) anywhere on a black canvas, (N, 3, 64, 64) in [0, 1]."""
    return place(any_tint(grey), *torch.randint(SIDE - SPRITE + 1, (2, len(grey)), device=grey.device))


def draw_batch(grey: torch.Tensor, recipe: Recipe) -> torch.Tensor:
    """A training batch in [-1, 1], (B, 3, 64, 64), from sprites (N, 1, 28, 28) in [0, 1]."""
    counts = [recipe.grey_stills, recipe.tinted_stills, recipe.frames]
    chosen = torch.randint(len(grey), (sum(counts),), device=grey.device)
    grey_stills, tinted_stills, sprites = grey[chosen].split(counts)
    drawn = [stills(grey_stills), any_tint(stills(tinted_stills)[:, :1]), frames(sprites)]
    return torch.cat(drawn) * 2 - 1


def loss_of(vae: AutoencoderKL, x: torch.Tensor, recipe: Recipe) -> torch.Tensor:
    """Squared error of the reconstruction, of its colour, and of its mean colour, and a touch of the divergence.

    Squared, not absolute: a third of the differences between two colour channels is zero, and an absolute error pulls
    so hard towards the median that the network stays grey.

    Args:
        x: (B, 3, 64, 64) in [-1, 1], a batch of `draw_batch`, whose last `recipe.frames` images are frames.
    """
    weights = torch.ones(len(x), device=x.device)
    weights[len(x) - recipe.frames :].fill_(recipe.frame_weight)
    posterior = vae.encode(x).latent_dist
    error = vae.decode(posterior.sample()).sample.float() - x
    colour = error - error.mean(1, keepdim=True)
    errors = (error.square() + recipe.colour_weight * colour.square()).mean((1, 2, 3))
    hue = colour.mean((2, 3)).square().mean(1)
    divergence = posterior.kl().mean() / posterior.mean[0].numel()
    return (weights * errors + recipe.hue_weight * hue).mean() + recipe.kl_weight * divergence


@torch.no_grad()
def reconstruct(vae: AutoencoderKL, images: torch.Tensor, batch_size: int = 100) -> torch.Tensor:
    """Images (N, 3, 64, 64) in [0, 1] through the VAE and back, by the mean of the posterior; clipped to [0, 1]."""
    batches = each(images.split(batch_size), "reconstructing", "batches")
    back = [vae.decode(vae.encode(x * 2 - 1).latent_dist.mode()).sample for x in batches]
    return (torch.cat(back) / 2 + 0.5).clamp(0, 1)


@torch.no_grad()
def normalise_latents(vae: AutoencoderKL, images: torch.Tensor, batch_size: int = 100) -> None:
    """Make scaled latents of zero mean and unit variance per channel, by changing the two convolutions around them.

    Args:
        images: (N, 3, 64, 64) in [0, 1], on which mean and variance are taken.
    """
    batches = each(images.split(batch_size), "encoding", "batches")
    latents = torch.cat([vae.encode(x * 2 - 1).latent_dist.mode() for x in batches])
    mean, std = latents.mean((0, 2, 3)), latents.std((0, 2, 3)) * vae.config.scaling_factor
    channels = len(mean)
    into, out = vae.quant_conv, vae.post_quant_conv
    out.bias += out.weight[:, :, 0, 0] @ mean
    out.weight *= std[None, :, None, None]
    into.weight[:channels] /= std[:, None, None, None]
    into.bias[:channels] = (into.bias[:channels] - mean) / std
    into.bias[channels:] -= 2 * std.log()  # these rows are the logarithm of the posterior's variance


def held_out_of(count: int, recipe: Recipe) -> int:
    """How many of so many training images are held out: a fifth at most."""
    return min(recipe.held_out, count // 5)


def train(recipe: Recipe, grey: torch.Tensor, work: Path, device: torch.device) -> Run:
    """Train on sprites (N, 1, 28, 28) in [0, 1]; `run.average` are the weights to keep."""
    order = torch.randperm(len(grey), generator=torch.Generator().manual_seed(recipe.seed))
    chosen, others = order.tensor_split([held_out_of(len(grey), recipe)])
    held_out, fit = grey[chosen], grey[others].to(device)
    torch.manual_seed(recipe.seed)
    layout = torch.channels_last if device.type == "cpu" else torch.contiguous_format  # the faster one on each
    model = build(recipe.widths).to(device, memory_format=layout)
    optimizers = hybrid_optimizers(model, recipe.lr, weight_decay=0.0, blocks="block", betas=(0.9, 0.99))
    run = Run(work / "vae.pt", model, optimizers, recipe, recipe.clip)
    torch.manual_seed(recipe.seed)
    kinds = {"stills": stills(held_out).to(device), "frames": frames(held_out).to(device)}

    all_stills = recipe.grey_stills + recipe.tinted_stills
    tinted = replace(recipe, grey_stills=0, tinted_stills=all_stills, colour_weight=recipe.tinted_colour_weight)

    def loss(recipe: Recipe, model: nn.Module) -> torch.Tensor:
        return loss_of(model, draw_batch(fit, recipe).contiguous(memory_format=layout), recipe)

    first, later = partial(loss, tinted), partial(loss, recipe)
    run.fit(
        recipe.steps,
        rate_at=lambda step: recipe.lr * warmup_cosine(step, recipe.steps, recipe.warmup),
        loss_at=lambda step: first if step < recipe.tinted_steps else later,
        measure=lambda model: progress(model, kinds),
        every=max(1, recipe.steps // 40),
    )
    return run


def progress(vae: nn.Module, kinds: dict[str, torch.Tensor]) -> dict[str, float]:
    """For each kind of images (N, 3, 64, 64) the peak signal-to-noise ratio of all in dB; and the frames' hue error."""
    after = {kind: reconstruct(vae, images) for kind, images in kinds.items()}
    figures = {
        f"psnr_{kind}": peak_signal_noise_ratio(after[kind], images, data_range=1.0).item()
        for kind, images in kinds.items()
    }
    return figures | {"hue_error": hue_error(after["frames"], kinds["frames"])}


# --- What ships ---------------------------------------------------------------------------------------------------


CARD = """\
---
{front}library_name: diffusers
---

# {title}

A variational autoencoder of {parameters:,} parameters that turns a 64x64 RGB image into an 8x8 latent of 4 channels
and back, as Stable Diffusion's does with larger images. It was trained by the recipe of two lessons.
Load it with `diffusers` alone:

```python
AutoencoderKL.from_pretrained(folder)
```

| | |
|---|---|
| input | 64x64 RGB in [-1, 1] |
| latent | 8x8x4, times the scaling factor {scaling_factor} of zero mean and unit variance in each channel |
| weights | stored in half precision, used in single |
| data | {said}: {fitted:,} training images, as enlarged stills, and as tinted sprites on black |
| recipe | {command}, seed {seed} |
| training | {steps:,} steps of {batch} images, {minutes:.0f} minutes on {device} |
| **PSNR, stills** | **{psnr_stills:.1f} dB** on the {tested:,} test images |
| **PSNR, frames** | **{psnr_frames:.1f} dB** on the {tested:,} test images; on the sprite alone {psnr_sprites:.1f} dB |
| hue | off by {hue:.1f} degrees on average, over the sprite |

`training.csv` has the loss and the PSNR on held-out images during training, `metrics.json` all numbers of this card and
every setting of the recipe.

**Limits.** It knows {looks}, and six tints, and nothing else:
any other picture comes back as a blur.
"""


@torch.no_grad()
def judge(folder: Path, grey: torch.Tensor) -> dict:
    """What test images (N, 1, 28, 28) say of a saved folder."""
    vae = AutoencoderKL.from_pretrained(folder).eval().to(memory_format=torch.channels_last)
    torch.manual_seed(0)
    kinds = {"stills": stills(grey), "frames": frames(grey)}
    scores = progress(vae, kinds)
    after = reconstruct(vae, kinds["frames"])
    inside = kinds["frames"].amax(1, keepdim=True).expand(-1, 3, -1, -1) > 0
    error = (after - kinds["frames"])[inside].square().mean()
    batches = each(kinds["stills"].split(100), "encoding", "batches")
    latents = torch.cat([vae.encode(x * 2 - 1).latent_dist.mode() for x in batches])
    latents *= vae.config.scaling_factor
    return scores | {
        "psnr_sprites": -10 * error.log10().item(),
        "latent_mean": latents.mean((0, 2, 3)).tolist(),
        "latent_std": latents.std((0, 2, 3)).tolist(),
        "parameters": sum(p.numel() for p in vae.parameters()),
        "scaling_factor": vae.config.scaling_factor,
    }


def hue_error(got: torch.Tensor, expected: torch.Tensor) -> float:
    """Mean distance in degrees between the hues of two batches (N, 3, H, W), each image's hue taken as a whole."""
    distance = (hue(got) - hue(expected)).abs()
    return torch.minimum(distance, 360 - distance).mean().item()


def export(run: Run, images: torch.Tensor, pictures: Pictures, share: float, out: Path) -> None:
    """Write the checkpoint as `save_pretrained` does, with its card, its curve and its measurements."""
    fitted = len(pictures.train[1])
    vae = run.average.cpu().eval()
    normalise_latents(vae, images)
    vae.half().save_pretrained(out)
    recipe = run.recipe
    metrics = judge(out, pictures.test[0]) | {"training_minutes": minutes_of(run.rows), "recipe": asdict(recipe)}
    card = CARD.format(
        **metrics,
        front=pictures.front,
        title=pictures.title("VAE-mini"),
        said=pictures.said,
        looks=pictures.looks,
        command=pictures.command("vae", share),
        fitted=fitted - held_out_of(fitted, recipe),
        tested=len(pictures.test[1]),
        batch=recipe.grey_stills + recipe.tinted_stills + recipe.frames,
        steps=recipe.steps,
        seed=recipe.seed,
        minutes=metrics["training_minutes"],
        hue=metrics["hue_error"],
        device=" and ".join(run.devices),
    )
    write_report(out, run.rows, metrics, card)


def main(out: Path, work: Path, device: torch.device, pictures: Pictures | None = None, share: float = 1.0) -> None:
    """Train VAE-mini."""
    pictures, recipe = pictures or Pictures.of_garments(), shortened(Recipe(), share)
    grey = pictures.train[0]
    run = train(recipe, grey, work, device)
    torch.manual_seed(recipe.seed)
    as_stills, as_frames = grey[:4_000].chunk(2)
    export(run, torch.cat([stills(as_stills), frames(as_frames)]), pictures, share, out)


if __name__ == "__main__":
    command(main)
