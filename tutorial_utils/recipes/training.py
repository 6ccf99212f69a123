"""What every recipe needs: a resumable state, a learning-rate schedule, an average of the weights, a log."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable
from pathlib import Path

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


def warmup_cosine(step: int, total: int, warmup: int) -> float:
    """Fraction of the peak learning rate at `step`: a linear rise over `warmup` steps, then half a cosine to 0."""
    if step < warmup:
        return (step + 1) / warmup
    progress = (step - warmup) / max(1, total - warmup)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def ema(model: nn.Module, decay: float) -> AveragedModel:
    """An exponential moving average of the weights; BatchNorm's statistics are averaged too."""
    return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)


def hybrid_optimizers(model: nn.Module, lr: float, weight_decay: float) -> list[torch.optim.Optimizer]:
    """Muon for the hidden matrices and AdamW for everything else.

    Muon orthogonalises the update of a matrix (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/).
    Embeddings, biases, norms and the classifier are not matrices between hidden layers: AdamW takes them.
    """
    hidden = [p for name, p in model.named_parameters() if p.ndim == 2 and ".layer" in name]
    taken = {id(p) for p in hidden}
    other = [p for p in model.parameters() if id(p) not in taken]
    return [
        torch.optim.Muon(hidden, lr=lr, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(other, lr=lr, weight_decay=0.0),
    ]


def save_state(path: Path, state: dict) -> None:
    """Write a resumable state under a temporary name, then rename it: a killed run never leaves half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    partial.replace(path)


def load_state(path: Path) -> dict | None:
    """The state that `save_state` wrote, on the CPU, or None if there is none yet."""
    return torch.load(path, map_location="cpu", weights_only=True) if path.exists() else None


def write_csv(path: Path, rows: Iterable[dict]) -> None:
    """Write dictionaries with the same keys as a table with a header."""
    rows = list(rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
