"""How good are generated images? Class agreement, Fréchet distance, and nearest neighbours, in ViT-mini's eyes.

Images are (N, 3, H, W) in [0, 1], of any size: the judge resizes them. ViT-mini's features stand in for those of
Inception, which has never seen 28x28 garments; distances in them compare with each other and with nothing published.
Arguments that are not as described are a ValueError, which names them.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance
from transformers import ViTForImageClassification, ViTImageProcessor

from tutorial_utils import require
from tutorial_utils.assets.store import fetch
from tutorial_utils.networks import checkpoints


class Judge(nn.Module):
    """A ViT that classifies garments, and whose [CLS] features tell how alike two pictures are.

    Args:
        vit: the classifier, which is frozen from now on.
        processor: makes its inputs of images.
    """

    def __init__(self, vit: ViTForImageClassification, processor: ViTImageProcessor):
        super().__init__()
        self.vit, self.processor = vit.eval().requires_grad_(False), processor
        self.num_features = self.vit.config.hidden_size  # torchmetrics asks for it by this name

    def forward(self, images: Tensor) -> Tensor:
        """Features (N, D) of one or more images (N, 3, H, W)."""
        _require_images(images)
        pixels = self.processor(images, do_rescale=False, return_tensors="pt").pixel_values
        return self.vit.vit(pixels.to(images.device, self.vit.dtype)).last_hidden_state[:, 0]

    def logits(self, features: Tensor) -> Tensor:
        """Logits (N, classes) from features (N, D); a ValueError if they are not floats of this shape."""
        require.floats("features", features, f"N {self.num_features}")
        return self.vit.classifier(features)

    @torch.no_grad()
    def features(self, images: Tensor, batch_size: int = 250) -> Tensor:
        """As `forward`, batch by batch and without gradients; a ValueError if `batch_size` is below 1, too."""
        return torch.cat([self(batch) for batch in images.split(require.whole("batch_size", batch_size, 1))])

    @torch.no_grad()
    def classify(self, images: Tensor) -> Tensor:
        """The class that the judge sees in each image, (N,); a ValueError as of `forward`."""
        return self.logits(self.features(images)).argmax(1)


def load_judge(folder: Path | None = None) -> Judge:
    """A judge from the folder of a checkpoint and its processor; ViT-mini by default.

    Raises:
        ValueError: the folder holds something else, or not all of it.
    """
    folder = fetch("vit", "mini") if folder is None else folder
    return Judge(checkpoints.load(ViTForImageClassification, folder), checkpoints.load(ViTImageProcessor, folder))


def class_agreement(judge: Judge, images: Tensor, labels: Tensor) -> float:
    """The fraction of images in which the judge sees the class they were made for (labels, integers (N,))."""
    require.integers("labels", labels, f"{len(images)}", within=(0, judge.vit.config.num_labels - 1))
    return (judge.classify(images) == labels).float().mean().item()


def frechet_distance(judge: Judge, images: Tensor, reference: Tensor) -> float:
    """Distance between two sets of images as two Gaussians in the judge's features (Heusel et al. 2017).

    Args:
        images, reference: (N, 3, H, W) and (M, 3, H, W); as few as a thousand give a distance that is too large.
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
    _require_images(images, least=2)  # one has no spread
    for batch in images.split(batch_size):
        distance.update(batch, real=real)


def nearest(queries: Tensor, among: Tensor, batch_size: int = 500) -> tuple[Tensor, Tensor]:
    """Each query's nearest neighbour, by the root mean square of the differences.

    Args:
        queries, among: floats (N, ...) and (M, ...) with the same shape after the first axis, M at least 1.

    Returns:
        distances (N,), in single precision, and indices (N,) into `among`.
    """
    queries, among = _as_points(queries, among)
    batches = queries.split(require.whole("batch_size", batch_size, 1))
    found = [torch.cdist(batch, among).min(dim=1) for batch in batches]
    size = among.shape[1] ** 0.5
    return torch.cat([one.values for one in found]) / size, torch.cat([one.indices for one in found])


def _as_points(queries: Tensor, among: Tensor) -> tuple[Tensor, Tensor]:
    """(N, ...) and (M, ...) to (N, D) and (M, D), in single precision."""
    if queries.shape[1:] != among.shape[1:]:
        raise ValueError(f"queries are {tuple(queries.shape[1:])} each, the others {tuple(among.shape[1:])}.")
    for name, points, least in (("queries", queries, 0), ("others", among, 1)):
        require.floats(name, points[:, None].flatten(1), "N D", least=least, within=require.FINITE)
    return queries[:, None].flatten(1).float(), among[:, None].flatten(1).float()


def nearest_in_class(queries: Tensor, labels: Tensor, among: Tensor, among_labels: Tensor) -> tuple[Tensor, Tensor]:
    """As `nearest`, but each query (with its label (N,)) only among those of its own class (labels (M,))."""
    require.integers("labels", labels, f"{len(queries)}")
    require.integers("labels of the others", among_labels, f"{len(among)}")
    queries, among = _as_points(queries, among)
    distances, indices = torch.empty(len(queries)), torch.empty(len(queries), dtype=torch.int64)
    for label in labels.unique():
        own, candidates = (labels == label).nonzero()[:, 0], (among_labels == label).nonzero()[:, 0]
        if not len(candidates):
            raise ValueError(f"class {label} has {len(own)} queries, and none of the others is of it.")
        distances[own], chosen = nearest(queries[own], among[candidates])
        indices[own] = candidates[chosen]
    return distances, indices


def spread(features: Tensor, labels: Tensor) -> float:
    """How varied the members of a class are: the mean over classes of the root of the features' total variance.

    Args:
        features: floats (N, D), N at least 2.
        labels: integers (N,); each class has two members or more.
    """
    require.floats("features", features, "N D", least=2, within=require.FINITE)
    require.integers("labels", labels, f"{len(features)}")
    classes, members = labels.unique(return_counts=True)
    if members.min() < 2:
        raise ValueError(
            f"class {classes[members.argmin()]} has one member, and a spread needs two or more of each: "
            f"{2 * len(classes)} or more for {len(classes)} classes."
        )
    return _mean(features[labels == label].var(0).sum().sqrt().item() for label in classes)


def _mean(values: Iterable[float]) -> float:
    values = list(values)
    return sum(values) / len(values)


def _require_images(images: Tensor, least: int = 1) -> None:
    require.floats("images", images, "N 3 H W", least=least, within=require.UNIT)
