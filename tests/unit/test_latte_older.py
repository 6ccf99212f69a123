"""Latte's older layout becomes the very pipeline that diffusers' layout does, and what does not fit is refused.

The folders are made here, as the authors' programs write and read them; the published files are too large for a test.
"""

import inspect
import json
from pathlib import Path

import pytest
import tiny_latte
import torch
from diffusers import (
    AutoencoderKLTemporalDecoder,
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    LattePipeline,
    LatteTransformer3DModel,
)

from tutorial_utils.assets import store
from tutorial_utils.sampling import latte_older
from tutorial_utils.sampling.diffusion import Settings, draw_noise, generators, last
from tutorial_utils.sampling.latte import Clips, encode
from tutorial_utils.sampling.latte_config import Config
from tutorial_utils.sampling.latte_model import load_pipeline
from tutorial_utils.sampling.latte_older import Older

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = torch.device("cpu")
PROMPTS = ["a red sneaker moving left", "a blue coat"]
QUICK = Settings(scheduler="dpm-multi", steps=2, guidance_scale=4.0)
INSTEAD = "python -m tutorial_utils assets fetch latte --scale full"
PIXART = {  # the configuration of its transformer: some keys are not of Latte's
    "_class_name": "Transformer2DModel",
    "_diffusers_version": "0.22.0.dev0",
    "activation_fn": "gelu-approximate",
    "attention_bias": True,
    "attention_head_dim": 72,
    "attention_type": "default",
    "caption_channels": 4096,
    "cross_attention_dim": 1152,
    "double_self_attention": False,
    "dropout": 0.0,
    "in_channels": 4,
    "norm_elementwise_affine": False,
    "norm_eps": 1e-06,
    "norm_num_groups": 32,
    "norm_type": "ada_norm_single",
    "num_attention_heads": 16,
    "num_embeds_ada_norm": 1000,
    "num_layers": 28,
    "num_vector_embeds": None,
    "only_cross_attention": False,
    "out_channels": 8,
    "patch_size": 2,
    "sample_size": 64,
    "upcast_attention": False,
    "use_linear_projection": False,
}


@pytest.fixture(scope="module")
def pipeline() -> LattePipeline:
    """Clips of 16 frames, on the schedule of the authors' sampler."""
    built = tiny_latte.build()
    transformer = LatteTransformer3DModel.from_config(built.transformer.config, video_length=16)
    transformer.load_state_dict(built.transformer.state_dict())
    scheduler = DDIMScheduler(timestep_spacing="linspace", clip_sample=False)  # the class has the authors' betas
    return LattePipeline(**built.components | {"transformer": transformer.eval(), "scheduler": scheduler})


@pytest.fixture(scope="module")
def state(pipeline) -> dict[str, torch.Tensor]:
    """A state dict of the authors' class: an old diffusers registered one more embedding."""
    return {**pipeline.transformer.state_dict(), "caption_projection.y_embedding": torch.randn(120, 32)}


@pytest.fixture(scope="module")
def folder(pipeline, state, tmp_path_factory) -> Path:
    """The pipeline in the older layout."""
    folder = tmp_path_factory.mktemp("older")
    parts = folder / "t2v_required_models"
    for name in ("tokenizer", "text_encoder", "vae"):
        pipeline.components[name].save_pretrained(parts / name)
    scheduler = DPMSolverMultistepScheduler(beta_start=0.1, beta_schedule="scaled_linear", timestep_spacing="linspace")
    scheduler.save_pretrained(parts / "scheduler")  # only its spacing counts
    blocks = {"block_out_channels": (32,) * 4, "down_block_types": ("DownEncoderBlock2D",) * 4}
    AutoencoderKLTemporalDecoder(**blocks, layers_per_block=1).save_pretrained(parts / "vae_temporal_decoder")
    (parts / "transformer").mkdir()
    sizes = {key: value for key, value in pipeline.transformer.config.items() if key in PIXART and key[0] != "_"}
    (parts / "transformer/config.json").write_text(json.dumps(PIXART | sizes))
    torch.save({"ema": state}, folder / "t2v.pt")
    return folder


def linked(folder: Path, target: Path, without: str) -> Path:
    """The same folder without one of its files or folders."""
    for path in folder.rglob("*"):
        name = path.relative_to(folder)
        if path.is_file() and not name.is_relative_to(without):
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (target / name).symlink_to(path)
    return target


def with_weights(folder: Path, target: Path, content: object) -> Path:
    """The same folder with another content of t2v.pt."""
    torch.save(content, linked(folder, target, "t2v.pt") / "t2v.pt")
    return target


def configured(model: Path, **changes) -> Config:
    return tiny_latte.configured(model, **{"steps": 2, "frames": 16, "prompts": PROMPTS} | changes)


@torch.no_grad()
def output_of(pipeline: LattePipeline) -> torch.Tensor:
    x = draw_noise(generators([0]), (4, 16, 8, 8))
    text = torch.randn(1, 5, 32, generator=torch.Generator().manual_seed(1))
    dtype = pipeline.transformer.dtype
    return pipeline.transformer(x.to(dtype), torch.tensor([500]), text.to(dtype)).sample


