"""Which axis of a set of volumes runs from left to right, and which from head to feet: read from the volumes.

OrganMNIST3D does not say. But the organs do: a left lung is close to the mirror image of a right one, in one direction
only; and a femur's head lies at its inner side, so its middle moves sideways as one goes down the bone.
Volumes and labels that are not as described are a ValueError.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

PAIRS = ("kidney", "femur", "lung")
SIDES = ("left", "right")
DRAWS = 40
"""Bootstrap draws, which must all agree."""


@dataclass(frozen=True)
class Axes:
    """What was found.

    Attributes:
        left_right: 0, 1 or 2: along it left organs are mirror images of right ones. None if no axis stands out.
        head_feet: likewise, the axis from head to feet.
        gains: (3 pairs, 3 axes): by how much the correlation of the mean left organ with the mean right one rises when
            one of the two is flipped along the axis.
        why: a sentence for whoever asks.
    """

    left_right: int | None
    head_feet: int | None
    gains: np.ndarray
    why: str


def find_axes(volumes: np.ndarray, labels: np.ndarray, names: tuple[str, ...], seed: int = 0) -> Axes:
    """Find the axes of a labelled set of volumes.

    An axis counts as found if it is the same for all of 40 bootstrap draws of the volumes, and the left-right axis
    besides for each of the three pairs. With labels that say nothing it is none.

    Args:
        volumes: (N, D, H, W), D = H = W, of any numbers.
        labels: integers (N,), indices into `names`.
        names: with ``"kidney-left"``, ``"kidney-right"``, and the same for femur and lung.
    """
    volumes, labels = np.asarray(volumes), np.asarray(labels)
    if volumes.ndim != 4 or len(set(volumes.shape[1:])) != 1:
        raise ValueError(f"volumes have the shape {volumes.shape}: give (N, S, S, S), cubes of voxels.")
    if volumes.dtype.kind not in "biuf" or not np.isfinite(volumes).all():
        raise ValueError(f"volumes of {volumes.dtype} hold what is no number: every voxel must be finite.")
    if labels.shape != volumes.shape[:1]:
        raise ValueError(f"labels have the shape {labels.shape}: give one for each of {len(volumes)} volumes.")
    groups = {name: _group(volumes, labels, names, name) for name in (f"{k}-{s}" for k in PAIRS for s in SIDES)}
    chance = np.random.default_rng(seed)
    with np.errstate(all="ignore"):  # a set without contrast has no correlation: nan, which is no gain
        draws = [{name: _mean(group, chance) for name, group in groups.items()} for _ in range(DRAWS)]
        gains = np.stack([_gains(draw) for draw in draws])  # (draws, pairs, axes)
        return _verdict(gains, draws)


def _group(volumes: np.ndarray, labels: np.ndarray, names: tuple[str, ...], name: str) -> np.ndarray:
    if name not in names:
        raise ValueError(f"there is no {name} among the names {tuple(names)}.")
    group = volumes[labels == names.index(name)]
    if len(group) < 2:
        raise ValueError(f"there are {len(group)} volumes of {name}: at least two are needed.")
    return group.astype(np.float32 if volumes.dtype.kind in "biu" else float)


def _mean(group: np.ndarray, chance: np.random.Generator) -> np.ndarray:
    """The mean of as many volumes, drawn with replacement."""
    counts = chance.multinomial(len(group), np.full(len(group), 1 / len(group)))
    return np.tensordot(counts.astype(group.dtype), group, axes=1) / len(group)


def _gains(means: dict[str, np.ndarray]) -> np.ndarray:
    pairs = [(means[f"{kind}-left"], means[f"{kind}-right"]) for kind in PAIRS]
    return np.array([[_alike(np.flip(a, axis), b) - _alike(a, b) for axis in range(3)] for a, b in pairs])


def _alike(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


def _verdict(gains: np.ndarray, draws: list[dict[str, np.ndarray]]) -> Axes:
    best, mean = gains.argmax(axis=2), gains.mean(axis=0)
    across = int(best[0, 0])
    if (best != across).any() or not (gains[..., across] > 0).all():
        why = "No axis makes left organs alike to right ones in all three pairs: it cannot be told which one it is."
        return Axes(None, None, mean, why)
    rest = [axis for axis in range(3) if axis != across]
    drifts = np.array([[abs(_drift(draw, axis, across)) for axis in rest] for draw in draws])
    if len({*drifts.argmax(axis=1)}) > 1:
        return Axes(across, None, mean, f"Axis {across} runs from side to side; up and down cannot be told apart.")
    along = rest[int(drifts[0].argmax())]
    return Axes(across, along, mean, f"Axis {across} runs from side to side, axis {along} from head to feet.")


def _drift(means: dict[str, np.ndarray], axis: int, across: int) -> float:
    """By how many voxels for each voxel of `axis` the middle of a femur moves along `across`: right less left."""
    (other,) = {0, 1, 2} - {axis, across}
    slopes = []
    for side in SIDES:
        seen = np.moveaxis(means[f"femur-{side}"], (axis, across, other), (0, 1, 2)).sum(axis=2)
        seen = seen - seen.min()
        places = np.arange(seen.shape[1])
        middles = seen @ places / seen.sum(axis=1).clip(min=1e-9)
        slopes.append(np.polyfit(np.arange(len(seen)), middles, 1)[0])
    return slopes[1] - slopes[0]
