"""Clips from sentences: a `LattePipeline` of diffusers in the course's own sampling loop, and a folder of its clips.

The loop is lesson 3's, `diffusion.sample`; what is new is that a class is now a sentence. One clip is what the
pipeline itself makes of one prompt. Clips are sampled several at a time, and each is the same in any company.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import diffusers
import numpy as np
import torch
import transformers
from diffusers import AutoencoderKL, AutoencoderKLTemporalDecoder, LattePipeline, LatteTransformer3DModel
from einops import rearrange, repeat
from PIL import Image
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from tutorial_utils import assets, checkpoints, diffusion, files, latte_older, require, runtime, shards
from tutorial_utils.latte_config import Config
from tutorial_utils.sampling import Settings, as_bytes, grid, sample_seed
from tutorial_utils.video import Animation

MAX_TOKENS = 120
"""The pipeline reads so many tokens of a prompt, and no more."""

DECODED_FRAMES = 8
"""So many frames are decoded at once, for the sake of memory, and so far does the temporal decoder see."""

LARGE = 8e9
"""A model of more bytes is used in half precision on a GPU. Latte-1 has 24 GB in its files; Latte-mini has 0.008."""

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
    runtime.quiet_libraries()  # what they would say of a folder is checked here
    where = runtime.device() if device is None else device
    _require_machine(config, where)
    folder = _model_folder(config.model, scale)
    _require_model(config, folder)
    automatic = runtime.dtype(where, large=files.size_of(folder) > LARGE)
    precision = automatic if config.precision == "auto" else getattr(torch, config.precision)
    vae = None
    if config.temporal_vae_decoder:
        decoder = latte_older.parts_of(folder) / "vae_temporal_decoder"
        vae = checkpoints.load(AutoencoderKLTemporalDecoder, decoder, dtype=precision)
    if latte_older.is_older(folder):
        pipeline = latte_older.load(folder, precision, vae)
    else:
        pipeline = _load_saved(folder, precision, vae)
    _require_one_model(pipeline, folder)
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
    _require_model(config, folder)
    kinds = {"text_encoder": transformers.T5EncoderModel, "transformer": LatteTransformer3DModel, "vae": AutoencoderKL}
    if config.temporal_vae_decoder:
        checkpoints.without_weights(AutoencoderKLTemporalDecoder, folder / "vae_temporal_decoder")
    parts = {name: checkpoints.without_weights(kind, folder / name) for name, kind in kinds.items()}
    _require_one_model(checkpoints.load(LattePipeline, folder, **parts), folder)


def _load_saved(folder: Path, dtype: torch.dtype, vae: AutoencoderKLTemporalDecoder | None) -> LattePipeline:
    """A folder that `LattePipeline.save_pretrained` wrote: its networks one by one, for none may lack a weight."""
    networks = {"transformer": LatteTransformer3DModel, "text_encoder": transformers.T5EncoderModel}
    parts = {name: checkpoints.load(kind, folder / name, dtype=dtype) for name, kind in networks.items()}
    vae = vae or checkpoints.load(AutoencoderKL, folder / "vae", dtype=dtype)
    return checkpoints.load(LattePipeline, folder, vae=vae, **parts)


def _require_one_model(pipeline: LattePipeline, folder: Path) -> None:
    """Parts that are sound may still be those of different models."""
    transformer, text_encoder = pipeline.transformer.config, pipeline.text_encoder.config
    if text_encoder.d_model != transformer.caption_channels or len(pipeline.tokenizer) > text_encoder.vocab_size:
        raise ValueError(f"{folder}: the tokenizer, the text encoder and the transformer are not of one model.")
    if pipeline.vae.config.latent_channels != transformer.in_channels:
        raise ValueError(f"{folder}: the VAE and the transformer are not of one model.")


def _model_folder(model: str, scale: str | None) -> Path:
    if model in {asset.name for asset in assets.manifest()}:
        return assets.fetch(model, scale)
    return Path(model)


def _require_model(config: Config, folder: Path) -> None:
    """Everything that can be said against a folder before gigabytes of weights are read."""
    transformer, parts = _transformer_config(config, folder), latte_older.parts_of(folder)
    if config.temporal_vae_decoder and not (parts / "vae_temporal_decoder").is_dir():
        raise ValueError(f"temporal_vae_decoder: the model {config.model} has none: set it to false.")
    blocks = checkpoints.arguments(AutoencoderKL, parts / "vae/config.json")["block_out_channels"]
    if not isinstance(blocks, list | tuple) or not blocks:
        raise ValueError(f"{parts / 'vae/config.json'}: block_out_channels={blocks!r} is no VAE's.")
    length, side = (
        require.whole(f"{folder}: the transformer's {key}", transformer.get(key), 1)
        for key in ("video_length", "sample_size")
    )
    config.require_fits(length, side * 2 ** (len(blocks) - 1))
    make_scheduler(config.scheduler, checkpoints.read_config(parts / "scheduler/scheduler_config.json"))


def _transformer_config(config: Config, folder: Path) -> dict:
    """The transformer's sizes, in the layout of diffusers or in the older one."""
    if latte_older.is_older(folder):
        return latte_older.transformer_config(folder)
    index = folder / "model_index.json"
    if not index.is_file() or checkpoints.read_config(index).get("_class_name") != "LattePipeline":
        raise ValueError(
            f"model: {config.model} is not allowed: it must be latte, or a folder whose model_index.json is of a "
            f"LattePipeline, or one of the older layout, with {latte_older.WEIGHTS} and {latte_older.PARTS}."
        )
    return checkpoints.arguments(LatteTransformer3DModel, folder / "transformer/config.json")


