"""The machine: scales and devices that are not there are named, and seeds reproduce."""

import os
import random

import numpy as np
import pytest
import torch

from tutorial_utils import runtime


@pytest.mark.parametrize(("value", "expected"), [(None, "mini"), ("", "mini"), ("mini", "mini"), ("full", "full")])
def test_the_scale_is_what_the_variable_says_and_mini_without_it(monkeypatch, value, expected):
    if value is not None:
        monkeypatch.setenv("TUTORIAL_SCALE", value)
    assert runtime.scale() == expected


@pytest.mark.parametrize("value", ["huge", "Mini", " full", "0"])
def test_a_wrong_scale_is_named_with_its_variable_and_the_choices(monkeypatch, value):
    monkeypatch.setenv("TUTORIAL_SCALE", value)
    with pytest.raises(ValueError) as caught:
        runtime.scale()
    assert f"TUTORIAL_SCALE={value!r}" in str(caught.value)
    assert "'mini'" in str(caught.value) and "'full'" in str(caught.value)


def test_a_device_can_be_chosen_by_argument_and_by_variable(monkeypatch):
    assert runtime.device("cpu") == torch.device("cpu")
    monkeypatch.setenv("TUTORIAL_DEVICE", "cpu")
    assert runtime.device() == torch.device("cpu")


def test_the_argument_wins_over_the_variable(monkeypatch):
    monkeypatch.setenv("TUTORIAL_DEVICE", "abacus")
    assert runtime.device("cpu") == torch.device("cpu")


@pytest.mark.parametrize(
    ("cuda", "mps", "expected"), [(True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")]
)
def test_the_default_device_is_cuda_then_mps_then_cpu(monkeypatch, cuda, mps, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert runtime.device().type == expected


@pytest.mark.parametrize("wanted", ["cuda", "cuda:1", "mps", "abacus", "cpu:x", "CPU", "cuda:"])
@pytest.mark.parametrize("through", ["argument", "variable"])
def test_a_device_that_is_not_here_is_named_with_the_ones_that_are(monkeypatch, wanted, through):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    if through == "variable":
        monkeypatch.setenv("TUTORIAL_DEVICE", wanted)
    with pytest.raises(ValueError, match="choose one of .*'cpu'") as caught:
        runtime.device(wanted if through == "argument" else None)
    assert repr(wanted) in str(caught.value)


def test_a_gpu_beyond_the_last_is_not_available(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert runtime.device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(ValueError, match="'cuda:2' is not available"):
        runtime.device("cuda:2")


def test_the_precision_on_a_cpu_is_float32():
    assert runtime.dtype(torch.device("cpu")) == torch.float32


@pytest.mark.parametrize(("bfloat16", "expected"), [(True, torch.bfloat16), (False, torch.float16)])
def test_the_precision_on_a_gpu_is_what_it_computes_in(monkeypatch, bfloat16, expected):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: bfloat16)
    assert runtime.dtype(torch.device("cuda")) == expected
    assert runtime.dtype(torch.device("mps")) == torch.float16


def test_a_seed_reproduces_every_generator_and_another_seed_does_not():
    def draw(seed: int) -> tuple:
        runtime.seed_everything(seed)
        return random.random(), np.random.rand(), torch.rand(1).item()

    first = draw(7)
    assert draw(7) == first
    assert all(one != other for one, other in zip(first, draw(8), strict=True))


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_threads_are_as_many_as_asked_for_or_as_there_are_cores(threads):
    assert runtime.use_threads(1) == torch.get_num_threads() == 1
    assert runtime.use_threads() == torch.get_num_threads() == runtime.cores()


@pytest.mark.parametrize("count", [0, -2])
def test_less_than_one_thread_is_an_error(count, threads):
    with pytest.raises(ValueError, match=f"count={count} must be a whole number from 1"):
        runtime.use_threads(count)


@pytest.mark.parametrize("limit", ["0.5", "1.0", "0"])
def test_a_learners_share_bounds_the_cores(monkeypatch, limit):
    monkeypatch.setenv("CPU_LIMIT", limit)
    assert runtime.cores() == 1


def test_a_share_beyond_the_machine_is_the_machine(monkeypatch):
    monkeypatch.delenv("CPU_LIMIT", raising=False)
    cores = runtime.cores()
    monkeypatch.setenv("CPU_LIMIT", "1000")
    assert runtime.cores() == cores


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system does not bind processes to cores")
def test_cores_are_those_that_this_process_may_use():
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert runtime.cores() == 1
    finally:
        os.sched_setaffinity(0, before)


def test_a_silent_startup_drops_what_compiled_code_writes_and_nothing_after_it(capfd):
    with runtime.silent_startup():
        os.write(2, b"a notice")
    os.write(2, b"a warning")
    assert capfd.readouterr().err == "a warning"


def test_a_silent_startup_raises_as_ever_and_gives_stderr_back(capfd):
    with pytest.raises(ImportError, match="no such"), runtime.silent_startup():
        raise ImportError("no such module")
    os.write(2, b"here")
    assert capfd.readouterr().err == "here"
