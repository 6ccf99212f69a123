"""What every recipe needs: a command line, a resumable run, a learning-rate schedule, averaged weights, a log."""

from __future__ import annotations

import copy
import logging
import math
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, fields, replace
from functools import partial
from pathlib import Path
from typing import Annotated

import torch
import typer
from diffusers import SchedulerMixin
from rich.logging import RichHandler
from torch import nn

from tutorial_utils import failures, files, runtime
from tutorial_utils.networks.checkpoints import read_state_dict
from tutorial_utils.progress import bar
from tutorial_utils.sampling.diffusion import signal_and_noise

log = logging.getLogger("recipes")

Loss = Callable[[nn.Module], torch.Tensor]

SAVED_EVERY = 60
"""Seconds: so much of a training may be lost if it is cut off."""


def command(recipe: Callable[[Path, Path, torch.device], None]) -> None:
    """Run a recipe from the command line, as ``recipe(out, work, device)``; its docstring is the help."""

    def main(
        out: Annotated[Path, typer.Option(help="Folder for the checkpoint.")],
        work: Annotated[Path, typer.Option(help="Folder for the resumable state, outside the repository.")],
        device: Annotated[str | None, typer.Option(help="A torch device, the lessons' by default.")] = None,
    ) -> None:
        failures.any_encoding()
        try:
            carry_out(recipe, out, work, runtime.device(device))
        except ValueError as error:
            sys.exit(str(error))
        except Exception as error:
            if not failures.is_systems(error):
                raise
            sys.exit(failures.in_a_line(error))

    main.__doc__ = recipe.__doc__
    typer.run(main)


def carry_out(recipe: Callable[[Path, Path, torch.device], None], out: Path, work: Path, device: torch.device) -> None:
    """Run a recipe, with its log on the terminal: `out` is there as a whole or not at all.

    Raises:
        ValueError: nothing can be written to `out` or `work`, or another process is at work in `work`.
    """
    log.setLevel(logging.INFO)
    log.handlers = [
        RichHandler(show_level=False, show_path=False, log_time_format="%X")
    ]  # in harmony with the progress bars
    files.require_place(out, "--out")
    files.require_place(work, "--work")
    with files.alone(work, f"{work} is in use"), files.draft_folder(out) as draft:
        recipe(draft, work, device)


def shortened(recipe, share: float):
    """A recipe whose steps and epochs, those of its schedule included, are a share of what they were, at least 1."""
    lengths = ("steps", "epochs", "schedule", "warmup")
    chosen = {field.name: getattr(recipe, field.name) for field in fields(recipe) if field.name.endswith(lengths)}
    return replace(
        recipe, **{name: max(1, round(share * value)) for name, value in chosen.items() if isinstance(value, int)}
    )


