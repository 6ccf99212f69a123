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
from tutorial_utils.working import ROOT

CHECK = re.compile(r'^check_exercise\("([\d.]+)"', re.MULTILINE)
ROW = re.compile(r"^\| (?P<section>.+?) \| (?P<minutes>\d+ \| \d+ \| \d+) \| (?P<say>.+?) \|$", re.MULTILINE)
LENGTHS = (180, 90, 45)
"""How long the classes are that the plan is for, in minutes."""


@dataclass(frozen=True)
class Section:
    """A section's part in the plan: minutes in classes of `LENGTHS`, and what to say."""

    minutes: tuple[int, ...]
    say: str

    def __str__(self) -> str:
        shares = (
            f"{mine} of {whole}" if mine else f"skip it in {whole}"
            for mine, whole in zip(self.minutes, LENGTHS, strict=True)
        )
        return f"> **For the teacher.** Minutes: {', '.join(shares)}. {self.say}"


@cache
def plans() -> dict[str, dict[str, Section]]:
    """For each lesson, by its number, the sections by their headings."""
    text = (ROOT / "docs" / "teaching.md").read_text(encoding="utf-8")
    lessons = re.findall(r"^## Lesson (\d) · .+?$(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    return {
        number: {
            row["section"]: Section(tuple(map(int, row["minutes"].split(" | "))), row["say"])
            for row in ROW.finditer(plan)
            if row["section"] != "Section"  # the table's own heading
        }
        for number, plan in lessons
    }


def instructor(text: str) -> str:
    """A notebook's text with notes for the teacher: the plan under each heading, wrong answers below each exercise.

    A lesson that the plan does not know, and a text that is no notebook, stay as they are.
    """
    lesson = re.search(r'"# Lesson (\d) · ', text)
    if not lesson or lesson[1] not in plans():
        return text
    plan, notebook, cells = plans()[lesson[1]], nbformat.reads(text, as_version=4), []
    for cell in notebook.cells:
        cells.append(cell)
        section = plan.get(_section(cell.source)) if cell.cell_type == "markdown" else None
        if section:
            cells.append(new_markdown_cell(str(section), id=f"{cell.id}-plan"[:64]))
        if cell.cell_type == "code" and (number := CHECK.search(cell.source)):
            cells.append(new_markdown_cell(expected(number[1]), id=f"{cell.id}-expected"[:64]))
    notebook.cells = cells
    return nbformat.writes(notebook) + "\n"


EDITIONS = {"student": student, "instructor": instructor}
"""What becomes of a lesson's text in an edition, by its name."""


def written(lesson: Path) -> dict[str, Callable[[Path], None]]:
    """How to write each edition of a notebook into a file, by the file's name inside the folder of editions."""
    text, notebook = lesson.read_text(encoding="utf-8"), read_notebook(lesson)
    return {
        **{f"{name}/{lesson.name}": partial(_write, edition, text) for name, edition in EDITIONS.items()},
        f"slides/{lesson.stem}.html": lambda path: write_slides(notebook, path),
    }


def _write(edition: Callable[[str], str], text: str, path: Path) -> None:
    write_whole(path, edition(text))


def _section(markdown: str) -> str:
    """The heading of a section without its number if the plan names it so, as in ``8 · Recap``."""
    heading = first_heading(markdown) or ""
    return "Recap" if heading.endswith("Recap") else heading


def expected(number: str) -> str:
    """What learners get wrong in an exercise, and what each is told, in Markdown."""
    exercise = find(number)
    if not isinstance(exercise, Exercise):
        return f"> **For the teacher.** Missed answers are told: {exercise.advice}"
    rows = (f"> | {mistaken.__name__.replace('_', ' ')} | {mistaken.__doc__} |" for mistaken in exercise.mistakes)
    heading = "> **For the teacher.** Wrong answers to expect, and what is said about each:"
    return "\n".join([heading, ">", "> | | |", "> |---|---|", *rows])
