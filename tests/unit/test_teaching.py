"""Editions for a room: notes for the teacher beside what they are about, and slides that need no network."""

import re

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from tutorial_utils import slides, teaching
from tutorial_utils.execution import find_notebooks, read_notebook
from tutorial_utils.translations import ENGLISH, LANGUAGES

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGNgYGBgAAAABQABpfZFQAAAAABJRU5ErkJggg=="


def picture(alt: str):
    return new_output("display_data", data={"image/png": PIXEL}, metadata={"image/png": {"alt": alt}})


def tagged(cell):
    cell.metadata["tags"] = ["slide"]
    return cell


@pytest.fixture
def lesson():
    cells = [
        new_markdown_cell("# Lesson 1 · ViT inference\n\n**How can it?**\n\nMore **words**."),
        new_markdown_cell("## 2 · Patches\n\n### By hand\n\nTwo loops."),
        tagged(new_code_cell("show()", outputs=[picture("nine tiles in three rows")])),
        new_markdown_cell("*Nine tiles. Read them from left to right. And a third sentence.* More text."),
        tagged(new_markdown_cell("Too long.\n\nAn explanation.\n\n**Predict, then see.** How many, of $3^2$?")),
        new_code_cell('check_exercise("1.1", count_tokens)'),
        new_markdown_cell("## Nothing that the plan knows"),
        new_markdown_cell(
            "## 8 · Recap\n\n" + "\n".join(f"- point {number}\n  of it" for number in range(6)) + "\n\n## Next"
        ),
    ]
    return new_notebook(cells=cells)


def test_the_plan_names_every_section_of_every_lesson_and_fills_each_class():
    assert set(teaching.plans()) == {path.name[1] for path in find_notebooks()}
    for path in find_notebooks():
        plan = teaching.plans()[path.name[1]]
        cells = [cell.source for cell in read_notebook(path).cells if cell.cell_type == "markdown"]
        numbered = {heading for text in cells for heading in re.findall(r"^## (\d+ · .+)$", text, re.MULTILINE)}
        assert {heading for heading in plan if "·" in heading} == {one for one in numbered if not one.endswith("Recap")}
        assert {*plan} - numbered <= {"Exercises", "Recap"}
        totals = [sum(section.minutes[length] for section in plan.values()) for length in range(3)]
        assert totals == [*teaching.LENGTHS]


def test_the_plan_stands_below_its_heading_and_wrong_answers_below_their_exercise(lesson):
    given = nbformat.reads(teaching.instructor(nbformat.writes(lesson)), as_version=4)
    nbformat.validate(given)
    texts = [cell.source for cell in given.cells]
    under = texts[texts.index(lesson.cells[1].source) + 1]
    assert re.match(r"> \*\*For the teacher\.\*\* \d+ min of 180 · \d+ min of 90 · \d+ min of 45\. ", under)
    wrong = texts[texts.index(lesson.cells[5].source) + 1]
    assert "| without cls | [CLS] is a token as well. |" in wrong
    assert len(texts) == len(lesson.cells) + 3  # the recap has a plan, too


def test_what_may_be_skipped_is_said():
    assert "skip it in 45" in teaching.Section((10, 5, 0), "Say it.").note(ENGLISH)


@pytest.mark.parametrize("language", list(LANGUAGES.values()), ids=lambda language: language.code)
def test_the_plan_is_in_the_language_of_the_notebook(language):
    section = next(iter(teaching.plans(language)["2"].values()))
    note = section.note(language)
    assert [set(re.findall(r"\d+", share)) for share in note.split(" · ")] == [{"10", "180"}, {"5", "90"}, {"5", "45"}]
    assert bool(re.search(r"[A-Za-z]{4}", note)) == (language is ENGLISH)


@pytest.mark.parametrize("text", ["no notebook", "{}", nbformat.writes(new_notebook())])
def test_what_is_no_lesson_stays_as_it_is(text):
    assert teaching.instructor(text) == text


@pytest.fixture
def page(lesson, tmp_path):
    slides.write_slides(lesson, tmp_path / "slides.html")
    return re.sub(r"<script>.*?</script>", "", (tmp_path / "slides.html").read_text(encoding="utf-8"), flags=re.DOTALL)


def test_a_slide_has_a_heading_its_picture_and_two_sentences(page):
    assert page.count("<section><section>") == 5  # the question first, the recap on two at the end
    assert "How can it?" in page and "<strong>words" not in page and page.count("of it</li>") == 6
    assert "By hand" in page and "nine tiles in three rows" in page
    assert "Read them from left to right." in page and "a third sentence" not in page


def test_what_is_asked_is_a_slide_as_it_stands_and_code_is_none(page):
    assert "Predict, then see." in page and "<math" in page
    assert "An explanation." in page and "Too long." not in page
    assert "show()" not in page and "check_exercise" not in page


def test_slides_load_nothing_from_elsewhere(page):
    body = re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL)
    assert re.findall(r"<(?:script|link|iframe)\b[^>]*>", body) == []
    assert re.findall(r"src=.(?!data:)[^\s>]*", body) == []
    assert re.findall(r"@import|url\((?!data:)", "".join(re.findall(r"<style>.*?</style>", page, re.DOTALL))) == []


@pytest.mark.parametrize("count", [0, slides.MOST + 1])
def test_too_many_slides_and_none_are_refused(count, tmp_path):
    many = new_notebook(cells=[tagged(new_markdown_cell(f"slide {number}")) for number in range(count)])
    with pytest.raises(ValueError, match=f"{count} cells are tagged 'slide', for {count} slides"):
        slides.write_slides(many, tmp_path / "slides.html")
