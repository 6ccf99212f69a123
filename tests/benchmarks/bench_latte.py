"""Lesson 4: what its sampling settings cost for the same adherence, and how attention grows with a clip.

python tests/benchmarks/bench_latte.py [--prompts 96]

On two processor cores: about ten minutes, most of them for the baseline's hundred evaluations for each clip.
"""

from __future__ import annotations

import argparse
import ctypes
import math
import time
from dataclasses import replace
from pathlib import Path
from statistics import median

from timing import headline, in_turn
from tutorial_utils import runtime
from tutorial_utils.assets.store import fetch
from tutorial_utils.datasets import moving
from tutorial_utils.measures import adherence, metrics
from tutorial_utils.sampling import latte, latte_model
from tutorial_utils.sampling.diffusion import Settings, sample_seed
from tutorial_utils.sampling.latte_config import load_config

import torch
from diffusers import LatteTransformer3DModel, PyramidAttentionBroadcastConfig
from einops import rearrange
from torch import Tensor

CONFIG = Path(__file__).parents[2] / "notebooks" / "configs" / "latte_mini.yaml"
ROUNDS = 3
M_MMAP_THRESHOLD = -3  # glibc's name for the size from which a block is the system's own


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prompts", type=int, default=96)
    options = parser.parse_args()
    runtime.use_threads()
    runtime.quiet_libraries()
    growth()
    adherence_cost(options.prompts)


