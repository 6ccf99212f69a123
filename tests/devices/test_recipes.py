"""The recipes on a GPU: a step of each training, and what is measured on the way."""

from dataclasses import replace

import pytest
import torch
from accelerator import DEVICE, Accelerator
from diffusers import AutoencoderKL

from tutorial_utils.assets.store import fetch
from tutorial_utils.datasets.fashion_mnist import fashion_mnist_tensors
from tutorial_utils.recipes import latte, uvit, vae
from tutorial_utils.sampling import by_class


@pytest.fixture(autouse=True)
def present():
    with Accelerator():
        yield


@pytest.fixture
def codec() -> AutoencoderKL:
    return AutoencoderKL.from_pretrained(fetch("vae", "mini")).eval().requires_grad_(False)


def test_vae_mini_is_trained_and_measured_there():
    model, recipe = vae.build().to(DEVICE), vae.Recipe()
    grey = fashion_mnist_tensors("test")[0][:64].to(DEVICE)
    vae.loss_of(model, vae.draw_batch(grey, recipe)[-8:], replace(recipe, frames=4)).backward()
    kinds = {"stills": vae.stills(grey[:4]).to(DEVICE), "frames": vae.frames(grey[:4]).to(DEVICE)}
    assert vae.progress(model, kinds)["psnr_stills"] > 0


def test_u_vit_mini_is_trained_and_measured_there(codec):
    network = uvit.build(uvit.Recipe(embed_dim=32, num_heads=2, depth=2)).to(DEVICE)
    labels = torch.arange(4, device=DEVICE)
    uvit.loss_of(network, torch.randn(4, 4, 8, 8, device=DEVICE), labels, uvit.Recipe()).backward()
    images, _ = uvit.garments(by_class.sampler(network, codec), 2)
    assert images.device.type == "cpu"


def test_latte_mini_is_trained_and_measured_there(codec, tmp_path):
    sizes = {"width": 16, "heads": 2, "layers": 1, "text_width": 32, "text_layers": 1}
    recipe = latte.Recipe(**sizes, clips=4, sentences=2, steps=2, frame_steps=1, frame_batch=2, clip_batch=2, warmup=1)
    run = latte.train(recipe, codec, tmp_path, DEVICE)
    assert run.step == 2 and run.rows
