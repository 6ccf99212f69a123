"""Latte-mini: a diffusers `LattePipeline` that turns a sentence into a clip of a moving garment (lesson 4).

Two networks learn together: a `LatteTransformer3DModel`, and a small T5 encoder that reads the prompt (the published
model keeps a T5-XXL of 4.7 billion parameters as it is, and does not train it). They predict the velocity (Salimans and
Ho 2022, https://arxiv.org/abs/2202.00512) under a schedule that ends in pure noise (Lin et al. 2023,
https://arxiv.org/abs/2305.08891), in the latents of VAE-mini. As in the paper (Ma et al. 2024,
https://arxiv.org/abs/2401.03048) it learns from single frames too: from nothing else at first, with temporal attention
off, since a frame teaches garments and colours at an eighth of a clip's price. These frames come from the first half of
a clip, where something that will move left is still on the right. Taken from anywhere they say nothing of the
difference between left and right, so the network learns to read both words alike, and clips do not undo that: after
4,000 steps on clips a wrong word cost nothing yet.

The sentences are English and Chinese and leave out what they like. In some stands a word that nobody has ever heard of,
so that the text encoder learns to read on.

    python -m tutorial_utils train latte

The run resumes from the state found in `--work`. It sees training images in training combinations only.
"""

from __future__ import annotations

import functools
import itertools
import string
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler, LattePipeline, LatteTransformer3DModel
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast, T5Config, T5EncoderModel

from tutorial_utils.assets.store import fetch
from tutorial_utils.datasets.fashion_mnist import fashion_mnist_tensors
from tutorial_utils.datasets.moving import (
    FORMS,
    FRAMES,
    LANGUAGES,
    SAID,
    SIZES,
    Scenes,
    captions,
    choose_sprites,
    draw_scenes,
    render,
    sayings,
)
from tutorial_utils.measures.adherence import Footage, judge_videos, variety
from tutorial_utils.measures.metrics import Judge, load_judge
from tutorial_utils.progress import each
from tutorial_utils.recipes.pictures import command_of
from tutorial_utils.recipes.reports import write_report
from tutorial_utils.recipes.training import (
    Run,
    cached,
    command,
    hybrid_optimizers,
    minutes_of,
    noise_table,
    shortened,
    stratified_times,
    warmup_cosine,
)
from tutorial_utils.recipes.vae import reconstruct
from tutorial_utils.sampling.diffusion import STABLE_DIFFUSION, Settings, sample_seed
from tutorial_utils.sampling.latte import Clips, encode

PADDING = 0
"""The token that fills up."""

PROMPT_TOKENS = 120
"""To this length the pipeline fills up prompts that come several at a time."""

SETTINGS = Settings(scheduler="dpm-multi", steps=12, guidance_scale=2.0, guidance_interval=(0.0, 4.0))
"""How clips are sampled when they are judged: as in the lesson's configuration file."""


@dataclass(frozen=True)
class Recipe:
    """Every choice of the recipe. The learning rate is the peak of a warm-up and half-cosine schedule of `schedule`
    steps, of which the first `steps` are taken: at the end of it the rate is so small that little is learned.

    The first `frame_steps` see single frames only; later every `frame_every`-th step does, so that one frame stays
    possible. A single frame is one of the first half of its clip. `sentences` are as many for each scene, of which a
    share of `stray_words` has one that means nothing.
    """

    seed: int = 0
    clips: int = 60_000
    sentences: int = 256
    stray_words: float = 0.05
    width: int = 128
    heads: int = 4
    layers: int = 4
    text_width: int = 128
    text_layers: int = 2
    schedule: int = 13_400
    steps: int = 11_725
    frame_steps: int = 2_000
    frame_every: int = 8
    frame_batch: int = 2_048
    clip_batch: int = 256
    warmup: int = 300
    lr: float = 2e-3
    weight_decay: float = 0.03
    drop_prompt: float = 0.1
    ema_decay: float = 0.9995


