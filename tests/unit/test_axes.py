"""The axes of labelled volumes are found however they lie, and not where the labels say nothing."""

from itertools import permutations, product

import numpy as np
import pytest

pytest.importorskip("medmnist", reason="a light environment has no medmnist, which knows the labels' names")

from tutorial_utils.datasets.axes import find_axes
from tutorial_utils.datasets.organmnist3d import organmnist3d


@pytest.fixture(scope="module")
def organs():
    """The stand-in's training volumes at half their resolution, their labels and names."""
    data = organmnist3d("mini")
    volumes, labels = data.train
    return np.ascontiguousarray(volumes[:, ::2, ::2, ::2]), labels, data.names


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_the_axes_are_found_in_every_order_and_direction(organs, order):
    volumes, labels, names = organs
    for signs in product((1, -1), repeat=3):
        turned = volumes.transpose(0, *(1 + axis for axis in order))[:, :: signs[0], :: signs[1], :: signs[2]]
        found = find_axes(turned, labels, names)
        assert (found.left_right, found.head_feet) == (order.index(2), order.index(0))


def test_the_right_axis_gains_in_every_pair(organs):
    gains = find_axes(*organs).gains
    assert gains.shape == (3, 3) and (gains[:, 2] > 0.05).all() and (gains[:, :2] < 0.05).all()


@pytest.mark.parametrize("seed", range(10))
def test_labels_that_say_nothing_leave_it_open(organs, seed):
    volumes, labels, names = organs
    chance = np.random.default_rng(seed)
    for nonsense in (chance.permutation(labels), chance.permutation(len(names))[labels]):
        found = find_axes(volumes, nonsense, names)
        assert found.left_right is None and found.head_feet is None and "cannot be told" in found.why


def test_too_few_volumes_leave_it_open(organs):
    volumes, labels, names = organs
    few = np.concatenate([np.flatnonzero(labels == label)[:3] for label in range(len(names))])
    assert find_axes(volumes[few], labels[few], names).left_right is None


def test_what_cannot_be_read_is_named(organs):
    volumes, labels, names = organs
    with pytest.raises(ValueError, match=r"shape \(971, 14, 14\)"):
        find_axes(volumes[..., 0], labels, names)
    with pytest.raises(ValueError, match="one for each of 971 volumes"):
        find_axes(volumes, labels[:-1], names)
    with pytest.raises(ValueError, match="no kidney-left"):
        find_axes(volumes, labels, names[:1])
    with pytest.raises(ValueError, match="0 volumes of lung-right"):
        kept = labels != list(names).index("lung-right")
        find_axes(volumes[kept], labels[kept], names)
