"""The recipe of Latte-mini: its tokens, its two forms of text against the pipeline's own, its clips and its loss."""

import unicodedata
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL
from torch import nn
from transformers import PreTrainedTokenizerFast

from tutorial_utils.datasets import moving
from tutorial_utils.datasets.garments import COLOURS
from tutorial_utils.datasets.moving import (
    DIRECTIONS,
    FRAMES,
    GARMENT_WORDS,
    LANGUAGES,
    SIZES,
    Scenes,
    captions,
    draw_scenes,
    sayings,
)
from tutorial_utils.recipes import latte as recipe
from tutorial_utils.recipes.latte import SCHEDULER, Recipe, TextToVideo
from tutorial_utils.sampling.diffusion import signal_and_noise
from tutorial_utils.sampling.latte_config import load_config

TINY = Recipe(width=16, heads=2, layers=1, text_width=32, text_layers=1)


@pytest.fixture(scope="module")
def tokenizer():
    return recipe.make_tokenizer()


@pytest.fixture
def model(tokenizer) -> TextToVideo:
    torch.manual_seed(0)
    return TextToVideo(TINY, len(tokenizer)).eval()


def source(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_tokenizer_has_a_token_for_each_word_of_the_captions(tokenizer):
    scenes = draw_scenes(500, source())
    for text in sayings(scenes, source()) + captions(scenes) + captions(scenes, language="zh"):
        tokens = tokenizer.convert_ids_to_tokens(tokenizer(text).input_ids)
        assert tokens[-1] == "</s>"
        words = [token for token in tokens[:-1] if token not in ("▁", ".", "!", "。")]
        assert set(words) <= set(recipe.known_pieces()), text
    assert tokenizer("A red") == tokenizer("a red")
    assert tokenizer.tokenize("一只红色的运动鞋快速向左移动") == [
        *("▁", "一只", "红色的", "运动鞋", "快速", "向左", "移动")
    ]


@pytest.mark.parametrize("text", ["a red zebra", "unsneakerly, 2 bags?", "一只红色的猫", "naïve 🦓 Ω"])
def test_nothing_of_an_unknown_word_is_lost(tokenizer, text):
    ids = tokenizer(text).input_ids
    assert tokenizer.unk_token_id not in ids
    assert tokenizer.decode(ids, skip_special_tokens=True) == unicodedata.normalize("NFKC", text).lower()


def test_the_tokenizer_is_the_same_after_a_round_trip_through_its_files(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path)
    again = PreTrainedTokenizerFast.from_pretrained(tmp_path)
    for text in ("a zebra moving left", "一只猫向左移动"):
        assert again(text).input_ids == tokenizer(text).input_ids


def test_every_scene_has_sentences_of_its_own(tokenizer):
    table = recipe.sentence_table(20, 0.0, 3)
    scenes = draw_scenes(200, source())
    places = recipe.rank(scenes)
    assert table.shape[:2] == (480, 20) and places.max() < 480
    assert len(recipe.rank(Scenes(*torch.cartesian_prod(*map(torch.arange, SIZES.values())).T)).unique()) == 480
    for place, (garment, colour) in zip(places[:50], zip(scenes.garment, scenes.colour, strict=False), strict=False):
        spoken = " ".join(tokenizer.decode(ids, skip_special_tokens=True) for ids in table[place])
        assert any(word.lower() in spoken for word in (*GARMENT_WORDS[garment], *LANGUAGES["zh"].garment[garment]))
        assert any(word in spoken for word in (list(COLOURS)[colour], *LANGUAGES["zh"].colour[colour]))


def test_a_stray_word_is_added_and_the_others_stay():
    chance = source()
    for sentence in ("a red bag moving left", "bag", "一只红色的包"):
        for _ in range(20):
            disturbed = recipe.with_stray_word(sentence, chance)
            assert len(disturbed) > len(sentence)
            left = iter(disturbed)
            assert all(letter in left for letter in sentence), disturbed
    with_and_without = [recipe.sentence_table(2, share, 0) for share in (1.0, 0.0)]
    assert with_and_without[0].count_nonzero() > 1.2 * with_and_without[1].count_nonzero()


@pytest.mark.parametrize("prompts", [["a red bag moving left"], ["a red bag moving left", "a blue coat going up fast"]])
def test_text_is_read_in_the_pipelines_own_forms(model, tokenizer, prompts):
    """One prompt cut short, several filled up with zeros; the empty prompt beside each."""
    pipeline = recipe.make_pipeline(model, AutoencoderKL(block_out_channels=(4,), norm_num_groups=2))
    theirs = torch.cat(pipeline.encode_prompt(prompts, clean_caption=False, mask_feature=True))
    x, times = torch.randn(2 * len(prompts), 4, FRAMES, 8, 8), torch.full((2 * len(prompts),), 500)
    expected = model.transformer(x, times, theirs, return_dict=False)[0][:, :4]

    batch = tokenizer(prompts * 2, padding=True, return_tensors="pt")
    dropped = torch.arange(len(x)) >= len(prompts)
    filled = torch.full((len(x),), len(prompts) > 1)
    got = model(x, times, batch.input_ids, batch.attention_mask, dropped, filled)
    assert torch.allclose(got, expected, atol=1e-5)


def test_a_prompt_matters(model, tokenizer):
    batch = tokenizer(["a red bag moving left", "a red bag moving right"], return_tensors="pt")
    no = torch.zeros(2, dtype=torch.bool)
    x, times = torch.randn(1, 4, FRAMES, 8, 8).expand(2, -1, -1, -1, -1), torch.tensor([500, 500])
    one, other = model(x, times, batch.input_ids, batch.attention_mask, no, no)
    assert not torch.allclose(one, other, atol=1e-5)
    again = model(x, times, batch.input_ids, batch.attention_mask, ~no, no)
    assert torch.allclose(again[0], again[1], atol=1e-6)


def test_the_schedule_ends_in_pure_noise():
    signal, noise = signal_and_noise(SCHEDULER, torch.tensor([0, 999]))
    assert signal[1] == 0 and noise[1] == 1 and signal[0] > 0.99


def test_the_true_velocity_costs_nothing():
    clean = torch.randn(64, 4, 1, 8, 8)

    class Oracle(nn.Module):
        def forward(self, x, times, ids, mask, dropped, filled):
            self.seen = times, dropped, filled
            signal, noise = (share[:, None, None, None, None] for share in signal_and_noise(SCHEDULER, times))
            return signal * (x - signal * clean) / noise - noise * clean

    oracle = Oracle()
    assert recipe.loss_of(oracle, clean, None, None, 0.1) < 1e-6
    times, dropped, filled = oracle.seen
    assert (times.sort().values.diff() < 32).all() and times.max() > 980
    assert 0 < dropped.sum() < 20 < filled.sum() < 44


def test_clips_that_play_backwards_move_the_opposite_way():
    torch.manual_seed(0)
    scenes = draw_scenes(400, source(), held_out=False)
    clips = torch.arange(FRAMES).expand(400, -1)
    turned, shown = recipe.reverse_some(clips, scenes)
    backwards = turned[:, 0] > 0
    assert 100 < backwards.sum() < 220 and not shown.held_out().any()
    steps = torch.tensor(list(DIRECTIONS.values()))
    flipped = steps[shown.direction] == -steps[scenes.direction]
    assert torch.equal(flipped.all(1) & (shown.direction != scenes.direction), backwards)


def test_clips_are_encoded_frame_by_frame(monkeypatch):
    grey, labels = torch.rand(20, 1, 28, 28), torch.arange(20) % 10
    monkeypatch.setattr(recipe, "fashion_mnist_tensors", lambda split: (grey, labels))
    torch.manual_seed(0)
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(4,) * 4,
        norm_num_groups=2,
        scaling_factor=0.5,
    ).eval()
    encoded = recipe.encode_clips(vae, 3, source(), batch_size=2)
    chance = source()
    scenes = draw_scenes(3, chance, held_out=False)
    sprites = moving.choose_sprites(labels, scenes, chance)
    first = moving.render(grey[sprites[:2]], scenes[:2], chance)[1]
    with torch.no_grad():
        expected = 0.5 * vae.encode(first * 2 - 1).latent_dist.mode()
    assert torch.allclose(encoded["latents"][1].float(), expected, atol=1e-2)
    assert torch.equal(encoded["scenes"][:, 0], scenes.garment)


