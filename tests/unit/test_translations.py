"""Texts in another language: looked up where they are shown, as a whole or in parts, and never half of a message."""

from __future__ import annotations

import nbformat
import pytest
from babel.messages.catalog import Catalog
from babel.messages.pofile import write_po
from commandline import run
from IPython.core.interactiveshell import InteractiveShell
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from tutorial_utils import catalogues, checks, spoken, translations
from tutorial_utils.checks import check
from tutorial_utils.translations import ENGLISH, Language

KLINGON = Language("tlh", "tlh", "tlhIngan Hol")
SENTENCES = {
    "the patches are right": "PATCHES RIGHT",
    "{wrong} of {all} numbers are wrong, {here}.": "WRONG: {here}, {wrong}/{all}。",
    "the first at {place}": "FROM {place}",
    "It is right but for its sign.": "SIGN。",
    "It climbs. The way down is straight: look.": "UP: DOWN。",
    "a map: of (all)": "TITLE",
    "to download": "FETCH",
    "nothing": "NIL",
    "a map of the patches": "MAP",
    "Figure: {description}": "PICTURE: {description}",
}


@pytest.fixture
def klingon(tmp_path, monkeypatch):
    """A language with a few translations, and a lesson and a page of its own."""
    monkeypatch.setattr(translations, "CATALOGUES", tmp_path)
    monkeypatch.setattr(translations, "LANGUAGES", {"en": ENGLISH, "tlh": KLINGON})
    monkeypatch.setenv("TUTORIAL_LANGUAGE", "tlh")
    store("messages", {(None, english): words for english, words in SENTENCES.items()})
    caches = translations.catalogue, translations._messages, translations._said
    for cached in caches:
        cached.cache_clear()
    yield KLINGON
    for cached in caches:
        cached.cache_clear()


def store(name, messages, fuzzy=()):
    catalogue = Catalog("zh")  # the rules for plurals do not matter
    for (context, english), words in messages.items():
        catalogue.add(english, words, context=context, flags={"fuzzy"} if english in fuzzy else set())
    path = translations.path_of("tlh", name)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        write_po(file, catalogue)


@pytest.mark.parametrize(
    ("english", "said"),
    [
        ("the patches are right", "PATCHES RIGHT"),
        ("8 of 16 numbers are wrong, the first at [1, 0].", "WRONG: FROM [1, 0], 8/16。"),
        ("8 of 16 numbers are wrong, the first at [1]. It is right but for its sign.", "WRONG: FROM [1], 8/16。SIGN。"),
        ("3 of 8 numbers are wrong, the first at [0].\n  to download", "WRONG: FROM [0], 3/8。\n  FETCH"),
        ("a case: It climbs. The way down is straight: look.", "a case: UP: DOWN。"),
        ("nothing.", "NIL。"),
        ("nothing: 8 of 16 numbers are wrong, the first at [1].", "NIL：WRONG: FROM [1], 8/16。"),
        ("the first at [1].", "FROM [1]。"),
        ("nothing; to download", "NIL；FETCH"),
        ("scale  a map: of (all) (nothing, to download)", "scale  TITLE（NIL，FETCH）"),
        ("✓ the patches are right\n✓ another fact", "✓ PATCHES RIGHT\n✓ another fact"),
        ("  to download  nothing", "  FETCH  NIL"),
        ("Figure: a map of the patches", "PICTURE: MAP"),
        ("what nobody has translated", "what nobody has translated"),
        ("", ""),
        ("{wrong}", "{wrong}"),
    ],
)
def test_a_text_is_said_as_a_whole_or_in_its_parts(klingon, english, said):
    assert klingon.say(english) == said
    assert ENGLISH.say(english) == english


def test_a_notebook_is_translated_with_its_outputs_and_its_code_stays(klingon):
    png = new_output("display_data", {"image/png": "", "text/plain": "Figure: a map of the patches"})
    png.metadata = {"image/png": {"alt": "A map of the patches. X axis: token."}}
    html = new_output("display_data", {"text/html": "<td>to download</td><td>nothing</td>"})
    code = new_code_cell(
        "nothing = 1", outputs=[new_output("stream", text="✓ the patches are right\n"), png, html], execution_count=1
    )
    notebook = new_notebook(cells=[new_markdown_cell("Hello", id="one"), new_markdown_cell("Hello", id="two"), code])
    store("01_first", {("one", "Hello"): "nuqneH"})
    said = nbformat.reads(klingon.notebook(nbformat.writes(notebook), "01_first"), as_version=4).cells
    assert [cell.source for cell in said] == ["nuqneH", "Hello", "nothing = 1"]
    lines, picture, page = said[2].outputs
    assert lines.text == "✓ PATCHES RIGHT\n" and page.data["text/html"] == "<td>FETCH</td><td>NIL</td>"
    assert picture.data["text/plain"] == "PICTURE: MAP"
    assert picture.metadata["image/png"]["alt"] == "MAP。X axis: token."


def test_a_cell_whose_english_changed_is_shown_in_english(klingon):
    store("01_first", {("one", "Hello"): "nuqneH", ("two", "Bye"): "Qapla'"}, fuzzy=["Bye"])
    cells = [new_markdown_cell("Hello!", id="one"), new_markdown_cell("Bye", id="two")]
    text = nbformat.writes(new_notebook(cells=cells))
    said = nbformat.reads(klingon.notebook(text, "01_first"), as_version=4).cells
    assert [cell.source for cell in said] == ["Hello!", "Bye"]


