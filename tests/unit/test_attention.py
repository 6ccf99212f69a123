"""Attention of a small random ViT: true weights, a rollout that equals the product, and the model left as it was."""

import numpy as np
import pytest
import torch
from diffusers.models.attention_processor import Attention
from einops import rearrange
from transformers import ViTConfig, ViTForImageClassification

from tutorial_utils.networks.attention import attention_rollout, attention_weights, cls_attention, recorded

LAYERS, HEADS, GRID = 3, 2, (2, 3)
TOKENS = GRID[0] * GRID[1] + 1


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    config = ViTConfig(
        image_size=(8, 12),
        patch_size=4,
        hidden_size=16,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        intermediate_size=32,
        initializer_range=0.5,  # far from uniform attention
    )
    return ViTForImageClassification(config).eval()


@pytest.fixture(scope="module")
def pixels():
    return torch.randn(2, 3, 8, 12, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def weights(model, pixels):
    return attention_weights(model, pixels)


def test_weights_are_distributions_over_the_tokens(weights):
    assert weights.shape == (LAYERS, 2, HEADS, TOKENS, TOKENS)
    assert (weights >= 0).all()
    torch.testing.assert_close(weights.sum(-1), torch.ones(LAYERS, 2, HEADS, TOKENS))
    assert weights.std() > 0.05  # not all alike, so that the tests below can fail


def test_weights_of_the_first_layer_follow_from_its_queries_and_keys(model, pixels, weights):
    layer = model.vit.layers[0]
    seen = {}
    names = {
        name.split(".")[-1]: module for name, module in layer.named_modules() if isinstance(module, torch.nn.Linear)
    }
    query = next(module for name, module in names.items() if name.startswith("q"))
    key = next(module for name, module in names.items() if name.startswith("k"))
    hooks = [
        module.register_forward_hook(lambda _, __, out, name=name: seen.update({name: out}))
        for name, module in (("query", query), ("key", key))
    ]
    with torch.no_grad():
        model(pixels)
    for hook in hooks:
        hook.remove()
    q, k = (seen[name].view(2, TOKENS, HEADS, -1).transpose(1, 2) for name in ("query", "key"))
    expected = (q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).softmax(-1)
    torch.testing.assert_close(weights[0], expected)


def test_weights_carry_no_gradient(weights):
    assert not weights.requires_grad


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
def test_the_attention_implementation_is_restored(model, pixels, implementation):
    before = model.config._attn_implementation
    model.set_attn_implementation(implementation)
    try:
        attention_weights(model, pixels)
        assert model.config._attn_implementation == implementation
    finally:
        model.set_attn_implementation(before)


def test_the_attention_implementation_is_restored_after_an_error(model):
    before = model.config._attn_implementation
    assert before != "eager"
    with pytest.raises(ValueError):
        attention_weights(model, torch.zeros(1, 3, 9, 9))
    assert model.config._attn_implementation == before


def test_cls_attention_is_the_first_row_laid_out_as_the_image(weights):
    maps = cls_attention(weights, GRID, layer=1)
    assert maps.shape == (2, HEADS, *GRID)
    for row in range(GRID[0]):
        for column in range(GRID[1]):
            torch.testing.assert_close(maps[:, :, row, column], weights[1, :, :, 0, 1 + row * GRID[1] + column])
    torch.testing.assert_close(maps.sum((-2, -1)), 1 - weights[1, :, :, 0, 0])


def test_cls_attention_shows_the_last_layer_unless_told_otherwise(weights):
    assert torch.equal(cls_attention(weights, GRID), cls_attention(weights, GRID, layer=LAYERS - 1))


def test_rollout_equals_the_product_written_out_by_hand(weights):
    for image in range(2):
        product = np.eye(TOKENS)
        for layer in range(LAYERS):
            mean = sum(weights[layer, image, head].double().numpy() for head in range(HEADS)) / HEADS
            product = (0.5 * mean + 0.5 * np.eye(TOKENS)) @ product
        rolled = attention_rollout(weights, GRID)[image]
        np.testing.assert_allclose(rolled.numpy(), product[0, 1:].reshape(GRID), atol=1e-6)
        assert rolled.sum() == pytest.approx(1 - product[0, 0], abs=1e-5)


def test_rollout_is_in_the_precision_of_the_weights(weights):
    doubled = attention_rollout(weights.double(), GRID)
    assert doubled.dtype == torch.float64
    torch.testing.assert_close(doubled.float(), attention_rollout(weights, GRID))


def test_rollout_of_attention_to_itself_reaches_no_patch():
    itself = torch.eye(TOKENS).expand(LAYERS, 1, HEADS, TOKENS, TOKENS)
    assert torch.equal(attention_rollout(itself, GRID), torch.zeros(1, *GRID))


@pytest.mark.parametrize("function", [cls_attention, attention_rollout])
def test_a_wrong_grid_is_named_with_both_numbers(weights, function):
    with pytest.raises(ValueError, match=r"covers 6 patches, but grid=\(4, 4\) has 16: use that of the model"):
        function(weights, (4, 4))


@torch.no_grad()
def test_a_diffusers_layer_gives_the_same_output_while_its_weights_are_recorded():
    torch.manual_seed(0)
    layer = Attention(query_dim=8, cross_attention_dim=6, heads=2, dim_head=4)
    x, memory = torch.randn(3, 5, 8), torch.randn(3, 4, 6)
    bias = torch.zeros(3, 1, 4)
    bias[:, :, -1] = -torch.inf
    expected, processor = layer(x, memory, attention_mask=bias), layer.processor
    with recorded(layer) as weights:
        assert torch.allclose(layer(x, memory, attention_mask=bias), expected, atol=1e-6)
    assert [one.shape for one in weights] == [(3, 2, 5, 4)]
    assert torch.allclose(weights[0].sum(-1), torch.ones(3, 2, 5)) and not weights[0][..., -1].any()
    values = rearrange(layer.to_v(memory), "n s (heads d) -> n heads s d", heads=2)
    by_hand = layer.to_out[0](rearrange(weights[0] @ values, "n heads t d -> n t (heads d)"))
    assert torch.allclose(by_hand, expected, atol=1e-6)
    assert layer.processor is processor
    layer(x, memory)
    assert len(weights) == 1


def test_a_layer_is_itself_again_after_an_error():
    layer = Attention(query_dim=8, heads=2, dim_head=4)
    processor = layer.processor
    with pytest.raises(RuntimeError), recorded(layer):
        layer(torch.randn(1, 5, 7))
    assert layer.processor is processor and "get_attention_scores" not in vars(layer)