def test_a_batch_holds_frames_or_clips():
    torch.manual_seed(0)
    scenes = Scenes(*torch.zeros(4, 50, dtype=torch.int64))
    scenes = Scenes(scenes.garment + 1, scenes.colour, scenes.direction, scenes.speed)
    latents = torch.randn(50, FRAMES, 4, 8, 8).half()
    settings, sentences = Recipe(frame_batch=6, clip_batch=3), torch.arange(480)[:, None].expand(-1, 7)[:, :, None]
    x, ids = recipe.draw_batch(latents, scenes, sentences, settings, single=True)
    assert x.shape == (6, 4, 1, 8, 8) and ids.shape == (6, 1)
    x, ids = recipe.draw_batch(latents, scenes, sentences, settings, single=False)
    assert x.shape == (3, 4, FRAMES, 8, 8)
    turned = Scenes(scenes.garment, scenes.colour, scenes.direction + 1, scenes.speed)
    assert set(ids.flatten().tolist()) <= {recipe.rank(one)[0].item() for one in (scenes, turned)}


def test_single_frames_come_from_the_first_half_of_a_clip_forwards_or_backwards():
    torch.manual_seed(0)
    scenes = Scenes(*torch.ones(4, 1, dtype=torch.int64))
    latents = torch.arange(FRAMES).half().view(1, FRAMES, 1, 1, 1)
    sentences = torch.arange(480)[:, None, None]
    x, ids = recipe.draw_batch(latents, scenes, sentences, Recipe(frame_batch=200), single=True)
    forwards = ids.flatten() == recipe.rank(scenes)
    found = x.flatten()
    assert set(found[forwards].tolist()) == {0, 1, 2, 3} and set(found[~forwards].tolist()) == {4, 5, 6, 7}


