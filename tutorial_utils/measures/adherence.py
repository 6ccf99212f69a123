"""Does a video show what its caption says? Its colour, direction, speed and garment, and whether that stays the same.

Each is read off the pixels alone and then compared with the truth: colour by hue, direction and speed by the track of
the centre of mass, the garment by ViT-mini on the sprite, cut out and untinted. Temporal consistency needs no truth: it
asks whether the garment of one frame is the garment of the next.

Videos are one or more, floats (N, 8, 3, 64, 64) in [0, 1], as `moving.render` makes them; others are a ValueError.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from einops import einsum, repeat
from torch import Tensor

from tutorial_utils import require
from tutorial_utils.datasets.garments import COLOURS, SIDE, SPRITE, hue
from tutorial_utils.datasets.moving import DIRECTIONS, FRAMES, SPEEDS, Scenes
from tutorial_utils.measures.metrics import Judge

NONE = -1
"""What is read where there is nothing to read: the colour of a grey clip, the direction of a frozen one."""

FLOOR = 0.12
"""A pixel no brighter than this is background: of those around a sprite, the VAE keeps 99.9% below 0.08."""

GREY = 0.2
"""A clip of a smaller saturation has no colour. Those of `COLOURS` have 0.85, and 0.72 or more after the VAE."""

SLOWEST, FASTEST = 0.5, 4.5
"""Pixels a frame: what moves less stands still; what moves more is no speed that a caption names."""

CONSISTENT = 0.9
"""The least consistency of a clip whose garment stays the same. See `consistency` for what is usual."""


@dataclass(frozen=True)
class Adherence:
    """What N clips show as they should: booleans (N,), and floats (N,) for the consistency."""

    colour: Tensor
    direction: Tensor
    speed: Tensor
    garment: Tensor
    consistency: Tensor

    @property
    def consistent(self) -> Tensor:
        """In which clips the garment stays the same, booleans (N,)."""
        return self.consistency >= CONSISTENT

    def rates(self) -> dict[str, float]:
        """The fraction of the clips that is right, from 0 to 1, by what is measured."""
        names = ("colour", "direction", "speed", "garment", "consistent")
        return {name: getattr(self, name).float().mean().item() for name in names}


@dataclass(frozen=True, eq=False)
class Footage:
    """Videos, and what can be told from their pixels alone; each thing is worked out once.

    Args:
        videos: (N, 8, 3, 64, 64) in [0, 1].
    """

    videos: Tensor

    def __post_init__(self) -> None:
        require.floats("videos", self.videos, f"N {FRAMES} 3 {SIDE} {SIDE}", least=1, within=require.UNIT)

    # What is where

    @cached_property
    def grey(self) -> Tensor:
        """Untinted, float32 (N, F, H, W): every tint leaves one channel or two as bright as it was."""
        return self.videos.float().amax(2)

    @cached_property
    def lit(self) -> Tensor:
        """Which pixels are a garment's and not background, (N, F, H, W) booleans."""
        return self.grey > FLOOR

    @cached_property
    def shown(self) -> Tensor:
        """Which frames show anything, (N, F) booleans."""
        return self.lit.any(3).any(2)

    @cached_property
    def centres(self) -> Tensor:
        """The centre of brightness of every frame, (N, F, 2) as (row, column) in pixels; (0, 0) in a black one."""
        mass, places = self.grey * self.lit, torch.arange(SIDE, dtype=torch.float32)
        total = mass.sum((2, 3)).clamp(min=FLOOR)  # one lit pixel has more
        return torch.stack([mass.sum(3) @ places / total, mass.sum(2) @ places / total], dim=-1)

    @cached_property
    def velocity(self) -> Tensor:
        """Pixels a frame in (rows, columns), (N, 2): least squares through the centres, black frames left out."""
        weight, times = self.shown.float(), torch.arange(FRAMES, dtype=torch.float32)
        middle = weight @ times / weight.sum(1).clamp(min=1)
        apart = weight * (times - middle[:, None])
        # Two frames or more give at least 0.5 below; one alone, or none, gives 0 above and so does not move.
        above = einsum(apart, self.centres, "n f, n f place -> n place")
        return above / apart.square().sum(1, keepdim=True).clamp(min=0.5)

    @cached_property
    def corners(self) -> Tensor:
        """The top left corner of the 28x28 window around the garment in every frame, (N, F, 2) integers (row, column).

        The window is centred on the box around what is lit, because Fashion-MNIST centres its pictures by their box
        (https://arxiv.org/abs/1708.07747, section 2): margins of a narrow garment are then the same on both sides.
        """
        middles = []
        for axis in (3, 2):  # across the columns for the rows, and the reverse
            used = self.lit.any(axis).byte()
            first, last = used.argmax(2), SIDE - 1 - used.flip(2).argmax(2)
            middles.append((first + last + 1 - SPRITE) // 2)
        return torch.stack(middles, dim=-1).clamp(0, SIDE - SPRITE)

    @cached_property
    def sprites(self) -> Tensor:
        """The garment of every frame, cut out and untinted: (N, F, 28, 28) in [0, 1], black where there is none."""
        rows, columns = self.corners.unbind(-1)
        windows = self.grey.unfold(2, SPRITE, 1).unfold(3, SPRITE, 1)  # (N, F, 37, 37, 28, 28), a view
        clip, frame = torch.arange(len(self.videos))[:, None], torch.arange(FRAMES)
        return windows[clip, frame, rows, columns] * self.shown[:, :, None, None]

    # What it shows; `NONE` where there is nothing to tell

    @cached_property
    def colour(self) -> Tensor:
        """The nearest of `COLOURS` by the hue of a clip as a whole, (N,) indices; `NONE` for grey or black clips."""
        mean = (self.videos.float() * self.lit[:, :, None]).mean(1)
        tints = hue(torch.tensor(list(COLOURS.values()))[:, :, None, None])
        apart = (hue(mean)[:, None] - tints).remainder(360)
        channels = mean.mean((2, 3))
        saturation = (channels.amax(1) - channels.amin(1)) / channels.amax(1).clamp(min=1e-9)
        return torch.minimum(apart, 360 - apart).argmin(1).where(saturation >= GREY, NONE)

    @cached_property
    def direction(self) -> Tensor:
        """The one of `DIRECTIONS` along which a clip moves furthest, (N,) indices; `NONE` if it stands still."""
        along = self.velocity @ torch.tensor(list(DIRECTIONS.values()), dtype=torch.float32).T  # (N, 4)
        return along.argmax(1).where(self.velocity.norm(dim=1) >= SLOWEST, NONE)

    @cached_property
    def speed(self) -> Tensor:
        """The nearest of `SPEEDS`, (N,) indices; `NONE` if a clip stands still or is far too fast."""
        pace = self.velocity.norm(dim=1)
        apart = (pace[:, None] - torch.tensor(list(SPEEDS.values()))).abs()
        return apart.argmin(1).where((pace >= SLOWEST) & (pace <= FASTEST), NONE)

    def garment(self, judge: Judge) -> Tensor:
        """The class that the judge finds likeliest over the frames that are not black, (N,); `NONE` if all are."""
        says = judge.logits(judge.features(repeat(self.sprites, "n f h w -> (n f) 3 h w"))).log_softmax(1)
        total = (says.unflatten(0, (-1, FRAMES)) * self.shown[:, :, None]).sum(1)
        return total.argmax(1).where(self.shown.any(1), NONE)

    # How it looks

    @cached_property
    def hue_flicker(self) -> Tensor:
        """How far the hue of a frame is from that of its clip, root mean square in degrees, (N,); 0 for grey clips.

        Hues are of what is lit. Of 200 clips of test images it is 0 as rendered, and 0.4 on average after the VAE.
        """
        lit = (self.videos.float() * self.lit[:, :, None]).mean((3, 4))  # (N, F, 3)
        frames = hue(lit.flatten(0, 1)[:, :, None, None]).unflatten(0, lit.shape[:2])
        apart = (frames - hue(lit.mean(1)[:, :, None, None])[:, None]).remainder(360)
        apart = torch.minimum(apart, 360 - apart).square() * self.shown
        flicker = (apart.sum(1) / self.shown.sum(1).clamp(min=1)).sqrt()
        return flicker.where(self.colour != NONE, 0.0)

    @cached_property
    def brightness(self) -> Tensor:
        """The mean of what is lit, (N,) in [0, 1]; 0 for black clips."""
        total = self.lit.sum((1, 2, 3))
        return (self.grey * self.lit).sum((1, 2, 3)) / total.clamp(min=1)

    def scenes(self, judge: Judge) -> Scenes:
        """All of it."""
        return Scenes(self.garment(judge), self.colour, self.direction, self.speed)


def judge_videos(judge: Judge, videos: Tensor, scenes: Scenes) -> Adherence:
    """Compare clips (N, 8, 3, 64, 64) with what they should show, a scene for each.

    A clip that stands still has neither the direction nor the speed of its scene; a black one has nothing right.
    """
    footage = Footage(videos)
    if len(videos) != len(scenes):
        raise ValueError(f"{len(videos)} videos were given for {len(scenes)} scenes.")
    seen = footage.scenes(judge)
    right = {name: getattr(seen, name) == getattr(scenes, name) for name in vars(seen)}
    return Adherence(**right, consistency=consistency(footage.sprites))


def variety(told: Tensor, choices: int) -> float:
    """How evenly clips are spread over what they could show: entropy, 1 for each equally often, 0 for always the same.

    Args:
        told: integers (N,), one part of the scenes that clips show: 0 to choices - 1, or `NONE`, which is left out.
        choices: how many there are, at least 2.
    """
    require.whole("choices", choices, 2)
    require.integers("told", told, "N", least=1, within=(NONE, choices - 1))
    counts = torch.bincount(told[told != NONE].long(), minlength=choices).double()
    shares = counts / counts.sum().clamp(min=1)
    return (torch.special.entr(shares).sum() / math.log(choices)).item()


def consistency(sprites: Tensor) -> Tensor:
    """How alike the sprites of neighbouring frames are: the smallest of their correlations, (N,) in [-1, 1].

    The smallest, so that a single cut counts. Each pair is compared at the best of the nine shifts by a pixel or none,
    since a window may be off by one. Of 300 clips the least consistent has 1 as rendered and 0.92 after the VAE; where
    two garments of a class take turns, 3% of the clips reach 0.9, and 6% after the VAE, which makes garments alike.

    Args:
        sprites: (N, 8, 28, 28) in [0, 1], as `Footage` gives them. A black one is like no other.
    """
    require.floats("sprites", sprites, f"N {FRAMES} {SPRITE} {SPRITE}", within=require.UNIT)
    around = F.pad(sprites[:, 1:], (1, 1, 1, 1)).unfold(2, SPRITE, 1).unfold(3, SPRITE, 1)
    pairs = "n f h w, n f row column h w -> n f row column"
    return einsum(_standardised(sprites[:, :-1]), _standardised(around), pairs).amax((2, 3)).amin(1)


def _standardised(images: Tensor) -> Tensor:
    """Images (..., H, W) without their mean and at length one, so that their product is a correlation."""
    centred = images - images.mean((-2, -1), keepdim=True)
    return centred / torch.linalg.vector_norm(centred, dim=(-2, -1), keepdim=True).clamp(min=1e-3)
