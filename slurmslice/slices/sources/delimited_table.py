"""Slices from CSV and TSV files. The first line names the columns; nothing is guessed.

CSV follows RFC 4180: commas separate values, and a value with a comma, a quote (doubled) or a
line end is in double quotes. TSV follows IANA's text/tab-separated-values: tabs separate values,
and a quote is an ordinary character. In both, a line ends with LF or CRLF, blank lines are
skipped, and all lines have as many values as the first.
"""

from __future__ import annotations

import codecs
import csv
import difflib
import io
import os.path
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from slurmslice.errors import BadInputError
from slurmslice.slices.keys import NumberKeys
from slurmslice.slices.slice_table import SliceTable, checked_table
from slurmslice.slices.sources.columns import check_column_names
from slurmslice.slices.sources.input_form import FormOption, FormSlices, InputForm
from slurmslice.slices.sources.text_input import read_input, refuse_nul

if TYPE_CHECKING:
    from _csv import Reader

_BLOCK = 10_000
_SIGNS = {"\t": "tabs", ";": "semicolons", "|": "bars", ",": "commas"}
_MEANINGS = {
    "unexpected end of data": "a quote is opened and never closed",
    "expected after": "text follows a closing quote; double a quote inside a value",
    "new-line character": "a value without quotes holds a carriage return",
    "field larger": "a value is too long for an argument; perhaps a quote is never closed",
}


def slices_from_table(data: bytes, source: str, key: str | None) -> SliceTable:
    """Return slices from the rows of a table; the table's columns become the slices' columns.

    Args:
        data: the file's bytes.
        source: its name. The suffixes ``.csv`` and ``.tsv`` decide the format. Any other file, and
            standard input, is TSV if its first line holds a tab, else CSV.
        key: the column of the keys; None to use row numbers, from 0.

    Raises:
        BadInputError: the table is invalid (the message names the line), a column's name is
        invalid, or the key column does not exist or holds invalid keys.
    """
    refuse_nul(data, source)
    header = io.BytesIO(data).readline().removeprefix(codecs.BOM_UTF8)
    if not header.strip():
        raise BadInputError(
            f"{source}, line 1: the header is blank.",
            "Write the names of the columns into the first line.",
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
    keys = NumberKeys((range(len(columns[0])), 1)) if key is None else columns[names.index(key)]
    return checked_table(keys, source, dict(zip(names, columns, strict=True)))


def _check_signs(names: Sequence[str], tabs: bool, source: str) -> None:
    """Refuse a table with one column if its name holds another format's separator."""
    others = {sign: name for sign, name in _SIGNS.items() if sign != ",\t"[tabs]}
    found = next((name for sign, name in others.items() if sign in names[0]), None)
    if found and len(names) == 1:
        raise BadInputError(
            f"{source}, line 1: {found} separate the columns.",
            "Separate them with commas, or with tabs in a file whose name ends with .tsv.",
            code="wrong-separator",
            path=source,
            line=1,
        )


def _check_header(names: Sequence[str], key: str | None, source: str) -> None:
    check_column_names(names, f"{source}, line 1")
    if key is not None and key not in names:
        near = difflib.get_close_matches(key, names, 1)
        hint = f"Did you mean {near[0]}?" if near else f"Its columns are {', '.join(names)}."
        raise BadInputError(
            f"There is no column {key!r} in {source}.",
            hint,
            code="unknown-column",
            column=key,
            path=source,
            nearest=near[0] if near else None,
        )


def _has_tabs(source: str, header: bytes) -> bool:
    """Tell if the table is TSV."""
    suffix = os.path.splitext(source)[1].lower()
    return suffix == ".tsv" or (suffix != ".csv" and b"\t" in header)


def _reader(data: bytes, tabs: bool) -> Reader:
    # A line ends with LF only, so that line numbers agree with an editor's.
    lines = io.TextIOWrapper(io.BytesIO(data), "utf-8-sig", "surrogateescape", newline="\n")
    if tabs:
        return csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE, strict=True)
    return csv.reader(lines, strict=True)


def _columns(width: int, records: Iterator[list[str]]) -> list[list[str]]:
    """Return the values of each column. Blocks of rows take half the memory of a list per row.

    Raises:
        csv.Error: a record is invalid.
        ValueError: a record has more or fewer values than there are columns.
    """
    columns: list[list[str]] = [[] for _ in range(width)]
    filled = filter(None, records)  # a blank line is an empty record
    while block := list(islice(filled, _BLOCK)):
        for column, values in zip(columns, zip(*block, strict=True), strict=True):
            column.extend(values)
    return columns


def _fault(data: bytes, source: str, tabs: bool) -> BadInputError:
    """Return the error of an invalid table. Reads it again, line by line, to find the line."""
    reader, width = _reader(data, tabs), 0
    while True:
        line = reader.line_num + 1
        try:
            record = next(reader)
        except csv.Error as why:
            return BadInputError(
                f"{source}, line {line}: {_meaning(why)}.",
                code="bad-table-line",
                path=source,
                line=line,
            )
        width = width or len(record)
        if record and len(record) != width:
            return BadInputError(
                f"{source}, line {line}: {len(record)} values, but {width} columns.",
                "" if tabs else 'Put a value that holds a comma in quotes: "a,b".',
                code="uneven-table",
                path=source,
                line=line,
            )


def _meaning(why: csv.Error) -> str:
    return next((ours for theirs, ours in _MEANINGS.items() if theirs in str(why)), str(why))


def _read(values: Mapping[str, Any]) -> FormSlices:
    data, source = read_input(values["table"])
    return FormSlices(slices_from_table(data, source, values["key"]), source)


DELIMITED_TABLE = InputForm(
    example="--table FILE --key NAME",
    summary="rows of a CSV or TSV file",
    option=FormOption(
        ("--table",),
        "Slices from the rows of a CSV or TSV file. The first line names the columns; "
        "{name} in the command is a column. A .csv file has commas, and quotes if needed; a .tsv "
        "file has tabs and no quotes; any other file, and -, has tabs if its first line has one, "
        "else commas.",
        "FILE|-",
    ),
    modifiers=(
        FormOption(("--key",), "Column of --table with the keys (default: row number).", "NAME"),
    ),
    read=_read,
)
