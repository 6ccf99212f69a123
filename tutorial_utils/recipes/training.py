"""What every recipe needs: a command line, a resumable run, a learning-rate schedule, averaged weights, a log."""

from __future__ import annotations

import csv
import json
import logging
import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import torch
import typer
from diffusers import SchedulerMixin
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from tutorial_utils import files, runtime
from tutorial_utils.sampling.diffusion import signal_and_noise

log = logging.getLogger("recipes")


def command(recipe: Callable[[Path, Path, torch.device], None]) -> None:
    """Run a recipe from the command line, as ``recipe(out, work, device)``; its docstring is the help."""

    def main(
        out: Annotated[Path, typer.Option(help="Folder for the checkpoint.")],
        work: Annotated[Path, typer.Option(help="Folder for the resumable state, outside the repository.")],
        device: Annotated[str | None, typer.Option(help="A torch device, the lessons' by default.")] = None,
    ) -> None:
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
        recipe(out, work, runtime.device(device))

    main.__doc__ = recipe.__doc__
    typer.run(main)


class Run:
    """One resumable training: a model, the average of its weights, its optimisers, and the rows of its log.

    On a GPU a network computes in bfloat16; its weights, their average and the optimisers stay in single precision.

    Attributes:
        devices: in words, what it ran on, for its card; more than one if it was resumed elsewhere.

    Args:
        path: the file of the resumable state. If it is there, the run goes on from it.
        model: on its device already.
        optimizers: over the model's parameters; their learning rate is set at every step.
        recipe: a dataclass with `seed` and `ema_decay`. A state belongs to one recipe.
        clip: the length that a gradient, of all parameters together, is cut to.

    Raises:
        ValueError: the state at `path` belongs to another recipe.
    """

    def __init__(
        self, path: Path, model: nn.Module, optimizers: Sequence[torch.optim.Optimizer], recipe, clip: float = math.inf
    ):
        self.path, self.model, self.optimizers, self.recipe, self.clip = path, model, optimizers, recipe, clip
        self.average = ema(model, recipe.ema_decay)
        self.device = next(model.parameters()).device
        self.step = 0
        self.rows: list[dict] = []
        self.best: dict = {}
        self.devices: list[str] = []
        self._resume()

    def _resume(self) -> None:
        if (state := load_state(self.path)) is None:
            return
        if state["recipe"] != asdict(self.recipe):
            raise ValueError(f"{self.path} belongs to another recipe, {state['recipe']}: choose another --work folder.")
        self.average.load_state_dict(state["average"])
        self.step, self.rows, self.best, self.devices = (state[key] for key in ("step", "rows", "best", "devices"))
        self.model.load_state_dict(state["model"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)

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
                "devices": self.devices,
                "recipe": asdict(self.recipe),
            },
        )

    def descend(self, loss: torch.Tensor, rate: float) -> None:
        """One step of every optimiser down the gradient of `loss` with the learning rate `rate`."""
        loss.backward()
        if self.clip < math.inf:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.clip)
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
                so a resumed run is the same run. It should not wait for the GPU, which then never waits for it.
            measure: figures for the log, from the averaged model in eval mode.
            every: steps between two rows of the log.
        """
        if self.step < steps and (here := words_for(self.device)) not in self.devices:
            self.devices.append(here)
        on_gpu = self.device.type == "cuda" and torch.cuda.is_available()
        started, losses = time.perf_counter(), []
        while self.step < steps:
            torch.manual_seed(self.recipe.seed * 1_000_003 + self.step)
            with torch.autocast(self.device.type, torch.bfloat16, enabled=on_gpu):
                loss = loss_of(self.model.train())
            self.descend(loss, rate_at(self.step))
            losses.append(loss.detach())
            if self.step % every == 0 or self.step == steps:
                with torch.inference_mode():
                    figures = measure(self.average.eval().module)
                seconds = round(time.perf_counter() - started, 1)
                row = {"train_loss": torch.stack(losses).mean().item()} | figures
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
    """An exponential moving average of the weights; BatchNorm's statistics are averaged too.

    Of n weights so far it keeps (n + 1) / (n + 10) at most, as diffusers' `EMAModel` does: so the first weights, which
    know nothing, are forgotten early.
    """

    def update(averaged: list[torch.Tensor], now: list[torch.Tensor], count: torch.Tensor) -> None:
        get_ema_multi_avg_fn(min(decay, (count.item() + 1) / (count.item() + 10)))(averaged, now, count)

    return AveragedModel(model, multi_avg_fn=update, use_buffers=True)


class StackedMuon(torch.optim.Muon):
    """Muon that takes all matrices of one shape at a time: the same steps, in a fraction of the kernels."""

    @torch.no_grad()
    def step(self) -> None:
        """One step down the gradients; a matrix that has none stays as it is."""
        for group in self.param_groups:
            shapes = defaultdict(list)
            for p in group["params"]:
                if p.grad is not None:
                    shapes[p.shape].append(p)
            for shape, matrices in shapes.items():
                gradients = torch.stack([p.grad for p in matrices])
                momenta = [self._momentum(p) for p in matrices]
                torch._foreach_lerp_(momenta, list(gradients), 1 - group["momentum"])
                turned = orthogonalised(gradients.lerp(torch.stack(momenta), group["momentum"]), group)
                torch._foreach_mul_(matrices, 1 - group["lr"] * group["weight_decay"])
                torch._foreach_add_(matrices, list(turned), alpha=-group["lr"] * 0.2 * max(shape) ** 0.5)

    def _momentum(self, p: torch.Tensor) -> torch.Tensor:
        if "momentum_buffer" not in self.state[p]:
            self.state[p]["momentum_buffer"] = torch.zeros_like(p)
        return self.state[p]["momentum_buffer"]


def orthogonalised(matrices: torch.Tensor, group: dict) -> torch.Tensor:
    """Matrices (N, rows, columns) with singular values near 1, by the Newton-Schulz iteration of `torch.optim.Muon`."""
    a, b, c = group["ns_coefficients"]
    tall = matrices.shape[1] > matrices.shape[2]
    x = (matrices.mT if tall else matrices).bfloat16()
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=group["eps"])
    for _ in range(group["ns_steps"]):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x.mT if tall else x).to(matrices.dtype)


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
        StackedMuon(hidden, lr=lr, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(other, lr=lr, weight_decay=0.0, fused=True),
    ]


def save_state(path: Path, state: dict) -> None:
    """Write a resumable state under a temporary name, then rename it: a killed run never leaves half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with files.draft(path) as partial:
        torch.save(state, partial)


