"""Exercises of lesson 3: the formulae of diffusion, each in a line or a few.

The signal's share of the variance at a time is written `alpha_bar` (Ho et al. 2020), a number from 0 to 1.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from tutorial_utils.exercises.checking import Exercise, normal

# --- 3.1 Forward noising ----------------------------------------------------------------------------------------------


def noised(clean: Tensor, noise: Tensor, alpha_bar: float) -> Tensor:
    """x_t: signal and noise mixed so that their variances add up to one."""
    return alpha_bar**0.5 * clean + (1 - alpha_bar) ** 0.5 * noise


def no_roots(clean: Tensor, noise: Tensor, alpha_bar: float) -> Tensor:
    """alpha_bar is a share of the variance: what is multiplied with a picture is its square root."""
    return alpha_bar * clean + (1 - alpha_bar) * noise


def root_of_one_only(clean: Tensor, noise: Tensor, alpha_bar: float) -> Tensor:
    """The signal's part is right. The squares of both factors must add up to one."""
    return alpha_bar**0.5 * clean + (1 - alpha_bar**0.5) * noise


def noise_without_root(clean: Tensor, noise: Tensor, alpha_bar: float) -> Tensor:
    """The signal's part is right; the noise needs a root, too."""
    return alpha_bar**0.5 * clean + (1 - alpha_bar) * noise


def shares_swapped(clean: Tensor, noise: Tensor, alpha_bar: float) -> Tensor:
    """Signal and noise have each other's share: at alpha_bar = 1 there is no noise."""
    return (1 - alpha_bar) ** 0.5 * clean + alpha_bar**0.5 * noise


def mixtures() -> dict[str, tuple]:
    return {
        f"alpha_bar = {alpha_bar}": (normal(2, 4, 3, 3), normal(2, 4, 3, 3, seed=1), alpha_bar)
        for alpha_bar in (0.9, 0.3, 0.0)
    }


# --- 3.2 The clean latent from v --------------------------------------------------------------------------------------


def clean_from_v(noisy: Tensor, v: Tensor, alpha_bar: float) -> Tensor:
    """x_0, from x_t and the velocity v = sqrt(alpha_bar) noise - sqrt(1 - alpha_bar) x_0."""
    return alpha_bar**0.5 * noisy - (1 - alpha_bar) ** 0.5 * v


def wrong_sign(noisy: Tensor, v: Tensor, alpha_bar: float) -> Tensor:
    """Look at the sign of the second term: v holds the clean latent with a minus."""
    return alpha_bar**0.5 * noisy + (1 - alpha_bar) ** 0.5 * v


def without_roots_here(noisy: Tensor, v: Tensor, alpha_bar: float) -> Tensor:
    """alpha_bar is a share of the variance: the two factors are its roots."""
    return alpha_bar * noisy - (1 - alpha_bar) * v


def gives_the_noise(noisy: Tensor, v: Tensor, alpha_bar: float) -> Tensor:
    """That is the noise, not the clean latent."""
    return (1 - alpha_bar) ** 0.5 * noisy + alpha_bar**0.5 * v


def as_if_noise(noisy: Tensor, v: Tensor, alpha_bar: float) -> Tensor:
    """That would be right if the network had predicted the noise; it has predicted v."""
    return (noisy - (1 - alpha_bar) ** 0.5 * v) / alpha_bar**0.5


def velocities() -> dict[str, tuple]:
    return {
        f"alpha_bar = {alpha_bar}": (normal(2, 4, 3, 3), normal(2, 4, 3, 3, seed=1), alpha_bar)
        for alpha_bar in (0.8, 0.25, 0.5)
    }


# --- 3.3 Guidance -----------------------------------------------------------------------------------------------------


def guided(without: Tensor, with_class: Tensor, scale: float) -> Tensor:
    """From the prediction without a class, `scale` times as far as the one with it; 1 is no guidance."""
    return without + scale * (with_class - without)


def from_the_class(without: Tensor, with_class: Tensor, scale: float) -> Tensor:
    """You begin at the prediction with the class, so 0 would be no guidance. Here that is 1."""
    return with_class + scale * (with_class - without)


def away(without: Tensor, with_class: Tensor, scale: float) -> Tensor:
    """You go away from the class: which of the two is subtracted?"""
    return without + scale * (without - with_class)


def no_difference(without: Tensor, with_class: Tensor, scale: float) -> Tensor:
    """At s = 1 the prediction with the class should stand alone: the direction is the difference of the two."""
    return without + scale * with_class


def from_the_other_end(without: Tensor, with_class: Tensor, scale: float) -> Tensor:
    """At s = 0 you give the prediction with the class: begin at the one without."""
    return with_class + scale * (without - with_class)


def only_stretched(without: Tensor, with_class: Tensor, scale: float) -> Tensor:
    """The prediction without a class is missing: guidance strengthens the difference between the two."""
    return scale * with_class


