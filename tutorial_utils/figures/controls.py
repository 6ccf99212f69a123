"""Live controls for a notebook with a running kernel. Each shows figures that a function of the lesson draws.

Arguments that are not as described are a ValueError, which names them.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from typing import Any

import ipywidgets
from IPython.display import display
from matplotlib.figure import Figure

from tutorial_utils import require


def slider(draw: Callable[[Any], Figure], options: Sequence[Any], value: Any, label: str) -> ipywidgets.VBox:
    """A slider over `options` that shows ``draw(option)`` below it, redrawn when the slider is released."""
    return dials(draw, {label: options}, {label: value})


def dials(draw: Callable[..., Figure], options: dict[str, Sequence[Any]], start: dict[str, Any]) -> ipywidgets.VBox:
    """Several sliders and what ``draw(first, second, ...)`` shows for them, redrawn when one is released.

    Args:
        draw: takes one value for each of `options`, in their order.
        options: what each dial, by its name, can be turned to.
        start: the value at which each stands at first.
    """
    for name, values in options.items():
        if start.get(name) not in values:
            raise ValueError(f"{name} cannot stand at {start.get(name)!r} at first: choose one of {list(values)}.")
    turned = {
        name: ipywidgets.SelectionSlider(options=values, value=start[name], description=name, continuous_update=False)
        for name, values in options.items()
    }
    shown = ipywidgets.interactive_output(lambda **values: display(draw(*values.values())), turned)
    return ipywidgets.VBox([*turned.values(), shown])


def upload(draw: Callable[[bytes], Figure], label: str) -> ipywidgets.VBox:
    """A button that uploads one picture and shows ``draw(content)``; what is wrong with a file is said below it."""
    button = ipywidgets.FileUpload(accept="image/*", multiple=False, description=label)
    shown = ipywidgets.Output()

    def show(change: dict) -> None:
        shown.clear_output(wait=True)
        files = change["new"].values() if isinstance(change["new"], dict) else change["new"]  # a dict before version 8
        if not files:
            return
        with shown:
            try:
                display(draw(bytes(next(iter(files))["content"])))
            except ValueError as error:
                print(error)

    button.observe(show, names="value")
    return ipywidgets.VBox([button, shown])


def progress(total: int) -> Callable[[int, str], None]:
    """A progress bar for work of `total` steps, and the function that moves it: ``show(done, text)``.

    It changes in place, as a printed line does, but leaves nothing in the stored notebook.
    """
    require.whole("total", total, 0)
    bar = ipywidgets.IntProgress(max=total)
    words = ipywidgets.HTML()  # a Label would make formulas of what stands between two dollars
    display(ipywidgets.HBox([bar, words]))

    def show(done: int, text: str) -> None:
        bar.value, words.value = done, html.escape(f"{done} of {total}, {text}")

    return show
