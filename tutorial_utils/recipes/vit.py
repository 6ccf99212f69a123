"""ViT-mini: a `transformers` ViT that reads Fashion-MNIST, the miniature of lesson 1.

A Vision Transformer knows nothing of neighbouring pixels until it has learned it, and 60,000 images are
few to learn it from. So, as in DeiT (Touvron et al. 2021, https://arxiv.org/abs/2012.12877), a small
convolutional network is trained first and the transformer then learns from its answers. Both see the same
augmented views (Beyer et al. 2022, https://arxiv.org/abs/2106.05237). For most of the training the
transformer sees half of its patches, mostly such as are not empty (after PatchDropout, Liu et al. 2023,
https://arxiv.org/abs/2208.07220), which makes an epoch almost twice as fast; in the last epochs it sees whole images.

    python -m tutorial_utils train vit

The run resumes from the state found in `--work`. The best epoch is chosen on 5,000 images held out from the training
set; the test set is read once, at the end.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.metrics import confusion_matrix
from torch import nn
from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

from tutorial_utils.datasets.fashion_mnist import FASHION_CLASSES
from tutorial_utils.datasets.names import Names
from tutorial_utils.measures.intervals import Rate
from tutorial_utils.progress import each
from tutorial_utils.recipes.pictures import Pictures, cell
from tutorial_utils.recipes.reports import write_report
from tutorial_utils.recipes.training import (
    Loss,
    Run,
    command,
    hybrid_optimizers,
    minutes_of,
    shortened,
    warmup_cosine,
    words_for,
)

BatchLoss = Callable[[nn.Module, torch.Tensor, torch.Tensor], torch.Tensor]
"""What is minimised over a batch: ``loss_of(model, x, y)``."""


@dataclass(frozen=True)
class Recipe:
    """Every choice of the recipe. Rates are peak values of a warm-up and half-cosine schedule.

    An `epoch` has as many images as the course has to fit; fewer are repeated in it, each time in another view.
    """

    seed: int = 0
    held_out: int = 5_000
    epoch: int = 55_000
    batch_size: int = 128
    warmup_epochs: float = 0.5
    teacher_epochs: int = 10
    teacher_lr: float = 4e-3
    epochs: int = 20
    whole_epochs: int = 5
    lr: float = 3e-3
    weight_decay: float = 0.05
    patch_keep: float = 0.5
    distill_weight: float = 0.7
    refine_epochs: int = 5
    refine_lr: float = 1.5e-3
    refine_distill_weight: float = 0.4
    temperature: float = 2.0
    ema_decay: float = 0.998

    @property
    def length(self) -> int:
        """Images that the networks see, one after the other."""
        return self.epoch * (self.teacher_epochs + self.epochs + self.refine_epochs)

    def shortened(self, share: float) -> Recipe:
        """A share of it, as `training.shortened` has it. Where that rounds epochs up, they have fewer images."""
        short = shortened(self, share)
        images = round(short.epoch * min(1, share * self.length / short.length))
        return replace(short, epoch=max(short.batch_size, images))


@dataclass
class Split:
    """Images as the processor resized them, uint8 (N, 1, 32, 32), and labels, int64 (N,)."""

    images: torch.Tensor
    labels: torch.Tensor


def student_config(names: Names = FASHION_CLASSES) -> ViTConfig:
    """The architecture: 32x32 RGB in 64 patches of 4x4, six layers of width 128."""
    return ViTConfig(
        image_size=32,
        patch_size=4,
        num_channels=3,
        hidden_size=128,
        num_hidden_layers=6,
        num_attention_heads=4,
        intermediate_size=256,
        id2label=dict(enumerate(names)),
        label2id={name: i for i, name in enumerate(names)},
    )


def image_processor() -> ViTImageProcessor:
    """Resize to 32x32, then map 0..255 to [-1, 1], as the published ViT's processor does at 224."""
    return ViTImageProcessor(
        size={"height": 32, "width": 32}, image_mean=[0.5] * 3, image_std=[0.5] * 3, do_convert_rgb=True
    )


def as_rgb(grey: torch.Tensor) -> torch.Tensor:
    """Grey images (N, 1, H, W) in [0, 1] as a processor takes them, uint8 (N, 3, H, W)."""
    return (grey * 255).round().to(torch.uint8).expand(-1, 3, -1, -1)


