"""Sampling by class: a sample's independence of its company, and folders that resume."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, DDPMScheduler

from tutorial_utils.datasets.images import grid
from tutorial_utils.datasets.names import Names
from tutorial_utils.definitions import definitions
from tutorial_utils.execution import find_notebooks, read_notebook
from tutorial_utils.networks.uvit import UViT
from tutorial_utils.sampling import by_class
from tutorial_utils.sampling.by_class import chosen_classes, sample_to_folder
from tutorial_utils.sampling.diffusion import (
    EVERYWHERE,
    SCHEDULERS,
    STABLE_DIFFUSION,
    Settings,
    predict_clean,
    sample_seed,
    signal_and_noise,
)
from tutorial_utils.sampling.sampler import Sampler

QUICK = Settings(scheduler="dpm-multi", steps=3, guidance_scale=2.0)


NAMES = Names(("shirt", "shoe", "hat"))


@pytest.fixture(scope="module")
def vae() -> AutoencoderKL:
    torch.manual_seed(0)
    return AutoencoderKL(block_out_channels=(4,), latent_channels=4, norm_num_groups=2, scaling_factor=0.5).eval()


@pytest.fixture(scope="module")
def sampler(vae) -> Sampler:
    """Random weights: what is tested here does not depend on what was learned."""
    torch.manual_seed(0)
    network = UViT(img_size=4, embed_dim=32, depth=2, num_heads=2, num_classes=4)
    return by_class.sampler(network.eval(), vae)


@pytest.fixture
def drawn(monkeypatch) -> list[int]:
    """The sizes of the batches that the sampler was asked for."""
    sizes, samples = [], Sampler.samples
    monkeypatch.setattr(
        Sampler, "samples", lambda self, labels, *rest: sizes.append(len(labels)) or samples(self, labels, *rest)
    )
    return sizes


def test_images_are_bounded_and_on_the_cpu(sampler):
    images = sampler.samples(torch.tensor([0, 1, 2]), [1, 2, 3], QUICK)
    assert images.shape == (3, 3, 4, 4) and images.device.type == "cpu"
    assert images.min() >= 0 and images.max() <= 1


def test_a_sample_is_the_same_in_every_batch_and_order(sampler):
    labels, seeds = torch.tensor([0, 1, 2, 1, 0]), [3, 1, 4, 1, 5]
    together = sampler.samples(labels, seeds, QUICK)
    in_pairs = replace(sampler, batch_size=2).samples(labels, seeds, QUICK)
    reversed_ = sampler.samples(labels.flip(0), seeds[::-1], QUICK).flip(0)
    assert torch.allclose(together, in_pairs, atol=1e-4) and torch.allclose(together, reversed_, atol=1e-4)


def test_labels_may_be_a_list(sampler):
    listed = sampler.samples([2, 0], range(2), QUICK)
    assert torch.equal(listed, sampler.samples(torch.tensor([2, 0]), [0, 1], QUICK))


@pytest.mark.parametrize(
    ("labels", "seeds", "words"),
    [
        (["shoe", "hat"], [1, 2], r"'shoe' is a name, and a label from 0 to 3 is due: `names.index\('shoe'\)`"),
        ("shoe", [1], "'s' is a name"),
        ([1, 4], [1, 2], r"label=4 must be a whole number from 0 to 3"),
        ([1, 2.0], [1, 2], r"label=2.0 must be a whole number"),
        ([], [], "There are no labels"),
        (torch.tensor([]), [], "There are no labels"),
        (np.array([1, 2]), [1, 2], "labels are a ndarray and no tensor"),
        (2, [1], "labels are a int and no tensor"),
        (torch.tensor([1, 4]), [1, 2], "labels go from 1 to 4: 0 to 3 is allowed"),
        ([1, 2], [1], "1 seeds were given for 2 samples"),
        ([1], [1, 2], "2 seeds were given for 1 samples"),
        ([1, 2], 7, "seeds=7 must be a list"),
        ([1, 2], [1, -2], "seed=-2 must be a whole number"),
    ],
)
def test_labels_and_seeds_that_do_not_fit_are_refused_before_anything_is_sampled(sampler, labels, seeds, words):
    one_by_one = replace(sampler, batch_size=1, network=None)
    with pytest.raises(ValueError, match=words):
        one_by_one.samples(labels, seeds, QUICK)


def test_seeds_of_different_runs_and_samples_differ():
    seeds = {sample_seed(seed, k) for seed in range(20) for k in range(50)}
    assert len(seeds) == 1000 and all(0 <= seed < 2**63 for seed in seeds)


def test_decoding_undoes_the_scaling_factor(vae):
    latents = torch.randn(2, 4, 4, 4)
    with torch.no_grad():
        expected = (vae.decode(latents / 0.5).sample / 2 + 0.5).clamp(0, 1)
    assert torch.allclose(by_class.decode(vae, latents), expected)


def test_many_latents_are_decoded_in_parts(vae, monkeypatch):
    latents, parts, decode = torch.randn(5, 4, 4, 4), [], vae.decode
    whole = by_class.decode(vae, latents)
    monkeypatch.setattr(by_class, "DECODED_PLACES", 2 * 4 * 4)
    monkeypatch.setattr(vae, "decode", lambda z: parts.append(len(z)) or decode(z))
    assert torch.allclose(by_class.decode(vae, latents), whole, atol=1e-5) and parts == [2, 2, 1]


def test_a_sample_is_computed_in_single_precision_around_a_network_in_half(sampler):
    half = replace(sampler, network=UViT.from_config(sampler.network.config).to(torch.bfloat16).eval())
    steps = list(half.steps(torch.tensor([0]), [1], QUICK))
    assert {step.latent.dtype for step in steps} == {step.clean.dtype for step in steps} == {torch.float32}


def test_classes_by_number_name_or_all():
    assert chosen_classes("2, Shoe ,0", NAMES) == [2, 1, 0]
    assert chosen_classes("all", NAMES) == [0, 1, 2]
    assert chosen_classes("2,1", ("1", "2", "3")) == [1, 0], "a class that is called by a number"
    assert chosen_classes("Caf\u00e9", ("bar", "cafe\u0301")) == [1]


@pytest.mark.parametrize("words", ["3", "-1", "boot", "", "1,,2"])
def test_what_is_no_class_is_refused(words):
    with pytest.raises(ValueError, match=r"is no class: choose from 0 to 2, or shirt, shoe, hat"):
        chosen_classes(words, NAMES)


def test_a_folder_holds_the_samples_in_order_and_a_picture_of_all(sampler, tmp_path):
    labels = [0, 0, 1, 1, 2]
    sample_to_folder(replace(sampler, batch_size=2), labels, 7, QUICK, tmp_path)
    with np.load(tmp_path / "samples.npz") as saved:
        seeds = [sample_seed(7, k) for k in range(5)]
        assert saved["labels"].tolist() == labels and saved["seeds"].tolist() == seeds
        expected = sampler.samples(torch.tensor(labels), seeds, QUICK).permute(0, 2, 3, 1).numpy()
        assert saved["images"].dtype == np.uint8
        assert np.abs(saved["images"] / 255 - expected).max() < 0.5 / 255 + 1e-4
    assert sorted(path.name for path in tmp_path.iterdir()) == ["grid.png", "request.json", "samples.npz"]


def test_an_interrupted_run_goes_on_where_it_stopped(sampler, tmp_path, drawn):
    pairs, labels = replace(sampler, batch_size=2), [0, 1, 2, 0, 1, 2]

    def interrupt(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sample_to_folder(pairs, labels, 0, QUICK, tmp_path, interrupt)
    assert drawn == [2, 2] and not (tmp_path / "samples.npz").exists()
    sample_to_folder(pairs, labels, 0, QUICK, tmp_path)
    assert drawn == [2, 2, 2]
    sample_to_folder(pairs, labels, 0, QUICK, tmp_path)
    assert drawn == [2, 2, 2], "a finished folder is left alone"


@pytest.mark.parametrize("change", [{"seed": 1}, {"labels": [0, 1]}, {"settings": replace(QUICK, steps=4)}])
def test_a_folder_of_another_request_is_refused_and_kept(sampler, tmp_path, change):
    request = {"labels": [0], "seed": 0, "settings": QUICK}
    sample_to_folder(sampler, **request, out=tmp_path)
    before = (tmp_path / "samples.npz").read_bytes()
    with pytest.raises(ValueError, match="another request"):
        sample_to_folder(sampler, **(request | change), out=tmp_path)
    assert (tmp_path / "samples.npz").read_bytes() == before


def test_a_grid_reads_row_by_row():
    images = np.arange(5, dtype=np.uint8).reshape(5, 1, 1, 1).repeat(3, axis=3)
    assert grid(images)[..., 0].tolist() == [[0, 1, 2], [3, 4, 0]]
    assert grid(images, columns=2)[..., 0].tolist() == [[0, 1], [2, 3], [4, 0]]


def test_imagenet_has_a_thousand_names():
    names = by_class.imagenet_classes()
    assert len(names) == 1000 and names.index("golden retriever") == 207
    with pytest.raises(ValueError, match=r"from 'tench' to 'toilet tissue'\. Did you mean 'golden retriever'\?"):
        names.index("Golden Retriever")


# --- The lesson's dials -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lesson(sampler):
    """What the cells of lesson 3 define, over a tiny network."""
    everywhere = replace(QUICK, guidance_interval=EVERYWHERE)
    given = {"sampler": sampler, "names": NAMES, "settings": QUICK, "intervals": {"everywhere": everywhere}}
    return definitions(find_notebooks(["03"])[0], **given)


@pytest.mark.parametrize("scheduler", SCHEDULERS)
@pytest.mark.parametrize("guidance", [0.0, 1.0, 8.0])
@pytest.mark.parametrize(("interval", "steps"), [("as in the settings", 2), ("everywhere", 7)])
def test_every_choice_of_the_dials_draws_and_two_of_them_fit_beside_each_other(
    lesson, scheduler, guidance, interval, steps
):
    figure = lesson.draw("hat", guidance, interval, scheduler, steps, 3)
    assert figure.description == "four samples" and figure.get_figwidth() * figure.dpi <= 450


@pytest.mark.parametrize("count", [1, 2, 3, 16, 61])
def test_steps_are_shown_from_the_first_to_the_last(lesson, count):
    shown = lesson.spread_over(count, 5)
    assert shown[0] == 0 and shown[-1] == count - 1 and len(shown) == len(set(shown)) == min(count, 5)


def test_the_ancestral_rule_in_the_answer_of_an_exercise_is_that_of_diffusers():
    more = next(cell for cell in read_notebook(find_notebooks(["03"])[0]).cells if cell.id == "more-to-try")
    (rule,) = (block for block in re.findall(r"```python\n(.+?)```", more.source, re.DOTALL) if "s2 =" in block)
    scheduler = DDPMScheduler.from_config(STABLE_DIFFUSION, clip_sample=False, timestep_spacing="trailing")
    scheduler.set_timesteps(10)
    time, following = scheduler.timesteps[3:5]
    x, noise = torch.randn(2, 1, 4, 8, 8)
    signal, share = signal_and_noise(scheduler, following)
    names = {"torch": torch, "scheduler": scheduler, "x": x, "noise": noise, "time": time, "following": following}
    names |= {"signal": signal, "share": share, "clean": predict_clean(scheduler, x, noise, time)}
    torch.manual_seed(5)
    exec(rule, names)
    library = scheduler.step(noise, time, x, generator=torch.Generator().manual_seed(5)).prev_sample
    torch.testing.assert_close(names["x"], library, rtol=1e-4, atol=1e-5)