def predictions() -> dict[str, tuple]:
    return {f"s = {scale}": (normal(2, 4, 2, 2), normal(2, 4, 2, 2, seed=1), scale) for scale in (2.5, 1.0, 0.0)}


# --- 3.4 One step of DDIM ---------------------------------------------------------------------------------------------


def ddim_step(noisy: Tensor, noise: Tensor, now: float, after: float) -> Tensor:
    """x at the next time, from x_t, the predicted noise, and alpha_bar at both times."""
    return noised(_clean(noisy, noise, now), noise, after)


def stays_in_time(noisy: Tensor, noise: Tensor, now: float, after: float) -> Tensor:
    """The clean latent is mixed with noise again for the same time: the step leads nowhere."""
    return noised(_clean(noisy, noise, now), noise, now)


def without_noise_again(noisy: Tensor, noise: Tensor, now: float, after: float) -> Tensor:
    """That is the predicted clean latent. At the next time it still carries noise."""
    return _clean(noisy, noise, now)


def never_divided(noisy: Tensor, noise: Tensor, now: float, after: float) -> Tensor:
    """Your clean latent is too small: x_t holds it times the root of alpha_bar."""
    return noised(noisy - (1 - now) ** 0.5 * noise, noise, after)


def divided_by_the_share(noisy: Tensor, noise: Tensor, now: float, after: float) -> Tensor:
    """You divide by alpha_bar, and not by its root."""
    return noised((noisy - (1 - now) ** 0.5 * noise) / now, noise, after)


def old_noise_share(noisy: Tensor, noise: Tensor, now: float, after: float) -> Tensor:
    """The noise still has the share of the old time."""
    return after**0.5 * _clean(noisy, noise, now) + (1 - now) ** 0.5 * noise


def noisy_again(noisy: Tensor, noise: Tensor, now: float, after: float) -> Tensor:
    """You mix x_t in again; the predicted noise belongs there."""
    return noised(_clean(noisy, noise, now), noisy, after)


def times_swapped(noisy: Tensor, noise: Tensor, now: float, after: float) -> Tensor:
    """The two times have changed places: you take noise out as if at the next one."""
    return noised(_clean(noisy, noise, after), noise, now)


def _clean(noisy: Tensor, noise: Tensor, alpha_bar: float) -> Tensor:
    return (noisy - (1 - alpha_bar) ** 0.5 * noise) / alpha_bar**0.5


def steps() -> dict[str, tuple]:
    one = normal(2, 4, 2, 2), normal(2, 4, 2, 2, seed=1)
    return {
        "a step in the middle": (*one, 0.3, 0.5),
        "a large step": (*one, 0.05, 0.9),
        "the last step, to no noise": (*one, 0.9, 1.0),
    }


# --- 3.5 One ancestral step -------------------------------------------------------------------------------------------


def ancestral_step(noisy: Tensor, noise: Tensor, now: float, after: float, fresh: Tensor) -> Tensor:
    """As DDIM's, but fresh noise of variance sigma^2 takes the place of some of the predicted noise.

    sigma^2 = (1 - after) / (1 - now) * (1 - now / after), from equation 16 of Song et al. 2020, with eta = 1.
    """
    variance = _variance(now, after)
    return after**0.5 * _clean(noisy, noise, now) + max(0, 1 - after - variance) ** 0.5 * noise + variance**0.5 * fresh


def all_noise_kept(noisy: Tensor, noise: Tensor, now: float, after: float, fresh: Tensor) -> Tensor:
    """Fresh noise comes on top of all the predicted noise: together that is more than the next time has."""
    return ddim_step(noisy, noise, now, after) + _variance(now, after) ** 0.5 * fresh


def variance_as_factor(noisy: Tensor, noise: Tensor, now: float, after: float, fresh: Tensor) -> Tensor:
    """sigma^2 is a variance: fresh noise is multiplied with its root."""
    variance = _variance(now, after)
    return after**0.5 * _clean(noisy, noise, now) + max(0, 1 - after - variance) ** 0.5 * noise + variance * fresh


def roots_subtracted(noisy: Tensor, noise: Tensor, now: float, after: float, fresh: Tensor) -> Tensor:
    """Variances can be subtracted, their roots cannot: first 1 - after - sigma^2, then the root."""
    sigma = _variance(now, after) ** 0.5
    return after**0.5 * _clean(noisy, noise, now) + ((1 - after) ** 0.5 - sigma) * noise + sigma * fresh


def all_noise_fresh(noisy: Tensor, noise: Tensor, now: float, after: float, fresh: Tensor) -> Tensor:
    """All your noise is fresh: a part of the predicted noise stays."""
    return noised(_clean(noisy, noise, now), fresh, after)


def no_fresh_noise(noisy: Tensor, noise: Tensor, now: float, after: float, fresh: Tensor) -> Tensor:
    """That is a step of DDIM: the fresh noise is missing."""
    return ddim_step(noisy, noise, now, after)