def test_clips_are_judged_with_the_lessons_settings():
    config = Path(__file__).parents[2] / "notebooks" / "configs" / "latte_mini.yaml"
    assert load_config(config).settings == recipe.SETTINGS


def test_the_card_says_what_was_measured():
    rates = {"colour": 0.9, "direction": 0.8, "speed": 0.7, "garment": 0.6, "consistent": 0.5}
    metrics = {
        "adherence": dict.fromkeys(recipe.ROWS, rates) | {"held_out_zh": rates | {"colour": 0.123}},
        "looks": {kind: {"flicker": 0.84, "brightness": 0.62} for kind in recipe.ROWS},
        "partial": {
            "en": {"garment": 0.9, "colour": 0.95, "direction": 0.97, "speed": 0.5},
            "zh colour": {"garment": 0.9, "colour": 0.96, "direction": 0.98, "speed": 0.4},
        },
        "translations_found": 0.25,
        "parameters": {"transformer": 2_000_000, "text_encoder": 300_000, "vae": 650_000},
        "training_minutes": 61.2,
        "settings": asdict(recipe.SETTINGS),
        "recipe": asdict(Recipe()),
    }
    card = recipe.card(metrics, 1.0, ["an abacus"])
    assert "| **Chinese, combinations never seen** | 12.3% | 80.0% | 70.0% | 60.0% | 50.0% | 0.8° | 0.62 |" in card
    assert "| en: nothing | 90% | varies, 0.95 | varies, 0.97 | varies, 0.50 |" in card
    assert "| zh: colour | 90% | 96% | varies, 0.98 | varies, 0.40 |" in card and "25% lie nearest" in card
    assert "61 minutes on an abacus" in card
    assert "2,000,000" in card and "{" not in card.split("---")[2]
