"""Rates with what they are worth: how many were counted, and between which bounds the true rate lies.

Counts and outcomes that make no rate are a ValueError.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import binomtest

from tutorial_utils import require


@dataclass(frozen=True)
class Rate:
    """How many of so many: ``print`` shows the rate, its 95% interval (Wilson 1927) and the count.

    Attributes:
        right: those that are as asked.
        count: all, at least 1.
    """

    right: int
    count: int

    def __post_init__(self) -> None:
        require.whole("count", self.count, 1)
        require.whole("right", self.right, 0, self.count)

    @classmethod
    def of(cls, outcomes: ArrayLike) -> Rate:
        """The rate of what is true among booleans of any shape, an array or a tensor, at least one of them."""
        values = np.asarray(outcomes)
        if values.dtype != bool:
            raise ValueError(f"outcomes are {values.dtype}: a rate is of booleans, such as predicted == labels.")
        return cls(int(values.sum()), values.size)

    @property
    def value(self) -> float:
        """From 0 to 1."""
        return self.right / self.count

    @property
    def interval(self) -> tuple[float, float]:
        """Bounds that hold the true rate in 95 of 100 such samples."""
        found = binomtest(self.right, self.count).proportion_ci(method="wilson")
        return float(found.low), float(found.high)

    def ties(self, other: Rate) -> bool:
        """Whether the intervals overlap: then the two do not differ as far as these counts can tell."""
        return self.interval[0] <= other.interval[1] and other.interval[0] <= self.interval[1]

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.value:.1%} ({low:.1%} to {high:.1%}, n = {self.count:,})"