# --- Sentences ----------------------------------------------------------------------------------------------------


def known_pieces() -> list[str]:
    """The words of the captions' grammar as the tokenizer keeps them: "▁" is the space before a word."""
    pieces = set()
    for language in LANGUAGES.values():
        choices = [words for name in SIZES for words in getattr(language, name)]
        phrases = {phrase for words in (*choices, *language.article, language.motion) for phrase in words}
        words = {word.lower() for phrase in phrases for word in phrase.replace("{}", " ").split()}
        pieces |= {f"▁{word}" if language.between else word for word in words}
    return sorted(pieces | {"▁an"})


def make_tokenizer() -> PreTrainedTokenizerFast:
    """A unigram tokenizer, as T5's: a token for each word of the captions' grammar; any other word is cut into pieces.

    Pieces are smaller words, letters, digits and signs, and at last the bytes of UTF-8: nothing is lost but what a word
    means.
    """
    special, signs = ["<pad>", "</s>", "<unk>"], ["▁", *string.ascii_lowercase, *string.digits, *".,!?-'\"。，、"]
    octets = [f"<0x{octet:02X}>" for octet in range(256)]
    pieces = [(piece, 0.0) for piece in special]
    pieces += [(piece, -1.0) for piece in known_pieces()] + [(sign, -10.0) for sign in signs]
    pieces += [(octet, -20.0) for octet in octets]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=special.index("<unk>"), byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace()])
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
        model_max_length=PROMPT_TOKENS,
    )


def with_stray_word(sentence: str, source: torch.Generator) -> str:
    """A sentence with three to eight letters somewhere among its words that mean nothing, or two signs in Chinese."""

    def number(low: int, high: int) -> int:
        return torch.randint(low, high, (), generator=source).item()

    if " " in sentence or sentence.isascii():
        letters = [string.ascii_lowercase[number(0, 26)] for _ in range(number(3, 9))]
        words = sentence.split()
        words.insert(number(0, len(words) + 1), "".join(letters))
        return " ".join(words)
    place = number(0, len(sentence) + 1)
    return sentence[:place] + "".join(chr(number(0x4E00, 0x9FA0)) for _ in range(2)) + sentence[place:]


@functools.cache
def sentence_table(count: int, stray_words: float, seed: int) -> Tensor:
    """Tokens of `count` sayings of every scene, filled up: integers (S, K, L), for scenes as `rank` has them."""
    source, tokenizer = torch.Generator().manual_seed(seed), make_tokenizer()
    every = Scenes(*torch.cartesian_prod(*map(torch.arange, SIZES.values())).repeat_interleave(count, 0).T)
    spoken = sayings(every, source)
    stray = torch.rand(len(spoken), generator=source) < stray_words
    spoken = [with_stray_word(one, source) if odd else one for one, odd in zip(spoken, stray.tolist(), strict=True)]
    return tokenizer(spoken, padding=True, return_tensors="pt").input_ids.unflatten(0, (-1, count))


def rank(scenes: Scenes) -> Tensor:
    """The place of each scene among all, (N,)."""
    place = torch.zeros_like(scenes.garment)
    for name, size in SIZES.items():
        place = place * size + getattr(scenes, name)
    return place


# --- The networks -------------------------------------------------------------------------------------------------


def make_scheduler() -> DDIMScheduler:
    """Stable Diffusion's schedule, stretched to end in pure noise."""
    return DDIMScheduler.from_config(
        STABLE_DIFFUSION,
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        clip_sample=False,
    )


