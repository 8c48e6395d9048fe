"""sbatch options that name columns: ``--mem '{mem}G'`` takes the value of each slice. Pure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence

from slurmslice import sbatch
from slurmslice.errors import BadInputError
from slurmslice.sbatch.resource_request import ResourceRequest
from slurmslice.slices.slice_table import SliceTable

MAX_REQUESTS = 20
"""The maximum number of distinct requests in a run: each needs a submission of its own."""

_SHOWN = 20

_NAMED = re.compile(r"\{([A-Za-z_]\w*)\}", re.ASCII)


def has_column_names(value: str) -> bool:
    """Tell if an option's value names a column."""
    return _NAMED.search(value) is not None


def options_with_columns(request: ResourceRequest) -> ResourceRequest:
    """Return the options of a request whose values name columns."""
    return request.only({name for name, value in request.options if has_column_names(value)})


def check_run_option(name: str, value: str) -> tuple[str, str]:
    """Check an option of a new run, and return its long name and its value.

    If the value names columns, only the name is checked here; ``PerSliceOptions`` checks each
    value.

    Raises:
        BadInputError: as ``sbatch.check_any_option``.
    """
    if has_column_names(value):
        return sbatch.any_option(name).name, value
    return sbatch.check_any_option(name, value)


class PerSliceOptions:
    """The request of each slice, if options name columns.

    Args:
        request: the options that name columns, as typed.
        table: the slices.
    """

    def __init__(self, request: ResourceRequest, table: SliceTable) -> None:
        self._request = request
        self._table = table
        used = {name for value in request.values() for name in _NAMED.findall(value)}
        self._used_columns = [n for n, column in enumerate(table.columns) if column in used]
        self._known: dict[tuple[str, ...], ResourceRequest] = {}

    def of(self, row: int) -> ResourceRequest:
        """Return the options of one slice with the values of its columns; checked.

        Raises:
            BadInputError: there is no such column, or sbatch does not accept the resulting value.
        """
        values = self._table.column_values(row)
        alike = tuple(values[column] for column in self._used_columns)
        if alike not in self._known:
            self._known[alike] = self._filled(row, values)
        return self._known[alike]

    def _filled(self, row: int, values: Sequence[str]) -> ResourceRequest:
        columns = dict(zip(self._table.columns, values, strict=True))
        asked = [(name, _with_values(name, text, columns)) for name, text in self._request.options]
        try:
            return ResourceRequest(
                tuple(sbatch.check_any_option(name, text) for name, text in asked)
            )
        except BadInputError as why:
            key = self._table.keys[row]
            raise why.inside(f"Slice {key!r}", key=key) from why

    def group_rows(self) -> dict[ResourceRequest, list[int]]:
        """Group the rows by request, in the order of their first slices.

        Raises:
            BadInputError: as ``of``; or there are more than ``MAX_REQUESTS``.
        """
        groups: dict[ResourceRequest, list[int]] = {}
        for row in range(len(self._table)):
            groups.setdefault(self.of(row), []).append(row)
            if len(groups) > MAX_REQUESTS:
                raise BadInputError(
                    f"The slices have more than {MAX_REQUESTS} different requests, and each needs "
                    "a "
                    "submission of its own.",
                    "Round the values in the columns up to fewer different ones.",
                    code="too-many-requests",
                    most=MAX_REQUESTS,
                )
        return groups


def _with_values(option: str, text: str, columns: Mapping[str, str]) -> str:
    try:
        return _NAMED.sub(lambda match: _value(match[1], columns), text)
    except BadInputError as why:
        raise why.inside(f"--{option}={text}", option=option) from why


def _value(name: str, columns: Mapping[str, str]) -> str:
    if name not in columns:
        near = difflib.get_close_matches(name, columns, 1)
        guess = f"Did you mean {{{near[0]}}}? " if near else ""
        known = f"Columns: {', '.join(list(columns)[:_SHOWN])}{', …' * (len(columns) > _SHOWN)}."
        none = "The slices have no columns. Add some with --table, --glob, --grid or --column."
        message = f"The slices have no column {{{name}}}."
        raise BadInputError(
            message,
            guess + known if columns else none,
            code="unknown-column",
            column=name,
            nearest=near[0] if near else None,
        )
    return columns[name]
