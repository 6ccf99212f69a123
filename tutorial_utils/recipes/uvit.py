"""U-ViT-mini: a `UViT` that generates Fashion-MNIST's garments by class, in the latents of VAE-mini (lesson 3).

The recipe is U-ViT's own (Bao et al. 2023, https://arxiv.org/abs/2209.12152): it predicts the noise, under Stable
Diffusion's schedule, with the class left out of a tenth of the batch. Three things make it small: patches of 2x2, so
that an image is 16 tokens; the loss weighted by min-SNR (Hang et al. 2023, https://arxiv.org/abs/2303.09556), which
spends less on the last traces of noise; and Muon for the matrices. Its weights are also kept on the way, from when it
knew little, so that one can see what the steps have bought.

    python -m tutorial_utils train uvit

The run resumes from the state found in `--work`. Everything is learned from the training images, of which none is held
out; the test set is read once, at the end. ViT-mini judges garments alone: of own pictures less can be measured.
"""

from __future__ import annotations

import functools
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from PIL import Image
from torch import Tensor, nn
from torchmetrics.functional.image import peak_signal_noise_ratio

from tutorial_utils.assets.store import fetch
from tutorial_utils.datasets.fashion_mnist import FASHION_CLASSES
from tutorial_utils.datasets.garments import shrink, stills
from tutorial_utils.datasets.images import as_bytes, grid
from tutorial_utils.measures.metrics import (
    class_agreement,
    frechet_distance,
    frechet_distances,
    load_judge,
    nearest_in_class,
    spread,
)
from tutorial_utils.networks.uvit import UViT, load_uvit
from tutorial_utils.progress import each
from tutorial_utils.recipes.pictures import Pictures
from tutorial_utils.recipes.reports import write_report
from tutorial_utils.recipes.training import (
    Loss,
    Run,
    cached,
    command,
    hybrid_optimizers,
    load_state,
    minutes_of,
    noise_table,
    save_state,
    shortened,
    stratified_times,
    warmup_cosine,
)
from tutorial_utils.sampling import by_class
from tutorial_utils.sampling.by_class import SETTINGS
from tutorial_utils.sampling.diffusion import STABLE_DIFFUSION, Settings, make_scheduler, sample_seed
from tutorial_utils.sampling.sampler import Sampler

NULL = len(FASHION_CLASSES)

SAMPLES = 5_000
"""So many are measured, as many of each class; of own pictures 500."""


@dataclass(frozen=True)
class Recipe:
    """Every choice of the recipe. The learning rate is the peak of a warm-up and half-cosine schedule."""

    seed: int = 0
    embed_dim: int = 160
    depth: int = 6
    num_heads: int = 5
    steps: int = 24_800
    batch_size: int = 1_024
    warmup: int = 300
    lr: float = 2e-3
    weight_decay: float = 0.03
    drop_label: float = 0.1
    snr_limit: float = 5.0
    ema_decay: float = 0.9995
    kept_after: tuple[float, ...] = (0.01, 0.05, 0.25)


def build(recipe: Recipe, classes: int = len(FASHION_CLASSES)) -> UViT:
    """The network, whose last label means no class: 16 patches of 2x2 latent pixels."""
    return UViT(
        img_size=8,
        patch_size=2,
        in_chans=4,
        embed_dim=recipe.embed_dim,
        depth=recipe.depth,
        num_heads=recipe.num_heads,
        num_classes=classes + 1,
        conv=True,
    )


@torch.no_grad()
def encode(vae: AutoencoderKL, grey: Tensor, batch_size: int = 200) -> Tensor:
    """Latents (N, 4, 8, 8), the posterior's means, of grey sprites (N, 1, 28, 28) in [0, 1] as stills."""
    batches = (stills(batch) * 2 - 1 for batch in each(grey.split(batch_size), "encoding", "batches"))
    means = [
        vae.encode(x.to(vae.device, memory_format=torch.channels_last)).latent_dist.mode().float() for x in batches
    ]
    return torch.cat(means).contiguous() * vae.config.scaling_factor


