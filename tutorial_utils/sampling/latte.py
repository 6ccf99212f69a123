"""Clips from sentences: a `LattePipeline` of diffusers in the course's own sampling loop, and a folder of its clips.

The sampler is lesson 3's, too; what is new is that a label now stands for a sentence. One clip is what the
pipeline itself makes of one prompt. Clips are sampled several at a time, and each is the same in any company.
Arguments that are not as described are a ValueError, which names them.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import transformers
from diffusers import LattePipeline, LatteTransformer3DModel
from einops import rearrange, repeat
from PIL import Image
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from tutorial_utils import files, require
from tutorial_utils.datasets.images import grid
from tutorial_utils.figures.films import plays
from tutorial_utils.figures.video import Animation
from tutorial_utils.sampling import diffusion, latte_words, shards
from tutorial_utils.sampling.diffusion import Settings
from tutorial_utils.sampling.latte_config import Config
from tutorial_utils.sampling.sampler import Sampler

MAX_TOKENS = 120
"""The pipeline reads so many tokens of a prompt, and no more."""

DECODED_FRAMES = 8
"""So many frames are decoded at once, for the sake of memory, and so far does the temporal decoder see."""

SHOWN_WIDTH = 256
"""Clips that are smaller are saved larger, without smoothing: players show 64 pixels as a stamp, or blur them."""

CAPTION = 48
"""Characters of a sentence above a clip, at most."""

SUFFIXES = (".mp4", ".gif", ".png")
"""Of the files of a clip; the last is a sheet of its frames."""


class PromptWarning(UserWarning):
    """A part of a prompt is lost on the model."""


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
        read: the sentences as the tokenizer is given them, see `encode`.
    """

    texts: tuple[str, ...]
    embeddings: Tensor
    negatives: Tensor
    lengths: Tensor
    read: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, chosen: slice) -> Prompts:
        """Some of the prompts, such as ``prompts[2:3]``; a ValueError if that is none of them."""
        if not isinstance(chosen, slice):
            raise ValueError(f"prompts[{chosen!r}] is no list of prompts: choose with a colon, such as prompts[0:1].")
        if not range(len(self))[chosen]:
            raise ValueError(
                f"prompts[{chosen.start}:{chosen.stop}] is none of the {len(self)}: there are 0 to {len(self) - 1}."
            )
        return Prompts(*(part[chosen] for part in vars(self).values()))

    @property
    def captions(self) -> list[str]:
        """The sentences, the long ones shortened, to stand above clips."""
        return [require.shortened(text, CAPTION) for text in self.texts]


def encode(pipeline: LattePipeline, prompts: Sequence[str], negative_prompt: str = "") -> Prompts:
    """Read prompts with the pipeline's text encoder, once for all clips and steps.

    Upper and lower case are the same. Where a sign keeps the tokenizer from knowing a word, as the comma of "sneaker,"
    does if it knows whole words only, the word is read without it. A `PromptWarning` says what is lost: such signs,
    words that the tokenizer does not know or can only spell, and whatever lies beyond `MAX_TOKENS`.
    """
    if isinstance(prompts, str):
        raise ValueError(
            f"prompts={prompts!r} is one text, and each of its letters would be a prompt: put it in a list."
        )
    if not prompts:
        raise ValueError("There are no prompts to encode: give at least one.")
    for text in [*prompts, negative_prompt]:
        if not isinstance(text, str):
            raise ValueError(f"the prompt {text!r} is no text: put it in quotes.")
    read = {text: _read(pipeline.tokenizer, text) for text in [*prompts, negative_prompt]}
    # One by one: given several prompts, the pipeline fills them up with zeros that attention sees, and so the clip of
    # a prompt would depend on how many come with it.
    with torch.no_grad():
        pairs = [
            pipeline.encode_prompt(read[text], negative_prompt=read[negative_prompt], clean_caption=False)
            for text in prompts
        ]
    embeddings, negatives = ([pair[0] for pair in column] for column in zip(*pairs, strict=True))
    lengths = torch.tensor([len(one) for one in embeddings], device=embeddings[0].device)
    filled = (pad_sequence(column, batch_first=True) for column in (embeddings, negatives))
    return Prompts(tuple(prompts), *filled, lengths, tuple(read[text] for text in prompts))


def _read(tokenizer: transformers.PreTrainedTokenizerBase, text: str) -> str:
    """A text as the tokenizer is given it; warns of what the text encoder will not see of it."""
    read, ignored = latte_words.read(tokenizer, text)
    tokens = tokenizer(read, add_special_tokens=False).input_ids
    unknown = [word for word in dict.fromkeys(read.split()) if not latte_words.knows(tokenizer, word)]
    said = []
    if ignored:
        signs = " ".join(ignored)
        said.append(f"the signs {signs} were ignored" if len(ignored) > 1 else f"the sign {signs} was ignored")
    if unknown:
        all_of_it = len(unknown) == len({*read.split()})
        known = "the model knows no word of it:" if all_of_it else "the model does not know"
        said.append(f"{known} {require.shortened(', '.join(unknown), 120)}")
    if ignored and not tokens:
        said.append("nothing is left to read")
    named = repr(require.shortened(text, 60))
    if said:
        warnings.warn(f"{named}: {', and '.join(said)}.", PromptWarning, stacklevel=4)
    if cut := tokens[MAX_TOKENS - tokenizer.num_special_tokens_to_add() :]:
        message = f"{named} is longer than {MAX_TOKENS} tokens: {tokenizer.decode(cut)!r} was cut off."
        warnings.warn(message, PromptWarning, stacklevel=4)
    return read


