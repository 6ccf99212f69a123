"""Exercises of lesson 4: a clip's tokens, a prompt's mask, what training asks for, and rulers from pixels."""

from __future__ import annotations

import math

import torch
from einops import rearrange
from torch import Tensor

from tutorial_utils.datasets.garments import hue
from tutorial_utils.exercises.checking import Exercise, normal

# --- 4.1 How many tokens has a clip? ----------------------------------------------------------------------------------


def tokens(frames: int, side: int, patch: int) -> int:
    """Tokens of a clip of square frames, in pixels: the VAE shrinks a side eightfold, patches are of the latent."""
    return frames * (side // 8 // patch) ** 2


def no_vae(frames: int, side: int, patch: int) -> int:
    """Patches are cut from the latent, whose side is an eighth of the frame's."""
    return frames * (side // patch) ** 2


def one_frame(frames: int, side: int, patch: int) -> int:
    """That is one frame: each has tokens of its own."""
    return (side // 8 // patch) ** 2


def one_row(frames: int, side: int, patch: int) -> int:
    """That is one row of each frame: a frame has as many rows as columns."""
    return frames * (side // 8 // patch)


def places_of_the_latent(frames: int, side: int, patch: int) -> int:
    """These are the latent's places: a token is a patch of them."""
    return frames * (side // 8) ** 2


def patch_in_one_direction(frames: int, side: int, patch: int) -> int:
    """A patch is `patch` places wide and as many high."""
    return frames * (side // 8) ** 2 // patch


def shorter_in_time(frames: int, side: int, patch: int) -> int:
    """This VAE makes frames smaller, and leaves their number as it is."""
    return frames // 8 * (side // 8 // patch) ** 2


def pairs(frames: int, side: int, patch: int) -> int:
    """These are pairs of tokens."""
    return tokens(frames, side, patch) ** 2


SIZES = {
    "20 frames of 64 pixels, patches of 2": (20, 64, 2),
    "Latte-1: 16 frames of 512 pixels, patches of 2": (16, 512, 2),
    "8 frames of 64 pixels, patches of 1": (8, 64, 1),
}

# --- 4.2 From space to time -------------------------------------------------------------------------------------------


def to_time(tokens: Tensor, frames: int) -> Tensor:
    """((N F), S, D), a row for each frame, to ((N S), F, D), a row for each place."""
    return rearrange(tokens, "(n f) s d -> (n s) f d", f=frames)


def only_reshaped(tokens: Tensor, frames: int) -> Tensor:
    """The shape is right, and the content is not: a reshape alone mixes places and frames."""
    return tokens.reshape(-1, frames, tokens.shape[-1])


def clips_inside(tokens: Tensor, frames: int) -> Tensor:
    """The rows are right, in another order: all places of the first clip come before those of the second."""
    return rearrange(tokens, "(n f) s d -> (s n) f d", f=frames)


def frames_outside(tokens: Tensor, frames: int) -> Tensor:
    """You read the rows as if the frame came before the clip: of ((N F), S, D), the frame changes fastest."""
    return rearrange(tokens, "(f n) s d -> (n s) f d", f=frames)


def by_frames() -> dict[str, tuple]:
    return {
        "one clip of 3 frames, 2 places": (normal(3, 2, 4), 3),
        "two clips of 4 frames, 3 places": (normal(8, 3, 2, seed=1), 4),
        "as many frames as places": (normal(6, 3, 2, seed=2), 3),
    }


# --- 4.3 And back -----------------------------------------------------------------------------------------------------


def to_space(tokens: Tensor, places: int) -> Tensor:
    """((N S), F, D), a row for each place, to ((N F), S, D), a row for each frame."""
    return to_time(tokens, places)  # the same exchange of two axes, whatever they are called


def reshaped_back(tokens: Tensor, places: int) -> Tensor:
    """The shape is right, and the content is not: a reshape alone mixes places and frames."""
    return only_reshaped(tokens, places)


def frames_first(tokens: Tensor, places: int) -> Tensor:
    """The rows are right, in another order: all frames of the first clip come before those of the second."""
    return clips_inside(tokens, places)


def places_outside(tokens: Tensor, places: int) -> Tensor:
    """You read the rows as if the place came before the clip: of ((N S), F, D), the place changes fastest."""
    return frames_outside(tokens, places)


# --- 4.4 A prompt's mask ----------------------------------------------------------------------------------------------

NEVER = -10_000.0
"""What is added to a score so that after the softmax nothing is left of it."""


def bias(ids: Tensor, padding: int) -> Tensor:
    """Tokens (N, L) to what is added to their scores, (N, 1, L): 0 for a word, -10,000 for padding."""
    return torch.where(ids == padding, NEVER, 0.0)[:, None]


def upside_down(ids: Tensor, padding: int) -> Tensor:
    """The words are hidden and the padding is shown."""
    return torch.where(ids == padding, 0.0, NEVER)[:, None]


def as_factor(ids: Tensor, padding: int) -> Tensor:
    """That is a mask to multiply with. A score of zero still gets its share in a softmax; add something instead."""
    return (ids != padding).float()[:, None]


def minus_infinity(ids: Tensor, padding: int) -> Tensor:
    """Minus infinity would hide it, too; here -10,000 is asked for."""
    return torch.where(ids == padding, -math.inf, 0.0)[:, None]


def true_or_false(ids: Tensor, padding: int) -> Tensor:
    """That says where the padding is: turn it into what is added."""
    return (ids == padding)[:, None]


def padding_is_zero(ids: Tensor, padding: int) -> Tensor:
    """The padding is not always 0: use `padding`."""
    return bias(ids, 0)


def row_at_the_end(ids: Tensor, padding: int) -> Tensor:
    """The axis of length 1 belongs in the middle."""
    return torch.where(ids == padding, NEVER, 0.0)[:, :, None]


def no_row(ids: Tensor, padding: int) -> Tensor:
    """The numbers are right. An axis of length 1 in the middle makes them fit the scores (N, T, L) of every token."""
    return torch.where(ids == padding, NEVER, 0.0)


def prompts() -> dict[str, tuple]:
    return {
        "two prompts": (torch.tensor([[5, 7, 1, 0], [9, 1, 0, 0]]), 0),
        "nothing to hide": (torch.tensor([[3, 4, 1]]), 0),
        "padding by another number": (torch.tensor([[0, 8, 2, 2, 2]]), 2),
    }


# --- 4.5 What training asks for ---------------------------------------------------------------------------------------


def velocity(clean: Tensor, noise: Tensor, alpha_bar: float) -> Tensor:
    """v of Salimans and Ho (2022), equal to d x_t / d phi where tan(phi) is noise's share over the signal's."""
    return alpha_bar**0.5 * noise - (1 - alpha_bar) ** 0.5 * clean


def other_sign(clean: Tensor, noise: Tensor, alpha_bar: float) -> Tensor:
    """Its sign is the other one: at alpha_bar = 1, v is the noise, not minus the noise."""
    return -velocity(clean, noise, alpha_bar)


def both_added(clean: Tensor, noise: Tensor, alpha_bar: float) -> Tensor:
    """v holds the clean latent with a minus."""
    return alpha_bar**0.5 * noise + (1 - alpha_bar) ** 0.5 * clean


def without_roots(clean: Tensor, noise: Tensor, alpha_bar: float) -> Tensor:
    """alpha_bar is a share of the variance: the two factors are its roots."""
    return alpha_bar * noise - (1 - alpha_bar) * clean


def straight_velocity(clean: Tensor, noise: Tensor, alpha_bar: float) -> Tensor:
    """That is the velocity of flow matching; here both have factors."""
    return noise - clean


def the_mixture(clean: Tensor, noise: Tensor, alpha_bar: float) -> Tensor:
    """That is x_t itself. v has the same two factors, with each other's place and a minus."""
    return alpha_bar**0.5 * clean + (1 - alpha_bar) ** 0.5 * noise


def factors_swapped(clean: Tensor, noise: Tensor, alpha_bar: float) -> Tensor:
    """The factors have changed places: where there is little noise, v is nearly all noise."""
    return (1 - alpha_bar) ** 0.5 * noise - alpha_bar**0.5 * clean


def mixtures() -> dict[str, tuple]:
    return {
        f"alpha_bar = {alpha_bar}": (normal(1, 4, 2, 3, 3), normal(1, 4, 2, 3, 3, seed=1), alpha_bar)
        for alpha_bar in (1.0, 0.7, 0.1)
    }


# --- 4.6 Which way does it move? --------------------------------------------------------------------------------------


def direction(clip: Tensor) -> str:
    """Where the bright thing of a clip (F, H, W) goes: left, right, up or down."""
    down, along = _moved(clip)
    if abs(along) > abs(down):
        return "right" if along > 0 else "left"
    return "down" if down > 0 else "up"


def without_abs(clip: Tensor) -> str:
    """A move to the left or up is a negative number: compare how far, without the sign (`abs`)."""
    down, along = _moved(clip)
    if along > down:
        return "right" if along > 0 else "left"
    return "down" if down > 0 else "up"


def two_frames_alone(clip: Tensor) -> str:
    """You look at the first two frames; compare the first with the last."""
    return direction(clip[:2])


def never_divided(clip: Tensor) -> str:
    """A sum over bright pixels grows when a thing gets brighter: divide by the sum of the brightness."""
    rows, columns = (torch.arange(length, dtype=clip.dtype) for length in clip.shape[1:])
    down, along = (clip.sum(2) @ rows).diff().sum(), (clip.sum(1) @ columns).diff().sum()
    return ("right" if along > 0 else "left") if abs(along) > abs(down) else ("down" if down > 0 else "up")


def axes_swapped(clip: Tensor) -> str:
    """Rows and columns have changed places: the first axis of a frame runs down."""
    return direction(clip.mT)


def upwards(clip: Tensor) -> str:
    """Up and down have changed places: rows are counted from the top."""
    return {"up": "down", "down": "up"}.get(direction(clip), direction(clip))


def backwards(clip: Tensor) -> str:
    """It goes the other way: subtract where it was from where it is."""
    return direction(clip.flip(0))


def _moved(clip: Tensor) -> tuple[float, float]:
    """How far the centre of brightness goes from the first frame to the last, down and to the right."""
    rows, columns = (torch.arange(length, dtype=clip.dtype) for length in clip.shape[1:])
    total = clip.sum((1, 2))
    down, along = (clip.sum(2) @ rows / total).diff().sum(), (clip.sum(1) @ columns / total).diff().sum()
    return down.item(), along.item()


def clips() -> dict[str, tuple]:
    def path(tops: list[int], lefts: list[int], light: tuple[float, ...] = (1, 1, 1, 1)) -> Tensor:
        clip = torch.zeros(4, 16, 20)
        for frame, y, x, bright in zip(clip, tops, lefts, light, strict=True):
            frame[y : y + 3, x : x + 5] = bright * torch.linspace(0.3, 1, 5)
        return clip

    return {
        "to the right": (path([6, 6, 6, 6], [1, 4, 7, 10]),),
        "upwards": (path([12, 9, 6, 3], [8, 8, 8, 8]),),
        "to the left, and a little down": (path([5, 6, 7, 8], [14, 10, 6, 2]),),
        "downwards": (path([1, 4, 7, 10], [8, 8, 8, 8]),),
        "first a step down, then to the right": (path([4, 7, 7, 7], [1, 1, 6, 11]),),
        "upwards, and brighter on its way": (path([12, 9, 6, 3], [8, 8, 8, 8], (0.2, 0.4, 0.7, 1)),),
    }


# --- 4.7 A colour never seen ------------------------------------------------------------------------------------------

TINTS = {
    "red": (1.0, 0.15, 0.15),
    "orange": (1.0, 0.55, 0.15),
    "green": (0.15, 1.0, 0.15),
    "teal": (0.15, 1.0, 0.85),
    "azure": (0.15, 0.6, 1.0),
    "magenta": (1.0, 0.15, 0.8),
}


def colour(clip: Tensor, tints: dict[str, tuple[float, float, float]]) -> str:
    """The tint with the nearest hue to that of a clip (F, 3, H, W) of a tinted thing over black, however dark it is."""
    seen = _hue(clip.mean((0, 2, 3)))
    apart = {name: abs((seen - _hue(torch.tensor(tint)) + 180) % 360 - 180) for name, tint in tints.items()}
    return min(apart, key=apart.get)


def nearest_rgb(clip: Tensor, tints: dict[str, tuple[float, float, float]]) -> str:
    """Brightness misleads you: a dark thing is near the darkest tint. Compare hues."""
    mean = clip.mean((0, 2, 3))
    return min(tints, key=lambda name: (mean - torch.tensor(tints[name])).norm().item())


def cut_at_half(clip: Tensor, tints: dict[str, tuple[float, float, float]]) -> str:
    """Hues lie on a circle: 179 degrees and -179 degrees are 2 apart."""
    seen, *hues = ((_hue(rgb) + 180) % 360 - 180 for rgb in (clip.mean((0, 2, 3)), *map(torch.tensor, tints.values())))
    return min(zip(hues, tints, strict=True), key=lambda pair: abs(seen - pair[0]))[1]


def scaled_rgb(clip: Tensor, tints: dict[str, tuple[float, float, float]]) -> str:
    """A pale thing is near the pale tints: compare hues, and not red, green and blue."""
    mean = clip.mean((0, 2, 3))
    return min(tints, key=lambda name: (mean / mean.max() - torch.tensor(tints[name])).norm().item())


def no_circle(clip: Tensor, tints: dict[str, tuple[float, float, float]]) -> str:
    """Hues lie on a circle: 350 degrees and 10 degrees are 20 apart."""
    seen = _hue(clip.mean((0, 2, 3)))
    return min(tints, key=lambda name: abs(seen - _hue(torch.tensor(tints[name]))))


def largest_channel(clip: Tensor, tints: dict[str, tuple[float, float, float]]) -> str:
    """The brightest channel alone does not tell: red and orange share it."""
    strongest = clip.mean((0, 2, 3)).argmax().item()
    return next(name for name, tint in tints.items() if max(range(3), key=tint.__getitem__) == strongest)


def _hue(rgb: Tensor) -> float:
    """In degrees, 0 to 360."""
    return hue(rgb[None, :, None, None]).item()


def tinted() -> dict[str, tuple]:
    def clip(*rgb: float, light: float = 1.0) -> Tensor:
        frames = torch.zeros(2, 3, 8, 8)
        frames[:, :, 2:6, 1:5] = light * torch.tensor(rgb)[:, None, None]
        return frames

    return {
        "orange all over": (torch.tensor((1.0, 0.5, 0.2))[:, None, None].expand(2, 3, 8, 8), TINTS),
        "a dark orange": (clip(1.0, 0.5, 0.2, light=0.5), TINTS),
        "a red that leans to magenta": (clip(1.0, 0.15, 0.25), TINTS),
        "a bright green": (clip(0.3, 1.0, 0.2), TINTS),
        "a pale magenta": (clip(1.0, 0.5, 0.95), TINTS),
        "a cyan, across from red": (clip(0.15, 0.95, 1.0), TINTS),
        "a pale red": (clip(1.0, 0.7, 0.7), TINTS),
    }


EXERCISES = {
    "4.1": Exercise(
        tokens,
        lambda: SIZES,
        (
            no_vae,
            one_frame,
            one_row,
            places_of_the_latent,
            patch_in_one_direction,
            shorter_in_time,
            pairs,
        ),
    ),
    "4.2": Exercise(to_time, by_frames, (only_reshaped, clips_inside, frames_outside)),
    "4.3": Exercise(to_space, by_frames, (reshaped_back, frames_first, places_outside)),
    "4.4": Exercise(
        bias,
        prompts,
        (
            upside_down,
            as_factor,
            minus_infinity,
            true_or_false,
            padding_is_zero,
            no_row,
            row_at_the_end,
        ),
    ),
    "4.5": Exercise(
        velocity, mixtures, (other_sign, both_added, without_roots, straight_velocity, the_mixture, factors_swapped)
    ),
    "4.6": Exercise(direction, clips, (without_abs, two_frames_alone, never_divided, axes_swapped, upwards, backwards)),
    "4.7": Exercise(colour, tinted, (nearest_rgb, scaled_rgb, no_circle, cut_at_half, largest_channel)),
}
