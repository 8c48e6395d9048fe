"""Slices and the table of them. What reads them from files and options is in ``readers``.

Keys are ``str`` with surrogates for bytes that are not UTF-8 (as file names are in Python);
``os.fsencode`` gives the bytes back. Rows count from 0 in the order given.
"""

from __future__ import annotations

import difflib
import io
import re
from array import array
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import islice
from typing import overload

from slurmslice.errors import BadInput, DamagedRun
from slurmslice.keys import Numbers, canonical, range_keys
from slurmslice.tables import format_columns, format_row, read_field, slice_header

FOLDER_LIMIT = 1000
"""Most entries of a folder of logs; file systems and people grow slow above it."""

MOST_SLICES = 10_000_000
"""More than that is a slip of the pen, and would not fit into memory."""

_BLOCK = 10_000
"""Rows that are written at a time: enough to be fast, few enough to need no memory."""

_OWN_LOG = re.compile(r"(?!row-)[A-Za-z0-9][A-Za-z0-9._=,+@-]{0,99}", re.ASCII)


class SliceTable:
    """A run's slices in order, held as the text of their file. It never changes.

    A row is decoded when it is asked for, so that opening a run reads its bytes and no more.

    Attributes:
        data: the bytes of ``slices.tsv``.
        columns: names of the columns; empty where slices have a key only.
    """

    def __init__(
        self, keys: Collection[str], columns: Mapping[str, Sequence[str]] | None = None
    ) -> None:
        """Write the table of these slices; ``checked`` is for what a person gives.

        Args:
            keys: a unique key a slice.
            columns: by a column's name, a value a slice.

        Raises:
            BadInput: a key or value holds what no program can be given.
        """
        self._take(_written(keys, columns or {}), "the slice table")

    @classmethod
    def read(cls, data: bytes, where: str) -> SliceTable:
        """The table in the bytes of its file; ``where`` is what errors call it.

        Raises:
            DamagedRun: the header or the end is no table's. A row that is damaged says so, with
                its line, when it is asked for.
        """
        table = cls.__new__(cls)
        table._take(data, where)
        return table

    def _take(self, data: bytes, where: str) -> None:
        self.data, self._where = data, where
        self._length = data.count(b"\n") - 1
        if not data.endswith(b"\n"):
            raise self._damaged(self._length, "the line was not written to its end.")
        header = data[: data.index(b"\n")].split(b"\t")
        self.columns = tuple(self._decoded(-1, field) for field in header[2:-1])

    def __len__(self) -> int:
        return self._length

    @cached_property
    def keys(self) -> Sequence[str]:
        """The key of each row."""
        return _Keys(len(self), lambda row: self._value(row, 1))

    @cached_property
    def highest_index(self) -> int | None:
        """The highest key where every key is a canonical integer and nothing but a key is known.

        Such keys can be array indices themselves; None where they cannot.
        """
        if self.columns:
            return None
        highest = -1
        for key in self.keys:
            if not canonical(key):
                return None
            highest = max(highest, int(key))
        return highest

    def values_of(self, row: int) -> tuple[str, ...]:
        """The values of a row's columns."""
        return tuple(self._decoded(row, field) for field in self._fields(row)[2:-1])

    def log_of(self, row: int) -> str:
        """A slice's log, relative to a submission's ``logs`` folder; safe and unique.

        The key itself where it is a safe file name that no other key resembles, else row-N; in
        folders of a thousand where there are more.
        """
        return self._value(row, -1)

    def row_of(self, key: str) -> int | None:
        """The row of a key; None where there is no such slice."""
        return self._rows.get(key)

    def part(self, rows: Sequence[int]) -> bytes:
        """The file of a table with just these rows, as it stands in this one."""
        if rows == range(len(self)):
            return self.data
        return self.data[: self._starts[0]] + b"".join(map(self._line, rows))

    def select(self, wanted: Iterable[str]) -> list[int]:
        """Rows of the slices that a person names, in the table's order.

        Each name is a key as it stands; a name that is no key may be a range of keys in
        sbatch's syntax.

        Raises:
            BadInput: there is no such slice.
        """
        rows: set[int] = set()
        for name in wanted:
            rows.update(self._named(name))
        return sorted(rows)

    def _named(self, name: str) -> list[int]:
        if name in self._rows:
            return [self._rows[name]]
        try:
            keys = range_keys(name)[0]
        except BadInput:
            raise self._unknown(name) from None
        missing = next((key for key in keys if key not in self._rows), None)
        if missing is not None:
            raise self._unknown(missing)
        return [self._rows[key] for key in keys]

    def _unknown(self, key: str) -> BadInput:
        near = difflib.get_close_matches(key, self.keys[:10_000], 1)
        such = f"Slices go by their keys, such as {self.keys[0]!r}."
        hint = f"Did you mean {near[0]!r}?" if near else such
        return BadInput(f"There is no slice {key!r} among the {len(self)} of this run.", hint)

    # -- the text ----------------------------------------------------------------------------

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {key: row for row, key in enumerate(self.keys)}

    @cached_property
    def _starts(self) -> array[int]:
        """Where each row's line begins in the bytes, and where the last one ends."""
        return array("Q", (end.end() for end in re.finditer(b"\n", self.data)))

    def _line(self, row: int) -> bytes:
        return self.data[self._starts[row] : self._starts[row + 1]]

    def _fields(self, row: int) -> list[bytes]:
        fields = self._line(row)[:-1].split(b"\t")
        if len(fields) != len(self.columns) + 3:
            wrong = f"{len(fields)} fields, the header has {len(self.columns) + 3}."
            raise self._damaged(row, wrong)
        return fields

    def _value(self, row: int, position: int) -> str:
        return self._decoded(row, self._fields(row)[position])

    def _decoded(self, row: int, field: bytes) -> str:
        try:
            return read_field(field)
        except DamagedRun as why:
            raise self._damaged(row, why.message) from None

    def _damaged(self, row: int, why: str) -> DamagedRun:
        return DamagedRun(f"{self._where}, line {row + 2}: {why}")


