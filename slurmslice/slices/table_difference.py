"""The difference between two slice tables, and what is needed to find it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from slurmslice.slices.slice_table import SliceTable

Values = tuple[str, ...]
"""The values of the columns of a slice."""


@dataclass(frozen=True)
class TableDifference:
    """The difference between the slices of a run and those of its source.

    Attributes:
        added: the keys of new slices in order, with their values.
        changed: the rows with other values now, with these values.
        gone: the number of slices that the source does not have any more.
    """

    added: Mapping[str, Values]
    changed: Mapping[int, Values]
    gone: int

    def __bool__(self) -> bool:
        return bool(self.added or self.changed)


def in_order(old: SliceTable, new: SliceTable) -> Iterator[Values]:
    """Yield the values of each new slice in the order of the run's columns."""
    places = [new.columns.index(name) for name in old.columns]
    for row in range(len(new)):
        values = new.column_values(row) if places else ()
        yield tuple(values[place] for place in places)
