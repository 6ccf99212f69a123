"""What every recipe needs: a command line, a resumable run, a learning-rate schedule, averaged weights, a log."""

from __future__ import annotations

import csv
import json
import logging
import math
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import torch
import typer
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from tutorial_utils import failures, files, runtime
from tutorial_utils.networks.checkpoints import read_state_dict

log = logging.getLogger("recipes")


def command(recipe: Callable[[Path, Path, torch.device], None]) -> None:
    """Run a recipe from the command line, as ``recipe(out, work, device)``; its docstring is the help."""

    def main(
        out: Annotated[Path, typer.Option(help="Folder for the checkpoint.")],
        work: Annotated[Path, typer.Option(help="Folder for the resumable state, outside the repository.")],
        device: Annotated[str | None, typer.Option(help="A torch device, the lessons' by default.")] = None,
    ) -> None:
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
        failures.any_encoding()
        try:
            files.require_place(out, "--out")
            files.require_place(work, "--work")
            with files.alone(work, f"{work} is in use"), files.draft_folder(out) as draft:
                recipe(draft, work, runtime.device(device))
        except ValueError as error:
            sys.exit(str(error))
        except Exception as error:
            if not failures.is_systems(error):
                raise
            sys.exit(failures.in_a_line(error))

    main.__doc__ = recipe.__doc__
    typer.run(main)


class Run:
    """One resumable training: a model, the average of its weights, its optimisers, and the rows of its log.

    Args:
        path: the file of the resumable state. If it is there, the run goes on from it.
        model: on its device already.
        optimizers: over the model's parameters; their learning rate is set at every step.
        recipe: a dataclass with `seed` and `ema_decay`. A state belongs to one recipe.

    Raises:
        ValueError: the state at `path` belongs to another recipe.
    """

    def __init__(self, path: Path, model: nn.Module, optimizers: Sequence[torch.optim.Optimizer], recipe):
        self.path, self.model, self.optimizers, self.recipe = path, model, optimizers, recipe
        self.average = ema(model, recipe.ema_decay)
        self.step = 0
        self.rows: list[dict] = []
        self.best: dict = {}
        self._resume()

    def _resume(self) -> None:
        if (state := load_state(self.path)) is None:
            return
        if state["recipe"] != asdict(self.recipe):
            raise ValueError(f"{self.path} belongs to another recipe, {state['recipe']}: choose another --work folder.")
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.step, self.rows, self.best = state["step"], state["rows"], state["best"]

    def save(self) -> None:
        """Write the resumable state."""
        save_state(
            self.path,
            {
                "model": self.model.state_dict(),
                "average": self.average.state_dict(),
                "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
                "step": self.step,
                "rows": self.rows,
                "best": self.best,
                "recipe": asdict(self.recipe),
            },
        )

    def descend(self, loss: torch.Tensor, rate: float) -> None:
        """One step of every optimiser down the gradient of `loss` with the learning rate `rate`."""
        loss.backward()
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.average.update_parameters(self.model)
        self.step += 1

    def fit(
        self,
        steps: int,
        rate_at: Callable[[int], float],
        loss_of: Callable[[nn.Module], torch.Tensor],
        measure: Callable[[nn.Module], dict],
        every: int,
    ) -> None:
        """Take the steps that are left, and log and save after each `every` of them.

        Args:
            steps: of the whole run.
            rate_at: the learning rate at a step.
            loss_of: a scalar from the model. It draws from torch's global generators, which are seeded by the step:
                so a resumed run is the same run.
            measure: figures for the log, from the averaged model in eval mode.
            every: steps between two rows of the log.
        """
        started, losses = time.perf_counter(), []
        while self.step < steps:
            torch.manual_seed(self.recipe.seed * 1_000_003 + self.step)
            loss = loss_of(self.model.train())
            self.descend(loss, rate_at(self.step))
            losses.append(loss.item())
            if self.step % every == 0 or self.step == steps:
                with torch.inference_mode():
                    figures = measure(self.average.eval().module)
                seconds = round(time.perf_counter() - started, 1)
                row = {"train_loss": sum(losses) / len(losses)} | figures
                rounded = {key: round(float(value), 5) for key, value in row.items()}
                self.rows.append({"step": self.step} | rounded | {"seconds": seconds})
                log.info("%s", self.rows[-1])
                self.save()
                started, losses = time.perf_counter(), []


def warmup_cosine(step: int, total: int, warmup: int) -> float:
    """Fraction of the peak learning rate at `step`: a linear rise over `warmup` steps, then half a cosine to 0."""
    if step < warmup:
        return (step + 1) / warmup
    progress = (step - warmup) / max(1, total - warmup)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def ema(model: nn.Module, decay: float) -> AveragedModel:
    """An exponential moving average of the weights; BatchNorm's statistics are averaged too."""
    return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)


def hybrid_optimizers(
    model: nn.Module, lr: float, weight_decay: float, blocks: str = ".layer"
) -> list[torch.optim.Optimizer]:
    """Muon for the hidden matrices, the weights with `blocks` in their name, and AdamW for everything else.

    Muon orthogonalises the update of a matrix (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/).
    Embeddings, biases, norms, tables of shifts and scales and the classifier are no matrices between hidden layers:
    AdamW takes them.
    """
    hidden = [p for name, p in model.named_parameters() if p.ndim == 2 and blocks in name and name.endswith("weight")]
    taken = {id(p) for p in hidden}
    other = [p for p in model.parameters() if id(p) not in taken]
    return [
        torch.optim.Muon(hidden, lr=lr, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(other, lr=lr, weight_decay=0.0),
    ]


def save_state(path: Path, state: dict) -> None:
    """Write a resumable state under a temporary name, then rename it: a killed run never leaves half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with files.draft(path) as partial:
        torch.save(state, partial)


def load_state(path: Path) -> dict | None:
    """The state that `save_state` wrote, on the CPU, or None if there is none yet."""
    return read_state_dict(path) if path.exists() else None


def stratified_times(count: int, times: int = 1000) -> torch.Tensor:
    """Times (count,) at random, 0 to times - 1, one from each of `count` equal parts: the loss then varies less."""
    return ((torch.arange(count) + torch.rand(count)) * times / count).long().clamp(max=times - 1)


def cached(path: Path, make: Callable[[], dict]) -> dict:
    """What `make` returns, kept in a file: a resumed run need not compute it again."""
    if (state := load_state(path)) is None:
        state = make()
        save_state(path, state)
    return state


def write_csv(path: Path, rows: Iterable[dict]) -> None:
    """Write dictionaries with the same keys as a table with a header."""
    rows = list(rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
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


def minutes_of(rows: Iterable[dict]) -> float:
    """The minutes that the rows of a log add up to."""
    return round(sum(row["seconds"] for row in rows) / 60, 1)


def words_for(device: torch.device) -> str:
    """What a training ran on, for its card."""
    return f"{torch.get_num_threads()} processor cores" if device.type == "cpu" else device.type.upper()
