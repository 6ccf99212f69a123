"""The live controls call the lesson's function with what the learner chose."""

import datetime

import ipywidgets
import pytest
from traitlets import Bunch

from tutorial_utils.figures import controls


def give(button: ipywidgets.FileUpload, content: bytes) -> None:
    """Upload a file, as the browser does."""
    now = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    file = {"name": "a", "type": "image/png", "size": len(content), "last_modified": now}
    button.set_trait("value", ({**file, "content": memoryview(content)},))


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


def test_a_wrong_file_is_named_and_the_control_lives_on(drawn, capsys):
    def draw(content: bytes) -> None:
        if content == b"text":
            raise ValueError("this is not a picture")
        drawn.append(content)

    button, _ = controls.upload(draw, "picture").children
    give(button, b"text")
    assert "this is not a picture" in capsys.readouterr().out
    give(button, b"pixels")
    assert drawn == [b"pixels"]
