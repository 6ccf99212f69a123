"""Clips from sentences: a `LattePipeline` of diffusers in the course's own sampling loop, and a folder of its clips.

The loop is lesson 3's, `diffusion.sample`; what is new is that a class is now a sentence. One clip is what the
pipeline itself makes of one prompt. Clips are sampled several at a time, and each is the same in any company.
"""

from __future__ import annotations

import importlib.util
import json
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import diffusers
import numpy as np
import torch
import transformers
from diffusers import AutoencoderKLTemporalDecoder, LattePipeline, LatteTransformer3DModel
from einops import rearrange, repeat
from PIL import Image
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from tutorial_utils import assets, diffusion, latte_older, runtime, shards
from tutorial_utils.latte_config import Config
from tutorial_utils.sampling import Settings, as_bytes, grid, sample_seed
from tutorial_utils.video import Animation

MAX_TOKENS = 120
"""The pipeline reads so many tokens of a prompt, and no more."""

SHOWN_WIDTH = 256
"""Clips that are smaller are saved larger, without smoothing: players show 64 pixels as a stamp, or blur them."""


class PromptWarning(UserWarning):
    """A part of a prompt is lost on the model."""


# --- Loading ------------------------------------------------------------------------------------------------------


def load_pipeline(config: Config, scale: str | None = None, device: torch.device | None = None) -> LattePipeline:
    """The model that a configuration names, in its precision, on a device.

    Args:
        scale: where `config.model` is an asset, ``"mini"`` or ``"full"``; TUTORIAL_SCALE decides if None.
        device: `runtime.device()` if None.

    Raises:
        ValueError: there is no such model, or it cannot do what the configuration asks for, or this machine cannot.
        AssetError: the asset could not be had.
    """
    where = runtime.device() if device is None else device
    _require_machine(config, where)
    folder = _model_folder(config.model, scale)
    _require_model(config, folder)
    precision = runtime.dtype(where) if config.precision == "auto" else getattr(torch, config.precision)
    options = {"dtype": precision, "local_files_only": True}
    parts = {}
    if config.temporal_vae_decoder:
        decoder = latte_older.parts_of(folder) / "vae_temporal_decoder"
        parts["vae"] = AutoencoderKLTemporalDecoder.from_pretrained(decoder, **options)
    if config.eight_bit:
        parts["quantization_config"] = _eight_bit_weights()
    if latte_older.is_older(folder):
        pipeline = latte_older.load(folder, precision, **parts)
    else:
        pipeline = LattePipeline.from_pretrained(folder, **options, **parts)
    if not config.cpu_offload:
        return pipeline.to(where)
    pipeline.enable_model_cpu_offload(gpu_id=torch.cuda.current_device() if where.index is None else where.index)
    return pipeline


def _model_folder(model: str, scale: str | None) -> Path:
    if model in {asset.name for asset in assets.manifest()}:
        return assets.fetch(model, scale)
    return Path(model)


def _require_model(config: Config, folder: Path) -> None:
    """Everything that can be said against a folder before gigabytes of weights are read."""
    transformer, parts = _transformer_config(config, folder), latte_older.parts_of(folder)
    if config.temporal_vae_decoder and not (parts / "vae_temporal_decoder").is_dir():
        raise ValueError(f"temporal_vae_decoder: the model {config.model} has none: set it to false.")
    vae = _read(parts / "vae/config.json")
    reduction = 2 ** (len(vae["block_out_channels"]) - 1)
    config.require_fits(transformer["video_length"], transformer["sample_size"] * reduction)
    make_scheduler(config.scheduler, _read(parts / "scheduler/scheduler_config.json"))


