"""Everything that the page needs, from the shipped checkpoints, in one folder: `export`.

vit.onnx vivit.onnx uvit.onnx decoder.onnx latte.onnx words.onnx   the networks, see `graphs` and `volumes`
garments.bin     bytes (40, 28, 28): the first four test photographs of each class of Fashion-MNIST, class by class
volumes.bin      bytes (22, 28, 28, 28): see `volumes`
noise-uvit.bin   floats (20, 4, 8, 8), little-endian: the noise of the seeds 0 to 19, as `diffusion.draw_noise` draws
noise-latte.bin  floats (20, 4, 8, 8, 8)
contents.json    names, settings, the schedulers' tables, the tokenizer's vocabulary and the words of the captions
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
from diffusers import AutoencoderKL, LatteTransformer3DModel
from transformers import T5EncoderModel, ViTForImageClassification

from tutorial_utils import execution, files, runtime
from tutorial_utils.assets.store import fetch
from tutorial_utils.datasets import moving
from tutorial_utils.datasets.fashion_mnist import FASHION_CLASSES, fashion_mnist
from tutorial_utils.networks import checkpoints
from tutorial_utils.networks.uvit import load_uvit
from tutorial_utils.sampling import by_class, diffusion, latte
from tutorial_utils.sampling.latte_config import load_config
from tutorial_utils.web import graphs, schedules

GARMENTS = 4
"""Test photographs of each class."""

SEEDS = range(20)

GARMENT_STEPS, CLIP_STEPS = (2, 4, 8, 16, 30), (2, 4, 8, 12, 24)
"""Among which the page lets one choose; the lessons' own are one of them."""

GARMENT_SHAPE, CLIP_SHAPE = (4, 8, 8), (4, 8, 8, 8)


def export(out: Path, tell: Callable[[str], object] = lambda name: None) -> None:
    """Write all of it; a folder that is there is replaced as a whole, or kept if something fails.

    Args:
        tell: called with the name of each network before it is written.

    Raises:
        ValueError: the extras ``onnx`` or ``lesson2`` are not installed, or the folder holds other things.
    """
    if out.exists() and any(out.iterdir()) and not (out / "contents.json").is_file():
        raise ValueError(f"{out} holds something else than an export, which would be lost: choose another folder.")
    runtime.quiet_libraries()
    with files.draft_folder(out) as folder:
        folder.mkdir(parents=True)
        for name, make in NETWORKS.items():
            tell(name)
            graphs.write(make().eval().requires_grad_(False), folder / f"{name}.onnx")
        tell("vivit")
        organs = _volumes(folder)
        images, labels = fashion_mnist("test")
        chosen = [images[labels == label][:GARMENTS] for label in range(len(FASHION_CLASSES))]
        (folder / "garments.bin").write_bytes(np.concatenate(chosen).tobytes())
        for name, shape in (("uvit", GARMENT_SHAPE), ("latte", CLIP_SHAPE)):
            noise = diffusion.draw_noise(diffusion.generators(SEEDS), shape)
            (folder / f"noise-{name}.bin").write_bytes(noise.numpy().astype("<f4").tobytes())
        contents = {"garments": list(FASHION_CLASSES), "seeds": len(SEEDS), "of_each": GARMENTS}
        contents |= {"organs": organs["organs"], "volumes": organs["labels"]}
        contents |= {"uvit": _garment_sampling(), "latte": _clip_sampling()}
        (folder / "contents.json").write_text(json.dumps(contents, ensure_ascii=False), encoding="utf-8")


def _part(kind: type, name: str) -> object:
    return checkpoints.load(kind, fetch("latte", "mini") / name)


NETWORKS: dict[str, Callable] = {
    "vit": lambda: graphs.Vit(checkpoints.load(ViTForImageClassification, fetch("vit", "mini"))),
    "uvit": lambda: graphs.Uvit(load_uvit(fetch("uvit", "mini"))),
    "decoder": lambda: graphs.Decoder(checkpoints.load(AutoencoderKL, fetch("vae", "mini"))),
    "latte": lambda: graphs.Latte(_part(LatteTransformer3DModel, "transformer")),
    "words": lambda: graphs.Words(_part(T5EncoderModel, "text_encoder")),
}
"""The networks that need no Keras, by the names of their files."""


def _volumes(folder: Path) -> dict:
    """ViViT-mini and its volumes, by a process with Keras on torch; what it says of them."""
    if obstacle := execution.obstacle(execution.find_notebooks(["02"])[0]):
        raise ValueError(obstacle)
    own = os.environ | {"KERAS_BACKEND": "torch"}
    command = [sys.executable, "-m", "tutorial_utils.web.volumes", str(folder)]
    done = subprocess.run(command, env=own, cwd=execution.ROOT, capture_output=True, text=True)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason was given"])[-1]
        raise ValueError(f"ViViT-mini could not be exported: {reason}")
    return json.loads((folder / "volumes.json").read_text(encoding="utf-8"))


def _garment_sampling() -> dict:
    """Lesson 3's settings, and the table of every scheduler for every number of steps."""
    return _settings(by_class.SETTINGS["mini"]) | {
        "tables": {
            name: {steps: schedules.table(name, steps, diffusion.UVIT) for steps in GARMENT_STEPS}
            for name in diffusion.SCHEDULERS
        },
    }


def _clip_sampling() -> dict:
    """Lesson 4's settings and tables, the vocabulary of its tokenizer, and the words that its captions have."""
    folder = fetch("latte", "mini")
    config = load_config(execution.ROOT / "notebooks/configs/latte_mini.yaml")
    schedule = latte.schedule_of(checkpoints.read_config(folder / "scheduler/scheduler_config.json"))
    tokenizer = json.loads((folder / "tokenizer/tokenizer.json").read_text(encoding="utf-8"))
    return _settings(config.settings) | {
        "fps": config.fps,
        "most_tokens": latte.MAX_TOKENS,
        "tables": {steps: schedules.table(config.scheduler, steps, schedule) for steps in CLIP_STEPS},
        "vocabulary": tokenizer["model"]["vocab"],
        "languages": {code: asdict(language) for code, language in moving.LANGUAGES.items()},
    }


def _settings(settings: diffusion.Settings) -> dict:
    """Settings as JSON knows them: it has no infinity."""
    low, high = settings.guidance_interval
    return asdict(settings) | {"guidance_interval": [low, None if math.isinf(high) else high]}