class TextToVideo(nn.Module):
    """Latte's transformer and its text encoder, the two that learn."""

    def __init__(self, recipe: Recipe, vocabulary: int):
        super().__init__()
        self.text_encoder = T5EncoderModel(
            T5Config(
                vocab_size=vocabulary,
                d_model=recipe.text_width,
                d_kv=32,
                num_heads=recipe.text_width // 32,
                d_ff=2 * recipe.text_width,
                num_layers=recipe.text_layers,
                dropout_rate=0.0,
                pad_token_id=PADDING,
                eos_token_id=1,
            )
        )
        self.transformer = LatteTransformer3DModel(
            num_attention_heads=recipe.heads,
            attention_head_dim=recipe.width // recipe.heads,
            in_channels=4,
            out_channels=8,  # the pipeline takes the first half: the published network predicts a variance, too
            num_layers=recipe.layers,
            cross_attention_dim=recipe.width,
            attention_bias=True,
            sample_size=8,
            patch_size=2,
            activation_fn="gelu-approximate",
            num_embeds_ada_norm=1000,
            norm_type="ada_norm_single",
            norm_elementwise_affine=False,
            norm_eps=1e-6,
            caption_channels=recipe.text_width,
            video_length=FRAMES,
        )
        for block in self.transformer.temporal_transformer_blocks:
            for last in (block.attn1.to_out[0], block.ff.net[-1]):
                nn.init.zeros_(last.weight)  # so frames pass the new blocks unchanged when clips begin
                nn.init.zeros_(last.bias)

    def forward(self, x: Tensor, times: Tensor, ids: Tensor, mask: Tensor, dropped: Tensor, filled: Tensor) -> Tensor:
        """The predicted velocity, of the shape of x.

        Args:
            x: (N, 4, F, 8, 8), noisy latents; temporal attention is off if F is 1.
            times: (N,), 0 to 999.
            ids, mask: (N, L), the prompts' tokens; L is at least 2.
            dropped, filled: booleans (N,), see `read`.
        """
        memory, bias = self.read(ids, mask, dropped, filled)
        frames = x.shape[2]
        bias = bias.repeat_interleave(frames, 0)
        return self.transformer(x, times, memory, bias, frames > 1, return_dict=False)[0][:, : x.shape[1]]

    def read(self, ids: Tensor, mask: Tensor, dropped: Tensor, filled: Tensor) -> tuple[Tensor, Tensor]:
        """What the transformer attends to, (N, L + 1, D), and what is added to the attention's logits, (N, 1, L + 1).

        The pipeline has two forms of text. A single prompt is cut to its tokens; several are filled up with zeros
        to `PROMPT_TOKENS`, and attention sees the zeros (where `filled`). The empty prompt (where `dropped`) has one
        token, and padding up to the length of the prompt whose place it takes. We train on all of these. What fills
        up is always one vector n times: attention to it is attention to one whose logit is larger by log n, which is
        the last column here.
        """
        lengths = mask.sum(1)
        room = torch.where(filled, torch.full_like(lengths, PROMPT_TOKENS), lengths)
        empty = torch.zeros_like(ids)
        empty[:, 0].fill_(self.text_encoder.config.eos_token_id)
        ids = torch.where(dropped[:, None], empty, ids)
        mask = torch.where(dropped[:, None], (empty > 0).long(), mask)
        text = self.text_encoder(ids, attention_mask=mask)[0]
        padding = text[:, 1:2] * dropped[:, None, None]  # of an empty prompt; any other is filled up with zeros
        copies = room - mask.sum(1)
        bias = torch.cat([mask.float().log(), copies.float().log()[:, None]], 1)
        return torch.cat([text, padding], 1), bias.clamp(min=-1e4)[:, None]


def make_pipeline(model: TextToVideo, vae: AutoencoderKL) -> LattePipeline:
    """The five parts of what ships."""
    return LattePipeline(
        tokenizer=make_tokenizer(),
        text_encoder=model.text_encoder.eval(),
        vae=vae,
        transformer=model.transformer.eval(),
        scheduler=make_scheduler(),
    )


# --- Training -----------------------------------------------------------------------------------------------------


