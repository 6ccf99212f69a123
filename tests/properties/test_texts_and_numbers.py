"""Names, texts and numbers from a learner: what is unknown, not whole or out of bounds is refused by name."""

from __future__ import annotations

import math
import re

import models
import nbformat.v4
import numpy as np
import pytest
import torch
import yaml
from diffusers.models.attention_processor import Attention
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from strategies import REFUSED, attempt, numbers_outside, texts

from tutorial_utils import checks, execution, preflight, require, runtime, translations
from tutorial_utils.assets import store
from tutorial_utils.datasets import axes, fashion_mnist, images, moving, organmnist3d, organs
from tutorial_utils.measures import intervals, metrics
from tutorial_utils.networks import attention, patches
from tutorial_utils.sampling import by_class, diffusion, latte, latte_config

# --- Texts ----------------------------------------------------------------------------------------------------------


def notebook_names() -> list[str]:
    return [path.name for path in execution.find_notebooks()]


KNOWN = {  # functions that take a name, how they are called, and what they know
    runtime.scale: (lambda text: (text,), runtime.SCALES),
    translations.find: (lambda text: (text,), translations.LANGUAGES),
    runtime.device: (lambda text: (text,), ("", "cpu")),
    store.COURSE.find: (lambda text: (text, "mini"), ()),
    store.fetch: (lambda text: (text, "mini"), ()),
    store.COURSE.fetch: (lambda text: (text, "mini"), ()),
    store.COURSE.verify: (lambda text: (text, "mini"), ()),
    store.COURSE.repair: (lambda text: (text, "mini"), ()),
    preflight.preflight: (lambda text: (text, "mini"), ()),
    diffusion.make_scheduler: (lambda text: (text,), diffusion.SCHEDULERS),
    fashion_mnist.fashion_mnist: (lambda text: (text,), ()),
    fashion_mnist.fashion_mnist_tensors: (lambda text: (text,), ()),
    organmnist3d.organmnist3d: (lambda text: (text,), ()),
    organs.draw_organs: (lambda text: ([text], np.random.default_rng(0)), organs.NAMES),
    by_class.load: (lambda text: (text,), ()),
    fashion_mnist.FASHION_CLASSES.index: (lambda text: (text,), fashion_mnist.FASHION_CLASSES),
    latte_config.load_config: (lambda text: (text,), ()),
}


@pytest.mark.parametrize("function", KNOWN, ids=lambda function: function.__name__)
@given(data=st.data())
def test_a_name_is_known_or_refused(function, data):
    call, known = KNOWN[function]
    text = data.draw(texts | st.sampled_from(sorted(known)) if known else texts)
    assert (attempt(function, *call(text)) is REFUSED) == (text not in known)


@given(texts)
def test_whatever_somebody_typed_is_said_in_some_words(text):
    for language in translations.LANGUAGES.values():
        said = attempt(language.say, text)
        assert isinstance(said, str) and bool(said.strip()) == bool(text.strip())
    assert attempt(translations.say, text) == text  # in English, of which no catalogue has a translation


@pytest.mark.parametrize("name", ["kidney", "kidney-", "liver-left", "lung-middle", "Liver"])
def test_what_is_nearly_an_organ_is_none(name):
    assert attempt(organs.draw_organs, [name], np.random.default_rng(0)) is REFUSED


@given(text=texts | st.sampled_from(["0", "01", "01_vit_inference"]))
def test_the_beginning_of_a_name_finds_lessons_or_is_refused(text):
    names = notebook_names()
    found = attempt(execution.find_notebooks, [text])
    assert (found is REFUSED) == (not any(name.startswith(text) for name in names))
    lessons = attempt(preflight.lessons, text)
    assert lessons is REFUSED or all(name.startswith(text) for name in lessons)


@pytest.mark.parametrize("scale", runtime.SCALES)
def test_a_card_says_all_and_its_verdict(scale):
    for lesson in preflight.lessons():
        card = attempt(preflight.preflight, lesson, scale)
        assert ("verdict", attempt(card.verdict)) in attempt(card.rows)


