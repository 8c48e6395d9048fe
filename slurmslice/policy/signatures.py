"""The signature of an error line: the line without what differs from slice to slice. Pure.

``docs/adr/0043`` gives the order of the steps.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

MAX_SIGNATURE = 200
"""Characters of a signature."""

FEW_VALUES = 1000
"""If a column has at most so many values, those of other slices count too."""

_FIRST_ROWS = 20_000
"""Only so many rows are looked at for them."""


@dataclass(frozen=True, slots=True)
class SliceValues:
    """The texts that stand for a slice.

    Attributes:
        own: its values with their names, ``key`` for the key.
        words: values of all slices that are one word, with the names of their columns.
        hosts: the nodes of its attempt.
    """

    own: tuple[tuple[str, str], ...] = ()
    words: Mapping[str, str] = field(default_factory=dict)
    hosts: tuple[str, ...] = ()


_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
_ONE_WORD = re.compile(r"[^\W_]\w*")


def is_replaced(value: str) -> bool:
    """Tell if a value is replaced by its name: it is not empty, and no plain number."""
    return bool(value) and not _NUMBER.fullmatch(value)


def common_words(columns: Iterable[tuple[str, Iterable[str]]]) -> dict[str, str]:
    """Return the values that are one word, with their names, of all columns with few values.

    Args:
        columns: names and values. The first column that has a value gives its name.
    """
    found: dict[str, str] = {}
    for name, values in columns:
        distinct = set[str]()
        for value in islice(values, _FIRST_ROWS):
            distinct.add(value)
            if len(distinct) > FEW_VALUES:
                break
        else:
            words = filter(_ONE_WORD.fullmatch, filter(is_replaced, distinct))
            found |= {word: found.get(word, name) for word in words}
    return found


_TIMES = re.compile(
    r"\d{4}[-/]\d\d[-/]\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)?"
    r"|(?:(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*,? +)?"
    r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec) +\d{1,2},? +\d\d:\d\d:\d\d(?: +\d{4})?"
    r"|(?<![\w:.])\d{1,2}:\d\d(?::\d\d)?(?:\.\d+)?\b",
    re.IGNORECASE,
)
_COLORS = re.compile("\x1b\\[[0-9;?]*[A-Za-z]")
_PREFIX = re.compile(r"^(?:\[?rank ?\d+\]?: ?|\d{1,5}: |\[[\w.-]+:\d+\] ?)+", re.IGNORECASE)
_CODES = re.compile(
    r"\b(?:errno|err(?:or)? ?code|exit ?code|exit(?:ed|s)?(?: with)?(?: (?:exit )?(?:code|status))?"
    r"|exit status|returned|signal|status(?: code)?|http(?:/\d(?:\.\d)?)?(?: (?:status|error))?"
    r"(?: code)?|severe|error)\s*[:=(<#]*\s*-?\d{1,5}\b"
    r"|\b[1-5]\d\d (?=client error|server error)|\be\d{4}\b",
    re.IGNORECASE,
)
_URL = re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s'\"`>)\]]+", re.IGNORECASE)
_PATH = re.compile(r"[^\s'\"`:;,()\[\]<>|=]*[/\\][^\s'\"`:;,()\[\]<>|]*")
_HEX = re.compile(
    r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b|\b0x[0-9a-f]+\b"
    r"|\b(?=[a-f]*\d)(?=\d*[a-f])[0-9a-f]{7,}\b",
    re.IGNORECASE,
)
_TEMPORARY = re.compile(r"\btmp[a-z0-9_]{6,}")
_NUMBERS = re.compile(
    r"(?<![\w.])[-+]?(?:\d+(?:,\d{3})*(?:\.\d+)?|\.\d+)(?:e[-+]?\d+)?|\d+", re.IGNORECASE
)
_MANY = re.compile(r"#(?:[.,:x×/-]? ?#)+")
_UNIT = re.compile(r"# ?(?:[kmgtp]i?b|bytes?|[munµ]?s|[kmgt])\b", re.IGNORECASE)
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
_VALUE_ERRORS = ("KeyError", "ValueError", "IndexError")
"""Exceptions that quote data. What others quote is usually a name of the program."""

_KEPT = str.maketrans("0123456789", "".join(chr(0xE000 + n) for n in range(10)))
_BACK = str.maketrans("".join(chr(0xE000 + n) for n in range(10)), "0123456789")
_NAMES = 0xE100


def line_signature(line: str, values: SliceValues) -> str:
    """Return an error line without times, own values, folders, hosts and numbers.

    Args:
        line: the line as it stands.
        values: the texts that stand for its slice.
    """
    text = _PREFIX.sub("", _COLORS.sub("", line))
    text = _TIMES.sub("TIME", text)
    text = _CODES.sub(lambda found: found[0].translate(_KEPT), text)
    names = list[str]()
    text = _with_names(text, values, names)
    text = _PATH.sub(_base_name, _URL.sub("URL", text))
    for host in values.hosts:
        text = re.sub(rf"(?<![\w-]){re.escape(host)}(?![\w-])", "HOST", text)
    text = _NUMBERS.sub("#", _TEMPORARY.sub("tmp#", _HEX.sub("#", text)))
    text = _UNIT.sub("#", _MANY.sub("#", text))
    if text.split(":", 1)[0].rsplit(".", 1)[-1] in _VALUE_ERRORS:
        text = _QUOTED.sub("'…'", text)
    for number, name in enumerate(names):
        text = text.replace(chr(_NAMES + number), f"{{{name}}}")
    return " ".join(text.translate(_BACK).split())[:MAX_SIGNATURE]


def _with_names(text: str, values: SliceValues, names: list[str]) -> str:
    """Replace values by a character each, and list their names; a name is no part of the line."""

    def mark(name: str) -> str:
        if name not in names:
            names.append(name)
        return chr(_NAMES + names.index(name))

    for value, name in values.own:
        if value in text:
            pattern = rf"(?<![^\W_]){re.escape(value)}(?![^\W_])"
            text = re.sub(pattern, mark(name), text)
    if not values.words:
        return text
    words = values.words
    return re.sub(
        r"\w+|[^\W_]+", lambda one: mark(words[one[0]]) if one[0] in words else one[0], text
    )


def _base_name(found: re.Match[str]) -> str:
    """Return the last part of a path; a text such as ``and/or`` or ``I/O`` as it is."""
    path = found[0]
    is_path = path[0] in "/~." or "." in path or path.count("/") + path.count("\\") > 1
    return re.split(r"[/\\]", path.rstrip("/\\."))[-1] if is_path else path


def group_id(cause: str, signature: str) -> str:
    """Return the id of the group of a cause and a signature: ``g`` and six hexadecimal digits."""
    text = f"{cause}\n{signature}".encode("utf-8", "surrogateescape")
    return f"g{hashlib.sha256(text).hexdigest()[:6]}"


def own_values(key: str, columns: Sequence[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Return the values of a slice that are replaced, the longest first, with their names."""
    found = [(value, name) for name, value in (("key", key), *columns) if is_replaced(value)]
    return tuple(sorted(found, key=lambda one: -len(one[0])))