@torch.no_grad()
def encode_clips(vae: AutoencoderKL, count: int, source: torch.Generator, batch_size: int = 200) -> dict[str, Tensor]:
    """Latents (N, F, 4, 8, 8) of new clips, half precision, and their scenes (N, 4)."""
    grey, labels = fashion_mnist_tensors("train")
    scenes = draw_scenes(count, source, held_out=False)
    sprites = choose_sprites(labels, scenes, source)
    latents = torch.empty(count, FRAMES, 4, 8, 8, dtype=torch.float16)
    for chosen in each(torch.arange(count).split(batch_size), "encoding", "batches"):
        frames = render(grey[sprites[chosen]].to(vae.device), scenes[chosen], source).flatten(0, 1) * 2 - 1
        means = vae.encode(frames.contiguous(memory_format=torch.channels_last)).latent_dist.mode()
        latents[chosen] = (means * vae.config.scaling_factor).unflatten(0, (len(chosen), FRAMES)).half().cpu()
    columns = (scenes.garment, scenes.colour, scenes.direction, scenes.speed)
    return {"latents": latents, "scenes": torch.stack(columns, 1)}


def cached_clips(vae: AutoencoderKL, recipe: Recipe, work: Path) -> tuple[Tensor, Scenes]:
    """As `encode_clips`, kept in the work folder."""
    source = torch.Generator().manual_seed(recipe.seed)
    state = cached(work / "clips.pt", lambda: encode_clips(vae, recipe.clips, source))
    return state["latents"], Scenes(*state["scenes"].unbind(1))


def reverse_some(latents: Tensor, scenes: Scenes) -> tuple[Tensor, Scenes]:
    """Play half of the clips (N, F, ...) backwards: they then move the opposite way, unless that is held out."""
    there = Scenes(scenes.garment, scenes.colour, scenes.direction ^ 1, scenes.speed)  # left 0, right 1, up 2, down 3
    chosen = (torch.rand(len(scenes), device=latents.device) < 0.5) & ~there.held_out()
    turned = torch.where(chosen.view(-1, *[1] * (latents.ndim - 1)), latents.flip(1), latents)
    return turned, Scenes(
        scenes.garment, scenes.colour, torch.where(chosen, there.direction, scenes.direction), scenes.speed
    )


