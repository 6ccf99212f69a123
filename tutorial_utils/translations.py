"""The course in other languages: what is written once, in English, is looked up in the catalogues of gettext.

A message is a Markdown cell of a lesson (its context is the cell's id), a block of a page, or a sentence that a lesson
or the package says; in these, ``{…}`` stands for what is filled in. The catalogues are in ``translations/``, a folder a
language; ``python -m tutorial_utils translations`` brings them up to date. Sentences are looked up when they are shown,
as they stand: so those in the stored outputs of the English run are said in another language without another run, and
an error keeps its English words, by which it can be searched for.
"""

from __future__ import annotations

import locale
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parents[1]
CATALOGUES = ROOT / "translations"
SENTENCES = "messages"
"""The catalogue of what lessons and package say."""

BLANK = re.compile(r"\{(\w+)\}")
"""What is filled in, in a message."""

WITHIN_A_SENTENCE = r"(?:(?!(?<=[.?!:])\s+\S|\n|\s{2,}).)*?"
NODE = re.compile(r"(?<=>)[^<>]+(?=<)")
BOUNDARIES = (
    re.compile(r"(\n\s*|\s{2,}|^[✓✗…] (?:\d\.\d )?|\x1b\[\d*m)", re.MULTILINE),
    re.compile(r"((?<=[.?!])\s+)"),
    re.compile(r"(; )"),
    re.compile(r"( \((?=[^()]*\)$)|\)$)"),
    re.compile(r"((?<=:)\s+)"),
    re.compile(r"(, )"),
)
"""What stands between texts of their own: lines, columns and marks before them; sentences; and ever smaller parts."""

FULL_WIDTH = ("。", "？", "！", "：", "；", "，", "（", "）")
"""Signs beside which no blank is needed."""

ENDS = {".": "。", ":": "："}
WIDE = {"; ": "；", ", ": "，", " (": "（", ")": "）"}
"""What stands between texts in Chinese."""


@dataclass(frozen=True)
class Language:
    """A language that the course can be read in.

    Attributes:
        code: as TUTORIAL_LANGUAGE names it.
        locale: the name of its folder of catalogues.
        name: what its speakers call it.
    """

    code: str
    locale: str
    name: str

    def say(self, words: str) -> str:
        """A text of the course's own in this language; what no catalogue has stays as it is."""
        found = _said(self.locale, words)
        return words if found is None else found

    def notebook(self, text: str, name: str) -> str:
        """A notebook's text with its prose, and its stored outputs, in this language.

        Args:
            text: of the notebook, in any edition.
            name: the lesson's, such as ``"01_vit_inference"``.
        """
        if not has_catalogues(self.locale):
            return text
        import nbformat  # which takes a second, and a lesson that is read in English has no use for it

        notebook = nbformat.reads(text, as_version=4)
        self.translate(notebook, name)
        return nbformat.writes(notebook) + "\n"

    def translate(self, notebook: NotebookNode, name: str) -> None:
        """Put a notebook's prose and stored outputs into this language."""
        prose = catalogue(self.locale, name)
        for cell in notebook.cells:
            if cell.cell_type == "markdown":
                cell.source = prose.get((cell.id, cell.source)) or self.say(cell.source)
            for output in cell.get("outputs", []):
                self._translate_output(output)

    def _translate_output(self, output: NotebookNode) -> None:
        for texts in (output, output.get("data", {})):
            for kind in texts.keys() & {"text", "text/plain"}:
                texts[kind] = self.say(texts[kind])
        if page := output.get("data", {}).get("text/html"):
            output.data["text/html"] = NODE.sub(lambda node: self.say(node[0]), page)
        for about in output.get("metadata", {}).values():
            if isinstance(about, dict) and "alt" in about:
                about["alt"] = self._described(about["alt"])

    def _described(self, alt: str) -> str:
        """An alternative text whose first sentence is the figure's description; the rest reads its English labels."""
        description, _, rest = alt.partition(". ")
        said = _whole(self.locale, description.removesuffix("."))
        return alt if said is None else f"{said}。{rest}"

    def document(self, page: str) -> str:
        """A page of Markdown in this language.

        Args:
            page: its path from the root of the course, such as ``"docs/teaching.md"``.
        """
        text = (ROOT / page).read_text(encoding="utf-8")
        prose = catalogue(self.locale, domain(page))
        return "".join(prose.get((None, block), block) for block in blocks(text))


ENGLISH = Language("en", "en", "English")
LANGUAGES = {language.code: language for language in (ENGLISH, Language("zh", "zh_CN", "中文"))}
"""By their codes. English is what everything is written in."""


def find(code: str, name: str = "language") -> Language:
    """A language by its code.

    Raises:
        ValueError: the course is not written in it.
    """
    if code not in LANGUAGES:
        known = ", ".join(f"{one.code} ({one.name})" for one in LANGUAGES.values())
        raise ValueError(f"{name}={code!r} is not a language of this course: choose one of {known}.")
    return LANGUAGES[code]


def current() -> Language:
    """What the learner reads: by TUTORIAL_LANGUAGE, else the system's language if the course has it, else English.

    Raises:
        ValueError: TUTORIAL_LANGUAGE is no language of this course.
    """
    if asked := os.environ.get("TUTORIAL_LANGUAGE"):
        return find(asked, "TUTORIAL_LANGUAGE")
    return LANGUAGES.get(_systems(), ENGLISH)


def _systems() -> str:
    """The code of the system's language, as the variables of gettext or else Windows have it."""
    for variable in ("LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG"):
        if value := os.environ.get(variable):
            return re.split(r"[_.:@-]", value)[0].lower()
    name = locale.getlocale()[0] or ""
    return "zh" if name.startswith("Chinese") else name.partition("_")[0].lower()


