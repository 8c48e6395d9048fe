r"""The escaping of the tables in a run directory: ``slices.tsv`` and each ``tasks.tsv``.

A table is text in UTF-8: a header, then one line a row, with tabs between the fields. What a
person could not read in a terminal (controls, bidirectional marks, odd blanks, bytes that are
not UTF-8) and the backslash are escaped so that bash's ``printf -v name %b`` gives back the
bytes in every locale: ``\t``, ``\n``, ``\r``, ``\\``, and ``\0ooo`` for any other byte (bash(1),
SHELL BUILTIN COMMANDS, ``printf``). Valid UTF-8 that can be read stays as it is.

Values are ``str`` as ``os.fsdecode`` gives them: a byte that is not UTF-8 is a surrogate.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from slurmslice.errors import BadInput, DamagedRun

_LETTERS = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"}
_MEANINGS = {escape.encode(): letter.encode() for letter, escape in _LETTERS.items()}
_ESCAPE = re.compile(rb"\\(?:0[0-3][0-7]{2}|.|$)", re.DOTALL)
_RAW_CONTROL = re.compile(rb"[\x00-\x08\x0b-\x1f\x7f]")


class Table(NamedTuple):
    """A table that was read: its header, and its rows, each as long as the header."""

    header: tuple[str, ...]
    rows: list[tuple[str, ...]]


def slice_header(columns: Sequence[str]) -> tuple[str, ...]:
    """The header of ``slices.tsv`` and of every ``tasks.tsv``; fields go by their position.

    In ``tasks.tsv`` array index i owns row i, counted from 0 below the header.
    """
    return ("row", "key", *columns, "log")


def octets(character: str) -> list[str]:
    """The bytes of a character, three octal digits each; a surrogate is its one byte.

    Raises:
        BadInput: it is NUL, or a surrogate that stands for no byte: no program can be given it.
    """
    try:
        data = character.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        data = b"\0"
    if data == b"\0":
        raise BadInput(f"A value holds {character!r}, which no argument or variable can hold.")
    return [f"{byte:03o}" for byte in data]


def escape(value: str) -> str:
    """A value as one field of a table.

    Raises:
        BadInput: the value holds NUL or a surrogate that stands for no byte.
    """
    if value.isprintable() and "\\" not in value:
        return value
    return "".join(map(_escaped, value))


def _escaped(character: str) -> str:
    if character in _LETTERS:
        return _LETTERS[character]
    if character.isprintable():
        return character
    return "".join(f"\\0{octet}" for octet in octets(character))


def unescape(field: str) -> str:
    """The value of a field: ``unescape(escape(value))`` has the bytes of ``value``.

    Raises:
        DamagedRun: an escape is none of those that ``escape`` writes.
    """
    if "\\" not in field:
        return field
    data = _ESCAPE.sub(_meaning, field.encode("utf-8", "surrogateescape"))
    return data.decode("utf-8", "surrogateescape")


def _meaning(match: re.Match[bytes]) -> bytes:
    text = match[0]
    if text in _MEANINGS:
        return _MEANINGS[text]
    if len(text) == 5 and text != b"\\0000":
        return bytes([int(text[2:], 8)])
    raise DamagedRun(f"{text.decode('utf-8', 'backslashreplace')} is no escape of a table.")


def format_row(fields: Iterable[str]) -> str:
    """One line of a table, with its newline."""
    return "\t".join(map(escape, fields)) + "\n"


def parse_row(line: str) -> list[str]:
    """The values of one line, given with or without its newline.

    Raises:
        DamagedRun: a field holds an escape that is none.
    """
    return [unescape(field) for field in line.removesuffix("\n").split("\t")]


def write_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> bytes:
    """A whole table, as it is to stand in its file."""
    return "".join(map(format_row, (header, *rows))).encode()


def read_table(data: bytes, name: str) -> Table:
    """A whole table, as ``write_table`` made it.

    Args:
        data: the bytes of the file.
        name: what the file is called in an error.

    Raises:
        DamagedRun: the file is empty or torn, a line has more or fewer fields than the header,
            or holds what ``escape`` would have escaped; the message names the line, from 1.
    """
    *lines, rest = data.split(b"\n")
    if rest or not lines:
        raise DamagedRun(f"{name}, line {len(lines) + 1}: the line was not written to its end.")
    header, *rows = (_fields(line, number, name) for number, line in enumerate(lines, 1))
    for number, row in enumerate(rows, 2):
        if len(row) != len(header):
            wrong = f"{len(row)} fields, the header has {len(header)}"
            raise DamagedRun(f"{name}, line {number}: {wrong}.")
    return Table(header, rows)


def _fields(line: bytes, number: int, name: str) -> tuple[str, ...]:
    control = _RAW_CONTROL.search(line)
    if control:
        raise DamagedRun(f"{name}, line {number}: an unescaped control character {control[0]!r}.")
    try:
        return tuple(parse_row(line.decode()))
    except UnicodeDecodeError:
        raise DamagedRun(f"{name}, line {number}: bytes that are not UTF-8.") from None
    except DamagedRun as why:
        raise DamagedRun(f"{name}, line {number}: {why.message}") from None
