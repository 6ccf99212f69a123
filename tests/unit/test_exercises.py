"""Exercises: right answers of more than one kind pass, and a typical wrong one is told where to look."""

import importlib
import math
import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from einops import einsum

from tutorial_utils.checks import CheckError
from tutorial_utils.exercises.checking import LESSONS, Exercise, check_exercise, find
from tutorial_utils.networks.patches import patchify

EXERCISES = {
    number: exercise
    for lesson in LESSONS
    for number, exercise in importlib.import_module(f"tutorial_utils.exercises.lesson_{lesson}").EXERCISES.items()
}
TABLES = {number: exercise for number, exercise in EXERCISES.items() if isinstance(exercise, Exercise)}


# --- A second solution to each: another route, or another library -----------------------------------------------------


def rollout(first, second):
    reached = torch.eye(first.shape[-1])[0]
    for layer in (second, first):  # from [CLS] backwards, a vector in place of matrices
        reached = 0.5 * reached + 0.5 * einsum(layer, reached, "h query key, query -> key") / len(layer)
    return reached[1:]


def uncut(tokens, shape, tubelet):
    volume, (t, h, w) = np.empty(shape), tubelet
    boxes = iter(tokens)
    for z in range(0, shape[0], t):
        for y in range(0, shape[1], h):
            for x in range(0, shape[2], w):
                volume[z : z + t, y : y + h, x : x + w] = next(boxes).reshape(tubelet)
    return volume


def over_time(tokens):
    scores = np.einsum("tsd,usd->stu", tokens, tokens) / np.sqrt(tokens.shape[2])
    weights = np.exp(scores) / np.exp(scores).sum(axis=2, keepdims=True)
    return np.einsum("stu,usd->tsd", weights, tokens)


def mirror(volume, label, names, axis):
    name = names[label].replace("left", "LEFT").replace("right", "left").replace("LEFT", "right")
    return np.moveaxis(np.moveaxis(volume, axis, 0)[::-1], 0, axis), list(names).index(name)


def most_confused(counts, names):
    pairs = {(a, b): counts[a, b] + counts[b, a] for a in range(len(names)) for b in range(a)}
    return tuple(sorted(names[organ] for organ in max(pairs, key=pairs.get)))


def rate(step, steps, warmup, top):
    return top * min(step / warmup, math.cos(math.pi / 2 * max(0, step - warmup) / (steps - warmup)) ** 2)


def ddim_step(noisy, noise, now, after):
    ratio = math.sqrt(after / now)
    return ratio * noisy + (math.sqrt(1 - after) - ratio * math.sqrt(1 - now)) * noise


def ancestral_step(noisy, noise, now, after, fresh):
    """The mean and variance of DDPM's equation 7 (Ho et al. 2020), of the clean latent and the noisy one."""
    clean, alpha = (noisy - math.sqrt(1 - now) * noise) / math.sqrt(now), now / after
    mean = (math.sqrt(after) * (1 - alpha) * clean + math.sqrt(alpha) * (1 - after) * noisy) / (1 - now)
    return mean + math.sqrt((1 - after) / (1 - now) * (1 - alpha)) * fresh


def direction(clip):
    height, width = clip.shape[1:]
    centres = [
        ((frame.sum(1) * torch.arange(height)).sum(), (frame.sum(0) * torch.arange(width)).sum()) / frame.sum().numpy()
        for frame in (clip[0], clip[-1])
    ]
    down, along = centres[1] - centres[0]
    return max({"right": along, "left": -along, "down": down, "up": -down}.items(), key=lambda pair: pair[1])[0]


def colour(clip, tints):
    import colorsys

    seen = colorsys.rgb_to_hsv(*clip.amax((0, 2, 3)).tolist())[0]
    return max(tints, key=lambda name: math.cos(2 * math.pi * (seen - colorsys.rgb_to_hsv(*tints[name])[0])))


