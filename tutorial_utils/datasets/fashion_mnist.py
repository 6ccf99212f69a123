"""Fashion-MNIST: garments in ten classes, as arrays or tensors.

A split that is unknown, and a file that does not hold what its name promises, are a ValueError.
"""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tutorial_utils.assets.store import fetch
from tutorial_utils.datasets.names import Names

if TYPE_CHECKING:
    import torch

FASHION_CLASSES = Names(
    (
        "T-shirt/top",
        "trouser",
        "pullover",
        "dress",
        "coat",
        "sandal",
        "shirt",
        "sneaker",
        "bag",
        "ankle boot",
    )
)

_FASHION_FILES = {"train": ("train", 60_000), "test": ("t10k", 10_000)}
_IDX_UINT8 = 0x08
_IDX_BYTES = 2**28  # more than any file of MNIST's kind holds; what is packed can be a thousand times as large


def fashion_mnist(split: str = "train", folder: Path | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Fashion-MNIST: photographs of garments in ten classes (Xiao et al. 2017, https://arxiv.org/abs/1708.07747).

    Args:
        split: ``"train"`` (60,000 images) or ``"test"`` (10,000 images).
        folder: where the four idx files are; the verified bundled folder if None.

    Returns:
        ``images``, uint8 of shape (N, 28, 28) with values 0 to 255, a bright garment on black; and
        ``labels``, int64 of shape (N,), indices into `FASHION_CLASSES`.

    Raises:
        ValueError: the split is unknown, or a file does not hold what its name promises.
        AssetError: a bundled file is missing or damaged.
    """
    if split not in _FASHION_FILES:
        raise ValueError(f"split={split!r} is unknown: choose one of {sorted(_FASHION_FILES)}.")
    folder = Path(folder) if folder is not None else fetch("fashion-mnist")
    prefix, count = _FASHION_FILES[split]
    images = read_idx(folder / f"{prefix}-images-idx3-ubyte.gz")
    labels = read_idx(folder / f"{prefix}-labels-idx1-ubyte.gz")
    if images.shape != (count, 28, 28) or labels.shape != (count,):
        raise ValueError(
            f"{folder} holds {split} images {images.shape} and labels {labels.shape}; "
            f"expected {(count, 28, 28)} and {(count,)}. Restore the four files of Fashion-MNIST."
        )
    if labels.max() >= len(FASHION_CLASSES):
        raise ValueError(f"{folder} holds the label {labels.max()}; Fashion-MNIST has labels 0 to 9.")
    return images, labels.astype(np.int64)


def fashion_mnist_tensors(split: str = "train", folder: Path | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """`fashion_mnist` as torch tensors: float32 images (N, 1, 28, 28) in [0, 1] and int64 labels (N,)."""
    import torch

    images, labels = fashion_mnist(split, folder)
    return torch.from_numpy(images).unsqueeze(1).float() / 255, torch.from_numpy(labels)


def read_idx(path: Path) -> np.ndarray:
    """Read a gzipped idx file of bytes, the format of MNIST, into a uint8 array.

    The header is two zero bytes, a type code, the number of axes, then each axis's length as a
    big-endian 32-bit integer (http://yann.lecun.com/exdb/mnist/).
    """
    try:
        with gzip.open(path) as file:
            content = file.read(_IDX_BYTES + 1)
    except (EOFError, OSError, zlib.error) as error:
        raise ValueError(f"{path} could not be read as a gzip file: {error}") from error
    if len(content) > _IDX_BYTES:
        raise ValueError(f"{path} unpacks to more than {_IDX_BYTES:,} bytes: it is no data set of MNIST's kind.")
    if len(content) < 4 or content[:3] != bytes([0, 0, _IDX_UINT8]):
        raise ValueError(f"{path} is not an idx file of unsigned bytes: it starts with {content[:4]!r}.")
    axes = content[3]
    shape = np.frombuffer(content, ">u4", count=axes, offset=4) if len(content) >= 4 + 4 * axes else []
    shape = tuple(int(length) for length in shape)
    body = np.frombuffer(content, np.uint8, offset=min(4 + 4 * axes, len(content)))
    if len(shape) != axes or body.size != math.prod(shape):
        raise ValueError(f"{path} announces the shape {shape} but holds {body.size} bytes.")
    return body.reshape(shape).copy()  # frombuffer is read-only, which torch warns about
