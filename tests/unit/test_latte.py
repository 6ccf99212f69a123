"""Clips from sentences: the same as diffusers' own pipeline makes of one prompt, and the same in any company."""

import json
import re
import warnings
from dataclasses import replace

import numpy as np
import pytest
import t5_tokenizer
import tiny_latte
import torch
from diffusers import AutoencoderKLTemporalDecoder, LattePipeline
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from tutorial_utils import runtime
from tutorial_utils.assets import store
from tutorial_utils.assets.copies import AssetError
from tutorial_utils.sampling import latte, latte_model, latte_words, shards
from tutorial_utils.sampling.diffusion import (
    SCHEDULERS,
    Settings,
    draw_noise,
    generators,
    last,
    make_scheduler,
    sample,
    sample_seed,
)
from tutorial_utils.sampling.latte import (
    Clips,
    PromptWarning,
    encode,
    prompted_network,
    sample_to_folder,
    schedule_of,
)
from tutorial_utils.sampling.latte_config import Config
from tutorial_utils.sampling.latte_model import load_pipeline
from tutorial_utils.sampling.sampler import Sampler

pytestmark = pytest.mark.usefixtures("one_thread")

PROMPTS = ["a red sneaker moving left", "a blue coat", "a blue coat moving right quickly"]  # of different lengths
SEEDS = [3, 4, 5]
QUICK = Settings(scheduler="dpm-multi", steps=3, guidance_scale=4.0)


@pytest.fixture(scope="module")
def pipeline() -> LattePipeline:
    built = tiny_latte.build()
    built.set_progress_bar_config(disable=True)
    return built


@pytest.fixture(scope="module")
def folder(pipeline, tmp_path_factory):
    """The pipeline on disk, with a temporal decoder beside it as Latte-1 has one."""
    folder = tmp_path_factory.mktemp("model")
    pipeline.save_pretrained(folder)
    blocks = {"block_out_channels": (32,) * 4, "down_block_types": ("DownEncoderBlock2D",) * 4}
    AutoencoderKLTemporalDecoder(**blocks, layers_per_block=1).save_pretrained(folder / "vae_temporal_decoder")
    return folder


def configured(model, **changes) -> Config:
    return tiny_latte.configured(model, **{"prompts": PROMPTS} | changes)


def noise(seeds: list[int], frames: int = 8) -> torch.Tensor:
    return draw_noise(generators(seeds), (4, frames, 8, 8))


# --- The pipeline's own clip --------------------------------------------------------------------------------------


def ours(pipeline, prompts, seeds, negative="", steps=8, scale=7.5, frames=8, temporal=True) -> torch.Tensor:
    """Latents sampled by the course's loop with the pipeline's own scheduler."""
    encoded, labels = encode(pipeline, prompts, negative), torch.arange(len(prompts))
    network = prompted_network(pipeline.transformer, encoded, temporal)
    guidance = {"guidance_scale": scale, "null_label": labels + len(prompts)}
    return last(sample(network, pipeline.scheduler, noise(seeds, frames), labels, steps=steps, **guidance)).latent


def theirs(pipeline, prompts, seeds, negative="", steps=8, scale=7.5, frames=8, temporal=True, output="latent"):
    """The same by `LattePipeline.__call__`."""
    return pipeline(
        prompts,
        negative_prompt=negative,
        num_inference_steps=steps,
        guidance_scale=scale,
        video_length=frames,
        height=64,
        width=64,
        latents=noise(seeds, frames),
        enable_temporal_attentions=temporal,
        clean_caption=False,
        output_type=output,
    ).frames


@pytest.mark.parametrize("negative", ["", "slowly", "a slowly red coat moving up quickly left right up"])
@pytest.mark.parametrize(("prompt", "seed"), list(zip(PROMPTS, SEEDS, strict=True)))
def test_a_clip_is_the_one_that_the_pipeline_makes_of_its_prompt(pipeline, prompt, seed, negative):
    expected = theirs(pipeline, prompt, [seed], negative)
    assert torch.allclose(ours(pipeline, [prompt], [seed], negative), expected, atol=1e-4)


