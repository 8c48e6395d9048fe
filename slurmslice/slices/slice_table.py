"""A run's slices and their table. The package ``sources`` builds tables from a person's input.

Keys are ``str``. Non-UTF-8 bytes are surrogates, as in Python's file names;
``os.fsencode`` restores the bytes. Rows count from 0 in the order given.
"""

from __future__ import annotations

import difflib
import fnmatch
import io
import os
import re
from array import array
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cached_property
from itertools import chain, islice

from slurmslice.errors import BadInputError, DamagedRunError
from slurmslice.slices.keys import LazyKeys, NumberKeys, are_all_canonical, keys_from_range
from slurmslice.slices.log_names import LogNames
from slurmslice.system.escaping import (
    escape,
    format_columns,
    format_row,
    parse_field,
    parse_fields,
    slice_table_header,
)

MAX_SLICES = 10_000_000
"""More slices than this are a typing error, and would not fit into memory."""

MAX_VALUE_BYTES = 130_000
"""The most bytes of a key or of a column's value.

Linux starts no program with a longer argument or variable (execve(2), MAX_ARG_STRLEN). The
variable's name needs a part of that limit.
"""

_NUMBERED = re.compile(rb"^[0-9]+\t(0|[1-9][0-9]{0,8})\t", re.MULTILINE)
"""A row whose key has the form of Slurm's array indices: no sign, no leading zero."""

_KEY = re.compile(rb"^[^\t\n]*\t([^\t\n]*)\t", re.MULTILINE)

_BLOCK = 10_000
"""Rows per write: enough to be fast, few enough to need little memory."""