def load_state(path: Path) -> dict | None:
    """The state that `save_state` wrote, on the CPU, or None if there is none yet."""
    return torch.load(path, map_location="cpu", weights_only=True) if path.exists() else None


def stratified_times(count: int, device: torch.device, times: int = 1000) -> torch.Tensor:
    """Times (count,) at random, 0 to times - 1, one from each of `count` equal parts: the loss then varies less."""
    parts = torch.arange(count, device=device) + torch.rand(count, device=device)
    return (parts * times / count).long().clamp(max=times - 1)


def noise_table(scheduler: SchedulerMixin, device: torch.device) -> torch.Tensor:
    """The shares of signal and noise at each time of a schedule, (2, times), on a device: a step looks them up."""
    return torch.stack(signal_and_noise(scheduler, torch.arange(len(scheduler.alphas_cumprod)))).to(device)


def quicken(*parts: nn.Module) -> None:
    """On a GPU, compile networks for the shapes they meet: the small kernels of a miniature cost more to start than to
    run. On a processor nothing is changed, since compiled code was six times slower there.
    """
    torch.backends.cudnn.benchmark = True  # of a GPU's convolutions: by the clock, since rules fail for few channels
    for part in parts:
        if next(part.parameters()).is_cuda and torch.cuda.is_available():
            part.compile(dynamic=False)


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
    (out / "README.md").write_text(card)


def without_infinity(value: object) -> object:
    """For JSON, which has no infinity: null where a number is infinite, at any depth; it stands for no bound."""
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
    if device.type == "cpu":
        return f"{torch.get_num_threads()} processor cores"
    known = device.type == "cuda" and torch.cuda.is_available()
    return torch.cuda.get_device_name(device) if known else device.type.upper()
