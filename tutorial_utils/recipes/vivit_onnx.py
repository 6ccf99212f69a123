"""A trial: a trained model of lesson 2 as an ONNX file, which a browser can run without Python.

    KERAS_BACKEND=torch python -m tutorial_utils.recipes.vivit_onnx data/checkpoints/vivit-mini/joint vivit.onnx

It needs the extra `onnx`. Keras's own ``model.export(format="onnx")`` uses PyTorch's older exporter, which does not
know the shape of a convolution's transposed filter; the newer one does.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import torch
import typer
from torch import nn

from tutorial_utils import files
from tutorial_utils.datasets.organmnist3d import synthetic_organs
from tutorial_utils.recipes.vivit import load_lesson


class Only(nn.Module):
    """A Keras model with one input, as the exporter wants it: Keras's own call takes any number of arguments."""

    def __init__(self, model: Any):
        super().__init__()
        self.model = model

    def forward(self, volumes: torch.Tensor) -> torch.Tensor:
        """Volumes (N, 28, 28, 28, 1) from 0 to 1, to probabilities (N, 11)."""
        return self.model(volumes)


def export(lesson: ModuleType, model: Any, path: Path) -> None:
    """Write a Keras model of `lesson`, loaded with the torch backend, for any number of volumes at once."""
    if (backend := lesson.keras.backend.backend()) != "torch":
        raise ValueError(f"KERAS_BACKEND={backend}: only models of the torch backend can be exported; set it to torch.")
    any_number = {0: torch.export.Dim("volumes")}
    with files.draft(path) as partial, torch.no_grad():
        torch.onnx.export(
            Only(model).eval(),
            (torch.zeros(2, *lesson.INPUT_SHAPE),),
            partial,
            input_names=["volumes"],
            output_names=["probabilities"],
            dynamic_shapes=(any_number,),
            dynamo=True,
            external_data=False,
            verbose=False,
        )


def main(
    folder: Annotated[Path, typer.Argument(help="A folder that the recipe wrote, with vivit.keras.")],
    out: Annotated[Path, typer.Argument(help="The file to write.")],
) -> None:
    """Export a shipped model of lesson 2 to ONNX."""
    with tempfile.TemporaryDirectory() as work:
        lesson = load_lesson(synthetic_organs(), Path(work))
        export(lesson, lesson.keras.saving.load_model(folder / "vivit.keras", compile=False), out)


if __name__ == "__main__":
    typer.run(main)
