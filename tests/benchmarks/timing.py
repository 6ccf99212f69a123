"""What the benchmarks share."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Hashable
from pathlib import Path


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


def headline(what: str, value: str) -> None:
    """Print a result that counts. Under `make report`, which names a file in REPORT_ROWS, it is a row of the report."""
    print(f"{what}: {value}")
    if rows := os.environ.get("REPORT_ROWS"):
        with Path(rows).open("a", encoding="utf-8") as file:
            file.write(json.dumps([what, value]) + "\n")