class Run:
    """One resumable training: a model, the average of its weights, its optimisers, and the rows of its log.

    On a GPU a network computes in bfloat16; its weights, their average and the optimisers stay in single precision. And
    a step is recorded once and then repeated, see `Repeated`.

    Attributes:
        average: the model with an exponential moving average of its weights, in which the first ones, which know
            nothing, are forgotten early: of n weights so far it keeps (n + 1) / (n + 10) at most, as diffusers'
            `EMAModel` does.
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
        self.average = copy.deepcopy(model).requires_grad_(False)
        self.device = next(model.parameters()).device
        self.on_gpu = self.device.type == "cuda" and torch.cuda.is_available()
        self.step = 0
        self.rows: list[dict] = []
        self.best: dict = {}
        self.devices: list[str] = []
        self.since = {"step": 0, "loss": 0.0, "seconds": 0.0}  # the last row, and what has come together since
        self._resume()
        # what a step reads and adds to has its place on the device, where a recorded step finds it
        self._kept, self._loss = torch.tensor([0.0, self.since["loss"]], device=self.device)
        for group in self._groups() if self.on_gpu else ():
            group["lr"] = torch.zeros((), device=self.device)

    def _groups(self) -> list[dict]:
        return [group for optimizer in self.optimizers for group in optimizer.param_groups]

    def _resume(self) -> None:
        state = load_state(self.path) or {}
        if state and (differing := differences(state["recipe"], asdict(self.recipe))):
            raise ValueError(f"{self.path} belongs to another recipe, {differing}: choose another --work folder.")
        for key in ("step", "rows", "best", "devices") if state else ():
            setattr(self, key, state[key])
        self.since = state.get("since", self.since | {"step": self.step})
        for part in ("model", "average") if state else ():
            getattr(self, part).load_state_dict(state[part])
        for optimizer, saved in zip(self.optimizers, state.get("optimizers", ()), strict=bool(state)):
            for group in saved["param_groups"]:
                group["capturable"] = self.on_gpu
            optimizer.load_state_dict(saved)
        for group in self._groups():
            group["capturable"] = self.on_gpu  # its step count, too, is then on the device

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
                "since": self.since,
                "recipe": asdict(self.recipe),
            },
        )

    def descend(self, loss: torch.Tensor, rate: float) -> None:
        """One step of every optimiser down the gradient of `loss` with the learning rate `rate`."""
        self._announce(rate)
        self._descend(loss)
        self.step += 1

    def _announce(self, rate: float) -> None:
        """Put down what differs from step to step."""
        for group in self._groups():
            if self.on_gpu:
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate
        self._kept.fill_(min(self.recipe.ema_decay, (self.step + 1) / (self.step + 10)) if self.step else 0)

    def _descend(self, loss: torch.Tensor) -> None:
        loss.backward()
        if self.clip < math.inf:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.clip)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        follow(self.average, self.model, self._kept)
        self._loss += loss.detach()

    def _learn(self, loss_of: Loss) -> None:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.on_gpu):
            loss = loss_of(self.model)
        self._descend(loss)

    def fit(
        self,
        steps: int,
        rate_at: Callable[[int], float],
        loss_at: Callable[[int], Loss],
        measure: Callable[[nn.Module], dict],
        every: int,
    ) -> None:
        """Take the steps that are left; log and save after each `every` of them, and save once a minute, too.

        Args:
            steps: of the whole run.
            rate_at: the learning rate at a step.
            loss_at: what a step minimises, a scalar from the model; one function for all steps of a kind. It draws from
                torch's global generators, which are seeded by the step: so a resumed run is the same run. On a GPU it
                is recorded, see `Repeated`.
            measure: figures for the log, from the averaged model in eval mode.
            every: steps between two rows of the log.
        """
        if self.step < steps and (here := words_for(self.device)) not in self.devices:
            self.devices.append(here)
        torch.backends.cudnn.benchmark = True  # a GPU's convolutions by the clock: rules fail where channels are few
        self.model.train()
        self.average.eval()
        kinds: dict[Loss, Callable[[], None]] = {}
        before, started = self.since["step"], time.perf_counter() - self.since["seconds"]
        saved = time.perf_counter()
        with bar(self.path.stem, "steps", done=self.step) as progress:
            progress(self.step, steps)
            while self.step < steps:
                torch.manual_seed(self.recipe.seed * 1_000_003 + self.step)
                self._announce(rate_at(self.step))
                if (loss_of := loss_at(self.step)) not in kinds:
                    learn = partial(self._learn, loss_of)
                    kinds[loss_of] = Repeated(learn) if self.on_gpu else learn
                kinds[loss_of]()
                self.step += 1
                progress(self.step, steps)
                if self.step % every == 0 or self.step == steps:
                    with torch.inference_mode():
                        figures = measure(self.average)
                    row = {"train_loss": self._loss.item() / (self.step - before)} | figures
                    rounded = {key: round(float(value), 5) for key, value in row.items()}
                    seconds = round(time.perf_counter() - started, 1)
                    self.rows.append({"step": self.step} | rounded | {"seconds": seconds})
                    log.info(", ".join(f"{name} {value}" for name, value in self.rows[-1].items()))
                    self._loss.zero_()
                    started, before = time.perf_counter(), self.step
                elif time.perf_counter() - saved < SAVED_EVERY:
                    continue
                saved = time.perf_counter()
                self.since = {"step": before, "loss": self._loss.item(), "seconds": saved - started}
                self.save()


class Repeated:
    """Something done again and again on a GPU, recorded as a CUDA graph: its kernels, which take less time than a
    processor needs to start them one by one, then start all at once (https://docs.pytorch.org/docs/stable/notes/cuda.html).

    What is done is the same, chance included. But it is the same kernels on the same memory each time: so it must
    not wait for the GPU to read a number, nor depend on anything that changes but tensors in their places and the state
    of the global generators.

    The first times nothing is recorded: libraries choose their kernels, and optimisers make their state.
    """

    UNRECORDED = 3

    def __init__(self, act: Callable[[], None]):
        self.act, self.times, self.stream = act, 0, torch.cuda.Stream()
        self.graph = torch.cuda.CUDAGraph()

    def __call__(self) -> None:
        self.times += 1
        if self.times <= self.UNRECORDED:
            self.stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self.stream):
                self.act()
            torch.cuda.current_stream().wait_stream(self.stream)
            return
        if self.times == self.UNRECORDED + 1:
            with torch.cuda.graph(self.graph, stream=self.stream):
                self.act()
        self.graph.replay()


def warmup_cosine(step: int, total: int, warmup: int) -> float:
    """Fraction of the peak learning rate at `step`: a linear rise over `warmup` steps, then half a cosine to 0."""
    if step < warmup:
        return (step + 1) / warmup
    progress = (step - warmup) / max(1, total - warmup)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


@torch.no_grad()
def follow(average: nn.Module, model: nn.Module, kept: torch.Tensor) -> None:
    """Move the weights and running statistics of `average` towards the model's; a share `kept`, 0 to 1, stays."""
    pairs = [*zip(average.parameters(), model.parameters(), strict=True)]
    for mean, now in zip(average.buffers(), model.buffers(), strict=True):
        if now.is_floating_point():
            pairs.append((mean, now))
        else:
            mean.copy_(now)
    means, latest = map(list, zip(*pairs, strict=True))
    ways = torch._foreach_sub(latest, means)
    torch._foreach_mul_(ways, 1 - kept)
    torch._foreach_add_(means, ways)


class StackedMuon(torch.optim.Optimizer):
    """Muon (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/) over all matrices of a shape at a time: the
    steps of `torch.optim.Muon` with `match_rms_adamw`, in a fraction of the kernels. It takes convolutions, too, as
    matrices with a row for each channel that comes out.
    """

    def __init__(self, params: Iterable[nn.Parameter], lr: float, weight_decay: float = 0.0):
        newton_schulz = {"ns_coefficients": (3.4445, -4.775, 2.0315), "ns_steps": 5, "eps": 1e-7}
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "momentum": 0.95, **newton_schulz})

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
                turned = orthogonalised(gradients.lerp(torch.stack(momenta), group["momentum"]).flatten(2), group)
                turned = turned * (group["lr"] * 0.2 * max(turned.shape[1:]) ** 0.5)
                torch._foreach_mul_(matrices, 1 - group["lr"] * group["weight_decay"])
                torch._foreach_sub_(matrices, list(turned.unflatten(2, shape[1:])))

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
    model: nn.Module, lr: float, weight_decay: float, blocks: str = ".layer", betas: tuple[float, float] = (0.9, 0.999)
) -> list[torch.optim.Optimizer]:
    """Muon for the hidden matrices, the weights with `blocks` in their name, and AdamW for everything else.

    Embeddings, biases, norms, tables of shifts and scales and the classifier are no matrices between hidden layers:
    AdamW takes them. The weights of convolutions are matrices, too, see `StackedMuon`.
    """
    weights = [(name, p) for name, p in model.named_parameters() if name.endswith("weight")]
    hidden = [p for name, p in weights if p.ndim in (2, 4) and blocks in name]
    taken = {id(p) for p in hidden}
    other = [p for p in model.parameters() if id(p) not in taken]
    return [
        StackedMuon(hidden, lr=lr, weight_decay=weight_decay),
        torch.optim.AdamW(other, lr=lr, betas=betas, weight_decay=0.0, fused=True),
    ]


