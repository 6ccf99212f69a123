"""Latte in its older layout, loaded into the same `LattePipeline` of diffusers.

ModelScope's `AI-ModelScope/Latte` and Hugging Face's `maxin-cn/Latte` hold it: the transformer is `t2v.pt`, a state
dict of the authors' class `LatteT2V`, and the other parts are in `t2v_required_models/`. The names of the tensors are
those of diffusers' `LatteTransformer3DModel`, and so is what is computed with them.

These are the weights of the authors' first release. Latte-1, of May 2024, has others, and performs better by the
authors' word. So the course never puts one in the place of the other: its asset `latte` is Latte-1, and this layout is
loaded only from a folder that a configuration names.

Sources: `models/latte_t2v.py`, `sample/sample_t2v.py`, `sample/sample_t2x.py`, `download.py` and
`configs/t2v/t2v_sample.yaml` in https://github.com/Vchitect/Latte.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderKLTemporalDecoder,
    DDIMScheduler,
    LattePipeline,
    LatteTransformer3DModel,
)
from transformers import AutoTokenizer, T5EncoderModel

from tutorial_utils.networks import checkpoints

WEIGHTS = "t2v.pt"
PARTS = "t2v_required_models"
NEEDED = (
    WEIGHTS,
    *(
        f"{PARTS}/{name}"
        for name in (
            "scheduler/scheduler_config.json",
            "text_encoder/config.json",
            "tokenizer/tokenizer_config.json",
            "transformer/config.json",
            "vae/config.json",
        )
    ),
)
"""Files without which a folder of this layout is incomplete; besides them there are the weights of the parts."""

INSTEAD = (
    "You can take Latte-1 instead, in the layout of diffusers (maxin-cn/Latte-1): "
    "python -m tutorial_utils assets fetch latte --scale full"
)

VIDEO_LENGTH = 16
"""Frames of a clip. The layout's own configuration is that of PixArt's transformer, which draws single images."""

NOT_LEARNED = {"pos_embed.pos_embed", "temp_pos_embed", "caption_projection.y_embedding"}
"""Tensors that a file may hold and the network does not load: two tables that it computes, and an embedding of
PixArt's that sampling never reads."""

ONLY = {
    "norm_type": ("ada_norm_single",),
    "attention_type": ("default", None),
    "only_cross_attention": (False, None),
    "double_self_attention": (False, None),
}
"""What diffusers' class always does, where the authors' class had a choice; None stands for a key that is not there."""

SCHEDULE = {
    "beta_start": 0.0001,
    "beta_end": 0.02,
    "beta_schedule": "linear",
    "clip_sample": False,  # latents go beyond [-1, 1]; the authors' later samplers say so too
}
"""What the authors' sampler puts in the place of the scheduler's file. It also names a kind of variance, of which DDIM
takes no notice."""


def is_older(folder: Path) -> bool:
    """Whether a folder is of the older layout, complete or not. One of diffusers' layout has an index."""
    has_any = (folder / WEIGHTS).exists() or (folder / PARTS).exists()
    return has_any and not (folder / "model_index.json").exists()


@dataclass(frozen=True)
class Older:
    """A folder of the older layout."""

    folder: Path

    @property
    def parts(self) -> Path:
        """The folder in which it has its VAE, its scheduler and so on."""
        return self.folder / PARTS

    def transformer_config(self) -> dict:
        """The arguments of `LatteTransformer3DModel`, all of them.

        Raises:
            ValueError: a file is missing from the folder, or this is the configuration of another transformer.
        """
        if missing := [name for name in NEEDED if not (self.folder / name).is_file()]:
            raise ValueError(f"{self.folder} lacks {', '.join(missing)}, which Latte's older layout has. {INSTEAD}")
        path = self.parts / "transformer/config.json"
        config = checkpoints.read_config(path)
        for key, allowed in ONLY.items():
            if config.get(key) not in allowed:
                raise ValueError(f"{path}: {key}: {config.get(key)} is not Latte's: it must be {allowed[0]}. {INSTEAD}")
        return checkpoints.arguments(LatteTransformer3DModel, path) | {"video_length": VIDEO_LENGTH}

    def load(
        self, dtype: torch.dtype, vae: AutoencoderKL | AutoencoderKLTemporalDecoder | None = None
    ) -> LattePipeline:
        """The pipeline, on the CPU. No code that may be in `t2v.pt` is run.

        Args:
            dtype: of the weights.
            vae: in the place of the folder's own.

        Raises:
            ValueError: a part is missing or damaged, or `t2v.pt` does not hold exactly the transformer's weights.
        """
        config = self.transformer_config()  # whose own errors name what to take instead
        either = {"dtype": dtype, "use_safetensors": None}  # the text encoder's are pickles
        try:
            transformer = self._read_transformer(config, dtype)  # first: it may be refused; the text encoder is large
            return LattePipeline(
                tokenizer=checkpoints.load(AutoTokenizer, self.parts / "tokenizer"),
                text_encoder=checkpoints.load(T5EncoderModel, self.parts / "text_encoder", **either),
                vae=vae or checkpoints.load(AutoencoderKL, self.parts / "vae", **either),
                transformer=transformer,
                scheduler=checkpoints.load(DDIMScheduler, self.parts / "scheduler", **SCHEDULE),
            )
        except ValueError as error:
            raise ValueError(f"{checkpoints.one_sentence(error, 400)} {INSTEAD}") from error

    def _read_transformer(self, config: dict, dtype: torch.dtype) -> LatteTransformer3DModel:
        path = self.folder / WEIGHTS
        state = checkpoints.read_state_dict(path)
        if isinstance(state, dict):
            state = state.get("ema", state)
        if isinstance(state, dict):
            state = {name: tensor for name, tensor in state.items() if name not in NOT_LEARNED}
        transformer = checkpoints.network_with(
            state, lambda: LatteTransformer3DModel(**config), f"{path} does not hold this Latte's weights"
        )
        checkpoints.require_finite(transformer, path)
        for parameter in transformer.parameters():
            parameter.data = parameter.data.to(dtype)  # positions stay in single precision, as diffusers has it
        return transformer.eval()