class SliceTable:
    """An immutable table of a run's slices, held as the text of its file.

    A row is decoded only when it is needed. Opening a run therefore reads the bytes and no more.

    Attributes:
        data: the bytes of ``slices.tsv``.
        columns: names of the columns; empty if slices have only a key.
    """

    def __init__(
        self, keys: Collection[str], columns: Mapping[str, Sequence[str]] | None = None
    ) -> None:
        """Build the table of these slices. Use ``checked_table`` for a person's input.

        Args:
            keys: one unique key per slice.
            columns: column name to values, one value per slice.

        Raises:
            BadInputError: a key or value cannot be an argument of a program.
        """
        self._take(_written(keys, columns or {}), "the slice table")

    @classmethod
    def read(cls, data: bytes, where: str) -> SliceTable:
        """Read a table from the bytes of its file. Error messages name the file ``where``.

        Raises:
            DamagedRunError: the header or the end of the file is damaged. A damaged row raises the
                same error, with its line number, when the row is decoded.
        """
        table = cls.__new__(cls)
        table._take(data, where)
        return table

    def _take(self, data: bytes, where: str) -> None:
        self.data, self._where = data, where
        self._length = data.count(b"\n") - 1
        if not data.endswith(b"\n"):
            raise self._damaged(self._length, "the line was not written to its end.")
        self.columns = self._decoded(-1, self._header.split(b"\t")[2:-1])

    def __len__(self) -> int:
        return self._length

    @cached_property
    def keys(self) -> LazyKeys:
        """The key of each row."""
        return LazyKeys(len(self), self._keys_of)

    @cached_property
    def max_array_index(self) -> int | None:
        """The highest key if the keys can be array indices themselves; else None.

        They can if every key is a canonical integer and there are no columns.
        """
        numbers = [] if self.columns else _NUMBERED.findall(self.data)
        return max(map(int, numbers)) if len(numbers) == len(self) else None

    def column_values(self, row: int) -> tuple[str, ...]:
        """The values of a row's columns."""
        return self._decoded(row, self._fields(row)[2:-1])

    def values(self, name: str) -> Iterable[str]:
        """The values of a column by row; an empty name means the keys."""
        if not name:
            return self.keys
        place = self.columns.index(name)
        return (self.column_values(row)[place] for row in range(len(self)))

    def log_name(self, row: int) -> str:
        """The path of a slice's log, relative to a submission's ``logs`` folder; safe and unique.

        The file is named after the key if the key is a safe and unmistakable file name, else
        row-N. More than a thousand logs are split into subfolders.
        """
        return self._value(row, -1)

    def row_of(self, key: str) -> int | None:
        """The row of a key; None if no slice has this key."""
        return self._rows.get(key)

    def part(self, rows: Sequence[int]) -> bytes:
        """The bytes of a table with only these rows of this table."""
        if rows == range(len(self)):
            return self.data
        return self._header + b"".join(map(self._line, rows))

    def with_columns(self, names: Sequence[str], values: Iterable[Sequence[str]]) -> SliceTable:
        """Return this table with additional columns on the right.

        Args:
            names: the names of the new columns.
            values: for each row, one value per new column.

        Raises:
            BadInputError: a value cannot be an argument of a program.
        """
        file = io.BytesIO()
        lines = chain((self._header,), map(self._line, range(len(self))))
        for line, fields in zip(lines, chain((names,), values), strict=True):
            head, tab, log = line.rpartition(b"\t")
            file.write(head + tab + "".join(escape(f) + "\t" for f in fields).encode() + log)
        return SliceTable.read(file.getvalue(), self._where)

    def changed_by(self, part: SliceTable) -> SliceTable:
        """Return this table with the lines of another one; each replaces its row, or is appended.

        Raises:
            DamagedRunError: its lines do not fit this table.
        """
        if part.columns != self.columns:
            raise part._damaged(-1, "it has other columns than the slice table before it.")
        lines = dict(enumerate(map(self._line, range(len(self)))))
        for at in range(len(part)):
            row = part._fields(at)[0]
            if not row.isdigit() or int(row) > len(lines):
                raise part._damaged(at, "its row does not follow the slices before it.")
            lines[int(row)] = part._line(at)
        return SliceTable.read(b"".join((self._header, *lines.values())), self._where)

    def select(self, wanted: Iterable[str]) -> list[int]:
        """Return the rows of the slices with these names, in the table's order.

        Each name is a key. A name that is not a key may be a range of keys in sbatch's syntax,
        or a shell pattern (``*``, ``?``, ``[…]``).

        Raises:
            BadInputError: a name matches no slice.
        """
        rows: set[int] = set()
        for name in wanted:
            rows.update(self._rows_named(name))
        return sorted(rows)

    def _rows_named(self, name: str) -> list[int]:
        if name in self._rows:
            return [self._rows[name]]
        if matching := self._matching(name):
            return matching
        try:
            keys = keys_from_range(name)[0]
        except BadInputError:
            raise self._unknown(name) from None
        missing = next((key for key in keys if key not in self._rows), None)
        if missing is not None:
            raise self._unknown(missing)
        return [self._rows[key] for key in keys]

    def _matching(self, pattern: str) -> list[int]:
        if not any(sign in pattern for sign in "*?["):
            return []
        is_like = re.compile(fnmatch.translate(pattern)).match
        return [row for key, row in self._rows.items() if is_like(key)]

    def _unknown(self, key: str) -> BadInputError:
        numbered = key.isdecimal() and are_all_canonical(self.keys)
        near = [] if numbered else difflib.get_close_matches(key, self.keys[:10_000], 1)
        hint = f"A slice is named by its key, for example {self.keys[0]!r}; * matches any text."
        if numbered:
            numbers = sorted(map(int, self.keys))
            hint = f"The keys are numbers from {numbers[0]} to {numbers[-1]}."
        elif near:
            hint = f"Did you mean {near[0]!r}?"
        return BadInputError(
            f"There is no slice {key!r} among the {len(self)} of this run.",
            hint,
            code="unknown-slice",
            key=key,
            nearest=near[0] if near else None,
        )

    # -- the text ----------------------------------------------------------------------------

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {key: row for row, key in enumerate(self.keys)}

    @cached_property
    def _starts(self) -> array[int]:
        """The offset of each row's line in the bytes, and the end of the last one."""
        return array("Q", (end.end() for end in re.finditer(b"\n", self.data)))

    @property
    def _header(self) -> bytes:
        return self.data[: self.data.index(b"\n") + 1]

    def _line(self, row: int) -> bytes:
        return self.data[self._starts[row] : self._starts[row + 1]]

    def _fields(self, row: int) -> list[bytes]:
        fields = self._line(row)[:-1].split(b"\t")
        if len(fields) != len(self.columns) + 3:
            wrong = f"{len(fields)} fields, the header has {len(self.columns) + 3}."
            raise self._damaged(row, wrong)
        return fields

    def _keys_of(self, rows: range) -> list[str]:
        """The keys of neighbouring rows; decoding a million together takes a third of a second."""
        keys = _KEY.findall(self.data, self._starts[rows.start], self._starts[rows.stop])
        try:
            if len(keys) == len(rows):
                return parse_fields(keys)
        except DamagedRunError:
            pass
        return [self._value(row, 1) for row in rows]  # raises with the line of the damaged row

    def _value(self, row: int, position: int) -> str:
        return self._decoded(row, (self._fields(row)[position],))[0]

    def _decoded(self, row: int, fields: Iterable[bytes]) -> tuple[str, ...]:
        try:
            return tuple(map(parse_field, fields))
        except DamagedRunError as why:
            raise self._damaged(row, why.message) from None

    def _damaged(self, row: int, why: str) -> DamagedRunError:
        return DamagedRunError(
            f"{self._where}, line {row + 2}: {why}", path=self._where, line=row + 2
        )