SECOND = {
    "1.1": lambda side, patch: len(range(0, side, patch)) * len(range(0, side, patch)) + 1,
    "1.2": patchify,
    "1.3": lambda q, k, v: F.scaled_dot_product_attention(q[None], k[None], v[None])[0],
    "1.4": rollout,
    "1.5": lambda side, patch, stride: len(torch.zeros(side).unfold(0, patch, stride)) ** 2,
    "2.1": lambda frames, places: ((frames * places) ** 2, frames * places * (frames + places)),
    "2.2": lambda length, count: [int((number + 0.5) * length / count) for number in range(count)],
    "2.3": uncut,
    "2.4": over_time,
    "2.5": mirror,
    "2.6": most_confused,
    "2.7": rate,
    "3.1": lambda clean, noise, share: torch.lerp(clean * 0, clean, math.sqrt(share)) + math.sqrt(1 - share) * noise,
    "3.2": lambda noisy, v, share: (
        (noisy - math.sqrt(1 - share) * (math.sqrt(1 - share) * noisy + share**0.5 * v)) / math.sqrt(share)
    ),
    "3.3": lambda without, with_class, scale: torch.lerp(without, with_class, scale),
    "3.4": ddim_step,
    "3.5": ancestral_step,
    "3.6": lambda one, other, way: (torch.complex(one, other) * np.exp(-1j * way * math.pi / 2)).real,
    "3.7": lambda shares: (
        ((shares.sqrt() - shares[-1].sqrt()) / (shares[0].sqrt() - shares[-1].sqrt())).square() * shares[0]
    ),
    "4.1": lambda frames, side, patch: torch.zeros(frames, side, side)[:, :: 8 * patch, :: 8 * patch].numel(),
    "4.2": lambda tokens, frames: tokens.unflatten(0, (-1, frames)).transpose(1, 2).flatten(0, 1),
    "4.3": lambda tokens, places: tokens.unflatten(0, (-1, places)).transpose(1, 2).flatten(0, 1),
    "4.4": lambda ids, padding: (ids == padding).float().unsqueeze(1) * -10_000.0,
    "4.5": lambda clean, noise, share: (
        torch.stack([noise, clean], -1) @ torch.tensor([share**0.5, -((1 - share) ** 0.5)])
    ),
    "4.6": direction,
    "4.7": colour,
}


@pytest.mark.parametrize("number", sorted(TABLES))
def test_two_solutions_are_accepted(number):
    for answer in (TABLES[number].right, SECOND[number]):
        verdict = TABLES[number].judge(answer)
        assert verdict.state == "right", f"{number}: {verdict.words}"


# --- Wrong answers ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "mistaken"),
    [
        pytest.param(number, mistaken, id=f"{number}-{mistaken.__name__}")
        for number, exercise in TABLES.items()
        for mistaken in exercise.mistakes
    ],
)
def test_a_typical_mistake_is_told_where_to_look(number, mistaken):
    verdict = TABLES[number].judge(mistaken)
    assert verdict.state == "wrong" and verdict.words.endswith(mistaken.__doc__)


@pytest.mark.parametrize("number", sorted(TABLES))
def test_three_mistakes_at_least_are_known_and_no_answer_is_given_away(number):
    exercise = TABLES[number]
    assert len(exercise.mistakes) >= 3
    for mistaken in exercise.mistakes:
        case, _, said = exercise.judge(mistaken).words.partition(": ")
        right = exercise.right(*exercise.cases()[case])
        if isinstance(right, int | float):
            assert str(right) not in re.findall(r"[\d.]+", said)


def known(shift=0.0, factor=1.0, shape=None, then=lambda noise: noise):
    """An answer to exercise 3.1 that is wrong in a way which no mistake there has."""

    def answer(clean, noise, share):
        given = then(factor * TABLES["3.1"].right(clean, noise, share) + shift)
        return given.reshape(shape) if shape else given

    return answer


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (known(factor=-1), "right but for its sign"),
        (known(factor=3), "one factor, which all numbers share"),
        (known(shift=0.5), "off by the same amount"),
        (known(then=lambda noise: noise.flip(0)), "another order or other axes"),
        (known(shape=(2, 36)), r"got shape \(2, 36\), and the answer has shape \(2, 4, 3, 3\)"),
        (known(then=lambda noise: noise.where(noise != noise[0, 0, 0, 1], 7.0)), r"1 of 72 .* \[0, 0, 0, 1\].* 7"),
        (known(then=lambda noise: noise.flatten(2)), "only the shape is another"),
        (known(then=lambda noise: noise > 0), "72 of 72"),
        (known(then=lambda noise: noise * 1j), "root of a negative number"),
        (known(then=lambda noise: noise / 0 * 0), "comes of 0 / 0"),
        (lambda *case: None, "is a `return` missing"),
        (lambda *case: "words", "got 'words'"),
        (lambda *case: case[0].no_such_thing, "AttributeError"),
        (lambda: 1, "TypeError"),
    ],
)
def test_any_other_mistake_is_described(answer, said, monkeypatch):
    monkeypatch.setenv("TUTORIAL_CHECKS", "strict")
    with pytest.raises(CheckError, match=said):
        check_exercise("3.1", answer)


