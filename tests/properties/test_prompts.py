"""Any sentence is a prompt, and what the model does not see of it is said."""

from __future__ import annotations

import json
import unicodedata
import warnings

import models
import numpy as np
import pytest
import tiny_latte
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import REFUSED, attempt, texts

from tutorial_utils.sampling import diffusion, latte, latte_model, latte_older, latte_words
from tutorial_utils.sampling.latte_model import Saved
from tutorial_utils.sampling.latte_older import Older

CPU = torch.device("cpu")


prompts = texts | st.sampled_from(["a red bag", "</s>", "<pad> <unk>", "a " * 300])


def quietly(*arguments):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", latte.PromptWarning)
        return attempt(latte.encode, models.latte(), *arguments)


@given(given=st.lists(prompts, max_size=3), negative=prompts)
def test_any_prompts_are_encoded_or_refused(given, negative):
    encoded = quietly(given, negative)
    assert (encoded is REFUSED) == (not given)
    if given:
        assert len(encoded) == len(given) and encoded.embeddings.shape == encoded.negatives.shape
        assert 1 <= encoded.lengths.min() <= encoded.lengths.max() == encoded.embeddings.shape[1] <= latte.MAX_TOKENS
        assert encoded.embeddings.isfinite().all()


@given(text=prompts)
def test_any_text_is_read_once_and_for_all(text):
    tokenizer = models.latte().tokenizer
    read, ignored = attempt(latte_words.read, tokenizer, text)
    assert read == read.lower().strip() and all(sign in text.lower() for sign in ignored)
    assert latte_words.read(tokenizer, read) == (read, [])
    for word in read.split():
        spelled = any(len(piece) == 1 and piece.isalnum() for piece in tokenizer.tokenize(word) if piece.isascii())
        assert not (attempt(latte_words.knows, tokenizer, word) and spelled)


SIGNS = "".join(sign for sign in map(chr, range(0x21, 0x3100)) if unicodedata.category(sign)[0] in "PS")


@given(words=st.lists(st.sampled_from(["a", "red", "t-shirt", "moving", "left"]), min_size=1), data=st.data())
def test_known_words_are_read_whatever_signs_stand_around_them(words, data):
    signs = st.text(SIGNS, max_size=3)
    typed = " ".join(f"{data.draw(signs)}{word.upper()}{data.draw(signs)}" for word in words)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", latte.PromptWarning)
        (read,) = latte.encode(models.latte(), [typed]).read
    tokenize = models.latte().tokenizer.tokenize
    assert [piece for piece in tokenize(read) if any(map(str.isalnum, piece))] == tokenize(" ".join(words))


@settings(max_examples=5)
@given(given=st.lists(prompts, min_size=1, max_size=3), missing=st.integers(0, 1))
def test_as_many_seeds_as_prompts_are_needed(given, missing):
    clips = latte.Clips(models.latte(), 1, temporal_attention=False)
    seeds, settings = range(len(given) - missing), diffusion.Settings(steps=1, scheduler="ddim")
    assert (attempt(clips.videos, quietly(given), seeds, settings) is REFUSED) == bool(missing)


@settings(max_examples=8)
@given(frames=st.integers(-1, 9), batch_size=st.integers(-1, 2))
def test_clips_have_a_form_that_the_model_knows(frames, batch_size):
    quick, given = diffusion.Settings(steps=1, scheduler="ddim"), quietly(["a red bag"])
    clips = latte.Clips(models.latte(), frames, batch_size=batch_size)
    videos = attempt(clips.videos, given, [0], quick)
    assert (attempt(clips.sampler, given) is REFUSED) == (videos is REFUSED)
    assert (videos is REFUSED) == (frames not in (1, 8) or batch_size < 1)


@settings(max_examples=5)
@given(given=st.lists(prompts, min_size=1, max_size=2), frames=st.sampled_from([1, 8]))
@torch.no_grad()
def test_any_prompt_steers_the_network(given, frames):
    encoded = quietly(given)
    network = attempt(latte.prompted_network, models.latte().transformer, encoded, frames > 1)
    x = torch.zeros(1, 4, frames, 8, 8)
    for label in range(2 * len(given)):
        output = network(x, torch.full((1,), 5.0), torch.tensor([label]))
        assert output.shape == x.shape and output.isfinite().all()


@given(name=texts | st.sampled_from(["ddim", "unipc", "dpm-single"]))
def test_a_scheduler_is_known_and_fits_the_schedule_or_is_refused(name):
    config = attempt(latte.schedule_of, models.latte().scheduler.config)
    if name in ("ddim", "unipc"):
        assert attempt(diffusion.make_scheduler, name, config).config.rescale_betas_zero_snr
    else:
        assert attempt(diffusion.make_scheduler, name, config) is REFUSED


@settings(max_examples=2)
@given(words=st.lists(prompts.filter(str.strip), min_size=1, max_size=2))
def test_clips_of_any_prompts_are_written(tmp_path_factory, words):
    out = tmp_path_factory.mktemp("clips")
    attempt(
        latte.sample_to_folder,
        latte.Clips(models.latte(), 1),
        quietly(words),
        tiny_latte.configured("x", prompts=words, frames=1, steps=1),
        out,
    )
    with np.load(out / "samples.npz", allow_pickle=False) as saved:
        assert saved["videos"].shape == (len(words), 1, 64, 64, 3)
    assert len(list(out.glob("*.png"))) == len(list(out.glob("*.mp4"))) == len(words)


@given(name=texts.filter(lambda name: len(name) < 99))
def test_a_model_that_is_no_folder_of_a_latte_is_refused(tmp_path_factory, name):
    folder = tmp_path_factory.getbasetemp()
    model = folder / f"model {name}".replace("\0", "")
    assert attempt(latte_model.load_pipeline, tiny_latte.configured(model), "mini", CPU) is REFUSED


@pytest.mark.parametrize("content", [{}, {"_class_name": "AutoencoderKL"}])
def test_an_incomplete_folder_of_either_layout_is_refused(tmp_path, content):
    (tmp_path / "model_index.json").write_text(json.dumps(content))
    assert attempt(latte_model.load_pipeline, tiny_latte.configured(tmp_path), "mini", CPU) is REFUSED
    (tmp_path / "model_index.json").unlink()
    (tmp_path / latte_older.WEIGHTS).touch()
    assert attempt(latte_older.is_older, tmp_path)
    for model in (Older(tmp_path), Saved(tmp_path)):
        assert attempt(model.transformer_config) is REFUSED
        assert attempt(model.load, torch.float32) is REFUSED
    assert attempt(latte_model.load_pipeline, tiny_latte.configured(tmp_path), "mini", CPU) is REFUSED


@given(name=st.sampled_from(sorted(diffusion.SCHEDULERS)), steps=st.integers(-2, 1_002))
def test_any_steps_give_falling_times_or_are_refused(name, steps):
    scheduler = diffusion.make_scheduler(name)
    if attempt(diffusion.set_timesteps, scheduler, steps) is not REFUSED:
        times = scheduler.timesteps.tolist()
        assert sorted(times, reverse=True) == times and len({*times}) == len(times)
