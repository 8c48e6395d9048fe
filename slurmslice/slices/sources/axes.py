"""Axes: values typed for one or several columns, and the product of axes with other slices."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import prod

from slurmslice.errors import BadInputError
from slurmslice.slices.keys import keys_from_range
from slurmslice.slices.slice_table import SliceTable, check_slice_count, checked_table
from slurmslice.slices.sources.columns import check_column_names
from slurmslice.slices.sources.input_form import FormSlices

_RANGE = re.compile(r"[0-9]+-[0-9]+(:[0-9]+)?")
_PART = re.compile(r"((?:\\[\\,]|[^,])*)(,|$)", re.DOTALL)
_ESCAPED = re.compile(r"\\([\\,])")

ITEM = "item"
"""The column with the key that a slice has in its own source, if its key is another one."""


@dataclass(frozen=True, slots=True)
class Axis:
    """One dimension of combined slices.

    Attributes:
        names: its columns.
        rows: the values of these columns, one tuple for each place of the axis.
    """

    names: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    @property
    def label(self) -> str:
        """The axis in words for a person: ``lr (2)``."""
        return f"{'+'.join(self.names)} ({len(self.rows)})"

    @property
    def keys(self) -> list[str]:
        """Its part of the key at each place: ``a=1,b=3``."""
        return [",".join(map("=".join, zip(self.names, row, strict=True))) for row in self.rows]


def parse_values(text: str, name: str, option: str) -> list[str]:
    r"""Return the values of an axis: commas separate them; ``\,`` is a comma, ``\\`` a backslash.

    Two whole numbers with a dash are a range as in ``--array``: ``0-4``, ``000-010:5``.

    Args:
        text: the values, as typed.
        name: the column.
        option: the option, for error messages.

    Raises:
        BadInputError: a value is empty, a range is invalid, or there are too many values.
    """
    values: list[str] = []
    for part in _split(text):
        if not part:
            raise BadInputError(
                f"There is an empty value in --{option} {name}={text}.",
                f"Write it as --{option} {name}=0.1,0.01 or --{option} {name}=0-4.",
                code="empty-value",
                option=option,
                column=name,
            )
        is_range = _RANGE.fullmatch(part)
        some = keys_from_range(part)[0] if is_range else [_ESCAPED.sub(r"\1", part)]
        check_slice_count(len(some), f"--{option} {name}={part}")
        values += some
    return values


def _split(text: str) -> Iterable[str]:
    """Yield the parts between the commas; one with a backslash is no such comma."""
    for part in _PART.finditer(text):
        yield part[1]
        if not part[2]:
            return


def combine(source: FormSlices | None, axes: Sequence[Axis]) -> FormSlices:
    """Return every combination of the slices of a source with those of axes.

    The source varies slowest and the last axis fastest. A key is the parts with commas; each part
    has its columns.

    Raises:
        BadInputError: a column occurs twice, two keys are equal, or there are too many slices.
    """
    where = "the grid" if source is None else f"{source.source} with --grid or --zip"
    columns = () if source is None else source.table.columns
    check_column_names((*columns, *(name for axis in axes for name in axis.names)), where)
    lengths = [len(axis.rows) for axis in axes]
    slices = (1 if source is None else len(source.table)) * prod(lengths)
    check_slice_count(slices, where)
    labels = [] if source is None else [f"{source.source} ({len(source.table)})"]
    words = f"{' × '.join([*labels, *(axis.label for axis in axes)])} = {slices}"
    keys = [",".join(parts) for parts in product(*(axis.keys for axis in axes))]
    cells = [[cell for row in rows for cell in row] for rows in product(*(a.rows for a in axes))]
    if source is not None:
        return replace(source, table=_times(source.table, keys, axes, cells, where), source=words)
    names = [name for axis in axes for name in axis.names]
    values = dict(zip(names, zip(*cells, strict=True), strict=True))
    return FormSlices(checked_table(keys, where, values), words)


def _times(
    table: SliceTable,
    keys: Sequence[str],
    axes: Sequence[Axis],
    cells: Sequence[Sequence[str]],
    where: str,
) -> SliceTable:
    """Return each slice of a table once for each combination of axes."""
    columns = {
        name: [value for value in table.values(name) for _ in keys] for name in table.columns
    }
    names = [name for axis in axes for name in axis.names]
    for name, values in zip(names, zip(*cells, strict=True), strict=True):
        columns[name] = list(values) * len(table)
    all_keys = [f"{key},{part}" for key in table.keys for part in keys]
    return checked_table(all_keys, where, columns)


def with_item(table: SliceTable) -> SliceTable:
    """Return a table with its keys as the column ``item`` too, unless it has such a column."""
    if ITEM in table.columns:
        return table
    return table.with_columns((ITEM,), ([key] for key in table.keys))


def with_key(table: SliceTable, name: str) -> SliceTable:
    """Return a table whose keys are the values of one of its columns.

    Raises:
        BadInputError: two slices have the same value, or one is empty.
    """
    columns = {column: list(table.values(column)) for column in table.columns}
    return checked_table(columns[name], f"the column {name!r} (--key)", columns)
