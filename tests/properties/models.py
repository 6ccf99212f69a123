"""Networks so small that a call takes a millisecond. They have learned nothing: what they answer is wrong."""

from functools import cache

import tiny_latte
import torch
from diffusers import AutoencoderKL, LattePipeline
from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

from tutorial_utils.datasets import moving
from tutorial_utils.measures import metrics
from tutorial_utils.networks import uvit
from tutorial_utils.sampling import by_class
from tutorial_utils.sampling.sampler import Sampler

CLASSES = ("shirt", "shoe")


@cache
def vit() -> ViTForImageClassification:
    torch.manual_seed(0)
    sizes = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 8}
    return ViTForImageClassification(ViTConfig(image_size=8, patch_size=4, num_labels=3, **sizes)).eval()


def processor() -> ViTImageProcessor:
    return ViTImageProcessor(size={"height": 8, "width": 8})


@cache
def judge() -> metrics.Judge:
    return metrics.Judge(vit(), processor())


@cache
def uvit_network() -> uvit.UViT:
    torch.manual_seed(0)
    return uvit.UViT(img_size=4, in_chans=2, embed_dim=8, depth=2, num_heads=2, num_classes=3).eval()


@cache
def vae() -> AutoencoderKL:
    torch.manual_seed(0)
    return AutoencoderKL(block_out_channels=(4,), latent_channels=2, norm_num_groups=2, scaling_factor=0.5).eval()


@cache
def sampler() -> Sampler:
    return by_class.sampler(uvit_network(), vae())


@cache
def latte() -> LattePipeline:
    built = tiny_latte.build()
    built.set_progress_bar_config(disable=True)
    blocks = {"block_out_channels": (4,) * 4, "down_block_types": ("DownEncoderBlock2D",) * 4}
    ups = {"up_block_types": ("UpDecoderBlock2D",) * 4, "layers_per_block": 1, "norm_num_groups": 2}
    return LattePipeline(**built.components | {"vae": AutoencoderKL(**blocks, **ups, latent_channels=4).eval()})


def chance() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def scenes(count: int) -> moving.Scenes:
    return moving.draw_scenes(count, chance())
