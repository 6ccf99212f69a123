"""What lies beside every checkpoint: the measurements, the log of the training and the model card."""

from __future__ import annotations

import csv
import json
from pathlib import Path


def read_report(folder: Path) -> tuple[dict, list[dict[str, float | str]]]:
    """The measurements in `metrics.json`, and the rows of `training.csv` with its numbers as numbers.

    Raises:
        OSError: one of the files is not there.
        ValueError: `metrics.json` is no JSON.
    """
    with (folder / "training.csv").open(newline="", encoding="utf-8") as file:
        rows = [{name: _number(text) for name, text in row.items()} for row in csv.DictReader(file)]
    return json.loads((folder / "metrics.json").read_text(encoding="utf-8")), rows


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text
