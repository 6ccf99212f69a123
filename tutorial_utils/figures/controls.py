"""Live controls for a notebook with a running kernel. Each shows figures that a function of the lesson draws.

Arguments that are not as described are a ValueError, which names them.
"""

from __future__ import annotations

import html
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import ipywidgets
from IPython.display import display
from IPython.utils.capture import capture_output

from tutorial_utils import require

Options = Sequence[Any] | type[str]
"""What a control can be turned to: values, or `str` for any text."""


def slider(draw: Callable[[Any], Any], options: Sequence[Any], value: Any, label: str) -> ipywidgets.VBox:
    """A slider over `options` that shows ``draw(option)`` below it, redrawn when the slider is released."""
    return dials(draw, {label: options}, {label: value})


def dials(
    draw: Callable[..., Any], options: dict[str, Options], start: dict[str, Any], compare: bool = False
) -> ipywidgets.VBox:
    """Several controls and what ``draw(first, second, ...)`` shows for them, redrawn when one is changed.

    Values are chosen with a slider, words too: of a list JupyterLab would take the keys for itself. A text is typed.
    From the keyboard left and right move a slider, and Enter takes a text. A ValueError of `draw` is a sentence in
    place of the picture.

    Args:
        draw: takes one value for each of `options`, in their order, and gives a figure or another thing to show.
        options: what each control, by its name, can be turned to: values, or `str` for a text to type.
        start: the value at which each stands at first.
        compare: keep what the choice before has given beside what the present one gives.
    """
    turned = {name: _control(name, values, start.get(name)) for name, values in options.items()}
    stage = _Stage(compare)

    def show(change: object = None) -> None:
        values = {name: control.value for name, control in turned.items()}
        stage.show(", ".join(f"{name}: {value}" for name, value in values.items()), lambda: draw(*values.values()))

    for control in turned.values():
        control.observe(show, names="value")
    show()
    return ipywidgets.VBox([*turned.values(), stage.shown])


def _control(name: str, options: Options, value: Any) -> ipywidgets.DOMWidget:
    look = {"description": name, "style": {"description_width": "initial"}}
    if options is str and isinstance(value, str):
        return ipywidgets.Text(value=value, continuous_update=False, layout={"width": "30em"}, **look)
    if options is str or value not in options:
        allowed = "give a text" if options is str else f"choose one of {list(options)}"
        raise ValueError(f"{name} cannot stand at {value!r} at first: {allowed}.")
    return ipywidgets.SelectionSlider(options=options, value=value, continuous_update=False, **look)


class _Stage:
    """Where a control shows what it drew, and, if asked to, what it had drawn before."""

    def __init__(self, compare: bool):
        self._now, self._before = (
            {"words": ipywidgets.HTML(), "picture": ipywidgets.Output()} for _ in ("now", "before")
        )
        columns = [ipywidgets.VBox(list(one.values())) for one in (self._before, self._now)]
        self.shown = ipywidgets.HBox(columns) if compare else self._now["picture"]

    def show(self, words: str, draw: Callable[[], Any]) -> None:
        """Show what ``draw()`` gives, what it prints and warns of, or why it could not."""
        drawn = None
        with capture_output() as said, warnings.catch_warnings(record=True) as warned:
            try:
                drawn = draw()
            except ValueError as error:
                print(error)
        now, before = self._now, self._before
        before["picture"].outputs, now["picture"].outputs = now["picture"].outputs, ()
        before["words"].value, now["words"].value = now["words"].value, html.escape(words)
        # of a warning its words alone: where in a cell it was given tells nobody anything
        if text := said.stdout + said.stderr + "".join(f"{one.message}\n" for one in warned):
            now["picture"].append_stdout(text)
        if drawn is not None:
            now["picture"].append_display_data(drawn)


def upload(draw: Callable[[bytes], Any], label: str) -> ipywidgets.VBox:
    """A button that uploads one picture and shows ``draw(content)``; what is wrong with a file is said below it."""
    button = ipywidgets.FileUpload(accept="image/*", multiple=False, description=label)
    stage = _Stage(compare=False)

    def show(change: dict) -> None:
        files = change["new"].values() if isinstance(change["new"], dict) else change["new"]  # a dict before version 8
        if files:
            stage.show("", lambda: draw(bytes(next(iter(files))["content"])))

    button.observe(show, names="value")
    return ipywidgets.VBox([button, stage.shown])


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
