"""Exercises of lesson 1: patches, attention, and what an attention map is worth."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import Tensor

from tutorial_utils import checks
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


def one_row_of_patches(side: int, patch: int) -> int:
    """That is one row of patches, without [CLS]: an image has as many rows as columns, and one token more joins."""
    return side // patch


def cls_in_each_row(side: int, patch: int) -> int:
    """[CLS] joins once, and not in each row and column."""
    return (side // patch + 1) ** 2


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


def first_row_alone(image: Tensor, patch: int) -> Tensor:
    """Only the first row of patches arrived: is the `return` inside of the loop?"""
    return torch.stack([corner.flatten() for corner in _tiles(image, patch)[0]])


def without_steps(image: Tensor, patch: int) -> Tensor:
    """Your patches overlap: both loops go in steps of `patch`."""
    return image.unfold(1, patch, 1).unfold(2, patch, 1).permute(1, 2, 0, 3, 4).flatten(2).flatten(0, 1)


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
    """The scores grow with d: something has to keep them in bounds."""
    return (q @ k.mT).softmax(-1) @ v


def scaled_twice(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Divide by the square root of d, not by d."""
    return (q @ k.mT / q.shape[-1]).softmax(-1) @ v


def over_the_queries(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Your weights sum to one over the tokens that look; they must over those that are looked at."""
    return (q @ k.mT / q.shape[-1] ** 0.5).softmax(0) @ v


def over_the_whole_table(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Each row of weights must sum to one, not the whole table."""
    scores = q @ k.mT / q.shape[-1] ** 0.5
    return scores.flatten().softmax(0).reshape(scores.shape) @ v


def scaled_by_tokens(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """T is the number of tokens; divide by the root of d, how many numbers one of them has."""
    return (q @ k.mT / len(q) ** 0.5).softmax(-1) @ v


def weights_alone(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Those are the weights. What does each token collect with them?"""
    return (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1)


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
    """You have read what goes out of [CLS], its column; what comes in is its row."""
    return (_mixed(second) @ _mixed(first))[1:, 0]


def no_residual(first: Tensor, second: Tensor) -> Tensor:
    """The residual connection is missing: half of what a token has next is what it had."""
    return (second.mean(0) @ first.mean(0))[0, 1:]


def with_cls(first: Tensor, second: Tensor) -> Tensor:
    """[CLS] itself is no patch: leave its own share out."""
    return (_mixed(second) @ _mixed(first))[0]


def heads_added(first: Tensor, second: Tensor) -> Tensor:
    """The heads are averaged, not added."""
    return rollout(len(first) * first.mean(0, keepdim=True), len(second) * second.mean(0, keepdim=True))


def one_head(first: Tensor, second: Tensor) -> Tensor:
    """That is one head: average all of them."""
    return rollout(first[:1], second[:1])


def number_by_number(first: Tensor, second: Tensor) -> Tensor:
    """`*` multiplies number by number; the layers follow one another by a matrix product, `@`."""
    return (_mixed(second) * _mixed(first))[0, 1:]


def last_left_out(first: Tensor, second: Tensor) -> Tensor:
    """You have left out the last patch; [CLS] is token 0."""
    return (_mixed(second) @ _mixed(first))[0, :-1]


def _mixed(layer: Tensor) -> Tensor:
    return (layer.mean(0) + torch.eye(layer.shape[-1])) / 2


def two_layers() -> dict[str, tuple]:
    return {
        "two heads, three tokens": tuple(normal(2, 3, 3, seed=seed).softmax(-1) for seed in (1, 2)),
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


def row_alone(side: int, patch: int, stride: int) -> int:
    """That is one row: an image has as many rows as columns."""
    return (side - patch) // stride + 1


def cls_counted(side: int, patch: int, stride: int) -> int:
    """Only patches are asked for, not [CLS]."""
    return overlapping(side, patch, stride) + 1


def parts_counted(side: int, patch: int, stride: int) -> float:
    """Whole patches only: `//` rounds down."""
    return ((side - patch) / stride + 1) ** 2


STRIDES = {
    "32 pixels, patches of 8, every 8": (32, 8, 8),
    "224 pixels, patches of 16, every 8": (224, 16, 8),
    "33 pixels, patches of 7, every 3": (33, 7, 3),
}

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
def _accuracy(kept: Tensor | None = None, silent: tuple[int, ...] = ()) -> float:
    """ViT-mini's accuracy on those images with some of the tokens only, and without the attention of some layers.

    Args:
        kept: places (500, K) of the tokens that stay, [CLS] being 0; None for all.
        silent: layers, from 0.
    """
    model, photos, labels = _garments()
    x = model.vit.embeddings(photos)
    if kept is not None:
        x = torch.take_along_dim(x, kept[..., None], dim=1)
    for number, block in enumerate(model.vit.layers):
        x = x + block.mlp(block.layernorm_after(x)) if number in silent else block(x, None)
    return (model.classifier(model.vit.layernorm(x)[:, 0]).argmax(1) == labels).float().mean().item()


def shown() -> tuple[Tensor]:
    """Those images, for a ranking."""
    return (_garments()[1].clone(),)


def without_the_highest(given: Tensor) -> tuple[float, str]:
    """Accuracy after the patches with the highest scores (N, 64) were removed."""
    scores = torch.as_tensor(given)
    if scores.shape != (500, 2 * REMOVED) or scores.isnan().any():
        raise ValueError(f"one score for each patch is expected, (N, 64) without nan; got {tuple(scores.shape)}.")
    if (scores.sort(1).values == torch.arange(2 * REMOVED)).all():
        raise ValueError("your scores are places in a ranking: give each patch its score, the sorting is done here.")
    kept = torch.nn.functional.pad(scores.argsort(dim=1, descending=True)[:, REMOVED:] + 1, (1, 0))
    rate = _accuracy(kept)
    removed = f"without the {REMOVED} patches of the highest scores"
    return rate, f"{removed}, {rate:.1%} of 500 images are right, and at most 55% may be."


def without_two_layers(chosen: tuple[int, int]) -> tuple[float, str]:
    """Accuracy without the attention of two layers, counted from 1."""
    layers = np.unique(checks.plain(chosen)).tolist()
    if len(layers) != 2 or not set(layers) <= set(range(1, 7)):
        raise ValueError(f"two different layers of 1 to 6 are expected, such as (1, 2); you gave {chosen!r}.")
    rate = _accuracy(silent=tuple(number - 1 for number in layers))
    silenced = f"without the attention of layers {layers[0]} and {layers[1]}"
    return rate, f"{silenced}, {rate:.1%} of 500 images are right, and at least 88% should be."


EXERCISES = {
    "1.1": Exercise(tokens, lambda: SIZES, (without_cls, one_row, one_row_of_patches, cls_in_each_row, pixels)),
    "1.2": Exercise(cut, images, (down_the_columns, colours_last, transposed, first_row_alone, without_steps)),
    "1.3": Exercise(
        attend,
        few_tokens,
        (
            unscaled,
            scaled_twice,
            scaled_by_tokens,
            over_the_queries,
            over_the_whole_table,
            no_softmax,
            weights_alone,
            keys_ask,
        ),
    ),
    "1.4": Exercise(
        rollout,
        two_layers,
        (
            wrong_order,
            column_of_cls,
            no_residual,
            with_cls,
            heads_added,
            one_head,
            number_by_number,
            last_left_out,
        ),
    ),
    "1.5": Exercise(
        overlapping,
        lambda: STRIDES,
        (first_forgotten, over_the_edge, no_overlap, row_alone, cls_counted, parts_counted),
    ),
    "1.6": Investigation(
        without_the_highest,
        shown,
        at_most=0.55,
        advice="Patches in random order leave about 90%. Which patches of a garment's picture tell least?",
    ),
    "1.7": Investigation(
        without_two_layers,
        at_least=0.88,
        advice="Alone each may be hardly missed: measure the pairs, with both layers silent at once.",
    ),
}
