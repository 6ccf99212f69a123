"""The texts of the site in one language, in the folders in which the repository has them, so that their links hold."""

from __future__ import annotations

import json
import re
import shutil
from functools import cache
from pathlib import Path, PurePosixPath

import nbformat
from nbformat.v4 import new_markdown_cell

from tutorial_utils.editions import BEGIN, without_markers
from tutorial_utils.execution import find_notebooks, first_heading, read_notebook, write_whole
from tutorial_utils.translations import ENGLISH, ROOT, Language
from tutorial_utils.website import miniatures, reference

LIVE = "controls."
"""What the code of a live control has."""

FRONT = "README.md"
"""Becomes ``index.md``."""

ON_GITHUB = re.compile(r"<!-- on GitHub -->\n.*?<!-- end -->\n", re.DOTALL)
"""A part of the README that means nothing elsewhere: badges, and the way to its other languages."""

LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#)([^)#\s]+)")
OTHER_README = re.compile(r"\[[^\]]+\]\(README\.\w+\.md\)[ .。·|]*")
"""What the switch of the site is for."""

HEADING = re.compile(r"^#{1,6} +(.+?) *#*$", re.MULTILINE)
FENCE = re.compile(r"^(```+|~~~+).*?^\1", re.MULTILINE | re.DOTALL)


def groups(say) -> dict[str, list[str]]:
    """The pages beside the front page, under what the list of contents calls them."""
    return {
        say("Lessons"): [f"notebooks/{path.name}" for path in find_notebooks()],
        say("Beside the lessons"): ["docs/glossary.md", "site/lab/README.md", "docs/troubleshooting.md"],
        say("Teaching"): ["docs/teaching.md", "classroom/README.md"],
        say("Miniatures"): ["data/README.md", *(f"data/checkpoints/{name}/README.md" for name in miniatures.SAMPLES)],
        say("Measured"): ["docs/report.md", "docs/matrix.md"],
        say("Reference"): [f"{reference.FOLDER}/{name}.rst" for name in reference.pages()],
        say("The project"): [page for page in ("CONTRIBUTING.md", "CHANGELOG.md") if (ROOT / page).exists()],
    }


def words(say) -> dict[str, str]:
    """What stands around the pages, by the English that the configuration of Sphinx knows it by."""
    return {
        "show": say("Show the code"),
        "hide": say("Hide the code"),
        "contents": say("On this page"),
        "search": say("Search the course"),
        "elsewhere": say("Open elsewhere"),
        "pause": say("stop, or start"),
    }


def write(folder: Path, language: Language, lab: bool = False) -> None:
    """Write every page's source, and ``anchors.json`` with the name of each heading, the same in every language.

    Args:
        lab: whether the site has the lab's page, to which links lead.

    Raises:
        ValueError: a translated page has other headings than the English one.
    """
    contents, anchors = groups(language.say), {}
    for page in (FRONT, *(page for pages in contents.values() for page in pages)):
        if page.endswith(".rst"):
            continue
        text = _text(page, language, lab)
        english = text if language is ENGLISH else _text(page, ENGLISH, lab)
        names = names_of(headings(english))
        if len(headings(text)) != len(names):
            raise ValueError(f"{page} has {len(names)} headings, and {len(headings(text))} in {language.name}.")
        anchors[_docname(page)] = names
        name = _miniature(page)
        for file, (png, _) in miniatures.pictures(name).items() if name else ():
            (folder / page).parent.mkdir(parents=True, exist_ok=True)
            (folder / page).with_name(file).write_bytes(png)
        _copy_what_is_shown(text, page, folder)
        write_whole(folder / _as_index(page), text + (_contents(contents) if page == FRONT else ""))
    for name, text in reference.pages().items():
        write_whole(folder / reference.FOLDER / f"{name}.rst", text)
    write_whole(folder / "anchors.json", json.dumps(anchors))


def _text(page: str, language: Language, lab: bool) -> str:
    if page.endswith(".ipynb"):
        return _lesson(page, language, lab)
    text = re.sub(r"\A---\n.*?\n---\n", "", language.document(page), flags=re.DOTALL)  # what programs read of a card
    if page == FRONT:
        head, first, rest = OTHER_README.sub("", ON_GITHUB.sub("", text)).partition("\n![")
        text = f"{head}\n{_lessons(language, lab)}{first}{rest}"
    if name := _miniature(page):
        text += miniatures.section(name, language)
    return LINK.sub(lambda link: _link(link[1], page), text)


def _miniature(page: str) -> str:
    """The name of the miniature that a page is the card of."""
    found = re.fullmatch(r"data/checkpoints/(.+)/README\.md", page)
    return found[1] if found else ""


