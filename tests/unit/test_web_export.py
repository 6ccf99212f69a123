"""The exported networks say what the loaded ones say, and a sample by them is the lessons' own."""

import json
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, LatteTransformer3DModel
from transformers import ViTForImageClassification, ViTImageProcessor

from tutorial_utils.assets.store import fetch
from tutorial_utils.datasets.fashion_mnist import fashion_mnist
from tutorial_utils.execution import ROOT
from tutorial_utils.networks import attention, checkpoints
from tutorial_utils.networks.uvit import load_uvit
from tutorial_utils.sampling import by_class, latte, latte_model
from tutorial_utils.sampling.diffusion import Settings, last
from tutorial_utils.sampling.latte_config import load_config

pytestmark = [
    pytest.mark.deep,
    pytest.mark.skipif(not find_spec("onnxruntime"), reason="the extra onnx is not installed: run `make deep`"),
]


class Exported:
    """An export, and its networks by name."""

    def __init__(self, folder):
        self.folder = folder
        self.contents = json.loads((folder / "contents.json").read_text(encoding="utf-8"))
        self.sessions = {}

    def __call__(self, name, **inputs):
        import onnxruntime

        if name not in self.sessions:
            self.sessions[name] = onnxruntime.InferenceSession(self.folder / f"{name}.onnx")
        arrays = {key: np.asarray(value) for key, value in inputs.items()}
        return [torch.from_numpy(one) for one in self.sessions[name].run(None, arrays)]

    def array(self, name, dtype, *shape):
        return np.fromfile(self.folder / name, dtype).reshape(-1, *shape)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    from tutorial_utils.web import export

    folder = tmp_path_factory.mktemp("web") / "export"
    export.export(folder)
    return Exported(folder)


def close(found, expected, atol=1e-4):
    torch.testing.assert_close(found, expected, atol=atol, rtol=0)


def by_table(table, noise, evaluate):
    """Sample as the page does: sums of the noise and of the outputs so far."""
    past = [noise]
    for time, row in zip(table["times"], table["rows"], strict=False):
        x = sum(share * one for share, one in zip(row, past, strict=True))
        past.append(evaluate(x, time, len(past) - 1))
    return sum(share * one for share, one in zip(table["rows"][-1], past, strict=True))


def is_guided(settings, table, step):
    low, high = settings["guidance_interval"]
    signal, noise = table["signal"][step], table["noise"][step]
    level = noise / signal if signal else float("inf")
    return low <= level <= (float("inf") if high is None else high)


def test_a_garment_is_judged_with_all_patches_and_without_some_as_in_lesson_1(exported):
    model = checkpoints.load(ViTForImageClassification, fetch("vit", "mini"))
    processor = ViTImageProcessor.from_pretrained(fetch("vit", "mini"))
    for garment in exported.array("garments.bin", np.uint8, 28, 28)[::9]:
        prepared = processor(np.repeat(garment[..., None], 3, axis=2), return_tensors="pt").pixel_values
        logits, weights = exported("vit", pixels=garment.astype(np.float32), kept=np.arange(65))
        with torch.no_grad():
            close(logits, model(prepared).logits[0])
            close(weights, attention.attention_weights(model, prepared)[:, 0])
            kept = torch.tensor([0, 3, 17, 40, 64])
            x = model.vit.embeddings(prepared)[:, kept]
            for layer in model.vit.layers:
                x = layer(x, None)
            few, _ = exported("vit", pixels=garment.astype(np.float32), kept=kept)
            close(few, model.classifier(model.vit.layernorm(x)[:, 0])[0])


def test_the_garments_are_the_first_of_each_class(exported):
    images, labels = fashion_mnist("test")
    garments = exported.array("garments.bin", np.uint8, 28, 28)
    for label in range(10):
        np.testing.assert_array_equal(garments[4 * label], images[labels == label][0])


def test_a_volume_is_judged_as_keras_does_and_a_hidden_tubelet_does_not_count(exported):
    said = json.loads((exported.folder / "volumes.json").read_text())
    volumes = exported.array("volumes.bin", np.uint8, 28, 28, 28).astype(np.float32)
    for volume, expected in zip(volumes, said["keras"], strict=True):
        probabilities, rollout = exported("vivit", volume=volume, kept=np.ones(64, np.float32))
        close(probabilities, torch.tensor(expected))
        assert rollout.sum().item() == pytest.approx(1, abs=1e-4)
    kept = np.ones(64, np.float32)
    kept[21] = 0  # its voxels: layer 1, row 1, column 1 of 4 x 4 x 4
    other = volumes[0].copy()
    other[7:14, 7:14, 7:14] = 255
    first, shares = exported("vivit", volume=volumes[0], kept=kept)
    close(exported("vivit", volume=other, kept=kept)[0], first)
    assert shares[21] == 0
    whole = np.ones(64, np.float32)
    seen = [exported("vivit", volume=one, kept=whole)[0] for one in (volumes[0], other)]
    assert (seen[0] - seen[1]).abs().max() > 1e-3


def test_u_vit_predicts_the_same_noise_with_all_skips_and_without_one(exported):
    network = load_uvit(fetch("uvit", "mini"))
    x = torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    times, labels = torch.tensor([1.0, 400.0, 1000.0]), torch.tensor([2, 9, 10])
    given = {"x": x, "times": times, "labels": labels}
    with torch.no_grad():
        close(exported("uvit", **given, skips=torch.ones(3))[0], network(x, times, labels))

        def mute(_, inputs):
            ours, skipped = inputs[0].chunk(2, dim=-1)
            return (torch.cat([ours, torch.zeros_like(skipped)], dim=-1),)

        network.out_blocks[-1].skip_linear.register_forward_pre_hook(mute)
        close(exported("uvit", **given, skips=torch.tensor([1.0, 1, 0]))[0], network(x, times, labels))


