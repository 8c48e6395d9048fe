"""The difference between a run's slice table and the slices that its source has now. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from slurmslice.errors import BadInputError
from slurmslice.slices.keys import are_all_canonical
from slurmslice.slices.log_names import LogNames
from slurmslice.slices.match_lines import match_lines, renumber_lines
from slurmslice.slices.slice_table import SliceTable, check_slice_count
from slurmslice.slices.table_difference import TableDifference, Values, in_order
from slurmslice.system.escaping import format_row, slice_table_header


def compare_tables(old: SliceTable, new: SliceTable, *, by_place: bool) -> TableDifference:
    """Return the difference of a run's table and a new one.

    Args:
        old: the slices of the run.
        new: the slices that its source has now.
        by_place: a key is only the place of a line, so lines are matched by their content.

    Raises:
        BadInputError: the columns differ (``other-columns``).
    """
    _check_columns(old, new)
    if by_place and all(key.isdecimal() for key in old.keys[:1]):
        return match_lines(old, new)
    if by_place:
        new = renumber_lines(old, new)
    added, changed, found = dict[str, Values](), dict[int, Values](), 0
    for key, values in zip(new.keys, in_order(old, new), strict=True):
        row = old.row_of(key)
        if row is None:
            added[key] = values
            continue
        found += 1
        if values and values != old.column_values(row):
            changed[row] = values
    return TableDifference(added, changed, len(old) - found)


def _check_columns(old: SliceTable, new: SliceTable) -> None:
    """Refuse other columns: they would rename slices, or leave values out.

    Raises:
        BadInputError: the columns differ.
    """
    if set(old.columns) == set(new.columns):
        return
    had, has = (", ".join(one.columns) or "none" for one in (old, new))
    raise BadInputError(
        f"The slices of the run have other columns ({had}) than these ({has}).",
        "Give the columns of the run. For other ones, make another run with another --name.",
        code="other-columns",
        columns=tuple(old.columns),
        given=tuple(new.columns),
    )


def changed_part(old: SliceTable, difference: TableDifference, *, direct: bool) -> SliceTable:
    """Return the table of the changed and the new rows of a run, with their log names.

    Args:
        old: the slices of the run.
        difference: what is new.
        direct: the script computes the log's name from the key, as for the first slices.

    Raises:
        BadInputError: a value cannot be an argument of a program, or there are too many slices.
    """
    check_slice_count(len(old) + len(difference.added), "the run")
    keys = list(difference.added)
    rows = range(len(old), len(old) + len(keys))
    folders = bool(len(old)) and "/" in old.log_name(0) if direct else None
    every = [*old.keys, *keys]
    names = LogNames(every, direct=direct and are_all_canonical(every), folders=folders)
    lines = [format_row(slice_table_header(old.columns))]
    for row, values in sorted(difference.changed.items()):
        lines.append(format_row((str(row), old.keys[row], *values, old.log_name(row))))
    for row, key, log in zip(rows, keys, names(rows, keys), strict=True):
        lines.append(format_row((str(row), key, *difference.added[key], log)))
    data = "".join(lines).encode("utf-8", "surrogateescape")
    return SliceTable.read(data, "the new slices")


def part_rows(old: SliceTable, difference: TableDifference) -> Sequence[int]:
    """Return the rows of ``changed_part``, in its order."""
    first = len(old)
    return [*sorted(difference.changed), *range(first, first + len(difference.added))]