def draw_batch(
    latents: Tensor, scenes: Scenes, sentences: Tensor, recipe: Recipe, single: bool
) -> tuple[Tensor, Tensor]:
    """Clean latents (N, 4, F, 8, 8), of single frames or of clips, and the tokens (N, L) of a sentence for each."""
    count, device = recipe.frame_batch if single else recipe.clip_batch, latents.device
    chosen = torch.randint(len(latents), (count,), device=device)
    x, shown = reverse_some(latents[chosen].float(), scenes[chosen])
    if single:
        frame = torch.randint(FRAMES // 2, (count,), device=device)
        x = x[torch.arange(count, device=device), frame][:, None]
    saying = torch.randint(sentences.shape[1], (count,), device=device)
    return x.transpose(1, 2), sentences[rank(shown), saying]


def loss_of(model: nn.Module, x: Tensor, ids: Tensor, mask: Tensor, drop_prompt: float) -> Tensor:
    """The squared error of the predicted velocity, over one batch of clean latents (N, 4, F, 8, 8).

    Times are stratified, one from each of N equal parts of the schedule: so the loss varies less from batch to batch.
    """
    times = stratified_times(len(x), x.device)
    signal, noise = shares(x.device)[:, times, None, None, None, None]
    epsilon = torch.randn_like(x)
    dropped, filled = (torch.rand(len(x), device=x.device) < share for share in (drop_prompt, 0.5))
    predicted = model(signal * x + noise * epsilon, times, ids, mask, dropped, filled)
    return (predicted - (signal * epsilon - noise * x)).square().mean()


SCHEDULER = make_scheduler()
shares = functools.cache(functools.partial(noise_table, SCHEDULER))


def train(recipe: Recipe, vae: AutoencoderKL, work: Path, device: torch.device) -> Run:
    """Train; `run.average` are the weights to keep."""
    vae = vae.to(device)
    latents, scenes = cached_clips(vae, recipe, work)
    latents, scenes = latents.to(device), Scenes(*(part.to(device) for part in vars(scenes).values()))
    sentences, judge = sentence_table(recipe.sentences, recipe.stray_words, recipe.seed).to(device), load_judge()
    torch.manual_seed(recipe.seed)
    model = TextToVideo(recipe, len(make_tokenizer())).to(device)
    optimizers = hybrid_optimizers(model, recipe.lr, recipe.weight_decay, "transformer_blocks")
    run = Run(work / "latte.pt", model, optimizers, recipe)

    def loss(single: bool, model: nn.Module) -> Tensor:
        x, ids = draw_batch(latents, scenes, sentences, recipe, single)
        return loss_of(model, x, ids, (ids != PADDING).long(), recipe.drop_prompt)

    losses = {single: functools.partial(loss, single) for single in (True, False)}

    def measure(model: TextToVideo) -> dict:
        """Adherence; of frames that stand still, as long as training knows nothing else."""
        clips = Clips(make_pipeline(model, vae), 1 if run.step <= recipe.frame_steps else FRAMES, batch_size=100)
        videos, shown = generate(clips, 100, held_out=False)
        return judge_videos(judge, videos.expand(-1, FRAMES, -1, -1, -1), shown).rates()

    run.fit(
        recipe.steps,
        rate_at=lambda step: recipe.lr * warmup_cosine(step, recipe.schedule, recipe.warmup),
        loss_at=lambda step: losses[step < recipe.frame_steps or step % recipe.frame_every == 0],
        measure=measure,
        every=max(1, recipe.steps // 8),
    )
    return run


def generate(
    clips: Clips, count: int, held_out: bool, language: str = "en", said: tuple[str, ...] = SAID
) -> tuple[Tensor, Scenes]:
    """`count` clips (N, F, 3, 64, 64) of plainly worded prompts, and what they should show, as far as they say it."""
    scenes = draw_scenes(count, torch.Generator().manual_seed(1), held_out)
    seeds = [sample_seed(0, k) for k in range(count)]
    prompts = encode(clips.pipeline, captions(scenes, language=language, said=said))
    return clips.videos(prompts, seeds, SETTINGS), scenes


# --- What ships ---------------------------------------------------------------------------------------------------


CARD = """\
---
license: apache-2.0
library_name: diffusers
pipeline_tag: text-to-video
datasets: [fashion_mnist]
---

# Latte-mini

Text to video in miniature: {frames} frames of 64x64 pixels, on which a tinted garment of Fashion-MNIST drifts over a
black canvas, from a sentence such as "a red sneaker moving left quickly" or 一只红色的运动鞋快速向左移动. It was
trained for a lesson. Load it with `diffusers` alone:

```python
pipeline = LattePipeline.from_pretrained(folder)
pipeline("a red sneaker moving left", video_length={frames}, height=64, width=64, clean_caption=False)
```

| part | | parameters |
|---|---|---|
| `transformer` | `LatteTransformer3DModel`, {layers} spatial and temporal blocks of width {width} | {transformer:,} |
| `text_encoder` | `T5EncoderModel`, {text_layers} layers of width {text_width} | {text_encoder:,} |
| `tokenizer` | a token for each of {words} words, English and Chinese; all others are cut into pieces | |
| `vae` | VAE-mini, which lesson 3 shares | {vae:,} |
| `scheduler` | DDIM, velocity prediction, zero terminal signal-to-noise ratio | |

The published model keeps its text encoder, a T5-XXL, as it is; this one learned with the transformer. The transformer's
weights are stored in half precision.

| | |
|---|---|
| data | {clips:,} clips of moving garments, drawn from Fashion-MNIST's training images (Xiao et al. 2017) |
| left out | a tenth of the combinations of garment, colour and direction |
| recipe | {command}, seed {seed} |
| training | {steps:,} steps, {minutes:.0f} minutes on {device} |
| a step | of {clip_batch} clips; the first {frame_steps:,} and later one in {frame_every}: {frame_batch} early frames |
| sampled with | {sampler} |

How often a clip shows what its prompt says, on {count} prompts:

| | colour | direction | speed | garment | the garment stays the same | flicker of the hue | brightness |
|---|---|---|---|---|---|---|---|
{rows}

The last row is the ceiling: drawn clips of test images, through VAE-mini and back, judged in the same way. Flicker is
the root mean square distance of a frame's hue from its clip's.

A sentence need not say everything. Of {partial_count} clips each, how often they show what is said (%), and how varied
the rest is (1 if each is as likely as any other):

| said, beside the garment | garment | colour | direction | speed |
|---|---|---|---|---|
{partial_rows}

Of the plain English sentences {translations_found:.0%} lie nearest to their own Chinese translation, by the mean of
their embeddings.

`training.csv` has the loss and the adherence (on 100 prompts) during training; `metrics.json` all numbers of this card
and every setting of the recipe.

**Limits.** It knows {words} words, one garment at a time, straight paths through the middle and two speeds. A motion
without a word for its speed is slow.
"""

ROWS = {
    "seen": "English, combinations seen in training",
    "held_out": "**English, combinations never seen**",
    "seen_zh": "Chinese, combinations seen in training",
    "held_out_zh": "**Chinese, combinations never seen**",
    "ceiling": "drawn, not generated",
}


@torch.inference_mode()
def judge_clips(clips: Clips, count: int = 200) -> dict[str, dict[str, dict[str, float]]]:
    """Adherence and looks on both kinds of combinations in each language (English where none is named), and of drawn
    clips of test images after the VAE.
    """
    judge, source = load_judge(), torch.Generator().manual_seed(2)
    asked = {"seen": (False, "en"), "held_out": (True, "en"), "seen_zh": (False, "zh"), "held_out_zh": (True, "zh")}
    kinds = each([*asked.items()], "sampling", "kinds of sentences")
    found = {name: look(judge, *generate(clips, count, *kind)) for name, kind in kinds}
    grey, labels = fashion_mnist_tensors("test")
    scenes = draw_scenes(count, source, held_out=False)
    drawn = render(grey[choose_sprites(labels, scenes, source)], scenes, source)
    after = reconstruct(clips.pipeline.vae, drawn.flatten(0, 1)).unflatten(0, drawn.shape[:2])
    found["ceiling"] = look(judge, after, scenes)
    return {part: {name: both[part] for name, both in found.items()} for part in ("adherence", "looks")}


def look(judge: Judge, videos: Tensor, scenes: Scenes) -> dict[str, dict[str, float]]:
    """Adherence, and how clips look: the flicker of their hue in degrees, and their brightness in [0, 1]."""
    footage = Footage(videos)
    looks = {"flicker": footage.hue_flicker, "brightness": footage.brightness}
    return {
        "adherence": judge_videos(judge, videos, scenes).rates(),
        "looks": {name: seen.mean().item() for name, seen in looks.items()},
    }


@torch.inference_mode()
def judge_partial(clips: Clips, count: int = 50) -> dict[str, dict[str, float]]:
    """Of sentences that leave something open, by language and by what they say: how often that is shown, the garment
    included, and how varied the rest is, see `variety`.
    """
    judge, found = load_judge(), {}
    forms = [*itertools.product(LANGUAGES, sorted({form for form in FORMS if form != SAID}))]
    for language, said in each(forms, "sampling", "kinds of open sentences"):
        videos, asked = generate(clips, count, False, language, said)
        seen = Footage(videos).scenes(judge)
        found[" ".join((language, *said))] = {
            name: (getattr(seen, name) == getattr(asked, name)).float().mean().item()
            if name in ("garment", *said)
            else variety(getattr(seen, name), SIZES[name])
            for name in SIZES
        }
    return found


@torch.no_grad()
def translations_found(pipeline: LattePipeline) -> float:
    """Of the plain English sentences, the share whose nearest Chinese one says the same, by the means of embeddings."""
    every = Scenes(*torch.cartesian_prod(*map(torch.arange, SIZES.values())).T)
    places = []
    for language in LANGUAGES:
        words = pipeline.tokenizer(captions(every, language=language), padding=True, return_tensors="pt")
        embedded = pipeline.text_encoder(**words)[0] * words.attention_mask[:, :, None]
        places.append(embedded.sum(1) / words.attention_mask.sum(1, keepdim=True))
    return (torch.cdist(*places).argmin(1) == torch.arange(len(every))).float().mean().item()


def export(run: Run, vae: AutoencoderKL, share: float, out: Path) -> None:
    """Write the pipeline's folder, with its card, its curve and its measurements."""
    learned = run.average.cpu().eval()
    learned.transformer.half()
    make_pipeline(learned, vae.cpu().half()).save_pretrained(out)  # as the VAE is stored itself
    pipeline = LattePipeline.from_pretrained(out)  # what ships is what is judged, in single precision again
    parts = {name: part for name, part in pipeline.components.items() if isinstance(part, nn.Module)}
    metrics = judge_clips(Clips(pipeline, FRAMES, batch_size=50)) | {
        "partial": judge_partial(Clips(pipeline, FRAMES, batch_size=50)),
        "translations_found": translations_found(pipeline),
        "parameters": {name: sum(p.numel() for p in part.parameters()) for name, part in parts.items()},
        "training_minutes": minutes_of(run.rows),
        "settings": asdict(SETTINGS),
        "recipe": asdict(run.recipe),
    }
    write_report(out, run.rows, metrics, card(metrics, share, run.devices))


def card(metrics: dict, share: float, devices: list[str]) -> str:
    """The model card, with measured numbers only."""
    recipe = metrics["recipe"]

    def row(words: str, cells: list[str]) -> str:
        return f"| {' | '.join([words, *cells])} |"

    def seen(kind: str) -> list[str]:
        shares, looks = metrics["adherence"][kind].values(), metrics["looks"][kind]
        return [*(f"{share:.1%}" for share in shares), f"{looks['flicker']:.1f}°", f"{looks['brightness']:.2f}"]

    def open_parts(form: str, found: dict[str, float]) -> list[str]:
        said = ["garment", *form.split()[1:]]
        return [f"{value:.0%}" if name in said else f"varies, {value:.2f}" for name, value in found.items()]

    rows = [row(words, seen(kind)) for kind, words in ROWS.items()]
    partial = [
        row(f"{form[:2]}: {', '.join(form.split()[1:]) or 'nothing'}", open_parts(form, found))
        for form, found in metrics["partial"].items()
    ]
    return CARD.format(
        **recipe,
        **metrics["parameters"],
        command=command_of("latte", share),
        frames=FRAMES,
        words=len(known_pieces()),
        minutes=metrics["training_minutes"],
        device=" and ".join(devices),
        sampler=str(Settings(**metrics["settings"])),
        count=200,
        rows="\n".join(rows),
        translations_found=metrics["translations_found"],
        partial_count=50,
        partial_rows="\n".join(partial),
    )


def main(out: Path, work: Path, device: torch.device, share: float = 1.0) -> None:
    """Train Latte-mini."""
    vae = AutoencoderKL.from_pretrained(fetch("vae", "mini")).eval().requires_grad_(False)
    vae.register_to_config(_name_or_path="vae-mini")  # diffusers would write down where on this machine it was
    run = train(shortened(Recipe(), share), vae, work, device)
    export(run, vae.cpu(), share, out)


if __name__ == "__main__":
    command(main)
