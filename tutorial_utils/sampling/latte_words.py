"""A sentence as somebody typed it, and what a tokenizer can read of it: words, without signs that would hide them.

A tokenizer of whole words, such as Latte-mini's, takes "sneaker," for a word of its own and knows nothing of it. One
that cuts words into pieces, as the published T5's does, loses a sign at most, and is given what was typed.
"""

from __future__ import annotations

import unicodedata
from itertools import groupby
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def read(tokenizer: PreTrainedTokenizerBase, text: str) -> tuple[str, list[str]]:
    """What to give to a tokenizer of a text, in the lower case that `LattePipeline` uses.

    Returns:
        the text, and the signs that were left out of it. It is changed only where all of a word would be the unknown
        token: then the word is read without its signs, its full-width letters as the usual ones, and any dash as a
        hyphen.
    """
    lower = text.lower().strip()
    words = {word: _words(tokenizer, word) for word in lower.split()}
    changed = {word: parts for word, parts in words.items() if parts != [word]}
    if not changed:
        return lower, []
    ignored = dict.fromkeys(sign for word, parts in changed.items() for sign in _lacking(word, "".join(parts)))
    return " ".join(part for word in lower.split() for part in words[word]), [*ignored]


def _words(tokenizer: PreTrainedTokenizerBase, typed: str) -> list[str]:
    """What is read of what was typed between two blanks."""

    def is_lost(word: str) -> bool:
        return {*tokenizer(word, add_special_tokens=False).input_ids} == {tokenizer.unk_token_id}

    if not is_lost(typed):
        return [typed]
    parts = ["".join(run) for _, run in groupby(_plain(typed), _is_sign)]
    words = []
    while parts:
        # signs within a word may be its own: "t-shirt" is a word, "red,moving" are two
        count = next((count for count in (5, 3) if count <= len(parts) and not is_lost("".join(parts[:count]))), 1)
        words.append("".join(parts[:count]))
        del parts[:count]
    words = [word for word in words if any(map(str.isalnum, word))]
    if words and all(map(is_lost, words)):  # an unknown word is named as it was typed
        return [typed.strip("".join(filter(_is_sign, typed)))]
    return words


def _is_sign(character: str) -> bool:
    return unicodedata.category(character)[0] not in "LMN"  # letters, their accents, and numbers


def _plain(typed: str) -> str:
    """Without what cannot be seen, full-width letters as the usual ones, and all dashes as a hyphen."""
    seen = (sign for sign in typed if unicodedata.category(sign) not in ("Cc", "Cf"))
    return unicodedata.normalize("NFC", "".join(map(_folded, seen))).lower()


def _folded(character: str) -> str:
    if _is_sign(character):  # which may fold to letters: a letter in a circle is no word
        return "-" if unicodedata.category(character) == "Pd" else character
    return unicodedata.normalize("NFKC", character)


def _lacking(typed: str, read: str) -> list[str]:
    """The signs of a word that are not in what is read of it."""
    before, after = _plain(typed), _plain(read)
    lost = {sign: after.count(_plain(sign)) < before.count(_plain(sign)) for sign in typed}
    return [sign for sign in lost if lost[sign] and unicodedata.category(sign)[0] in "PS"]
