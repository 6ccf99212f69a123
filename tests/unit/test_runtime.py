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
    install_gpu(monkeypatch, (9, 0))
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


def install_gpu(monkeypatch, capability: tuple[int, int]) -> None:
    """A machine with two GPUs of a compute capability, and the kernels of today's wheel."""
    compiled = ["sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120"]
    for name, answer in {
        "is_available": True,
        "device_count": 2,
        "get_device_capability": capability,
        "get_device_name": "GeForce",
        "get_arch_list": compiled,
    }.items():
        monkeypatch.setattr(torch.cuda, name, lambda where=None, answer=answer: answer)


def test_a_gpu_without_kernels_is_left_alone_and_that_is_said(monkeypatch):
    install_gpu(monkeypatch, (6, 1))
    with pytest.warns(UserWarning, match=r"no kernels for GeForce \(sm_61\), only sm_75, .* use the processor instead"):
        assert runtime.device() == torch.device("cpu")
    with pytest.raises(ValueError, match=r"no kernels for GeForce \(sm_61\).* Choose another device than 'cuda:1'"):
        runtime.device("cuda:1")


WHEEL = ["sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120"]
KERNELS = {
    "a T4": ((7, 5), WHEEL, True),
    "an RTX 40, of an architecture that is not listed": ((8, 9), WHEEL, True),
    "a V100": ((7, 0), WHEEL, False),
    "a GTX 10": ((6, 1), WHEEL, False),
    "one that is older than all of its generation": ((10, 0), ["sm_90", "sm_103"], False),
    "one that is newer than all binaries": ((13, 0), WHEEL, False),
    "one that is newer, with PTX": ((13, 0), [*WHEEL, "compute_120"], True),
    "one that is older than the PTX": ((7, 0), ["compute_75"], False),
    "the one of a binary for it alone": ((9, 0), ["sm_90a"], True),
    "the next to one with a binary for it alone": ((10, 3), ["sm_100a"], False),
    "one of a family": ((10, 3), ["sm_100f"], True),
    "one of another family": ((11, 0), ["sm_100f", "compute_100f"], False),
    "one that ROCm drives": ((9, 0), ["gfx90a"], True),
    "none at all": ((9, 0), [], False),
}


@pytest.mark.parametrize("which", KERNELS)
def test_a_gpu_is_usable_if_torch_was_built_for_it(which):
    capability, compiled, usable = KERNELS[which]
    assert runtime._has_kernels(capability, compiled) == usable


def test_a_gpu_computes_in_full_single_precision():
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    runtime.device("cpu")
    assert not torch.backends.cuda.matmul.allow_tf32 and not torch.backends.cudnn.allow_tf32


def test_a_gpu_beyond_the_last_is_not_available(monkeypatch):
    install_gpu(monkeypatch, (9, 0))
    assert runtime.device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(ValueError, match="'cuda:2' is not available"):
        runtime.device("cuda:2")


def test_the_precision_is_float32_for_all_but_large_models_on_a_gpu():
    assert {runtime.dtype(torch.device(kind)) for kind in ("cpu", "cuda", "mps")} == {torch.float32}
    assert runtime.dtype(torch.device("cpu"), large=True) == torch.float32


@pytest.mark.parametrize(("bfloat16", "expected"), [(True, torch.bfloat16), (False, torch.float16)])
def test_the_half_precision_of_a_gpu_is_what_it_computes_in(monkeypatch, bfloat16, expected):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: bfloat16)
    assert runtime.dtype(torch.device("cuda"), large=True) == expected
    assert runtime.dtype(torch.device("mps"), large=True) == torch.float16


def test_a_fact_allows_for_the_rounding_of_its_precision():
    assert runtime.tolerance(torch.float32, 1e-2) == 1e-2
    assert runtime.tolerance(torch.bfloat16, 1e-3) == 0.125 and runtime.tolerance(torch.bfloat16, 0.5) == 0.5
    assert runtime.tolerance(torch.float16, 1e-3) == pytest.approx(0.0156, rel=0.01)


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