@given(count=st.integers(0, 30), held_out=st.booleans())
def test_scenes_are_held_out_or_not_as_was_asked_for(count, held_out):
    scenes = attempt(moving.draw_scenes, count, models.chance(), held_out)
    assert attempt(scenes.held_out).tolist() == [held_out] * count


@given(word=texts | st.sampled_from(["Bag", "BAGS", " ankle  boot", "guidence_scale"]), known=st.sets(texts))
def test_what_may_be_meant_is_known_and_not_much(word, known):
    known |= {"bag", "ankle boot", "guidance_scale"}
    hint = attempt(require.meant, word, known)
    assert not hint or any(repr(name) in hint for name in known)
    if word.casefold().strip() in known:
        assert repr(word.casefold().strip()) in hint


@given(words=texts | st.lists(st.sampled_from(["0", "1", "2", " shirt", "SHOE ", "hat", ""])).map(",".join))
def test_a_list_of_classes_is_understood_or_refused(words):
    labels = attempt(by_class.chosen_classes, words, models.CLASSES)
    assert labels is REFUSED or all(0 <= label < len(models.CLASSES) for label in labels)


@given(number=st.integers(0, 10**6), text=texts)
def test_any_prompt_names_a_file(number, text):
    assert re.fullmatch(r"\d{3,7}[-a-z0-9]*", attempt(latte.file_stem, number, text))


@given(markdown=texts | st.text(alphabet="# \nab`"))
def test_a_heading_is_a_line_of_its_text(markdown):
    heading = attempt(execution.first_heading, markdown)
    assert heading is None or (heading in markdown and "\n" not in heading)


# --- Numbers --------------------------------------------------------------------------------------------------------


IMAGES = torch.full((2, 3, 4, 4), 0.5)
LABELS = torch.tensor([0, 1])
PICTURES = np.zeros((3, 2, 2, 3), np.uint8)
LATENTS = torch.zeros(2, 2, 4, 4)
QUICK = diffusion.Settings(steps=1)


NUMBERS = {  # a function, its arguments with a number among them, and the bounds of that number
    "patches.as_pair": (patches.as_pair, lambda n: {"size": n}, 1, None),
    "moving.draw_scenes": (moving.draw_scenes, lambda n: {"count": n, "source": models.chance()}, 0, None),
    "diffusion.generators": (diffusion.generators, lambda n: {"seeds": [n]}, 0, 2**63 - 1),
    "diffusion.draw_noise": (diffusion.draw_noise, lambda n: {"sources": [models.chance()], "shape": [2, n]}, 1, None),
    "diffusion.sample": (
        diffusion.sample,
        lambda n: {"network": None, "scheduler": diffusion.make_scheduler("ddim"), "noise": LATENTS, "steps": n},
        1,
        1000,
    ),
    "diffusion.sample_seed": (diffusion.sample_seed, lambda n: {"seed": n, "k": 0}, 0, None),
    "diffusion.sample_seed's k": (diffusion.sample_seed, lambda n: {"seed": 0, "k": n}, 0, None),
    "images.grid": (images.grid, lambda n: {"images": PICTURES, "columns": n}, 1, None),
    "by_class.sampler": (
        by_class.sampler,
        lambda n: {"network": models.uvit_network(), "vae": models.vae(), "batch_size": n},
        1,
        None,
    ),
    "metrics.features": (
        metrics.Judge.features,
        lambda n: {"self": models.judge(), "images": IMAGES, "batch_size": n},
        1,
        None,
    ),
    "metrics.nearest": (metrics.nearest, lambda n: {"queries": IMAGES, "among": IMAGES, "batch_size": n}, 1, None),
    "attention.cls_attention": (
        attention.cls_attention,
        lambda n: {"weights": torch.zeros(2, 1, 1, 5, 5), "grid": (2, 2), "layer": n},
        -2,
        1,
    ),
    "runtime.seed_everything": (runtime.seed_everything, lambda n: {"seed": n}, 0, 2**32 - 1),
    "runtime.use_threads": (runtime.use_threads, lambda n: {"count": n}, 1, 1024),
}


