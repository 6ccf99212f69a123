"""Moving garments: lesson 4's videos, drawn on the fly, with a caption and the truth beside each.

A garment of Fashion-MNIST, 28x28 and tinted in one of six colours, drifts over a black canvas in one of four
directions at one of two speeds: the construction of Moving MNIST (Srivastava et al. 2015,
https://arxiv.org/abs/1502.04681) with a colour and a sentence. Every path leads through the middle of the canvas.

Sentences are English or Chinese and need not say everything: what one leaves out may be anything. With one exception: a
motion without a word for its speed is slow.
Arguments that are not as described are a ValueError, which names them.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from tutorial_utils import require
from tutorial_utils.datasets.fashion_mnist import FASHION_CLASSES
from tutorial_utils.datasets.garments import COLOURS, SIDE, SPRITE, place, require_sprites, tint

T = TypeVar("T")

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
SPEED_WORDS = (("", "slowly"), ("quickly", "fast"))

SAID = ("colour", "direction", "speed")
"""What a sentence may say of a scene, beside the garment. The direction comes with the speed; see above."""


@dataclass(frozen=True)
class Language:
    """How to put scenes into words, in each case the plain ones first.

    Attributes:
        order: the parts of a sentence from its start.
        between: what stands between two parts.
        article: words before each garment and its colour.
        garment, colour, direction, speed: words for each value of that part of a scene.
        motion: words for moving, with a place for the direction, which stays empty where none is said.
        stop: what may end a sentence.
    """

    order: tuple[str, ...]
    between: str
    article: tuple[tuple[str, ...], ...]
    garment: tuple[tuple[str, ...], ...]
    colour: tuple[tuple[str, ...], ...]
    direction: tuple[tuple[str, ...], ...]
    speed: tuple[tuple[str, ...], ...]
    motion: tuple[str, ...]
    stop: tuple[str, ...]


LANGUAGES = {
    "en": Language(
        order=("article", "colour", "garment", "motion", "speed"),
        between=" ",
        article=(("a", "the", ""),) * len(GARMENT_WORDS),
        garment=GARMENT_WORDS,
        colour=tuple((name,) for name in COLOURS),
        direction=tuple((name,) for name in DIRECTIONS),
        speed=SPEED_WORDS,
        motion=MOTION_WORDS,
        stop=("", ".", "!"),
    ),
    "zh": Language(
        order=("article", "colour", "garment", "speed", "motion"),
        between="",
        article=tuple((f"一{unit}", f"这{unit}", "") for unit in "件条件条件只件只个只"),
        garment=(
            ("T恤", "短袖"),
            ("裤子", "长裤"),
            ("套头衫", "毛衣"),
            ("连衣裙", "裙子"),
            ("外套", "大衣"),
            ("凉鞋", "露趾鞋"),
            ("衬衫", "衬衣"),
            ("运动鞋", "球鞋"),
            ("包", "手提包"),
            ("短靴", "靴子"),
        ),
        colour=tuple((f"{name}色的", f"{name}色", name) for name in ("红", "黄", "绿", "青", "蓝", "品红")),
        direction=(("向左", "往左"), ("向右", "往右"), ("向上", "往上"), ("向下", "往下")),
        speed=(("", "慢慢"), ("快速", "飞快地")),
        motion=("{}移动", "{}飘动", "{}漂移", "{}走"),
        stop=("", "。", "！"),
    ),
}
"""The languages of the captions, by their codes (ISO 639-1)."""

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


def captions(
    scenes: Scenes,
    source: torch.Generator | None = None,
    language: str = "en",
    said: Collection[str] = SAID,
) -> list[str]:
    """A sentence for each scene, such as "a red sneaker moving left quickly" or "一只红色的运动鞋快速向左移动".

    Args:
        source: chooses among paraphrases; None for the plainest words.
        language: one of `LANGUAGES`.
        said: which of `SAID` the sentences say, beside the garment.
    """
    _require_known(scenes)
    if language not in LANGUAGES:
        raise ValueError(f"There are no captions in the language {language!r}: choose one of {', '.join(LANGUAGES)}.")
    if unknown := set(said) - set(SAID):
        raise ValueError(f"A caption cannot say the {', '.join(sorted(unknown))}: choose among {', '.join(SAID)}.")
    if "direction" in said and "speed" not in said:
        raise ValueError("A caption that says the direction says the speed, too: a motion with no word for it is slow.")
    return [_sentence(LANGUAGES[language], scene, said, source) for scene in _one_by_one(scenes)]


FORMS = (*[SAID] * 5, (), ("colour",), ("speed",), ("colour", "speed"), ("direction", "speed"))
"""What sentences of any form say; half of them say everything."""


def sayings(scenes: Scenes, source: torch.Generator) -> list[str]:
    """A sentence for each scene as people might put it: in any language, saying any part of it, of any form.

    Args:
        source: chooses all that, the words, the article and how a sentence stops.
    """
    _require_known(scenes)
    languages = tuple(LANGUAGES.values())
    return [
        _sentence(_one_of(languages, source), scene, _one_of(FORMS, source), source, plain=False)
        for scene in _one_by_one(scenes)
    ]


def _sentence(
    language: Language, scene: dict[str, int], said: Collection[str], source: torch.Generator | None, plain: bool = True
) -> str:
    """Words for the parts of a scene that are said; the first article and no stop where it is to be plain."""
    words = {name: _one_of(getattr(language, name)[scene[name]], source) for name in ("colour", "garment")}
    motion = _one_of(language.motion, source)
    words |= {name: _one_of(getattr(language, name)[scene[name]], source) for name in ("direction", "speed")}
    words["motion"] = motion.format(words["direction"] if "direction" in said else "") if "speed" in said else ""
    words |= {name: "" for name in ("colour", "speed") if name not in said}
    articles = language.article[scene["garment"]]
    words["article"] = articles[0] if plain else _one_of(articles, source)
    if words["article"] == "a" and (words["colour"] or words["garment"])[0] in "aeiou":
        words["article"] = "an"
    parts = (words[part].strip() for part in language.order)
    return language.between.join(filter(None, parts)) + ("" if plain else _one_of(language.stop, source))


def _one_by_one(scenes: Scenes) -> list[dict[str, int]]:
    columns = {name: getattr(scenes, name).tolist() for name in SIZES}
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _one_of(words: Sequence[T], source: torch.Generator | None) -> T:
    if source is None or len(words) == 1:
        return words[0]
    return words[torch.randint(len(words), (1,), generator=source).item()]


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
    """Clips (N, F, 3, 64, 64) in [0, 1] of sprites (N, 1, 28, 28) in [0, 1], one for each scene, on their device."""
    _require_known(scenes)
    require_sprites(grey, channels="1", within=require.UNIT)
    if len(grey) != len(scenes):
        raise ValueError(f"{len(grey)} sprites were given for {len(scenes)} scenes.")
    sprites = tint(grey, torch.tensor(list(COLOURS.values()))[scenes.colour].to(grey.device))
    corners = paths(scenes, source).flatten(0, 1)
    frames = place(sprites.repeat_interleave(FRAMES, 0), corners[:, 0], corners[:, 1])
    return frames.unflatten(0, (len(scenes), FRAMES))


def _require_known(scenes: Scenes) -> None:
    for name, size in SIZES.items():
        require.integers(f"scenes.{name}", getattr(scenes, name), f"{scenes.garment.numel()}", within=(0, size - 1))
