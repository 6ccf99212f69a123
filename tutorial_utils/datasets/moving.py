"""Moving garments: lesson 4's videos, drawn on the fly, with a caption and the truth beside each.

A garment of Fashion-MNIST, 28x28 and tinted in one of six colours, drifts over a black canvas in one of four
directions at one of two speeds: the construction of Moving MNIST (Srivastava et al. 2015,
https://arxiv.org/abs/1502.04681) with a colour and a sentence. Every path leads through the middle of the canvas.
Arguments that are not as described are a ValueError, which names them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tutorial_utils import require
from tutorial_utils.datasets.fashion_mnist import FASHION_CLASSES
from tutorial_utils.datasets.garments import COLOURS, SIDE, SPRITE, place, require_sprites, tint

FRAMES = 8
JITTER = 4
"""The middle of a path lies at most so many pixels away from the middle of the canvas, along each axis."""

DIRECTIONS = {"left": (0, -1), "right": (0, 1), "up": (-1, 0), "down": (1, 0)}
"""Steps in (rows, columns)."""

SPEEDS = {"slowly": 1, "quickly": 3}
"""Pixels from one frame to the next."""

GARMENT_WORDS = (
    ("t-shirt", "tee"),
    ("trouser", "pair of trousers"),
    ("pullover", "sweater"),
    ("dress", "gown"),
    ("coat", "jacket"),
    ("sandal", "open shoe"),
    ("shirt", "blouse"),
    ("sneaker", "running shoe"),
    ("bag", "handbag"),
    ("ankle boot", "boot"),
)
"""Ways to name each class of Fashion-MNIST, the plain one first."""

MOTION_WORDS = ("moving {}", "drifting {}", "going {}", "floating {}")
SPEED_WORDS = (("", " slowly"), (" quickly", " fast"))


SIZES = {"garment": len(FASHION_CLASSES), "colour": len(COLOURS), "direction": len(DIRECTIONS), "speed": len(SPEEDS)}
"""How many there are of each part of a scene."""


@dataclass(frozen=True)
class Scenes:
    """What N clips show: integers (N,), indices into FASHION_CLASSES, COLOURS, DIRECTIONS and SPEEDS.

    In scenes that were read off clips, `adherence.NONE` stands for what could not be told. The functions of this module
    that take scenes raise a ValueError for it, and for any other index that means nothing.
    """

    garment: Tensor
    colour: Tensor
    direction: Tensor
    speed: Tensor

    def __len__(self) -> int:
        return len(self.garment)

    def __getitem__(self, chosen: Tensor | slice) -> Scenes:
        return Scenes(self.garment[chosen], self.colour[chosen], self.direction[chosen], self.speed[chosen])

    def held_out(self) -> Tensor:
        """Which scenes training never shows, booleans (N,): one garment per colour and direction, a tenth of all."""
        return (self.garment + 3 * self.colour + 7 * self.direction) % len(FASHION_CLASSES) == 0


def draw_scenes(count: int, source: torch.Generator, held_out: bool | None = None) -> Scenes:
    """Scenes at random, each combination as likely as any other.

    Args:
        count: how many.
        source: where chance comes from.
        held_out: True for combinations that training never shows, False for the others, None for all.
    """
    require.whole("count", count, 0)
    every = Scenes(*torch.cartesian_prod(*map(torch.arange, SIZES.values())).unbind(1))
    if held_out is not None:
        every = every[every.held_out() == held_out]
    return every[torch.randint(len(every), (count,), generator=source)]


def captions(scenes: Scenes, source: torch.Generator | None = None) -> list[str]:
    """A sentence for each scene, such as "a red sneaker moving left quickly".

    Args:
        source: chooses among paraphrases; None for the plainest words.
    """
    _require_known(scenes)

    def pick(words: tuple[str, ...]) -> str:
        return words[0 if source is None else torch.randint(len(words), (1,), generator=source).item()]

    colours, directions = list(COLOURS), list(DIRECTIONS)
    return [
        f"a {colours[colour]} {pick(GARMENT_WORDS[garment])} "
        f"{pick(MOTION_WORDS).format(directions[direction])}{pick(SPEED_WORDS[speed])}"
        for garment, colour, direction, speed in zip(
            scenes.garment.tolist(),
            scenes.colour.tolist(),
            scenes.direction.tolist(),
            scenes.speed.tolist(),
            strict=True,
        )
    ]


def choose_sprites(labels: Tensor, scenes: Scenes, source: torch.Generator) -> Tensor:
    """For each scene the index of a picture of its garment, (N,), from the labels, integers (M,), of a set of them."""
    _require_known(scenes)
    require.integers("labels", labels, "N")
    chosen = torch.empty(len(scenes), dtype=torch.int64)
    for garment in scenes.garment.unique():
        candidates, own = (labels == garment).nonzero()[:, 0], scenes.garment == garment
        if not len(candidates):
            raise ValueError(f"there is no picture of a {FASHION_CLASSES[garment]} to choose from.")
        chosen[own] = candidates[torch.randint(len(candidates), (int(own.sum()),), generator=source)]
    return chosen


def paths(scenes: Scenes, source: torch.Generator) -> Tensor:
    """The top left corner of the sprite in every frame, (N, F, 2) integers (row, column), all inside the canvas."""
    _require_known(scenes)
    steps = torch.tensor(list(DIRECTIONS.values()))[scenes.direction] * torch.tensor(list(SPEEDS.values()))[
        scenes.speed
    ].unsqueeze(1)
    middle = (SIDE - SPRITE) // 2 + torch.randint(-JITTER, JITTER + 1, (len(scenes), 2), generator=source)
    times = torch.arange(FRAMES) - FRAMES // 2
    return middle[:, None] + steps[:, None] * times[:, None]


def render(grey: Tensor, scenes: Scenes, source: torch.Generator) -> Tensor:
    """Clips (N, F, 3, 64, 64) in [0, 1] of grey sprites (N, 1, 28, 28) in [0, 1], one for each scene."""
    _require_known(scenes)
    require_sprites(grey, channels="1", within=require.UNIT)
    if len(grey) != len(scenes):
        raise ValueError(f"{len(grey)} sprites were given for {len(scenes)} scenes.")
    sprites = tint(grey, torch.tensor(list(COLOURS.values()))[scenes.colour])
    corners = paths(scenes, source).flatten(0, 1)
    frames = place(sprites.repeat_interleave(FRAMES, 0), corners[:, 0], corners[:, 1])
    return frames.unflatten(0, (len(scenes), FRAMES))


def _require_known(scenes: Scenes) -> None:
    for name, size in SIZES.items():
        require.integers(f"scenes.{name}", getattr(scenes, name), f"{scenes.garment.numel()}", within=(0, size - 1))