# -- writing ---------------------------------------------------------------------------------


def _written(keys: Collection[str], columns: Mapping[str, Sequence[str]]) -> bytes:
    """The bytes of a new table, written in blocks so that memory holds only one copy."""
    logs = LogNames(keys, direct=not columns and are_all_canonical(keys))
    rest = iter(keys)
    file = io.BytesIO()
    file.write(format_row(slice_table_header(tuple(columns))).encode())
    for first in range(0, len(keys), _BLOCK):
        block = list(islice(rest, _BLOCK))
        rows = range(first, first + len(block))
        values = (column[first : first + _BLOCK] for column in columns.values())
        fields = [list(map(str, rows)), block, *values, logs(rows, block)]
        file.write(format_columns(fields).encode())
    return file.getvalue()


# -- validation ----------------------------------------------------------------------------


def checked_table(
    keys: Collection[str], source: str, columns: Mapping[str, Sequence[str]] | None = None
) -> SliceTable:
    """Return the table of a person's slices after validation.

    Args:
        keys: their keys.
        source: their source, for error messages.
        columns: column name to values, one value per slice.

    Raises:
        BadInputError: there is no key; a key occurs twice, is empty or holds NUL; there are more
        than ``MAX_SLICES``; or a value is longer than ``MAX_VALUE_BYTES``.
    """
    if not keys:
        raise BadInputError(
            f"There is no slice in {source}.", "Give at least one.", code="no-slices", source=source
        )
    check_slice_count(len(keys), source)
    if not isinstance(keys, NumberKeys):
        _check_keys(keys, source)
        for values in (keys, *(columns or {}).values()):
            check_value_length(max(values, key=len), source)
    return SliceTable(keys, columns)


def check_slice_count(slices: int, source: str) -> None:
    """Refuse more slices than a run accepts, before they are generated.

    Raises:
        BadInputError: there are more than ``MAX_SLICES``.
    """
    if slices > MAX_SLICES:
        raise BadInputError(
            f"There are {slices:,} slices in {source}; a run accepts {MAX_SLICES:,}.",
            "Make several runs if you need more.",
            code="too-many-slices",
            source=source,
            slices=slices,
        )


def check_value_length(value: str, where: str) -> None:
    """Refuse a value too long for an argument of a program.

    Raises:
        BadInputError: it has more than ``MAX_VALUE_BYTES`` bytes.
    """
    length = len(os.fsencode(value)) if len(value) > MAX_VALUE_BYTES // 4 else 0
    if length > MAX_VALUE_BYTES:
        raise BadInputError(
            f"A value in {where} has {length:,} bytes; Linux allows {MAX_VALUE_BYTES:,} in an "
            f"argument: {value[:60]!r}…",
            "Write it into a file and use the file's name as the value.",
            code="value-too-long",
            where=where,
            bytes=length,
        )


def _check_keys(keys: Collection[str], source: str) -> None:
    unique = set(keys)
    if len(unique) < len(keys):
        double, _ = Counter(keys).most_common(1)[0]
        raise BadInputError(
            f"The key {double[:200]!r} occurs twice in {source}.",
            "Make the keys unique: a key identifies its slice in every command.",
            code="duplicate-key",
            key=double,
            source=source,
        )
    if "" in unique:
        number = next(row for row, key in enumerate(keys) if not key)
        raise BadInputError(
            f"The key of slice {number} in {source} is empty.",
            "Give it at least one character.",
            code="empty-key",
            slice=number,
            source=source,
        )
    nul = next((key for key in keys if "\0" in key), None)
    if nul is not None:
        raise BadInputError(
            f"The key {nul[:60]!r} in {source} holds a NUL byte.",
            "Remove it: no program's argument can hold NUL.",
            code="nul-byte",
            key=nul,
            source=source,
        )
