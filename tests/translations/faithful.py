"""What a translation has to keep of its source, and how it has to be written: each rule gives what it finds wrong."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

ROOT = Path(__file__).parents[2]
HAN = r"[\u3400-\u4dbf\u4e00-\u9fff]"

FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
MATH = re.compile(r"\$\$.+?\$\$|(?<![\\$])\$[^$\n]+?\$", re.DOTALL)
LINE_END = re.compile(r"(?<!\n)\n(?=[^\n|])")
CODE = re.compile(r"`[^`\n]+`")
TARGET = re.compile(r"\]\(([^)\s]+)\)")
TAG = re.compile(r"</?[a-z][^>]*>")
ENTITY = re.compile(r"&\w+;")
UNITS = {"thousand": 10**3, "million": 10**6, "M": 10**6, "billion": 10**9, "千": 10**3, "万": 10**4, "亿": 10**8}
NUMBER = re.compile(rf"(?<![\w.])(\d+(?:,\d{{3}})*(?:\.\d+)?)(?: ?\*?({'|'.join(UNITS)})(?![A-Za-z]))?", re.ASCII)
HEADING = re.compile(r"^(#{1,6}) ", re.MULTILINE)
LATIN_RUN = re.compile(r"[A-Za-z][\w'’.-]+(?:[ ,]+[A-Za-z][\w'’.-]+){3,}")
COMMAND = re.compile(r"python -m [\w ]+")


def bare(text: str) -> str:
    """A text without code, formulas, addresses and tags; each leaves a sign that is no letter."""
    for pattern in (FENCE, MATH, CODE, COMMAND):
        text = pattern.sub("\u2423", text)
    return ENTITY.sub(" ", TAG.sub(" ", TARGET.sub("]", text)))


def kept(pattern: re.Pattern, what: str, prepare: Callable[[str], str] = str) -> Callable[[str, str], Iterator[str]]:
    """A rule: whatever a pattern finds in the source stands in the translation as often."""

    def rule(source: str, translation: str) -> Iterator[str]:
        here, there = (Counter(pattern.findall(prepare(text))) for text in (source, translation))
        for piece in here - there:
            yield f"{what} {piece!r} is missing"
        for piece in there - here:
            yield f"{what} {piece!r} is not in the source"

    return rule


def numbers(source: str, translation: str) -> Iterator[str]:
    """Every number of the source stands in the translation, and no other: 2.5 billion can be 25 亿."""
    here, there = (
        {_value(*found) for found in NUMBER.findall(ENTITY.sub(" ", TARGET.sub("]", FENCE.sub("", text))))}
        for text in (source, translation)
    )
    yield from (f"the number {number:f} is missing" for number in sorted(here - there))
    yield from (f"the number {number:f} is not in the source" for number in sorted(there - here))


def _value(digits: str, unit: str) -> Decimal:
    return (Decimal(digits.replace(",", "") or 0) * UNITS.get(unit, 1)).normalize()


def punctuation(source: str, translation: str) -> Iterator[str]:
    """Full-width signs beside Chinese characters, but for the slash, the hyphen and what Markdown needs."""
    for found in re.finditer(
        rf"(?<={HAN})[*_]*[,;:?!()](?!\/)|(?<={HAN})\.(?![\w.])|[,;:?!(](?={HAN})", bare(translation)
    ):
        start = max(0, found.start() - 8)
        yield f"half-width {found[0]!r} in {bare(translation)[start : found.end() + 8]!r}"


def spaces(source: str, translation: str) -> Iterator[str]:
    """A space between Chinese and Latin letters, numbers, code and formulas."""
    text = re.sub(r"[*_]|T(?=恤)", "", bare(translation))
    for found in re.finditer(rf"{HAN}[A-Za-z0-9\u2423]|[A-Za-z0-9\u2423%]{HAN}", text):
        start = max(0, found.start() - 8)
        yield f"no space in {text[start : found.end() + 8]!r}"


def half_translated(source: str, translation: str) -> Iterator[str]:
    """No run of four English words but in titles (italics, links), quotes and code."""
    text = re.sub(r"^.*\[(?:arXiv|doi):.*$", "", translation, flags=re.MULTILINE)  # a paper is cited as it is
    text = re.sub(r"(?<!\*)\*[^*\n]+\*(?!\*)|\[[^\]\n]*\]|“[^”]*”|《[^》]*》", " \u2423 ", bare(text))
    yield from (f"not translated: {found[0]!r}" for found in LATIN_RUN.finditer(text))


RULES = [
    kept(HEADING, "the heading level"),
    kept(MATH, "the formula", lambda text: re.sub(r"\\text\{[^}]*\}", "", text)),
    kept(CODE, "the code span", lambda text: LINE_END.sub(" ", MATH.sub("", FENCE.sub("", text)))),
    kept(FENCE, "the block of code"),
    kept(TARGET, "the link"),
    kept(TAG, "the tag", lambda text: CODE.sub("", FENCE.sub("", text))),
    numbers,
    punctuation,
    spaces,
    half_translated,
]


def faults(source: str, translation: str) -> list[str]:
    """What a translation lacks, has too much, or is written wrongly."""
    return [fault for rule in RULES for fault in rule(source, translation)]


def glossary() -> dict[str, str]:
    """The Chinese term of each English one, as the bilingual table has them."""
    page = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    rows = [line.strip("|").split("|") for line in page.splitlines() if line.startswith("| ")][1:]
    return {row[0].strip(): row[1].strip() for row in rows}


def short(term: str) -> str:
    """A Chinese term without what stands in brackets behind it."""
    return re.sub(r"（.*?）", "", term).strip()


def terms(source: str, translation: str, table: dict[str, str]) -> Iterator[str]:
    """Where the source has a term of the table, the translation has the table's word for it.

    Longer terms are looked for first, and what they cover is not looked at again: a position embedding is no embedding.
    """
    left = bare(re.sub(r"^.*\[(?:arXiv|doi):.*$|Stable Diffusion", "", source, flags=re.MULTILINE)).lower()
    for english in sorted(table, key=len, reverse=True):
        pattern = re.compile(rf"(?<![\w-]){re.escape(english.lower())}(?:s|es)?(?![\w-])")
        if pattern.search(left):
            left = pattern.sub("\u2423", left)
            if short(table[english]).lower() not in translation.lower():
                yield f"{english} is {table[english]}"