@pytest.mark.parametrize("name", NUMBERS)
@given(data=st.data())
def test_a_number_out_of_bounds_is_refused(name, data):
    function, call, least, most = NUMBERS[name]
    assert attempt(function, **call(data.draw(numbers_outside(least, most)))) is REFUSED


@pytest.mark.parametrize("name", NUMBERS)
@given(beyond=st.integers(0, 2), kind=st.sampled_from([int, np.int64]))
def test_a_small_number_within_bounds_is_answered(name, beyond, kind):
    function, call, least, _ = NUMBERS[name]
    assert attempt(function, **call(kind(least + beyond))) is not REFUSED


@given(seed=numbers_outside(0, None))
def test_organs_are_not_drawn_from_a_seed_that_is_none(seed):
    assert attempt(organmnist3d.synthetic_organs, seed) is REFUSED


SHAPES = [(22, 2, 2, 2), (25, 3, 3, 3), (22, 2, 2), (9, 2, 2, 2)]


@given(volumes=arrays(st.sampled_from(["u1", "i8", "f8"]), st.sampled_from(SHAPES)))
def test_the_axes_of_any_volumes_are_found_or_left_open_or_refused(volumes):
    found = attempt(axes.find_axes, volumes, np.arange(len(volumes)) % 11, organs.NAMES)
    if volumes.ndim == 4 and len(volumes) >= 22 and np.isfinite(volumes).all():
        assert found.left_right in (None, 0, 1, 2) and found.head_feet in (None, 0, 1, 2)
    else:
        assert found is REFUSED


@given(shape=st.sampled_from([(0, 2, 2, 3), (2, 2, 3), (2, 2, 2, 1), (2, 0, 2, 3), (3,)]))
def test_what_is_no_list_of_pictures_makes_no_grid(shape):
    assert attempt(images.grid, np.zeros(shape, np.uint8)) is REFUSED


@given(scale=st.floats(), has_labels=st.booleans(), null_label=st.sampled_from([None, 2]))
def test_guidance_is_applied_or_refused(scale, has_labels, null_label):
    labels = LABELS if has_labels else None

    def network(x, times, given):
        return x if given is None else x * (given[:, None, None, None] == 2)

    guided = attempt(diffusion.guided, network, LATENTS + 1, torch.ones(2), labels, null_label, scale)
    sensible = 0 <= scale < math.inf and (scale == 1 or (has_labels and null_label is not None))
    assert (guided is not REFUSED) == sensible


@given(low=st.floats(), high=st.floats())
def test_bounds_of_guidance_are_in_order_or_refused(low, high):
    steps = attempt(
        diffusion.sample,
        lambda x, times, labels: x,
        diffusion.make_scheduler("ddim"),
        LATENTS,
        LABELS,
        steps=1,
        guidance_interval=(low, high),
    )
    assert (steps is not REFUSED) == (0 <= low < high)
    assert steps is REFUSED or attempt(diffusion.last, steps).latent.shape == LATENTS.shape


def test_no_steps_have_no_last_one():
    assert attempt(diffusion.last, iter([])) is REFUSED


numbers = st.integers(-3, 9) | st.sampled_from([2.0, math.nan, "3", None, True, np.uint8(4)])


@given(value=numbers, least=st.integers(-2, 4), most=st.none() | st.integers(4, 8))
def test_what_is_required_to_be_whole_is_an_int_within_bounds(value, least, most):
    number = attempt(require.whole, "n", value, least, most)
    fits = isinstance(value, int | np.integer) and least <= value and (most is None or value <= most)
    assert (number is not REFUSED) == fits
    assert number is REFUSED or type(number) is int