def latents_of(pipeline: LattePipeline) -> torch.Tensor:
    return last(Clips(pipeline, 16).sampler(encode(pipeline, PROMPTS)).steps(torch.arange(2), [3, 4], QUICK)).latent


# --- What is loaded -----------------------------------------------------------------------------------------------

TABLES = {"pos_embed.pos_embed": torch.zeros(1, 16, 16), "temp_pos_embed": torch.zeros(1, 16, 16)}


@pytest.mark.parametrize(
    "content_of",
    [
        lambda state: {"ema": state, "model": {}},
        lambda state: state,
        lambda state: state | TABLES,
        lambda state: {name: tensor for name, tensor in state.items() if "y_embedding" not in name},
    ],
    ids=["averaged", "bare", "with tables of positions", "with nothing else"],
)
def test_the_transformer_computes_what_the_saved_one_does(pipeline, folder, state, tmp_path, content_of):
    loaded = Older(with_weights(folder, tmp_path, content_of(state))).load(torch.float32)
    assert isinstance(loaded, LattePipeline) and not loaded.transformer.training
    assert loaded.transformer.state_dict().keys() == pipeline.transformer.state_dict().keys()
    assert loaded.transformer.config.video_length == 16
    assert torch.equal(output_of(loaded), output_of(pipeline))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_every_tensor_is_that_of_the_layout_of_diffusers(pipeline, folder, tmp_path, precision):
    pipeline.save_pretrained(tmp_path)
    older, newer = (load_pipeline(configured(model, precision=precision), device=CPU) for model in (folder, tmp_path))
    for name in ("vae", "transformer", "text_encoder"):
        part, expected = older.components[name], newer.components[name]
        assert type(part) is type(expected) and part.dtype == getattr(torch, precision) and not part.training
        for kind in ("named_parameters", "named_buffers"):
            found, due = (dict(getattr(network, kind)()) for network in (part, expected))
            assert found.keys() == due.keys()
            assert all(found[key].dtype == due[key].dtype and torch.equal(found[key], due[key]) for key in due)


def test_clips_are_those_of_the_saved_pipeline_in_single_and_in_half_precision(pipeline, folder):
    expected = latents_of(pipeline)
    loaded = load_pipeline(configured(folder), device=CPU)
    assert torch.equal(latents_of(loaded), expected)
    assert torch.equal(Clips(loaded, 16).decode(expected), Clips(pipeline, 16).decode(expected))
    half = load_pipeline(configured(folder, precision="bfloat16"), device=CPU)
    assert ((latents_of(half).float() - expected).norm() / expected.norm()) < 0.05


def test_the_schedule_is_that_of_the_authors_sampler(folder):
    scheduler = load_pipeline(configured(folder), device=CPU).scheduler
    assert isinstance(scheduler, DDIMScheduler) and not scheduler.config.clip_sample
    assert torch.allclose(scheduler.betas[[0, -1]], torch.tensor([0.0001, 0.02]))
    assert scheduler.betas.diff().std() < 1e-7 and scheduler.config.timestep_spacing == "linspace"


def test_a_temporal_decoder_takes_the_vaes_place(folder):
    loaded = load_pipeline(configured(folder, temporal_vae_decoder=True), device=CPU)
    assert isinstance(loaded.vae, AutoencoderKLTemporalDecoder)
    videos = Clips(loaded, 1).videos(encode(loaded, PROMPTS[:1]), [0], QUICK)
    assert videos.shape == (1, 1, 3, 64, 64) and videos.isfinite().all()


def test_the_published_configuration_makes_a_network_of_the_published_size(folder, tmp_path):
    path = linked(folder, tmp_path, "t2v_required_models/transformer") / "t2v_required_models/transformer/config.json"
    path.parent.mkdir()
    path.write_text(json.dumps(PIXART))
    config = Older(tmp_path).transformer_config()
    assert config.keys() == inspect.signature(LatteTransformer3DModel).parameters.keys()
    shared = PIXART.keys() & config.keys()
    assert len(shared) == 16 and all(config[key] == PIXART[key] for key in shared) and config["video_length"] == 16
    with torch.device("meta"):
        network = LatteTransformer3DModel(**config)
    files = {file.path: file.bytes for file in store.COURSE.find("latte", "full").files}
    stored = 4 * sum(weight.numel() for weight in network.parameters())  # of Latte-1, which is built alike
    assert stored == pytest.approx(files["transformer/diffusion_pytorch_model.safetensors"], rel=0.01)


# --- What is refused ----------------------------------------------------------------------------------------------

