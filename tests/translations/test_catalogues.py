"""The course reads in other languages as in English: nothing is missing, out of date, or said otherwise."""

from __future__ import annotations

import re

import nbformat
import pytest
from faithful import faults, glossary, short, terms

from tutorial_utils import catalogues
from tutorial_utils.execution import find_notebooks
from tutorial_utils.translations import BLANK, ENGLISH, LANGUAGES, SENTENCES

LANGUAGE = LANGUAGES["zh"]
SOURCES = catalogues.sources()
CATALOGUES = {name: catalogues.read(LANGUAGE, name) for name in SOURCES}

EVERYDAY = {"block", "control", "head", "key", "value"}
"""Terms that are everyday words as well: the key of a file, from head to feet."""

EXCUSED = {
    *((cell, "interval is 置信区间") for cell in ("1d4d1e94", "guidance-rows", "13735a73", "dfe4f839", "more-to-try")),
    ("only the guided steps of an interval cost a second evaluatio", "interval is 置信区间"),
    ("samples that are guided in four intervals of the noise level", "interval is 置信区间"),
    ("tokens and attention pairs against patch size", "attention is 注意力"),
    ("attention pairs of the four models as a clip grows longer", "attention is 注意力"),
    ("| | by |\n|---|---|\n| Only names on the class list get in, ea", "token is 词元（token）"),
    ("4.example.2", "not translated: 'red sneaker moving left quickly'"),  # the other language's example
    ("4.example.3", "not translated: 'blue coat drifting down'"),
    ("Chelsea: a photograph of a cat, resized to 336x336 (Stéfan v", "not translated: 'Stéfan van der Walt'"),
}
"""Messages, and what is right there: the interval is the guidance's, the pairs are of tokens, a token
can be a password, and a name is a name."""

PAIRED = (
    "patch", "token", "embedding", "position embedding", "attention", "head", "encoder", "layer norm", "tubelet",
    "uniform frame sampling", "factorised encoder", "factorised self-attention", "factorised dot-product attention",
    "latent", "diffusion", "noise schedule", "guidance", "sampler", "checkpoint", "prompt",
)  # fmt: skip
"""Terms that stand beside their English word where a lesson uses them first."""


def found_in(name, rule):
    """What a rule finds in a catalogue, with the message: "cell: fault"."""
    for one in CATALOGUES[name]:
        if one.id and one.id != one.string:  # code, names and prompts are nothing to translate
            yield from ((one.context or one.id[:60], fault) for fault in rule(one.id, one.string))


def test_a_catalogue_for_each_source_and_no_other():
    folder = catalogues.path_of(LANGUAGE.locale, "x").parent
    assert {path.stem for path in folder.glob("*.po")} == SOURCES.keys()


@pytest.mark.parametrize("name", SOURCES)
def test_every_message_is_there_and_up_to_date(name):
    due = catalogues.due(CATALOGUES[name], SOURCES[name])
    assert due == [], "python -m tutorial_utils translations, and translate what is empty or fuzzy then"


@pytest.mark.parametrize("name", SOURCES)
def test_a_translation_keeps_what_its_source_has(name):
    assert [found for found in found_in(name, faults) if found not in EXCUSED] == []


@pytest.mark.parametrize("name", SOURCES)
def test_a_term_is_said_as_the_glossary_says_it(name):
    table = {english: term for english, term in glossary().items() if english not in EVERYDAY}
    found = found_in(name, lambda source, translation: terms(source, translation, table))
    assert [one for one in found if one not in EXCUSED] == []


@pytest.mark.parametrize("lesson", find_notebooks(), ids=lambda path: path.stem)
def test_a_term_stands_beside_its_english_word_where_a_lesson_uses_it_first(lesson):
    text = "\n".join(message.string for message in CATALOGUES[lesson.stem] if message.id)
    chinese = {english: short(term) for english, term in glossary().items()}
    for english in PAIRED:
        longer = "|".join(term for term in chinese.values() if chinese[english] in term and term != chinese[english])
        rest = re.sub(longer, lambda found: "\u2423" * len(found[0]), text) if longer else text
        if (first := rest.find(chinese[english])) >= 0:
            assert english in text[first : first + 60].lower(), text[first : first + 60]


def test_a_sentence_with_blanks_keeps_them():
    for message in CATALOGUES[SENTENCES]:
        assert sorted(BLANK.findall(message.id or "")) == sorted(BLANK.findall(message.string)), message.id


@pytest.mark.parametrize("lesson", find_notebooks(), ids=lambda path: path.stem)
def test_a_chinese_lesson_has_the_code_and_the_pictures_of_the_english_one(lesson):
    text = lesson.read_text(encoding="utf-8")
    english, chinese = (nbformat.reads(language.notebook(text, lesson.stem), 4) for language in (ENGLISH, LANGUAGE))
    assert [cell.id for cell in english.cells] == [cell.id for cell in chinese.cells]
    for one, other in zip(english.cells, chinese.cells, strict=True):
        if one.cell_type == "code":
            assert one.source == other.source and len(one.outputs) == len(other.outputs)
            assert pictures(one) == pictures(other)
        else:
            assert re.search(r"[\u4e00-\u9fff]", other.source), other.source


@pytest.mark.parametrize("lesson", find_notebooks(), ids=lambda path: path.stem)
def test_what_a_lesson_has_found_is_said_in_chinese(lesson):
    notebook = nbformat.reads(LANGUAGE.notebook(lesson.read_text(encoding="utf-8"), lesson.stem), 4)
    lines = [line for cell in notebook.cells for output in cell.get("outputs", [])
             for line in output.get("text", "").splitlines() if line.startswith("✓")]  # fmt: skip
    assert len(lines) > 50
    assert [line for line in lines if not re.search(r"[\u4e00-\u9fff]", line)] == []


def pictures(cell):
    return [output.get("data", {}).get("image/png") for output in cell.outputs]


def test_the_readme_of_the_language_is_made_from_its_catalogue():
    assert catalogues.readme(LANGUAGE).read_text(encoding="utf-8") == LANGUAGE.document("README.md")
