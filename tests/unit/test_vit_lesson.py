"""Lesson 1's code, taken from its cells: the model by hand against the library's, for networks of any shape."""

import numpy as np
import pytest
import torch
from transformers import ViTConfig, ViTForImageClassification

from tutorial_utils.definitions import definitions
from tutorial_utils.execution import find_notebooks
from tutorial_utils.networks.patches import patchify


@pytest.fixture(scope="module")
def lesson():
    return definitions(find_notebooks(["01"])[0], subset_labels=None, device=torch.device("cpu"))


@pytest.mark.parametrize(("size", "patch", "heads"), [((8, 12), 4, 2), ((6, 6), 3, 1), ((4, 8), 2, 8)])
@torch.no_grad()
def test_the_model_by_hand_is_the_librarys(lesson, size, patch, heads):
    torch.manual_seed(0)
    config = ViTConfig(
        image_size=size,
        patch_size=patch,
        hidden_size=16,
        num_hidden_layers=3,
        num_attention_heads=heads,
        intermediate_size=24,
        num_labels=5,
        initializer_range=0.5,
    )
    model = ViTForImageClassification(config).eval().double()
    for weight in model.parameters():  # biases and norms are zeros and ones at first, and would hide a mistake
        weight.add_(0.1 * torch.randn_like(weight))
    pixels = torch.randn(2, 3, *size, dtype=torch.float64)
    torch.testing.assert_close(lesson.forward(model, pixels), model(pixels).logits, rtol=0, atol=1e-5)


def test_patches_are_removed_from_the_highest_score_on_and_cls_stays(lesson):
    tokens = torch.arange(5.0).reshape(1, 5, 1).expand(2, 5, 3)  # [CLS] is 0, the patches 1 to 4
    scores = torch.tensor([[0.1, 0.9, 0.5, 0.7], [4, 3, 2, 1]])
    kept = lesson.without(tokens, scores, 2)[..., 0]
    assert [sorted(row) for row in kept.tolist()] == [[0, 1, 3], [0, 3, 4]]
    assert torch.equal(lesson.without(tokens, scores, 0).sort(dim=1).values, tokens)


def test_a_correlation_is_the_mean_of_numpys_over_the_images(lesson):
    first, second = np.random.default_rng(0).normal(size=(2, 3, 9))
    expected = np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(first, second, strict=True)])
    assert lesson.correlation(torch.tensor(first), torch.tensor(second)) == pytest.approx(expected)
    assert lesson.correlation(torch.ones(1, 9), torch.tensor(first[:1])) == 0


def test_holes_are_where_the_tokens_are_missing(lesson):
    image = torch.rand(1, 3, 4, 4) + 0.1
    scores = torch.tensor([[1.0, 4, 2, 3]])
    vars(lesson).update(
        all_rankings={"by score": scores},
        pixels=image,
        tokens=torch.zeros(1, 5, 2),
        to_logits=lambda tokens: torch.full((1, 2), float(tokens.shape[1])),
        P=2,
        config=ViTConfig(image_size=4, patch_size=2),
    )
    shown, shares = lesson.with_holes(0, "by score", 2)
    grey = (patchify(shown, 2) == 0.5).all(dim=1)
    assert grey.tolist() == [False, True, False, True] and shares.sum() == pytest.approx(1)


def test_random_crops_are_pieces_of_the_image(lesson):
    image = torch.arange(3 * 9 * 9).reshape(3, 9, 9)
    crops = lesson.random_crops(image, 6, 4)
    assert crops.shape == (6, 3, 4, 4)
    for crop in crops:
        y, x = divmod(int(crop[0, 0, 0]), 9)
        assert torch.equal(crop, image[:, y : y + 4, x : x + 4])
