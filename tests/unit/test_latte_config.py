"""Lesson 4's configuration file: what is right is read, and every slip is named with what is allowed."""

import math
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from tutorial_utils.assets import store
from tutorial_utils.sampling.diffusion import EVERYWHERE, SCHEDULERS, Settings
from tutorial_utils.sampling.latte_config import Config, load_config

CONFIGS = Path(__file__).parents[2] / "notebooks/configs"
LEAST = {
    "model": "latte",
    "prompts": ["a red sneaker moving left"],
    "steps": 20,
    "guidance_scale": 4,
    "scheduler": "unipc",
    "frames": 8,
    "height": 64,
    "width": 64,
    "out": "build/clips",
}


@pytest.fixture
def load(tmp_path):
    """Load a file with the least that it needs, some keys changed or taken away (None)."""

    def of(options=None, **changes) -> Config:
        path = tmp_path / "latte.yaml"
        content = {key: value for key, value in (LEAST | changes).items() if value is not None}
        path.write_text(yaml.safe_dump(content), encoding="utf-8")
        return load_config(path, options)

    return of


def problems(load, **changes) -> list[str]:
    with pytest.raises(ValueError) as caught:
        load(**changes)
    return str(caught.value).splitlines()


# --- What is right ------------------------------------------------------------------------------------------------


def test_what_a_file_leaves_out_has_a_default(load):
    config = load()
    assert config.prompts == ("a red sneaker moving left",) and config.out == Path("build/clips")
    assert config.negative_prompt == "" and config.seed == 0 and config.fps == 8 and config.precision == "auto"
    assert not (config.cpu_offload or config.temporal_vae_decoder) and config.temporal_attention
    assert config.settings == Settings("unipc", 20, 4.0, EVERYWHERE)


def test_options_fill_what_the_file_leaves_out_and_no_more(load):
    chosen = {"cpu_offload": True, "precision": "bfloat16"}
    config = load(options=chosen, precision="float32")
    assert config.cpu_offload and config.precision == "float32"


def test_an_interval_of_guidance_may_be_open_above(load):
    settings = load(guidance_interval=[0.5, math.inf]).settings
    assert settings.guidance_interval == (0.5, math.inf)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_every_scheduler_may_be_named(load, name):
    assert load(scheduler=name).settings.scheduler == name


def test_a_configuration_does_not_change(load):
    with pytest.raises(ValidationError):
        load().steps = 5


@pytest.mark.parametrize(("scale", "frames", "side"), [("mini", 8, 64), ("full", 16, 512)])
def test_the_lessons_files_are_right_and_fit_their_models(scale, frames, side):
    config = load_config(CONFIGS / f"latte_{scale}.yaml")
    config.require_fits(frames, side)
    assert store.COURSE.find(config.model, scale) and len(config.prompts) >= 5


# --- What is wrong ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("model", " ", "the name of an asset, such as latte, or a folder"),
        ("prompts", [], "a list of sentences"),
        ("prompts", "a red sneaker", "a list of sentences"),
        ("negative_prompt", 3, "a sentence"),
        ("steps", 0, "a whole number from 1 to 1000"),
        ("steps", 1001, "a whole number from 1 to 1000"),
        ("steps", 20.0, "a whole number from 1 to 1000"),
        ("steps", "20", "a whole number from 1 to 1000"),
        ("guidance_scale", -1, "a number of at least 0"),
        ("guidance_scale", math.nan, "a number of at least 0"),
        ("guidance_scale", math.inf, "a number of at least 0"),
        ("guidance_interval", [2, 1], "two noise levels"),
        ("guidance_interval", [1], "two noise levels"),
        ("guidance_interval", [-1, 1], "two noise levels"),
        ("guidance_interval", [math.nan, 1], "two noise levels"),
        ("scheduler", "plms", "one of dpm-single, dpm-multi, unipc, ddim, euler"),
        ("seed", -1, "a whole number of at least 0"),
        ("frames", 0, "a whole number"),
        ("frames", True, "a whole number"),
        ("height", "64", "a whole number of pixels"),
        ("width", 64.0, "a whole number of pixels"),
        ("temporal_vae_decoder", 1, "true or false"),
        ("cpu_offload", "yes please", "true or false"),
        ("precision", "fp16", "auto, float32, bfloat16 or float16"),
        ("fps", 0, "from 1 to 60 frames per second"),
        ("out", 3, "a folder"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(load, key, value, allowed):
    (line,) = problems(load, **{key: value})
    assert f"latte.yaml: {key}: {value!r} is not allowed: {key} must be {allowed}" in line


@pytest.mark.parametrize("prompt", ["", "  ", 3, {"a red sneaker": "moving left"}])
def test_a_prompt_that_is_no_sentence_is_named_by_its_place(load, prompt):
    (line,) = problems(load, prompts=["a blue coat", prompt])
    assert f"prompts[1]: {prompt!r} is not allowed" in line


@pytest.mark.parametrize("key", LEAST)
def test_a_key_that_is_needed_is_missed(load, key):
    (line,) = problems(load, **{key: None})
    assert f"{key} is missing: it must be {Config.model_fields[key].description}." in line


def test_an_unknown_key_is_compared_with_those_that_are_known(load):
    (close,) = problems(load, guidance=3)
    (far,) = problems(load, zebra=3)
    assert close.endswith("there is no key guidance: did you mean guidance_scale?")
    assert f"there is no key zebra: choose from {', '.join(Config.model_fields)}." in far


def test_every_problem_comes_in_one_message_with_a_line_for_each(load):
    lines = problems(load, steps=0, stepz=3, prompts=["", 3], scheduler="plms", out=None)
    assert len(lines) == 6 and all("latte.yaml: " in line for line in lines)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "must hold lines of 'key: value'"),
        ("- a list", "must hold lines of 'key: value'"),
        ("prompts: [a red sneaker", "is not YAML: line 1, column .*expected"),
        ("model: latte\nsteps：12\nseed: 1", "is not YAML: line 3, column 1: .*： is a full-width sign: write ': '"),
        ("model:\tlatte", "is not YAML: line 1, column 7: found character"),
        ("prompts: !!python/name:os.system", "is not YAML: .*python/name"),
    ],
)
def test_what_is_no_mapping_in_yaml_is_refused_in_one_line(tmp_path, content, message):
    path = tmp_path / "latte.yaml"
    path.write_text(content)
    with pytest.raises(ValueError, match=message) as caught:
        load_config(path)
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)


def test_what_cannot_be_read_is_refused(tmp_path):
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\xfa")
    for name, why in (("none.yaml", "No such file"), ("bytes.yaml", "not text in UTF-8"), ("", "Is a directory")):
        with pytest.raises(ValueError, match=f"cannot be read: .*{why}"):
            load_config(tmp_path / name)


# --- What a model allows ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("frames", [1, 8])
def test_one_frame_or_as_many_as_the_model_knows_fit(load, frames):
    load(frames=frames).require_fits(8, 64)


def test_every_size_that_does_not_fit_is_named_with_those_that_do(load):
    with pytest.raises(ValueError) as caught:
        load(frames=16, height=512).require_fits(8, 64)
    frames, height = str(caught.value).splitlines()
    assert "frames: 16 does not fit the model latte: it must be 1 or 8." in frames
    assert "height: 512 does not fit the model latte: it must be 64." in height
