"""How far a long piece of work has come, on the terminal."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

Item = TypeVar("Item")


_shown: list[str] = []
"""The title of the bar that is on the terminal, if one is."""


@contextlib.contextmanager
def bar(title: str, unit: str, shown: bool = True, done: int = 0) -> Iterator[Callable[[int, int], None]]:
    """A progress bar, moved by a function of what is done and the total. One within another is not shown.

    Args:
        done: what an earlier run has done; the time that is left is estimated without it.
    """
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (TextColumn(title), BarColumn(), MofNCompleteColumn(), TextColumn(unit), TimeElapsedColumn())
    columns += (TextColumn("left:"), TimeRemainingColumn())
    with Progress(*columns, disable=not shown or bool(_shown)) as progress:
        task = progress.add_task(title, total=None, completed=done)
        _shown.append(title)
        try:
            yield lambda done, total: progress.update(task, completed=done, total=total)
        finally:
            _shown.pop()


def each(items: Sequence[Item], title: str, unit: str) -> Iterator[Item]:
    """The items one after the other, under a progress bar: one is done when the next is asked for."""
    with bar(title, unit) as progress:
        for done, item in enumerate(items):
            progress(done, len(items))
            yield item
        progress(len(items), len(items))
