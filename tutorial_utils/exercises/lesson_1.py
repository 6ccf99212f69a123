"""Exercises of lesson 1: patches, attention, and what an attention map is worth."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor

from tutorial_utils.exercises.checking import Exercise, Investigation, normal

# --- 1.1 How many tokens? ---------------------------------------------------------------------------------------------


def tokens(side: int, patch: int) -> int:
    """The length of a ViT's sequence for a square image, in pixels, with [CLS]."""
    return (side // patch) ** 2 + 1


def without_cls(side: int, patch: int) -> int:
    """[CLS] is a token as well."""
    return (side // patch) ** 2


def one_row(side: int, patch: int) -> int:
    """That is one row of patches: an image has as many rows as columns."""
    return side // patch + 1


def pixels(side: int, patch: int) -> int:
    """That counts pixels, not patches."""
    return side**2 + 1


SIZES = {"224 pixels, patches of 16": (224, 16), "32 pixels, patches of 4": (32, 4), "512 pixels, of 16": (512, 16)}

# --- 1.2 Patches by loops ---------------------------------------------------------------------------------------------


def cut(image: Tensor, patch: int) -> Tensor:
    """(C, H, W) to (L, C * patch * patch): patches in reading order; in each, channels first, then rows."""
    return torch.stack([corner.flatten() for row in _tiles(image, patch) for corner in row])


def down_the_columns(image: Tensor, patch: int) -> Tensor:
    """Your patches run down the columns; reading order goes along a row first."""
    return torch.stack([corner.flatten() for column in zip(*_tiles(image, patch), strict=True) for corner in column])


def colours_last(image: Tensor, patch: int) -> Tensor:
    """Inside a patch the colours come first: all red values, then all green ones."""
    return torch.stack([corner.permute(1, 2, 0).flatten() for row in _tiles(image, patch) for corner in row])


def transposed(image: Tensor, patch: int) -> Tensor:
    """Inside a patch, rows and columns have changed places."""
    return torch.stack([corner.mT.flatten() for row in _tiles(image, patch) for corner in row])


def _tiles(image: Tensor, patch: int) -> list[list[Tensor]]:
    return [list(row.split(patch, dim=2)) for row in image.split(patch, dim=1)]


def images() -> dict[str, tuple]:
    return {
        "a grey image of 2 x 2 patches": (torch.arange(16.0).reshape(1, 4, 4), 2),
        "a wide colour image": (normal(3, 4, 6), 2),
        "a single patch": (normal(3, 3, 3), 3),
    }


# --- 1.3 Attention of a few tokens ------------------------------------------------------------------------------------


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Queries, keys and values, (T, d) each, to what each token collects, (T, d)."""
    return (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1) @ v


def unscaled(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """The scores grow with the length of the vectors: something has to keep them in bounds."""
    return (q @ k.mT).softmax(-1) @ v


def scaled_twice(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Divide by the square root of the length, not by the length."""
    return (q @ k.mT / q.shape[-1]).softmax(-1) @ v


def over_the_queries(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Your weights sum to one over the tokens that look; they must over those that are looked at."""
    return (q @ k.mT / q.shape[-1] ** 0.5).softmax(0) @ v


def no_softmax(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Scores are no weights yet: they can be negative, and do not sum to one."""
    return q @ k.mT / q.shape[-1] ** 0.5 @ v


def keys_ask(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Queries and keys have changed places: who asks whom?"""
    return (k @ q.mT / q.shape[-1] ** 0.5).softmax(-1) @ v


def few_tokens() -> dict[str, tuple]:
    return {
        "three tokens of two numbers": tuple(normal(3, 2, seed=seed) for seed in (1, 2, 3)),
        "four tokens of eight numbers": tuple(normal(4, 8, seed=seed) for seed in (4, 5, 6)),
        "large scores": tuple(5 * normal(3, 4, seed=seed) for seed in (7, 8, 9)),
    }


# --- 1.4 Rollout of two layers ----------------------------------------------------------------------------------------


def rollout(first: Tensor, second: Tensor) -> Tensor:
    """Attention of two layers, (heads, T, T) each, to how much of each patch reaches [CLS], (T - 1)."""
    return (_mixed(second) @ _mixed(first))[0, 1:]


def wrong_order(first: Tensor, second: Tensor) -> Tensor:
    """Which layer comes first? What [CLS] reads in the second has been mixed in the first."""
    return (_mixed(first) @ _mixed(second))[0, 1:]


def column_of_cls(first: Tensor, second: Tensor) -> Tensor:
    """You have read what goes out of [CLS], its column; asked is what comes in, its row."""
    return (_mixed(second) @ _mixed(first))[1:, 0]


def no_residual(first: Tensor, second: Tensor) -> Tensor:
    """The residual connection is missing: half of what a token has next is what it had."""
    return (second.mean(0) @ first.mean(0))[0, 1:]


def with_cls(first: Tensor, second: Tensor) -> Tensor:
    """[CLS] itself is no patch: leave its own share out."""
    return (_mixed(second) @ _mixed(first))[0]


def _mixed(layer: Tensor) -> Tensor:
    return (layer.mean(0) + torch.eye(layer.shape[-1])) / 2


def two_layers() -> dict[str, tuple]:
    return {
        "one head, three tokens": tuple(normal(1, 3, 3, seed=seed).softmax(-1) for seed in (1, 2)),
        "four heads, five tokens": tuple((2 * normal(4, 5, 5, seed=seed)).softmax(-1) for seed in (3, 4)),
    }


# --- 1.5 Overlapping patches ------------------------------------------------------------------------------------------


def overlapping(side: int, patch: int, stride: int) -> int:
    """How many whole patches a square image has if one begins every `stride` pixels."""
    return ((side - patch) // stride + 1) ** 2


def first_forgotten(side: int, patch: int, stride: int) -> int:
    """The first patch needs no step: count the places where one may begin."""
    return ((side - patch) // stride) ** 2


def over_the_edge(side: int, patch: int, stride: int) -> int:
    """Near the edge, a patch that begins does not fit any more."""
    return (side // stride) ** 2


def no_overlap(side: int, patch: int, stride: int) -> int:
    """That is without overlap: how far apart do two patches begin?"""
    return (side // patch) ** 2


STRIDES = {"no overlap": (32, 8, 8), "half a patch": (224, 16, 8), "a rest is left": (32, 7, 3)}

# --- 1.6 and 1.7 With ViT-mini ----------------------------------------------------------------------------------------

REMOVED = 32
"""How many of ViT-mini's 64 patches an image loses in exercise 1.6."""


@cache
def _garments() -> tuple:
    """ViT-mini, 500 test images as it takes them, (500, 3, 32, 32), and their labels."""
    from transformers import ViTForImageClassification, ViTImageProcessor

    from tutorial_utils.assets.store import fetch
    from tutorial_utils.datasets.fashion_mnist import fashion_mnist

    folder = fetch("vit", "mini")
    model = ViTForImageClassification.from_pretrained(folder).eval()
    photos, labels = (torch.from_numpy(part[:500]) for part in fashion_mnist("test"))
    photos = photos[:, None].expand(-1, 3, -1, -1)
    return model, ViTImageProcessor.from_pretrained(folder)(photos, return_tensors="pt").pixel_values, labels


@torch.inference_mode()
def _accuracy(keep: Callable[[Tensor], Tensor] | None = None, silent: tuple[int, ...] = ()) -> float:
    """ViT-mini's accuracy on those images with some of the tokens only, and without the attention of some layers.

    Args:
        keep: gives the places (N, K) of the tokens that stay, [CLS] being 0, for the images; None for all.
        silent: layers, from 0.
    """
    model, shown, labels = _garments()
    x = model.vit.embeddings(shown)
    if keep:
        x = torch.take_along_dim(x, keep(shown)[..., None], dim=1)
    for number, block in enumerate(model.vit.layers):
        x = x + block.mlp(block.layernorm_after(x)) if number in silent else block(x, None)
    return (model.classifier(model.vit.layernorm(x)[:, 0]).argmax(1) == labels).float().mean().item()


def without_the_highest(score: Callable[[Tensor], Tensor]) -> tuple[float, str]:
    """Accuracy after the patches with the highest scores were removed."""

    def keep(shown: Tensor) -> Tensor:
        scores = torch.as_tensor(score(shown.clone()))
        if scores.shape != (len(shown), 2 * REMOVED):
            raise ValueError(f"your scores have shape {tuple(scores.shape)}: one for each patch is due, (N, 64).")
        return torch.nn.functional.pad(scores.argsort(dim=1, descending=True)[:, REMOVED:] + 1, (1, 0))

    rate = _accuracy(keep)
    return rate, f"without the {REMOVED} patches of the highest scores, {rate:.1%} of 500 images are right."


def without_two_layers(choose: Callable[[], tuple[int, int]]) -> tuple[float, str]:
    """Accuracy without the attention of two layers, counted from 1."""
    chosen = choose()
    layers = sorted({*chosen} & {*range(1, 7)}) if isinstance(chosen, tuple | list | set) else []
    if len(layers) != 2 or len(chosen) != 2:
        raise ValueError(f"you gave {chosen!r}: two different layers of 1 to 6 are due, such as (1, 2).")
    rate = _accuracy(silent=tuple(number - 1 for number in layers))
    return rate, f"without the attention of layers {layers[0]} and {layers[1]}, {rate:.1%} of 500 images are right."


EXERCISES = {
    "1.1": Exercise(tokens, lambda: SIZES, (without_cls, one_row, pixels)),
    "1.2": Exercise(cut, images, (down_the_columns, colours_last, transposed)),
    "1.3": Exercise(attend, few_tokens, (unscaled, scaled_twice, over_the_queries, no_softmax, keys_ask)),
    "1.4": Exercise(rollout, two_layers, (wrong_order, column_of_cls, no_residual, with_cls)),
    "1.5": Exercise(overlapping, lambda: STRIDES, (first_forgotten, over_the_edge, no_overlap)),
    "1.6": Investigation(
        without_the_highest,
        at_most=0.55,
        advice="Patches in random order leave about 90%. Which patches of a garment's picture tell least?",
    ),
    "1.7": Investigation(
        without_two_layers, at_least=0.88, advice="They are missed. Silence each layer alone: which cost least?"
    ),
}
