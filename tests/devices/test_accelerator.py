"""The pretended GPU refuses what a real one refuses, and finds the mistakes that stopped the lessons there."""

import numpy as np
import pytest
import torch
from accelerator import DEVICE, Accelerator
from torch import nn

from tutorial_utils.networks import uvit
from tutorial_utils.sampling import diffusion


@pytest.fixture(autouse=True)
def present():
    with Accelerator():
        yield


def on_device(*shape: int) -> torch.Tensor:
    return torch.ones(*shape, device=DEVICE)


def test_what_is_made_or_moved_there_is_there_and_so_is_what_comes_of_it():
    made, moved = on_device(2, 3), torch.ones(2, 3).to(DEVICE)
    looked_up, raised = made[torch.tensor([0])], made + torch.tensor(1.0)
    for tensor in (made, moved, made + moved, torch.zeros_like(made), looked_up, raised):
        assert tensor.device == DEVICE and tensor.is_cuda
    assert made.cpu().device.type == made.to("cpu").device.type == torch.ones(2).device.type == "cpu"


def test_a_copy_is_a_copy():
    here = on_device(2)
    here.cpu().zero_()
    here.cpu().to(DEVICE).zero_()
    assert here.tolist() == [1, 1]


def test_a_network_moves_as_a_whole():
    network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)).to(DEVICE).eval()
    assert {weight.device for weight in (*network.parameters(), *network.buffers())} == {DEVICE}
    assert len(list(network.parameters())) == 4 and network(on_device(2, 3)).device == DEVICE
    assert network.to("cpu")(torch.ones(2, 3)).device.type == "cpu"


REFUSED = {
    "a sum with a tensor of the processor": lambda here: here + torch.ones(2, 3),
    "one beside another": lambda here: torch.cat([here, torch.ones(2, 3)]),
    "a network of the processor": lambda here: nn.Linear(3, 3)(here),
    "a network's input from the processor": lambda here: nn.Linear(3, 3).to(DEVICE)(torch.ones(2, 3)),
    "a generator of the processor": lambda here: here.normal_(generator=torch.Generator()),
    "reading as numpy": lambda here: here.numpy(),
    "reading as an array": lambda here: np.asarray(here),
    "float64": lambda here: here.double(),
    "float64, made there": lambda here: torch.ones(1, device=DEVICE, dtype=torch.float64),
    "float64 on the way to the processor": lambda here: here.to("cpu", torch.float64),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_a_real_one_refuses_is_refused(what):
    with pytest.raises((RuntimeError, TypeError), match=r"cuda|float64"):
        REFUSED[what](on_device(2, 3))


def test_times_of_the_processor_do_not_reach_a_network_on_the_device():
    network = uvit.UViT(img_size=4, embed_dim=8, depth=2, num_heads=2, num_classes=3).to(DEVICE)
    labels = torch.zeros(1, dtype=torch.int64, device=DEVICE)
    with pytest.raises(RuntimeError, match="cuda:0 and on cpu"):
        network(on_device(1, 4, 4, 4), torch.ones(1), labels)


def test_a_sampling_loop_keeps_its_device_if_its_scheduler_is_asked_for_other_times_in_between():
    scheduler = diffusion.make_scheduler("ddim")
    network = uvit.UViT(img_size=4, embed_dim=8, depth=2, num_heads=2, num_classes=3).to(DEVICE)
    labels = torch.zeros(1, dtype=torch.int64, device=DEVICE)
    loop = diffusion.sample(network, scheduler, on_device(1, 4, 4, 4), labels, steps=2)
    scheduler.set_timesteps(2)  # without a device: the next steps' times are the processor's
    assert diffusion.last(loop).latent.device == DEVICE


def test_shares_of_signal_and_noise_need_no_float64_on_the_device():
    times = torch.tensor([0.0, 500.0], device=DEVICE)
    signal, noise = diffusion.signal_and_noise(diffusion.make_scheduler("ddim"), times)
    assert torch.allclose(signal**2 + noise**2, torch.ones(2))
