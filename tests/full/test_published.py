"""The published files, key for key, in small: they load without a word, and a dry run tells the sound from the rest."""

import json
import shutil
import warnings
from pathlib import Path

import pytest
import small
import torch
from diffusers import AutoencoderKL

from tutorial_utils.assets import store
from tutorial_utils.networks import checkpoints, uvit
from tutorial_utils.sampling import dry_run, latte, latte_model
from tutorial_utils.sampling.latte_config import Config, load_config

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    return small.build(tmp_path_factory.mktemp("published"))


@pytest.fixture
def config(folders) -> Config:
    """Lesson 4's at `full`, for the smaller clips."""
    shorter = {"model": str(folders["latte"]), "height": small.LATTE_SIDE, "width": small.LATTE_SIDE, "steps": 2}
    return load_config(dry_run.LATTE).model_copy(update=shorter)


@pytest.fixture(autouse=True)
def smaller(config, monkeypatch):
    monkeypatch.setattr(uvit, "PUBLISHED", dict.fromkeys(uvit.PUBLISHED, small.UVIT))
    monkeypatch.setattr("tutorial_utils.sampling.latte_config.load_config", lambda path: config)


SOURCES = {
    "vit/config.json": "vit-base-patch16-224.config.json",
    "vit/preprocessor_config.json": "vit-base-patch16-224.preprocessor_config.json",
    "vae/config.json": "sd-vae-ft-ema.json",
    "latte/transformer/config.json": "latte-1.transformer.json",
    "latte/scheduler/scheduler_config.json": "latte-1.scheduler.json",
}


@pytest.mark.parametrize("path", SOURCES)
def test_a_configuration_has_and_lacks_the_keys_that_the_published_one_does(folders, path):
    ours = json.loads((folders["vit"].parent / path).read_text())
    published = json.loads((small.PUBLISHED / SOURCES[path]).read_text())
    labels = {"id2label", "label2id"} if path == "vit/config.json" else set()  # left out of `published/`
    assert set(ours) == set(published) | labels
    assert all(ours[key] == value for key, value in published.items() if key not in small.VIT | small.VAE | small.LATTE)


def test_latte_is_loaded_without_a_word_though_its_file_says_nothing_of_the_length_and_has_an_embedding_too_many(
    folders, config, capfd
):
    held = checkpoints.read_config(folders["latte"] / "transformer/config.json")
    assert "video_length" not in held
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pipeline = latte_model.load_pipeline(config, "full", CPU)
    assert capfd.readouterr() == ("", "")
    assert pipeline.transformer.config.video_length == 16
    assert not hasattr(pipeline.transformer.caption_projection, "y_embedding")
    videos = latte.Clips(pipeline, 16).videos(latte.encode(pipeline, ["a dog floats"]), [1], config.settings)
    assert videos.shape == (1, 16, 3, small.LATTE_SIDE, small.LATTE_SIDE)


def test_the_surplus_embedding_is_as_large_as_published():
    published = json.loads((small.PUBLISHED / "latte-1.transformer.json").read_text())
    assert latte.MAX_TOKENS * published["caption_channels"] == 491_520


def test_the_vae_gets_the_scale_that_its_file_does_not_mention(folders):
    assert "scaling_factor" not in checkpoints.read_config(folders["vae"] / "config.json")
    assert checkpoints.load(AutoencoderKL, folders["vae"]).config.scaling_factor == 0.18215


def test_clips_longer_than_what_is_decoded_at_once_are_decoded_in_parts(folders, config, monkeypatch):
    pipeline = latte_model.load_pipeline(config, "full", CPU)
    counts, decode = [], pipeline.vae.decode
    monkeypatch.setattr(pipeline.vae, "decode", lambda z, **options: counts.append(len(z)) or decode(z, **options))
    side = small.LATTE["sample_size"]
    assert latte.Clips(pipeline, 16).decode(torch.randn(1, 4, 16, side, side)).shape[1] == 16
    assert counts == [8, 8]


# --- Dry runs -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", dry_run.REHEARSALS)
def test_what_is_sound_passes_a_dry_run_which_reads_no_weights(folders, name, tmp_path):
    if name not in folders:
        pytest.skip("a light environment has nothing to read it with")
    shutil.copytree(folders[name], tmp_path / name, ignore=shutil.ignore_patterns("*.safetensors"))
    dry_run.rehearse(store.COURSE.find(name, "full"), tmp_path / name)


WRONG = {
    "vit/config.json": {"hidden_act": "no such"},
    "vit/preprocessor_config.json": {"size": "large"},
    "vae/config.json": {"down_block_types": ["NoSuchBlock"] * 4},
    "latte/transformer/config.json": {"num_layers": "many"},
    "latte/vae/config.json": {"latent_channels": 16},
    "latte/vae_temporal_decoder/config.json": {"layers_per_block": "few"},
    "latte/text_encoder/config.json": {"d_model": 64},
    "latte/scheduler/scheduler_config.json": {"beta_schedule": "steep"},
    "latte/model_index.json": {"_class_name": "StableDiffusionPipeline"},
}


@pytest.mark.parametrize("path", WRONG)
def test_a_configuration_that_the_code_cannot_use_is_found_by_a_dry_run(folders, path, tmp_path):
    name = path.split("/")[0]
    shutil.copytree(folders[name], tmp_path / name)
    content = json.loads((tmp_path / path).read_text())
    (tmp_path / path).write_text(json.dumps(content | WRONG[path]))
    with pytest.raises(ValueError) as caught:
        dry_run.rehearse(store.COURSE.find(name, "full"), tmp_path / name)
    assert str(tmp_path) in str(caught.value) or "schedule" in str(caught.value)


def test_weights_of_another_u_vit_are_found_by_a_dry_run(folders, tmp_path):
    torch.save(uvit.UViT(**small.UVIT | {"depth": 4}).state_dict(), tmp_path / next(iter(uvit.PUBLISHED)))
    with pytest.raises(ValueError, match="does not hold this U-ViT's weights"):
        dry_run.rehearse(store.COURSE.find("uvit", "full"), tmp_path)