def _transformer_config(config: Config, folder: Path) -> dict:
    """The transformer's sizes, in the layout of diffusers or in the older one."""
    if latte_older.is_older(folder):
        if config.eight_bit:
            raise ValueError(f"eight_bit: {config.model} is of the older layout, which has none: set it to false.")
        return latte_older.transformer_config(folder)
    index = folder / "model_index.json"
    if not index.is_file() or _read(index).get("_class_name") != "LattePipeline":
        raise ValueError(
            f"model: {config.model} is not allowed: it must be latte, or a folder whose model_index.json is of a "
            f"LattePipeline, or one of the older layout, with {latte_older.WEIGHTS} and {latte_older.PARTS}."
        )
    return _read(folder / "transformer/config.json")


def _read(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def _require_machine(config: Config, where: torch.device) -> None:
    problems = [
        f"{key}: true needs a CUDA GPU, and the device here is {where.type}: set it to false."
        for key in ("cpu_offload", "eight_bit")
        if getattr(config, key) and where.type != "cuda"
    ]
    if config.precision == "float16" and where.type == "cpu":
        problems.append("precision: float16 needs a GPU, and the device here is cpu: set it to auto.")
    if config.eight_bit and importlib.util.find_spec("bitsandbytes") is None:
        problems.append("eight_bit: true needs the package bitsandbytes: install it with pip, or set it to false.")
    if problems:
        raise ValueError("\n".join(problems))


def _eight_bit_weights() -> diffusers.PipelineQuantizationConfig:
    """8 bits for a weight of the two large parts (Dettmers et al. 2022, https://arxiv.org/abs/2208.07339)."""
    parts = {
        "text_encoder": transformers.BitsAndBytesConfig(load_in_8bit=True),
        "transformer": diffusers.BitsAndBytesConfig(load_in_8bit=True),
    }
    return diffusers.PipelineQuantizationConfig(quant_mapping=parts)


# --- Prompts ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Prompts:
    """P sentences as the transformer reads them, filled up to the longest one's L tokens.

    Attributes:
        texts: the sentences.
        embeddings: (P, L, D).
        negatives: (P, L, D), the negative prompt beside each sentence. Its embeddings are as many as the sentence's,
            those of its padding included: that is how the pipeline guides, and how the published model is used.
        lengths: integers (P,), tokens of each sentence.
    """

    texts: tuple[str, ...]
    embeddings: Tensor
    negatives: Tensor
    lengths: Tensor

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, chosen: slice) -> Prompts:
        return Prompts(self.texts[chosen], self.embeddings[chosen], self.negatives[chosen], self.lengths[chosen])


def encode(pipeline: LattePipeline, prompts: Sequence[str], negative_prompt: str = "") -> Prompts:
    """Read prompts with the pipeline's text encoder, once for all clips and steps.

    Upper and lower case are the same. A `PromptWarning` says what is lost: words that the tokenizer does not know, and
    whatever lies beyond `MAX_TOKENS`.

    Raises:
        ValueError: there are no prompts.
    """
    if not prompts:
        raise ValueError("There are no prompts to encode: give at least one.")
    for text in dict.fromkeys([*prompts, negative_prompt]):
        _warn_of_losses(pipeline.tokenizer, text)
    # One by one: given several prompts, the pipeline fills them up with zeros that attention sees, and so the clip of
    # a prompt would depend on how many come with it.
    with torch.no_grad():
        pairs = [pipeline.encode_prompt(text, negative_prompt=negative_prompt, clean_caption=False) for text in prompts]
    embeddings, negatives = ([pair[0] for pair in column] for column in zip(*pairs, strict=True))
    lengths = torch.tensor([len(one) for one in embeddings], device=embeddings[0].device)
    filled = (pad_sequence(column, batch_first=True) for column in (embeddings, negatives))
    return Prompts(tuple(prompts), *filled, lengths)


