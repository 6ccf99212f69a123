"""Can a lesson start from what was fetched? Whatever says how a model is built is tried on the code that builds it.

Networks are built on torch's meta device, where weights take no memory, so a laptop can try the 24 GB of Latte-1. The
weights themselves are not read: the manifest's checksums speak for them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tutorial_utils.assets.manifest import Asset
from tutorial_utils.networks import checkpoints

LATTE = Path(__file__).parents[2] / "notebooks/configs/latte_full.yaml"
"""What lesson 4 asks of its model."""


def rehearse(asset: Asset, folder: Path) -> None:
    """Build, without its weights, what the lessons load from a folder at `full`; nothing for an asset of no model.

    Raises:
        ValueError: a configuration is not one that this code can use.
    """
    REHEARSALS.get(asset.name, lambda folder: None)(folder)


def _vit(folder: Path) -> None:
    from transformers import ViTForImageClassification, ViTImageProcessor

    checkpoints.without_weights(ViTForImageClassification, folder)
    checkpoints.load(ViTImageProcessor, folder)


def _vae(folder: Path) -> None:
    from diffusers import AutoencoderKL

    checkpoints.without_weights(AutoencoderKL, folder)


def _uvit(folder: Path) -> None:
    from tutorial_utils.networks.uvit import PUBLISHED, on_disk

    for name, config in PUBLISHED.items():
        on_disk(folder / name, config)


def _organs(folder: Path) -> None:
    from tutorial_utils.datasets.organmnist3d import read_organmnist3d

    read_organmnist3d(folder / "organmnist3d.npz", "")


def _latte(folder: Path) -> None:
    from tutorial_utils.sampling import latte_model
    from tutorial_utils.sampling.latte_config import load_config

    config = load_config(LATTE)
    latte_model.without_weights(config.model_copy(update={"model": str(folder)}))


REHEARSALS: dict[str, Callable[[Path], None]] = {
    "vit": _vit,
    "vae": _vae,
    "uvit": _uvit,
    "organmnist3d": _organs,
    "latte": _latte,
}
"""What to try of each asset that is downloaded."""
