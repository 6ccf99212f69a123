"""The editions of a lesson; the instructor's has what to say and how long, and which wrong answers to expect.

Both are written down once, the plan in ``docs/teaching.md`` and the wrong answers with their exercise.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import nbformat
from nbformat.v4 import new_markdown_cell

from tutorial_utils.editions import student
from tutorial_utils.execution import first_heading, read_notebook, write_whole
from tutorial_utils.exercises.checking import Exercise, find
from tutorial_utils.slides import write_slides
from tutorial_utils.translations import ENGLISH, Language

CHECK = re.compile(r'^check_exercise\("([\d.]+)"', re.MULTILINE)
ROW = re.compile(r"^\| (?P<section>.+?) \| (?P<minutes>\d+ \| \d+ \| \d+) \| (?P<say>.+?) \|$", re.MULTILINE)
PLAN = "docs/teaching.md"
LENGTHS = (180, 90, 45)
"""How long the classes are that the plan is for, in minutes."""


@dataclass(frozen=True)
class Section:
    """A section's part in the plan: minutes in classes of `LENGTHS`, and what to say."""

    minutes: tuple[int, ...]
    say: str

    def note(self, language: Language) -> str:
        """It in Markdown."""
        shares = " · ".join(
            language.say(f"{mine} min of {whole}" if mine else f"skip it in {whole}")
            for mine, whole in zip(self.minutes, LENGTHS, strict=True)
        )
        return f"> {language.say(f'**For the teacher.** {shares}.')} {self.say}"


@cache
def plans(language: Language = ENGLISH) -> dict[str, dict[str, Section]]:
    """For each lesson, by its number, the sections by their English headings; what to say is in a language."""
    names, said = (_rows(text) for text in (ENGLISH.document(PLAN), language.document(PLAN)))
    return {
        number: {
            row["section"]: Section(tuple(map(int, row["minutes"].split(" | "))), other["say"])
            for row, other in zip(rows, said[number], strict=True)
        }
        for number, rows in names.items()
    }


def _rows(plan: str) -> dict[str, list[re.Match]]:
    """The rows of each lesson's table, by the lesson's number, without the table's own heading."""
    lessons = re.findall(r"^## \D*(\d)\D* · .+?$(.*?)(?=^## |\Z)", plan, re.MULTILINE | re.DOTALL)
    return {number: list(ROW.finditer(table))[1:] for number, table in lessons}


def instructor(text: str, language: Language = ENGLISH) -> str:
    """A notebook's text with notes for the teacher: the plan under each heading, wrong answers below each exercise.

    A lesson that the plan does not know, and a text that is no notebook, stay as they are.

    Args:
        text: of the English notebook.
        language: of the notes.
    """
    lesson = re.search(r'"# Lesson (\d) · ', text)
    if not lesson or lesson[1] not in plans():
        return text
    plan, notebook, cells = plans(language)[lesson[1]], nbformat.reads(text, as_version=4), []
    for cell in notebook.cells:
        cells.append(cell)
        section = plan.get(_section(cell.source)) if cell.cell_type == "markdown" else None
        if section:
            cells.append(new_markdown_cell(section.note(language), id=f"{cell.id}-plan"[:64]))
        if cell.cell_type == "code" and (number := CHECK.search(cell.source)):
            cells.append(new_markdown_cell(expected(number[1], language), id=f"{cell.id}-expected"[:64]))
    notebook.cells = cells
    return nbformat.writes(notebook) + "\n"


def editions(language: Language = ENGLISH) -> dict[str, Callable[[str], str]]:
    """What becomes of a lesson's English text in an edition, by its name; its prose is put into the language later."""
    return {"student": student, "instructor": partial(instructor, language=language)}


def written(lesson: Path, language: Language = ENGLISH) -> dict[str, Callable[[Path], None]]:
    """How to write each edition of a notebook into a file, by the file's name inside the folder of editions."""
    text = lesson.read_text(encoding="utf-8")

    def write(edition: Callable[[str], str], path: Path) -> None:
        write_whole(path, language.notebook(edition(text), lesson.stem))

    def write_deck(path: Path) -> None:
        notebook = read_notebook(lesson)
        language.translate(notebook, lesson.stem)
        write_slides(notebook, path, language)

    files = {f"{name}/{lesson.name}": partial(write, edition) for name, edition in editions(language).items()}
    return {**files, f"slides/{lesson.stem}.html": write_deck}


def _section(markdown: str) -> str:
    """The heading of a section without its number if the plan names it so, as in ``8 · Recap``."""
    heading = first_heading(markdown) or ""
    return "Recap" if heading.endswith("Recap") else heading


def expected(number: str, language: Language = ENGLISH) -> str:
    """What learners get wrong in an exercise, and what each is told, in Markdown."""
    exercise, say = find(number), language.say
    if not isinstance(exercise, Exercise):
        return f"> {say('**For the teacher.** Missed answers are told:')} {say(exercise.advice)}"
    rows = (f"> | {mistaken.__name__.replace('_', ' ')} | {say(mistaken.__doc__)} |" for mistaken in exercise.mistakes)
    heading = say("**For the teacher.** Wrong answers to expect, and what is said about each:")
    return "\n".join([f"> {heading}", ">", "> | written | said |", "> |---|---|", *rows])
