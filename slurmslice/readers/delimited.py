"""Slices from CSV and TSV files. The first line names the columns; nothing is guessed.

CSV is as RFC 4180 has it: commas, values in double quotes where they hold a comma, a quote
(doubled) or a line's end. TSV is as IANA has it (text/tab-separated-values): tabs between the
values and nothing else, a quote is a character like any other. In both a line's end is LF or
CRLF, blank lines are left out, and all lines have as many values as the first.
"""

from __future__ import annotations

import codecs
import csv
import difflib
import io
import os.path
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from slurmslice.errors import BadInput
from slurmslice.keys import Numbers
from slurmslice.readers.columns import check_names
from slurmslice.readers.text import refuse_nul
from slurmslice.slices import SliceTable, checked

if TYPE_CHECKING:
    from _csv import Reader

_BLOCK = 10_000
_SIGNS = {"\t": "tabs", ";": "semicolons", "|": "bars", ",": "commas"}
_MEANINGS = {
    "unexpected end of data": "a quote is opened and never closed",
    "expected after": "text follows a closing quote; a quote in a value is doubled",
    "new-line character": "a carriage return stands in a value without quotes",
    "field larger": "a value is longer than any argument; perhaps a quote is never closed",
}


def from_table(data: bytes, source: str, key: str | None) -> SliceTable:
    """Slices from the rows of a table; every column is a column of theirs.

    Args:
        data: the file's bytes.
        source: its name: ``.csv`` and ``.tsv`` say what it is. Any other, and standard input, is
            TSV where its first line has a tab, else CSV.
        key: the column with the slices' keys; None for the row's number, from 0.

    Raises:
        BadInput: it is no such table, with the line's number; a column's name is none; there is
            no such key column, or its values are no keys.
    """
    refuse_nul(data, source)
    header = io.BytesIO(data).readline().removeprefix(codecs.BOM_UTF8)
    if not header.strip():
        raise BadInput(
            f"{source}, line 1: it is blank.",
            "The first line names the columns.",
            code="blank-header",
            path=source,
            line=1,
        )
    tabs = _has_tabs(source, header)
    try:
        records = _reader(data, tabs)
        names = next(records)
        _check_signs(names, tabs, source)
        _check_header(names, key, source)
        columns = _columns(len(names), records)
    except (csv.Error, ValueError) as why:
        raise _fault(data, source, tabs) from why
    keys = Numbers((range(len(columns[0])), 1)) if key is None else columns[names.index(key)]
    return checked(keys, source, dict(zip(names, columns, strict=True)))


def _check_signs(names: Sequence[str], tabs: bool, source: str) -> None:
    """Refuse a table of one column whose name seems to be those of several."""
    others = {sign: said for sign, said in _SIGNS.items() if sign != ",\t"[tabs]}
    found = next((said for sign, said in others.items() if sign in names[0]), None)
    if found and len(names) == 1:
        raise BadInput(
            f"{source}, line 1: {found} stand between its columns.",
            "A table has commas there, or tabs where its name ends in .tsv.",
            code="wrong-separator",
            path=source,
            line=1,
        )


def _check_header(names: Sequence[str], key: str | None, source: str) -> None:
    check_names(names, f"{source}, line 1")
    if key is not None and key not in names:
        near = difflib.get_close_matches(key, names, 1)
        hint = f"Did you mean {near[0]}?" if near else f"Its columns are {', '.join(names)}."
        raise BadInput(
            f"There is no column {key!r} in {source}.",
            hint,
            code="unknown-column",
            column=key,
            path=source,
            nearest=near[0] if near else None,
        )


def _has_tabs(source: str, header: bytes) -> bool:
    """Whether it is TSV."""
    suffix = os.path.splitext(source)[1].lower()
    return suffix == ".tsv" or (suffix != ".csv" and b"\t" in header)


def _reader(data: bytes, tabs: bool) -> Reader:
    # Lines end in LF alone here, so that the numbers of lines are an editor's.
    lines = io.TextIOWrapper(io.BytesIO(data), "utf-8-sig", "surrogateescape", newline="\n")
    if tabs:
        return csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE, strict=True)
    return csv.reader(lines, strict=True)


def _columns(width: int, records: Iterator[list[str]]) -> list[list[str]]:
    """The values of each column. A block at a time: a list a row would take twice the memory.

    Raises:
        csv.Error: a record cannot be read.
        ValueError: it has more or fewer values than there are columns.
    """
    columns: list[list[str]] = [[] for _ in range(width)]
    filled = filter(None, records)  # a blank line is an empty record
    while block := list(islice(filled, _BLOCK)):
        for column, values in zip(columns, zip(*block, strict=True), strict=True):
            column.extend(values)
    return columns


def _fault(data: bytes, source: str, tabs: bool) -> BadInput:
    """What is wrong with a table that could not be read, and in which line: look one by one."""
    reader, width = _reader(data, tabs), 0
    while True:
        line = reader.line_num + 1
        try:
            record = next(reader)
        except csv.Error as why:
            return BadInput(
                f"{source}, line {line}: {_meaning(why)}.",
                code="bad-table-line",
                path=source,
                line=line,
            )
        width = width or len(record)
        if record and len(record) != width:
            return BadInput(
                f"{source}, line {line}: {len(record)} values, and {width} columns.",
                "" if tabs else 'A value that holds a comma stands in quotes: "a,b".',
                code="uneven-table",
                path=source,
                line=line,
            )


def _meaning(why: csv.Error) -> str:
    return next((ours for words, ours in _MEANINGS.items() if words in str(why)), str(why))
