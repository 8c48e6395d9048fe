r"""The text format of the tables in a run directory: ``slices.tsv`` and each ``tasks.tsv``.

A table is UTF-8 text: a header, then one line per row, with tabs between the fields. Some
characters are unreadable in a terminal: control characters, bidirectional marks, unusual blanks,
and non-UTF-8 bytes. These and the backslash are escaped so that bash's
``printf -v name %b`` restores the bytes in every locale: ``\t``, ``\n``, ``\r``, ``\\``, and
``\0ooo`` for any other byte (bash(1), SHELL BUILTIN COMMANDS, ``printf``). Readable UTF-8 is not
changed.

Values are ``str`` as returned by ``os.fsdecode``: non-UTF-8 bytes are surrogates.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from slurmslice.errors import BadInputError, DamagedRunError

_LETTERS = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"}
_MEANINGS = {escape.encode(): letter.encode() for letter, escape in _LETTERS.items()}
_ESCAPE = re.compile(rb"\\(?:0[0-3][0-7]{2}|.|$)", re.DOTALL)
_RAW_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def slice_table_header(columns: Sequence[str]) -> tuple[str, ...]:
    """The header of ``slices.tsv`` and of every ``tasks.tsv``. Readers use field positions.

    In ``tasks.tsv``, array index i owns row i, counted from 0 below the header.
    """
    return ("row", "key", *columns, "log")


def octal_bytes(character: str) -> list[str]:
    """The bytes of a character as three octal digits each; a surrogate is one byte.

    Raises:
        BadInputError: the character is NUL or a surrogate without a byte.
    """
    try:
        data = character.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        data = b"\0"
    if data == b"\0":
        raise BadInputError(
            f"A value holds {character!r}, which no argument or variable can hold.",
            code="control-character",
            value=character,
        )
    return [f"{byte:03o}" for byte in data]


def is_plain(value: str) -> bool:
    """Tell if a value needs no escaping."""
    return value.isprintable() and "\\" not in value


def escape(value: str) -> str:
    """Return a value as one field of a table.

    Raises:
        BadInputError: the value holds NUL or a surrogate without a byte.
    """
    if is_plain(value):
        return value
    return "".join(map(_escaped, value))


def _escaped(character: str) -> str:
    if character in _LETTERS:
        return _LETTERS[character]
    if character.isprintable():
        return character
    return "".join(f"\\0{octet}" for octet in octal_bytes(character))


def unescape(field: str) -> str:
    """Return the value of a field: ``unescape(escape(value))`` has the bytes of ``value``.

    Raises:
        DamagedRunError: the field has an escape unknown to ``escape``.
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
    raise DamagedRunError(
        f"{text.decode('utf-8', 'backslashreplace')} is not a valid escape.", value=text
    )


def format_row(fields: Iterable[str]) -> str:
    """Return one line of a table, with its newline."""
    return "\t".join(map(escape, fields)) + "\n"


def parse_row(line: str) -> list[str]:
    """Return the values of one line, with or without its newline.

    Raises:
        DamagedRunError: a field has an invalid escape.
    """
    return [unescape(field) for field in line.removesuffix("\n").split("\t")]


def format_columns(columns: Sequence[Sequence[str]]) -> str:
    """Return lines of a table from its columns, all of the same length and not empty.

    Raises:
        BadInputError: a value holds NUL or a surrogate without a byte.
    """
    # Most columns need no escaping; testing the joined column shows this fast.
    fields = [column if is_plain("".join(column)) else map(escape, column) for column in columns]
    return "\n".join(map("\t".join, zip(*fields, strict=True))) + "\n"


def parse_fields(fields: Sequence[bytes]) -> list[str]:
    """Return the values of fields of a file; fast if none of them has an escape.

    Raises:
        DamagedRunError: see ``parse_field``.
    """
    try:
        text = b"".join(fields).decode()
    except UnicodeDecodeError:
        text = "\\"
    if is_plain(text):
        return b"\n".join(fields).decode().split("\n")
    return list(map(parse_field, fields))


def parse_field(field: bytes) -> str:
    """Return the value of one field of a file.

    Raises:
        DamagedRunError: the field holds a character that ``escape`` always escapes, or an invalid
            escape.
    """
    try:
        text = field.decode()
    except UnicodeDecodeError:
        raise DamagedRunError("bytes that are not UTF-8.", value=field) from None
    control = None if text.isprintable() else _RAW_CONTROL.search(text)
    if control:
        raise DamagedRunError(f"an unescaped control character {control[0]!r}.", value=control[0])
    return unescape(text)
