"""OrganMNIST3D, or its synthetic stand-in: volumes of organs with one layout.

A file that does not hold what it should, and an argument that is not as described, are a ValueError.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tutorial_utils import failures, require, runtime
from tutorial_utils.assets import store
from tutorial_utils.assets.copies import Copy
from tutorial_utils.datasets import organs
from tutorial_utils.datasets.names import Names


@dataclass(frozen=True)
class Volumes:
    """OrganMNIST3D, or its stand-in: both have this layout, and nothing after loading asks which one it is.

    `train`, `val` and `test` are pairs of images, uint8 of shape (N, 28, 28, 28), and labels, int64 of shape (N,),
    indices into `names`. `about` says in a sentence what the volumes are; show it wherever they are shown.
    """

    train: tuple[np.ndarray, np.ndarray]
    val: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray]
    names: Names
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
    scale = runtime.scale(scale)
    if scale == "mini":
        return synthetic_organs()
    copy = Copy(store.COURSE.find("organmnist3d", scale), store.fetch("organmnist3d", scale))
    path = copy.paths[0]
    found = copy.edition(path)
    if found is None:
        raise ValueError(f"{path} has changed since it was fetched: delete {path.parent} and fetch it again.")
    return read_organmnist3d(path, f"OrganMNIST3D, crops of CT scans; edition: {found.name}")


def synthetic_organs(seed: int = 0, slices: int = organs.SIDE) -> Volumes:
    """The stand-in for OrganMNIST3D: the real set's splits and labels, volumes drawn by `organs.draw_organs`.

    With more `slices` than the real set's 28 the same organs are cut more finely, for models of long clips.
    """
    require.whole("seed", seed, 0)
    names, counts = _organ_schema()
    splits = {}
    for number, (split, count) in enumerate(counts.items()):
        rng = np.random.default_rng([seed, number])
        labels = rng.integers(0, len(names), count)
        splits[split] = organs.draw_organs([names[label] for label in labels], rng, slices), labels
    return Volumes(**splits, names=names, about=SYNTHETIC)


def read_organmnist3d(path: Path, about: str) -> Volumes:
    """Read the npz file of OrganMNIST3D, without running anything that may be in it.

    Args:
        path: a zip archive of six arrays, ``train_images`` (971, 28, 28, 28) of bytes, ``train_labels`` (971, 1) of
            integers from 0 to 10, and the same for ``val`` (161) and ``test`` (610). The older edition has 972.
        about: a sentence on what the volumes are.
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


def _organ_schema() -> tuple[Names, dict[str, int]]:
    """The eleven labels, and the number of volumes in each split."""
    try:
        from medmnist import INFO  # imports torch and torchvision
    except ModuleNotFoundError as error:
        raise ValueError(
            "OrganMNIST3D needs medmnist, which is not installed here: `make LIGHT=0` installs it."
        ) from error
    info = INFO["organmnist3d"]
    return Names(info["label"][str(index)] for index in range(len(info["label"]))), info["n_samples"]


def _read_array(path: Path, key: str) -> np.ndarray:
    try:  # np.load would take files of other kinds too, and advise to unpickle them
        with zipfile.ZipFile(path) as archive, archive.open(f"{key}.npy") as member:
            return np.lib.format.read_array(member, allow_pickle=False)
    except Exception as error:  # a damaged file makes zipfile and numpy raise a dozen types
        if failures.is_memory(error):
            raise
        reason = f"{type(error).__name__}: {error}"
        raise ValueError(f"{path} could not be read as OrganMNIST3D: {reason}. Fetch the file again.") from error
