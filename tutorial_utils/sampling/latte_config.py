"""Lesson 4's configuration file: what to generate, with which model, and how. A slip in it is refused on loading."""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, ValidationInfo, field_validator

from tutorial_utils import files, require
from tutorial_utils.sampling.diffusion import EVERYWHERE, SCHEDULERS, Settings

Sentence = Annotated[str, StringConstraints(pattern=r"\S")]
Pixels = Annotated[int, Field(gt=0, description="a whole number of pixels, such as 64")]
Switch = Annotated[bool, Field(description="true or false")]


_SHORT = reprlib.Repr()  # a few lines of YAML can stand for billions of words
_SHORT.maxlevel, _SHORT.maxstring, _SHORT.maxother = 2, 80, 80


WIDE = {"：": ": ", "，": ", ", "［": "[", "］": "]", "“": '"', "”": '"', "\u3000": " "}
"""Signs of a Chinese keyboard that look like YAML's, and those."""


class Config(BaseModel):
    """The file's keys. What a key may hold is said beside it, in words that an error repeats."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    model: Annotated[Sentence, Field(description="the name of an asset, such as latte, or a folder")]
    prompts: Annotated[
        tuple[Sentence, ...],
        Field(strict=False, min_length=1, description="a list of sentences, at least one, none of them empty"),
    ]
    negative_prompt: Annotated[str, Field(description="a sentence, in quotes if it is empty")] = ""
    steps: Annotated[int, Field(description="a whole number from 1 to 1000")]
    guidance_scale: Annotated[float, Field(description="a number of at least 0, where 1 is no guidance")]
    guidance_interval: Annotated[
        tuple[float, float],
        Field(strict=False, description="two noise levels [low, high], 0 <= low < high, such as [0.5, .inf]"),
    ] = EVERYWHERE
    scheduler: Annotated[str, Field(description=f"one of {', '.join(SCHEDULERS)}")]
    seed: Annotated[int, Field(ge=0, description="a whole number of at least 0")] = 0
    frames: Annotated[int, Field(gt=0, description="a whole number: 1, or as many as the model was trained on")]
    height: Pixels
    width: Pixels
    batch_size: Annotated[int, Field(ge=1, description="a whole number of at least 1")] = 1
    temporal_attention: Switch = True
    temporal_vae_decoder: Switch = False
    precision: Annotated[
        Literal["auto", "float32", "bfloat16", "float16"], Field(description="auto, float32, bfloat16 or float16")
    ] = "auto"
    cpu_offload: Switch = False
    fps: Annotated[float, Field(ge=1, le=60, description="from 1 to 60 frames per second")] = 8
    out: Annotated[Path, Field(strict=False, description="a folder for the clips")]

    @field_validator("scheduler", "steps", "guidance_scale", "guidance_interval")
    @classmethod
    def _within_the_bounds_of_settings(cls, value: object, key: ValidationInfo) -> object:
        Settings(**{key.field_name: value})
        return value

    @property
    def settings(self) -> Settings:
        """How to sample."""
        return Settings(self.scheduler, self.steps, self.guidance_scale, self.guidance_interval)

    def require_fits(self, video_length: int, side: int) -> None:
        """Make sure that a model can generate clips of this size; a ValueError with a line for each key that is wrong.

        Args:
            video_length: the frames of the clips that it was trained on.
            side: their height and width, in pixels.
        """
        allowed = {"frames": dict.fromkeys(["1", f"{video_length}"]), "height": [f"{side}"], "width": [f"{side}"]}
        problems = [
            f"{key}: {getattr(self, key)} does not fit the model {self.model}: it must be {' or '.join(good)}."
            for key, good in allowed.items()
            if str(getattr(self, key)) not in good
        ]
        if problems:
            raise ValueError("\n".join(problems))


def load_config(path: str | Path, options: Mapping[str, object] | None = None) -> Config:
    """Read and check a configuration file.

    Args:
        options: values for keys that the file leaves out, such as those that the preflight card chose.

    Raises:
        ValueError: the file cannot be read, is not YAML, or is wrong; with a line for each key that is wrong.
    """
    try:
        text = files.edited_text(Path(path))
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}.") from error
    try:
        content = yaml.safe_load(text)
    except Exception as error:  # the reader's own, and those of what it makes dates and numbers with
        raise ValueError(f"{path} is not YAML: {_where(error, text)}.") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} must hold lines of 'key: value', with the keys {', '.join(Config.model_fields)}.")
    try:
        return Config.model_validate({**(options or {}), **content})
    except ValidationError as error:
        # a list whose items are all wrong is also too short for pydantic, which has left them out
        problems = [one for one in error.errors() if not (one["type"] == "too_short" and one["input"])]
        raise ValueError("\n".join(f"{path}: {_in_words(problem)}" for problem in problems)) from error


def _where(error: Exception, text: str) -> str:
    """What the reader stumbled over, with the line and the column, and what it may have been meant to be."""
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        return require.shortened(error)
    line = text.split("\n")[min(mark.line, text.count("\n"))]
    close = (text.split("\n")[mark.line - 1] if mark.line else "") + line
    hints = [f" ({wide} is a full-width sign: write {plain!r})" for wide, plain in WIDE.items() if wide in close]
    return f"line {mark.line + 1}, column {mark.column + 1}: {error.problem}{''.join(hints[:1])}"


def _in_words(problem: dict) -> str:
    """One of pydantic's errors, as a sentence with the key, its value and what is allowed."""
    key, *place = problem["loc"]
    if problem["type"] in ("extra_forbidden", "invalid_key"):
        known = list(Config.model_fields)
        close = difflib.get_close_matches(str(key), known, n=1)
        return f"there is no key {key}: " + (
            f"did you mean {close[0]}?" if close else f"choose from {', '.join(known)}."
        )
    allowed = Config.model_fields[key].description
    if problem["type"] == "missing" and not place:
        return f"{key} is missing: it must be {allowed}."
    number = f"[{place[0]}]" if place and problem["type"] != "missing" else ""
    return f"{key}{number}: {_SHORT.repr(problem['input'])} is not allowed: {key} must be {allowed}."
