"""The recipe of U-ViT-mini: its loss, its latents, and the baseline that it is compared with."""

import torch
from diffusers import AutoencoderKL

from tutorial_utils.datasets.garments import stills
from tutorial_utils.networks.uvit import load_snapshots
from tutorial_utils.recipes import uvit as recipe
from tutorial_utils.recipes.pictures import Pictures
from tutorial_utils.recipes.uvit import NULL, SCHEDULER, Recipe
from tutorial_utils.sampling.diffusion import signal_and_noise


class Watcher(torch.nn.Module):
    """A network that knows the clean latent, and remembers what it was asked."""

    def __init__(self, clean: torch.Tensor):
        super().__init__()
        self.clean = clean

    def forward(self, x, times, labels):
        self.times, self.labels = times, labels
        signal, noise = (share[:, None, None, None] for share in signal_and_noise(SCHEDULER, times - 1))
        return (x - signal * self.clean) / noise


def test_the_true_noise_costs_nothing():
    clean = torch.randn(64, 4, 8, 8)
    assert recipe.loss_of(Watcher(clean), clean, torch.zeros(64, dtype=torch.int64), Recipe()) < 1e-6


def test_times_cover_the_schedule_and_a_tenth_of_the_labels_is_dropped():
    torch.manual_seed(0)
    clean, labels = torch.randn(2000, 1, 2, 2), torch.arange(2000) % 10
    network = Watcher(clean)
    recipe.loss_of(network, clean, labels, Recipe())
    assert network.times.min() >= 1 and network.times.max() <= 1000
    assert (network.times.sort().values.diff() <= 2).all()
    dropped = network.labels == NULL
    assert 0.07 < dropped.float().mean() < 0.13
    assert torch.equal(network.labels[~dropped], labels[~dropped])


def test_the_last_traces_of_noise_weigh_less():
    """At low noise an error of one costs less than one, by min-SNR; at high noise it costs one."""

    class Wrong(Watcher):
        def forward(self, x, times, labels):
            return super().forward(x, times, labels) + 1

    clean = torch.zeros(1000, 1, 2, 2)
    costs = recipe.loss_of(Wrong(clean), clean, torch.zeros(1000, dtype=torch.int64), Recipe())
    everywhere = recipe.loss_of(Wrong(clean), clean, torch.zeros(1000, dtype=torch.int64), Recipe(snr_limit=1e9))
    assert torch.isclose(everywhere, torch.tensor(1.0), atol=1e-3) and 0.3 < costs < 0.95


def test_weights_are_kept_on_the_way(tmp_path, monkeypatch):
    grey, labels = torch.rand(40, 1, 28, 28), torch.arange(40) % 10
    pictures = Pictures((grey, labels), (grey, labels), recipe.FASHION_CLASSES, *[""] * 4)
    monkeypatch.setattr(recipe, "garments", lambda sampler, count: (torch.rand(20, 3, 64, 64), torch.arange(20) % 10))
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(4,) * 4,
        norm_num_groups=2,
    ).eval()
    settings = Recipe(embed_dim=32, num_heads=2, depth=2, steps=4, batch_size=8, warmup=1, kept_after=(0.25, 0.5))
    run = recipe.train(settings, pictures, vae, tmp_path, torch.device("cpu"))
    kept = [torch.load(recipe.snapshot(tmp_path, share), weights_only=True) for share in (0.25, 0.5)]
    assert all(set(weights) == set(run.average.state_dict()) for weights in kept)
    moved = [weights["pos_embed"] for weights in kept] + [run.average.pos_embed]
    assert not torch.equal(moved[0], moved[1]) and not torch.equal(moved[1], moved[2])
    run.average.save_pretrained(tmp_path / "out")
    recipe.export_snapshots(settings, tmp_path, tmp_path / "out")
    shipped = load_snapshots(tmp_path / "out")
    assert list(shipped) == ["25%", "50%", "100%"]
    for network, weights in zip(shipped.values(), moved, strict=True):
        assert torch.allclose(network.pos_embed, weights, rtol=1e-3)


def test_latents_are_the_posteriors_means_scaled():
    torch.manual_seed(0)
    vae = AutoencoderKL(block_out_channels=(4,), latent_channels=4, norm_num_groups=2, scaling_factor=0.5).eval()
    grey = torch.rand(5, 1, 28, 28)
    with torch.no_grad():
        expected = 0.5 * vae.encode(stills(grey) * 2 - 1).latent_dist.mean
    assert torch.allclose(recipe.encode(vae, grey, batch_size=2), expected, atol=1e-5)


def test_the_baseline_has_each_class_mean_and_covariance():
    torch.manual_seed(0)
    labels = torch.arange(4000) % 2
    latents = (
        torch.randn(4000, 1, 1, 3) @ torch.tensor([[1.0, 0.5, 0], [0, 1, 0], [0, 0, 2]])
        + 5.0 * labels[:, None, None, None]
    )
    drawn = recipe.gaussian_latents(latents, labels, labels).flatten(1)
    for label in (0, 1):
        own, fitted = drawn[labels == label], latents.flatten(1)[labels == label]
        assert torch.allclose(own.mean(0), fitted.mean(0), atol=0.2)
        assert torch.allclose(own.T.cov(), fitted.T.cov(), atol=0.4)
