"""Sampling arrives where the published sampler does, sample k depends on its seed alone, and guidance is as defined.

The reference values are described in tests/data/README.md.
"""

import dataclasses
import functools
import math
import pickle

import diffusers
import numpy as np
import pytest
import torch
from published import REFERENCE, build
from safetensors.torch import load_file

from tutorial_utils.sampling.diffusion import (
    EVERYWHERE,
    SCHEDULERS,
    STABLE_DIFFUSION,
    Settings,
    draw_noise,
    generators,
    guided,
    last,
    make_scheduler,
    predict_clean,
    sample,
    signal_and_noise,
)

pytestmark = pytest.mark.usefixtures("one_thread")

SHAPE = (4, 8, 8)
LABELS = torch.tensor([0, 3, 6])
GUIDED = {"guidance_scale": 1.4, "null_label": 10}


def ddpm(config: dict = STABLE_DIFFUSION):
    return diffusers.DDPMScheduler.from_config(config, clip_sample=False)


def sde(config: dict = STABLE_DIFFUSION):
    return diffusers.DPMSolverMultistepScheduler.from_config(config, algorithm_type="sde-dpmsolver++")


def named(name: str):
    return lambda config=STABLE_DIFFUSION: make_scheduler(name, config)


DETERMINISTIC = {name: named(name) for name in SCHEDULERS}
STOCHASTIC = {"ddpm": ddpm, "sde": sde}  # they add noise at every step
EVERY = DETERMINISTIC | STOCHASTIC


@pytest.fixture(scope="module")
def reference():
    return load_file(REFERENCE)


@pytest.fixture(scope="module")
def network(reference):
    return build(reference, "cond")


class Recorder:
    """A network that remembers what it was called with."""

    def __init__(self, network):
        self.network, self.calls = network, []

    def __call__(self, x, times, labels):
        self.calls.append((x.clone(), times.clone(), None if labels is None else labels.clone()))
        return self.network(x, times, labels)

    @property
    def batches(self) -> list[int]:
        return [len(x) for x, _, _ in self.calls]


def linear(x, times, labels):
    """A network that costs nothing, and answers differently for each class and time."""
    return 0.5 * x + 0.1 * labels[:, None, None, None] + times[:, None, None, None] / 1000


def noise(count: int = 3) -> torch.Tensor:
    return draw_noise(generators(range(count)), SHAPE)