class _Keys(Sequence[str]):
    """Keys that are decoded one by one."""

    def __init__(self, length: int, key_of: Callable[[int], str]) -> None:
        self._rows, self._key_of = range(length), key_of

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[str]:
        return map(self._key_of, self._rows)

    @overload
    def __getitem__(self, which: int) -> str: ...
    @overload
    def __getitem__(self, which: slice) -> list[str]: ...
    def __getitem__(self, which: int | slice) -> str | list[str]:
        if isinstance(which, slice):
            return list(map(self._key_of, self._rows[which]))
        return self._key_of(self._rows[which])


# -- writing ---------------------------------------------------------------------------------


def _written(keys: Collection[str], columns: Mapping[str, Sequence[str]]) -> bytes:
    """The file of a table, block by block: it is never held twice."""
    logs = _Logs(keys, direct=not columns and all(map(canonical, keys)))
    rest = iter(keys)
    file = io.BytesIO()
    file.write(format_row(slice_header(tuple(columns))).encode())
    for first in range(0, len(keys), _BLOCK):
        rows, block = range(first, first + _BLOCK), list(islice(rest, _BLOCK))
        values = [column[first : first + _BLOCK] for column in columns.values()]
        text = format_columns(
            [list(map(str, rows[: len(block)])), block, *values, logs(rows, block)]
        )
        file.write(text.encode())
    return file.getvalue()


class _Logs:
    """A file name a slice, all different even where a file system folds case."""

    def __init__(self, keys: Collection[str], *, direct: bool) -> None:
        self._alike = _alike(keys)
        self._folders = len(keys) > FOLDER_LIMIT
        self._direct = direct

    def __call__(self, rows: Sequence[int], keys: Sequence[str]) -> list[str]:
        names = [
            f"{key}.log"
            if _OWN_LOG.fullmatch(key) and (not self._alike or key.casefold() not in self._alike)
            else f"row-{row}.log"
            for row, key in zip(rows, keys, strict=False)
        ]
        if not self._folders:
            return names
        # A key that is a number goes by its number, so that the direct form can compute it.
        numbers = map(int, keys) if self._direct else rows
        return [f"{n // FOLDER_LIMIT}/{name}" for n, name in zip(numbers, names, strict=False)]


def _alike(keys: Iterable[str]) -> frozenset[str]:
    """What several keys become where case is folded."""
    if all(key == key.casefold() for key in keys):
        return frozenset()  # they are unique as they stand
    folded = Counter(map(str.casefold, keys))
    return frozenset(name for name, times in folded.items() if times > 1)


# -- what a person gives ---------------------------------------------------------------------


def checked(
    keys: Collection[str], source: str, columns: Mapping[str, Sequence[str]] | None = None
) -> SliceTable:
    """The table of slices that a person gives.

    Args:
        keys: their keys.
        source: what gave them, for an error.
        columns: by a column's name, a value a slice.

    Raises:
        BadInput: there is no key, one stands twice, is empty or holds a NUL, or there are more
            than ``MOST_SLICES``.
    """
    if not keys:
        raise BadInput(f"There is no slice in {source}.", "Give at least one.")
    if len(keys) > MOST_SLICES:
        raise BadInput(
            f"There are {len(keys)} slices in {source}, and a run takes {MOST_SLICES}.",
            "Make several runs of them, if they are meant.",
        )
    if not isinstance(keys, Numbers):
        _check_keys(keys, source)
    return SliceTable(keys, columns)


def _check_keys(keys: Collection[str], source: str) -> None:
    unique = set(keys)
    if len(unique) < len(keys):
        double, _ = Counter(keys).most_common(1)[0]
        raise BadInput(
            f"The key {double!r} stands twice in {source}.",
            "Keys name slices for life: make them unique.",
        )
    if "" in unique:
        number = next(row for row, key in enumerate(keys) if not key)
        raise BadInput(f"Slice {number} of {source} is empty.", "A key has a character.")
    nul = next((key for key in keys if "\0" in key), None)
    if nul is not None:
        raise BadInput(f"The key {nul!r} in {source} holds a NUL byte.", "No program can take it.")


def from_range(text: str) -> tuple[SliceTable, int | None]:
    """Slices from a range in sbatch's syntax, and its throttle.

    A range that begins with a zero-padded number keeps the zeros: ``000-098`` gives ``007``.

    Raises:
        BadInput: the text is no such range.
    """
    keys, throttle = range_keys(text)
    return checked(keys, f"the range {text!r}"), throttle
