"""Sampling from a latent diffusion model: schedulers by name, noise by seed, guidance, and one loop for all of it.

`sample` yields every step, so that its caller may plot, measure or stop. Shapes: N samples, of any shape: (C, H, W)
latents of images, or (C, F, H, W) of clips.
A time is an index of the scheduler, 0 to 999; the networks were trained on times 1 to 1,000, so index t goes in as
t + 1.
Arguments that are not as described are a ValueError, which names them.
"""

from __future__ import annotations

import inspect
import math
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from numbers import Real

import diffusers
import numpy as np
import torch
from diffusers import SchedulerMixin
from torch import Tensor

from tutorial_utils import require

STABLE_DIFFUSION = {
    "num_train_timesteps": 1000,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "prediction_type": "epsilon",
}
"""Stable Diffusion's noise schedule, on which the published U-ViT was trained, as a scheduler's configuration."""

UVIT = {**STABLE_DIFFUSION, "final_sigmas_type": "sigma_min"}
"""The same for sampling as the published U-ViT does: stop at time 1 of 1,000, and not at the clean image."""

SCHEDULERS = {
    "dpm-single": ("DPMSolverSinglestepScheduler", {"solver_order": 3, "lower_order_final": True}),
    "dpm-multi": ("DPMSolverMultistepScheduler", {"solver_order": 2}),
    "unipc": ("UniPCMultistepScheduler", {"solver_order": 3}),
    # DDIM is DPM-Solver++ of order one (Lu et al. 2022); DDIMScheduler takes only steps that divide 1,000.
    "ddim": ("DPMSolverMultistepScheduler", {"solver_order": 1}),
    "euler": ("EulerDiscreteScheduler", {}),
}
"""Names for the command line and the lessons: a class of diffusers, and what differs from its defaults."""

EVERYWHERE = (0.0, math.inf)

Network = Callable[[Tensor, Tensor, Tensor | None], Tensor]


@dataclass(frozen=True)
class Settings:
    """How to sample.

    Attributes:
        scheduler: one of the names in `SCHEDULERS`.
        steps: of the scheduler, 1 to 1,000.
        guidance_scale: see `guided`; 1 for none.
        guidance_interval: guide only where the noise level is within these bounds (Kynkäänniemi et al. 2024,
            https://arxiv.org/abs/2404.07724): elsewhere guidance hurts or does nothing, and costs an evaluation. None
            is `EVERYWHERE`.
    """

    scheduler: str = "dpm-multi"
    steps: int = 20
    guidance_scale: float = 2.0
    guidance_interval: tuple[float, float] | None = EVERYWHERE

    def __new__(cls, *values: object, **named: object) -> Settings:
        """A dial that there is not is refused here: Python would not say which there are."""
        known = [field.name for field in fields(cls)]
        for name in named.keys() - set(known):
            hint = require.meant(name, known)
            raise ValueError(f"There is no setting {name!r}: choose one of {', '.join(known)}.{hint}")
        return super().__new__(cls)

    def __post_init__(self) -> None:
        _require_scheduler(self.scheduler)
        require.whole("steps", self.steps, 1, STABLE_DIFFUSION["num_train_timesteps"])
        _require_scale(self.guidance_scale)
        if self.guidance_interval is None:
            object.__setattr__(self, "guidance_interval", EVERYWHERE)
        if not _are_bounds(self.guidance_interval):
            raise ValueError(f"guidance_interval={self.guidance_interval!r} must be two noise levels, 0 <= low < high.")


@dataclass(frozen=True)
class Step:
    """What `sample` yields after each step.

    Attributes:
        index: 0 for the first step.
        time: the time that the step began at.
        noise_level: the standard deviation of the noise, in multiples of the image's share, when the step began.
        latent: (N, ...) after the step, on the scheduler's scale.
        clean: (N, ...), the clean image that the network predicted when the step began.
        evaluations: evaluations of the network for each sample so far; a guided step counts two.
    """

    index: int
    time: float
    noise_level: float
    latent: Tensor
    clean: Tensor
    evaluations: int


def make_scheduler(name: str, config: dict = UVIT) -> SchedulerMixin:
    """A scheduler of diffusers by one of the names in `SCHEDULERS`.

    Args:
        config: the noise schedule that the network was trained on, and where its samples end; another scheduler's
            configuration will do.

    Raises:
        ValueError: the name is unknown, or the schedule ends in pure noise and this scheduler cannot start there, or
            it is no schedule at all.
    """
    _require_scheduler(name)
    if config.get("rescale_betas_zero_snr") and not _starts_from_pure_noise(name):
        able = ", ".join(filter(_starts_from_pure_noise, SCHEDULERS))
        raise ValueError(f"{name!r} cannot start from the pure noise that this schedule ends in: choose one of {able}.")
    kind, options = SCHEDULERS[name]
    try:
        return getattr(diffusers, kind).from_config(config, **options)
    except Exception as error:  # of arithmetic, of attributes, of types: whatever a value that does not fit leads to
        raise ValueError(f"{name!r} cannot be made for this schedule: {type(error).__name__}: {error}.") from error