def adherence_cost(count: int) -> None:
    """Adherence, evaluations and seconds of the lesson's settings and of others, against the pipeline's defaults."""
    config = load_config(CONFIG)
    pipeline = latte_model.load_pipeline(config, "mini", torch.device("cpu"))
    clips, judge = latte.Clips(pipeline, config.frames), metrics.load_judge()
    scenes = moving.draw_scenes(count, torch.Generator().manual_seed(21), held_out=False)
    texts, seeds = moving.captions(scenes), [sample_seed(22, k) for k in range(count)]
    ours = config.settings
    default = Settings(scheduler="ddim", steps=50, guidance_scale=7.5)
    cases = {
        "pipeline's defaults": default,
        "the lesson's": ours,
        "the lesson's, guided at high noise": replace(ours, guidance_interval=(0.5, math.inf)),
        "the lesson's, by ddim": replace(ours, scheduler="ddim"),
        "the lesson's, by unipc": replace(ours, scheduler="unipc"),
        "half the lesson's steps": replace(ours, steps=max(1, ours.steps // 2)),
    }
    results = {name: measured(clips, judge, texts, seeds, scenes, settings, name) for name, settings in cases.items()}
    cached(clips, judge, texts, seeds, scenes, default)
    (slow, many, theirs), (fast, few, mine) = results["pipeline's defaults"], results["the lesson's"]
    change = ", ".join(f"{name} {100 * (mine[name] - theirs[name]):+.0f}" for name in mine)
    headline(
        "lesson 4: its settings against the pipeline's defaults",
        f"time {fast / slow:.2f} x, evaluations {few / many:.2f} x; in points: {change}",
    )


def measured(clips, judge, texts, seeds, scenes, settings: Settings, name: str) -> tuple[float, int, dict]:
    """Seconds for all clips, evaluations for each, and the rates; printed as well."""
    prompts = latte.encode(clips.pipeline, texts)
    started = time.perf_counter()
    videos = clips.videos(prompts, seeds, settings)
    seconds = time.perf_counter() - started
    *_, end = clips.sampler(prompts[:1]).steps(torch.tensor([0]), seeds[:1], settings)
    rates = adherence.judge_videos(judge, videos, scenes).rates()
    words = ", ".join(f"{key} {rate:.0%}" for key, rate in rates.items())
    print(f"{name:32} {end.evaluations:4} evaluations, {seconds / len(texts):5.2f} s a clip: {words}")
    return seconds, end.evaluations, rates


def cached(clips, judge, texts, seeds, scenes, settings: Settings) -> None:
    """The defaults with Pyramid Attention Broadcast (Zhao et al. 2024, https://arxiv.org/abs/2408.12588).

    Spatial attention only: with both ranges set, its pattern for spatial blocks matches the temporal ones too.
    """
    now = {"time": 0}
    transformer = clips.pipeline.transformer
    remember = transformer.register_forward_pre_hook(lambda _, inputs: now.update(time=int(inputs[1][0])))
    transformer.enable_cache(
        PyramidAttentionBroadcastConfig(
            spatial_attention_block_skip_range=2, current_timestep_callback=lambda: now["time"]
        )
    )
    try:
        measured(clips, judge, texts, seeds, scenes, settings, "defaults, attention broadcast")
    finally:
        transformer.disable_cache()
        remember.remove()


def growth() -> None:
    """Seconds and memory of one evaluation as clips grow, with random weights, against joint attention."""
    print(
        "One evaluation of Latte-mini's network for other clips, random weights, against joint attention in each block:"
    )
    for frames, side in ((4, 8), (8, 8), (16, 8), (32, 8), (8, 16), (8, 32), (16, 32)):
        transformer = network(frames, side)
        x, time_of, text = torch.randn(1, 4, frames, side, side), torch.tensor([500]), torch.randn(1, 8, 64)
        cases = {
            "factorised": lambda t=transformer, inputs=(x, time_of, text): factorised(t, *inputs),
            "joint": lambda t=transformer, inputs=(x, time_of, text): joint(t, *inputs),
        }
        memory = {name: peak_memory(call) for name, call in cases.items()}
        seconds = {name: median(found) for name, found in in_turn(cases, ROUNDS).items()}
        print(
            f"{frames:3} frames, latents {side:2}x{side:<2}: {1000 * seconds['factorised']:7.1f} ms and "
            f"{memory['factorised']:6.1f} MB more; joint {seconds['joint'] / seconds['factorised']:5.2f} x the time, "
            f"{memory['joint'] / max(memory['factorised'], 0.1):5.2f} x the memory"
        )


@torch.no_grad()
def factorised(transformer: LatteTransformer3DModel, x: Tensor, time_of: Tensor, text: Tensor) -> None:
    """The network as it is."""
    transformer(x, time_of, text)


@torch.no_grad()
def joint(transformer: LatteTransformer3DModel, x: Tensor, time_of: Tensor, text: Tensor) -> None:
    """The same blocks, each over all tokens of the clip at once."""
    tokens = transformer.pos_embed(rearrange(x, "n c f h w -> (n f) c h w"))
    tokens = rearrange(tokens, "(n f) s d -> n (f s) d", n=len(x))
    sizes = {"resolution": None, "aspect_ratio": None}
    times, _ = transformer.adaln_single(time_of, sizes, batch_size=len(x), hidden_dtype=x.dtype)
    memory = transformer.caption_projection(text)
    for spatial, temporal in zip(transformer.transformer_blocks, transformer.temporal_transformer_blocks, strict=True):
        tokens = temporal(spatial(tokens, encoder_hidden_states=memory, timestep=times), timestep=times)
    transformer.proj_out(transformer.norm_out(tokens))


def peak_memory(call) -> float:
    """How many MB the process held at most during the call, beyond what it held before (Linux with glibc only)."""
    libc = ctypes.CDLL(None)
    libc.mallopt(M_MMAP_THRESHOLD, 2**16)  # a large block goes back to the system when it is freed, and is seen again
    call()
    libc.malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    before = _status("VmRSS")
    call()
    peak = _status("VmHWM") - before
    libc.mallopt(M_MMAP_THRESHOLD, 2**25)
    return max(0.0, peak)


def _status(field: str) -> float:
    line = next(row for row in Path("/proc/self/status").read_text().splitlines() if row.startswith(field))
    return int(line.split()[1]) / 1000


def network(frames: int, side: int) -> LatteTransformer3DModel:
    """Latte-mini's transformer for other clips, with random weights."""
    torch.manual_seed(0)
    folder = fetch("latte", "mini") / "transformer"
    config = LatteTransformer3DModel.load_config(folder) | {"sample_size": side, "video_length": frames}
    return LatteTransformer3DModel.from_config(config | {"caption_channels": 64}).eval()


if __name__ == "__main__":
    main()
