"""Texts as words of bash (bash(1), QUOTING)."""

from __future__ import annotations

import re
from collections.abc import Iterable

from slurmslice.system.escaping import octal_bytes

_BARE = re.compile(r"[A-Za-z0-9@%+,./:=_-]+")


def quote_words(words: Iterable[str]) -> str:
    """Return the words as a line of bash, quoted."""
    return " ".join(map(quote, words))


def quote(text: str) -> str:
    r"""Return a text as one word of bash: bare, in single quotes, or ``$'…'`` if not printable.

    Raises:
        BadInputError: the text holds NUL or a surrogate without a byte.
    """
    if _BARE.fullmatch(text):
        return text
    if text.isprintable():
        return "'" + text.replace("'", "'\\''") + "'"
    return dollar_quoted(text)


def dollar_quoted(text: str) -> str:
    """Return a text as one word of bash in ``$'…'``, which shows every byte."""
    letters = {"\\": "\\\\", "'": "\\'", "\n": "\\n", "\t": "\\t"}
    return "$'" + "".join(letters.get(c) or _octal_escaped(c) for c in text) + "'"


def _octal_escaped(character: str) -> str:
    if character.isprintable():
        return character
    return "".join(f"\\{octet}" for octet in octal_bytes(character))
