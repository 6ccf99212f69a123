"""The alternative text of a figure says what is drawn in it, for readers who cannot see the picture."""

import nbformat
import numpy as np
import pytest
from bs4 import BeautifulSoup
from IPython.core.interactiveshell import InteractiveShell

from tutorial_utils import pages
from tutorial_utils.figures import alt, plotting
from tutorial_utils.figures.video import animate
from tutorial_utils.measures.intervals import Rate

IMAGE = np.linspace(0, 1, 3 * 8 * 8).reshape(3, 8, 8)


def spoken(shown) -> str:
    """The alternative text that a notebook stores."""
    _, metadata = shown._repr_mimebundle_()
    return metadata["image/png"]["alt"]


def drawn(draw, columns: int = 1) -> str:
    """The alternative text of what ``draw(axes)`` draws on a row of axes."""
    figure, axes = plotting.new_figure("what it shows", 1, columns)
    draw(*axes[0])
    return spoken(figure)


def test_a_line_is_told_by_its_ends_and_by_what_is_lowest_and_highest_between_them():
    curves = {"fit": ([1, 2, 3, 4], [0.5, 0.125, 0.9, 0.75])}
    text = spoken(plotting.show_curves(curves, "epoch", "loss"))
    assert text == (
        "Loss against epoch: fit. X axis: epoch from 1 to 4; y axis: loss from 0.125 to 0.9. "
        "Fit: from 0.5 at 1 to 0.75 at 4, lowest 0.125 at 2, highest 0.9 at 3."
    )


def test_rates_are_told_in_percent_with_their_intervals():
    rate = Rate(9, 10)
    low, high = (f"{100 * end:.3g}%" for end in rate.interval)
    text = spoken(plotting.show_rate_curves({"most": ([0], [rate])}, "removed", "right"))
    assert f"Most: 90% ({low} to {high}) at 0." in text
    many = spoken(plotting.show_rate_curves({"most": (range(9), [rate] * 9)}, "removed", "right"))
    assert f"Most: 90% throughout; the last interval ({low} to {high})." in many


def test_bars_are_told_by_their_names_and_lengths_and_many_by_their_range():
    assert "Bars: cat 0.7; dog 0.3." in drawn(lambda ax: ax.bar(["cat", "dog"], [0.7, 0.3]))
    assert "Bars old: cat 7; dog 3." in drawn(lambda ax: ax.barh(["cat", "dog"], [7, 3], label="old"))
    assert "Bars: cat 2 (1 to 4)." in drawn(lambda ax: ax.bar(["cat"], [2], yerr=[[1], [2]]))
    assert "20 bars, 0 to 19, the longest at 19." in drawn(lambda ax: ax.bar(range(20), range(20)))
    rates = {"one": {"red": 0.5, "blue": 1.0}, "two": {"red": 0.25, "blue": 0.0}}
    assert "Bars one: red 50; blue 100. Bars two: red 25; blue 0." in spoken(plotting.show_rates(rates, "right"))


def test_a_length_that_is_written_at_a_bar_is_told_as_it_is_written_and_once():
    text = spoken(plotting.show_top_k(np.array([0.25, 0.75]), ["no", "yes"]))
    assert "Bars: yes 0.750; no 0.250." in text and text.count("0.750") == 1


def test_intervals_at_names_are_told_with_them():
    text = drawn(lambda ax: ax.errorbar([5, 6], ["joint", "apart"], xerr=[[1, 1], [1, 2]], fmt="o"))
    assert "Points: 5 (4 to 6) at joint; 6 (5 to 8) at apart." in text


def test_each_panel_is_told_by_number_title_and_axes_with_their_reach():
    def draw(one, two):
        one.plot([1, 2000], [4, 4], label="flat")
        one.set(xlabel="steps", ylabel="loss", title="first")
        two.loglog([1, 10], [10, 1000])
        two.set(xlabel="places")

    text = drawn(draw, 2)
    assert "Panel 1: first; x axis: steps from 1 to 2,000; y axis: loss from 4 to 4. Flat: 4 throughout." in text
    assert "Panel 2: x axis: places from 1 to 10, logarithmic; y axis: numbers from 10 to 1,000, logarithmic." in text
    assert "A line: from 10 at 1 to 1,000 at 10." in text