@pytest.mark.parametrize(
    "change", [{"scale": 1.0}, {"frames": 1}, {"temporal": False}, {"steps": 50}], ids=lambda change: next(iter(change))
)
def test_every_dial_does_what_the_pipelines_does(pipeline, change):
    expected = theirs(pipeline, PROMPTS[0], SEEDS[:1], **change)
    assert torch.allclose(ours(pipeline, PROMPTS[:1], SEEDS[:1], **change), expected, atol=1e-4)
    plain = ours(pipeline, PROMPTS[:1], SEEDS[:1])
    assert plain.shape != expected.shape or not torch.allclose(plain, expected, atol=1e-2)


def test_a_clip_is_decoded_as_the_pipeline_does(pipeline):
    expected = theirs(pipeline, PROMPTS[0], SEEDS[:1], output="np")
    videos = Clips(pipeline, 8).decode(theirs(pipeline, PROMPTS[0], SEEDS[:1]))
    assert videos.shape == (1, 8, 3, 64, 64) and videos.min() >= 0 and videos.max() <= 1
    assert np.abs(videos.permute(0, 1, 3, 4, 2).numpy() - expected).max() < 1e-4


def test_a_clip_does_not_depend_on_its_company_as_the_pipelines_does(pipeline):
    together = ours(pipeline, PROMPTS, SEEDS)
    for k, latent in enumerate(together):
        alone = theirs(pipeline, PROMPTS[k], SEEDS[k : k + 1])
        assert torch.allclose(latent, alone[0], atol=1e-4)
    assert not torch.allclose(theirs(pipeline, PROMPTS, SEEDS), together, atol=0.1)


# --- Schedulers by name -------------------------------------------------------------------------------------------


def test_a_scheduler_keeps_the_schedule_that_the_model_was_trained_on(pipeline):
    for name in set(SCHEDULERS) - {"dpm-single"}:
        scheduler = make_scheduler(name, schedule_of(pipeline.scheduler.config))
        options = scheduler.config
        assert options.rescale_betas_zero_snr and options.timestep_spacing == "trailing", name
        assert options.prediction_type == "v_prediction" and options.final_sigmas_type == "zero", name
        assert torch.allclose(scheduler.alphas_cumprod, pipeline.scheduler.alphas_cumprod, atol=1e-6), name


def test_ddim_by_name_is_the_pipelines_own(pipeline):
    prompts = encode(pipeline, PROMPTS[:1])
    settings = Settings(scheduler="ddim", steps=8, guidance_scale=7.5)
    latent = last(Clips(pipeline, 8).sampler(prompts).steps(torch.tensor([0]), SEEDS[:1], settings)).latent
    assert torch.allclose(latent, theirs(pipeline, PROMPTS[0], SEEDS[:1]), atol=0.01)


def test_a_scheduler_that_cannot_start_from_pure_noise_is_refused(pipeline):
    with pytest.raises(ValueError, match=r"'dpm-single' cannot start .* choose one of dpm-multi, unipc, ddim, euler"):
        make_scheduler("dpm-single", schedule_of(pipeline.scheduler.config))


def test_a_schedulers_view_of_a_predicted_variance_does_not_matter(pipeline):
    config = {**pipeline.scheduler.config, "variance_type": "learned_range"}
    scheduler = make_scheduler("dpm-multi", schedule_of(config))
    scheduler.set_timesteps(3)
    latent = noise([0])
    assert scheduler.step(latent, scheduler.timesteps[0], latent).prev_sample.shape == latent.shape


# --- Prompts ------------------------------------------------------------------------------------------------------


def test_prompts_are_filled_up_to_the_longest_and_can_be_cut_into_batches(pipeline):
    prompts = encode(pipeline, PROMPTS, "slowly")
    assert prompts.lengths.tolist() == [6, 4, 7]  # with the token that ends each
    assert prompts.embeddings.shape == prompts.negatives.shape == (3, 7, 32)
    part = prompts[1:]
    assert len(part) == 2 and part.texts == tuple(PROMPTS[1:]) and part.lengths.tolist() == [4, 7]
    assert torch.equal(part.embeddings, prompts.embeddings[1:]) and torch.equal(part.negatives, prompts.negatives[1:])


