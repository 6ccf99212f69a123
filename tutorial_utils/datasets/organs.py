"""A synthetic stand-in for OrganMNIST3D: volumes drawn from a few ellipsoids, in the real set's format.

Nothing here is medical data. The shapes caricature organs so that the same lesson can run offline: a kidney is a
bean, a femur a bright shaft with a head on its inner side, a lung a dark dome. Left organs are mirror images of
right ones, so telling them apart takes an understanding of shape, as in the real set.

A volume's axes are (slice from head to feet, row from front to back, column from the patient's right to left).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.spatial.transform import Rotation

from tutorial_utils import require

SIDE = 28
"""Voxels along each axis of a volume."""

Point = tuple[float, float, float]


@dataclass(frozen=True)
class Blob:
    """An ellipsoid in a box from -1 to 1; coordinates are (column, row, slice).

    `tone` is how much brighter than the organ its inside is; None if it only adds to the organ's shape.
    A `carve` takes its inside away from the organ instead.
    """

    center: Point
    radii: Point
    tone: float | None = None
    carve: bool = False


@dataclass(frozen=True)
class Organ:
    """A shape and its mean brightness, between 0 (air) and 1 (dense bone)."""

    tone: float
    blobs: tuple[Blob, ...]


# The right-hand one of each pair; its inner side, towards the middle of the body, has the larger column.
ORGANS = {
    "liver": Organ(
        0.56,
        (
            Blob((-0.25, 0.05, 0.0), (0.62, 0.68, 0.75)),
            Blob((0.40, -0.15, -0.30), (0.60, 0.45, 0.35)),
            Blob((0.35, 0.30, 0.60), (0.55, 0.60, 0.55), carve=True),
            Blob((-0.10, 0.00, -0.20), (0.35, 0.08, 0.10), tone=0.12),
        ),
    ),
    "kidney": Organ(
        0.60,
        (
            Blob((0.0, 0.0, 0.0), (0.50, 0.45, 0.85)),
            Blob((0.52, -0.05, 0.0), (0.38, 0.40, 0.40), carve=True),
            Blob((0.12, 0.0, 0.0), (0.20, 0.18, 0.42), tone=-0.15),
        ),
    ),
    "femur": Organ(
        0.78,
        (
            Blob((-0.10, 0.0, 0.70), (0.28, 0.28, 1.20)),
            Blob((0.40, 0.0, -0.55), (0.34, 0.34, 0.34)),
            Blob((0.12, 0.0, -0.42), (0.42, 0.20, 0.20)),
            Blob((-0.25, 0.05, -0.35), (0.22, 0.25, 0.28)),
            Blob((-0.10, 0.0, 0.75), (0.12, 0.12, 1.00), tone=-0.30),
        ),
    ),
    "bladder": Organ(
        0.50,
        (
            Blob((0.0, 0.0, 0.05), (0.75, 0.68, 0.62)),
            Blob((0.0, 0.0, -1.05), (0.80, 0.80, 0.60), carve=True),
            Blob((0.0, 0.0, 0.05), (0.60, 0.54, 0.50), tone=-0.10),
        ),
    ),
    "heart": Organ(
        0.56,
        (
            Blob((-0.10, 0.05, -0.15), (0.58, 0.52, 0.65)),
            Blob((0.25, -0.20, 0.40), (0.42, 0.40, 0.50)),
            Blob((0.20, -0.12, 0.20), (0.20, 0.20, 0.42), tone=0.14),
            Blob((-0.28, 0.0, 0.05), (0.18, 0.24, 0.38), tone=0.10),
        ),
    ),
    "lung": Organ(
        0.14,
        (
            Blob((-0.05, 0.0, 0.10), (0.62, 0.75, 1.10)),
            Blob((0.0, 0.05, 1.20), (0.90, 0.95, 0.60), carve=True),
            Blob((0.72, -0.20, 0.25), (0.42, 0.50, 0.55), carve=True),
            Blob((0.22, 0.05, -0.05), (0.14, 0.14, 0.32), tone=0.30),
        ),
    ),
    "spleen": Organ(
        0.57,
        (
            Blob((0.05, 0.0, 0.0), (0.52, 0.72, 0.85)),
            Blob((-0.55, -0.10, 0.0), (0.55, 0.62, 0.72), carve=True),
        ),
    ),
    "pancreas": Organ(
        0.52,
        (
            Blob((-0.60, -0.05, 0.32), (0.34, 0.30, 0.38)),
            Blob((-0.22, -0.18, 0.08), (0.30, 0.20, 0.22)),
            Blob((0.18, -0.12, -0.12), (0.34, 0.18, 0.20)),
            Blob((0.62, 0.08, -0.28), (0.34, 0.16, 0.18)),
        ),
    ),
}

PAIRED = ("kidney", "femur", "lung")
NAMES = tuple(name for kind in ORGANS for name in ([f"{kind}-left", f"{kind}-right"] if kind in PAIRED else [kind]))
"""The eleven labels."""

TURN = 0.30  # standard deviation of the rotation about each axis, in radians
SHIFT = 0.20  # largest shift along each axis, in half sides of the box
SCALE = (0.90, 1.30)  # smallest and largest size of an organ, and within 15% of it along each axis
TONE = 0.04  # standard deviation of an organ's brightness
NEIGHBOURS = 4
NOISE = (0.02, 0.06)  # smallest and largest standard deviation of a volume's noise
BLUR = 0.7  # partial-volume blur, in voxels


def draw_organs(names: Sequence[str], rng: np.random.Generator, slices: int = SIDE) -> np.ndarray:
    """Draw one synthetic volume for each name.

    Args:
        names: N of the eleven labels of OrganMNIST3D, such as ``"kidney-left"`` or ``"liver"``.
        rng: where all randomness comes from: pose, size, brightness, neighbouring tissue and noise.
        slices: how many, at least 1: with more of them the same box is cut more finely from head to feet.

    Returns:
        uint8 of shape (N, slices, 28, 28).

    Raises:
        ValueError: a name is none of the eleven, or there are to be no slices.
    """
    require.whole("slices", slices, 1)
    grid = _grid(slices)
    volumes = np.empty((len(names), slices, SIDE, SIDE), np.uint8)
    for index, name in enumerate(names):
        if name not in NAMES:
            raise ValueError(f"{name!r} is no organ of OrganMNIST3D: choose from {', '.join(NAMES)}.")
        kind, _, side = name.partition("-")
        volume = _draw(ORGANS[kind], rng, grid)
        volumes[index] = volume[..., ::-1] if side == "left" else volume
    return volumes


def _draw(organ: Organ, rng: np.random.Generator, grid: np.ndarray) -> np.ndarray:
    """One volume (slices, 28, 28), uint8, of a right-hand organ amid its neighbours."""
    scan = _neighbourhood(rng, grid)
    turn = Rotation.from_rotvec(rng.normal(0, TURN, 3)).as_matrix()
    size = rng.uniform(*SCALE) * rng.uniform(0.85, 1.15, 3)
    own = (turn.T @ (grid - rng.uniform(-SHIFT, SHIFT, (3, 1)))) / size[:, None]
    shape, tone = np.full(grid.shape[1], -9.0, np.float32), organ.tone + rng.normal(0, TONE)
    inside = np.full(grid.shape[1], tone, np.float32)
    for blob in organ.blobs:
        depth = _depth(own, blob.center, blob.radii)
        if blob.carve:
            shape = np.minimum(shape, -depth)
        elif blob.tone is None:
            shape = np.maximum(shape, depth)
        else:
            inside += blob.tone * _soft(depth)
    scan += _soft(shape) * (inside - scan)
    scan = gaussian_filter(scan.reshape(-1, SIDE, SIDE), BLUR)
    scan = rng.uniform(0.85, 1.15) * scan + rng.normal(0, 0.03) + rng.uniform(*NOISE) * rng.standard_normal(scan.shape)
    return (255 * scan.clip(0, 1)).astype(np.uint8)


def _neighbourhood(rng: np.random.Generator, grid: np.ndarray) -> np.ndarray:
    """Fat, and around it a few ellipsoids of soft tissue, bone or air that the organ will cover in part."""
    scan = np.full(grid.shape[1], rng.normal(0.30, 0.04), np.float32)
    for _ in range(NEIGHBOURS):
        direction = rng.standard_normal(3)
        center = 1.05 * direction / np.linalg.norm(direction)
        tone = rng.choice([0.12, 0.50, 0.56, 0.60, 0.80], p=[0.10, 0.25, 0.30, 0.25, 0.10])
        scan += _soft(_depth(grid, center, rng.uniform(0.25, 0.6, 3))) * (tone - scan)
    return scan


def _depth(points: np.ndarray, center: Sequence[float], radii: Sequence[float]) -> np.ndarray:
    """How deep points (3, n) lie in an ellipsoid, roughly in half sides of the box: positive inside."""
    center, radii = (np.asarray(value, np.float32)[:, None] for value in (center, radii))
    return (1 - np.sqrt((((points - center) / radii) ** 2).sum(axis=0))) * radii.min()


def _soft(depth: np.ndarray) -> np.ndarray:
    """Occupancy from 0 to 1 that rises over about one voxel at a surface."""
    return np.clip(0.5 + depth * SIDE / 2, 0, 1)


@cache
def _grid(slices: int) -> np.ndarray:
    """The voxels' centres, (column, row, slice) from -1 to 1, as (3, slices * 28 * 28)."""
    axes = [(np.arange(count, dtype=np.float32) + 0.5) / count * 2 - 1 for count in (slices, SIDE, SIDE)]
    return np.stack([grid.ravel() for grid in np.meshgrid(*axes, indexing="ij")][::-1])
