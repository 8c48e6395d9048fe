"""Slices from a range in sbatch's syntax."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from slurmslice.sbatch.array_expression import parse_array
from slurmslice.slices.keys import keys_from_range
from slurmslice.slices.slice_table import SliceTable, checked_table
from slurmslice.slices.sources.input_form import FormOption, FormSlices, InputForm


def slices_from_range(text: str) -> tuple[SliceTable, int | None]:
    """Return the slices of a range in sbatch's syntax, and the range's throttle.

    A range keeps the zeros of a zero-padded first number: ``000-098`` gives ``007``.

    Raises:
        BadInputError: the text is not a range.
    """
    keys, throttle = keys_from_range(text)
    return checked_table(keys, f"the range {text!r}"), throttle


def _read(values: Mapping[str, Any]) -> FormSlices:
    table, throttle = slices_from_range(values["slices"])
    return FormSlices(table, values["slices"], throttle, parse_array(values["slices"]))


ARRAY_RANGE = InputForm(
    example="-a 0-98",
    summary="a range",
    option=FormOption(
        ("-a", "--array", "--slices"),
        "Slices from a range in sbatch's syntax: 0-98, 1,3,7-9, 0-100:5, 0-98%10.",
        "RANGE",
    ),
    read=_read,
)