def test_pictures_are_told_by_their_captions_and_what_is_wrong_is_said():
    figure = plotting.show_images([IMAGE] * 5, ["bag", "bag", "✗ coat", "a\nb", ""], columns=3, description="garments")
    assert spoken(figure) == "Garments. 5 pictures in rows of 3: bag (2 times); wrong: coat; a, b."
    assert spoken(plotting.show_images([IMAGE], description="a bag")) == "A bag. One picture."


def test_rows_and_columns_with_names_are_told_by_them():
    figure, axes = plotting.new_figure("maps", 2, 2)
    for row, name in enumerate(("picture", "map")):
        axes[row, 0].set_ylabel(name)
    for column in (0, 1):
        plotting.draw_image(axes[0, column], IMAGE, f"number {column}")
        plotting.draw_attention(axes[1, column], IMAGE, np.eye(2)[[column]])
    assert spoken(figure) == (
        "Maps. 4 pictures in rows of 2, maps of 1 by 2 squares; the columns: number 0; number 1. Row picture. "
        "Row map: most in row 1, column 1; most in row 1, column 2."
    )


def test_columns_with_names_below_them_and_rows_without_are_told_by_number():
    figure, axes = plotting.new_figure("maps", 2, 2)
    for row, column in np.ndindex(2, 2):
        plotting.draw_attention(axes[row, column], IMAGE, np.eye(2)[[row]], "100%")
        axes[1, column].set_xlabel(f"layer {column}")
    assert spoken(figure) == (
        "Maps. 4 pictures in rows of 2, maps of 1 by 2 squares; the columns: layer 0; layer 1. "
        "Row 1: 100%, most in row 1, column 1 (2 times). Row 2: 100%, most in row 1, column 2 (2 times)."
    )


def test_of_many_points_not_each_interval_is_told_and_of_very_many_the_ends_alone():
    rates = [0, 1, 2], [Rate(9, 10), Rate(5, 10), Rate(1, 10)]
    five = spoken(plotting.show_rate_curves({f"line {k}": rates for k in range(5)}, "removed", "right"))
    assert five.count(": 90% at 0; 50% at 1; 10% at 2; the last interval (") == 5
    nine = spoken(plotting.show_rate_curves({f"line {k}": rates for k in range(9)}, "removed", "right"))
    assert nine.count(": from 90% at 0 to 10% at 2; the last interval (") > 5 and "Left out here" in nine


def test_of_a_map_the_brightest_place_is_told_and_a_bar_of_colours_is_no_panel():
    text = spoken(plotting.show_attention(IMAGE, np.array([[[0.0, 0, 0], [0, 0.5, 0]]]), ["head 1"]))
    assert text.endswith("2 pictures side by side, maps of 2 by 3 squares: image; head 1, most in row 2, column 2.")
    labelled = drawn(lambda ax: (ax.imshow([[1, 2], [3, np.nan]]), ax.set(xlabel="to", ylabel="from")))
    assert "A map of 2 by 2 squares, from 1 to 3, most in row 2, column 1." in labelled


def test_of_a_confusion_matrix_the_largest_shares_of_each_row_are_told_and_a_small_matrix_in_full():
    text = spoken(plotting.show_confusion(np.array([[3, 1], [0, 0]]), ["cat", "dog"]))
    assert "Largest in each row: cat: cat 75, dog 25; dog:" in text
    text = spoken(plotting.show_matrices({"scores": np.array([[1, 0.5], [-2, 0.128]])}))
    assert "Scores. Rows 1 0.5 / -2 0.13." in text


def test_a_diagram_is_told_by_its_words_in_order_and_by_what_its_arrows_join():
    figure, ax = plotting.new_diagram("from patches to tokens", 8, 2)
    for place, words in enumerate(("patches", "one\nmatrix", "tokens")):
        plotting.draw_box(ax, 3 * place, 0, 2, 1, words)
        if place:
            plotting.draw_arrow(ax, (3 * place - 0.9, 0.5), (3 * place - 0.1, 0.5))
    assert spoken(figure) == (
        "From patches to tokens. Written in it: patches; one matrix; tokens. "
        "Arrows: patches to one matrix; one matrix to tokens."
    )