# --- Sampling -----------------------------------------------------------------------------------------------------


def schedule_of(config: Mapping[str, object]) -> dict[str, object]:
    """The noise schedule of a Latte's own scheduler. A sampler then stops where that does: at the clean image.

    A published network also predicts a variance: we leave it out before a scheduler sees it.
    """
    return {key: value for key, value in config.items() if key != "variance_type"}


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
        batch_size: how many clips are generated at once.
    """

    pipeline: LattePipeline
    frames: int
    temporal_attention: bool = True
    batch_size: int = 8

    def sampler(self, prompts: Prompts) -> Sampler:
        """What samples clips of P prompts: label k stands for prompt k."""
        config = self.pipeline.transformer.config
        if self.frames not in (1, config.video_length):
            raise ValueError(f"frames={self.frames} must be 1 or the transformer's {config.video_length}.")
        return Sampler(
            prompted_network(self.pipeline.transformer, prompts, self.temporal_attention),
            schedule_of(self.pipeline.scheduler.config),
            (config.in_channels, self.frames, config.sample_size, config.sample_size),
            self.decode,
            torch.arange(len(prompts), device=prompts.embeddings.device) + len(prompts),
            self.batch_size,
        )

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Latents (N, C, F, H, W) to clips (N, F, 3, 8 H, 8 W) in [0, 1], on the CPU."""
        layout = f"N {self.pipeline.vae.config.latent_channels} F H W"
        require.floats("latents", latents, layout, least=1, within=require.FINITE)
        frames = latents.shape[2]
        at_once = min(frames, DECODED_FRAMES)
        videos = self.pipeline.decode_latents(latents.to(self.pipeline.vae.dtype), frames, decode_chunk_size=at_once)
        self.pipeline.maybe_free_model_hooks()  # with CPU offload, the VAE makes room for the next clips' transformer
        return (rearrange(videos, "n c f h w -> n f c h w").cpu() / 2 + 0.5).clamp(0, 1)

    def videos(self, prompts: Prompts, seeds: Sequence[int], settings: Settings) -> Tensor:
        """Clips (N, F, 3, H, W) in [0, 1], on the CPU: for each of N prompts, with one seed each."""
        return self.sampler(prompts).samples(torch.arange(len(prompts)), seeds, settings)


# --- A folder of clips --------------------------------------------------------------------------------------------


def sample_to_folder(
    clips: Clips,
    prompts: Prompts,
    config: Config,
    out: Path,
    progress: shards.Progress = lambda done, total: None,
) -> None:
    """Write a clip for each prompt as MP4, as GIF and as a sheet of its frames, and all of them as `samples.npz`.

    A batch's files are there as soon as it is ready; for the rest see `Sampler.fill`.

    Args:
        prompts: the configuration's, encoded; clip k has the seed ``sample_seed(config.seed, k)``.
    """

    stems, kept = [out / file_stem(k, text) for k, text in enumerate(prompts.texts)], set()

    def keep(numbers: slice, videos: np.ndarray) -> None:
        for k, video in zip(range(len(prompts))[numbers], videos, strict=True):
            save_clip(video, stems[k], config.fps, prompts.texts[k])
            kept.add(k)

    def finish(videos: np.ndarray) -> shards.Saved:
        return {"videos": videos, "prompts": np.array(prompts.texts)}

    def complete(saved: shards.Saved) -> None:
        for k in set(range(len(prompts))) - kept:  # those of an earlier run, or of another process
            if not all(plays(stems[k].with_name(stems[k].name + suffix)) for suffix in SUFFIXES):
                save_clip(saved["videos"][k], stems[k], config.fps, prompts.texts[k])

    # where weights lie does not change the clips, so a run may go on with other free memory
    request = config.model_dump(mode="json", exclude={"out", "cpu_offload"})
    labels, sampler = torch.arange(len(prompts)), replace(clips, batch_size=config.batch_size).sampler(prompts)
    sampler.fill(out, request, labels, config.seed, config.settings, finish, complete, keep, progress)


def save_clip(video: np.ndarray, stem: Path, fps: float, description: str) -> None:
    """Write `stem`.mp4, `stem`.gif and `stem`.png, a sheet of the frames.

    Args:
        video: (F, H, W, 3) bytes.
        description: what there is to see.
    """
    factor = max(1, SHOWN_WIDTH // video.shape[2])
    frames = repeat(video, "f h w c -> f (h a) (w b) c", a=factor, b=factor)
    animation = Animation(frames, fps, description)
    *films, sheet = SUFFIXES
    for suffix in films:
        animation.save(stem.with_name(stem.name + suffix))
    with files.draft(stem.with_name(stem.name + sheet)) as partial:
        Image.fromarray(grid(video, columns=min(8, len(video)))).save(partial, "PNG")


def file_stem(k: int, text: str) -> str:
    """A name for clip k, such as ``000-a-red-sneaker-moving-left``."""
    words = re.sub(r"[^a-z0-9]+", "-", text.lower())[:40]
    return f"{k:03}-{words}".rstrip("-")
