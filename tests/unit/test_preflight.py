"""The card says ready, or what is missing and what to do about it."""

import dataclasses
import html
import html.parser
import shutil
from collections import namedtuple

import psutil
import pytest
import torch
from fetching import change_course

from tutorial_utils import preflight, runtime
from tutorial_utils.assets import store
from tutorial_utils.execution import ROOT, find_notebooks, read_notebook

LESSON = "01_vit_inference"
Amount = namedtuple("Amount", "available")
Disk = namedtuple("Disk", "free")


@pytest.fixture(autouse=True)
def roomy(tmp_path, monkeypatch):
    """A machine with 100 GB of everything and an empty cache."""
    change_course(own=tmp_path / "cache")
    machine(monkeypatch, memory=100, disk=100)


def memory_needed(scale: str) -> float:
    return preflight._table()[LESSON][scale]["memory_gb"]


def machine(monkeypatch, memory: float, disk: float) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: Amount(memory * 1e9))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Disk(disk * 1e9))


@pytest.mark.parametrize("scale", runtime.SCALES)
def test_a_machine_with_everything_is_ready(scale):
    card = preflight.preflight(LESSON, scale)
    assert card.ready and card.scale == scale
    assert card.verdict() == "this machine can run the lesson."
    assert "✗" not in str(card)


def test_the_mini_scale_downloads_nothing_and_needs_no_disk():
    card = preflight.preflight(LESSON, "mini")
    assert card.missing == ()
    assert dict(card.rows())["to download"] == "nothing"
    assert "disk" not in [need.what for need in card.needs]


def test_the_full_scale_says_what_it_downloads():
    card = preflight.preflight(LESSON, "full")
    assert [asset.name for asset in card.missing] == ["vit"]
    assert dict(card.rows())["to download"] == "346 MB from ModelScope or Hugging Face"


def test_the_card_names_the_checkpoint_the_data_and_what_the_other_scale_uses():
    for scale, other in (("mini", "full"), ("full", "mini")):
        rows = dict(preflight.preflight(LESSON, scale).rows())
        assert store.COURSE.find("vit", scale).title in rows["checkpoint"]
        assert store.COURSE.find("fashion-mnist").title in rows["data"]
        assert store.COURSE.find("vit", other).title in rows[f"at {other}"]


def test_missing_memory_at_mini_is_named_and_there_is_no_smaller_scale(monkeypatch):
    needed = memory_needed("mini")
    machine(monkeypatch, memory=needed - 0.5, disk=100)
    card = preflight.preflight(LESSON, "mini")
    assert not card.ready
    assert "memory is short by 0.5 GB" in card.verdict() and "no smaller scale" in card.verdict()
    assert dict(card.rows())["memory"] == f"✗ {needed:g} GB needed, {needed - 0.5:.1f} GB there"


def test_missing_memory_and_disk_at_full_are_both_named_and_mini_is_advised(monkeypatch):
    machine(monkeypatch, memory=memory_needed("full") - 1, disk=0.1)
    card = preflight.preflight(LESSON, "full")
    assert "memory is short by 1.0 GB; disk is short by 0.3 GB" in card.verdict()
    assert "TUTORIAL_SCALE=mini" in card.verdict()


def test_the_disk_that_counts_is_the_one_that_the_download_goes_to(tmp_path, monkeypatch):
    (tmp_path / "class").mkdir()
    monkeypatch.setenv("TUTORIAL_DATA", str(tmp_path / "class"))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Disk(1e9 if path == tmp_path / "class" else 9e9))
    needs = {need.what: need.there for need in preflight.preflight(LESSON, "full").needs}
    assert needs["disk"] == 1.0


def test_a_missing_gpu_is_named(monkeypatch):
    table = preflight._table() | {
        LESSON: preflight._table()[LESSON] | {"full": preflight._table()[LESSON]["full"] | {"gpu_gb": 16}}
    }
    monkeypatch.setattr(preflight, "_table", lambda: table)
    monkeypatch.setattr(preflight, "_gpu_gb", lambda: 0.0)
    assert "GPU memory is short by 16.0 GB" in preflight.preflight(LESSON, "full").verdict()


@pytest.mark.parametrize(
    ("free", "settings"),
    [(80.0, "cpu_offload: false"), (16.0, "cpu_offload: true")],
)
def test_the_free_gpu_memory_chooses_how_weights_are_kept(monkeypatch, free, settings):
    monkeypatch.setattr(preflight, "_gpu_gb", lambda: free)
    card = preflight.preflight("04", "full")
    assert dict(card.rows())["settings"].startswith(settings)
    assert card.options == {key: value == "true" for key, value in (one.split(": ") for one in settings.split(", "))}


def test_without_a_gpu_that_fits_there_is_nothing_to_choose(monkeypatch):
    monkeypatch.setattr(preflight, "_gpu_gb", lambda: 6.0)
    card = preflight.preflight("04", "full")
    assert card.options == {} and "settings" not in dict(card.rows())
    assert "GPU memory is short by 6.0 GB" in card.verdict()


def test_apple_silicon_is_not_offered_to_keep_weights_elsewhere(monkeypatch):
    monkeypatch.setattr(runtime, "device", lambda: torch.device("mps"))
    monkeypatch.setattr(preflight, "_gpu_gb", lambda: 16.0)
    card = preflight.preflight("04", "full")
    assert card.options == {}
    assert "GPU memory is short by 4.0 GB" in card.verdict()