def test_the_decoder_gives_the_same_pictures(exported):
    vae = checkpoints.load(AutoencoderKL, fetch("vae", "mini"))
    latents = torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    close(exported("decoder", latents=latents)[0], by_class.decode(vae, latents))


@pytest.mark.parametrize("change", [{}, {"scheduler": "unipc"}, {"scheduler": "euler", "steps": 30}])
def test_a_whole_garment_is_the_lessons(exported, change):
    ours = exported.contents["uvit"]
    scheduler, steps = change.get("scheduler", ours["scheduler"]), change.get("steps", ours["steps"])
    table, label, seed = ours["tables"][scheduler][str(steps)], 7, 3
    noise = torch.from_numpy(exported.array("noise-uvit.bin", "<f4", 4, 8, 8)[seed])

    def evaluate(x, time, step):
        both = {"x": torch.stack([x, x]), "times": torch.full((2,), float(time)), "labels": torch.tensor([label, 10])}
        conditional, unconditional = exported("uvit", **both, skips=torch.ones(3))[0]
        scale = ours["guidance_scale"] if is_guided(ours, table, step) else 1
        return unconditional + scale * (conditional - unconditional)

    network, vae, _ = by_class.load("mini", torch.device("cpu"))
    sampler = by_class.sampler(network, vae)
    settings = Settings(**{**vars(by_class.SETTINGS["mini"]), **change})
    latent = by_table(table, noise, evaluate)
    close(latent, last(sampler.steps([label], [seed], settings)).latent[0], 1e-3)
    close(exported("decoder", latents=latent[None])[0], sampler.samples([label], [seed], settings), 1e-3)


@pytest.fixture(scope="module")
def clips():
    config = load_config(ROOT / "notebooks/configs/latte_mini.yaml")
    return latte.Clips(latte_model.load_pipeline(config, "mini", torch.device("cpu")), 8), config


def read_by(exported, clips, text):
    """Embeddings of a sentence and of the empty one beside it, (2, L, D), by the exported text encoder."""
    ids = clips.pipeline.tokenizer(text).input_ids
    empty = [1] + [0] * (len(ids) - 1)
    both = [
        exported("words", ids=[one], real=np.array([real]))[0]
        for one, real in zip((ids, empty), ([1] * len(ids), [1] + [0] * (len(ids) - 1)), strict=True)
    ]
    return torch.cat(both)


@pytest.mark.parametrize("text", ["a red sneaker moving left quickly", "一只红色的运动鞋快速向左移动"])
def test_a_sentence_is_read_as_by_the_pipeline(exported, clips, text):
    prompts = latte.encode(clips[0].pipeline, [text])
    close(read_by(exported, clips[0], text), torch.cat([prompts.embeddings, prompts.negatives]))


@pytest.mark.parametrize("temporal", [True, False])
def test_latte_says_the_same_with_and_without_attention_over_time(exported, clips, temporal):
    prompts = latte.encode(clips[0].pipeline, ["a blue coat drifting right"])
    network = latte.prompted_network(clips[0].pipeline.transformer, prompts, temporal)
    x = torch.randn(2, 4, 8, 8, 8, generator=torch.Generator().manual_seed(0))
    times = torch.tensor([700.0, 700.0])
    with torch.no_grad():
        expected = network(x, times, torch.tensor([0, 1]))
    words = torch.cat([prompts.embeddings, prompts.negatives])
    found, reading = exported("latte", x=x, times=times, words=words, temporal=torch.tensor([float(temporal)]))
    close(found, expected)
    assert reading.shape == (4, 8, 16, words.shape[1])
    close(reading.sum(-1), torch.ones(4, 8, 16))


def test_what_the_frames_read_are_the_weights_of_the_transformers_own_attention(exported, clips):
    prompts = latte.encode(clips[0].pipeline, ["a cyan ankle boot moving up"])
    transformer = checkpoints.load(LatteTransformer3DModel, fetch("latte", "mini") / "transformer")
    x, times = torch.randn(1, 4, 8, 8, 8, generator=torch.Generator().manual_seed(1)), torch.tensor([301.0])
    with torch.no_grad(), attention.recorded(transformer.transformer_blocks[2].attn2) as weights:
        transformer(x, times - 1, prompts.embeddings)
    reading = exported("latte", x=x, times=times, words=prompts.embeddings, temporal=torch.ones(1))[1]
    close(reading[2], weights[0].mean(1))


def test_a_whole_clip_is_the_lessons(exported, clips):
    ours, (maker, config), text, seed = exported.contents["latte"], clips, "a red sneaker moving left", 4
    table = ours["tables"][str(ours["steps"])]
    noise = torch.from_numpy(exported.array("noise-latte.bin", "<f4", 4, 8, 8, 8)[seed])
    words = read_by(exported, maker, text)

    def evaluate(x, time, step):
        both = {"x": torch.stack([x, x]), "times": torch.full((2,), float(time)), "words": words}
        conditional, unconditional = exported("latte", **both, temporal=torch.ones(1))[0]
        scale = ours["guidance_scale"] if is_guided(ours, table, step) else 1
        return unconditional + scale * (conditional - unconditional)

    prompts = latte.encode(maker.pipeline, [text])
    latent = by_table(table, noise, evaluate)
    close(latent, last(maker.sampler(prompts).steps([0], [seed], config.settings)).latent[0], 1e-3)
    frames = exported("decoder", latents=latent.transpose(0, 1))[0]
    close(frames[None], maker.videos(prompts, [seed], config.settings), 1e-3)


def test_a_folder_with_other_things_is_not_replaced(tmp_path):
    from tutorial_utils.web import export

    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(ValueError, match="something else"):
        export.export(tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "mine"
