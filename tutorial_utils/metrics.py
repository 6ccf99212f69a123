"""How good are generated images? Class agreement, Fréchet distance, and nearest neighbours, in ViT-mini's eyes.

Images are (N, 3, H, W) in [0, 1], of any size: the judge resizes them. ViT-mini's features stand in for those of
Inception, which has never seen 28x28 garments; distances in them compare with each other and with nothing published.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance
from transformers import ViTForImageClassification, ViTImageProcessor

from tutorial_utils.assets import fetch


class Judge(nn.Module):
    """A ViT that classifies garments, and whose [CLS] features tell how alike two pictures are.

    Args:
        folder: a checkpoint of `ViTForImageClassification` with its processor; ViT-mini by default.
    """

    def __init__(self, folder: Path | None = None):
        super().__init__()
        folder = fetch("vit", "mini") if folder is None else folder
        self.vit = ViTForImageClassification.from_pretrained(folder).eval().requires_grad_(False)
        self.processor = ViTImageProcessor.from_pretrained(folder)
        self.num_features = self.vit.config.hidden_size  # torchmetrics asks for it by this name

    def forward(self, images: Tensor) -> Tensor:
        """Features (N, D) of images (N, 3, H, W)."""
        _require_images(images)
        pixels = self.processor(images, do_rescale=False, return_tensors="pt").pixel_values
        return self.vit.vit(pixels.to(images.device)).last_hidden_state[:, 0]

    def logits(self, features: Tensor) -> Tensor:
        """Logits (N, classes) from features (N, D)."""
        return self.vit.classifier(features)

    @torch.no_grad()
    def features(self, images: Tensor, batch_size: int = 250) -> Tensor:
        """As `forward`, batch by batch and without gradients."""
        return torch.cat([self(batch) for batch in images.split(batch_size)])

    @torch.no_grad()
    def classify(self, images: Tensor) -> Tensor:
        """The class that the judge sees in each image, (N,)."""
        return self.logits(self.features(images)).argmax(1)


def class_agreement(judge: Judge, images: Tensor, labels: Tensor) -> float:
    """The fraction of images in which the judge sees the class they were made for (labels (N,))."""
    return (judge.classify(images) == labels).float().mean().item()


def frechet_distance(judge: Judge, images: Tensor, reference: Tensor) -> float:
    """Distance between two sets of images as two Gaussians in the judge's features (Heusel et al. 2017).

    Args:
        images, reference: (N, 3, H, W) and (M, 3, H, W); as few as a thousand give a distance that is too large.

    Raises:
        ValueError: there are fewer than two images in a set, or they are not as described.
    """
    return frechet_distances(judge, {"images": images}, reference)["images"]


def frechet_distances(judge: Judge, sets: dict[str, Tensor], reference: Tensor) -> dict[str, float]:
    """As `frechet_distance`, of several sets to the same reference, which is looked at once."""
    distance = FrechetInceptionDistance(feature=judge, reset_real_features=False)
    _show(distance, reference, real=True)
    found = {}
    for name, images in sets.items():
        _show(distance, images, real=False)
        found[name] = distance.compute().item()
        distance.reset()
    return found


def _show(distance: FrechetInceptionDistance, images: Tensor, real: bool, batch_size: int = 250) -> None:
    _require_images(images)
    if len(images) < 2:
        raise ValueError(f"{len(images)} images have no spread: a Fréchet distance needs two or more in each set.")
    for batch in images.split(batch_size):
        distance.update(batch, real=real)


def nearest(queries: Tensor, among: Tensor, batch_size: int = 500) -> tuple[Tensor, Tensor]:
    """Each query's nearest neighbour, by the root mean square of the differences.

    Args:
        queries, among: (N, ...) and (M, ...) with the same shape after the first axis.

    Returns:
        distances (N,) and indices (N,) into `among`.

    Raises:
        ValueError: the shapes differ.
    """
    if queries.shape[1:] != among.shape[1:]:
        raise ValueError(f"queries are {tuple(queries.shape[1:])} each, the others {tuple(among.shape[1:])}.")
    flat, found = among.flatten(1), []
    for batch in queries.flatten(1).split(batch_size):
        found.append(torch.cdist(batch, flat).min(dim=1))
    size = flat.shape[1] ** 0.5
    return torch.cat([one.values for one in found]) / size, torch.cat([one.indices for one in found])


def nearest_in_class(queries: Tensor, labels: Tensor, among: Tensor, among_labels: Tensor) -> tuple[Tensor, Tensor]:
    """As `nearest`, but each query (with its label (N,)) only among those of its own class (labels (M,))."""
    distances, indices = torch.empty(len(queries)), torch.empty(len(queries), dtype=torch.int64)
    for label in labels.unique():
        own, candidates = (labels == label).nonzero()[:, 0], (among_labels == label).nonzero()[:, 0]
        distances[own], chosen = nearest(queries[own], among[candidates])
        indices[own] = candidates[chosen]
    return distances, indices


def spread(features: Tensor, labels: Tensor) -> float:
    """How varied the members of a class are: the mean over classes of the root of the features' total variance.

    Args:
        features: (N, D).
        labels: (N,); each class has two members or more.
    """
    return _mean(features[labels == label].var(0).sum().sqrt().item() for label in labels.unique())


def _mean(values: Iterable[float]) -> float:
    values = list(values)
    return sum(values) / len(values)


def _require_images(images: Tensor) -> None:
    if images.ndim != 4 or images.shape[1] != 3 or not images.is_floating_point():
        raise ValueError(f"images are {images.dtype} {tuple(images.shape)}; floats (N, 3, H, W) in [0, 1] are due.")