def load_splits(recipe: Recipe, pictures: Pictures) -> tuple[Split, Split]:
    """The training set, resized once, in two parts: to fit, and held out to choose the checkpoint, a fifth at most."""
    grey, labels = pictures.train
    resize = image_processor()
    pixels = resize(as_rgb(grey), do_rescale=False, do_normalize=False, return_tensors="pt").pixel_values
    data = Split(pixels[:, :1].to(torch.uint8).contiguous(), labels)
    order = torch.from_numpy(np.random.default_rng(recipe.seed).permutation(len(labels)))
    held_out, fit = order.tensor_split([min(recipe.held_out, len(labels) // 5)])
    return Split(data.images[fit], data.labels[fit]), Split(data.images[held_out], data.labels[held_out])


def normalise(images: torch.Tensor) -> torch.Tensor:
    """uint8 (N, 1, H, W) to float in [-1, 1], the processor's normalisation."""
    return images.float() / 127.5 - 1


def augment(x: torch.Tensor, erase: bool = True) -> torch.Tensor:
    """A random flip, a shift of up to two pixels, a zoom of 5%, and a rectangle erased in a quarter of the images.

    Garments are centred and upright in this data set, so stronger distortions cost more epochs than we have.
    `x` is (N, 1, H, W) in [-1, 1]; what moves in from outside is black, like the background.
    """
    n, _, height, width = x.shape
    zoom = 1 + (torch.rand(n, device=x.device) - 0.5) * 0.1
    flip = torch.where(torch.rand(n, device=x.device) < 0.5, -1.0, 1.0)
    shift = (torch.rand(2, n, device=x.device) - 0.5) * 0.25
    none = torch.zeros_like(zoom)
    theta = torch.stack([zoom * flip, none, shift[0], none, zoom, shift[1]], dim=1).view(n, 2, 3)
    grid = F.affine_grid(theta, x.shape, align_corners=False)
    x = F.grid_sample(x + 1, grid, padding_mode="zeros", align_corners=False) - 1
    if not erase:
        return x

    size = torch.randint(4, 11, (2, n, 1), device=x.device)
    corner = (torch.rand(2, n, 1, device=x.device) * (height - size)).long()
    rows, columns = torch.arange(height, device=x.device), torch.arange(width, device=x.device)
    in_rows = (rows >= corner[0]) & (rows < corner[0] + size[0])
    in_columns = (columns >= corner[1]) & (columns < corner[1] + size[1])
    erased = in_rows[:, :, None] & in_columns[:, None, :] & (torch.rand(n, 1, 1, device=x.device) < 0.25)
    value = torch.rand(n, 1, 1, 1, device=x.device) * 2 - 1
    return torch.where(erased[:, None], value, x)


class Residual(nn.Module):
    """Two 3x3 convolutions beside a shortcut (He et al. 2016)."""

    def __init__(self, before: int, after: int, stride: int):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(before, after, 3, stride, 1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(inplace=True),
            nn.Conv2d(after, after, 3, 1, 1, bias=False),
            nn.BatchNorm2d(after),
        )
        same = before == after and stride == 1
        self.shortcut = nn.Identity() if same else nn.Conv2d(before, after, 1, stride, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.body(x) + self.shortcut(x))


def build_teacher(classes: int = len(FASHION_CLASSES)) -> nn.Sequential:
    """A small ResNet for (N, 1, 32, 32): the first convolution halves the side, because a CPU is waiting."""
    return nn.Sequential(
        nn.Conv2d(1, 48, 4, 2, 1, bias=False),
        nn.BatchNorm2d(48),
        nn.ReLU(inplace=True),
        Residual(48, 48, 1),
        Residual(48, 96, 2),
        Residual(96, 96, 1),
        Residual(96, 192, 2),
        nn.AdaptiveMaxPool2d(1),
        nn.Flatten(),
        nn.Dropout(0.2),
        nn.Linear(192, classes),
    )


def choose_patches(x: torch.Tensor, keep: float, patch_size: int) -> torch.Tensor:
    """Indices (N, K) of a random fraction `keep` of the patches of (N, 1, H, W), mostly of those that are not empty.

    Half of a garment's picture is black background, which is cheap to leave out.
    """
    brightest = F.max_pool2d(x, patch_size).flatten(1)
    score = torch.rand_like(brightest) + 0.7 * (brightest > -0.9)
    return score.topk(int(keep * score.shape[1])).indices


def student_logits(model: ViTForImageClassification, x: torch.Tensor, keep: float = 1.0) -> torch.Tensor:
    """Logits (N, classes) from grey images (N, 1, 32, 32), with a fraction `keep` of the patch tokens."""
    tokens = model.vit.embeddings(x.expand(-1, 3, -1, -1))
    if keep < 1:
        chosen = F.pad(choose_patches(x, keep, model.config.patch_size) + 1, (1, 0))  # [CLS], number 0, stays
        tokens = tokens.gather(1, chosen[..., None].expand(-1, -1, tokens.shape[-1]))
    for layer in model.vit.layers:
        tokens = layer(tokens, None)
    return model.classifier(model.vit.layernorm(tokens)[:, 0])


@torch.no_grad()
def accuracy(logits_of, data: Split, device: torch.device, batch_size: int = 500) -> float:
    """Fraction of `data` whose largest logit is the label's."""
    right = 0
    for x, y in zip(data.images.split(batch_size), data.labels.split(batch_size), strict=True):
        right += (logits_of(normalise(x.to(device))).argmax(1).cpu() == y).sum().item()
    return right / len(data.labels)


def order_of(epoch: int, count: int, recipe: Recipe) -> torch.Tensor:
    """Indices of an epoch's images among `count`, at least so many as it has: shuffled, and repeated equally often."""
    times = -(-recipe.epoch // count)
    return torch.randperm(times * count, generator=torch.Generator().manual_seed(recipe.seed * 1_000 + epoch)) % count


class EpochRun(Run):
    """A run with one row of the log per epoch, which remembers the epoch that was best on the held-out images."""

    def __init__(
        self, name: str, model: nn.Module, optimizers, peak_lr: float, epochs: int, recipe: Recipe, work: Path
    ):
        super().__init__(work / f"{name}.pt", model, optimizers, recipe)
        self.peak_lr, self.epochs = peak_lr, epochs
        self.best = self.best or {"held_out_accuracy": 0.0, "weights": None}

    @property
    def epoch_rows(self) -> list[dict]:
        """The log, with the network's name and the number of the epoch in each row."""
        rows = [{key: value for key, value in row.items() if key != "step"} for row in self.rows]
        return [{"network": self.path.stem, "epoch": epoch} | row for epoch, row in enumerate(rows, 1)]

    def fit_epochs(self, data: Split, held_out: Split, loss_in: Callable[[int], BatchLoss], logits_of) -> None:
        """Take the steps that are left.

        Args:
            loss_in: what an epoch minimises; one function for all epochs of a kind.
            logits_of: ``logits_of(model, x)``, for the accuracy on the held-out images.
        """
        size, count = self.recipe.batch_size, len(data.labels)
        steps = self.recipe.epoch // size
        images, labels = data.images.to(self.device), data.labels.to(self.device)
        batch = torch.empty(size, dtype=torch.int64, device=self.device)  # in one place: see `Repeated`
        order = functools.lru_cache(maxsize=1)(lambda epoch: order_of(epoch, count, self.recipe))

        @functools.cache
        def on_batch(loss_of: BatchLoss) -> Loss:
            return lambda model: loss_of(model, normalise(images[batch]), labels[batch])

        def loss_at(step: int) -> Loss:
            epoch, place = divmod(step, steps)
            batch.copy_(order(epoch)[place * size : (place + 1) * size])
            return on_batch(loss_in(epoch))

        self.fit(
            self.epochs * steps,
            rate_at=lambda step: (
                self.peak_lr * warmup_cosine(step, self.epochs * steps, int(self.recipe.warmup_epochs * steps))
            ),
            loss_at=loss_at,
            measure=lambda average: self._measure(average, held_out, logits_of),
            every=steps,
        )

    def _measure(self, average: nn.Module, held_out: Split, logits_of) -> dict:
        score = accuracy(lambda x: logits_of(average, x), held_out, self.device)
        if score >= self.best["held_out_accuracy"]:
            weights = {name: weight.clone() for name, weight in average.state_dict().items()}
            self.best = {"held_out_accuracy": score, "weights": weights}
        return {"held_out_accuracy": score}


def train_teacher(
    recipe: Recipe, names: Names, fit: Split, held_out: Split, work: Path, device: torch.device
) -> EpochRun:
    """The convolutional teacher; `run.best["weights"]` are its averaged weights."""
    torch.manual_seed(recipe.seed)
    model = build_teacher(len(names)).to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.teacher_lr, weight_decay=0.05)
    run = EpochRun("teacher", model, [optimizer], recipe.teacher_lr, recipe.teacher_epochs, recipe, work)

    def loss_of(model, x, y):
        return F.cross_entropy(model(augment(x)), y, label_smoothing=0.05)

    run.fit_epochs(fit, held_out, lambda epoch: loss_of, lambda model, x: model(x))
    return run


def train_student(
    recipe: Recipe, names: Names, teacher: nn.Module, fit: Split, held_out: Split, work: Path, device
) -> EpochRun:
    """The transformer, taught by the labels and by the teacher's softened answers."""
    torch.manual_seed(recipe.seed + 1)
    model = ViTForImageClassification(student_config(names)).to(device)
    optimizers = hybrid_optimizers(model, recipe.lr, recipe.weight_decay)
    run = EpochRun("student", model, optimizers, recipe.lr, recipe.epochs, recipe, work)

    def loss_of(whole, model, x, y):
        x = augment(x, erase=not whole)
        logits = student_logits(model, x, 1.0 if whole else recipe.patch_keep)
        return distillation_loss(logits, y, teacher(x), recipe.distill_weight, recipe.temperature)

    part, whole = partial(loss_of, False), partial(loss_of, True)  # at the end, what it will see in use
    first_whole = recipe.epochs - recipe.whole_epochs
    run.fit_epochs(fit, held_out, lambda epoch: whole if epoch >= first_whole else part, student_logits)
    return run


def refine_student(
    recipe: Recipe, student: EpochRun, teacher: nn.Module, fit: Split, held_out: Split, work: Path, device
) -> EpochRun:
    """A second, shorter cycle on whole images (Loshchilov and Hutter 2017, https://arxiv.org/abs/1608.03983).

    By now the student is nearly as good as its teacher, so the labels count for more.
    """
    torch.manual_seed(recipe.seed + 2)
    model = ViTForImageClassification(student.model.config).to(device)
    model.load_state_dict(student.best["weights"])
    optimizers = hybrid_optimizers(model, recipe.refine_lr, recipe.weight_decay)
    run = EpochRun("refined", model, optimizers, recipe.refine_lr, recipe.refine_epochs, recipe, work)

    def loss_of(model, x, y):
        x = augment(x, erase=False)
        weight = recipe.refine_distill_weight
        return distillation_loss(student_logits(model, x), y, teacher(x), weight, recipe.temperature)

    run.fit_epochs(fit, held_out, lambda epoch: loss_of, student_logits)
    return run


def distillation_loss(
    logits: torch.Tensor, labels: torch.Tensor, taught: torch.Tensor, weight: float, temperature: float
) -> torch.Tensor:
    """Cross-entropy with the labels and, by `weight`, with the teacher's softened answer (Hinton et al. 2015)."""
    target = F.softmax(taught.detach() / temperature, dim=1)
    soft = F.cross_entropy(logits / temperature, target) * temperature**2
    return weight * soft + (1 - weight) * F.cross_entropy(logits, labels)


@torch.no_grad()
def judge(folder: Path, pictures: Pictures) -> dict:
    """Test accuracy of a saved folder, whole and per class, through `transformers` alone."""
    model = ViTForImageClassification.from_pretrained(folder).eval()
    processor = ViTImageProcessor.from_pretrained(folder)
    grey, labels = pictures.test
    batches = (processor(as_rgb(batch), return_tensors="pt") for batch in each(grey.split(500), "judging", "batches"))
    predicted = torch.cat([model(**batch).logits.argmax(1) for batch in batches])
    counts = confusion_matrix(labels.numpy(), predicted.numpy(), labels=range(len(pictures.names)))
    return {
        "test_accuracy": counts.trace() / counts.sum(),
        "test_accuracy_per_class": dict(zip(pictures.names, counts.diagonal() / counts.sum(axis=1), strict=True)),
        "parameters": sum(p.numel() for p in model.parameters()),
    }


CARD = """\
---
{front}library_name: transformers
pipeline_tag: image-classification
metrics: [accuracy]
---

# {title}

A Vision Transformer of {parameters:,} parameters that tells {many} apart. It was trained for a lesson,
to be looked into; it is no good for anything else. Load it with `transformers` alone:

```python
ViTForImageClassification.from_pretrained(folder), ViTImageProcessor.from_pretrained(folder)
```

| | |
|---|---|
| input | 32x32 RGB (three equal channels), 64 patches of 4x4 |
| network | {layers} layers, width {width}, {heads} heads, MLP width {mlp} |
| data | {said}: {fitted:,} training images to fit, {held_out:,} to choose the epoch |
| teacher | a small ResNet trained by the same recipe, {teacher:.2%} on the held-out images; not shipped |
| recipe | {command}, seed {seed} |
| training | {epochs} epochs of {epoch:,} images, the teacher's included |
| training time | {minutes:.0f} minutes on {device} |
| held-out accuracy | {held_out_accuracy:.2%}, by which the epoch was chosen |
| **test accuracy** | **{test_accuracy:.2%}** of {tested:,} images, 95% interval {low:.1%} to {high:.1%} |

{classes}

`training.csv` has the loss and the held-out accuracy of every epoch, `metrics.json` all numbers of this card and every
setting of the recipe.

**Limits.** It has seen {looks}, 28x28 pixels enlarged to 32x32, and nothing else.
It gives a confident answer to any picture at all.{debatable}
"""


def export(
    run: EpochRun, rows: list[dict], counts: dict, pictures: Pictures, share: float, out: Path, device: torch.device
) -> None:
    """Write the checkpoint as `save_pretrained` does, with its card, its curve and its measurements.

    Args:
        counts: what else was measured, for the card.
    """
    model = ViTForImageClassification(student_config(pictures.names))
    model.load_state_dict(run.best["weights"])
    model.save_pretrained(out)
    image_processor().save_pretrained(out)
    metrics = judge(out, pictures) | {
        "held_out_accuracy": run.best["held_out_accuracy"],
        **counts,
        "training_minutes": minutes_of(rows),
        "recipe": asdict(run.recipe),
    }
    write_report(out, rows, metrics, card(metrics, len(rows), pictures, share, device))


def card(metrics: dict, epochs: int, pictures: Pictures, share: float, device: torch.device) -> str:
    """The model card, with measured numbers only."""
    config, recipe, tested = student_config(), metrics["recipe"], len(pictures.test[1])
    low, high = Rate(round(metrics["test_accuracy"] * tested), tested).interval
    members = pictures.test[1].bincount().tolist()
    shares = metrics["test_accuracy_per_class"].values()
    names = map(cell, pictures.names)
    rows = [f"| {name} | {right:.1%} of {count:,} |" for name, right, count in zip(names, shares, members, strict=True)]
    return CARD.format(
        front=pictures.front,
        title=pictures.title("ViT-mini"),
        many=pictures.many,
        said=pictures.said,
        looks=pictures.looks,
        command=pictures.command("vit", share),
        debatable="" if pictures.folder else " Many labels of the shirt and T-shirt classes are debatable.",
        parameters=metrics["parameters"],
        layers=config.num_hidden_layers,
        width=config.hidden_size,
        heads=config.num_attention_heads,
        mlp=config.intermediate_size,
        fitted=metrics["fitted"],
        held_out=metrics["held_out"],
        teacher=metrics["teacher_held_out_accuracy"],
        epochs=epochs,
        epoch=recipe["epoch"],
        tested=tested,
        low=low,
        high=high,
        seed=recipe["seed"],
        minutes=metrics["training_minutes"],
        device=words_for(device),
        held_out_accuracy=metrics["held_out_accuracy"],
        test_accuracy=metrics["test_accuracy"],
        classes="\n".join(["| class | test accuracy |", "|---|---|", *rows]),
    )


def main(out: Path, work: Path, device: torch.device, pictures: Pictures | None = None, share: float = 1.0) -> None:
    """Train ViT-mini."""
    pictures, recipe = pictures or Pictures.of_garments(), Recipe().shortened(share)
    names = pictures.names
    fit, held_out = load_splits(recipe, pictures)
    counts = {"fitted": len(fit.labels), "held_out": len(held_out.labels)}
    teacher = train_teacher(recipe, names, fit, held_out, work, device)
    counts["teacher_held_out_accuracy"] = teacher.best["held_out_accuracy"]
    network = build_teacher(len(names)).to(device, memory_format=torch.channels_last).eval()
    network.load_state_dict(teacher.best["weights"])
    network.requires_grad_(False)
    student = train_student(recipe, names, network, fit, held_out, work, device)
    refined = refine_student(recipe, student, network, fit, held_out, work, device)
    best = max(student, refined, key=lambda run: run.best["held_out_accuracy"])
    rows = [row for run in (teacher, student, refined) for row in run.epoch_rows]
    export(best, rows, counts, pictures, share, out, device)


if __name__ == "__main__":
    command(main)
