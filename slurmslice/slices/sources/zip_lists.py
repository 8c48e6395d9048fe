"""Lists of equal length that are one axis: the first values together, and so on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from slurmslice.errors import BadInputError
from slurmslice.slices.sources.axes import Axis, combine, parse_values
from slurmslice.slices.sources.columns import check_column_names, split_assignment
from slurmslice.slices.sources.input_form import FormOption, FormSlices, InputForm


def zip_axes(values: Mapping[str, Any]) -> list[Axis]:
    """Return the axis of all ``--zip``; none if there is no ``--zip``.

    Raises:
        BadInputError: a list is invalid, a name occurs twice, or the lengths differ.
    """
    pairs = [split_assignment(text, "--zip") for text in values["zip"]]
    if not pairs:
        return []
    check_column_names((name for name, _ in pairs), "--zip")
    lists = {name: parse_values(text, name, "zip") for name, text in pairs}
    lengths = {name: len(some) for name, some in lists.items()}
    if len(set(lengths.values())) > 1:
        those = ", ".join(f"{name} has {number}" for name, number in lengths.items())
        raise BadInputError(
            f"The lists of --zip differ in length: {those}.",
            "Give each list equally many values. For every combination: --grid",
            code="uneven-zip",
            option="zip",
            lengths=lengths,
        )
    return [Axis(tuple(lists), tuple(zip(*lists.values(), strict=True)))]


def _read(values: Mapping[str, Any]) -> FormSlices:
    return combine(None, zip_axes(values))


ZIP = InputForm(
    example="--zip NAME=VALUES …",
    summary="lists of equal length, place by place",
    option=FormOption(
        ("--zip",),
        "Slices from lists of equal length: --zip a=1,2 --zip b=3,4 gives a=1,b=3 and a=2,b=4.",
        "NAME=VALUES",
        multiple=True,
    ),
    read=_read,
)
