"""The published models of lessons 3 and 4 at their real sizes, with random weights, on any device.

Under ``torch.device("meta")`` they take no memory, and say what they would take.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from tutorial_utils.networks.uvit import IMAGENET256_HUGE, UViT
from tutorial_utils.sampling.by_class import DECODED_PLACES
from tutorial_utils.sampling.latte import DECODED_FRAMES, MAX_TOKENS

import torch
from diffusers import AutoencoderKL, AutoencoderKLTemporalDecoder, LatteTransformer3DModel
from torch import nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import T5Config, T5EncoderModel

CONFIGURATIONS = Path(__file__).parents[1] / "full" / "published"

T5_XXL = {"d_model": 4096, "d_kv": 64, "d_ff": 10240, "num_heads": 64, "num_layers": 24, "vocab_size": 32128}
"""T5 v1.1 XXL (https://huggingface.co/google/t5-v1_1-xxl), whose encoder is Latte-1's."""

TEMPORAL = {"block_out_channels": (128, 256, 512, 512), "down_block_types": ("DownEncoderBlock2D",) * 4}
"""Stable Video Diffusion's decoder (https://arxiv.org/abs/2311.15127), which lies beside Latte-1's VAE."""


def configuration(name: str) -> dict:
    return json.loads((CONFIGURATIONS / name).read_text(encoding="utf-8"))


def uvit() -> UViT:
    """U-ViT-H/2."""
    return UViT(**IMAGENET256_HUGE)


def vae() -> AutoencoderKL:
    """sd-vae-ft-ema."""
    return AutoencoderKL.from_config(configuration("sd-vae-ft-ema.json"))


def transformer() -> LatteTransformer3DModel:
    """Latte-1's."""
    return LatteTransformer3DModel.from_config(configuration("latte-1.transformer.json"))


def text_encoder() -> T5EncoderModel:
    """Latte-1's."""
    return T5EncoderModel(T5Config(feed_forward_proj="gated-gelu", **T5_XXL))


def temporal_decoder() -> AutoencoderKLTemporalDecoder:
    """Latte-1's."""
    return AutoencoderKLTemporalDecoder(layers_per_block=2, **TEMPORAL)


# --- Memory, computed ---------------------------------------------------------------------------------------------

PIECES_GB = 0.3
"""What is lost between tensors. What CUDA itself takes is gone already when a card asks how much is free."""


DECODED = (DECODED_FRAMES, 4, 64, 64)
"""Latents of 512x512 pixels that Latte-1 decodes at once."""


def latte_gb(precision: torch.dtype, offload: bool) -> float:
    """What a GPU has to hold at most for a clip of Latte-1 as lesson 4 makes it; under offload, one part at a time."""
    with torch.device("meta"):
        networks = [network().to("meta") for network in (text_encoder, transformer, temporal_decoder)]
        weights = [weights_gb(network, precision) for network in networks]
        text, video, decoder = (network.to(precision) for network in networks)
        work = [
            activations_gb(lambda: text(torch.zeros(1, MAX_TOKENS, dtype=torch.int64))),
            activations_gb(lambda: video(*video_inputs(precision))),
            activations_gb(lambda: decoder.decode(torch.zeros(*DECODED, dtype=precision), num_frames=DECODED[0])),
        ]
    alone = [kept + made for kept, made in zip(weights, work, strict=True)]
    return PIECES_GB + (max(alone) if offload else sum(weights) + max(work))


def video_inputs(precision: torch.dtype) -> tuple[torch.Tensor, ...]:
    """A guided evaluation for one clip: latents, times and text."""
    latents, text = torch.zeros(2, 4, 16, 64, 64, dtype=precision), torch.zeros(2, MAX_TOKENS, 4096, dtype=precision)
    return latents, torch.zeros(2, dtype=torch.int64), text


def uvit_gb(images: int) -> float:
    """What a GPU has to hold at most for images of U-ViT-H/2, sampled together with guidance, in single precision."""
    with torch.device("meta"):
        network, decoder = uvit(), vae()
        x, labels = torch.zeros(2 * images, 4, 32, 32), torch.zeros(2 * images, dtype=torch.int64)
        work = [
            activations_gb(lambda: network(x, torch.zeros(2 * images), labels)),
            activations_gb(lambda: decoder.decode(torch.zeros(DECODED_PLACES // 32**2, 4, 32, 32))),
        ]
    return PIECES_GB + weights_gb(network, torch.float32) + weights_gb(decoder, torch.float32) + max(work)


def weights_gb(network: nn.Module, precision: torch.dtype) -> float:
    """What a network's weights take; in float16, transformers keeps those of T5 that would overflow in float32."""
    kept = getattr(network, "_keep_in_fp32_modules", None) or () if precision == torch.float16 else ()
    large = sum(p.numel() for name, p in network.named_parameters() if set(kept) & set(name.split(".")))
    return (precision.itemsize * sum(p.numel() for p in network.parameters()) + 2 * large) / 1e9


def activations_gb(call: Callable[[], object]) -> float:
    """The most memory that tensors take which are made during a call, on the meta device.

    Attention is counted with all of its weights: fused kernels, which never write them down, are not chosen there.
    """
    with torch.no_grad(), LiveTensors() as live:
        call()
    return live.peak / 1e9


class LiveTensors(TorchDispatchMode):
    """Adds up the sizes of all tensors that exist at a time; `peak` is the largest sum, in bytes."""

    def __enter__(self) -> LiveTensors:
        self.peak, self._live = 0, {}
        return super().__enter__()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        given = {storage._cdata for storage in _storages((args, kwargs))}
        for storage in _storages(result):
            if storage._cdata not in given:  # a view of what was there, such as of a weight, takes nothing
                self._live[storage._cdata] = StorageWeakRef(storage), storage.nbytes()
        self._live = {key: held for key, held in self._live.items() if not held[0].expired()}
        self.peak = max(self.peak, sum(size for _, size in self._live.values()))
        return result


def _storages(tree: object) -> list[torch.UntypedStorage]:
    return [one.untyped_storage() for one in tree_leaves(tree) if isinstance(one, torch.Tensor)]
