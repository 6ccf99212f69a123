"""The published checkpoints and data set in small: the same files and formats, with seeded random weights.

What a `full` run reads is here in all its parts. The configurations are those in `published/`, key for key, with
smaller widths and depths, so that two processor cores are enough, and the tensors have their published names. Of
Latte-1 the index, the tokenizer and the configurations of the text encoder (that of T5 v1.1) and of the temporal
decoder are not at hand: these are built from the classes' defaults. The pictures mean nothing.
"""

from __future__ import annotations

import hashlib
import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import t5_tokenizer
import torch
from diffusers import AutoencoderKL, AutoencoderKLTemporalDecoder, LatteTransformer3DModel
from safetensors.torch import save_file
from transformers import T5Config, T5EncoderModel, T5Tokenizer, ViTConfig, ViTForImageClassification

from tutorial_utils.assets import store
from tutorial_utils.assets.manifest import AssetFile
from tutorial_utils.datasets.organmnist3d import synthetic_organs
from tutorial_utils.networks.uvit import IMAGENET256_HUGE, UViT
from tutorial_utils.sampling.by_class import imagenet_classes

PUBLISHED = Path(__file__).parent / "published"

UVIT = IMAGENET256_HUGE | {"embed_dim": 32, "depth": 2, "num_heads": 2}
"""A .pth file does not hold its architecture: this is the one of the file that `uvit` writes."""

VIT = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 128}
VAE = {"block_out_channels": [8] * 4, "layers_per_block": 1, "norm_num_groups": 2}
LATTE = {
    "attention_head_dim": 16,
    "num_attention_heads": 2,
    "num_layers": 2,
    "cross_attention_dim": 32,
    "caption_channels": 32,
    "sample_size": 8,
}
"""What is smaller here than in the published configuration."""

LATTE_SIDE = 8 * LATTE["sample_size"]
"""Pixels of Latte's clips here; 512 in the published model."""

OLD_NAMES = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
"""What attention's matrices are called in the published VAE, which is older than diffusers' present names."""


def build(root: Path) -> dict[str, Path]:
    """Write a folder for each asset that a lesson downloads at `full`; returns them by the asset's name."""
    torch.manual_seed(0)
    makers = {"vit": vit, "organmnist3d": organs, "vae": vae, "uvit": uvit, "latte": latte}
    if not find_spec("medmnist"):  # a light environment, in which nothing reads these
        del makers["organmnist3d"]
    folders = {}
    for name, make in makers.items():
        folders[name] = root / name
        folders[name].mkdir(parents=True)
        make(folders[name])
        missing = [
            file.path for file in store.COURSE.find(name, "full").files if not (folders[name] / file.path).is_file()
        ]
        assert not missing, f"{name} lacks {missing}, which the manifest names"
    return folders


def configured(folder: Path, source: str, reduced: dict, name: str = "config.json") -> dict:
    """Write a published configuration with other values for some of its keys, and return it."""
    content = json.loads((PUBLISHED / source).read_text(encoding="utf-8"))
    assert not reduced.keys() - content.keys(), "a key that the published file lacks"
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(json.dumps(content | reduced), encoding="utf-8")
    return content | reduced


def write_weights(state: dict[str, torch.Tensor], path: Path) -> None:
    save_file({name: value.contiguous() for name, value in state.items()}, path, metadata={"format": "pt"})


def vit(folder: Path) -> None:
    """ViT-B/16 in small, with the tables of labels, which `published/` leaves out."""
    configured(folder, "vit-base-patch16-224.preprocessor_config.json", {}, "preprocessor_config.json")
    config = configured(folder, "vit-base-patch16-224.config.json", VIT)
    names = dict(enumerate(imagenet_classes()))
    labels = {"id2label": names, "label2id": {name: number for number, name in names.items()}}
    (folder / "config.json").write_text(json.dumps(config | labels), encoding="utf-8")
    model = ViTForImageClassification(ViTConfig.from_pretrained(folder))
    model.save_pretrained(folder / "saved")  # under the published names, which are not those of the modules any more
    (folder / "saved/model.safetensors").replace(folder / "model.safetensors")


