"""The measures of generated images, on pictures whose quality is known."""

import pytest
import torch

from tutorial_utils.datasets import garments
from tutorial_utils.datasets.fashion_mnist import fashion_mnist_tensors
from tutorial_utils.measures import metrics


@pytest.fixture(scope="module")
def judge() -> metrics.Judge:
    return metrics.load_judge()


@pytest.fixture(scope="module")
def real() -> tuple[torch.Tensor, torch.Tensor]:
    grey, labels = fashion_mnist_tensors("test")
    return garments.stills(grey[:400]), labels[:400]


def test_the_judge_knows_real_garments_at_any_size(judge, real):
    images, labels = real
    assert metrics.class_agreement(judge, images, labels) > 0.9
    small = garments.shrink(images).expand(-1, 3, -1, -1)
    assert metrics.class_agreement(judge, small, labels) > 0.9


def test_agreement_with_wrong_labels_is_low(judge, real):
    images, labels = real
    assert metrics.class_agreement(judge, images, (labels + 1) % 10) < 0.1


def test_logits_come_from_features(judge, real):
    images = real[0][:4]
    with torch.no_grad():
        pixels = judge.processor(images, do_rescale=False, return_tensors="pt").pixel_values
        assert torch.allclose(judge.logits(judge.features(images)), judge.vit(pixels).logits, atol=1e-4)


def test_a_set_is_at_no_distance_from_itself_and_worse_pictures_are_further_away(judge, real):
    images, _ = real
    half, other = images[:200], images[200:]
    torch.manual_seed(0)
    noisy = (half + 0.3 * torch.randn_like(half)).clamp(0, 1)
    same = metrics.frechet_distance(judge, images, images)
    fresh, worse = metrics.frechet_distances(judge, {"fresh": half, "worse": noisy}, other).values()
    assert abs(same) < 0.01 < fresh < worse
    assert worse == pytest.approx(metrics.frechet_distance(judge, noisy, other), rel=1e-4)


def test_one_picture_over_and_over_has_a_large_distance(judge, real):
    images, _ = real
    assert metrics.frechet_distance(judge, images[:1].repeat(200, 1, 1, 1), images) > metrics.frechet_distance(
        judge, images[:200], images
    )


def test_the_nearest_neighbour_is_found_and_its_distance_is_a_root_mean_square():
    among = torch.tensor([[0.0, 0.0], [1.0, 1.0], [4.0, 0.0]])
    distances, indices = metrics.nearest(torch.tensor([[0.9, 0.7], [4.0, 2.0]]), among)
    assert indices.tolist() == [1, 2]
    assert torch.allclose(distances, torch.tensor([(0.01 + 0.09) / 2, 4 / 2]).sqrt())


def test_neighbours_in_a_class_ignore_nearer_ones_outside():
    among, classes = torch.tensor([[0.0], [1.0], [2.0]]), torch.tensor([0, 1, 0])
    distances, indices = metrics.nearest_in_class(torch.tensor([[1.2], [1.2]]), torch.tensor([0, 1]), among, classes)
    assert indices.tolist() == [2, 1]
    assert torch.allclose(distances, torch.tensor([0.8, 0.2]))


def test_spread_is_within_classes_only():
    features = torch.tensor([[0.0, 0.0], [2.0, 0.0], [100.0, 0.0], [104.0, 0.0], [0.0, 300.0], [0.0, 306.0]])
    assert metrics.spread(features, torch.tensor([0, 0, 1, 1, 2, 2])) == pytest.approx((1 + 2 + 3) / 3 * 2**0.5)


def test_the_judge_is_the_miniature_at_any_scale(monkeypatch):
    monkeypatch.setenv("TUTORIAL_SCALE", "full")
    assert metrics.load_judge().vit.config.num_labels == 10


def test_nothing_has_no_neighbours():
    distances, indices = metrics.nearest(torch.zeros(0, 2), torch.zeros(3, 2))
    assert distances.shape == indices.shape == (0,)


def test_unsuitable_images_are_refused(judge):
    with pytest.raises(ValueError, match=r"torch.uint8 \(2, 3, 8, 8\)"):
        judge(torch.zeros(2, 3, 8, 8, dtype=torch.uint8))
    with pytest.raises(ValueError, match=r"\(2, 1, 8, 8\)"):
        judge(torch.zeros(2, 1, 8, 8))
    with pytest.raises(ValueError, match=r"\(1, 3, 8, 8\).* N at least 2"):
        metrics.frechet_distance(judge, torch.zeros(1, 3, 8, 8), torch.zeros(4, 3, 8, 8))
    with pytest.raises(ValueError, match=r"features .*\(2, 5\): floats \(N, 128\)"):
        judge.logits(torch.zeros(2, 5))
    with pytest.raises(ValueError, match=r"queries are \(2,\) each, the others \(3,\)"):
        metrics.nearest(torch.zeros(1, 2), torch.zeros(1, 3))
