"""The live controls call the lesson's function with what the learner chose."""

import datetime
import warnings

import ipywidgets
import pytest
from traitlets import Bunch

from tutorial_utils.figures import controls


def give(button: ipywidgets.FileUpload, content: bytes) -> None:
    """Upload a file, as the browser does."""
    now = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    file = {"name": "a", "type": "image/png", "size": len(content), "last_modified": now}
    button.set_trait("value", ({**file, "content": memoryview(content)},))


def text_of(stage: ipywidgets.Output) -> str:
    """What a control says in words."""
    return "".join(output["text"] for output in stage.outputs if output["output_type"] == "stream")


@pytest.fixture
def drawn() -> list:
    """What a control asked to be drawn."""
    return []


def test_a_slider_draws_its_value_and_every_new_one(drawn):
    control, _ = controls.slider(drawn.append, [8, 16, 32], 16, "patch").children
    control.value = 32
    assert drawn == [16, 32]


def test_dials_draw_all_their_values_in_order_whenever_one_is_turned(drawn):
    first, second, _ = controls.dials(
        lambda *values: drawn.append(values), {"class": ["a", "b"], "steps": [5, 10]}, {"class": "b", "steps": 5}
    ).children
    second.value = 10
    first.value = "a"
    assert drawn == [("b", 5), ("b", 10), ("a", 10)]


def test_an_uploaded_file_is_drawn_from_its_content(drawn):
    button, _ = controls.upload(drawn.append, "picture").children
    give(button, b"pixels")
    assert drawn == [b"pixels"]


def test_an_uploaded_file_is_drawn_with_the_ipywidgets_that_hosts_still_bring(drawn):
    button, _ = controls.upload(drawn.append, "picture").children
    as_version_7 = {"a.png": {"metadata": {"name": "a.png"}, "content": b"pixels"}}
    button.notify_change(Bunch(name="value", type="change", owner=button, old={}, new=as_version_7))
    assert drawn == [b"pixels"]


def test_taking_an_upload_back_draws_nothing(drawn):
    button, _ = controls.upload(drawn.append, "picture").children
    give(button, b"pixels")
    button.set_trait("value", ())
    assert drawn == [b"pixels"]


def test_a_wrong_file_is_named_and_the_control_lives_on(drawn):
    def draw(content: bytes) -> None:
        if content == b"text":
            raise ValueError("this is not a picture")
        drawn.append(content)

    button, stage = controls.upload(draw, "picture").children
    give(button, b"text")
    assert text_of(stage) == "this is not a picture\n"
    give(button, b"pixels")
    assert drawn == [b"pixels"] and not stage.outputs


def test_a_value_is_chosen_with_a_slider_and_a_text_is_typed():
    options = {"class": ["a", "b"], "steps": [5, 10.5], "sentence": str}
    start = {"class": "b", "steps": 5, "sentence": "x"}
    kinds = [type(one) for one in controls.dials(lambda *values: None, options, start).children[:-1]]
    assert kinds == [ipywidgets.SelectionSlider, ipywidgets.SelectionSlider, ipywidgets.Text]


def test_a_text_is_drawn_as_it_was_typed_and_why_it_cannot_be_is_a_sentence(drawn):
    def draw(text: str) -> None:
        if not text:
            raise ValueError("type a sentence")
        drawn.append(text)

    typed, stage = controls.dials(draw, {"sentence": str}, {"sentence": "a bag"}).children
    typed.value = ""
    assert text_of(stage) == "type a sentence\n"
    typed.value = "a <b>red</b> bag"
    assert drawn == ["a bag", "a <b>red</b> bag"]


def test_what_is_printed_and_warned_of_stands_above_the_picture():
    def draw(value: int) -> str:
        print("one comma was left out")
        return "a picture"

    _, stage = controls.slider(draw, [1, 2], 1, "value").children
    assert text_of(stage) == "one comma was left out\n"
    assert stage.outputs[1]["data"]["text/plain"] == "'a picture'"


def test_a_warning_is_its_words_alone_however_often_it_is_given():
    slider, stage = controls.slider(
        lambda value: warnings.warn("a comma was ignored", stacklevel=1), [1, 2], 1, "value"
    ).children
    assert text_of(stage) == "a comma was ignored\n"
    slider.value = 2
    assert text_of(stage) == "a comma was ignored\n"


def test_the_choice_before_is_kept_beside_the_present_one():
    slider, stage = controls.dials(lambda value: value, {"s": [1, 2, 3]}, {"s": 1}, compare=True).children
    slider.value = 2
    slider.value = 3
    (words_before, before), (words_now, now) = (column.children for column in stage.children)
    assert (words_before.value, words_now.value) == ("s: 2", "s: 3")
    assert [one.outputs[0]["data"]["text/plain"] for one in (before, now)] == ["2", "3"]