def distance(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Relative L2."""
    return ((found - expected).norm() / expected.norm()).item()


# --- The published sampler ----------------------------------------------------------------------------------------


def published(network, reference, scheduler, steps: int) -> torch.Tensor:
    """Sampled from the reference's noise, for its labels and with its guidance."""
    z_T, y = reference["sample.z_T"], reference["sample.y"]
    return last(sample(network, scheduler, z_T, y, steps=steps, **GUIDED)).latent


@pytest.mark.parametrize(("steps", "bound"), [(10, 0.02), (20, 0.005), (50, 0.003)])
def test_the_published_solver_approaches_the_reference_as_fast_as_the_published_code(network, reference, steps, bound):
    latent = published(network, reference, make_scheduler("dpm-single"), steps)
    assert distance(latent, reference["sample.z_0.reference_600"]) <= bound


@pytest.mark.parametrize(("steps", "bound"), [(10, 0.01), (20, 0.003), (50, 0.001)])
def test_the_published_solver_lands_where_the_published_code_does(network, reference, steps, bound):
    latent = published(network, reference, make_scheduler("dpm-single"), steps)
    assert distance(latent, reference[f"sample.z_0.official_fast_{steps}"]) <= bound


# Measured at 20 and 100 steps: dpm-single 0.0039, 0.0008; dpm-multi 0.0072, 0.0004; unipc 0.0048, 0.0004;
# euler 0.025, 0.005; ddim 0.121, 0.024. The last two are of first order.
BOUNDS = {
    "dpm-single": (0.005, 0.0015),
    "dpm-multi": (0.01, 0.001),
    "unipc": (0.007, 0.001),
    "euler": (0.035, 0.008),
    "ddim": (0.15, 0.03),
}


@pytest.mark.parametrize("name", SCHEDULERS)
def test_every_scheduler_approaches_the_reference(network, reference, name):
    at_20, at_100 = BOUNDS[name]
    wanted = reference["sample.z_0.reference_600"]
    assert distance(published(network, reference, make_scheduler(name), 20), wanted) <= at_20
    assert distance(published(network, reference, make_scheduler(name), 100), wanted) <= at_100


def test_ddim_needs_no_divisor_of_a_thousand(network, reference):
    wanted = reference["sample.z_0.reference_600"]
    assert distance(published(network, reference, make_scheduler("ddim"), 150), wanted) <= 0.03


@torch.no_grad()
def test_a_network_without_classes_is_sampled(reference):
    network = build(reference, "uncond")
    end = last(sample(network, make_scheduler("unipc"), draw_noise(generators([1, 2]), (3, 16, 16)), steps=5))
    assert end.latent.shape == end.clean.shape == (2, 3, 16, 16)
    assert end.latent.isfinite().all()


# --- A network that knows the answer ------------------------------------------------------------------------------


def perfect(scheduler, clean: torch.Tensor):
    """A network that knows the clean images, and answers as the scheduler's prediction type says."""

    def answer(x, times, labels):
        signal, share = (s[:, None, None, None] for s in signal_and_noise(scheduler, times - 1))
        epsilon = (x - signal * clean) / share
        kinds = {"epsilon": epsilon, "v_prediction": signal * epsilon - share * clean, "sample": clean}
        return kinds[scheduler.config.prediction_type]

    return answer


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("make", EVERY.values(), ids=EVERY)
def test_a_network_that_knows_the_image_leads_to_it(make, prediction_type):
    scheduler = make({**STABLE_DIFFUSION, "prediction_type": prediction_type})
    clean = 3 * noise().roll(1, 0)
    steps = list(sample(perfect(scheduler, clean), scheduler, noise(), steps=12, sources=generators([1, 2, 3])))
    assert len(steps) == 12
    for step in steps:
        torch.testing.assert_close(step.clean, clean, atol=2e-3, rtol=0)
    torch.testing.assert_close(steps[-1].latent, clean, atol=2e-3, rtol=0)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_as_the_published_sampler_each_stops_at_the_first_level(name):
    scheduler, clean = make_scheduler(name), 3 * noise().roll(1, 0)
    end = last(sample(perfect(scheduler, clean), scheduler, noise(), steps=12))
    assert (end.latent - clean).std().item() == pytest.approx(0.0292, abs=0.002)  # of noise, at time 1 of 1,000


@pytest.mark.parametrize("make", EVERY.values(), ids=EVERY)
def test_samples_of_a_gaussian_have_its_spread(make):
    scheduler, spread = make(), 0.5

    def best(x, times, labels):
        """The expected noise, where images are normal with this spread."""
        signal, share = (s[:, None, None, None] for s in signal_and_noise(scheduler, times - 1))
        return share * x / (signal**2 * spread**2 + share**2)

    sources = generators(range(16))
    # DDPM adds the least noise that could be right: 6% too little spread at 100 steps, and less at more of them
    latent = last(sample(best, scheduler, draw_noise(sources, SHAPE), steps=250, sources=sources)).latent
    assert latent.std().item() == pytest.approx(spread, rel=0.05)
    assert latent.mean().item() == pytest.approx(0, abs=0.04)


def test_euler_shows_the_network_noisy_images_of_unit_variance():
    scheduler, clean = make_scheduler("euler"), noise().roll(1, 0)
    network = Recorder(perfect(scheduler, clean))
    start = noise()
    list(sample(network, scheduler, start, steps=10))
    assert scheduler.init_noise_sigma > 10
    torch.testing.assert_close(network.calls[0][0], start, atol=0.02, rtol=0)
    # the way of a perfect network is straight: the noise in the latent is the same all along
    epsilon = start - clean / scheduler.init_noise_sigma
    for x, times, _ in network.calls:
        signal, share = signal_and_noise(scheduler, times[0] - 1)
        torch.testing.assert_close(x, signal * clean + share * epsilon, atol=5e-3, rtol=0)


# --- Sample k depends on its own seed -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make", [named("dpm-single"), named("euler"), ddpm, sde], ids=["dpm-single", "euler", "ddpm", "sde"]
)
def test_a_sample_is_the_same_in_any_batch(network, make):
    seeds, labels = [11, 22, 33], {11: 0, 22: 3, 33: 6}

    def latents(order: list[int]) -> dict:
        sources = generators(order)
        start = draw_noise(sources, SHAPE)
        classes = torch.tensor([labels[seed] for seed in order])
        end = last(sample(network, make(), start, classes, steps=6, sources=sources, **GUIDED))
        return dict(zip(order, end.latent, strict=True))

    together = latents(seeds)
    assert distance(together[11], together[22]) > 0.1
    for order in ([33, 11, 22], [11], [22], [33]):
        for seed, latent in latents(order).items():
            torch.testing.assert_close(latent, together[seed], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("make", STOCHASTIC.values(), ids=STOCHASTIC)
def test_the_noise_of_the_steps_comes_from_the_samples_generators(make):
    def end(seed: int) -> torch.Tensor:
        sources = generators([seed, seed + 1, seed + 2])
        return last(sample(linear, make(), noise(), LABELS, steps=5, sources=sources)).latent

    before = torch.get_rng_state()
    assert torch.equal(end(0), end(0))
    assert not torch.allclose(end(0), end(1))
    assert torch.equal(torch.get_rng_state(), before)


def test_noise_is_drawn_for_each_seed_alone():
    drawn = draw_noise(generators([5, 6]), SHAPE)
    assert drawn.shape == (2, *SHAPE) and drawn.dtype == torch.float32
    assert torch.equal(drawn[1], draw_noise(generators([6]), SHAPE)[0])
    assert not torch.equal(drawn[0], drawn[1])
    assert torch.equal(draw_noise(generators([5]), SHAPE)[0], torch.randn(SHAPE, generator=generators([5])[0]))


# --- Guidance -----------------------------------------------------------------------------------------------------


@torch.no_grad()
@pytest.mark.parametrize("scale", [0.0, 0.5, 1.0, 1.4, 7.5])
def test_guidance_goes_from_no_class_towards_the_class(network, scale):
    x, times = noise(), torch.tensor([1.0, 500.0, 1000.0])
    conditional = network(x, times, LABELS)
    unconditional = network(x, times, torch.full((3,), 10))
    assert distance(conditional, unconditional) > 0.01
    expected = unconditional + scale * (conditional - unconditional)
    torch.testing.assert_close(guided(network, x, times, LABELS, 10, scale), expected, atol=1e-5, rtol=1e-5)


def test_guidance_takes_one_call_with_twice_the_batch_and_none_takes_one_with_the_batch():
    for scale, batch, each in ((1.0, 3, 1), (1.4, 6, 2), (0.0, 6, 2)):
        network = Recorder(linear)
        steps = sample(network, make_scheduler("unipc"), noise(), LABELS, steps=5, guidance_scale=scale, null_label=10)
        assert [step.evaluations for step in steps] == [each * count for count in range(1, 6)]
        assert network.batches == [batch] * 5


def test_the_second_half_of_a_guided_batch_is_the_same_without_class():
    network = Recorder(linear)
    list(sample(network, make_scheduler("unipc"), noise(), LABELS, steps=3, **GUIDED))
    for x, times, labels in network.calls:
        assert torch.equal(x[:3], x[3:]) and torch.equal(times[:3], times[3:])
        assert labels.tolist() == [0, 3, 6, 10, 10, 10]


def test_each_sample_may_have_a_label_of_its_own_for_no_class():
    network = Recorder(linear)
    guidance = {"guidance_scale": 1.4, "null_label": LABELS + 10}
    end = last(sample(network, make_scheduler("unipc"), noise(), LABELS, steps=2, **guidance))
    assert [call[2].tolist() for call in network.calls] == [[0, 3, 6, 10, 13, 16]] * 2
    guidance["null_label"] = 13
    alike = last(sample(linear, make_scheduler("unipc"), noise(), LABELS, steps=2, **guidance))
    torch.testing.assert_close(end.latent[1], alike.latent[1])
    assert not torch.allclose(end.latent[0], alike.latent[0])


def test_guidance_is_left_out_outside_its_interval():
    network, low, high = Recorder(linear), 0.5, 5.0
    steps = list(
        sample(network, make_scheduler("dpm-multi"), noise(), LABELS, steps=12, guidance_interval=(low, high), **GUIDED)
    )
    within = [low <= step.noise_level <= high for step in steps]
    assert within[0] is within[-1] is False and 3 <= sum(within) <= 9
    assert network.batches == [6 if inside else 3 for inside in within]
    assert [step.evaluations for step in steps] == [index + 1 + sum(within[: index + 1]) for index in range(12)]


def test_an_interval_that_covers_every_level_changes_nothing_and_an_empty_one_takes_guidance_away():
    def end(**options) -> torch.Tensor:
        return last(sample(linear, make_scheduler("unipc"), noise(), LABELS, steps=5, **options)).latent

    assert torch.equal(end(**GUIDED, guidance_interval=(0.001, 1000)), end(**GUIDED))
    assert torch.equal(end(**GUIDED, guidance_interval=(1000, 2000)), end())
    assert not torch.allclose(end(**GUIDED), end())


# --- Levels and predictions ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", EVERY.values(), ids=EVERY)
def test_the_shares_follow_the_noise_schedule(make):
    scheduler = make()
    times = torch.arange(1000).view(10, 100)
    signal, share = signal_and_noise(scheduler, times)
    assert signal.shape == share.shape == (10, 100)
    torch.testing.assert_close(signal**2 + share**2, torch.ones(10, 100))
    torch.testing.assert_close((signal**2).flatten(), scheduler.alphas_cumprod, atol=1e-6, rtol=1e-5)


def test_stable_diffusions_schedule_is_linear_in_the_square_root_of_beta():
    betas = [(0.00085**0.5 + (0.012**0.5 - 0.00085**0.5) * index / 999) ** 2 for index in range(1000)]
    signal, _ = signal_and_noise(make_scheduler("dpm-single"), torch.tensor([0, 1, 500, 999]))
    kept = [math.prod(1 - beta for beta in betas[: time + 1]) ** 0.5 for time in (0, 1, 500, 999)]
    torch.testing.assert_close(signal, torch.tensor(kept), atol=1e-5, rtol=1e-4)


def test_shares_at_a_fraction_of_a_time_lie_between_its_neighbours():
    scheduler = make_scheduler("euler")
    signal, _ = signal_and_noise(scheduler, torch.tensor([500.0, 500.25, 501.0]))
    expected = 0.75 * signal[0] ** 2 + 0.25 * signal[2] ** 2
    assert signal[1].item() ** 2 == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("time", [0, 437, 999])
@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction", "sample"])
def test_the_clean_image_is_recovered_from_each_prediction_type(prediction_type, time):
    scheduler = make_scheduler("unipc", {**STABLE_DIFFUSION, "prediction_type": prediction_type})
    clean, epsilon = 3 * noise(), noise().roll(1, 0)
    signal = scheduler.alphas_cumprod[time].sqrt()
    share = (1 - scheduler.alphas_cumprod[time]).sqrt()
    noisy = signal * clean + share * epsilon
    output = {"epsilon": epsilon, "v_prediction": signal * epsilon - share * clean, "sample": clean}[prediction_type]
    found = predict_clean(scheduler, noisy, output, torch.tensor(time))
    torch.testing.assert_close(found, clean, atol=1e-4, rtol=1e-4)


def test_another_prediction_type_is_refused():
    scheduler = make_scheduler("unipc", {**STABLE_DIFFUSION, "prediction_type": "flow_prediction"})
    with pytest.raises(ValueError, match="prediction_type='flow_prediction' is not known"):
        predict_clean(scheduler, noise(), noise(), torch.tensor(5))


# --- The loop -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", EVERY.values(), ids=EVERY)
def test_the_network_sees_times_from_1_to_1000_as_floats(make):
    network, scheduler = Recorder(linear), make()
    steps = list(sample(network, scheduler, noise(), LABELS, steps=7, sources=generators([1, 2, 3])))
    assert len(network.calls) == len(steps) == 7
    for step, (x, times, _), time in zip(steps, network.calls, scheduler.timesteps.tolist(), strict=True):
        assert x.shape == (3, *SHAPE)
        assert times.shape == (3,) and times.dtype == torch.float32
        assert times.tolist() == pytest.approx([time + 1] * 3)
        assert step.time == time
        assert 1 <= times[0] <= 1000
    assert [step.index for step in steps] == list(range(7))
    levels = [step.noise_level for step in steps]
    assert levels == sorted(levels, reverse=True)
    if make not in STOCHASTIC.values():  # DDPM's steps start below the last time
        assert steps[0].time == 999 and levels[0] == pytest.approx(14.61, abs=0.01)


def test_the_clean_image_of_a_step_is_what_the_network_predicted_when_it_began():
    network, scheduler = Recorder(linear), make_scheduler("euler")
    for step in sample(network, scheduler, noise(), LABELS, steps=4):
        x, times, labels = network.calls[-1]
        expected = predict_clean(scheduler, x, linear(x, times, labels), torch.tensor(step.time))
        torch.testing.assert_close(step.clean, expected)


def test_a_caller_who_stops_early_pays_for_the_steps_that_were_taken():
    network = Recorder(linear)
    steps = sample(network, make_scheduler("dpm-single"), noise(), LABELS, steps=10)
    assert not network.calls
    assert [next(steps).index, next(steps).index] == [0, 1]
    steps.close()
    assert len(network.calls) == 2


def test_the_latents_of_earlier_steps_are_left_as_they_were():
    start = noise()
    kept = [(step.latent, step.latent.clone()) for step in sample(linear, sde(), start, LABELS, steps=5)]
    assert all(torch.equal(latent, copy) for latent, copy in kept)
    assert torch.equal(start, noise())


def test_sampling_records_no_gradients_and_leaves_the_callers_alone(network):
    assert any(p.requires_grad for p in network.parameters())
    for step in sample(network, make_scheduler("unipc"), noise(), LABELS, steps=2):
        assert torch.is_grad_enabled()
        assert not step.latent.requires_grad and not step.clean.requires_grad


def test_the_noises_type_is_kept():
    def network(x, times, labels):
        assert x.dtype == torch.bfloat16 and times.dtype == torch.float32
        return 0.5 * x

    for name in SCHEDULERS:
        end = last(sample(network, make_scheduler(name), noise().bfloat16(), steps=3))
        assert end.latent.dtype == torch.bfloat16 and end.latent.isfinite().all(), name


def test_a_scheduler_can_be_used_again():
    scheduler = make_scheduler("unipc")
    first, second = (last(sample(linear, scheduler, noise(), LABELS, steps=6)).latent for _ in range(2))
    assert torch.equal(first, second)


def test_a_schedule_that_ends_in_pure_noise_is_sampled():
    config = {**STABLE_DIFFUSION, "prediction_type": "v_prediction"}
    scheduler = diffusers.DDIMScheduler.from_config(
        config, rescale_betas_zero_snr=True, timestep_spacing="trailing", clip_sample=False
    )
    steps = list(sample(perfect(scheduler, noise().roll(1, 0)), scheduler, noise(), steps=5))
    assert steps[0].noise_level == math.inf
    torch.testing.assert_close(steps[-1].latent, noise().roll(1, 0), atol=1e-3, rtol=0)


# --- Settings that make no sense ----------------------------------------------------------------------------------


def test_an_unknown_scheduler_is_refused_with_the_names_that_are_known():
    with pytest.raises(ValueError, match=r"no scheduler 'plms': choose one of dpm-single, dpm-multi, unipc, ddim"):
        make_scheduler("plms")


@pytest.mark.parametrize(
    ("dial", "words"),
    [
        ("guidence_scale", r"no setting 'guidence_scale': choose one of scheduler, .*\. Did you mean 'guidance_scale'"),
        ("guidance", r"Did you mean 'guidance_scale' or 'guidance_interval'\?$"),
        ("temperature", r"no setting 'temperature': .*, guidance_interval\.$"),
    ],
)
def test_a_dial_that_there_is_not_is_refused_with_those_that_there_are(dial, words):
    for make in (Settings, functools.partial(dataclasses.replace, Settings())):
        with pytest.raises(ValueError, match=words):
            make(**{dial: 1.0})


def test_no_interval_of_guidance_is_all_of_it_and_settings_can_be_copied():
    settings = Settings(guidance_interval=None)
    assert settings.guidance_interval == EVERYWHERE and pickle.loads(pickle.dumps(settings)) == settings == Settings()


def test_a_scale_of_guidance_may_come_from_an_array_or_a_tensor():
    assert Settings(guidance_scale=torch.linspace(0, 8, 5)[1]) == Settings(guidance_scale=np.float32(2))
    with pytest.raises(ValueError, match="must be a number"):
        Settings(guidance_scale=torch.tensor([1.0, 2.0]))


def test_a_scheduler_that_cannot_start_from_pure_noise_is_refused_with_those_that_can():
    config = {**STABLE_DIFFUSION, "rescale_betas_zero_snr": True}
    with pytest.raises(ValueError, match=r"'dpm-single' cannot start .* one of dpm-multi, unipc, ddim, euler\.$"):
        make_scheduler("dpm-single", config)
    for name in ("dpm-multi", "unipc", "ddim", "euler"):
        scheduler, clean = make_scheduler(name, {**config, "prediction_type": "v_prediction"}), noise().roll(1, 0)
        steps = list(sample(perfect(scheduler, clean), scheduler, noise(), steps=5))
        assert steps[0].noise_level > 1000
        torch.testing.assert_close(steps[-1].latent, clean, atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "steps=0 must be a whole number from 1 to 1,000"),
        ({"steps": -3}, "steps=-3"),
        ({"guidance_interval": (2.0, 1.0)}, r"guidance_interval=\(2.0, 1.0\)"),
        ({"guidance_interval": (1.0, 1.0)}, r"guidance_interval=\(1.0, 1.0\)"),
        ({"guidance_interval": (-1.0, 1.0)}, r"guidance_interval=\(-1.0, 1.0\)"),
        ({"guidance_scale": math.nan}, "guidance_scale=nan"),
        ({"guidance_scale": math.inf}, "guidance_scale=inf"),
        ({"guidance_scale": -0.5}, "guidance_scale=-0.5"),
        ({"guidance_scale": 1.4, "null_label": None}, "needs labels and a null_label"),
        ({"guidance_scale": 1.4, "labels": None}, "needs labels and a null_label"),
        ({"guidance_scale": "2"}, "guidance_scale='2' must be a number"),
        ({"guidance_interval": 3}, "guidance_interval=3 must be two noise levels"),
        ({"guidance_interval": (1,)}, "must be two noise levels"),
        ({"guidance_interval": "01"}, "guidance_interval='01' must be two noise levels"),
        ({"labels": [1, 2, 3]}, "labels are a list and no tensor"),
        ({"labels": torch.tensor([1, 2])}, "2 labels were given for 3 samples"),
        pytest.param({"sources": generators([1, 2, 3, 4])}, "4 sources were given for 3 samples", id="four sources"),
    ],
    ids=str,
)
def test_settings_that_make_no_sense_are_refused_before_the_network_is_called(options, message):
    network = Recorder(linear)
    settings = {"labels": LABELS, "steps": 5, "null_label": 10, "guidance_interval": EVERYWHERE} | options
    with pytest.raises(ValueError, match=message):
        last(sample(network, make_scheduler("unipc"), noise(), **settings))
    assert not network.calls