def _starts_from_pure_noise(name: str) -> bool:
    # diffusers drops an option that a scheduler does not know, and would sample from another schedule
    return "rescale_betas_zero_snr" in inspect.signature(getattr(diffusers, SCHEDULERS[name][0])).parameters


def generators(seeds: Sequence[int]) -> list[torch.Generator]:
    """A random generator for each seed, on the CPU so that every machine draws the same numbers."""
    return [torch.Generator().manual_seed(require.whole("seed", seed, 0, 2**63 - 1)) for seed in seeds]


def sample_seed(seed: int, k: int) -> int:
    """The seed of sample k in the run with `seed`: runs with different seeds share none."""
    entropy = [require.whole("seed", seed, 0), require.whole("k", k, 0)]
    return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0] >> 1)


def draw_noise(sources: Sequence[torch.Generator], shape: Sequence[int]) -> Tensor:
    """Standard normal noise, each sample from its own generator: ``(len(sources), *shape)``, float32, on the CPU."""
    noise = torch.empty(len(sources), *(require.whole("shape", length, 1) for length in shape))
    for one, source in zip(noise, sources, strict=True):
        one.normal_(generator=source)
    return noise


def signal_and_noise(scheduler: SchedulerMixin, times: Tensor) -> tuple[Tensor, Tensor]:
    """The shares of the clean image and of the noise in a noisy one: x_t = signal * x_0 + noise * epsilon.

    Args:
        scheduler: one with a variance-preserving schedule (it has `alphas_cumprod`).
        times: any shape, 0 to 999; shares at fractions are interpolated.

    Returns:
        Two tensors of the shape of `times`; their squares add up to 1.
    """
    times, schedule = times.cpu().double(), scheduler.alphas_cumprod.cpu().double()  # MPS has no float64
    require.floats("times", times, "...", within=(0, len(schedule) - 1))
    share = np.interp(times, np.arange(len(schedule)), schedule)
    share = torch.as_tensor(share, dtype=torch.float32)
    return share.sqrt(), (1 - share).sqrt()


def predict_clean(scheduler: SchedulerMixin, noisy: Tensor, output: Tensor, time: Tensor) -> Tensor:
    """The clean image that a network's output implies, (N, ...).

    Args:
        noisy: the network's input, (N, ...).
        output: its output: what the scheduler's `prediction_type` says.
        time: one time for all.
    """
    for name, values in (("noisy images", noisy), ("output", output)):
        require.floats(name, values, "...")
    if output.shape != noisy.shape or time.numel() != 1:
        raise ValueError(
            f"an output {tuple(output.shape)} at times {tuple(time.shape)} does not belong to an input of shape "
            f"{tuple(noisy.shape)}: the same shape and one time are due."
        )
    signal, noise = (share.item() for share in signal_and_noise(scheduler, time))
    return _to_clean(scheduler.config.prediction_type, noisy, output, signal, noise)


def _to_clean(kind: str, noisy: Tensor, output: Tensor, signal: float, noise: float) -> Tensor:
    if kind == "epsilon":
        return (noisy - noise * output) / signal
    if kind == "v_prediction":  # v = signal * epsilon - noise * x_0 (Salimans and Ho 2022)
        return signal * noisy - noise * output
    if kind == "sample":
        return output
    raise ValueError(f"prediction_type={kind!r} is not known here: epsilon, v_prediction or sample.")


def guided(
    network: Network, x: Tensor, times: Tensor, labels: Tensor | None, null_label: int | Tensor | None, scale: float
) -> Tensor:
    """The network's output with classifier-free guidance (Ho and Salimans 2022), in one evaluation of twice the batch.

    Args:
        x: (N, ...).
        times: floats (N,), as the network takes them.
        labels: integers (N,).
        null_label: the label for "no class", or integers (N,) where each sample has its own.
        scale: 1 for no guidance, which costs one evaluation for each sample instead of two; 0 for no class.
            ``no class + scale * (class - no class)``, as diffusers defines it.

    Returns:
        (N, ...).
    """
    _require_scale(scale)
    _require_classes(scale, labels, null_label)
    if scale == 1:
        return network(x, times, labels)
    without = torch.zeros_like(labels) + null_label
    both = network(torch.cat([x, x]), torch.cat([times, times]), torch.cat([labels, without]))
    conditional, unconditional = both.chunk(2)
    return unconditional + scale * (conditional - unconditional)


