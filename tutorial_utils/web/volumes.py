"""ViViT-mini as an ONNX file with a switch for each tubelet, and a few volumes of its test set.

    KERAS_BACKEND=torch python -m tutorial_utils.web.volumes FOLDER

A process of its own, because Keras chooses its backend once, and lesson 2 runs on another.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
import typer
from torch import Tensor, nn

from tutorial_utils.assets.store import fetch
from tutorial_utils.datasets.organmnist3d import Volumes, synthetic_organs
from tutorial_utils.recipes.vivit import load_lesson
from tutorial_utils.web import graphs

OF_EACH = 2
"""Test volumes of each organ: its first ones, whether the model is right about them or not."""


class Vivit(nn.Module):
    """ViViT-mini with joint attention, without the tubelets that are hidden (lesson 2)."""

    example: ClassVar = {"volume": torch.rand(28, 28, 28) * 255, "kept": torch.ones(64)}
    dynamic: ClassVar = {}
    outputs: ClassVar = ("probabilities", "rollout")

    def __init__(self, lesson: ModuleType, model: Any):
        super().__init__()
        self.layers = nn.ModuleList(model.layers)
        self.blocks = [layer for layer in model.layers if isinstance(layer, lesson.Block)]
        first = model.layers.index(self.blocks[0])
        self.before, (self.norm, _, self.answer) = model.layers[1:first], model.layers[-3:]

    def forward(self, volume: Tensor, kept: Tensor) -> tuple[Tensor, Tensor]:
        """Voxels (28, 28, 28) from 0 to 255, and for each of 64 tubelets 1, or 0 if the model is not to get it.

        No token attends to a hidden one, and the mean at the end is one of the others: as if there were fewer tokens.

        Returns:
            probabilities (11,) and rollout (64,): how much of each tubelet is in the answer, as the lesson defines it.
        """
        x = volume[None, ..., None] / 255
        for layer in self.before:
            x = layer(x)
        x = x.flatten(1, 2)  # (1, tubelets, dim)
        unseen = torch.where(kept > 0, 0.0, -torch.inf)
        mixed = torch.eye(x.shape[1])
        for block in self.blocks:
            attended, weights = self._attend(block.attentions[0], block.norms[0](x), unseen)
            mixed = (weights.mean(0) + torch.eye(x.shape[1])) / 2 @ mixed
            x = x + attended
            _, wide, narrow, _ = block.mlp.layers
            x = x + narrow(wide(block.norms[1](x)))
        share = kept / kept.sum()
        return self.answer((share @ self.norm(x)[0])[None])[0], share @ mixed

    @staticmethod
    def _attend(attention: Any, x: Tensor, unseen: Tensor) -> tuple[Tensor, Tensor]:
        heads = attention.heads
        q, k, v = attention.qkv(x).unflatten(2, (3, heads, -1))[0].permute(1, 2, 0, 3)  # each (heads, tubelets, width)
        weights = (q @ k.mT / q.shape[-1] ** 0.5 + unseen).softmax(-1)
        return attention.mix((weights @ v).permute(1, 0, 2).flatten(1)[None]), weights


def chosen(data: Volumes) -> np.ndarray:
    """The numbers of the test volumes that the page has."""
    labels = data.test[1]
    return np.concatenate([np.flatnonzero(labels == organ)[:OF_EACH] for organ in range(len(data.names))])


def main(out: Annotated[Path, typer.Argument(help="An existing folder.")]) -> None:
    """Write vivit.onnx, volumes.bin and volumes.json."""
    data = synthetic_organs()
    with tempfile.TemporaryDirectory() as work:
        lesson = load_lesson(data, Path(work))
        model = lesson.keras.saving.load_model(fetch("vivit", "mini") / "joint/vivit.keras", compile=False)
        graphs.write(Vivit(lesson, model), out / "vivit.onnx")
        which = chosen(data)
        volumes, labels = data.test[0][which], data.test[1][which]
        said = model.predict(volumes[..., None].astype(np.float32) / 255, verbose=0)
    (out / "volumes.bin").write_bytes(volumes.tobytes())
    (out / "volumes.json").write_text(
        json.dumps({"organs": list(data.names), "labels": labels.tolist(), "keras": said.tolist()})
    )


if __name__ == "__main__":
    typer.run(main)
