"""Batches: the slices that one submission carries, and their array indices. Pure.

A run has one of two forms, fixed when it is created. *Direct*: the array index is the key.
*Table*: index i carries data line i of the submission's task table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from slurmslice.sbatch.array_expression import ArrayExpression, compress_indices
from slurmslice.sbatch.resource_request import NO_REQUEST, ResourceRequest
from slurmslice.slices.slice_table import SliceTable
from slurmslice.status.states import State

MAX_ARRAY_TEXT_BYTES = 4096
"""The maximum length of ``--array`` in sbatch, bytes; seen: 4096 pass, 4097 do not."""


@dataclass(frozen=True, slots=True)
class Batch:
    """The rows of one submission, and the array tasks that carry them.

    Attributes:
        rows: rows of the slice table, in the order of the array's indices, pack by pack.
        array: the array indices, and the throttle.
        changes: sbatch options of this submission that differ from the script's.
    """

    rows: Sequence[int]
    array: ArrayExpression
    changes: ResourceRequest = NO_REQUEST


def can_be_direct(table: SliceTable, max_array_size: int, pack: int) -> bool:
    """Tell if every key can be the array index itself."""
    highest = table.max_array_index
    return pack == 1 and highest is not None and highest < max_array_size


def rows_that_fit(
    table: SliceTable, rows: Sequence[int], *, direct: bool, pack: int, most: int
) -> Sequence[int]:
    """Return the first of these rows, as many as one submission can carry.

    Args:
        table: the slices.
        rows: the rows to submit, in order; not empty.
        direct: the array index is the key.
        pack: slices per array task.
        most: the maximum number of array tasks, from 1.
    """
    chosen = rows[: most * pack]
    if not direct:
        return chosen
    row_of = {int(table.keys[row]): row for row in chosen}
    parts, length = [], len(f"%{len(table)}")
    for part in compress_indices(sorted(row_of)).parts:
        length += len(str(ArrayExpression((part,)))) + 1
        if length > MAX_ARRAY_TEXT_BYTES:
            break
        parts.append(part)
    return [row_of[index] for part in parts for index in part]


def make_batch(
    table: SliceTable,
    rows: Sequence[int],
    *,
    direct: bool,
    pack: int,
    throttle: int | None,
    changes: ResourceRequest = NO_REQUEST,
) -> Batch:
    """Make the batch that carries exactly these rows, which ``rows_that_fit`` has chosen.

    In the table form these rows are the whole task table, so the indices are 0 to n-1.
    """
    if direct:
        row_of = {int(table.keys[row]): row for row in rows}
        ordered: Sequence[int] = [row_of[index] for index in sorted(row_of)]
        return Batch(ordered, compress_indices(sorted(row_of), throttle), changes)
    tasks = range(-(-len(rows) // pack))
    return Batch(distribute_round_robin(rows, pack), ArrayExpression((tasks,), throttle), changes)


def distribute_round_robin(rows: Sequence[int], pack: int) -> Sequence[int]:
    """Order rows by the array tasks that carry them, ``pack`` rows per task.

    They are distributed round-robin: neighbours often need the same time, so they go to
    different tasks. The last task may carry fewer rows.
    """
    if pack == 1:
        return rows
    tasks = -(-len(rows) // pack)
    last = len(rows) - pack * (tasks - 1)
    whole, rest = rows[: last * tasks], rows[last * tasks :]
    packs = [[*whole[task::tasks], *rest[task :: tasks - 1]] for task in range(tasks - 1)]
    return [row for one in (*packs, whole[tasks - 1 :: tasks]) for row in one]


def may_resubmit(state: State) -> bool:
    """Tell if a slice in this state can be submitted without the risk of running it twice.

    UNKNOWN is allowed, because a person must name it, and knows then that the evidence is lost.
    """
    return state.final or state in {State.WAITING, State.UNKNOWN}


@dataclass(frozen=True, slots=True)
class ThrottleShare:
    """The share of an array in flight in the throttle, in array tasks.

    Attributes:
        number: its submission's number.
        open_tasks: tasks that have not ended.
        running_tasks: the tasks that run now.
        share: the tasks that it may run at once; 0: no more tasks start; None: no limit.
    """

    number: int
    open_tasks: int
    running_tasks: int
    share: int | None

    @property
    def allowed_tasks(self) -> int:
        """The maximum number of tasks that it may run at once from now on."""
        return self.open_tasks if self.share is None else min(self.share, self.open_tasks)

    @property
    def used_tasks(self) -> int:
        """The number of tasks that run now, or that may start without a new share."""
        return max(self.running_tasks, self.allowed_tasks)


def compute_shares(limit: int, arrays: Sequence[ThrottleShare]) -> tuple[dict[int, int], int]:
    """Allocate a throttle to the arrays in flight.

    If the arrays have too much, the newest array loses its tasks first. If tasks are free, they go
    to arrays with waiting tasks, the oldest first.

    Args:
        limit: the total number of array tasks that may run at once.
        arrays: the present shares, the oldest array first.

    Returns:
        the changed shares by submission number, and the number of tasks that are left for the
        next submission.
    """
    allowed = {array.number: array.allowed_tasks for array in arrays}
    # First cut tasks that have not started; then do not replace running tasks that end.
    excess = sum(array.used_tasks for array in arrays) - limit
    _cut(allowed, {array.number: array.running_tasks for array in arrays}, excess)
    _cut(allowed, dict.fromkeys(allowed, 0), sum(allowed.values()) - limit)
    free = limit - sum(max(array.running_tasks, allowed[array.number]) for array in arrays)
    for array in arrays:
        taken = max(array.running_tasks, allowed[array.number])
        more = min(free, array.open_tasks - taken)
        if more > 0:
            allowed[array.number] = taken + more
            free -= more
    shares = {c.number: allowed[c.number] for c in arrays if allowed[c.number] != c.allowed_tasks}
    return shares, max(0, free)


def _cut(allowed: dict[int, int], floor: Mapping[int, int], excess: int) -> None:
    """Reduce the shares by the excess, the newest first, but not below the floor."""
    for number in reversed(allowed):
        cut = max(0, min(excess, allowed[number] - floor[number]))
        allowed[number] -= cut
        excess -= cut
