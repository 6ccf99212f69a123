"""Rates come with their interval and their count, and what lies within is a tie."""

import numpy as np
import pytest
import torch

from tutorial_utils.measures.intervals import Rate


def test_a_rate_shows_its_interval_and_its_count():
    assert str(Rate(468, 1_000)) == "46.8% (43.7% to 49.9%, n = 1,000)"


@pytest.mark.parametrize("outcomes", [np.array([True, False, True, True]), torch.tensor([[True, False], [True, True]])])
def test_a_rate_is_of_booleans_of_any_shape(outcomes):
    assert Rate.of(outcomes) == Rate(3, 4)


def test_the_interval_holds_the_true_rate_as_often_as_it_says():
    right = np.random.default_rng(0).binomial(200, 0.9, 2_000)
    held = [low <= 0.9 <= high for low, high in (Rate(int(k), 200).interval for k in right)]
    assert 0.93 <= np.mean(held) <= 0.97


def test_all_of_a_few_is_not_certain():
    low, high = Rate(10, 10).interval
    assert 0.6 < low < 0.8 and high == 1.0


@pytest.mark.parametrize(("other", "tie"), [(480, True), (468, True), (700, False)])
def test_rates_whose_intervals_overlap_are_a_tie(other, tie):
    assert Rate(468, 1_000).ties(Rate(other, 1_000)) == tie == Rate(other, 1_000).ties(Rate(468, 1_000))


@pytest.mark.parametrize(("right", "count"), [(1, 0), (-1, 3), (4, 3), (0.5, 3)])
def test_counts_that_make_no_rate_are_refused(right, count):
    with pytest.raises(ValueError, match="count=|right="):
        Rate(right, count)


def test_numbers_are_no_outcomes():
    with pytest.raises(ValueError, match="predicted == labels"):
        Rate.of(np.array([1, 0, 1]))