def loss_of(network: nn.Module, latents: Tensor, labels: Tensor, recipe: Recipe, null: int = NULL) -> Tensor:
    """The weighted squared error of the predicted noise, over one batch; label `null` means no class.

    Times are stratified, one from each of N equal parts of 1 to 1,000: so the loss varies less from batch to batch.
    """
    index = stratified_times(len(latents), latents.device)
    signal, noise = shares(latents.device)[:, index, None, None, None]
    epsilon = torch.randn_like(latents)
    dropped = torch.rand(len(latents), device=latents.device) < recipe.drop_label
    predicted = network(signal * latents + noise * epsilon, index + 1.0, labels.masked_fill(dropped, null))
    ratio = (signal / noise) ** 2
    return ((ratio.clamp(max=recipe.snr_limit) / ratio) * (predicted - epsilon) ** 2).mean()


SCHEDULER = make_scheduler("ddim", STABLE_DIFFUSION)
shares = functools.cache(functools.partial(noise_table, SCHEDULER))


def train(recipe: Recipe, pictures: Pictures, vae: AutoencoderKL, work: Path, device: torch.device) -> Run:
    """Train; `run.average` are the weights to keep, and `work` holds those of the way, see `snapshot`."""
    grey, labels = pictures.train
    vae = vae.to(device)
    latents = cached(work / "latents.pt", lambda: {"latents": encode(vae, grey).cpu()})["latents"].to(device)
    labels = labels.to(device)
    torch.manual_seed(recipe.seed)
    network = build(recipe, len(pictures.names)).to(device)
    run = Run(work / "uvit.pt", network, hybrid_optimizers(network, recipe.lr, recipe.weight_decay, "block"), recipe)
    judge = None if pictures.folder else load_judge()
    reference = stills(grey[:2_000])
    kept = {round(share * recipe.steps): share for share in recipe.kept_after}

    def loss(network: nn.Module) -> Tensor:
        chosen = torch.randint(len(latents), (recipe.batch_size,), device=device)
        return loss_of(network, latents[chosen], labels[chosen], recipe, len(pictures.names))

    def loss_at(step: int) -> Loss:
        if step in kept:
            save_state(snapshot(work, kept[step]), run.average.state_dict())
        return loss

    def measure(network: UViT) -> dict:
        images, wanted = garments(by_class.sampler(network, vae), 500)
        return {
            "class_agreement": class_agreement(judge, images, wanted),
            "frechet_distance": frechet_distance(judge, images, reference),
        }

    run.fit(
        recipe.steps,
        rate_at=lambda step: recipe.lr * warmup_cosine(step, recipe.steps, recipe.warmup),
        loss_at=loss_at,
        measure=(lambda _: {}) if pictures.folder else measure,
        every=max(1, recipe.steps // 8),
    )
    return run


def snapshot(work: Path, share: float) -> Path:
    """The file of the averaged weights after this share of the steps."""
    return work / f"uvit-after-{share:.0%}.pt"


def garments(
    sampler: Sampler, count: int, settings: Settings = SETTINGS["mini"], classes: int = len(FASHION_CLASSES)
) -> tuple[Tensor, Tensor]:
    """`count` images (N, 3, 64, 64), as many of each class, and their labels."""
    labels, batches = torch.arange(count) % classes, torch.arange(count).split(sampler.batch_size)
    seeds = [[sample_seed(0, k) for k in batch.tolist()] for batch in batches]
    made = [
        sampler.samples(labels[batch], own, settings)
        for batch, own in each([*zip(batches, seeds, strict=True)], "sampling", "batches")
    ]
    return torch.cat(made), labels


def decoded(sampler: Sampler, latents: Tensor) -> Tensor:
    """Images (N, 3, 64, 64) of latents (N, 4, 8, 8)."""
    return torch.cat([sampler.decode(batch) for batch in each(latents.split(200), "decoding", "batches")])


# --- What ships ---------------------------------------------------------------------------------------------------


CARD = """\
---
{front}library_name: diffusers
---

# {title}

A U-ViT of {parameters:,} parameters that generates {one} of the class you ask for, in the latents of VAE-mini. It
was trained for a lesson. {use}

| | |
|---|---|
| latent | 8x8x4, 16 patches of 2x2; with time and class 18 tokens |
| network | {blocks} blocks of width {width}, {heads} heads; half of them joined by long skips |
| weights | stored in half precision, used in single |
| predicts | the noise, under Stable Diffusion's schedule; label {null} is "no class" |
| data | {said}: all {fitted:,} training images |
| recipe | {command}, seed {seed} |
| training | {steps:,} steps of {batch} latents, {minutes:.0f} minutes on {device} |
| sampled with | {sampler} |
| VAE-mini alone | gives the {tested:,} test images, as stills, back at {vae_psnr:.1f} dB |
{judged}
Copies? The nearest training image of its class is {sample_to_nearest:.3f} away from a sample (root mean square,
median of {samples:,}), and {test_to_nearest:.3f} from a test image passed through the VAE: copies would be much nearer
than that.{spreads}

`training.csv` has the loss{figures} during training, `metrics.json` all numbers of this card and every setting of the
recipe.

**Limits.** {limits}
"""

JUDGED = """\
| **class agreement** | **{class_agreement:.1%}** of {samples:,} samples, as ViT-mini judges |

Fréchet distances to the 10,000 test images, in ViT-mini's features; they compare with each other and with nothing
published:

| {samples:,} images | distance |
|---|---|
| training images (the floor) | {floor:.2f} |
| the same through VAE-mini (the VAE's share) | {vae:.2f} |
| **U-ViT-mini** | **{generated:.2f}** |
| U-ViT-mini without guidance | {unguided:.2f} |
| one Gaussian for each class in latent space (a baseline) | {gaussian:.2f} |
"""

USE = "Load it with `tutorial_utils.networks.uvit.UViT.from_pretrained(folder)`."

OWN_USE = """Draw with it, where `folder` is this one; VAE-mini lies beside it, in `vae`:

```sh
python -m tutorial_utils sample uvit --checkpoint folder --out samples
```"""

LIMITS = """\
Ten kinds of garment, grey, upright and centred. Guidance makes typical garments and leaves the odd
ones out."""

OWN_LIMITS = """\
It generates grey pictures of these classes, `samples.png` has eight of each, and nobody has judged
them: ViT-mini, which judges garments, does not know them. VAE-mini has learned from garments only, and what it does not
keep of other pictures is lost. Guidance makes typical pictures and leaves the odd ones out."""

SPREADS = """ Spread of the features within
a class: {spread:.2f}, without guidance {unguided_spread:.2f}, of test images {test_spread:.2f}."""


@torch.inference_mode()
def judge_samples(network: UViT, vae: AutoencoderKL, pictures: Pictures) -> dict:
    """All measurements of the card; they read the test set."""
    (grey, labels), (test_grey, test_labels) = pictures.train, pictures.test
    test_grey, test_labels = test_grey[:SAMPLES], test_labels[:SAMPLES]
    sampler = by_class.sampler(network, vae)
    count = min(500, SAMPLES) if pictures.folder else SAMPLES  # a median needs fewer than a Fréchet distance
    images, wanted = garments(sampler, count, classes=len(pictures.names))
    through = decoded(sampler, encode(vae, test_grey))
    return {
        "samples": count,
        "vae_psnr": peak_signal_noise_ratio(through, stills(test_grey), data_range=1.0).item(),
        "sample_to_nearest": nearest_in_class(shrink(images), wanted, grey, labels)[0].median().item(),
        "test_to_nearest": nearest_in_class(shrink(through), test_labels, grey, labels)[0].median().item(),
        "parameters": sum(p.numel() for p in network.parameters()),
    } | ({} if pictures.folder else judge_garments(sampler, encode(vae, grey), images, pictures))


def judge_garments(sampler: Sampler, latents: Tensor, images: Tensor, pictures: Pictures) -> dict:
    """What ViT-mini says of samples, and of what they are compared with. It knows garments only.

    Args:
        latents: of the training images.
        images: the samples, as `garments` makes them.
    """
    judge, (grey, labels), (test_grey, test_labels) = load_judge(), pictures.train, pictures.test
    test, count = stills(test_grey), len(images)
    unguided, wanted = garments(sampler, count, replace(SETTINGS["mini"], guidance_scale=1.0))
    sets = {
        "floor": stills(grey[:count]),
        "vae": decoded(sampler, latents[:count]),
        "generated": images,
        "unguided": unguided,
        "gaussian": decoded(sampler, gaussian_latents(latents, labels, wanted)),
    }
    measures = {
        "class_agreement": lambda: class_agreement(judge, images, wanted),
        "unguided_class_agreement": lambda: class_agreement(judge, unguided, wanted),
        "test_class_agreement": lambda: class_agreement(judge, test, test_labels),
        "frechet_distance": lambda: frechet_distances(judge, sets, test),
        "spread": lambda: spread(judge.features(images), wanted),
        "unguided_spread": lambda: spread(judge.features(unguided), wanted),
        "test_spread": lambda: spread(judge.features(test), test_labels),
    }
    return {name: measures[name]() for name in each([*measures], "judging", "measures")}


def gaussian_latents(latents: Tensor, labels: Tensor, wanted: Tensor) -> Tensor:
    """A latent for each label in `wanted` (M,), from one Gaussian per class fitted to latents (N, C, H, W)."""
    drawn = torch.empty(len(wanted), *latents.shape[1:])
    source = torch.Generator().manual_seed(0)
    for label in wanted.unique():
        flat = latents[labels == label].flatten(1).double()
        root = torch.linalg.cholesky(flat.T.cov() + 1e-6 * torch.eye(flat.shape[1]))
        own = (wanted == label).nonzero()[:, 0]
        normal = torch.randn(len(own), flat.shape[1], generator=source, dtype=torch.float64)
        drawn[own] = (flat.mean(0) + normal @ root.T).float().view(-1, *latents.shape[1:])
    return drawn


def export(run: Run, vae: AutoencoderKL, pictures: Pictures, share: float, out: Path) -> None:
    """Write the checkpoint as `save_pretrained` does, with its card, its curve and its measurements."""
    run.average.cpu().half().save_pretrained(out)
    network = load_uvit(out)  # what ships is what is judged, in single precision again
    metrics = judge_samples(network, vae, pictures) | {
        "classes": list(pictures.names),
        "training_minutes": minutes_of(run.rows),
        "settings": asdict(SETTINGS["mini"]),
        "recipe": asdict(run.recipe),
    }
    write_report(out, run.rows, metrics, card(metrics, pictures, share, run.devices))
    if pictures.folder:  # lesson 3, which shows the garments, does not know them
        classes = len(pictures.names)
        images, _ = garments(by_class.sampler(network, vae), 8 * classes, classes=classes)
        Image.fromarray(grid(as_bytes(images), classes)).save(out / "samples.png")
        vae.half().save_pretrained(out / "vae")  # as it is stored itself; a later VAE-mini may have other latents


def export_snapshots(recipe: Recipe, work: Path, out: Path) -> None:
    """Put the weights of the way beside the finished ones, in half precision, for `networks.uvit.load_snapshots`.

    A training of a few steps only has fewer of them.
    """
    for path in (snapshot(work, share) for share in recipe.kept_after):
        if weights := load_state(path):
            save_state(out / path.name, {name: weight.half() for name, weight in weights.items()})


def card(metrics: dict, pictures: Pictures, share: float, devices: list[str]) -> str:
    """The model card, with measured numbers only."""
    recipe, settings = metrics["recipe"], Settings(**metrics["settings"])
    judged = {} if pictures.folder else {"judged": JUDGED, "spreads": SPREADS}
    known = metrics | metrics.get("frechet_distance", {})
    return CARD.format(
        **metrics,
        **{part: judged.get(part, "").format(**known) for part in ("judged", "spreads")},
        front=pictures.front,
        title=pictures.title("U-ViT-mini"),
        one=pictures.one,
        said=pictures.said,
        use=OWN_USE if pictures.folder else USE,
        limits=OWN_LIMITS if pictures.folder else LIMITS,
        figures="" if pictures.folder else ", the agreement and the distance (of 500 samples only, hence larger)",
        command=pictures.command("uvit", share),
        fitted=len(pictures.train[1]),
        tested=len(pictures.test[1][:SAMPLES]),
        null=len(pictures.names),
        blocks=recipe["depth"] + 1,
        width=recipe["embed_dim"],
        heads=recipe["num_heads"],
        seed=recipe["seed"],
        steps=recipe["steps"],
        batch=recipe["batch_size"],
        minutes=metrics["training_minutes"],
        device=" and ".join(devices),
        sampler=str(settings),
    )


def main(out: Path, work: Path, device: torch.device, pictures: Pictures | None = None, share: float = 1.0) -> None:
    """Train U-ViT-mini."""
    pictures = pictures or Pictures.of_garments()
    vae = AutoencoderKL.from_pretrained(fetch("vae", "mini")).eval().requires_grad_(False)
    vae.register_to_config(_name_or_path="vae-mini")  # diffusers would write down where on this machine it was
    run = train(shortened(Recipe(), share), pictures, vae, work, device)
    export(run, vae.cpu(), pictures, share, out)
    export_snapshots(run.recipe, work, out)


if __name__ == "__main__":
    command(main)
