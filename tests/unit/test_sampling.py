"""Sampling by class: a sample's independence of its company, and folders that resume."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL

from tutorial_utils import sampling
from tutorial_utils.sampling import Generator, Settings, chosen_classes, grid, sample_seed, sample_to_folder
from tutorial_utils.uvit import UViT

QUICK = Settings(scheduler="dpm-multi", steps=3, guidance_scale=2.0)


@pytest.fixture(scope="module")
def generator() -> Generator:
    """Random weights: what is tested here does not depend on what was learned."""
    torch.manual_seed(0)
    network = UViT(img_size=4, embed_dim=32, depth=2, num_heads=2, num_classes=4)
    vae = AutoencoderKL(block_out_channels=(4,), latent_channels=4, norm_num_groups=2, scaling_factor=0.5)
    return Generator(network.eval(), vae.eval(), ("shirt", "shoe", "hat"))


@pytest.fixture
def drawn(generator, monkeypatch) -> list[int]:
    """The sizes of the batches that the generator was asked for."""
    sizes = []
    images = Generator.images
    monkeypatch.setattr(
        Generator, "images", lambda self, labels, *rest: sizes.append(len(labels)) or images(self, labels, *rest)
    )
    return sizes


def test_images_are_bounded_and_on_the_cpu(generator):
    images = generator.images(torch.tensor([0, 1, 2]), [1, 2, 3], QUICK)
    assert images.shape == (3, 3, 4, 4) and images.device.type == "cpu"
    assert images.min() >= 0 and images.max() <= 1


def test_a_sample_is_the_same_in_every_batch_and_order(generator):
    labels, seeds = torch.tensor([0, 1, 2, 1, 0]), [3, 1, 4, 1, 5]
    together = generator.images(labels, seeds, QUICK)
    in_pairs = generator.images(labels, seeds, QUICK, batch_size=2)
    reversed_ = generator.images(labels.flip(0), seeds[::-1], QUICK).flip(0)
    assert torch.allclose(together, in_pairs, atol=1e-4) and torch.allclose(together, reversed_, atol=1e-4)


def test_seeds_of_different_runs_and_samples_differ():
    seeds = {sample_seed(seed, k) for seed in range(20) for k in range(50)}
    assert len(seeds) == 1000 and all(0 <= seed < 2**63 for seed in seeds)


def test_decoding_undoes_the_scaling_factor(generator):
    latents = torch.randn(2, 4, 4, 4)
    vae = generator.vae
    with torch.no_grad():
        expected = (vae.decode(latents / 0.5).sample / 2 + 0.5).clamp(0, 1)
    assert torch.allclose(generator.decode(latents), expected)


def test_many_latents_are_decoded_in_parts(generator, monkeypatch):
    latents, parts, decode = torch.randn(5, 4, 4, 4), [], generator.vae.decode
    whole = generator.decode(latents)
    monkeypatch.setattr(sampling, "DECODED_PLACES", 2 * 4 * 4)
    monkeypatch.setattr(generator.vae, "decode", lambda z: parts.append(len(z)) or decode(z))
    assert torch.allclose(generator.decode(latents), whole, atol=1e-5) and parts == [2, 2, 1]


def test_a_sample_is_computed_in_single_precision_around_a_network_in_half(generator):
    half = replace(generator, network=UViT.from_config(generator.network.config).to(torch.bfloat16).eval())
    steps = list(half.steps(torch.tensor([0]), [1], QUICK))
    assert {step.latent.dtype for step in steps} == {step.clean.dtype for step in steps} == {torch.float32}


def test_classes_by_number_name_or_all(generator):
    assert chosen_classes("2, Shoe ,0", generator) == [2, 1, 0]
    assert chosen_classes("all", generator) == [0, 1, 2]


@pytest.mark.parametrize("words", ["3", "-1", "boot", "", "1,,2"])
def test_what_is_no_class_is_refused(generator, words):
    with pytest.raises(ValueError, match=r"is no class: choose from 0 to 2, or shirt, shoe, hat"):
        chosen_classes(words, generator)


def test_a_folder_holds_the_samples_in_order_and_a_picture_of_all(generator, tmp_path):
    labels = [0, 0, 1, 1, 2]
    sample_to_folder(generator, labels, 7, QUICK, tmp_path, batch_size=2)
    with np.load(tmp_path / "samples.npz") as saved:
        seeds = [sample_seed(7, k) for k in range(5)]
        assert saved["labels"].tolist() == labels and saved["seeds"].tolist() == seeds
        expected = generator.images(torch.tensor(labels), seeds, QUICK).permute(0, 2, 3, 1).numpy()
        assert saved["images"].dtype == np.uint8
        assert np.abs(saved["images"] / 255 - expected).max() < 0.5 / 255 + 1e-4
    assert sorted(path.name for path in tmp_path.iterdir()) == ["grid.png", "request.json", "samples.npz"]


def test_an_interrupted_run_goes_on_where_it_stopped(generator, tmp_path, drawn):
    labels = [0, 1, 2, 0, 1, 2]

    def interrupt(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sample_to_folder(generator, labels, 0, QUICK, tmp_path, 2, interrupt)
    assert drawn == [2, 2] and not (tmp_path / "samples.npz").exists()
    sample_to_folder(generator, labels, 0, QUICK, tmp_path, 2)
    assert drawn == [2, 2, 2]
    sample_to_folder(generator, labels, 0, QUICK, tmp_path, 2)
    assert drawn == [2, 2, 2], "a finished folder is left alone"


@pytest.mark.parametrize("change", [{"seed": 1}, {"labels": [0, 1]}, {"settings": replace(QUICK, steps=4)}])
def test_a_folder_of_another_request_is_refused_and_kept(generator, tmp_path, change):
    request = {"labels": [0], "seed": 0, "settings": QUICK}
    sample_to_folder(generator, **request, out=tmp_path, batch_size=2)
    before = (tmp_path / "samples.npz").read_bytes()
    with pytest.raises(ValueError, match="another request"):
        sample_to_folder(generator, **(request | change), out=tmp_path, batch_size=2)
    assert (tmp_path / "samples.npz").read_bytes() == before


def test_a_grid_reads_row_by_row():
    images = np.arange(5, dtype=np.uint8).reshape(5, 1, 1, 1).repeat(3, axis=3)
    assert grid(images)[..., 0].tolist() == [[0, 1, 2], [3, 4, 0]]
    assert grid(images, columns=2)[..., 0].tolist() == [[0, 1], [2, 3], [4, 0]]


def test_imagenet_has_a_thousand_names():
    names = sampling.imagenet_classes()
    assert len(names) == 1000 and names[207] == "golden retriever"
