"""Keeping the catalogues of translations up to date with what they translate; see `translations`.

A message whose English has changed keeps its translation, marked fuzzy: it is not used until somebody has looked at it.
"""

from __future__ import annotations

import difflib
import json
import re
from pathlib import Path

from babel.messages.catalog import Catalog, Message
from babel.messages.pofile import read_po, write_po

from tutorial_utils import translations
from tutorial_utils.execution import find_notebooks, read_notebook, write_whole
from tutorial_utils.files import draft
from tutorial_utils.spoken import sentences
from tutorial_utils.translations import ROOT, SENTENCES, Language, blocks, domain, path_of

PAGES = ("README.md", "classroom/README.md", "docs/teaching.md", "docs/troubleshooting.md", "site/lab/README.md")
"""What is translated beside the lessons."""

LAB = ROOT / "site" / "lab" / "src" / "en.json"
"""What the page of the lab says, by key."""

HEADER = "# The English is written down elsewhere: `python -m tutorial_utils translations` brings it here."

Source = list[tuple[str | None, str]]
"""Messages with their contexts, in order."""


def sources() -> dict[str, Source]:
    """All that is translated, by the name of its catalogue."""
    lessons = {path.stem: _prose(path) for path in find_notebooks()}
    pages = {domain(page): _blocks((ROOT / page).read_text(encoding="utf-8")) for page in PAGES}
    lab = list(json.loads(LAB.read_text(encoding="utf-8")).items())
    return {**lessons, **pages, "lab": lab, SENTENCES: [(None, words) for words in sentences()]}


def _prose(lesson: Path) -> Source:
    return [(cell.id, cell.source) for cell in read_notebook(lesson).cells if cell.cell_type == "markdown"]


def _blocks(page: str) -> Source:
    texts = dict.fromkeys(text for text in blocks(page) if re.search(r"[A-Za-z]{2}", text))
    return [(None, text) for text in texts if not text.startswith(("```", "<!--"))]


def brought_up_to_date(language: Language, name: str, source: Source) -> Catalog:
    """A catalogue with the messages of its source, in order, and the translations that there are."""
    old = read(language, name)
    new = Catalog(language.locale, header_comment=HEADER, fuzzy=False, creation_date=old.creation_date)
    new.revision_date = old.creation_date  # git knows when what was changed
    by_context = {message.context: message for message in old if message.context}
    wanted = set(source)
    left = {one.id: one for one in old if one.id and (one.context, one.id) not in wanted}
    for context, english in source:
        known = old.get(english, context) or by_context.get(context) or _alike(english, left)
        if known and known.string:
            changed = known.id != english
            flags = {"fuzzy"} if changed or known.fuzzy else set()
            previous = [known.id] if changed else known.previous_id
            new.add(english, known.string, context=context, flags=flags, previous_id=previous)
        else:
            new.add(english, "", context=context)
    return new


def _alike(english: str, left: dict[str, Message]) -> Message | None:
    """A message whose English has become this, of those that are left."""
    return next((left[one] for one in difflib.get_close_matches(english, left, 1)), None)


def read(language: Language, name: str) -> Catalog:
    """A catalogue as it is, empty if there is none."""
    path = path_of(language.locale, name)
    if not path.exists():
        return Catalog(locale=language.locale)
    with path.open("rb") as file:
        return read_po(file)


def write(language: Language, name: str, catalogue: Catalog) -> None:
    """Store a catalogue, as a whole or not at all."""
    path = path_of(language.locale, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    with draft(path) as partial, partial.open("wb") as file:
        write_po(file, catalogue, width=0, omit_header=False, include_previous=True)


def update(language: Language) -> dict[str, Source]:
    """Bring all catalogues of a language and its README up to date: what is due to be translated, by catalogue."""
    lacking = {}
    for name, source in sources().items():
        catalogue = brought_up_to_date(language, name, source)
        write(language, name, catalogue)
        if found := due(catalogue, source):
            lacking[name] = found
    translations.catalogue.cache_clear()
    write_whole(readme(language), language.document("README.md"))
    return lacking


def readme(language: Language) -> Path:
    """Where the README of a language is."""
    return ROOT / f"README.{language.code}.md"


def due(catalogue: Catalog, source: Source) -> Source:
    """The messages of a source that a catalogue lacks, or has with another English text, and those it has too many."""
    there = {(one.context, one.id): one for one in catalogue if one.id}
    lacking = [one for one in source if not (known := there.get(one)) or not known.string or known.fuzzy]
    return [*lacking, *(there.keys() - set(source))]