LAYOUTS = {  # and which shapes fit them
    "N": lambda least, *shape: len(shape) == 1 and shape[0] >= least,
    "N 3": lambda least, *shape: len(shape) == 2 and shape[0] >= least and shape[1] == 3,
    "... 3": lambda least, *shape: len(shape) >= 1 and shape[-1] == 3,
    "...": lambda least, *shape: True,
    "N T T": lambda least, *shape: len(shape) == 3 and shape[0] >= least and shape[1] == shape[2] >= 1,
    "A B": lambda least, *shape: len(shape) == 2 and 0 not in shape,
}


@settings(max_examples=100)
@given(
    shape=st.lists(st.integers(0, 3), max_size=4),
    layout=st.sampled_from(sorted(LAYOUTS)),
    least=st.integers(0, 2),
    value=st.sampled_from([0.0, 1.0, 1.0005, 1.5, -1.0, math.nan, math.inf]),
    within=st.sampled_from([None, require.UNIT, require.FINITE]),
)
def test_what_is_required_of_a_tensor_is_its_layout_and_its_values(shape, layout, least, value, within):
    fits, wholes = LAYOUTS[layout](least, *shape), torch.full(shape, 1)
    assert (attempt(require.integers, "x", wholes, layout, least=least, within=(0, 1)) is None) == fits
    assert attempt(require.floats, "x", wholes, layout) is REFUSED
    bounded = math.isfinite(value) and (within == require.FINITE or 0 <= value < 1.1)
    answer = attempt(require.floats, "x", torch.full(shape, value), layout, least=least, within=within)
    assert (answer is None) == (fits and (within is None or 0 in shape or bounded))


# --- Sizes ----------------------------------------------------------------------------------------------------------


sides = st.integers(-2, 40) | st.sampled_from([10**9, 2**70, 2.5, math.nan, "16", None])
any_size = sides | st.tuples(sides, sides) | st.lists(sides, max_size=3)


@given(image=any_size, patch=any_size)
def test_any_two_sizes_have_a_grid_or_none(image, patch):
    grid = attempt(patches.patch_grid, image, patch)
    if grid is not REFUSED:
        whole, part = patches.as_pair(image), patches.as_pair(patch)
        assert tuple(n * step for n, step in zip(grid, part, strict=True)) == whole


@given(
    shape=st.lists(st.sampled_from([0, 1, 2, 3, 4, 6, 8, 12]), max_size=6),
    size=st.integers(0, 5) | st.tuples(st.integers(1, 4), st.integers(1, 4)),
    kind=st.sampled_from(["uint8", "float16", "float64", "bool", "complex64"]),
    torch_too=st.booleans(),
)
def test_any_array_is_cut_into_patches_and_put_together_again_or_refused(shape, size, kind, torch_too):
    images = np.arange(math.prod(shape)).reshape(shape).astype(kind)
    images = torch.from_numpy(images) if torch_too else images
    cut = attempt(patches.patchify, images, size)
    if cut is not REFUSED:
        back = attempt(patches.unpatchify, cut, tuple(images.shape[-2:]), size)
        assert type(back) is type(images) and back.dtype == images.dtype and back.shape == images.shape
        assert bool((back == images).all())


@given(shape=st.lists(st.integers(0, 9), max_size=4), patch=any_size)
def test_any_images_are_trimmed_to_whole_patches_or_refused(shape, patch):
    trimmed = attempt(patches.trim_to_patches, np.zeros(shape), patch)
    if trimmed is not REFUSED:
        assert trimmed.shape[:-2] == tuple(shape[:-2])
        for side, before, step in zip(trimmed.shape[-2:], shape[-2:], patches.as_pair(patch), strict=True):
            assert side % step == 0 and before - step < side <= before


@given(shape=st.lists(st.integers(0, 9), max_size=4), image=any_size, patch=any_size)
def test_patches_that_do_not_fit_are_refused(shape, image, patch):
    images = attempt(patches.unpatchify, np.zeros(shape), image, patch)
    assert images is REFUSED or images.shape[-2:] == patches.as_pair(image)


