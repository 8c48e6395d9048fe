"""The canary of a run: the slices that are submitted first (``--canary K|KEYS``). Pure."""

from __future__ import annotations

from slurmslice.errors import BadInputError
from slurmslice.sbatch.units import parse_digits
from slurmslice.slices.slice_table import SliceTable

NO_CANARY = "none"
"""The value that submits all slices at once."""


def choose_slices(text: str, table: SliceTable, option: str) -> list[int] | int:
    """Return the rows of named slices, or a number of slices.

    A bare number is a number of slices; ``5-5`` is the slice 5.

    Args:
        text: the value of an option.
        table: the slices.
        option: the option, without its dashes, for an error.

    Raises:
        BadInputError: the number is 0 or a percentage (``bad-number``), or a name matches no slice.
    """
    number = parse_digits(text)
    if number is not None:
        if not number:
            raise BadInputError(
                f"--{option} 0 means no slice at all.",
                f"For the slice 0: --{option} 0-0",
                code="bad-number",
                option=option,
                value=0,
            )
        return number
    percent = parse_digits(text[:-1]) if text.endswith("%") else None
    if percent is not None and table.row_of(text) is None:
        share = max(1, len(table) * percent // 100)
        raise BadInputError(
            f"--{option} {text} is a share, and a number of slices or their keys are expected.",
            f"For {text} of {len(table)} slices: --{option} {min(share, len(table))}",
            code="bad-number",
            option=option,
            value=text,
        )
    names = [text] if table.row_of(text) is not None or "," not in text else text.split(",")
    return table.select(names)


def canary_rows(text: str, table: SliceTable, done: frozenset[int] = frozenset()) -> list[int]:
    """Return the rows of a canary, in order. A number of slices is spread over the table.

    Args:
        text: the value of ``--canary``.
        table: the slices.
        done: rows that are done; a number of slices is taken from the others.

    Raises:
        BadInputError: as ``choose_slices``.
    """
    if text in {"", NO_CANARY}:
        return []
    chosen = choose_slices(text, table, "canary")
    if not isinstance(chosen, int):
        return chosen
    rows = [row for row in range(len(table)) if row not in done]
    number, last = min(chosen, len(rows)), len(rows) - 1
    steps = max(1, number - 1)
    return [rows[(n * last + steps // 2) // steps] for n in range(number)]