def test_case_and_outer_spaces_do_not_matter_and_nothing_is_said_of_a_known_prompt(pipeline):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plain, loud, nothing = (encode(pipeline, [text]) for text in ("a red coat", " A RED coat ", ""))
    assert torch.equal(plain.embeddings, loud.embeddings)
    assert nothing.lengths.tolist() == [1]


@pytest.mark.parametrize("negative", [False, True])
def test_unknown_words_are_named(pipeline, negative):
    text = "a red zebra moving home, zebra"
    prompts = ["a coat"] if negative else [text]
    said = "'a red zebra moving home, zebra': the sign , was ignored, and the model does not know zebra, home.$"
    with pytest.warns(PromptWarning, match=said):
        encode(pipeline, prompts, text if negative else "")


@pytest.mark.parametrize("text", ["A bag, moving left!", "?! …", "一只红色的运动鞋，快速向左移动。", "青包向左走"])
def test_known_words_are_not_warned_of(pipeline, text):
    with warnings.catch_warnings():
        warnings.simplefilter("error", PromptWarning)
        encode(pipeline, [text])


@pytest.mark.parametrize(
    ("typed", "ignored"),
    [
        ("a red，t-shirt，moving left", "，"),
        ("“a red t-shirt” moving ‘left’…", "“ ” ‘ ’ …"),
        ("a (red) [t-shirt]; *moving* left", "( ) [ ] ; *"),
        ("a_red_t-shirt/moving/left", "_ /"),
        ("a — red t‑shirt moving–left", "— –"),
        ("a red t-shirt 👕 moving ⬅️ left", "👕 ⬅"),
        ("«a red-t-shirt» 「moving」 left ", "« - » 「 」"),
    ],
)
def test_signs_that_hide_words_are_ignored_and_said_to_be(pipeline, typed, ignored):
    with pytest.warns(PromptWarning) as caught:
        prompts = encode(pipeline, [typed])
    assert len(caught) == 1 and re.search(
        rf": the signs? {re.escape(ignored)} w(as|ere) ignored\.$", str(caught[0].message)
    )
    assert prompts.texts == (typed,) and prompts.read == ("a red t-shirt moving left",)
    assert torch.equal(prompts.embeddings, encode(pipeline, ["a red t-shirt moving left"]).embeddings)


@pytest.mark.parametrize(
    "typed", [" a red coat ", "ａ ＲＥＤ coat", "a\u200b red\tco\u00adat", "\ufeffa red\u3000coat\n"]
)
def test_blanks_and_full_width_letters_are_not_worth_a_word(pipeline, typed):
    with warnings.catch_warnings():
        warnings.simplefilter("error", PromptWarning)
        prompts = encode(pipeline, [typed])
    assert torch.equal(prompts.embeddings, encode(pipeline, ["a red coat"]).embeddings)


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("«» 👕", "the signs « » 👕 were ignored, and nothing is left to read"),
        ("一只红色的猫 bag", "the model does not know 一只红色的猫"),
        ("a bag 24", "the model does not know 24"),
        ("isn't zebra", "the model knows no word of it: isn't, zebra"),
        ("a हिन्दी", "the model does not know हिन्दी"),
    ],
)
def test_a_sentence_of_which_little_or_nothing_is_left_says_so(pipeline, typed, said):
    with pytest.warns(PromptWarning, match=f": {said}.$"):
        encode(pipeline, [typed])


