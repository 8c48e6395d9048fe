"""Which slices go into which submission: rows of the slice table in, indices out. Pure.

There are two forms, decided when a run is made, for life. *Direct*: the array index is the key.
*Table*: index i carries data line i of the submission's task table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from slurmslice.errors import BadInput
from slurmslice.ranges import ArrayExpression, compress
from slurmslice.slices import SliceTable
from slurmslice.states import State

ARRAY_TEXT_LIMIT = 4096
"""Bytes that sbatch takes for ``--array``; seen: 4096 pass, 4097 do not."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows that go into one submission, and the indices that carry them, pairwise.

    Attributes:
        rows: rows of the slice table.
        array: as many indices, and the throttle.
        changes: sbatch options of this submission that differ from the script's.
    """

    rows: tuple[int, ...]
    array: ArrayExpression
    changes: tuple[tuple[str, str], ...] = ()


def is_direct(table: SliceTable, max_array_size: int) -> bool:
    """Whether each key can be the array index itself."""
    return table.highest_index is not None and table.highest_index < max_array_size


def check_size(table: SliceTable, direct: bool, max_array_size: int) -> None:
    """Refuse what one array cannot hold.

    Raises:
        BadInput: more tasks than the cluster's highest index admits.
    """
    highest = table.highest_index if direct and table.highest_index is not None else len(table) - 1
    if highest >= max_array_size:
        raise BadInput(
            f"{len(table)} slices need array index {highest}, and this cluster's highest is "
            f"{max_array_size - 1} (MaxArraySize {max_array_size}).",
            "Split the slices over several runs; one run cannot go beyond it yet.",
        )


def batch(
    table: SliceTable,
    rows: Sequence[int],
    *,
    direct: bool,
    throttle: int | None,
    changes: tuple[tuple[str, str], ...] = (),
) -> Batch:
    """One submission that carries these rows.

    In the table form its task table is exactly these rows, so the indices are 0 to n-1.

    Raises:
        BadInput: the array expression is longer than sbatch takes.
    """
    if direct:
        ordered = sorted(rows, key=lambda row: int(table.keys[row]))
        array = compress([int(table.keys[row]) for row in ordered], throttle)
    else:
        ordered = list(rows)
        array = ArrayExpression((range(len(ordered)),), throttle)
    if len(str(array)) > ARRAY_TEXT_LIMIT:
        raise BadInput(
            f"The {len(rows)} indices make an --array of {len(str(array))} bytes, and sbatch "
            f"takes {ARRAY_TEXT_LIMIT}.",
            "Name fewer slices at a time.",
        )
    return Batch(tuple(ordered), array, changes)


def grouped_by_changes(
    rows: Sequence[int], changes: Mapping[int, tuple[tuple[str, str], ...]]
) -> list[tuple[list[int], tuple[tuple[str, str], ...]]]:
    """Rows that ask for the same together, in the order in which each request first appears."""
    groups: dict[tuple[tuple[str, str], ...], list[int]] = {}
    for row in rows:
        groups.setdefault(changes.get(row, ()), []).append(row)
    return [(members, wanted) for wanted, members in groups.items()]


def to_resubmit(states: Sequence[State], chosen: frozenset[State] | None) -> list[int]:
    """Rows whose state is one that ``resubmit`` takes, or one of the chosen; never in flight."""
    return [
        row
        for row, state in enumerate(states)
        if (state in chosen if chosen is not None else state.failed) and may_resubmit(state)
    ]


def may_resubmit(state: State) -> bool:
    """Whether a slice in this state can be put into a submission without doing it twice.

    UNKNOWN may be chosen by name: who chooses it knows that the evidence is lost.
    """
    return state.final or state in {State.WAITING, State.UNKNOWN}