def organs(folder: Path) -> None:
    """OrganMNIST3D's file with the stand-in's volumes."""
    volumes = synthetic_organs()
    arrays = {}
    for split in ("train", "val", "test"):
        images, labels = getattr(volumes, split)
        arrays |= {f"{split}_images": images, f"{split}_labels": labels[:, None].astype(np.uint8)}
    np.savez_compressed(folder / "organmnist3d.npz", **arrays)


def vae(folder: Path) -> None:
    """sd-vae-ft-ema in small."""
    config = configured(folder, "sd-vae-ft-ema.json", VAE)
    state = {}
    for name, value in AutoencoderKL.from_config(config).state_dict().items():
        for new, old in OLD_NAMES.items():
            name = name.replace(f"attentions.0.{new}.", f"attentions.0.{old}.")
        state[name] = value
    write_weights(state, folder / "diffusion_pytorch_model.safetensors")


def uvit(folder: Path) -> None:
    """The state dict of a U-ViT, as `torch.save` writes it."""
    torch.save(UViT(**UVIT).state_dict(), folder / "imagenet256_uvit_huge.pth")


def latte(folder: Path) -> None:
    """Latte-1's folder: sharded text encoder, SentencePiece tokenizer, and a temporal decoder beside the VAE."""
    t5_tokenizer.write(folder / "tokenizer")
    text_encoder(folder / "text_encoder", len(T5Tokenizer.from_pretrained(folder / "tokenizer")))
    configured(folder / "scheduler", "latte-1.scheduler.json", {}, "scheduler_config.json")
    transformer(folder / "transformer")
    (folder / "vae").mkdir()
    vae(folder / "vae")
    blocks = {"block_out_channels": (32,) * 4, "down_block_types": ("DownEncoderBlock2D",) * 4}
    AutoencoderKLTemporalDecoder(**blocks, layers_per_block=1).save_pretrained(folder / "vae_temporal_decoder")
    index = {
        "_class_name": "LattePipeline",
        "scheduler": ["diffusers", "DDIMScheduler"],
        "text_encoder": ["transformers", "T5EncoderModel"],
        "tokenizer": ["transformers", "T5Tokenizer"],
        "transformer": ["diffusers", "LatteTransformer3DModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    (folder / "model_index.json").write_text(json.dumps(index), encoding="utf-8")


def transformer(folder: Path) -> None:
    """Latte-1's network in small, with the embedding that its file holds too many."""
    config = configured(folder, "latte-1.transformer.json", LATTE)
    state = LatteTransformer3DModel.from_config(config).state_dict()
    state["caption_projection.y_embedding"] = torch.randn(120, config["caption_channels"])
    write_weights(state, folder / "diffusion_pytorch_model.safetensors")


def text_encoder(folder: Path, words: int) -> None:
    """The encoder of T5 v1.1 in four files, under the names of the published ones."""
    sizes = {"d_model": 32, "d_kv": 16, "num_heads": 2, "d_ff": 64, "num_layers": 4}
    config = T5Config(vocab_size=words, feed_forward_proj="gated-gelu", **sizes)
    config.architectures = ["T5EncoderModel"]
    config.save_pretrained(folder)
    state = T5EncoderModel(config).state_dict()
    del state["encoder.embed_tokens.weight"]  # is shared.weight
    names = [f"model-{number:05}-of-00004.safetensors" for number in range(1, 5)]
    places = {key: names[index * 4 // len(state)] for index, key in enumerate(state)}
    for name in names:
        write_weights({key: value for key, value in state.items() if places[key] == name}, folder / name)
    index = {"metadata": {"total_size": sum(value.nbytes for value in state.values())}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def sizes(folder: Path, name: str) -> tuple[AssetFile, ...]:
    """The manifest's files of an asset, with the sizes and checksums that they have here."""
    files = []
    for file in store.COURSE.find(name, "full").files:
        content = (folder / file.path).read_bytes()
        files.append(AssetFile(file.path, len(content), hashlib.sha256(content).hexdigest()))
    return tuple(files)