def test_the_variable_decides_the_scale_where_none_is_given(monkeypatch):
    assert preflight.preflight(LESSON).scale == "mini"
    monkeypatch.setenv("TUTORIAL_SCALE", "full")
    assert preflight.preflight(LESSON).scale == "full"


def test_text_and_html_hold_the_same_rows():
    card = preflight.preflight(LESSON, "mini")
    page = html.unescape(card._repr_html_())
    for label, text in card.rows():
        assert label in str(card) and text in str(card)
        assert label in page and text in page
    assert repr(card) == str(card)


def test_html_is_escaped():
    asset = dataclasses.replace(store.COURSE.find("vit", "mini"), title="<img src=x> & co")
    card = dataclasses.replace(preflight.preflight(LESSON, "mini"), title="<script>alert(1)</script>", instead=asset)

    class Tags(html.parser.HTMLParser):
        def __init__(self):
            super().__init__()
            self.seen = set()

        def handle_starttag(self, tag, attrs):
            self.seen.add(tag)

    tags = Tags()
    tags.feed(card._repr_html_())
    assert tags.seen == {"div", "b", "table", "tr", "th", "td"}
    assert "&lt;img src=x&gt; &amp; co" in card._repr_html_()


def test_the_cards_colour_says_whether_it_is_ready(monkeypatch):
    ready = preflight.preflight(LESSON, "mini")._repr_html_()
    machine(monkeypatch, memory=0, disk=0)
    short = preflight.preflight(LESSON, "mini")._repr_html_()
    assert ready.split("padding")[0] != short.split("padding")[0]


def test_the_beginning_of_a_name_is_enough():
    assert preflight.preflight("01").lesson == LESSON


@pytest.mark.parametrize("lesson", ["99", "vit", "01_vit_inference_and_more"])
def test_an_unknown_lesson_is_named_with_the_choices(lesson):
    with pytest.raises(ValueError, match=f"starts with '{lesson}'.*{LESSON}"):
        preflight.preflight(lesson)


def test_the_beginning_of_several_names_is_not_enough(monkeypatch):
    monkeypatch.setattr(preflight, "_table", lambda: {"01_a": {}, "01_b": {}})
    with pytest.raises(ValueError, match=r"'01' is the beginning of several lessons: \['01_a', '01_b'\]"):
        preflight.preflight("01")


def test_an_unknown_scale_is_named():
    with pytest.raises(ValueError, match="'huge' is not a scale"):
        preflight.preflight(LESSON, "huge")


def test_every_lesson_describes_both_scales_with_assets_of_the_manifest():
    for name in preflight.lessons():
        for scale in runtime.SCALES:
            card = preflight.preflight(name, scale)
            assert card.duration.startswith("about ") and card.needs[0].needed > 0
            assert card.checkpoints or card.data


@pytest.mark.parametrize("scale", runtime.SCALES)
def test_data_and_checkpoints_stand_in_their_own_rows(scale):
    rows = dict(preflight.preflight("02", scale).rows())
    assert rows["checkpoint"].startswith({"mini": "ViViT-mini", "full": "none: the lesson trains its own"}[scale])
    assert store.COURSE.find("organmnist3d", scale).title in rows["data"]
    assert "KERAS_BACKEND=torch uses a GPU" in rows["note"]
    assert all(text for _, text in preflight.preflight("04", scale).rows()), "no empty row"


def test_a_place_is_named_for_what_comes_from_there_and_no_other():
    rows = dict(preflight.preflight("03", "full").rows())
    assert rows["to download"] == "2.0 GB from ModelScope; 681 MB from ModelScope or Hugging Face"
    assert dict(preflight.preflight("04", "full").rows())["to download"] == "24.0 GB from Hugging Face"


def test_a_lesson_for_a_gpu_does_not_give_its_time_on_processor_cores():
    for lesson in preflight.lessons():
        for scale in runtime.SCALES:
            card = preflight.preflight(lesson, scale)
            wants_gpu = any(need.what == "GPU memory" for need in card.needs)
            assert card.duration.endswith("on a GPU" if wants_gpu else "on two processor cores")


@pytest.mark.parametrize("name", preflight.lessons())
def test_a_lessons_head_says_what_its_card_says(name):
    head = read_notebook(find_notebooks([name])[0]).cells[0].source
    cards = [preflight.preflight(name, scale) for scale in runtime.SCALES]
    for row, texts in {
        "download": [preflight.to_come(card.missing) for card in cards],
        "time": [card.duration for card in cards],
    }.items():
        assert f"| {row} | {' | '.join(texts)} |" in head
    if cards[0].note:
        assert "KERAS_BACKEND=torch" in head


def test_the_readme_says_what_comes_from_one_hub_only():
    readme = (ROOT / "README.md").read_text()
    for asset in store.COURSE.assets:
        if asset.kind == "hub" and " or " not in asset.origin:
            assert f"{asset.title.split(':')[0]} {asset.origin} only" in readme


@pytest.mark.parametrize("name", preflight.lessons())
def test_the_readme_gives_each_lessons_time(name):
    row = next(line for line in (ROOT / "README.md").read_text().splitlines() if f"notebooks/{name}.ipynb" in line)
    assert row.endswith(f"| {preflight.preflight(name, 'mini').duration.removesuffix(' on two processor cores')} |")