def _warn_of_losses(tokenizer: transformers.PreTrainedTokenizerBase, text: str) -> None:
    """Say which part of a text the text encoder will not see."""
    read = text.lower().strip()  # as the pipeline does
    tokens = tokenizer(read, add_special_tokens=False).input_ids
    unknown = [word for word in read.split() if tokenizer.unk_token_id in tokenizer(word).input_ids]
    if unknown:
        words = ", ".join(dict.fromkeys(unknown))
        warnings.warn(f"{_short(text)}: the model does not know {words}.", PromptWarning, stacklevel=3)
    if cut := tokens[MAX_TOKENS - tokenizer.num_special_tokens_to_add() :]:
        message = f"{_short(text)} is longer than {MAX_TOKENS} tokens: {tokenizer.decode(cut)!r} was cut off."
        warnings.warn(message, PromptWarning, stacklevel=3)


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:59]}…")


# --- Sampling -----------------------------------------------------------------------------------------------------


def make_scheduler(name: str, config: dict) -> diffusers.SchedulerMixin:
    """As `diffusion.make_scheduler`, for the schedule of a Latte.

    A sampler then stops where the pipeline's own does: at the clean image.
    """
    # A published network also predicts a variance. We leave it out before a scheduler sees it.
    return diffusion.make_scheduler(name, {key: value for key, value in config.items() if key != "variance_type"})


def prompted_network(
    transformer: LatteTransformer3DModel, prompts: Prompts, temporal_attention: bool = True
) -> diffusion.Network:
    """The transformer as `diffusion.sample` calls it, with a table of prompts in the place of classes.

    Label k stands for prompt k, and label k + P for the negative prompt beside it, if there are P of them.

    Args:
        temporal_attention: False keeps the frames of a clip from seeing each other.

    Returns:
        A network from (N, C, F, H, W) to the same shape.
    """
    table = torch.cat([prompts.embeddings, prompts.negatives])
    places = torch.arange(table.shape[1], device=table.device)
    beyond = (places >= prompts.lengths[:, None]).repeat(2, 1)  # (2 P, L), what only fills up
    bias = torch.zeros_like(table[..., 0]).masked_fill(beyond, -torch.inf)

    def network(x: Tensor, times: Tensor, labels: Tensor) -> Tensor:
        channels, frames = x.shape[1:3]
        output = transformer(
            x,
            times - 1,  # the sampling loop counts from 1, and Latte from 0
            table[labels],
            repeat(bias[labels], "n l -> (n f) 1 l", f=frames),
            enable_temporal_attentions=temporal_attention,
            return_dict=False,
        )[0]
        return output[:, :channels]  # the others, if any, are the predicted variance

    return network