def _lesson(page: str, language: Language, lab: bool) -> str:
    """A notebook for readers: solutions and drawings are folded, and the lab's panel is beside each live control."""
    name = PurePosixPath(page).stem
    notebook = nbformat.reads(language.notebook((ROOT / page).read_text(encoding="utf-8"), name), as_version=4)
    cells, notebook.cells = notebook.cells, []
    for cell in cells:
        if cell.id in _explaining():
            notebook.cells.append(
                new_markdown_cell(f'<span id="cell-id={cell.id}"></span>', id=f"{cell.id}-place"[:64])
            )
        notebook.cells.append(cell)
        if lab and cell.cell_type == "code" and LIVE in cell.source:
            words = language.say("No kernel? Try it in the lab")
            link = f'<a class="lab" href="../{_panel(name[1], language)}">{words}</a>'
            notebook.cells.append(new_markdown_cell(link, id=f"{cell.id}-lab"[:64]))
        if cell.cell_type == "code" and (BEGIN in cell.source or cell.metadata.get("jupyter", {}).get("source_hidden")):
            cell.metadata["tags"] = [*cell.metadata.get("tags", []), "hide-input"]
            cell.source = without_markers(cell.source)
        for output in cell.get("outputs", []):
            output.get("data", {}).pop("text/latex", None)
    return nbformat.writes(notebook) + "\n"


@cache
def _explaining() -> set[str]:
    """The cells to which the lab's panels lead."""
    panels = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "site" / "lab" / "src").glob("lesson?.tsx"))
    return set(re.findall(r'LESSON, "([\w-]+)"\]', panels))


def _panel(lesson: str, language: Language) -> str:
    """The address of a lesson's panel in the lab, as seen from the front page."""
    return f"../lab/index.html#{lesson}-{language.code}"


def _lessons(language: Language, lab: bool) -> str:
    """The lessons as the front page offers them: each one's title and question; and the lab."""
    cards = []
    for path in find_notebooks():
        notebook = read_notebook(path)
        notebook.cells = notebook.cells[:1]
        language.translate(notebook, path.stem)
        first = notebook.cells[0].source
        question = re.search(r"^\*\*(.+?)\*\*$", first, re.MULTILINE)[1]
        cards.append(f"[**{first_heading(first)}**\\\n{question}](notebooks/{path.name})")
    if lab:
        title, words = language.say("The lab"), language.say("What do the models do? Try them here, in the page.")
        cards.append(f'<a href="{_panel("1", language)}"><strong>{title}</strong><br>{words}</a>')
    return "\n".join(["", "::::{container} lessons", "", "\n\n".join(cards), "", "::::", ""])


def _contents(groups: dict[str, list[str]]) -> str:
    tables = (
        "\n".join(["", "", "```{toctree}", ":hidden:", f":caption: {caption}", "", *map(_docname, pages), "```", ""])
        for caption, pages in groups.items()
        if pages
    )
    return "".join(tables)


def _as_index(page: str) -> str:
    return "index.md" if page == FRONT else page


def _docname(page: str) -> str:
    return str(PurePosixPath(_as_index(page)).with_suffix(""))


def _link(target: str, page: str) -> str:
    """A link's target, where that is the README."""
    to = _normal(PurePosixPath(page).parent / target)
    return re.sub(r"README\.md$", "index.md", target) if to == FRONT else target


def _normal(path: PurePosixPath) -> str:
    parts: list[str] = []
    for part in path.parts:
        parts = parts[:-1] if part == ".." else [*parts, part]
    return "/".join(parts)


def _copy_what_is_shown(text: str, page: str, folder: Path) -> None:
    """Bring the files that a page shows or hands out, which are no pages."""
    for target in LINK.findall(text) if page.endswith(".md") else ():
        path = _normal(PurePosixPath(page).parent / target)
        if not path.endswith((".md", ".ipynb")) and (ROOT / path).is_file() and not (folder / path).exists():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / path, folder / path)


# --- The names of headings --------------------------------------------------------------------------------------------


def headings(text: str) -> list[str]:
    """The headings of a page of Markdown, or of a notebook's."""
    if text.startswith("{"):
        cells = nbformat.reads(text, as_version=4).cells
        texts = [cell.source for cell in cells if cell.cell_type == "markdown"]
    else:
        texts = [text]
    return [title for one in texts for title in HEADING.findall(FENCE.sub("", one))]


def names_of(headings: list[str]) -> list[str]:
    """What links call headings: their English words, each name once."""
    names: list[str] = []
    for heading in headings:
        name = re.sub(r"[^a-z0-9]+", "-", heading.lower()).strip("-")
        name = re.sub(r"^[0-9-]+", "", name) or "section"
        same = sum(re.fullmatch(rf"{name}(-\d+)?", other) is not None for other in names)
        names.append(f"{name}-{same}" if same else name)
    return names