def test_points_areas_and_marks_are_told_by_their_names():
    def draw(ax):
        ax.scatter([1, 2], [3, 5], label="data")
        ax.axhline(4, label="floor")
        ax.axvspan(1, 2, label="the interval")
        ax.fill_between([1, 2], [3, 4], [4, 5], label="spread")
        ax.text(1, 3, "here")

    text = drawn(draw)
    for said in ("Data: 2 of them, x 1 to 2, y 3 to 5.", "Floor: 4 throughout.", "Marked areas: the interval."):
        assert said in text
    assert "Drawn: spread." in text and text.endswith("Written in it: here.")


def test_a_long_text_is_cut_behind_a_sentence_and_says_how_much_is_left_out():
    sentences = [f"sentence {number} of a very long text about a figure" for number in range(40)]
    text = alt.joined(sentences)
    assert len(text) < alt.LONGEST + 50 and text.endswith(" figure. Left out here: 26 more sentences.")
    assert alt.listed([str(number) for number in range(99)]).endswith("; 11; and 87 more")
    assert alt.joined(["first", "", "is it?"]) == "First. Is it?"


ODD = {
    "nothing": lambda ax: None,
    "no points": lambda ax: (ax.plot([], [], label="empty"), ax.scatter([], [])),
    "gaps": lambda ax: (ax.plot([1, 2], [np.nan, np.nan], label="gaps"), ax.imshow(np.full((2, 2), np.nan))),
    "dates": lambda ax: ax.plot(np.array(["2024-01-01", "2024-01-02"], "datetime64[D]"), [1, 2]),
    "arrows": lambda ax: (ax.quiver([1], [1], [1], [1]), ax.annotate("", (0, 0), (1, 1), arrowprops={})),
    "stairs": lambda ax: (ax.stairs([1, 2]), ax.pie([1, 2]), ax.contourf(np.eye(3)), ax.stem([1, 2])),
    "boxes": lambda ax: (ax.boxplot([1, 2, 3]), ax.violinplot([1, 2, 3]), ax.contour(np.eye(3))),
    "no bars": lambda ax: (ax.bar([], []), ax.errorbar([], [], []), ax.errorbar([1], [1], [1], fmt="none")),
    "numbers as names": lambda ax: ax.set(xticks=[1, 2], xticklabels=[1, 2]),
    "symlog": lambda ax: (ax.plot([0, 1e12], [-1, 1e-12]), ax.set(xscale="symlog", yscale="logit")),
    "a map in colours of its own": lambda ax: ax.imshow(np.zeros((2, 2, 4))),
    "few intervals": lambda ax: ax.errorbar([1, 2, 3], [1, 2, 3], [1, 1, 1], errorevery=2),
    "a table": lambda ax: ax.table([["a", "b"]]),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("draw", ODD.values(), ids=ODD)
def test_whatever_a_learner_draws_has_an_alternative_text(draw):
    figure, axes = plotting.new_figure("something of one's own")
    draw(axes[0, 0])
    assert alt.of_figure(figure, figure.description).startswith("Something of one's own.")


def test_an_animation_is_told_by_its_captions_and_its_frames():
    videos = np.zeros((3, 4, 8, 8), np.uint8)
    shown = animate(videos, ["red", "red", "blue"], columns=2, fps=5, title="Clips", description="what guidance does")
    assert spoken(shown) == (
        "Clips: what guidance does. 3 videos in rows of 2: red (2 times); blue. Animation of 4 frames, 5 in a second."
    )


def test_the_alternative_text_reaches_the_notebook_and_the_page(tmp_path):
    shown = [plotting.show_images([IMAGE], ['"<a>" & b']), animate([IMAGE], ["a clip"])]
    formatter = InteractiveShell.instance().display_formatter
    forms = [formatter.format(one) for one in shown]
    outputs = [nbformat.v4.new_output("display_data", data, metadata=metadata) for data, metadata in forms]
    cell = nbformat.v4.new_code_cell("", outputs=outputs, execution_count=1)
    pages.write_html(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "page.html")
    page = BeautifulSoup((tmp_path / "page.html").read_text(encoding="utf-8"), "html.parser")
    found = [picture["alt"] for picture in page.find_all("img")]
    still, moving = map(spoken, shown)
    assert found == [still, moving, moving] and found[0].endswith('One picture: "<a>" & b.')
