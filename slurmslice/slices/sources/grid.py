"""Slices from a grid: every combination of the values of several axes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import product
from math import prod
from typing import Any

from slurmslice.errors import BadInputError
from slurmslice.slices.keys import keys_from_range
from slurmslice.slices.slice_table import SliceTable, check_slice_count, checked_table
from slurmslice.slices.sources.columns import check_column_names, split_assignment
from slurmslice.slices.sources.input_form import FormOption, FormSlices, InputForm

_RANGE = re.compile(r"[0-9]+-[0-9]+(:[0-9]+)?")


def slices_from_grid(texts: Sequence[str]) -> tuple[SliceTable, str]:
    """Return the slices of a grid and an explanation of their number.

    The last axis varies fastest. A key is ``lr=0.1,seed=3``; each axis is a column.

    Args:
        texts: ``name=VALUES`` each, with commas between the values. Two whole numbers with a
            dash are a range as in ``--array``: ``0-4``, ``000-010:5``.

    Raises:
        BadInputError: an axis is invalid, a name or a value occurs twice, or there are too many
        slices.
    """
    pairs = [split_assignment(text, "--grid") for text in texts]
    check_column_names((name for name, _ in pairs), "--grid")
    axes = {name: _values(values, name) for name, values in pairs}
    number = prod(map(len, axes.values()))
    arithmetic = " × ".join(f"{name} ({len(values)})" for name, values in axes.items())
    check_slice_count(number, "the grid")
    rows = list(product(*axes.values()))
    keys = [",".join(map("=".join, zip(axes, row, strict=True))) for row in rows]
    columns = dict(zip(axes, zip(*rows, strict=True), strict=True))
    return checked_table(keys, "the grid", columns), f"{arithmetic} = {number}"


def _values(text: str, name: str) -> list[str]:
    values: list[str] = []
    for part in text.split(","):
        if not part:
            raise BadInputError(
                f"There is an empty value in --grid {name}={text}.",
                f"Write it as --grid {name}=0.1,0.01 or --grid {name}=0-4.",
                code="empty-value",
                option="grid",
                column=name,
            )
        some = keys_from_range(part)[0] if _RANGE.fullmatch(part) else [part]
        check_slice_count(len(some), f"--grid {name}={part}")
        values += some
    return values


def _read(values: Mapping[str, Any]) -> FormSlices:
    return FormSlices(*slices_from_grid(values["grid"]))


GRID = InputForm(
    example="--grid NAME=VALUES …",
    summary="every combination",
    option=FormOption(
        ("--grid",),
        "Slices from every combination: --grid lr=0.1,0.01 --grid seed=0-4.",
        "NAME=VALUES",
        multiple=True,
    ),
    read=_read,
)