def test_a_part_that_is_wrong_is_named_among_several():
    words = TABLES["2.5"].judge(lambda volume, label, names, axis: (np.flip(volume, axis), "left")).words
    assert "of the 2 values that you gave, number 2: got 'left'" in words
    assert "2 values are expected, and you gave 3" in TABLES["2.5"].judge(lambda *case: (1, 2, "three")).words


def unwritten(*case):
    raise NotImplementedError


def test_what_is_not_written_yet_stops_nobody_at_work(monkeypatch, capsys):
    monkeypatch.setenv("TUTORIAL_CHECKS", "report")
    for number in EXERCISES:
        check_exercise(number, unwritten)
    assert capsys.readouterr().out.count("not yet") == len(EXERCISES)
    monkeypatch.setenv("TUTORIAL_CHECKS", "strict")
    with pytest.raises(CheckError, match="not yet"):  # else it would be worth full marks
        check_exercise("1.1", unwritten)


def test_a_wrong_answer_is_a_line_for_somebody_at_work(monkeypatch, capsys):
    monkeypatch.setenv("TUTORIAL_CHECKS", "report")
    check_exercise("1.1", lambda side, patch: 196)
    assert "✗ 1.1 224 pixels, patches of 16: got 196. [CLS] is a token as well." in capsys.readouterr().out


@pytest.mark.parametrize("number", ["1.99", "9.1", "", "one"])
def test_another_number_is_refused_by_name(number):
    with pytest.raises(ValueError, match="There is no exercise .*choose one of .*1.1"):
        find(number)


def test_a_number_without_quotes_is_told_so():
    with pytest.raises(ValueError, match='in quotes: "3.1"'):
        find(3.1)


def test_names_of_numpys_are_names():
    assert TABLES["4.6"].judge(lambda clip: np.array([TABLES["4.6"].right(clip)])[0]).state == "right"
    assert TABLES["2.6"].judge(lambda *case: np.array(TABLES["2.6"].right(*case))).state == "right"


def test_a_value_in_place_of_a_function_is_refused():
    with pytest.raises(ValueError, match="answer=197 is no function"):
        check_exercise("1.1", 197)


def test_an_argument_is_never_changed_for_the_next_try():
    def greedy(clean, noise, share):
        clean *= 0
        return clean

    assert TABLES["3.1"].judge(greedy).words == TABLES["3.1"].judge(greedy).words


# --- Measured with a miniature ----------------------------------------------------------------------------------------


def brightness(shown):
    return patchify(shown, 4).mean(2)


@pytest.mark.parametrize(
    ("number", "answer", "state", "said"),
    [
        ("1.6", brightness, "right", "4"),
        ("1.6", lambda shown: -brightness(shown), "wrong", "Which patches of a garment's picture tell least"),
        ("1.6", lambda shown: brightness(shown.mT), "wrong", "9|8"),  # the patches run down the columns
        ("1.6", lambda shown: brightness(shown)[0], "wrong", "one score for each patch is expected"),
        ("1.7", lambda: (5, 6), "right", "layers 5 and 6"),
        ("1.7", lambda: [6, 3], "right", "layers 3 and 6"),
        ("1.7", lambda: (1, 2), "wrong", "measure the pairs"),
        ("1.7", lambda: np.array([2, 6]), "right", "layers 2 and 6"),
        ("1.6", lambda shown: brightness(shown).argsort(1, descending=True), "wrong", "places in a ranking"),
        ("1.6", lambda shown: 0 * brightness(shown) / 0, "wrong", "without nan"),
        ("1.7", lambda: {}["missing"], "wrong", "KeyError"),
        ("1.7", lambda: (6, 6), "wrong", "two different layers"),
        ("1.7", lambda: 5, "wrong", "two different layers"),
    ],
)
def test_an_answer_is_measured(number, answer, state, said):
    verdict = EXERCISES[number].judge(answer)
    assert verdict.state == state and any(part in verdict.words for part in said.split("|")), verdict.words
