"""The published checkpoints and data set in small: the same files and formats, with seeded random weights.

What a `full` run reads is here in all its parts. Widths, depths and Latte's size of clips are smaller, so that two
processor cores are enough. The pictures mean nothing.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import t5_tokenizer
import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderKLTemporalDecoder,
    DDIMScheduler,
    LattePipeline,
    LatteTransformer3DModel,
)
from transformers import T5Config, T5EncoderModel, T5Tokenizer, ViTConfig, ViTForImageClassification, ViTImageProcessor

from tutorial_utils.assets import AssetFile, find
from tutorial_utils.datasets import synthetic_organs
from tutorial_utils.sampling import imagenet_classes
from tutorial_utils.uvit import IMAGENET256_HUGE, UViT

UVIT = IMAGENET256_HUGE | {"embed_dim": 32, "depth": 2, "num_heads": 2}
"""A .pth file does not hold its architecture: this is the one of the file that `uvit` writes."""

LATTE_SIDE = 64
"""Pixels of Latte's clips here; 512 in the published model."""


def build(root: Path) -> dict[str, Path]:
    """Write a folder for each asset that a lesson downloads at `full`; returns them by the asset's name."""
    torch.manual_seed(0)
    makers = {"vit": vit, "organmnist3d": organs, "vae": vae, "uvit": uvit, "latte": latte}
    folders = {}
    for name, make in makers.items():
        folders[name] = root / name
        folders[name].mkdir(parents=True)
        make(folders[name])
        missing = [file.path for file in find(name, "full").files if not (folders[name] / file.path).is_file()]
        assert not missing, f"{name} lacks {missing}, which the manifest names"
    return folders


def vit(folder: Path) -> None:
    """ViT-B/16 for 224x224 pixels and ImageNet's classes, of width 32 and with 3 layers."""
    names = dict(enumerate(imagenet_classes()))
    config = ViTConfig(
        hidden_size=32, num_hidden_layers=3, num_attention_heads=2, intermediate_size=128, id2label=names
    )
    ViTForImageClassification(config).save_pretrained(folder)
    ViTImageProcessor().save_pretrained(folder)


def organs(folder: Path) -> None:
    """OrganMNIST3D's file with the stand-in's volumes."""
    volumes = synthetic_organs()
    arrays = {}
    for split in ("train", "val", "test"):
        images, labels = getattr(volumes, split)
        arrays |= {f"{split}_images": images, f"{split}_labels": labels[:, None].astype(np.uint8)}
    np.savez_compressed(folder / "organmnist3d.npz", **arrays)


def small_vae() -> AutoencoderKL:
    """The Stable Diffusion VAE with 8 channels everywhere."""
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(8,) * 4,
        norm_num_groups=2,
        layers_per_block=1,
        latent_channels=4,
        sample_size=256,
        scaling_factor=0.18215,
    )


def vae(folder: Path) -> None:
    """sd-vae-ft-ema in small."""
    small_vae().save_pretrained(folder)


def uvit(folder: Path) -> None:
    """The state dict of a U-ViT, as `torch.save` writes it."""
    torch.save(UViT(**UVIT).state_dict(), folder / "imagenet256_uvit_huge.pth")


def latte(folder: Path) -> None:
    """Latte-1's folder: sharded text encoder, SentencePiece tokenizer, and a temporal decoder beside the VAE."""
    t5_tokenizer.write(folder / "tokenizer")
    tokenizer = T5Tokenizer.from_pretrained(folder / "tokenizer")
    text = T5EncoderModel(
        T5Config(vocab_size=len(tokenizer), d_model=32, d_kv=16, num_heads=2, d_ff=64, num_layers=4, dropout_rate=0.0)
    )
    transformer = LatteTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=16,
        in_channels=4,
        out_channels=8,
        num_layers=2,
        cross_attention_dim=32,
        attention_bias=True,
        sample_size=LATTE_SIDE // 8,
        patch_size=2,
        activation_fn="gelu-approximate",
        num_embeds_ada_norm=1000,
        norm_type="ada_norm_single",
        norm_elementwise_affine=False,
        norm_eps=1e-6,
        caption_channels=32,
        video_length=16,
    )
    scheduler = DDIMScheduler(beta_start=1e-4, beta_end=0.02, beta_schedule="linear", clip_sample=False, steps_offset=1)
    LattePipeline(tokenizer, text, small_vae(), transformer, scheduler).save_pretrained(folder)
    shards(text, folder / "text_encoder")
    blocks = {"block_out_channels": (32,) * 4, "down_block_types": ("DownEncoderBlock2D",) * 4}
    AutoencoderKLTemporalDecoder(**blocks, layers_per_block=1).save_pretrained(folder / "vae_temporal_decoder")


def shards(text: T5EncoderModel, folder: Path) -> None:
    """Write a text encoder in four files, under the names of the published ones."""
    from safetensors.torch import save_file

    for old in folder.glob("*.safetensors"):
        old.unlink()
    state = {name: value.clone() for name, value in text.state_dict().items() if name != "encoder.embed_tokens.weight"}
    names = [f"model-{number:05}-of-00004.safetensors" for number in range(1, 5)]
    places = {key: names[index * 4 // len(state)] for index, key in enumerate(state)}
    for name in names:
        part = {key: value for key, value in state.items() if places[key] == name}
        save_file(part, folder / name, metadata={"format": "pt"})
    size = sum(value.nbytes for value in state.values())
    index = {"metadata": {"total_size": size}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def sizes(folder: Path, name: str) -> tuple[AssetFile, ...]:
    """The manifest's files of an asset, with the sizes and checksums that they have here."""
    files = []
    for file in find(name, "full").files:
        content = (folder / file.path).read_bytes()
        files.append(AssetFile(file.path, len(content), hashlib.sha256(content).hexdigest()))
    return tuple(files)
