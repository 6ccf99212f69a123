"""A sentence as somebody typed it, and what a tokenizer can read of it: words, without signs that would hide them.

Latte-mini's tokenizer has a token for each word that it has learned, and spells any other, in letters or in bytes: that
loses nothing, but tells the model nothing either. A sign where a blank should be, or one that it does not know, hides a
word from it, as in "red/sneaker". (A tokenizer of whole words alone takes even "sneaker," for a word of its own.) One
that has learned pieces of words, as the published T5's has, loses a sign at most, and is given what was typed.
"""

from __future__ import annotations

import re
import unicodedata
from itertools import groupby
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


SPELLED = re.compile(r"[a-z0-9]|<0x..>")
"""A letter, a digit or a byte that stands for nothing but itself; a word of one letter has a blank, "▁", before it."""


def knows(tokenizer: PreTrainedTokenizerBase, word: str) -> bool:
    """Whether a tokenizer has learned a word, or the pieces that it is made of."""
    ids = tokenizer(word, add_special_tokens=False).input_ids
    spells = "<0x00>" in tokenizer.get_vocab()  # what it has not learned
    spelled = spells and any(map(SPELLED.fullmatch, tokenizer.convert_ids_to_tokens(ids)))
    return not spelled and tokenizer.unk_token_id not in ids


def read(tokenizer: PreTrainedTokenizerBase, text: str) -> tuple[str, list[str]]:
    """What to give to a tokenizer of a text, in the lower case that `LattePipeline` uses.

    Returns:
        the text, and the signs that were left out of it. It is changed only where all of a word would be the unknown
        token, or part of it would be spelled: then the word is read without its signs, its full-width letters as the
        usual ones, and any dash as a hyphen.
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
        ids = {*tokenizer(word, add_special_tokens=False).input_ids}
        return ids == {tokenizer.unk_token_id} or (tokenizer.unk_token_id not in ids and not knows(tokenizer, word))

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
