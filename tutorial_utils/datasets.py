"""The data sets of the course, as arrays with one documented layout."""

from __future__ import annotations

import gzip
import math
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tutorial_utils import organs, require, runtime
from tutorial_utils.assets import edition, fetch, find

if TYPE_CHECKING:
    import torch

FASHION_CLASSES = (
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
    """`fashion_mnist` as torch tensors: float32 images (N, 1, 28, 28) in [0, 1] and int64 labels (N,).

    Raises:
        ValueError, AssetError: as for `fashion_mnist`.
    """
    import torch

    images, labels = fashion_mnist(split, folder)
    return torch.from_numpy(images).unsqueeze(1).float() / 255, torch.from_numpy(labels)


def read_idx(path: Path) -> np.ndarray:
    """Read a gzipped idx file of bytes, the format of MNIST, into a uint8 array.

    The header is two zero bytes, a type code, the number of axes, then each axis's length as a
    big-endian 32-bit integer (http://yann.lecun.com/exdb/mnist/).

    Raises:
        ValueError: the file is not a whole gzipped idx file of unsigned bytes.
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


@dataclass(frozen=True)
class Volumes:
    """OrganMNIST3D, or its stand-in: both have this layout, and nothing after loading asks which one it is.

    `train`, `val` and `test` are pairs of images, uint8 of shape (N, 28, 28, 28), and labels, int64 of shape (N,),
    indices into `names`. `about` says in a sentence what the volumes are; show it wherever they are shown.
    """

    train: tuple[np.ndarray, np.ndarray]
    val: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray]
    names: tuple[str, ...]
    about: str


EARLIER_TRAIN_COUNT = 972
"""Training volumes in the older edition of OrganMNIST3D, one more than in the present one."""

SYNTHETIC = "synthetic volumes in the format of OrganMNIST3D, drawn by formula: no medical data"


def organmnist3d(scale: str | None = None) -> Volumes:
    """OrganMNIST3D at `full`, its synthetic stand-in at `mini` (see `organs`).

    The real set (Yang et al. 2023, https://doi.org/10.1038/s41597-022-01721-8) has 1,742 crops of CT scans (one more
    in its older edition), one organ each, from the LiTS benchmark (Bilic et al. 2023); it is downloaded once.

    Args:
        scale: ``"mini"`` or ``"full"``; the environment variable TUTORIAL_SCALE decides if None.

    Raises:
        ValueError: the scale is unknown, or the file does not hold what it should.
        AssetError: the real set is in no cache and could not be downloaded.
    """
    scale = runtime.scale() if scale is None else runtime.as_scale(scale)
    if scale == "mini":
        return synthetic_organs()
    path = fetch("organmnist3d", scale) / "organmnist3d.npz"
    found = edition(find("organmnist3d", scale), path)
    if found is None:
        raise ValueError(f"{path} has changed since it was fetched: delete {path.parent} and fetch it again.")
    return read_organmnist3d(path, f"OrganMNIST3D, crops of CT scans; edition: {found.name}")


def synthetic_organs(seed: int = 0) -> Volumes:
    """The stand-in for OrganMNIST3D: the real set's splits and labels, volumes drawn by `organs.draw_organs`.

    Raises:
        ValueError: the seed is no whole number of at least 0.
    """
    require.whole("seed", seed, 0)
    names, counts = _organ_schema()
    splits = {}
    for number, (split, count) in enumerate(counts.items()):
        rng = np.random.default_rng([seed, number])
        labels = rng.integers(0, len(names), count)
        splits[split] = organs.draw_organs([names[label] for label in labels], rng), labels
    return Volumes(**splits, names=names, about=SYNTHETIC)


def read_organmnist3d(path: Path, about: str) -> Volumes:
    """Read the npz file of OrganMNIST3D, without running anything that may be in it.

    Args:
        path: a zip archive of six arrays, ``train_images`` (971, 28, 28, 28) of bytes, ``train_labels`` (971, 1) of
            integers from 0 to 10, and the same for ``val`` (161) and ``test`` (610). The older edition has 972.
        about: a sentence on what the volumes are.

    Raises:
        ValueError: the file is missing or cut short, or an array is missing or is not as described.
    """
    names, counts = _organ_schema()
    splits = {}
    for split, count in counts.items():
        images, labels = _read_array(path, f"{split}_images"), _read_array(path, f"{split}_labels")
        if split == "train" and images.shape[:1] == (EARLIER_TRAIN_COUNT,):
            count = EARLIER_TRAIN_COUNT
        if images.dtype != np.uint8 or images.shape != (count, *3 * [organs.SIDE]):
            raise ValueError(
                f"{path}: {split}_images is {images.dtype} of shape {images.shape}; "
                f"OrganMNIST3D has uint8 of shape {(count, *3 * [organs.SIDE])}. Fetch the file again."
            )
        if labels.dtype.kind not in "iu" or labels.shape != (count, 1):
            raise ValueError(
                f"{path}: {split}_labels is {labels.dtype} of shape {labels.shape}; "
                f"OrganMNIST3D has integers of shape {(count, 1)}. Fetch the file again."
            )
        if labels.min() < 0 or labels.max() >= len(names):
            wrong = labels[(labels < 0) | (labels >= len(names))][0]
            raise ValueError(
                f"{path}: {split}_labels holds {wrong}; labels go from 0 to {len(names) - 1}. Fetch the file again."
            )
        splits[split] = images, labels[:, 0].astype(np.int64)
    return Volumes(**splits, names=names, about=about)


def _organ_schema() -> tuple[tuple[str, ...], dict[str, int]]:
    """The eleven labels, and the number of volumes in each split."""
    from medmnist import INFO  # imports torch and torchvision

    info = INFO["organmnist3d"]
    return tuple(info["label"][str(index)] for index in range(len(info["label"]))), info["n_samples"]


def _read_array(path: Path, key: str) -> np.ndarray:
    try:  # np.load would take files of other kinds too, and advise to unpickle them
        with zipfile.ZipFile(path) as archive, archive.open(f"{key}.npy") as member:
            return np.lib.format.read_array(member, allow_pickle=False)
    except Exception as error:  # a damaged file makes zipfile and numpy raise a dozen types
        reason = f"{type(error).__name__}: {error}"
        raise ValueError(f"{path} could not be read as OrganMNIST3D: {reason}. Fetch the file again.") from error
