"""Where a transformer looks: its attention weights, of a ViT laid out over the image's patches.

Arguments that are not as described are a ValueError, which names them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from tutorial_utils import require
from tutorial_utils.networks.patches import as_pair

if TYPE_CHECKING:
    from diffusers.models.attention_processor import Attention
    from transformers import ViTForImageClassification


WEIGHTS = "layers N heads T T"
"""The axes of what `attention_weights` returns."""


@torch.no_grad()
def attention_weights(model: ViTForImageClassification, pixel_values: torch.Tensor) -> torch.Tensor:
    """Every attention matrix of a `transformers` ViT.

    The fused attention kernels never write the matrix down, so the plain implementation is switched on for
    this one call.

    Args:
        pixel_values: (N, C, H, W), as the image processor returns it: as large as the model's images, and finite.

    Returns:
        (layers, N, heads, T, T): the weight that the token of each row gives to the token of each column. Rows
        sum to 1; token 0 is [CLS], the others are the patches, row by row.
    """
    height, width = as_pair(model.config.image_size)
    layout = f"N {model.config.num_channels} {height} {width}"
    require.floats("pixel_values", pixel_values, layout, least=1, within=require.FINITE)
    fused = model.config._attn_implementation
    model.set_attn_implementation("eager")
    try:
        return torch.stack(model(pixel_values, output_attentions=True).attentions)
    finally:
        model.set_attn_implementation(fused)


@contextmanager
def recorded(attention: Attention) -> Iterator[list[torch.Tensor]]:
    """Write down the weights of an attention layer of `diffusers`, whose fused kernels never do.

    Yields:
        a list that gets one tensor (N, heads, T, S) for each call inside the ``with`` block: the weight that each of T
        tokens gives to each of S. Rows sum to 1.
    """
    from diffusers.models.attention_processor import AttnProcessor

    fused, scores, weights = attention.processor, attention.get_attention_scores, []

    def note(*inputs: torch.Tensor | None) -> torch.Tensor:
        found = scores(*inputs)
        weights.append(found.unflatten(0, (-1, attention.heads)).detach())
        return found

    attention.set_processor(AttnProcessor())  # the plain implementation, which asks for the scores
    attention.get_attention_scores = note
    try:
        yield weights
    finally:
        del attention.get_attention_scores
        attention.set_processor(fused)


def cls_attention(weights: torch.Tensor, grid: tuple[int, int], layer: int = -1) -> torch.Tensor:
    """What [CLS] attends to, per head, laid out as the image's patches.

    Args:
        weights: (layers, N, heads, T, T), from `attention_weights`.
        grid: rows and columns of patches, from `patches.patch_grid`.

    Returns:
        (N, heads, rows, columns). A map sums to 1 minus what [CLS] gives to itself.
    """
    require.floats("weights", weights, WEIGHTS)
    require.whole("layer", layer, -len(weights), len(weights) - 1)
    return _as_grid(weights[layer, :, :, 0, 1:], grid)


def attention_rollout(weights: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
    """How much of each patch reaches [CLS] through all layers (Abnar and Zuidema 2020, https://arxiv.org/abs/2005.00928).

    Heads are averaged; each layer's matrix is mixed half and half with the identity, for the residual connection;
    the layers' matrices are multiplied.

    Args:
        weights: (layers, N, heads, T, T), from `attention_weights`.
        grid: rows and columns of patches, from `patches.patch_grid`.

    Returns:
        (N, rows, columns). A map sums to 1 minus what remains of [CLS] itself.
    """
    require.floats("weights", weights, WEIGHTS)
    tokens = weights.shape[-1]
    identity = torch.eye(tokens, dtype=weights.dtype, device=weights.device)
    reached = identity.expand(weights.shape[1], tokens, tokens)
    for layer in weights.mean(dim=2):
        reached = (layer + identity) / 2 @ reached
    return _as_grid(reached[:, 0, 1:], grid)


def _as_grid(patch_weights: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
    """(..., rows * columns) to (..., rows, columns); a wrong number of patches is named."""
    rows, columns = as_pair(grid, "grid")
    if patch_weights.shape[-1] != rows * columns:
        raise ValueError(
            f"The attention covers {patch_weights.shape[-1]} patches, but grid={grid} has {rows * columns}: "
            "use that of the model that made it."
        )
    return patch_weights.unflatten(-1, (rows, columns))
