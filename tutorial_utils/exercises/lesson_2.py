"""Exercises of lesson 2: tubelets, attention along one axis, and volumes that are turned, fed and judged."""

from __future__ import annotations

import math

import numpy as np
from einops import rearrange

from tutorial_utils.exercises.checking import Exercise


def _random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


# --- 2.1 Pairs --------------------------------------------------------------------------------------------------------


def pairs(frames: int, places: int) -> tuple[int, int]:
    """Pairs of tokens that joint attention compares, and those of space and then time."""
    return (frames * places) ** 2, frames * places**2 + places * frames**2


def added(frames: int, places: int) -> tuple[int, int]:
    """A clip has as many tokens as frames times places."""
    return (frames + places) ** 2, frames * places**2 + places * frames**2


def once(frames: int, places: int) -> tuple[int, int]:
    """Space is compared in every frame, and time at every place: how often is that?"""
    return (frames * places) ** 2, places**2 + frames**2


def space_alone(frames: int, places: int) -> tuple[int, int]:
    """That is attention over space. Attention over time comes on top."""
    return (frames * places) ** 2, frames * places**2


def without_itself(frames: int, places: int) -> tuple[int, int]:
    """Each token is compared with itself as well, and (a, b) and (b, a) are two pairs."""
    tokens = frames * places
    return tokens * (tokens - 1), frames * places * (places - 1) + places * frames * (frames - 1)


def other_first(frames: int, places: int) -> tuple[int, int]:
    """Those are the numbers, in the other order: joint attention comes first."""
    return pairs(frames, places)[::-1]


CLIPS = {"2 frames of 5 places": (2, 5), "16 frames of 196 places": (16, 196), "a single frame": (1, 9)}

# --- 2.2 Uniform frame sampling ---------------------------------------------------------------------------------------