@given(
    heads=st.integers(1, 3), tokens=st.integers(1, 4), others=st.integers(1, 4), value=st.sampled_from([0.0, 1.0, 1e4])
)
@torch.no_grad()
def test_weights_that_are_written_down_add_up_to_one(heads, tokens, others, value):
    layer = Attention(query_dim=4, cross_attention_dim=4, heads=heads, dim_head=2)
    with attempt(attention.recorded, layer) as found:
        layer(torch.full((2, tokens, 4), value), torch.full((2, others, 4), value))
    assert found[0].shape == (2, heads, tokens, others)
    assert torch.allclose(found[0].sum(-1), torch.ones(2, heads, tokens))


@given(grid=any_size)
def test_a_grid_is_that_of_the_weights_or_refused(grid):
    weights = torch.zeros(1, 1, 1, 7, 7)
    for function in (attention.cls_attention, attention.attention_rollout):
        maps = attempt(function, weights, grid)
        assert maps is REFUSED or maps.shape[-2:] == patches.as_pair(grid)


# --- Facts ----------------------------------------------------------------------------------------------------------


arrays = st.builds(
    lambda kind, shape, seed: (np.random.default_rng(seed).integers(0, 3, shape)).astype(kind),
    st.sampled_from(["uint8", "int64", "float16", "float64", "bool", "complex128", "<U3", "object"]),
    st.lists(st.integers(0, 12), max_size=2),
    st.integers(0, 3),
)
plain = st.integers(-(2**66), 2**66) | st.floats() | st.text(max_size=3) | st.booleans()
facts = st.recursive(
    plain | arrays | arrays.map(np.ndarray.tolist), lambda inner: st.lists(inner, max_size=4), max_leaves=8
)


@given(got=facts, expected=facts)
def test_two_values_agree_or_the_fact_does_not_hold(got, expected):
    attempt(checks.check, "a fact", got, expected)


@given(value=facts)
def test_a_value_without_nan_agrees_with_itself(value):
    if "nan" not in repr(value):
        assert attempt(checks.check, "a fact", value, value) is not REFUSED


@given(one=st.integers(-(2**66), 2**66), other=st.integers(-1, 1))
def test_whole_numbers_agree_to_the_last_digit(one, other):
    assert (attempt(checks.check, "a fact", one, one + other) is REFUSED) == (other != 0)


@given(value=facts, bound=st.floats(allow_nan=False))
def test_any_value_is_within_a_bound_or_the_fact_does_not_hold(value, bound):
    attempt(checks.check, "a fact", value, at_least=bound)
    attempt(checks.check, "a fact", value, at_most=bound)


# --- Configurations -------------------------------------------------------------------------------------------------


SOUND = {
    "model": "latte",
    "prompts": ["a red coat"],
    "steps": 2,
    "guidance_scale": 4.0,
    "scheduler": "ddim",
    "frames": 8,
    "height": 64,
    "width": 64,
    "out": "build",
}
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3) | st.integers(), inner, max_size=2),
    max_leaves=6,
)
plausible = st.sampled_from([1, 8, 64, 128, 0.5, 4.0, "ddim", "float32", ["a coat"], [0.1, 0.9], False])
HOSTILE = [
    "out: 2001-99-99",
    "steps: !!int many",
    "steps: !!timestamp now",
    "? [a, b]\n: c",
    "[" * 3_000,
    "a: &a [*a]",
    "\n".join(
        [
            "a: &a [x, x]",
            *(f"{k}: &{k} [*{j}, *{j}, *{j}, *{j}]" for j, k in zip("abcdefghijklmn", "bcdefghijklmno", strict=True)),
        ]
    )
    + "\nprompts: *o",
    "!!python/object/apply:os.system ['touch hacked']",
    "--- a\n--- b",
    "\t",
    "steps: 1\nsteps: 2",
]


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return tmp_path_factory.mktemp("configs") / "latte.yaml"


