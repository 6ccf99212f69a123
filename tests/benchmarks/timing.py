"""What the benchmarks share."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable


def in_turn(variants: dict[Hashable, Callable[[], None]], rounds: int) -> dict[Hashable, list[float]]:
    """Seconds of each variant in turn, round by round, so that a drift of the machine's speed meets all alike."""
    seconds = {name: [] for name in variants}
    for round_number in range(rounds + 1):
        for name, call in variants.items():
            started = time.perf_counter()
            call()
            if round_number:  # the first round warms up
                seconds[name].append(time.perf_counter() - started)
    return seconds
