"""Join the texts of slices: plain, as CSV with one header, or as JSON lines. Pure; it streams."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Callable, Iterable, Iterator

from slurmslice.errors import BadInputError

Texts = Iterable[tuple[str, Iterable[bytes]]]
"""The key of each slice, and its text in pieces."""

Join = Callable[[Texts], Iterator[bytes]]

KEY_COLUMN = "slice"
"""The name of the added column."""

_SHOWN = 300
"""Characters of a header in an error."""

_BOM = b"\xef\xbb\xbf"


def join_texts(texts: Texts, *, with_key: bool = False) -> Iterator[bytes]:
    """Yield the texts one after another; each begins on a new line.

    Args:
        texts: the texts.
        with_key: each line begins with the key and a tab. Control characters of a key become ``?``.
    """
    for key, pieces in texts:
        if with_key:
            before = "".join(c if c.isprintable() else "?" for c in key)
            yield from (_encoded(f"{before}\t") + line for line in _whole_lines(pieces))
        else:
            yield from _with_line_end(pieces)


def join_csv(texts: Texts, *, with_key: bool = False) -> Iterator[bytes]:
    """Yield one header, and the records of all texts. Records are not changed.

    Args:
        texts: the texts; each begins with the header.
        with_key: the key is the first column, with the name ``slice``.

    Raises:
        BadInputError: a text has another header than the first one, or none; it is no CSV; or it
            has a column ``slice`` already.
    """
    header, first, separator = b"", "", ","
    for key, pieces in texts:
        lines = _whole_lines(pieces)
        found = next(lines, b"").removeprefix(_BOM)
        if not found.strip():
            raise _other_header(key, "", first, header)
        if not header:
            header, first = found, key
            separator = "\t" if b"\t" in found and b"," not in found else ","
            if with_key and KEY_COLUMN in _cells(found, key, separator):
                raise BadInputError(
                    f"The CSV of slice {key!r} has a column {KEY_COLUMN} already.",
                    "Leave out --key.",
                    code="duplicate-column",
                    key=key,
                    column=KEY_COLUMN,
                )
            yield _encoded(f"{KEY_COLUMN}{separator}" if with_key else "") + header
        elif found.rstrip(b"\r\n") != header.rstrip(b"\r\n"):
            raise _other_header(key, _decoded(found).rstrip("\r\n"), first, header)
        before = _encoded(_cell(key, separator) + separator) if with_key else b""
        try:
            yield from (before + record for record in _records(lines, separator))
        except csv.Error as why:
            raise _bad_csv(key, str(why)) from why


def _bad_csv(key: str, why: str) -> BadInputError:
    return BadInputError(
        f"The text of slice {key!r} is no CSV: {why}.",
        "Without --csv, the texts are joined as they are.",
        code="bad-csv",
        key=key,
    )


def _other_header(key: str, found: str, first: str, header: bytes) -> BadInputError:
    if not header:
        message = f"The text of slice {key!r} has no CSV header."
    else:
        has = _short(found) if found else "none"
        wanted = _short(_decoded(header).rstrip("\r\n"))
        message = f"The CSV header of slice {key!r} is {has}; that of {first!r} is {wanted}."
    return BadInputError(
        message,
        "Without --csv, the texts are joined as they are.",
        code="csv-headers-differ",
        key=key,
        found=found[:_SHOWN],
    )


def _short(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…")


def _cells(line: bytes, key: str, separator: str) -> list[str]:
    try:
        return next(csv.reader([_decoded(line)], delimiter=separator), [])
    except csv.Error as why:
        raise _bad_csv(key, str(why)) from why


def _cell(text: str, separator: str) -> str:
    """Return a text as a cell of CSV."""
    out = io.StringIO()
    csv.writer(out, delimiter=separator, lineterminator="").writerow([text])
    return out.getvalue()


def _records(lines: Iterator[bytes], separator: str) -> Iterator[bytes]:
    """Group lines to records, because a quoted cell may hold line ends; leave out blank lines."""
    read: list[bytes] = []

    def feed() -> Iterator[str]:
        for line in lines:
            read.append(line)
            yield _decoded(line)

    usual = csv.field_size_limit(sys.maxsize)  # of the whole process
    try:
        for cells in csv.reader(feed(), delimiter=separator, strict=True):
            if cells:
                yield b"".join(read)
            read.clear()
    finally:
        csv.field_size_limit(usual)


def join_json_lines(texts: Texts, *, with_key: bool = False) -> Iterator[bytes]:
    """Yield the lines of all texts; each is one JSON value. Blank lines are left out.

    Args:
        texts: the texts.
        with_key: each line is an object, and gets the key as its first member ``slice``.

    Raises:
        BadInputError: a line is not JSON; with the key, it is no object, or has that member.
    """
    for key, pieces in texts:
        for number, line in enumerate(_whole_lines(pieces), start=1):
            if not line.strip():
                continue
            value = _parsed(key, number, line)
            if not with_key:
                yield line
            elif isinstance(value, dict) and KEY_COLUMN not in value:
                yield json.dumps({KEY_COLUMN: key} | value).encode("ascii") + b"\n"
            else:
                what = f"has a member {KEY_COLUMN} already" if value else "is no object"
                raise _bad_json(key, number, f"{what}, so the key cannot be added")


def _parsed(key: str, number: int, line: bytes) -> object:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as why:
        raise _bad_json(key, number, "is no JSON value") from why


def _bad_json(key: str, number: int, what: str) -> BadInputError:
    return BadInputError(
        f"Line {number} of the text of slice {key!r} {what}.",
        "Without --json-lines, the texts are joined as they are.",
        code="bad-json-line",
        key=key,
        line=number,
    )


def _with_line_end(pieces: Iterable[bytes]) -> Iterator[bytes]:
    last = b"\n"
    for piece in pieces:
        if piece:
            yield piece
            last = piece[-1:]
    if last != b"\n":
        yield b"\n"


def _whole_lines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the lines with their ends; the last one gets an end if it has none."""
    rest = b""
    for piece in _with_line_end(pieces):
        *lines, rest = (rest + piece).split(b"\n")
        yield from (line + b"\n" for line in lines)


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _decoded(line: bytes) -> str:
    return line.decode("utf-8", "surrogateescape")
