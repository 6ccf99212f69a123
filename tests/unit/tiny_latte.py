"""A LattePipeline with random weights, of the miniature's form but smaller: what it draws is noise, but its own."""

import re

import pytest
import torch
from diffusers import AutoencoderKL, LattePipeline
from torch import nn

from tutorial_utils.assets.store import fetch
from tutorial_utils.recipes.latte import Recipe, TextToVideo, make_pipeline, make_tokenizer
from tutorial_utils.sampling.latte_config import Config
from tutorial_utils.sampling.latte_model import load_pipeline


def build() -> LattePipeline:
    """Clips of 8 frames, 64x64, with the VAE that the course ships."""
    torch.manual_seed(0)
    model = TextToVideo(Recipe(width=16, heads=2, layers=2, text_width=32), len(make_tokenizer()))
    with torch.no_grad():  # as initialised, text hardly matters, and time does not matter at all
        for block in model.transformer.transformer_blocks:
            block.attn2.to_v.weight *= 20
            block.attn2.to_q.weight *= 5
        for block in model.transformer.temporal_transformer_blocks:
            nn.init.normal_(block.attn1.to_out[0].weight, std=0.3)
    return make_pipeline(model, AutoencoderKL.from_pretrained(fetch("vae", "mini")).eval())


def configured(model: object, **changes: object) -> Config:
    """A configuration of this model's clips: few steps, one prompt."""
    least = {"steps": 3, "guidance_scale": 4, "scheduler": "dpm-multi", "frames": 8, "height": 64, "width": 64}
    return Config(**least | {"model": str(model), "prompts": ["a red bag"], "out": "build/clips"} | changes)


def assert_refused(config: Config, device: str, patterns: list[str]) -> None:
    """Loading fails with a line for each pattern, in this order, and no other."""
    with pytest.raises(ValueError) as caught:
        load_pipeline(config, device=torch.device(device))
    found = str(caught.value).splitlines()
    assert len(found) == len(patterns)
    for line, pattern in zip(found, patterns, strict=True):
        assert re.search(pattern, line), line
