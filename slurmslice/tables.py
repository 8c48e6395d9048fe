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

from slurmslice.errors import BadInput, DamagedRun

_LETTERS = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"}
_MEANINGS = {escape.encode(): letter.encode() for letter, escape in _LETTERS.items()}
_ESCAPE = re.compile(rb"\\(?:0[0-3][0-7]{2}|.|$)", re.DOTALL)
_RAW_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


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
        raise BadInput(
            f"A value holds {character!r}, which no argument or variable can hold.",
            code="control-character",
            value=character,
        )
    return [f"{byte:03o}" for byte in data]


def plain(value: str) -> bool:
    """Whether a value is its own field: there is nothing in it to escape."""
    return value.isprintable() and "\\" not in value


def escape(value: str) -> str:
    """A value as one field of a table.

    Raises:
        BadInput: the value holds NUL or a surrogate that stands for no byte.
    """
    if plain(value):
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
    raise DamagedRun(
        f"{text.decode('utf-8', 'backslashreplace')} is no escape of a table.", value=text
    )


def format_row(fields: Iterable[str]) -> str:
    """One line of a table, with its newline."""
    return "\t".join(map(escape, fields)) + "\n"


def parse_row(line: str) -> list[str]:
    """The values of one line, given with or without its newline.

    Raises:
        DamagedRun: a field holds an escape that is none.
    """
    return [unescape(field) for field in line.removesuffix("\n").split("\t")]


def format_columns(columns: Sequence[Sequence[str]]) -> str:
    """Lines of a table from its fields column by column, all equally long and not empty.

    Raises:
        BadInput: a value holds NUL or a surrogate that stands for no byte.
    """
    # Most columns need no escape at all, and one look at the whole says so.
    fields = [column if plain("".join(column)) else map(escape, column) for column in columns]
    return "\n".join(map("\t".join, zip(*fields, strict=True))) + "\n"


def read_fields(fields: Sequence[bytes]) -> list[str]:
    """The values of fields as they stand in a file; quick where none needs an escape.

    Raises:
        DamagedRun: as ``read_field``.
    """
    try:
        text = b"".join(fields).decode()
    except UnicodeDecodeError:
        text = "\\"
    if plain(text):
        return b"\n".join(fields).decode().split("\n")
    return list(map(read_field, fields))


def read_field(field: bytes) -> str:
    """The value of a field as it stands in a file.

    Raises:
        DamagedRun: the field holds what ``escape`` would have escaped, or an escape that it
            would not have written.
    """
    try:
        text = field.decode()
    except UnicodeDecodeError:
        raise DamagedRun("bytes that are not UTF-8.", value=field) from None
    control = None if text.isprintable() else _RAW_CONTROL.search(text)
    if control:
        raise DamagedRun(f"an unescaped control character {control[0]!r}.", value=control[0])
    return unescape(text)