def say(words: str) -> str:
    """A text of the course's own in the language that the learner reads."""
    return current().say(words)


# --- Catalogues -------------------------------------------------------------------------------------------------------


def path_of(locale: str, name: str) -> Path:
    """Where a catalogue is."""
    return CATALOGUES / locale / "LC_MESSAGES" / f"{name}.po"


def domain(page: str) -> str:
    """The name of a page's catalogue."""
    return page.removesuffix(".md").replace("/", "-")


def has_catalogues(locale: str) -> bool:
    return (CATALOGUES / locale).is_dir()


@cache
def catalogue(locale: str, name: str) -> Mapping[tuple[str | None, str], str]:
    """The translations of one catalogue, by context and English text; without those that are due to be looked at."""
    if not path_of(locale, name).exists():
        return {}
    from babel.messages.pofile import read_po  # not needed in English

    with path_of(locale, name).open("rb") as file:
        messages = read_po(file)
    return {
        (message.context, message.id): message.string
        for message in messages
        if message.id and message.string and not message.fuzzy
    }


def blocks(page: str) -> list[str]:
    """A page of Markdown in parts, which together are the page: paragraphs, tables, lists, and what is between them."""
    return [part for part in re.split(r"(\n{2,}|^```.*?^```$)", page, flags=re.MULTILINE | re.DOTALL) if part]


# --- Sentences --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Template:
    """A message with blanks: its longest part without one, what it looks like filled in, and its translation."""

    part: str
    pattern: re.Pattern
    translation: str

    @classmethod
    def of(cls, message: str, blank: str, translation: str) -> Template:
        """The template of a message whose blanks are filled with what the pattern `blank` finds."""
        parts = BLANK.split(message)
        pattern = "".join(f"(?P<{part}>{blank})" if at % 2 else re.escape(part) for at, part in enumerate(parts))
        pattern += "" if parts[-1] else "(?<![.:])"  # which the message would have said
        return cls(max(parts[::2], key=len), re.compile(pattern, re.DOTALL), translation)


@cache
def _messages(locale: str) -> tuple[Mapping[str, str], list[Template], list[Template]]:
    """What is said word for word, and what is said with something filled in, the most particular first.

    With the first templates nothing is filled in that goes on beyond a sentence, with the second anything.
    """
    said = {english.strip(" "): words.strip(" ") for (_, english), words in catalogue(locale, SENTENCES).items()}
    filled = sorted((one for one in said if BLANK.search(one)), key=lambda one: -len(BLANK.sub("", one)))
    narrow, wide = ([Template.of(one, blank, said[one]) for one in filled] for blank in (WITHIN_A_SENTENCE, ".*?"))
    return said, narrow, wide


@cache
def _said(locale: str, words: str) -> str | None:
    """A text in a language: as a whole, or else part by part; None if the catalogues have nothing of it."""
    if not has_catalogues(locale) or not re.search(r"[A-Za-z]{2}", words):
        return None
    if (whole := _whole(locale, words)) is not None:
        return whole
    for boundary in BOUNDARIES:
        pieces = boundary.split(words)
        if len(pieces) > 1 and (joined := _joined(locale, pieces)) is not None:
            return joined
    return _filled_in(locale, words, _messages(locale)[2])


def _whole(locale: str, words: str) -> str | None:
    """A text that is one message, with or without a full stop behind it."""
    said, narrow, _ = _messages(locale)
    found = said[words] if words in said else _filled_in(locale, words, narrow)
    if found is None and words.endswith((".", ":")):
        found = _whole(locale, words[:-1])
        return found and f"{found.rstrip('。')}{ENDS[words[-1]]}"
    if found is None and words[:1].isupper():  # a description at the beginning of a sentence
        return _whole(locale, words[0].lower() + words[1:])
    return found


def _filled_in(locale: str, words: str, templates: list[Template]) -> str | None:
    """With what fits and leaves the fewest words in English; None if nothing fits."""
    said = []
    for template in templates:
        if template.part in words and (found := template.pattern.fullmatch(words)):  # the former is fast
            if len(template.part.split()) < 3 and any(len(value.split()) > 5 for value in found.groups()):
                continue  # a short message in a long sentence: by chance
            filled = {name: _said(locale, value) or value for name, value in found.groupdict().items()}
            said.append(BLANK.sub(lambda blank, filled=filled: filled[blank[1]], template.translation))
    return min(said, key=lambda text: len(re.findall("[A-Za-z]+", text)), default=None)


def _joined(locale: str, pieces: list[str]) -> str | None:
    """Pieces of a text, which stand between what separates them: as many at once as are one message."""
    said, at, found = "", 0, False
    while at < len(pieces):
        for end in range(len(pieces), at, -2):
            run = "".join(pieces[at:end])
            words = _whole(locale, run) if end - at > 1 else _said(locale, run)
            if words is not None:
                break
        found |= words is not None
        said += run if words is None else words
        separator = "".join(pieces[end : end + 1])
        said += "" if separator == " " and said.endswith(FULL_WIDTH) else WIDE.get(separator, separator)
        at = end + 1
    return said if found else None


# --- Errors -----------------------------------------------------------------------------------------------------------


def explain_errors() -> None:
    """In a notebook from now on: below the message of an error, the same in the language that the learner reads."""
    if (ipython := sys.modules.get("IPython")) and (shell := ipython.get_ipython()) and current() is not ENGLISH:
        shell.set_custom_exc((Exception,), _explained)


def _explained(shell: Any, kind: type, error: Exception, trace: TracebackType, tb_offset: int | None = None) -> None:
    if (words := say(str(error))) != str(error):
        error.add_note(words)
    shell.showtraceback((kind, error, trace), tb_offset=tb_offset)
