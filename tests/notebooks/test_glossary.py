"""The glossary: one line a term, and each term stands in the section that is said to introduce it."""

import re

import nbformat
import pytest

from tutorial_utils.execution import ROOT

PAGE = ROOT / "docs" / "glossary.md"
PLACE = re.compile(r"\[Lesson (\d)\]\(\.\./notebooks/(0\1_\w+\.ipynb)\), (.+)")


def rows():
    """The cells of each line of the table: term, Chinese term, meaning, place."""
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[1:]]


def sections(name):
    """The text and code below each heading of a lesson, in one line and in small letters."""
    found, heading = {}, ""
    for cell in nbformat.read(ROOT / "notebooks" / name, as_version=4).cells:
        for line in cell.source.splitlines():
            if cell.cell_type == "markdown" and (match := re.fullmatch(r"#{1,4} (.+)", line)):
                heading = match[1]
            found[heading] = f"{found.get(heading, '')} {line.lower()}"
    return {heading: " ".join(text.split()) for heading, text in found.items()}


@pytest.fixture(scope="module")
def lessons():
    return {name: sections(name) for name in {PLACE.fullmatch(row[3])[2] for row in rows()}}


def test_all_four_lessons_have_terms_and_no_cell_is_empty():
    assert {PLACE.fullmatch(row[3])[1] for row in rows()} == set("1234")
    assert len(rows()) >= 60 and {len(row) for row in rows()} == {4} and all(map(all, rows()))


@pytest.mark.parametrize("column", [0, 1], ids=["English", "Chinese"])
def test_no_term_stands_twice(column):
    terms = [row[column].lower() for row in rows()]
    assert [term for term in terms if terms.count(term) > 1] == []


def test_a_meaning_is_one_sentence():
    assert [row[2] for row in rows() if not re.fullmatch(r"[A-Z].+[^.]\.", row[2]) or ". " in row[2]] == []


def test_every_term_stands_in_the_section_that_is_said_to_introduce_it(lessons):
    missing = []
    for term, _, _, place in rows():
        _, name, section = PLACE.fullmatch(place).groups()
        if term.lower() not in lessons[name].get(section, ""):
            missing.append(f"{term}: {name}, {section}")
    assert missing == []
