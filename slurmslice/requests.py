"""Resource options that name columns: ``--mem '{mem}G'`` asks for each slice's own. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from slurmslice import directives
from slurmslice.errors import BadInput
from slurmslice.slices import SliceTable

MOST = 20
"""Most distinct requests of a run: each is a submission of its own."""

_NAMED = re.compile(r"\{([A-Za-z_]\w*)\}", re.ASCII)

Options = Sequence[tuple[str, str]]


def names_columns(value: str) -> bool:
    """Whether an option's value names a column."""
    return _NAMED.search(value) is not None


def check(name: str, value: str) -> tuple[str, str]:
    """An option that a person gives for a new run: one that names columns is checked for each.

    Raises:
        BadInput: as ``directives.check``.
    """
    if names_columns(value):
        return directives.find(name).name, value
    return directives.check(name, value)


def filled(options: Options, table: SliceTable, row: int) -> tuple[tuple[str, str], ...]:
    """The options of one slice, with its columns' values in them; checked.

    Raises:
        BadInput: a name is no column's, or what comes of it is no value of the option's.
    """
    values = dict(zip(table.columns, table.values_of(row), strict=True))

    def value_of(match: re.Match[str]) -> str:
        if match[1] not in values:
            import difflib

            near = difflib.get_close_matches(match[1], values, 1)
            hint = f"Did you mean {{{near[0]}}}?" if near else "Options can name columns only."
            raise BadInput(f"{match[0]} is no column of the slices.", hint)
        return values[match[1]]

    try:
        return tuple(directives.check(name, _NAMED.sub(value_of, value)) for name, value in options)
    except BadInput as why:
        raise BadInput(f"Slice {table.keys[row]!r}: {why.message}", why.hint) from why


def grouped(options: Options, table: SliceTable) -> dict[tuple[tuple[str, str], ...], list[int]]:
    """The rows of each distinct request, in the order of their first slices.

    Raises:
        BadInput: as ``filled``; or there are more than ``MOST``.
    """
    used = {name for _, value in options for name in _NAMED.findall(value)}
    places = [n for n, column in enumerate(table.columns) if column in used]
    known: dict[tuple[str, ...], list[int]] = {}
    groups: dict[tuple[tuple[str, str], ...], list[int]] = {}
    for row in range(len(table)):
        values = table.values_of(row)
        alike = tuple(values[place] for place in places)
        if alike not in known:
            known[alike] = groups.setdefault(filled(options, table, row), [])
            if len(groups) > MOST:
                raise BadInput(
                    f"The slices ask for more than {MOST} different requests, and each is a "
                    "submission of its own.",
                    "Round what the columns say up to fewer values.",
                )
        known[alike].append(row)
    return groups
