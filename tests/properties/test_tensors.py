"""Whatever fits a docstring is answered as it says; whatever does not is refused, in words that name it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import models
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import FLOATS, INTEGERS, REFUSED, Axes, attempt, fitting, misfitting
from torch import Tensor

from tutorial_utils.datasets import garments, images, moving
from tutorial_utils.measures import adherence, metrics
from tutorial_utils.networks import attention, uvit
from tutorial_utils.require import FINITE, UNIT
from tutorial_utils.sampling import by_class, diffusion, latte
from tutorial_utils.sampling.sampler import Sampler

SINGLE = (torch.float32,)
LABELS = Axes("N", (0, 2), dtypes=INTEGERS)


@dataclass(frozen=True)
class Case:
    """A function, the tensors that it takes, how it is called with them, and what must hold of its answer."""

    function: Callable
    takes: dict[str, Axes]
    answer: Callable[..., bool]
    call: Callable[..., tuple] = lambda **given: tuple(given.values())
    options: dict[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.function.__module__.removeprefix('tutorial_utils.')}.{self.function.__name__}"


# --- What each function takes, and answers ---------------------------------------------------------------------------


VIDEOS = {"videos": Axes(f"N {moving.FRAMES} 3 64 64", UNIT, least=1)}
IMAGES = {"images": Axes("N 3 H W", UNIT, least=1)}
WEIGHTS = {"weights": Axes("layers N heads 5 5")}
SCENES = {name: Axes("N", (0, size - 1), dtypes=INTEGERS[:2]) for name, size in moving.SIZES.items()}


def shaped(*shape: int | str, low: float = -math.inf, high: float = math.inf) -> Callable[..., bool]:
    """Whether an answer has a shape, N being the length of the first tensor, and values within bounds."""

    def holds(answer: Tensor, **given: Tensor) -> bool:
        n = len(next(iter(given.values())))
        expected = tuple(n if length == "N" else length for length in shape)
        return tuple(answer.shape) == expected and bool(((answer >= low) & (answer <= high)).all())

    return holds


def indices(most: int) -> Callable[..., bool]:
    """Whether an answer is an index, or `NONE`, for each clip."""
    return shaped("N", low=adherence.NONE, high=most - 1)


def first_of(*parts: Callable[..., bool]) -> Callable[..., bool]:
    """Each part of a tuple by its own rule."""
    return lambda answer, **given: all(holds(one, **given) for holds, one in zip(parts, answer, strict=True))


FRAMES = moving.FRAMES
ANY = shaped()


def told_within_bounds(footage: adherence.Footage, videos: Tensor) -> bool:
    """Whether everything that is told of videos has its shape, and values that make sense."""
    told = {
        "grey": shaped("N", FRAMES, 64, 64, low=0, high=1),
        "lit": shaped("N", FRAMES, 64, 64),
        "shown": shaped("N", FRAMES),
        "centres": shaped("N", FRAMES, 2, low=0, high=63.1),
        "velocity": shaped("N", 2, low=-64, high=64),
        "corners": shaped("N", FRAMES, 2, low=0, high=36),
        "sprites": shaped("N", FRAMES, 28, 28, low=0, high=1),
        "colour": indices(6),
        "direction": indices(4),
        "speed": indices(2),
    }
    seen = attempt(footage.scenes, models.judge())
    assert indices(3)(attempt(footage.garment, models.judge()), videos=videos) and len(seen) == len(videos)
    return all(holds(getattr(footage, name), videos=videos) for name, holds in told.items())


CASES = [
    Case(garments.stills, {"grey": Axes("N 1 28 28")}, shaped("N", 3, 64, 64)),
    Case(garments.shrink, {"images": Axes("N 3 64 64")}, shaped("N", 1, 28, 28)),
    Case(
        garments.tint,
        {"grey": Axes("N 1 H W"), "rgb": Axes("N 3")},
        lambda answer, grey, rgb: answer.shape == (len(grey), 3, *grey.shape[2:]),
    ),
    Case(
        garments.place,
        {"sprites": Axes("N C 28 28")} | {name: Axes("N", (0, 36), dtypes=INTEGERS) for name in ("rows", "columns")},
        lambda answer, sprites, **corners: answer.shape == (*sprites.shape[:2], 64, 64),
    ),
    Case(garments.hue, {"images": Axes("N 3 H W")}, shaped("N", low=0, high=360)),
    Case(garments.require_sprites, {"images": Axes("N C 28 28")}, lambda answer, **given: answer is None),
    Case(
        attention.attention_weights,
        {"pixel_values": Axes("N 3 8 8", FINITE, least=1, dtypes=SINGLE)},
        lambda answer, pixel_values: torch.allclose(answer.sum(-1), torch.ones(2, len(pixel_values), 2, 5)),
        call=lambda pixel_values: (models.vit(), pixel_values),
    ),
    Case(
        attention.cls_attention,
        WEIGHTS,
        lambda answer, weights: torch.equal(answer.flatten(2), weights[-1, :, :, 0, 1:]),
        call=lambda weights: (weights, (2, 2)),
    ),
    Case(
        attention.attention_rollout,
        WEIGHTS,
        lambda answer, weights: answer.shape == (weights.shape[1], 2, 2),
        call=lambda weights: (weights, (2, 2)),
    ),
    Case(metrics.Judge.forward, IMAGES, shaped("N", 8), call=lambda images: (models.judge(), images)),
    Case(
        metrics.Judge.logits,
        {"features": Axes("N 8", dtypes=SINGLE)},
        shaped("N", 3),
        call=lambda features: (models.judge(), features),
    ),
    Case(metrics.Judge.features, IMAGES, shaped("N", 8), call=lambda images: (models.judge(), images)),
    Case(metrics.Judge.classify, IMAGES, shaped("N", low=0, high=2), call=lambda images: (models.judge(), images)),
    Case(
        metrics.class_agreement,
        IMAGES | {"labels": LABELS},
        lambda answer, **given: 0 <= answer <= 1,
        call=lambda images, labels: (models.judge(), images, labels),
    ),
    Case(
        metrics.frechet_distance,
        {"images": Axes("N 3 H W", UNIT, least=2)},
        lambda answer, images: math.isfinite(answer),
        call=lambda images: (models.judge(), images, torch.rand(3, 3, 8, 8)),
    ),
    Case(
        metrics.frechet_distances,
        {"images": Axes("N 3 H W", UNIT, least=2)},
        lambda answer, images: math.isfinite(answer["some"]),
        call=lambda images: (models.judge(), {"some": torch.rand(3, 3, 8, 8)}, images),
    ),
    Case(
        metrics.nearest,
        {"queries": Axes("N D", FINITE), "among": Axes("M D", FINITE)},
        first_of(shaped("N", low=0), shaped("N", low=0, high=4)),
    ),
    Case(
        metrics.nearest_in_class,
        {"queries": Axes("N 2", FINITE), "labels": LABELS, "among": Axes("3 2", FINITE)},
        first_of(shaped("N", low=0), shaped("N", low=0, high=2)),
        call=lambda queries, labels, among: (queries, labels, among, torch.arange(3)),
    ),
    Case(
        metrics.spread,
        {"features": Axes("N D", FINITE, least=2), "labels": Axes("N", (1, 1), dtypes=INTEGERS)},
        lambda answer, **given: answer >= 0,
    ),
    Case(adherence.Footage, VIDEOS, told_within_bounds),
    Case(
        adherence.judge_videos,
        VIDEOS,
        lambda answer, videos: all(0 <= rate <= 1 for rate in attempt(answer.rates).values()),
        call=lambda videos: (models.judge(), videos, models.scenes(len(videos))),
    ),
    Case(adherence.consistency, {"sprites": Axes("N 8 28 28", UNIT)}, shaped("N", low=-1.01, high=1.01)),
    Case(
        moving.captions,
        SCENES,
        lambda answer, **parts: len(answer) == len(parts["garment"]) and all(text.startswith("a ") for text in answer),
        call=lambda **parts: (moving.Scenes(**parts),),
    ),
    Case(
        moving.sayings,
        SCENES,
        lambda answer, **parts: len(answer) == len(parts["garment"]) and all(answer),
        call=lambda **parts: (moving.Scenes(**parts), models.chance()),
    ),
    Case(
        adherence.variety,
        {"told": Axes("N", (-1, 3), least=1, dtypes=(torch.int64, torch.int32))},
        lambda answer, told: 0 <= answer <= 1.001,
        call=lambda told: (told, 4),
    ),
    Case(
        moving.paths,
        SCENES,
        lambda answer, garment, **others: (
            answer.shape == (len(garment), FRAMES, 2) and (answer.clamp(0, 36) == answer).all()
        ),
        call=lambda **parts: (moving.Scenes(**parts), models.chance()),
    ),
    Case(
        moving.choose_sprites,
        SCENES,
        lambda answer, garment, **others: torch.equal(answer % 10, garment.long()),
        call=lambda **parts: (torch.arange(20) % 10, moving.Scenes(**parts), models.chance()),
    ),
    Case(
        moving.render,
        {"grey": Axes("N 1 28 28", UNIT)},
        shaped("N", FRAMES, 3, 64, 64, low=0, high=1),
        call=lambda grey: (grey, models.scenes(len(grey)), models.chance()),
    ),
    Case(
        diffusion.signal_and_noise,
        {"times": Axes("...", (0, 999), dtypes=(torch.float32, torch.float64, torch.int64))},
        lambda answer, times: torch.allclose(answer[0] ** 2 + answer[1] ** 2, torch.ones(times.shape)),
        call=lambda times: (diffusion.make_scheduler("ddim"), times),
    ),
    Case(
        diffusion.predict_clean,
        {"noisy": Axes("N 2 3"), "output": Axes("N 2 3")},
        shaped("N", 2, 3),
        call=lambda noisy, output: (diffusion.make_scheduler("ddim"), noisy, output, torch.tensor(5)),
    ),
    Case(
        diffusion.sample,
        {"noise": Axes("... W", FINITE, dtypes=SINGLE)},
        lambda answer, noise: diffusion.last(answer).latent.shape == noise.shape,
        call=lambda noise: (lambda x, times, labels: 0.5 * x, diffusion.make_scheduler("unipc"), noise),
        options={"steps": 2},
    ),
    Case(uvit.timestep_embedding, {"times": Axes("N")}, shaped("N", 6, low=-1, high=1), call=lambda times: (times, 6)),
    Case(
        uvit.UViT.forward,
        {
            "x": Axes("N 2 4 4", dtypes=FLOATS),
            "times": Axes("N", dtypes=FLOATS),
            "labels": Axes("N", (0, 2), dtypes=INTEGERS[:2]),
        },
        shaped("N", 2, 4, 4),
        call=lambda **given: (models.uvit_network(), *given.values()),
    ),
    Case(
        by_class.decode,
        {"latents": Axes("N 2 H W", FINITE, least=1)},
        lambda answer, latents: answer.shape == (len(latents), 3, *latents.shape[2:]) and 0 <= answer.min() <= 1,
        call=lambda latents: (models.vae(), latents),
    ),
    Case(
        Sampler.steps,
        {"labels": Axes("N", (0, 2), least=1, dtypes=INTEGERS[:2])},
        lambda answer, labels: len(list(answer)) == 2,
        call=lambda labels: (models.sampler(), labels, range(max(1, labels.numel())), diffusion.Settings(steps=2)),
    ),
    Case(
        latte.Clips.decode,
        {"latents": Axes("N 4 F H W", FINITE, least=1, dtypes=SINGLE)},
        lambda answer, latents: (
            answer.shape == (len(latents), latents.shape[2], 3, *(8 * side for side in latents.shape[3:]))
        ),
        call=lambda latents: (latte.Clips(models.latte(), 8), latents),
    ),
    Case(
        Sampler.samples,
        {"labels": Axes("N", (0, 2), least=1, dtypes=INTEGERS[:2])},
        shaped("N", 3, 4, 4, low=0, high=1),
        call=lambda labels: (models.sampler(), labels, range(labels.numel()), diffusion.Settings(steps=2)),
    ),
    Case(
        images.as_bytes,
        {"images": Axes("... 3 H W", UNIT)},
        lambda answer, images: (
            answer.dtype == np.uint8 and answer.shape == (*images.shape[:-3], *images.shape[-2:], images.shape[-3])
        ),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
@given(data=st.data())
def test_what_fits_is_answered(case, data):
    given = data.draw(fitting(case.takes))
    answer = attempt(case.function, *case.call(**given), **case.options)
    assert answer is not REFUSED and case.answer(answer, **given)


@pytest.mark.parametrize("case", CASES, ids=str)
@given(data=st.data())
def test_what_does_not_fit_is_refused_by_name(case, data):
    given = data.draw(misfitting(case.takes))
    assert attempt(case.function, *case.call(**given), **case.options) is REFUSED
