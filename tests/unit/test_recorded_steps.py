"""On a GPU a recipe's step is recorded and repeated: so nothing in it may read a number back, or bring one along."""

import functools

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from tutorial_utils.datasets.moving import FRAMES, draw_scenes
from tutorial_utils.recipes import latte, uvit, vae

NUMBERS = {
    "_local_scalar_dense": "reads a number back from the GPU",
    "nonzero": "reads back how many there are",
    "masked_select": "reads back how many there are",
    "lift_fresh": "makes a tensor of numbers in Python",
    "equal": "reads an answer back",
}


class Recording(TorchDispatchMode):
    """Refuses whatever a CUDA graph cannot record."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function._schema.name.removeprefix("aten::")
        assert name not in NUMBERS, f"{name} {NUMBERS[name]}"
        return function(*args, **(kwargs or {}))


def vae_step():
    grey, recipe = torch.rand(20, 1, 28, 28), vae.Recipe(grey_stills=2, tinted_stills=1, frames=2)
    network = vae.build()
    return lambda: vae.loss_of(network, vae.draw_batch(grey, recipe), recipe)


def uvit_step():
    recipe = uvit.Recipe(embed_dim=32, num_heads=2, depth=2)
    network, latents, labels = uvit.build(recipe), torch.randn(5, 4, 8, 8), torch.arange(5)
    return lambda: uvit.loss_of(network, latents, labels, recipe)


def latte_step(single: bool):
    recipe = latte.Recipe(width=16, heads=2, layers=1, text_width=32, text_layers=1, frame_batch=3, clip_batch=2)
    model = latte.TextToVideo(recipe, len(latte.make_tokenizer()))
    scenes = draw_scenes(20, torch.Generator().manual_seed(0))
    latents, sentences = torch.randn(20, FRAMES, 4, 8, 8).half(), torch.randint(3, 50, (480, 4, 6))

    def step():
        x, ids = latte.draw_batch(latents, scenes, sentences, recipe, single)
        return latte.loss_of(model, x, ids, (ids != latte.PADDING).long(), recipe.drop_prompt)

    return step


STEPS = {
    "vae": vae_step,
    "uvit": uvit_step,
    "latte, frames": functools.partial(latte_step, True),
    "latte, clips": functools.partial(latte_step, False),
}


@pytest.mark.parametrize("name", STEPS)
def test_a_step_can_be_recorded(name, monkeypatch):
    torch.manual_seed(0)
    step = STEPS[name]()
    step()  # tables are made at the first step, which is not recorded
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)  # as checks of values take a recording, too
    with Recording():
        step().backward()


def test_the_recorder_refuses_what_waits():
    for waits in (lambda x: x.item(), lambda x: bool(x > 0), lambda x: torch.tensor([1.0]) + x, lambda x: x[x > 0]):
        with pytest.raises(AssertionError), Recording():
            waits(torch.ones(()))