def test_a_page_is_translated_block_by_block_and_code_stays(klingon, tmp_path, monkeypatch):
    monkeypatch.setattr(translations, "ROOT", tmp_path)
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "page.md").write_text("# Hello\n\n```sh\nHello\n\nHello\n```\n\nHello\n")
    store("docs-page", {(None, "# Hello"): "# nuqneH", (None, "Hello\n"): "nuqneH\n", (None, "Hello"): "nuqneH"})
    assert klingon.document("docs/page.md") == "# nuqneH\n\n```sh\nHello\n\nHello\n```\n\nnuqneH\n"


def test_a_fact_is_reported_in_the_learners_language_and_raised_in_english(klingon, monkeypatch, capsys):
    monkeypatch.setenv("TUTORIAL_CHECKS", "report")
    check("the patches are right", 1, 1)
    assert capsys.readouterr().out == "✓ PATCHES RIGHT\n"
    monkeypatch.setenv("TUTORIAL_CHECKS", "strict")
    with pytest.raises(checks.CheckError, match="the patches are right: got 2, expected 1"):
        check("the patches are right", 2, 1)


def test_below_an_error_stands_what_it_says_in_the_learners_language(klingon, capsys, monkeypatch):
    shell = InteractiveShell.instance(colors="nocolor")
    try:
        translations.explain_errors()
        shell.run_cell("raise ValueError('8 of 16 numbers are wrong, the first at [1, 0].')")
        shown = capsys.readouterr().out
        assert "8 of 16 numbers are wrong, the first at [1, 0]." in shown and "WRONG: FROM [1, 0], 8/16。" in shown
        shell.run_cell("raise KeyError('what nobody has translated')")
        assert "KeyError" in capsys.readouterr().out
    finally:
        InteractiveShell.clear_instance()


@pytest.mark.parametrize(
    ("variables", "code"),
    [
        ({"TUTORIAL_LANGUAGE": "zh", "LANG": "de_DE.UTF-8"}, "zh"),
        ({"LANG": "zh_CN.UTF-8"}, "zh"),
        ({"LANGUAGE": "zh_TW:en", "LANG": "en_US"}, "zh"),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": "C.UTF-8"}, "en"),
        ({"LANG": "fr_FR.UTF-8"}, "en"),
        ({"TUTORIAL_LANGUAGE": "en", "LANG": "zh_CN"}, "en"),
        ({"TUTORIAL_LANGUAGE": "", "LANG": "C"}, "en"),
    ],
)
def test_the_language_is_what_was_asked_for_or_the_systems_or_english(monkeypatch, variables, code):
    for name in ("TUTORIAL_LANGUAGE", "LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert translations.current().code == code


@pytest.mark.parametrize("wrong", ["ZH", "chinese", "zh_CN", "fr", " "])
def test_another_language_is_refused_by_name(monkeypatch, wrong):
    monkeypatch.setenv("TUTORIAL_LANGUAGE", wrong)
    with pytest.raises(ValueError, match=r"TUTORIAL_LANGUAGE='.+' is not a language .+ en \(English\), zh \(中文\)"):
        translations.current()


def test_a_command_refuses_another_language_in_a_line(monkeypatch):
    monkeypatch.setenv("TUTORIAL_LANGUAGE", "tlh")
    status, _, err = run("editions", "--out", "nowhere")
    assert status == 1 and err.count("\n") == 1 and "TUTORIAL_LANGUAGE='tlh'" in err


# --- Keeping the catalogues up to date --------------------------------------------------------------------------------


def test_a_message_whose_english_changed_keeps_its_translation_and_is_due(klingon):
    store("01_first", {("one", "Hello there"): "nuqneH", ("two", "Bye"): "Qapla'", ("gone", "Old words"): "X"})
    source = [("one", "Hello there!"), ("two", "Bye"), ("new", "Not known")]
    catalogue = catalogues.brought_up_to_date(klingon, "01_first", source)
    changed = catalogue.get("Hello there!", "one")
    assert changed.fuzzy and changed.string == "nuqneH" and list(changed.previous_id) == ["Hello there"]
    assert catalogues.due(catalogue, source) == [("one", "Hello there!"), ("new", "Not known")]


def test_a_sentence_that_changed_a_little_keeps_its_translation_too(klingon):
    source = [(None, "the patches are right now"), (None, "It is right but for its sign.")]
    catalogue = catalogues.brought_up_to_date(klingon, "messages", source)
    assert catalogue.get("the patches are right now").fuzzy and not catalogue.get("It is right but for its sign.").fuzzy
    assert catalogues.due(catalogue, source) == [(None, "the patches are right now")]


def test_a_catalogue_that_is_up_to_date_stays_the_same_file(klingon):
    source = [(None, english) for english in SENTENCES]
    catalogues.write(klingon, "messages", catalogues.brought_up_to_date(klingon, "messages", source))
    before = translations.path_of("tlh", "messages").read_bytes()
    catalogues.write(klingon, "messages", catalogues.brought_up_to_date(klingon, "messages", source))
    assert translations.path_of("tlh", "messages").read_bytes() == before


SAYING = '''
"""A module that is documented at length."""
def colours_last(image):
    """Inside a patch the colours come first."""
def right(image):
    """What this does is nobody's business."""
EXERCISES = Exercise(right, cases, (colours_last,))
def look(wrong, at):
    rearrange(wrong, "c (row h) (col w) -> ... (row col) (c h w)")
    check("short", 1, 1)
    name = "brief"
    check(name, 1, 1)
    raise ValueError(f"{len(wrong)} of {at:,.2f} numbers are wrong" + f", in the place {at}")
'''


def test_what_is_said_is_found_in_the_source_with_names_for_what_is_filled_in():
    assert set(spoken.said_in(SAYING, 1, 3)) == {
        "Inside a patch the colours come first.",
        "short",
        "brief",
        "{len_wrong} of {at} numbers are wrong",
        ", in the place {at}",
    }
    assert set(spoken.said_in(SAYING, 1)) == {"short", "brief"}