@pytest.mark.parametrize(
    "typed", ["a dog, floats!", "{a} dog", "?!…", "A dog，in space。", "a dog’s “sea”", "红色 dog"]
)
def test_a_tokenizer_that_knows_pieces_of_words_is_given_what_was_typed(tmp_path, typed):
    t5_tokenizer.write(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    assert latte_words.read(tokenizer, f" {typed}\n") == (typed.lower(), [])


def test_a_tokenizer_of_whole_words_reads_words_without_their_signs():
    """As every word that it has not learned is the same token to it."""
    words = Tokenizer(models.WordLevel({"<unk>": 0, "a": 1, "red": 2, "t-shirt": 3}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>")
    assert latte_words.read(tokenizer, "A red T-shirt, zebra!") == ("a red t-shirt zebra", [",", "!"])
    assert [word for word in ("red", "red,", "zebra") if latte_words.knows(tokenizer, word)] == ["red"]


def test_what_is_no_text_is_refused(pipeline):
    with pytest.raises(ValueError, match="the prompt 5 is no text: put it in quotes"):
        encode(pipeline, ["a red bag", 5])


@pytest.mark.parametrize(
    ("chosen", "said"), [(slice(3, 4), "none of the 3: there are 0 to 2"), (0, "such as prompts.0:1.")]
)
def test_prompts_that_are_not_there_are_refused(pipeline, chosen, said):
    with pytest.raises(ValueError, match=said):
        encode(pipeline, PROMPTS)[chosen]


def test_long_sentences_are_short_above_a_clip(pipeline):
    with pytest.warns(PromptWarning):
        short, long = encode(pipeline, [PROMPTS[0], "a red " + "very " * 130 + "bag"]).captions
    assert short == PROMPTS[0] and long.startswith("a red very") and long.endswith("very bag") and len(long) < 60


def test_what_is_cut_off_a_prompt_that_is_too_long_is_quoted(pipeline):
    text = " ".join(["red"] * 119 + ["coat", "moving", "left"])
    with pytest.warns(PromptWarning, match=r"longer than 120 tokens: 'coat moving left' was cut off") as caught:
        prompts = encode(pipeline, [text])
    assert len(caught) == 1 and prompts.lengths.tolist() == [120]
    with warnings.catch_warnings():
        warnings.simplefilter("error", PromptWarning)
        assert torch.equal(encode(pipeline, [" ".join(["red"] * 119)]).embeddings, prompts.embeddings)


def test_no_prompts_at_all_are_refused(pipeline):
    with pytest.raises(ValueError, match="no prompts"):
        encode(pipeline, [])


def test_one_text_is_not_read_as_many_letters(pipeline):
    with pytest.raises(ValueError, match="prompts='a red bag' is one text"):
        latte.encode(pipeline, "a red bag")


# --- Clips --------------------------------------------------------------------------------------------------------


def test_clips_are_the_same_in_every_batch_and_order(pipeline):
    clips, prompts = Clips(pipeline, 8), encode(pipeline, PROMPTS)
    together = clips.videos(prompts, SEEDS, QUICK)
    in_parts = replace(clips, batch_size=2).videos(prompts, SEEDS, QUICK)
    reversed_ = clips.videos(encode(pipeline, PROMPTS[::-1]), SEEDS[::-1], QUICK).flip(0)
    assert together.shape == (3, 8, 3, 64, 64) and together.device.type == "cpu"
    assert torch.allclose(together, in_parts, atol=1e-4) and torch.allclose(together, reversed_, atol=1e-4)


def test_a_seed_is_a_clip(pipeline):
    clips, prompts = Clips(pipeline, 8), encode(pipeline, PROMPTS[:1])
    first, again, other = (clips.videos(prompts, [seed], QUICK) for seed in (7, 7, 8))
    assert torch.equal(first, again) and not torch.allclose(first, other, atol=0.01)


def test_the_steps_lead_from_noise_to_the_clip(pipeline):
    clips, prompts = Clips(pipeline, 8), encode(pipeline, PROMPTS)
    steps = list(clips.sampler(prompts).steps(torch.arange(3), SEEDS, replace(QUICK, guidance_interval=(0, 100))))
    assert [step.latent.shape for step in steps] == [(3, 4, 8, 8, 8)] * 3
    assert [step.evaluations for step in steps] == [1, 3, 5], "the first step begins above the interval"
    assert torch.allclose(steps[-1].latent, steps[-1].clean, atol=1e-4), "the end is a clean clip"


@pytest.mark.parametrize("frames", [1, 8])
def test_clips_have_the_frames_that_were_asked_for(pipeline, frames):
    videos = Clips(pipeline, frames).videos(encode(pipeline, PROMPTS[:1]), [0], QUICK)
    assert videos.shape == (1, frames, 3, 64, 64)


def test_as_many_seeds_as_prompts_are_needed(pipeline):
    with pytest.raises(ValueError, match="2 seeds were given for 3 samples"):
        Clips(pipeline, 8).videos(encode(pipeline, PROMPTS), [1, 2], QUICK)


# --- Loading ------------------------------------------------------------------------------------------------------


def test_a_folder_is_loaded_in_the_precision_that_was_asked_for(folder, pipeline):
    cpu = torch.device("cpu")
    automatic = load_pipeline(configured(folder), device=cpu)
    parts = (automatic.vae, automatic.transformer, automatic.text_encoder)
    assert all(part.dtype == torch.float32 and not part.training for part in parts)
    expected = Clips(pipeline, 8).videos(encode(pipeline, PROMPTS), SEEDS, QUICK)
    assert torch.allclose(Clips(automatic, 8).videos(encode(automatic, PROMPTS), SEEDS, QUICK), expected, atol=1e-4)

    half = load_pipeline(configured(folder, precision="bfloat16"), device=cpu)
    assert all(part.dtype == torch.bfloat16 for part in (half.vae, half.transformer, half.text_encoder))
    videos = Clips(half, 8).videos(encode(half, PROMPTS[:1]), [0], QUICK)
    assert videos.dtype == torch.float32 and videos.isfinite().all()


@pytest.mark.parametrize("frames", [1, 8])
def test_a_temporal_decoder_takes_the_vaes_place(folder, frames):
    loaded = load_pipeline(configured(folder, temporal_vae_decoder=True), device=torch.device("cpu"))
    assert isinstance(loaded.vae, AutoencoderKLTemporalDecoder)
    videos = Clips(loaded, frames).videos(encode(loaded, PROMPTS[:1]), [0], QUICK)
    assert videos.shape == (1, frames, 3, 64, 64) and videos.isfinite().all()


@pytest.mark.parametrize(
    ("change", "lines"),
    [
        ({"frames": 16, "height": 512}, ["frames: 16 .* must be 1 or 8.$", "height: 512 .* must be 64.$"]),
        ({"scheduler": "dpm-single"}, ["'dpm-single' cannot start"]),
        (
            {"cpu_offload": True, "precision": "float16"},
            ["cpu_offload: true needs a CUDA GPU.* is cpu: set it to false", "precision: float16 .* set it to auto"],
        ),
    ],
    ids=str,
)
def test_what_the_model_or_the_machine_cannot_do_is_refused_before_weights_are_read(folder, monkeypatch, change, lines):
    monkeypatch.setattr(LattePipeline, "from_pretrained", None)
    tiny_latte.assert_refused(configured(folder, **change), "cpu", lines)


def test_a_model_that_is_none_is_refused(folder, tmp_path):
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": "StableDiffusionPipeline"}))
    for model in ("lattte", "vit", tmp_path):
        with pytest.raises(ValueError, match="is not allowed: it must be latte, or a folder"):
            load_pipeline(configured(model), device=torch.device("cpu"))


def test_a_missing_temporal_decoder_is_named(pipeline, folder, tmp_path):
    for path in folder.iterdir():
        if path.name != "vae_temporal_decoder":
            (tmp_path / path.name).symlink_to(path)
    with pytest.raises(ValueError, match="temporal_vae_decoder: .* has none: set it to false"):
        load_pipeline(configured(tmp_path, temporal_vae_decoder=True), device=torch.device("cpu"))


def test_an_asset_is_fetched_by_its_name_and_scale(folder, monkeypatch):
    def fetch(name, scale):
        assert (name, scale) == ("latte", "full")
        raise AssetError("no network")

    monkeypatch.setattr(store, "fetch", fetch)
    with pytest.raises(AssetError, match="no network"):
        load_pipeline(configured("latte"), "full", torch.device("cpu"))


def test_a_large_model_is_used_in_half_precision_on_its_own(folder, monkeypatch):
    asked = []
    monkeypatch.setattr(runtime, "dtype", lambda where, large: asked.append(large) or torch.bfloat16)
    for limit in (latte_model.LARGE, 1e5):
        monkeypatch.setattr(latte_model, "LARGE", limit)
        assert load_pipeline(configured(folder), device=torch.device("cpu")).transformer.dtype == torch.bfloat16
    assert asked == [False, True]


# --- A folder of clips --------------------------------------------------------------------------------------------

STEMS = ["000-a-red-sneaker-moving-left", "001-a-blue-coat", "002-a-blue-coat-moving-right-quickly"]


@pytest.fixture
def drawn(monkeypatch) -> list[list[int]]:
    """The labels of the batches that were sampled."""
    batches, samples = [], Sampler.samples
    monkeypatch.setattr(
        Sampler, "samples", lambda self, labels, *rest: batches.append(labels.tolist()) or samples(self, labels, *rest)
    )
    return batches


def test_a_folder_holds_each_clip_as_video_and_as_frames_and_all_as_numbers(pipeline, tmp_path):
    config, clips, prompts = configured("latte", fps=4, seed=7), Clips(pipeline, 8), encode(pipeline, PROMPTS)
    sample_to_folder(clips, prompts, config, tmp_path)
    files = [f"{stem}.{suffix}" for stem in STEMS for suffix in ("gif", "mp4", "png")]
    assert sorted(path.name for path in tmp_path.iterdir()) == [*files, "request.json", "samples.npz"]

    with np.load(tmp_path / "samples.npz") as saved:
        seeds = [sample_seed(7, k) for k in range(3)]
        assert saved["seeds"].tolist() == seeds and saved["prompts"].tolist() == PROMPTS
        expected = clips.videos(prompts, seeds, config.settings).permute(0, 1, 3, 4, 2).numpy()
        assert np.abs(saved["videos"] / 255 - expected).max() < 0.5 / 255 + 1e-4
        sheet = np.asarray(Image.open(tmp_path / f"{STEMS[1]}.png"))
        assert np.array_equal(sheet, np.concatenate(saved["videos"][1], axis=1))
    with Image.open(tmp_path / f"{STEMS[0]}.gif") as gif:
        assert gif.n_frames == 8 and gif.size == (256, 256) and gif.info["duration"] == 250


def test_an_interrupted_run_goes_on_with_the_next_clip(pipeline, tmp_path, drawn):
    config, clips, prompts = configured("latte"), Clips(pipeline, 8), encode(pipeline, PROMPTS)

    def interrupt(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sample_to_folder(clips, prompts, config, tmp_path, interrupt)
    assert (tmp_path / f"{STEMS[1]}.mp4").exists() and not (tmp_path / "samples.npz").exists()
    for _ in range(2):
        sample_to_folder(clips, prompts, config, tmp_path)
    assert drawn == [[0], [1], [2]], "a finished folder is left alone"
    assert not (tmp_path / "parts").exists()


@pytest.mark.parametrize("change", [{"seed": 1}, {"negative_prompt": "slowly"}, {"steps": 4}], ids=str)
def test_a_folder_of_another_configuration_is_refused(pipeline, tmp_path, change):
    clips, prompts = Clips(pipeline, 1), encode(pipeline, PROMPTS[:1])
    sample_to_folder(clips, prompts, configured("latte", out="here"), tmp_path)
    sample_to_folder(clips, prompts, configured("latte", out="there"), tmp_path)  # a folder may be called otherwise
    with pytest.raises(ValueError, match="another request"):
        sample_to_folder(clips, prompts, configured("latte", **change), tmp_path)


def test_a_part_that_another_machine_kept_to_itself_is_named(tmp_path):
    (tmp_path / "parts").mkdir()
    with pytest.raises(ValueError, match="parts lacks 00000002.npz: all machines must share"):
        shards._read([tmp_path / "parts/00000002.npz"])


def test_a_clip_that_is_large_already_is_not_enlarged(tmp_path):
    latte.save_clip(np.zeros((10, 8, 300, 3), np.uint8), tmp_path / "wide.clip", 8, "nothing")
    assert Image.open(tmp_path / "wide.clip.gif").size == (300, 8)
    assert Image.open(tmp_path / "wide.clip.png").size == (8 * 300, 2 * 8), "two rows of frames"


def test_file_names_hold_letters_and_numbers_only():
    assert latte.file_stem(3, "A dog, in/space: ../é!") == "003-a-dog-in-space"
    assert latte.file_stem(12, "红色") == "012" and len(latte.file_stem(1, "x" * 500)) == 44
