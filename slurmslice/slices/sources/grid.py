"""Slices from a grid: every combination of the values of several axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from slurmslice.slices.slice_table import SliceTable
from slurmslice.slices.sources.axes import Axis, combine, parse_values
from slurmslice.slices.sources.columns import check_column_names, split_assignment
from slurmslice.slices.sources.input_form import FormOption, FormSlices, InputForm


def slices_from_grid(texts: Sequence[str]) -> tuple[SliceTable, str]:
    """Return the slices of a grid and an explanation of their number.

    The last axis varies fastest. A key is ``lr=0.1,seed=3``; each axis is a column.

    Args:
        texts: ``name=VALUES`` each, as ``parse_values`` reads them.

    Raises:
        BadInputError: an axis is invalid, a name or a value occurs twice, or there are too many
        slices.
    """
    found = combine(None, grid_axes({"grid": texts}))
    return found.table, found.source


def grid_axes(values: Mapping[str, Any]) -> list[Axis]:
    """Return the axes of ``--grid``, in their order.

    Raises:
        BadInputError: an axis is invalid, or a name occurs twice.
    """
    pairs = [split_assignment(text, "--grid") for text in values["grid"]]
    check_column_names((name for name, _ in pairs), "--grid")
    return [
        Axis((name,), tuple((value,) for value in parse_values(text, name, "grid")))
        for name, text in pairs
    ]


def _read(values: Mapping[str, Any]) -> FormSlices:
    return combine(None, grid_axes(values))


GRID = InputForm(
    example="--grid NAME=VALUES …",
    summary="every combination",
    option=FormOption(
        ("--grid",),
        "Slices from every combination: --grid lr=0.1,0.01 --grid seed=0-4. Also beside --glob, "
        "--slices-from, --table or --zip: {item} is then the file or the line. A comma inside a "
        "value is \\,.",
        "NAME=VALUES",
        multiple=True,
    ),
    read=_read,
)
