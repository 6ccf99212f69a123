"""Loading a Latte: from an asset or a folder, in the layout of diffusers or in the older one, to a `LattePipeline`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
import transformers
from diffusers import AutoencoderKL, AutoencoderKLTemporalDecoder, LattePipeline, LatteTransformer3DModel

from tutorial_utils import files, require, runtime
from tutorial_utils.assets import store
from tutorial_utils.networks import checkpoints
from tutorial_utils.sampling import latte_older
from tutorial_utils.sampling.diffusion import make_scheduler, set_timesteps
from tutorial_utils.sampling.latte import schedule_of
from tutorial_utils.sampling.latte_config import Config
from tutorial_utils.sampling.latte_older import Older

LARGE = 8e9
"""A model of more bytes is used in half precision on a GPU. Latte-1 has 24 GB in its files; Latte-mini has 0.008."""


@dataclass(frozen=True)
class Saved:
    """A folder that `LattePipeline.save_pretrained` wrote."""

    folder: Path

    @property
    def parts(self) -> Path:
        """The folder in which it has its VAE, its scheduler and so on."""
        return self.folder

    def transformer_config(self) -> dict:
        """The arguments of `LatteTransformer3DModel`, all of them; a ValueError if it is no folder of this kind."""
        index = self.folder / "model_index.json"
        if not index.is_file() or checkpoints.read_config(index).get("_class_name") != "LattePipeline":
            raise ValueError(
                f"model: {self.folder} is not allowed: it must be latte, or a folder whose model_index.json is of a "
                f"LattePipeline, or one of the older layout, with {latte_older.WEIGHTS} and {latte_older.PARTS}."
            )
        return checkpoints.arguments(LatteTransformer3DModel, self.folder / "transformer/config.json")

    def load(self, dtype: torch.dtype, vae: AutoencoderKLTemporalDecoder | None = None) -> LattePipeline:
        """The pipeline, on the CPU: its networks one by one, for none may lack a weight; a ValueError if one does."""
        networks = {"transformer": LatteTransformer3DModel, "text_encoder": transformers.T5EncoderModel}
        parts = {name: checkpoints.load(kind, self.folder / name, dtype=dtype) for name, kind in networks.items()}
        vae = vae or checkpoints.load(AutoencoderKL, self.folder / "vae", dtype=dtype)
        return checkpoints.load(LattePipeline, self.folder, vae=vae, **parts)


def load_pipeline(config: Config, scale: str | None = None, device: torch.device | None = None) -> LattePipeline:
    """The model that a configuration names, in its precision, on a device.

    Args:
        scale: where `config.model` is an asset, ``"mini"`` or ``"full"``; TUTORIAL_SCALE decides if None.
        device: `runtime.device()` if None.

    Raises:
        ValueError: there is no such model, or it cannot do what the configuration asks for, or this machine cannot.
        AssetError: the asset could not be had.
    """
    runtime.quiet_libraries()  # what they would say of a folder is checked here
    where = runtime.device() if device is None else device
    _require_machine(config, where)
    model = _find(config.model, scale)
    _require_model(config, model)
    automatic = runtime.dtype(where, large=files.size_of(model.folder) > LARGE)
    precision = automatic if config.precision == "auto" else getattr(torch, config.precision)
    vae = None
    if config.temporal_vae_decoder:
        decoder = model.parts / "vae_temporal_decoder"
        vae = checkpoints.load(AutoencoderKLTemporalDecoder, decoder, dtype=precision)
    pipeline = model.load(precision, vae)
    _require_one_model(pipeline, model.folder)
    if not config.cpu_offload:
        return pipeline.to(where)
    pipeline.enable_model_cpu_offload(gpu_id=torch.cuda.current_device() if where.index is None else where.index)
    return pipeline


def without_weights(config: Config) -> None:
    """Build, without weights, all parts of the model in the folder that a configuration names, in diffusers' layout.

    Raises:
        ValueError: there is no such model, its parts do not fit, or it cannot do what the configuration asks for.
    """
    folder = Path(config.model)
    _require_model(config, Saved(folder))
    kinds = {"text_encoder": transformers.T5EncoderModel, "transformer": LatteTransformer3DModel, "vae": AutoencoderKL}
    if config.temporal_vae_decoder:
        checkpoints.without_weights(AutoencoderKLTemporalDecoder, folder / "vae_temporal_decoder")
    parts = {name: checkpoints.without_weights(kind, folder / name) for name, kind in kinds.items()}
    _require_one_model(checkpoints.load(LattePipeline, folder, **parts), folder)


def _require_one_model(pipeline: LattePipeline, folder: Path) -> None:
    """Parts that are sound may still be those of different models."""
    transformer, text_encoder = pipeline.transformer.config, pipeline.text_encoder.config
    if text_encoder.d_model != transformer.caption_channels or len(pipeline.tokenizer) > text_encoder.vocab_size:
        raise ValueError(f"{folder}: the tokenizer, the text encoder and the transformer are not of one model.")
    if pipeline.vae.config.latent_channels != transformer.in_channels:
        raise ValueError(f"{folder}: the VAE and the transformer are not of one model.")


def _find(model: str, scale: str | None) -> Saved | Older:
    """The asset or folder that a configuration names, in the layout that it has."""
    is_asset = model in {asset.name for asset in store.COURSE.assets}
    folder = store.fetch(model, scale) if is_asset else Path(model)
    return Older(folder) if latte_older.is_older(folder) else Saved(folder)


def _require_model(config: Config, model: Saved | Older) -> None:
    """Everything that can be said against a model before gigabytes of weights are read."""
    transformer, parts = model.transformer_config(), model.parts
    if config.temporal_vae_decoder and not (parts / "vae_temporal_decoder").is_dir():
        raise ValueError(f"temporal_vae_decoder: the model {config.model} has none: set it to false.")
    blocks = checkpoints.arguments(AutoencoderKL, parts / "vae/config.json")["block_out_channels"]
    if not isinstance(blocks, list | tuple) or not blocks:
        raise ValueError(f"{parts / 'vae/config.json'}: block_out_channels={blocks!r} is no VAE's.")
    length, side = (
        require.whole(f"{model.folder}: the transformer's {key}", transformer.get(key), 1)
        for key in ("video_length", "sample_size")
    )
    config.require_fits(length, side * 2 ** (len(blocks) - 1))
    schedule = checkpoints.read_config(parts / "scheduler/scheduler_config.json")
    set_timesteps(make_scheduler(config.scheduler, schedule_of(schedule)), config.steps)


def _require_machine(config: Config, where: torch.device) -> None:
    problems = []
    if config.cpu_offload and where.type != "cuda":
        problems.append(f"cpu_offload: true needs a CUDA GPU, and the device here is {where.type}: set it to false.")
    if config.precision == "float16" and where.type == "cpu":
        problems.append("precision: float16 needs a GPU, and the device here is cpu: set it to auto.")
    if problems:
        raise ValueError("\n".join(problems))
