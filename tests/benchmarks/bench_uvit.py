"""Lesson 3: what its sampling settings cost for the same quality, and what the network's attention and guidance cost.

python tests/benchmarks/bench_uvit.py [--samples 2000]

On two processor cores: about ten minutes, most of them for the baseline's hundred evaluations per image.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from statistics import median

from timing import headline, in_turn
from tutorial_utils import runtime
from tutorial_utils.datasets import garments
from tutorial_utils.datasets.fashion_mnist import fashion_mnist_tensors
from tutorial_utils.measures import metrics
from tutorial_utils.networks.uvit import IMAGENET256_HUGE, Attention, Block, UViT
from tutorial_utils.sampling import by_class
from tutorial_utils.sampling.by_class import SETTINGS
from tutorial_utils.sampling.diffusion import EVERYWHERE, guided, sample_seed
from tutorial_utils.sampling.sampler import Sampler

import torch
from einops import rearrange
from torch import Tensor, nn

ROUNDS = 7


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=2000)
    options = parser.parse_args()
    runtime.use_threads()
    runtime.quiet_libraries()
    network, vae, names = by_class.load("mini", torch.device("cpu"))
    network_cost(network)
    quality_cost(by_class.sampler(network, vae), len(names), options.samples)


def quality_cost(sampler: Sampler, classes: int, count: int) -> None:
    """Fréchet distance, evaluations and seconds of the lesson's settings, against fifty steps guided everywhere."""
    ours = SETTINGS["mini"]
    published = replace(ours, scheduler="dpm-single", steps=50, guidance_interval=EVERYWHERE)
    judge, test = metrics.load_judge(), garments.stills(fashion_mnist_tensors("test")[0])
    labels = torch.arange(count) % classes
    seeds = [sample_seed(3, k) for k in range(count)]
    cases = {"published": published, "ours": ours}
    images, seconds, evaluations = {}, {}, {}
    for name, settings in cases.items():
        started = time.perf_counter()
        images[name] = sampler.samples(labels, seeds, settings)
        seconds[name] = time.perf_counter() - started
        *_, end = sampler.steps(labels[:1], seeds[:1], settings)
        evaluations[name] = end.evaluations
    distances = metrics.frechet_distances(judge, images, test)
    for name in cases:
        print(
            f"{name:10} {evaluations[name]:4} evaluations, {1000 * seconds[name] / count:6.1f} ms an image, Fréchet "
            f"distance {distances[name]:.3f}, agreement {metrics.class_agreement(judge, images[name], labels):.1%}"
        )
    measures = {"Fréchet distance": distances, "evaluations": evaluations, "time": seconds}
    ratios = ", ".join(f"{word} {found['ours'] / found['published']:.2f} x" for word, found in measures.items())
    headline("lesson 3: its settings against fifty steps, guided everywhere", ratios)


def network_cost(mini: UViT) -> None:
    """Forward and training step of our network, against softmax written out and guidance in two evaluations."""
    huge = {"dim": IMAGENET256_HUGE["embed_dim"], "num_heads": IMAGENET256_HUGE["num_heads"]}
    x, times = torch.randn(16, 4, 8, 8), torch.full((16,), 500.0)
    labels = torch.arange(16) % 10
    tokens = torch.randn(4, 258, huge["dim"])
    block = Block(**huge, mlp_ratio=4, qkv_bias=False, skip=False)
    cases = {
        "mini, guided evaluation of 16": (mini, lambda: guided(mini, x, times, labels, 10, 2.0)),
        "mini, training step of 16": (mini, lambda: mini(x, times, labels).square().mean().backward()),
        "huge block, forward, 4 x 258 tokens": (block, lambda: block(tokens)),
        "huge block, training step, 4 x 258 tokens": (block, lambda: block(tokens).square().mean().backward()),
    }
    for name, (network, call) in cases.items():
        network.requires_grad_("training" in name)
        plain_call = two_evaluations(mini, x, times, labels) if "guided" in name else call
        seconds = in_turn(
            {
                "ours": with_attention(network, Attention, call),
                "plain": with_attention(network, PlainAttention, plain_call),
            },
            ROUNDS,
        )
        ours, plain = median(seconds["ours"]), median(seconds["plain"])
        print(f"{name:42} {1000 * ours:7.1f} ms, plain {1000 * plain:7.1f} ms: {plain / ours:.2f} x as fast")


class PlainAttention(Attention):
    """Attention with the weights written out, the baseline."""

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = rearrange(self.qkv(x), "n l (three h d) -> three n h l d", three=3, h=self.num_heads)
        weights = (q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5).softmax(-1)
        return self.proj(rearrange(weights @ v, "n h l d -> n l (h d)"))


def with_attention(network: nn.Module, kind: type, call):
    """`call` with every attention layer of the network made one of `kind`."""

    def run() -> None:
        for module in network.modules():
            if isinstance(module, Attention):
                module.__class__ = kind
        call()

    return run


def two_evaluations(network: UViT, x: Tensor, times: Tensor, labels: Tensor):
    """Guidance with one evaluation after the other."""

    def run() -> None:
        conditional = network(x, times, labels)
        unconditional = network(x, times, torch.full_like(labels, network.null_label))
        unconditional + 2.0 * (conditional - unconditional)

    return run


if __name__ == "__main__":
    main()