def frames(length: int, count: int) -> list[int]:
    """The middle frame of each of `count` equal parts of a clip; of an even part the later one of two."""
    first = length // count // 2
    return [first + number * length // count for number in range(count)]


def from_the_start(length: int, count: int) -> list[int]:
    """Those are the first frames of the parts; asked for are the middle ones."""
    return [number * length // count for number in range(count)]


def to_the_end(length: int, count: int) -> list[int]:
    """Yours reach from the first frame to the last. A frame should stand for a part of the clip: in its middle."""
    return [round(number * (length - 1) / (count - 1)) for number in range(count)] if count > 1 else [0]


def counted_from_one(length: int, count: int) -> list[int]:
    """Frames are counted from 0."""
    return [number + 1 for number in frames(length, count)]


def earlier_middle(length: int, count: int) -> list[int]:
    """Of two middle frames, take the later one."""
    return [(length // count - 1) // 2 + number * length // count for number in range(count)]


def last_of_each(length: int, count: int) -> list[int]:
    """Those are the last frames of the parts; asked for are the middle ones."""
    return [(number + 1) * length // count - 1 for number in range(count)]


def one_after_another(length: int, count: int) -> list[int]:
    """Your frames follow one another; they should be one part apart."""
    return [length // count // 2 + number for number in range(count)]


LENGTHS = {"28 slices, 4 of them": (28, 4), "32 frames, 8 of them": (32, 8), "9 frames, 3 of them": (9, 3)}

# --- 2.3 Back from tubelets -------------------------------------------------------------------------------------------

BOXES = "(time row column) (t h w)"


def uncut(tokens: np.ndarray, shape: tuple[int, int, int], tubelet: tuple[int, int, int]) -> np.ndarray:
    """(L, t * h * w) to the volume (D, H, W) that was cut: time slowest, column fastest, outside and inside a box."""
    return _put(tokens, shape, tubelet, BOXES)


def only_reshaped(tokens: np.ndarray, shape: tuple[int, int, int], tubelet: tuple[int, int, int]) -> np.ndarray:
    """A reshape alone keeps each box's voxels together in memory; the volume's rows run across the boxes."""
    return tokens.reshape(shape)


def column_slowest(tokens: np.ndarray, shape: tuple[int, int, int], tubelet: tuple[int, int, int]) -> np.ndarray:
    """Your boxes stand in another order than they were cut in: time comes first, columns change fastest."""
    return _put(tokens, shape, tubelet, "(column row time) (t h w)")


def turned_inside(tokens: np.ndarray, shape: tuple[int, int, int], tubelet: tuple[int, int, int]) -> np.ndarray:
    """The boxes stand right; inside of each, rows and columns have changed places."""
    return _put(tokens, shape, tubelet, "(time row column) (t w h)")


def _put(tokens: np.ndarray, shape: tuple[int, ...], tubelet: tuple[int, ...], order: str) -> np.ndarray:
    counts = dict(zip(("time", "row", "column"), np.array(shape) // tubelet, strict=True))
    sides = dict(zip("thw", tubelet, strict=True))
    return rearrange(tokens, f"{order} -> (time t) (row h) (column w)", **counts, **sides)


def boxes() -> dict[str, tuple]:
    return {
        "cubes of 2 in a cube of 4": (_random(8, 8), (4, 4, 4), (2, 2, 2)),
        "a volume of 2 x 4 x 6": (_random(4, 12, seed=1), (2, 4, 6), (2, 2, 3)),
        "boxes of one voxel": (_random(27, 1, seed=2), (3, 3, 3), (1, 1, 1)),
    }


# --- 2.4 Attention over time ------------------------------------------------------------------------------------------


def over_time(tokens: np.ndarray) -> np.ndarray:
    """(T, S, d) to (T, S, d): each token collects from its own place at all times; q = k = v = tokens."""
    return rearrange(_attend(rearrange(tokens, "t s d -> s t d")), "s t d -> t s d")


def over_space(tokens: np.ndarray) -> np.ndarray:
    """That is attention over space: every token looks at its own frame. It should look at its own place."""
    return _attend(tokens)


def over_both(tokens: np.ndarray) -> np.ndarray:
    """Every token looks at all places and times: that is joint attention."""
    return _attend(tokens.reshape(1, -1, tokens.shape[-1])).reshape(tokens.shape)


def reshaped(tokens: np.ndarray) -> np.ndarray:
    """A reshape does not exchange axes, it only counts anew: `swapaxes(0, 1)` brings the places to the front."""
    turned = tokens.shape[1], tokens.shape[0], tokens.shape[2]
    return _attend(tokens.reshape(turned)).swapaxes(0, 1)


def reshaped_twice(tokens: np.ndarray) -> np.ndarray:
    """A reshape does not exchange axes, it only counts anew: use `swapaxes(0, 1)`, and again at the end."""
    turned = tokens.shape[1], tokens.shape[0], tokens.shape[2]
    return _attend(tokens.reshape(turned)).reshape(tokens.shape)


def divided_by_d(tokens: np.ndarray) -> np.ndarray:
    """The axis is right. Divide by the square root of d, not by d."""
    return rearrange(_attend(rearrange(tokens, "t s d -> s t d"), scale=tokens.shape[-1]), "s t d -> t s d")


def without_scale(tokens: np.ndarray) -> np.ndarray:
    """The axis is right. Something has to keep the scores in bounds: compare exercise 1.3."""
    return rearrange(_attend(rearrange(tokens, "t s d -> s t d"), scale=1), "s t d -> t s d")


def never_put_back(tokens: np.ndarray) -> np.ndarray:
    """The numbers are right, with places first. Bring the axes back into the order (T, S, d)."""
    return _attend(rearrange(tokens, "t s d -> s t d"))


def _attend(x: np.ndarray, scale: float | None = None) -> np.ndarray:
    """Attention of x (N, L, d) to itself, each of N alone."""
    scores = x @ x.swapaxes(1, 2) / (scale or math.sqrt(x.shape[-1]))
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True) @ x


def clips() -> dict[str, tuple]:
    return {
        "3 frames of 2 places": (_random(3, 2, 4),),
        "2 frames of 2 places": (_random(2, 2, 8, seed=1),),
        "a single frame": (_random(1, 5, 4, seed=2),),
    }


# --- 2.5 A mirror that respects the label -----------------------------------------------------------------------------

NAMES = ("bladder", "kidney-left", "kidney-right", "heart", "lung-left", "lung-right")


def mirror(volume: np.ndarray, label: int, names: tuple[str, ...], axis: int) -> tuple[np.ndarray, int]:
    """A volume turned round along an axis, and its label: a left organ becomes a right one, others stay."""
    return np.flip(volume, axis), names.index(_twin(names[label]))


def same_label(volume: np.ndarray, label: int, names: tuple[str, ...], axis: int) -> tuple[np.ndarray, int]:
    """The volume is mirrored. In a mirror, what is your left hand?"""
    return np.flip(volume, axis), label


def label_alone(volume: np.ndarray, label: int, names: tuple[str, ...], axis: int) -> tuple[np.ndarray, int]:
    """The label is right, but the volume is as it was."""
    return volume, names.index(_twin(names[label]))


def another_axis(volume: np.ndarray, label: int, names: tuple[str, ...], axis: int) -> tuple[np.ndarray, int]:
    """The volume was turned along another axis than `axis`."""
    return np.flip(volume, 0), names.index(_twin(names[label]))


def all_axes(volume: np.ndarray, label: int, names: tuple[str, ...], axis: int) -> tuple[np.ndarray, int]:
    """All axes have been turned; only one is left and right."""
    return np.flip(volume), names.index(_twin(names[label]))


def name_for_label(volume: np.ndarray, label: int, names: tuple[str, ...], axis: int) -> tuple[np.ndarray, str]:
    """The label is a number: where does this name stand in `names`?"""
    return np.flip(volume, axis), _twin(names[label])


def next_label(volume: np.ndarray, label: int, names: tuple[str, ...], axis: int) -> tuple[np.ndarray, int]:
    """The label is another one than the twin's. Look for the twin by its name, not by its place in the list."""
    return np.flip(volume, axis), (label + 1) % len(names)


def _twin(name: str) -> str:
    organ, _, side = name.partition("-")
    return f"{organ}-{'right' if side == 'left' else 'left'}" if side else name


def organs() -> dict[str, tuple]:
    volume = np.arange(24.0).reshape(2, 3, 4)
    return {
        "a left kidney": (volume, 1, NAMES, 2),
        "a right lung": (volume, 5, NAMES, 1),
        "a heart, which has no twin": (volume, 3, NAMES, 2),
    }


# --- 2.6 Which two are confused most? ---------------------------------------------------------------------------------


def most_confused(counts: np.ndarray, names: tuple[str, ...]) -> tuple[str, str]:
    """Of counts[true, said]: the two organs that are taken for each other most often, both ways together."""
    both = np.triu(counts + counts.T, 1)
    one, other = np.unravel_index(both.argmax(), both.shape)
    return tuple(sorted((names[one], names[other])))


def one_way(counts: np.ndarray, names: tuple[str, ...]) -> tuple[str, str]:
    """That is the largest count of one direction. Add how often the second is taken for the first."""
    wrong = counts - np.diag(np.diag(counts))
    one, other = np.unravel_index(wrong.argmax(), wrong.shape)
    return tuple(sorted((names[one], names[other])))


def with_the_diagonal(counts: np.ndarray, names: tuple[str, ...]) -> tuple[str, str]:
    """On the diagonal the model was right: those are no confusions."""
    one, other = np.unravel_index(counts.argmax(), counts.shape)
    return tuple(sorted((names[one], names[other])))


def not_sorted(counts: np.ndarray, names: tuple[str, ...]) -> tuple[str, str]:
    """Those are the two. Give them in alphabetical order."""
    return most_confused(counts, names)[::-1]


def worst_two(counts: np.ndarray, names: tuple[str, ...]) -> tuple[str, str]:
    """Those are the two organs with the most mistakes, which need not be mistakes for one another."""
    wrong = counts.sum(1) - np.diag(counts)
    return tuple(sorted(names[number] for number in wrong.argsort()[-2:]))


def matrices() -> dict[str, tuple]:
    small = np.array([[9, 4, 0, 0], [1, 5, 3, 2], [0, 3, 9, 0], [3, 1, 0, 4]])
    kidneys = np.diag([20, 16, 17, 18, 19, 15])
    kidneys[1, 2], kidneys[2, 1], kidneys[4, 0], kidneys[4, 3], kidneys[5, 0] = 5, 4, 7, 6, 6
    diagonal = np.array([[1, 4, 0, 0], [4, 9, 0, 0], [0, 0, 30, 8], [0, 0, 1, 40]])
    return {
        "four organs": (small, NAMES[:4]),
        "six organs": (kidneys, NAMES),
        "four organs, of very different numbers": (diagonal, NAMES[:4]),
    }


# --- 2.7 A learning rate that climbs and comes down -------------------------------------------------------------------


def rate(step: int, steps: int, warmup: int, top: float) -> float:
    """From 0 straight up to `top` in `warmup` steps, then half a cosine down to 0 at `steps`."""
    if step < warmup:
        return top * step / warmup
    return top * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup))) / 2


def cosine_from_the_start(step: int, steps: int, warmup: int, top: float) -> float:
    """The cosine should begin where the climb ends: at the first step after the warm-up it stands at the top."""
    return top * step / warmup if step < warmup else top * (1 + math.cos(math.pi * step / steps)) / 2


def whole_turn(step: int, steps: int, warmup: int, top: float) -> float:
    """Your cosine goes down and up again: half a turn ends at the bottom."""
    if step < warmup:
        return top * step / warmup
    return top * (1 + math.cos(2 * math.pi * (step - warmup) / (steps - warmup))) / 2


def straight_down(step: int, steps: int, warmup: int, top: float) -> float:
    """The climb is right, and the way down is straight: a cosine stays near the top for longer."""
    return top * step / warmup if step < warmup else top * (steps - step) / (steps - warmup)


def no_warmup(step: int, steps: int, warmup: int, top: float) -> float:
    """The first steps are too large: the rate has to climb first."""
    return top * (1 + math.cos(math.pi * max(0, step - warmup) / (steps - warmup))) / 2


def top_forgotten(step: int, steps: int, warmup: int, top: float) -> float:
    """The climb should end at `top`, not at 1."""
    return rate(step, steps, warmup, 1.0)


def one_step_ahead(step: int, steps: int, warmup: int, top: float) -> float:
    """You are one step ahead: step 0 has the rate 0."""
    return rate(step + 1, steps, warmup, top)


def too_long_a_way(step: int, steps: int, warmup: int, top: float) -> float:
    """The way down is `steps - warmup` long."""
    if step < warmup:
        return top * step / warmup
    return top * (1 + math.cos(math.pi * (step - warmup) / steps)) / 2


STEPS = {
    "step 0 of 100, warmup 10, top 0.5": (0, 100, 10, 0.5),
    "step 4 of 100, warmup 10, top 0.5": (4, 100, 10, 0.5),
    "step 10 of 100, warmup 10, top 0.002": (10, 100, 10, 0.002),
    "step 40 of 100, warmup 10, top 0.5": (40, 100, 10, 0.5),
    "step 100 of 100, warmup 10, top 0.5": (100, 100, 10, 0.5),
}

EXERCISES = {
    "2.1": Exercise(pairs, lambda: CLIPS, (added, once, space_alone, without_itself, other_first)),
    "2.2": Exercise(
        frames,
        lambda: LENGTHS,
        (from_the_start, to_the_end, earlier_middle, last_of_each, one_after_another, counted_from_one),
    ),
    "2.3": Exercise(uncut, boxes, (only_reshaped, column_slowest, turned_inside)),
    "2.4": Exercise(
        over_time, clips, (over_space, over_both, reshaped, reshaped_twice, divided_by_d, without_scale, never_put_back)
    ),
    "2.5": Exercise(mirror, organs, (same_label, label_alone, another_axis, all_axes, name_for_label, next_label)),
    "2.6": Exercise(most_confused, matrices, (not_sorted, one_way, with_the_diagonal, worst_two)),
    "2.7": Exercise(
        rate,
        lambda: STEPS,
        (
            cosine_from_the_start,
            whole_turn,
            straight_down,
            no_warmup,
            top_forgotten,
            one_step_ahead,
            too_long_a_way,
        ),
        atol=1e-7,
    ),
}
