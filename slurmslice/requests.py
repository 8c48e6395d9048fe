"""Resource options that name columns: ``--mem '{mem}G'`` asks for each slice's own. Pure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence

from slurmslice import directives
from slurmslice.errors import BadInput
from slurmslice.resources import ResourceRequest
from slurmslice.slices import SliceTable

MOST = 20
"""Most distinct requests of a run: each is a submission of its own."""

_SHOWN = 20

_NAMED = re.compile(r"\{([A-Za-z_]\w*)\}", re.ASCII)


def names_columns(value: str) -> bool:
    """Whether an option's value names a column."""
    return _NAMED.search(value) is not None


def naming_columns(request: ResourceRequest) -> ResourceRequest:
    """The options of a request whose values name columns."""
    return request.only({name for name, value in request.options if names_columns(value)})


def check(name: str, value: str) -> tuple[str, str]:
    """An option for a new run; one that names columns is checked for each slice.

    Its name was found before.

    Raises:
        BadInput: as ``directives.check_any``.
    """
    if names_columns(value):
        return directives.any_option(name).name, value
    return directives.check_any(name, value)


class Requests:
    """What each slice asks for, where options name columns.

    Args:
        request: the options that do, as they were typed.
        table: the slices.
    """

    def __init__(self, request: ResourceRequest, table: SliceTable) -> None:
        self._request = request
        self._table = table
        used = {name for value in request.values() for name in _NAMED.findall(value)}
        self._places = [n for n, column in enumerate(table.columns) if column in used]
        self._known: dict[tuple[str, ...], ResourceRequest] = {}

    def of(self, row: int) -> ResourceRequest:
        """The options of one slice, with its columns' values in them; checked.

        Raises:
            BadInput: a name is no column's, or what comes of it is no value of the option's.
        """
        values = self._table.values_of(row)
        alike = tuple(values[place] for place in self._places)
        if alike not in self._known:
            self._known[alike] = self._filled(row, values)
        return self._known[alike]

    def _filled(self, row: int, values: Sequence[str]) -> ResourceRequest:
        columns = dict(zip(self._table.columns, values, strict=True))
        asked = [(name, _with_values(name, text, columns)) for name, text in self._request.options]
        try:
            return ResourceRequest(tuple(directives.check_any(name, text) for name, text in asked))
        except BadInput as why:
            key = self._table.keys[row]
            raise why.inside(f"Slice {key!r}", key=key) from why

    def grouped(self) -> dict[ResourceRequest, list[int]]:
        """The rows of each distinct request, in the order of their first slices.

        Raises:
            BadInput: as ``of``; or there are more than ``MOST``.
        """
        groups: dict[ResourceRequest, list[int]] = {}
        for row in range(len(self._table)):
            groups.setdefault(self.of(row), []).append(row)
            if len(groups) > MOST:
                raise BadInput(
                    f"The slices ask for more than {MOST} different requests, and each is a "
                    "submission of its own.",
                    "Round what the columns say up to fewer values.",
                    code="too-many-requests",
                    most=MOST,
                )
        return groups


def _with_values(option: str, text: str, columns: Mapping[str, str]) -> str:
    try:
        return _NAMED.sub(lambda match: _value(match[1], columns), text)
    except BadInput as why:
        raise why.inside(f"--{option}={text}", option=option) from why


def _value(name: str, columns: Mapping[str, str]) -> str:
    if name not in columns:
        near = difflib.get_close_matches(name, columns, 1)
        guess = f"Did you mean {{{near[0]}}}? " if near else ""
        there = f"Columns: {', '.join(list(columns)[:_SHOWN])}{', …' * (len(columns) > _SHOWN)}."
        none = "The slices have no columns: --table, --glob, --grid and --column give them some."
        message = f"{{{name}}} is no column of the slices."
        raise BadInput(
            message,
            guess + there if columns else none,
            code="unknown-column",
            column=name,
            nearest=near[0] if near else None,
        )
    return columns[name]
