"""Lesson 1's inference: what threads and fused attention are worth, as ratios against a baseline of the same run.

python tests/benchmarks/bench_vit.py
"""

from __future__ import annotations

import statistics

from timing import headline, in_turn
from tutorial_utils import runtime
from tutorial_utils.assets.store import fetch

import torch
from transformers import ViTForImageClassification

IMAGES, ROUNDS = 250, 7


def main() -> None:
    """Print the images per second of each variant, and its ratio to one thread with plain attention."""
    runtime.quiet_libraries()
    model = ViTForImageClassification.from_pretrained(fetch("vit")).eval()
    side = model.config.image_size
    pixels = torch.rand(IMAGES, model.config.num_channels, side, side) * 2 - 1
    variants = [(threads, kind) for kind in ("eager", "sdpa") for threads in range(1, runtime.cores() + 1)]
    seconds = in_turn(
        {variant: lambda variant=variant: forward(model, pixels, *variant) for variant in variants}, ROUNDS
    )
    baseline = statistics.median(seconds[1, "eager"])
    for (threads, kind), times in seconds.items():
        middle = statistics.median(times)
        ratio = baseline / middle
        print(f"{threads} thread(s), {kind:5} attention: {IMAGES / middle:7.0f} images/s, {ratio:.2f} x the baseline")
    headline("lesson 1: images a second against one thread and plain attention", f"{ratio:.2f} x")


@torch.inference_mode()
def forward(model: ViTForImageClassification, pixels: torch.Tensor, threads: int, attention: str) -> None:
    """Classify all images once."""
    runtime.use_threads(threads)
    model.set_attn_implementation(attention)
    model(pixels)


if __name__ == "__main__":
    main()