@dataclass(frozen=True)
class Clips:
    """What generates clips: a pipeline, and the form of its clips.

    Attributes:
        pipeline: its scheduler says on which schedule it was trained; samplers are chosen by `Settings`.
        frames: 1, or the `video_length` of the transformer.
        temporal_attention: see `prompted_network`.
        batch_size: how many clips `videos` generates at once.
    """

    pipeline: LattePipeline
    frames: int
    temporal_attention: bool = True
    batch_size: int = 8

    def steps(self, prompts: Prompts, seeds: Sequence[int], settings: Settings) -> Iterator[diffusion.Step]:
        """Sample latents (N, C, F, H, W) a step at a time: for each of N prompts, with one seed each.

        Raises:
            ValueError: there are not as many seeds as prompts, or the settings make no sense.
        """
        if len(seeds) != len(prompts):
            raise ValueError(f"{len(seeds)} seeds were given for {len(prompts)} prompts: each clip needs one.")
        config = self.pipeline.transformer.config
        sources = diffusion.generators(seeds)
        shape = (config.in_channels, self.frames, config.sample_size, config.sample_size)
        labels = torch.arange(len(prompts), device=prompts.embeddings.device)
        return diffusion.sample(
            prompted_network(self.pipeline.transformer, prompts, self.temporal_attention),
            make_scheduler(settings.scheduler, self.pipeline.scheduler.config),
            diffusion.draw_noise(sources, shape).to(prompts.embeddings),
            labels,
            steps=settings.steps,
            guidance_scale=settings.guidance_scale,
            guidance_interval=(settings.guidance_low, settings.guidance_high),
            null_label=labels + len(prompts),
            sources=sources,
        )

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Latents (N, C, F, H, W), from `steps`, to clips (N, F, 3, 8 H, 8 W) in [0, 1], on the CPU."""
        frames = latents.shape[2]
        videos = self.pipeline.decode_latents(latents.to(self.pipeline.vae.dtype), frames, decode_chunk_size=frames)
        return (rearrange(videos, "n c f h w -> n f c h w").cpu() / 2 + 0.5).clamp(0, 1)

    def videos(self, prompts: Prompts, seeds: Sequence[int], settings: Settings) -> Tensor:
        """Clips (N, F, 3, H, W) in [0, 1], on the CPU: for each of N prompts, with one seed each."""
        batches = [slice(start, start + self.batch_size) for start in range(0, len(prompts), self.batch_size)]
        ends = (diffusion.last(self.steps(prompts[batch], seeds[batch], settings)).latent for batch in batches)
        videos = torch.cat([self.decode(latents) for latents in ends])
        self.pipeline.maybe_free_model_hooks()  # with CPU offload, the VAE makes room for the next clips' transformer
        return videos


# --- A folder of clips --------------------------------------------------------------------------------------------


def sample_to_folder(
    clips: Clips,
    prompts: Prompts,
    config: Config,
    out: Path,
    progress: shards.Progress = lambda done, total: None,
) -> None:
    """Write a clip for each prompt as MP4, as GIF and as a sheet of its frames, and all of them as `samples.npz`.

    Clips come in batches of `config.batch_size`, and their files as soon as they are ready. An interrupted run goes
    on from there, and processes share the batches: see `shards.fill`.

    Args:
        prompts: the configuration's, encoded; clip k has the seed ``sample_seed(config.seed, k)``.
        out: a folder, new or from an interrupted run with the same request.

    Raises:
        ValueError: `out` holds the samples of another request, or parts of them are missing at the end.
    """
    seeds = [sample_seed(config.seed, k) for k in range(len(prompts))]

    def make(mine: slice) -> np.ndarray:
        videos = as_bytes(clips.videos(prompts[mine], seeds[mine], config.settings))
        for k, text, video in zip(range(mine.start, mine.stop), prompts.texts[mine], videos, strict=True):
            save_clip(video, out / file_stem(k, text), config.fps, text)
        return videos

    def finish(videos: np.ndarray) -> dict[str, np.ndarray]:
        return {"videos": videos, "prompts": np.array(prompts.texts), "seeds": np.array(seeds)}

    # where weights lie does not change the clips, so a run may go on with other free memory
    request = config.model_dump(mode="json", exclude={"out", "cpu_offload"})
    shards.fill(out, request, len(prompts), config.batch_size, make, finish, progress)


def save_clip(video: np.ndarray, stem: Path, fps: float, description: str) -> None:
    """Write `stem`.mp4, `stem`.gif and `stem`.png, a sheet of the frames.

    Args:
        video: (F, H, W, 3) bytes.
        description: what there is to see.
    """
    factor = max(1, SHOWN_WIDTH // video.shape[2])
    frames = repeat(video, "f h w c -> f (h a) (w b) c", a=factor, b=factor)
    animation = Animation(frames, fps, description)
    for suffix in (".mp4", ".gif"):
        animation.save(stem.with_name(stem.name + suffix))
    Image.fromarray(grid(video, columns=min(8, len(video)))).save(stem.with_name(f"{stem.name}.png"))


def file_stem(k: int, text: str) -> str:
    """A name for clip k, such as ``000-a-red-sneaker-moving-left``."""
    words = re.sub(r"[^a-z0-9]+", "-", text.lower())[:40]
    return f"{k:03}-{words}".rstrip("-")