def _require_machine(config: Config, where: torch.device) -> None:
    problems = []
    if config.cpu_offload and where.type != "cuda":
        problems.append(f"cpu_offload: true needs a CUDA GPU, and the device here is {where.type}: set it to false.")
    if config.precision == "float16" and where.type == "cpu":
        problems.append("precision: float16 needs a GPU, and the device here is cpu: set it to auto.")
    if problems:
        raise ValueError("\n".join(problems))


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
        A network from (N, C, F, H, W) to the same shape and dtype, whatever the transformer's own precision is.
    """
    table = torch.cat([prompts.embeddings, prompts.negatives])
    places = torch.arange(table.shape[1], device=table.device)
    beyond = (places >= prompts.lengths[:, None]).repeat(2, 1)  # (2 P, L), what only fills up
    bias = torch.zeros_like(table[..., 0]).masked_fill(beyond, -torch.inf)

    def network(x: Tensor, times: Tensor, labels: Tensor) -> Tensor:
        channels, frames = x.shape[1:3]
        output = transformer(
            x.to(table.dtype),
            times - 1,  # the sampling loop counts from 1, and Latte from 0
            table[labels],
            repeat(bias[labels], "n l -> (n f) 1 l", f=frames),
            enable_temporal_attentions=temporal_attention,
            return_dict=False,
        )[0]
        return output[:, :channels].to(x.dtype)  # the others, if any, are the predicted variance

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
            ValueError: there are not as many seeds as prompts, the settings make no sense, or the transformer does not
                know clips of so many frames.
        """
        _require_a_seed_each(prompts, seeds)
        config = self.pipeline.transformer.config
        if self.frames not in (1, config.video_length):
            raise ValueError(f"frames={self.frames} must be 1 or the transformer's {config.video_length}.")
        sources = diffusion.generators(seeds)
        shape = (config.in_channels, self.frames, config.sample_size, config.sample_size)
        labels = torch.arange(len(prompts), device=prompts.embeddings.device)
        return diffusion.sample(
            prompted_network(self.pipeline.transformer, prompts, self.temporal_attention),
            make_scheduler(settings.scheduler, self.pipeline.scheduler.config),
            diffusion.draw_noise(sources, shape).to(labels.device),
            labels,
            steps=settings.steps,
            guidance_scale=settings.guidance_scale,
            guidance_interval=(settings.guidance_low, settings.guidance_high),
            null_label=labels + len(prompts),
            sources=sources,
        )

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Latents (N, C, F, H, W), from `steps`, to clips (N, F, 3, 8 H, 8 W) in [0, 1], on the CPU.

        Raises:
            ValueError: the latents are not floats of this shape, or not finite.
        """
        layout = f"N {self.pipeline.vae.config.latent_channels} F H W"
        require.floats("latents", latents, layout, least=1, within=require.FINITE)
        frames = latents.shape[2]
        at_once = min(frames, DECODED_FRAMES)
        videos = self.pipeline.decode_latents(latents.to(self.pipeline.vae.dtype), frames, decode_chunk_size=at_once)
        return (rearrange(videos, "n c f h w -> n f c h w").cpu() / 2 + 0.5).clamp(0, 1)

    def videos(self, prompts: Prompts, seeds: Sequence[int], settings: Settings) -> Tensor:
        """Clips (N, F, 3, H, W) in [0, 1], on the CPU: for each of N prompts, with one seed each.

        Raises:
            ValueError: as for `steps`, or `batch_size` is below 1.
        """
        _require_a_seed_each(prompts, seeds)
        size = require.whole("batch_size", self.batch_size, 1)
        batches = [slice(start, start + size) for start in range(0, len(prompts), size)]
        ends = (diffusion.last(self.steps(prompts[batch], seeds[batch], settings)).latent for batch in batches)
        videos = torch.cat([self.decode(latents) for latents in ends])
        self.pipeline.maybe_free_model_hooks()  # with CPU offload, the VAE makes room for the next clips' transformer
        return videos


def _require_a_seed_each(prompts: Prompts, seeds: Sequence[int]) -> None:
    if len(seeds) != len(prompts):
        raise ValueError(f"{len(seeds)} seeds were given for {len(prompts)} prompts: each clip needs one.")


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
    with files.draft(stem.with_name(f"{stem.name}.png")) as partial:
        Image.fromarray(grid(video, columns=min(8, len(video)))).save(partial, "PNG")


def file_stem(k: int, text: str) -> str:
    """A name for clip k, such as ``000-a-red-sneaker-moving-left``."""
    words = re.sub(r"[^a-z0-9]+", "-", text.lower())[:40]
    return f"{k:03}-{words}".rstrip("-")
