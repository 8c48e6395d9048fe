"""Slices from CSV, TSV and similar files. The format is never guessed from the rows.

CSV follows RFC 4180: commas separate values, and a value with a comma, a quote (doubled) or a
line end is in double quotes. TSV follows IANA's text/tab-separated-values: tabs separate values,
and a quote is an ordinary character. A line ends with LF or CRLF. Rows whose values are all blank
are skipped. All other rows have as many values as the first.
"""

from __future__ import annotations

import codecs
import csv
import difflib
import io
import os.path
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, islice
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
_BLANKS = " \t\r\n"

SEPARATORS = {"comma": ",", "tab": "\t", "semicolon": ";", "bar": "|", "blanks": " "}
"""The separators of a table by name. ``blanks`` are runs of blanks and tabs."""

_NUMBER = re.compile(r"[-+]?[\d.]+(?:[eE][-+]?\d+)?", re.ASCII)
_MEANINGS = {
    "unexpected end of data": "a quote is opened and never closed",
    "expected after": "text follows a closing quote; double a quote inside a value",
    "new-line character": "a value without quotes holds a carriage return",
    "field larger": "a value is too long for an argument; perhaps a quote is never closed",
}


def slices_from_table(
    data: bytes, source: str, key: str | None, *, separator: str = "", header: bool = True
) -> SliceTable:
    """Return slices from the rows of a table; the table's columns become the slices' columns.

    Args:
        data: the file's bytes.
        source: its name. Without a separator, the suffixes ``.csv`` and ``.tsv`` decide the format.
            Any other file, and standard input, is TSV if its first line holds a tab, else CSV.
        key: the column of the keys; None to use row numbers, from 0.
        separator: a sign of ``SEPARATORS``; empty to decide by the name.
        header: the first row names the columns. Otherwise their names are ``c1``, ``c2``, ….

    Raises:
        BadInputError: the table is invalid (the message names the line), a column's name is
        invalid, or the key column does not exist or holds invalid keys.
    """
    refuse_nul(data, source)
    first_line = io.BytesIO(data).readline().removeprefix(codecs.BOM_UTF8)
    if header and not first_line.strip():
        raise BadInputError(
            f"{source}, line 1: the header is blank.",
            "Write the names of the columns into the first line.",
            code="blank-header",
            path=source,
            line=1,
        )
    sign = separator or _separator_by_name(source, first_line)
    try:
        reader = _reader(data, sign)
        records = filter(_is_filled, reader)
        first = next(reader if header else records, None)
        if first is None:
            return checked_table((), source)  # it refuses a table without slices
        if not separator:
            _refuse_other_separator(first, sign, source)
        names = first if header else [f"c{number}" for number in range(1, len(first) + 1)]
        _check_header(names, key, source)
        columns = _columns(len(names), records if header else chain([first], records))
    except (csv.Error, ValueError) as why:
        raise _fault(data, source, sign) from why
    keys = NumberKeys((range(len(columns[0])), 1)) if key is None else columns[names.index(key)]
    return checked_table(keys, source, dict(zip(names, columns, strict=True)))


def _is_filled(record: Sequence[str]) -> bool:
    return any(value.strip(_BLANKS) for value in record)


def _refuse_other_separator(first: Sequence[str], sign: str, source: str) -> None:
    """Refuse a table with one column if its first value holds another separator."""
    if len(first) != 1:
        return
    found = [name for name, other in SEPARATORS.items() if other != sign and other in first[0]]
    if found:
        raise BadInputError(
            f"{source}, line 1: the separator of the columns is not the usual one ({found[0]}).",
            f"Add --sep {found[0]}.",
            code="wrong-separator",
            path=source,
            line=1,
            separator=found[0],
        )


def _check_header(names: Sequence[str], key: str | None, source: str) -> None:
    if all(map(_NUMBER.fullmatch, names)):
        raise BadInputError(
            f"{source}, line 1: {', '.join(names)}: these are numbers, not names of columns.",
            "If the file has no header, add --no-header. Its columns are then {c1}, {c2}, ….",
            code="bad-column-name",
            column=names[0],
        )
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


def _separator_by_name(source: str, first_line: bytes) -> str:
    """Return the separator that the file's name says; for other names, its first line."""
    suffix = os.path.splitext(source)[1].lower()
    return "\t" if suffix == ".tsv" or (suffix != ".csv" and b"\t" in first_line) else ","


def _reader(data: bytes, sign: str) -> Reader:
    # A line ends with LF only, so that line numbers agree with an editor's.
    lines = io.TextIOWrapper(io.BytesIO(data), "utf-8-sig", "surrogateescape", newline="\n")
    if sign == SEPARATORS["blanks"]:
        spaced = (" ".join(line.split()) for line in lines)
        return csv.reader(spaced, delimiter=" ", quoting=csv.QUOTE_NONE, strict=True)
    if sign == SEPARATORS["tab"]:
        return csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE, strict=True)
    return csv.reader(lines, delimiter=sign, strict=True)


def _columns(width: int, records: Iterator[list[str]]) -> list[list[str]]:
    """Return the values of each column. Blocks of rows take half the memory of a list per row.

    Raises:
        csv.Error: a record is invalid.
        ValueError: a record has more or fewer values than there are columns.
    """
    columns: list[list[str]] = [[] for _ in range(width)]
    while block := list(islice(records, _BLOCK)):
        for column, values in zip(columns, zip(*block, strict=True), strict=True):
            column.extend(values)
    return columns


def _fault(data: bytes, source: str, sign: str) -> BadInputError:
    """Return the error of an invalid table. Reads it again, line by line, to find the line."""
    reader, width = _reader(data, sign), 0
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
        if _is_filled(record) and len(record) != width:
            return BadInputError(
                f"{source}, line {line}: {len(record)} values, but {width} columns.",
                'Put a value that holds a comma in quotes: "a,b".' if sign == "," else "",
                code="uneven-table",
                path=source,
                line=line,
            )


def _meaning(why: csv.Error) -> str:
    return next((ours for theirs, ours in _MEANINGS.items() if theirs in str(why)), str(why))


def _read(values: Mapping[str, Any]) -> FormSlices:
    sep: str | None = values["sep"]
    if sep not in {None, *SEPARATORS, *SEPARATORS.values()}:
        raise BadInputError(
            f"--sep {sep!r} is not a separator of columns.",
            f"Use one of: {', '.join(SEPARATORS)}.",
            code="bad-value",
            option="sep",
            value=sep,
        )
    data, source = read_input(values["table"])
    table = slices_from_table(
        data, source, values["key"],
        separator=SEPARATORS.get(sep, sep) if sep else "",
        header=not values["no_header"],
    )  # fmt: skip
    return FormSlices(table, source)


DELIMITED_TABLE = InputForm(
    example="--table FILE --key NAME",
    summary="rows of a CSV or TSV file",
    option=FormOption(
        ("--table",),
        "Slices from the rows of a table. The first line names the columns; {name} in the "
        "command is a column. A .csv file has commas, and quotes if needed. A .tsv file has tabs "
        "and no quotes. Any other file has tabs if its first line has one, else commas.",
        "FILE|-",
    ),
    modifiers=(
        FormOption(
            ("--sep",),
            f"What separates the columns of --table: {', '.join(SEPARATORS)}.",
            "NAME",
        ),
        FormOption(
            ("--no-header",),
            "The first line of --table is a row. The columns are {c1}, {c2}, ….",
        ),
    ),
    read=_read,
    combines=True,
)