def _variance(now: float, after: float) -> float:
    return (1 - after) / (1 - now) * (1 - now / after)


def fresh_steps() -> dict[str, tuple]:
    return {name: (*arguments, normal(2, 4, 2, 2, seed=2)) for name, arguments in steps().items()}


# --- 3.6 Between two noises -------------------------------------------------------------------------------------------


def between(one: Tensor, other: Tensor, way: float) -> Tensor:
    """A noise on the way (0 to 1) from one to another, in a quarter turn: its variance stays one."""
    return math.cos(way * math.pi / 2) * one + math.sin(way * math.pi / 2) * other


def straight(one: Tensor, other: Tensor, way: float) -> Tensor:
    """The variance falls on your way, to a half in the middle: the squares of both factors must add up to one."""
    return (1 - way) * one + way * other


def another_way(one: Tensor, other: Tensor, way: float) -> Tensor:
    """The variance stays one, but this is another way: turn by equal angles, from 0 to a right angle."""
    return (1 - way) ** 0.5 * one + way**0.5 * other


def in_radians(one: Tensor, other: Tensor, way: float) -> Tensor:
    """At 1 the first noise has not gone: how large is a quarter turn in radians?"""
    return math.cos(way) * one + math.sin(way) * other


def in_degrees(one: Tensor, other: Tensor, way: float) -> Tensor:
    """`cos` and `sin` want radians, not degrees."""
    return math.cos(90 * way) * one + math.sin(90 * way) * other


def backwards(one: Tensor, other: Tensor, way: float) -> Tensor:
    """You go from the other to the one: 0 is where the first stands."""
    return between(other, one, way)


def too_far(one: Tensor, other: Tensor, way: float) -> Tensor:
    """You turn too far: at 1 the second noise has to stand alone, and a quarter turn is enough for that."""
    return math.cos(way * math.pi) * one + math.sin(way * math.pi) * other


def ways() -> dict[str, tuple]:
    return {
        f"{way:g} of the way": (normal(2, 4, 2, 2), normal(2, 4, 2, 2, seed=1), way) for way in (0.0, 0.25, 0.5, 1.0)
    }


# --- 3.7 A schedule that ends in pure noise ---------------------------------------------------------------------------


def zero_terminal(alpha_bar: Tensor) -> Tensor:
    """(T,) to (T,): the roots moved and stretched, so that the last is 0 and the first as it was (Lin et al. 2023)."""
    roots = alpha_bar.sqrt()
    return ((roots - roots[-1]) * roots[0] / (roots[0] - roots[-1])) ** 2


def last_cut_off(alpha_bar: Tensor) -> Tensor:
    """Only the last time has changed: that is a jump. All times should give way a little."""
    return torch.cat([alpha_bar[:-1], torch.zeros(1)])


def only_moved(alpha_bar: Tensor) -> Tensor:
    """The last is 0, but the first has changed as well: stretch the rest, so that it is as it was."""
    roots = alpha_bar.sqrt()
    return (roots - roots[-1]) ** 2


def without_roots(alpha_bar: Tensor) -> Tensor:
    """Both ends are right, and what lies between is not: it is the roots, the signal's factors, that are moved."""
    return (alpha_bar - alpha_bar[-1]) * alpha_bar[0] / (alpha_bar[0] - alpha_bar[-1])


def not_squared(alpha_bar: Tensor) -> Tensor:
    """These are still the roots: square them."""
    return zero_terminal(alpha_bar).sqrt()


def schedules() -> dict[str, tuple]:
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    return {
        "four times": (torch.tensor([0.99, 0.7, 0.3, 0.04]),),
        "Stable Diffusion's thousand times": ((1 - betas).cumprod(0),),
    }


EXERCISES = {
    "3.1": Exercise(noised, mixtures, (no_roots, root_of_one_only, noise_without_root, shares_swapped)),
    "3.2": Exercise(clean_from_v, velocities, (wrong_sign, without_roots_here, gives_the_noise, as_if_noise)),
    "3.3": Exercise(guided, predictions, (from_the_class, from_the_other_end, away, no_difference, only_stretched)),
    "3.4": Exercise(
        ddim_step,
        steps,
        (
            stays_in_time,
            without_noise_again,
            never_divided,
            divided_by_the_share,
            old_noise_share,
            noisy_again,
            times_swapped,
        ),
    ),
    "3.5": Exercise(
        ancestral_step,
        fresh_steps,
        (all_noise_kept, all_noise_fresh, roots_subtracted, variance_as_factor, no_fresh_noise),
    ),
    "3.6": Exercise(between, ways, (straight, another_way, in_radians, in_degrees, backwards, too_far)),
    "3.7": Exercise(zero_terminal, schedules, (last_cut_off, only_moved, without_roots, not_squared)),
}
