"""The recipe of VAE-mini: what it trains on, and that folding the latents' statistics in changes no picture."""

import pytest
import torch

from tutorial_utils.datasets.garments import SIDE
from tutorial_utils.recipes import vae as recipe
from tutorial_utils.recipes.vae import Recipe


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return recipe.build().eval()


@pytest.fixture
def grey() -> torch.Tensor:
    torch.manual_seed(1)
    return torch.rand(40, 1, 28, 28)


def test_a_batch_is_half_stills_and_half_frames(grey):
    batch = recipe.draw_batch(grey, Recipe(grey_stills=3, tinted_stills=2, frames=5))
    assert batch.shape == (10, 3, SIDE, SIDE) and batch.min() >= -1 and batch.max() <= 1
    lit = (batch > -1).any(1).flatten(1).float().mean(1)
    assert (lit[:5] > 0.9).all() and (lit[5:] <= 28 * 28 / SIDE**2).all()
    coloured = (batch - batch.mean(1, keepdim=True)).abs().amax((1, 2, 3)) > 0.05
    assert coloured.tolist() == [False] * 3 + [True] * 7


def test_normalised_latents_have_no_mean_and_unit_variance_and_decode_to_the_same(network, grey):
    images = recipe.frames(grey)
    before = recipe.reconstruct(network, images)
    spread = network.encode(images * 2 - 1).latent_dist.std / network.encode(images * 2 - 1).latent_dist.mean.std(
        (0, 2, 3), keepdim=True
    )
    recipe.normalise_latents(network, images)
    posterior, factor = network.encode(images * 2 - 1).latent_dist, network.config.scaling_factor
    assert torch.allclose(factor * posterior.mean.mean((0, 2, 3)), torch.zeros(4), atol=1e-4)
    assert torch.allclose(factor * posterior.mean.std((0, 2, 3)), torch.ones(4), atol=1e-3)
    assert torch.allclose(factor * posterior.std, spread, rtol=1e-3), "the noise shrinks with the mean"
    assert torch.allclose(recipe.reconstruct(network, images), before, atol=1e-3)


def test_the_loss_sees_a_lost_tint(network, grey, monkeypatch):
    """A grey answer to a tinted picture costs more than an equally wrong one of the right colour."""
    x = recipe.any_tint(grey) * 2 - 1
    answers = {"grey": x.mean(1, keepdim=True).expand_as(x)}
    answers["dark"] = x + (answers["grey"] - x).square().mean().sqrt()
    losses = {}
    for name, answer in answers.items():
        monkeypatch.setattr(network, "decode", lambda _, answer=answer: type("Output", (), {"sample": answer}))
        losses[name] = recipe.loss_of(network, x, Recipe()).item()
    assert losses["grey"] > 1.1 * losses["dark"]


def test_hue_error_goes_the_short_way_round():
    red, pinkish = torch.zeros(1, 3, 2, 2), torch.zeros(1, 3, 2, 2)
    red[:, 0], red[:, 1] = 1, 0.1
    pinkish[:, 0], pinkish[:, 2] = 1, 0.1
    assert 5 < recipe.hue_error(red, pinkish) < 15