BLOCK = "temporal_transformer_blocks.0"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda weights: weights.pop(f"{BLOCK}.attn1.to_q.weight"), f"Missing key.*{BLOCK}.attn1.to_q.weight"),
        (lambda weights: weights.update({f"{BLOCK}.attn2.to_q.weight": torch.zeros(2)}), f"Unexpected key.*{BLOCK}"),
        (lambda weights: weights.update({"proj_out.bias": torch.zeros(3)}), "size mismatch for proj_out.bias"),
        (lambda weights: weights.update({"proj_out.bias": "text"}), "proj_out.bias.*expected torch.Tensor"),
        (lambda weights: weights.clear(), "Missing key.*…"),
    ],
    ids=["missing", "extra", "wrong shape", "no tensor", "empty"],
)
def test_other_weights_are_refused_with_what_to_fetch_instead(folder, state, tmp_path, change, message):
    changed = dict(state)
    change(changed)
    model = with_weights(folder, tmp_path, {"ema": changed})
    pattern = f"t2v.pt does not hold this Latte's weights: .*{message}.*{INSTEAD}"
    with pytest.raises(ValueError, match=pattern) as caught:
        load_pipeline(configured(model), device=CPU)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("content", [[1, 2], torch.zeros(3), {"ema": None}, None], ids=str)
def test_a_file_without_a_state_dict_is_refused(folder, tmp_path, content):
    with pytest.raises(ValueError, match=f"does not hold this Latte's weights.*{INSTEAD}"):
        Older(with_weights(folder, tmp_path, content)).load(torch.float32)


def test_a_damaged_file_is_refused(folder, tmp_path):
    damaged = linked(folder, tmp_path, "t2v.pt") / "t2v.pt"
    damaged.write_bytes((folder / "t2v.pt").read_bytes()[:5000])
    with pytest.raises(ValueError, match=f"t2v.pt could not be read as a state dict.*{INSTEAD}"):
        Older(tmp_path).load(torch.float32)


@pytest.mark.parametrize("missing", [*latte_older.NEEDED, "t2v_required_models"])
def test_an_incomplete_folder_is_refused_and_what_is_missing_is_named(folder, tmp_path, missing):
    model = linked(folder, tmp_path, missing)
    for attempt in (
        lambda: Older(model).load(torch.float32),
        lambda: load_pipeline(configured(model), device=CPU),
    ):
        with pytest.raises(ValueError, match=f"lacks .*{missing}.*older layout.*{INSTEAD}"):
            attempt()


@pytest.mark.parametrize("missing", ["text_encoder/model.safetensors", "vae/diffusion_pytorch_model.safetensors"])
def test_a_part_without_its_weights_is_refused(folder, tmp_path, missing):
    model = linked(folder, tmp_path, f"t2v_required_models/{missing}")
    with pytest.raises(ValueError, match=f"t2v_required_models/.* could not be read.*{INSTEAD}"):
        load_pipeline(configured(model), device=CPU)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"norm_type": "ada_norm"}, "norm_type: ada_norm .* must be ada_norm_single"),
        ({"double_self_attention": True}, "double_self_attention: True .* must be False"),
        ({"only_cross_attention": True}, "only_cross_attention: True .* must be False"),
        ({"attention_type": "gated"}, "attention_type: gated .* must be default"),
    ],
    ids=str,
)
def test_a_configuration_of_which_diffusers_would_compute_something_else_is_refused(folder, tmp_path, change, message):
    name = "t2v_required_models/transformer/config.json"
    path = linked(folder, tmp_path, name) / name
    path.parent.mkdir()
    path.write_text(json.dumps(json.loads((folder / name).read_text()) | change))
    with pytest.raises(ValueError, match=f"config.json: {message}.*{INSTEAD}"):
        load_pipeline(configured(tmp_path), device=CPU)


@pytest.mark.parametrize(
    ("change", "lines"),
    [
        ({"frames": 8, "width": 512}, ["frames: 8 .* must be 1 or 16.$", "width: 512 .* must be 64.$"]),
    ],
    ids=str,
)
def test_what_cannot_be_done_is_refused_before_weights_are_read(folder, monkeypatch, change, lines):
    monkeypatch.setattr(Older, "load", None)
    tiny_latte.assert_refused(configured(folder, **change), "cuda", lines)


def test_a_schedule_on_which_a_sampler_cannot_start_is_refused(folder, tmp_path):
    name = "t2v_required_models/scheduler"
    DDIMScheduler(rescale_betas_zero_snr=True).save_pretrained(linked(folder, tmp_path, name) / name)
    with pytest.raises(ValueError, match="'dpm-single' cannot start"):
        load_pipeline(configured(tmp_path, scheduler="dpm-single"), device=CPU)


def test_a_missing_temporal_decoder_is_named(folder, tmp_path):
    model = linked(folder, tmp_path, "t2v_required_models/vae_temporal_decoder")
    with pytest.raises(ValueError, match="temporal_vae_decoder: .* has none: set it to false"):
        load_pipeline(configured(model, temporal_vae_decoder=True), device=CPU)


def test_the_layout_of_diffusers_comes_first_and_another_folder_is_told_of_both(folder, tmp_path):
    model = linked(folder, tmp_path, "none")
    assert latte_older.is_older(model) and not latte_older.is_older(tmp_path / "elsewhere")
    (model / "model_index.json").write_text(json.dumps({"_class_name": "PixArtAlphaPipeline"}))
    assert not latte_older.is_older(model)
    with pytest.raises(ValueError, match=r"model_index.json is of a LattePipeline, or .* t2v.pt and t2v_required_mod"):
        load_pipeline(configured(model), device=CPU)