@example(key="frames", value=1)
@example(key="width", value=128)
@given(key=st.sampled_from(sorted(latte_config.Config.model_fields)) | st.text(max_size=5), value=values | plausible)
def test_a_key_with_any_value_is_allowed_or_named(file, key, value):
    file.write_text(yaml.safe_dump(SOUND | {key: value}, allow_unicode=True), encoding="utf-8")
    config = attempt(latte_config.load_config, file)
    if config is not REFUSED:
        fits = config.frames in (1, 8) and config.height == config.width == 64
        assert (attempt(config.require_fits, 8, 64) is None) == fits


@pytest.mark.parametrize("content", HOSTILE, ids=lambda content: content[:12])
def test_a_hostile_file_is_refused_at_once_and_in_few_words(file, content, monkeypatch):
    monkeypatch.chdir(file.parent)
    file.write_text(content, encoding="utf-8")
    with pytest.raises(ValueError) as caught:
        latte_config.load_config(file)
    assert len(str(caught.value)) < 10_000 and str(file) in str(caught.value)
    assert attempt(latte_config.load_config, file) is REFUSED
    assert [path.name for path in file.parent.iterdir()] == [file.name]


@given(content=st.binary(max_size=60) | st.text(alphabet="abc:-[]{}&*!|>'\"#%\n ", max_size=40).map(str.encode))
def test_any_file_is_a_configuration_or_is_refused(file, content):
    file.write_bytes(content)
    assert attempt(latte_config.load_config, file) is REFUSED


# --- Notebooks ------------------------------------------------------------------------------------------------------


streams = st.text(alphabet=f"{checks.MARK} a\n", max_size=20).map(
    lambda text: nbformat.v4.new_output("stream", text=text)
)
displays = st.sampled_from([execution.WIDGET, "text/plain"]).map(
    lambda kind: nbformat.v4.new_output("display_data", {kind: "x"})
)
cells = st.lists(
    st.builds(nbformat.v4.new_markdown_cell, st.text(alphabet="# a\n", max_size=9))
    | st.builds(
        lambda outputs: nbformat.v4.new_code_cell("1", outputs=outputs), st.lists(streams | displays, max_size=3)
    ),
    max_size=4,
)


@given(cells=cells, index=st.integers(-1, 6))
def test_any_notebook_has_facts_headings_and_after_stripping_no_widgets(cells, index):
    notebook = nbformat.v4.new_notebook(cells=cells)
    lines = [
        line for cell in cells for output in cell.get("outputs", []) for line in output.get("text", "").split("\n")
    ]
    assert attempt(execution.count_facts, notebook) == sum(line.startswith(checks.MARK) for line in lines)
    assert attempt(execution.heading_above, notebook, index)
    attempt(execution.strip_widgets, notebook)
    assert execution.WIDGET not in nbformat.writes(notebook)


@given(content=st.binary(max_size=40) | st.sampled_from([b"{}", b'{"nbformat": 4, "cells": 3}', b"<<<<<<< ours\n{}"]))
def test_a_file_that_is_no_notebook_is_refused(file, content):
    broken = file.with_name("broken.ipynb")
    broken.write_bytes(content)
    assert attempt(execution.read_notebook, broken) is REFUSED
    assert attempt(execution.execute, broken, lambda done, total: None) is REFUSED
    broken.unlink()


outcomes = st.lists(st.booleans(), max_size=5) | st.lists(st.integers(0, 1), max_size=2)


@given(one=outcomes, other=outcomes)
def test_any_outcomes_make_a_rate_within_its_interval_or_none(one, other):
    rates = [attempt(intervals.Rate.of, np.array(values)) for values in (one, other)]
    for values, rate in zip((one, other), rates, strict=True):
        assert (rate is REFUSED) == (not values or not all(isinstance(value, bool) for value in values))
        assert rate is REFUSED or 0 <= rate.interval[0] <= rate.value <= rate.interval[1] <= 1
    if REFUSED not in rates:
        assert attempt(rates[0].ties, rates[1]) == attempt(rates[1].ties, rates[0])