def sample(
    network: Network,
    scheduler: SchedulerMixin,
    noise: Tensor,
    labels: Tensor | None = None,
    *,
    steps: int,
    guidance_scale: float = 1.0,
    guidance_interval: tuple[float, float] | None = EVERYWHERE,
    null_label: int | Tensor | None = None,
    sources: list[torch.Generator] | None = None,
) -> Iterator[Step]:
    """From noise to images, a step at a time.

    Args:
        network: called as ``network(x, times, labels)``, (N, ...) -> (N, ...), such as a `UViT`.
        scheduler: any of diffusers' with `alphas_cumprod`; its timesteps are set here.
        noise: standard normal floats (N, ...), such as `draw_noise` makes; their device and dtype are used throughout.
        labels: integers (N,); None for a network without classes.
        steps, guidance_scale, guidance_interval: see `Settings`.
        null_label: see `guided`; needed with guidance.
        sources: the samples' generators, for schedulers that add noise at every step.

    Returns:
        An iterator over a `Step` for each time of the scheduler.
    """
    settings = Settings(steps=steps, guidance_scale=guidance_scale, guidance_interval=guidance_interval)
    require.floats("noise", noise, "... W", within=require.FINITE)
    if labels is not None:
        require.integers("labels", labels, "N")
    _require_classes(guidance_scale, labels, null_label)
    for name, values in (("labels", labels), ("sources", sources)):
        if values is not None and len(values) != len(noise):
            raise ValueError(f"{len(values)} {name} were given for {len(noise)} samples.")
    set_timesteps(scheduler, steps, noise.device)
    return _steps(network, scheduler, noise, labels, settings, null_label, sources)


def set_timesteps(scheduler: SchedulerMixin, steps: int, device: torch.device | None = None) -> None:
    """Let a scheduler choose its times, and make sure that they fall, and lie within its schedule.

    With some numbers of steps rounding gives a time twice, or one beyond the end: solvers divide by the distance of
    two, and what they make is not a number. It raises a ValueError that names the next number of steps that can be had.
    """
    require.whole("steps", steps, 1, scheduler.config.num_train_timesteps)
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):  # of NumPy, about diffusers
        possible = next((fewer for fewer in range(steps, 0, -1) if _are_distinct(scheduler, fewer)), None)
        if possible != steps:
            kind = type(scheduler).__name__
            raise ValueError(f"steps={steps}: {kind} has no such times here: choose {possible} steps.")
        scheduler.set_timesteps(steps, device=device)


def _are_distinct(scheduler: SchedulerMixin, steps: int) -> bool:
    try:
        scheduler.set_timesteps(steps)
    except ValueError:
        return False
    times = scheduler.timesteps.tolist()
    within = all(0 <= time < scheduler.config.num_train_timesteps for time in times)
    return within and all(later < earlier for earlier, later in pairwise(times))


@torch.no_grad()
def _steps(
    network: Network,
    scheduler: SchedulerMixin,
    noise: Tensor,
    labels: Tensor | None,
    settings: Settings,
    null_label: int | Tensor | None,
    sources: list[torch.Generator] | None,
) -> Iterator[Step]:
    kind, extra = scheduler.config.prediction_type, _step_options(scheduler, sources)
    low, high = settings.guidance_interval
    signals, noises = (shares.tolist() for shares in signal_and_noise(scheduler, scheduler.timesteps))
    latent, evaluations = noise * scheduler.init_noise_sigma, 0
    for index, (time, signal, share) in enumerate(zip(scheduler.timesteps, signals, noises, strict=True)):
        level = share / signal if signal else math.inf
        scale = settings.guidance_scale if low <= level <= high else 1.0
        x = scheduler.scale_model_input(latent, time).to(noise.dtype)
        times = (time.to(x.device, torch.float32) + 1).expand(len(x))
        output = guided(network, x, times, labels, null_label, scale)
        latent = scheduler.step(output, time, latent, **extra).prev_sample.to(noise.dtype)
        evaluations += 1 if scale == 1 else 2
        yield Step(index, time.item(), level, latent, _to_clean(kind, x, output, signal, share), evaluations)


def last(steps: Iterator[Step]) -> Step:
    """The last step, whose latent is the result; a ValueError if there is none."""
    end = deque(steps, maxlen=1)
    if not end:
        raise ValueError("There are no steps: an iterator over them can be used once.")
    return end.pop()


def _step_options(scheduler: SchedulerMixin, sources: list[torch.Generator] | None) -> dict:
    takes = inspect.signature(scheduler.step).parameters
    return {"generator": sources} if sources is not None and "generator" in takes else {}


def _require_scheduler(name: str) -> None:
    if not isinstance(name, str) or name not in SCHEDULERS:
        hint = require.meant(name, SCHEDULERS)
        raise ValueError(f"There is no scheduler {name!r}: choose one of {', '.join(SCHEDULERS)}.{hint}")


def _are_bounds(interval: object) -> bool:
    two = isinstance(interval, Sequence) and len(interval) == 2 and all(isinstance(one, Real) for one in interval)
    return two and 0 <= interval[0] < interval[1]


def _require_scale(scale: float) -> None:
    is_number = isinstance(scale, Real) or (isinstance(scale, Tensor) and scale.ndim == 0)
    if not is_number or not math.isfinite(scale) or scale < 0:
        raise ValueError(f"guidance_scale={scale!r} must be a number of at least 0; 1 is no guidance.")


def _require_classes(scale: float, labels: Tensor | None, null_label: int | Tensor | None) -> None:
    if scale != 1 and (labels is None or null_label is None):
        raise ValueError(f"guidance_scale={scale} needs labels and a null_label; without classes it must be 1.")
