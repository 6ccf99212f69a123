"""Whatever a person types is shown as it was typed, in every figure: a prompt about prices is no formula."""

import inspect
import warnings

import pytest
from figures import FIGURES, animation
from matplotlib.text import Text

from tutorial_utils.figures import controls, plotting

TYPED = [
    "$$",
    "a bag for $5, not $10",
    "$\\alpha_{ 100 % {of} them",
    "$x$\n<b>&amp; $$ a_b^c ￥5",
    "一只红色的运动鞋，慢慢向左！",
]


def test_no_figure_has_been_forgotten():
    drawing = ("show_", "draw_", "new_", "bare")
    known = {name for name, _ in inspect.getmembers(plotting, inspect.isfunction) if name.startswith(drawing)}
    assert known == FIGURES.keys()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_shows_a_text_as_it_was_typed(name):
    for typed in TYPED:
        figure = FIGURES[name](typed)
        figure._repr_mimebundle_()  # a formula that is none would stop here
        shown = [text for text in figure.findobj(Text) if text.get_text().strip() == typed.strip()]
        assert not any(text.get_parse_math() for text in shown), typed


def test_signs_that_no_font_has_are_named_once_in_one_warning():
    figure = FIGURES["new_figure"]("\N{ROCKET} \N{SLICE OF PIZZA} \N{ROCKET} 一")
    with pytest.warns(UserWarning) as told:
        figure._repr_mimebundle_()
    (warning,) = told
    assert "No font here has \N{ROCKET}, \N{SLICE OF PIZZA}: " in str(warning.message)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure._repr_mimebundle_()


def test_powers_of_ten_are_still_set_as_such():
    figure = FIGURES["new_figure"]("$$")
    figure._repr_mimebundle_()
    ticks = [label for label in figure.axes[0].get_xticklabels() if label.get_text()]
    assert ticks and all(label.get_parse_math() for label in ticks)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("typed", TYPED)
def test_an_animation_shows_a_caption_as_it_was_typed(typed):
    assert animation(typed)._repr_mimebundle_()[0]["image/png"]


def test_the_words_beside_a_progress_bar_are_neither_formula_nor_markup(monkeypatch):
    shown = []
    monkeypatch.setattr(controls, "display", lambda box: shown.extend(box.children))
    controls.progress(2)(1, "from $5 to $10 <b>")
    assert shown[1].value == "1 of 2, from $5 to $10 &lt;b&gt;"
    assert type(shown[1]).__name__ == "HTML"  # a Label would be searched for formulas
