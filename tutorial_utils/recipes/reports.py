"""What lies beside every checkpoint: the measurements, the log of the training and the model card."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable
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


def write_csv(path: Path, rows: Iterable[dict]) -> None:
    """Write dictionaries with the same keys as a table with a header."""
    rows = list(rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def write_report(out: Path, rows: Iterable[dict], metrics: dict, card: str) -> None:
    """What lies beside every checkpoint: the log of the training, all measurements, and the model card."""
    write_csv(out / "training.csv", rows)
    (out / "metrics.json").write_text(json.dumps(without_infinity(metrics), indent=2, allow_nan=False) + "\n")
    (out / "README.md").write_text(card, encoding="utf-8")


def without_infinity(value: object) -> object:
    """For JSON, which has no infinity: null where a number is infinite, at any depth; so no bound."""
    if isinstance(value, dict):
        return {key: without_infinity(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [without_infinity(one) for one in value]
    return None if value == math.inf else value