def differences(theirs: dict, ours: dict) -> str:
    """In words, in which choices two recipes differ; nothing if they do not."""
    names = [name for name in theirs | ours if theirs.get(name) != ours.get(name)]
    return ", ".join(f"of {name} {theirs.get(name)} in place of {ours.get(name)}" for name in names)


def save_state(path: Path, state: dict) -> None:
    """Write a resumable state under a temporary name, then rename it: a killed run never leaves half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with files.draft(path) as partial:
        torch.save(state, partial)


def load_state(path: Path) -> dict | None:
    """The state that `save_state` wrote, on the CPU, or None if there is none yet."""
    return read_state_dict(path) if path.exists() else None


def stratified_times(count: int, device: torch.device, times: int = 1000) -> torch.Tensor:
    """Times (count,) at random, 0 to times - 1, one from each of `count` equal parts: the loss then varies less."""
    parts = torch.arange(count, device=device) + torch.rand(count, device=device)
    return (parts * times / count).long().clamp(max=times - 1)


def noise_table(scheduler: SchedulerMixin, device: torch.device) -> torch.Tensor:
    """The shares of signal and noise at each time of a schedule, (2, times), on a device: a step looks them up."""
    return torch.stack(signal_and_noise(scheduler, torch.arange(len(scheduler.alphas_cumprod)))).to(device)


def cached(path: Path, make: Callable[[], dict]) -> dict:
    """What `make` returns, kept in a file: a resumed run need not compute it again."""
    if (state := load_state(path)) is None:
        state = make()
        save_state(path, state)
    return state


def minutes_of(rows: Iterable[dict]) -> float:
    """The minutes that the rows of a log add up to."""
    return round(sum(row["seconds"] for row in rows) / 60, 1)


def words_for(device: torch.device) -> str:
    """What a training ran on, for its card."""
    if device.type == "cpu":
        return f"{torch.get_num_threads()} processor cores"
    known = device.type == "cuda" and torch.cuda.is_available()
    return torch.cuda.get_device_name(device) if known else device.type.upper()
