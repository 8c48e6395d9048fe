"""Which slices go into which submission: rows of the slice table in, indices out. Pure.

There are two forms, decided when a run is made, for life. *Direct*: the array index is the key.
*Table*: index i carries data line i of the submission's task table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from slurmslice.ranges import ArrayExpression, compress
from slurmslice.resources import NO_REQUEST, ResourceRequest
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

    rows: Sequence[int]
    array: ArrayExpression
    changes: ResourceRequest = NO_REQUEST


def is_direct(table: SliceTable, max_array_size: int, pack: int) -> bool:
    """Whether each key can be the array index itself."""
    highest = table.highest_index
    return pack == 1 and highest is not None and highest < max_array_size


def portion(
    table: SliceTable, rows: Sequence[int], *, direct: bool, pack: int, most: int
) -> Sequence[int]:
    """The first of these rows, as many as one submission can carry.

    Args:
        table: the slices.
        rows: what is to be submitted, in order; not empty.
        direct: the array index is the key.
        pack: slices that an array task carries.
        most: array tasks that it may have, from 1.
    """
    chosen = rows[: most * pack]
    if not direct:
        return chosen
    row_of = {int(table.keys[row]): row for row in chosen}
    parts, length = [], len(f"%{len(table)}")
    for part in compress(sorted(row_of)).parts:
        length += len(str(ArrayExpression((part,)))) + 1
        if length > ARRAY_TEXT_LIMIT:
            break
        parts.append(part)
    return [row_of[index] for part in parts for index in part]


def batch(
    table: SliceTable,
    rows: Sequence[int],
    *,
    direct: bool,
    pack: int,
    throttle: int | None,
    changes: ResourceRequest = NO_REQUEST,
) -> Batch:
    """One submission that carries just these rows, which ``portion`` has chosen.

    In the table form its task table is exactly these rows, so the indices are 0 to n-1.
    """
    if direct:
        row_of = {int(table.keys[row]): row for row in rows}
        ordered: Sequence[int] = [row_of[index] for index in sorted(row_of)]
        return Batch(ordered, compress(sorted(row_of), throttle), changes)
    tasks = range(-(-len(rows) // pack))
    return Batch(dealt(rows, pack), ArrayExpression((tasks,), throttle), changes)


def dealt(rows: Sequence[int], pack: int) -> Sequence[int]:
    """Rows in the order of the array tasks that carry them, ``pack`` for each.

    They are dealt out like cards, so that neighbours, which are often heavy alike, do not
    share a task. The last task may have fewer.
    """
    if pack == 1:
        return rows
    tasks = -(-len(rows) // pack)
    last = len(rows) - pack * (tasks - 1)
    whole, rest = rows[: last * tasks], rows[last * tasks :]
    hands = [[*whole[task::tasks], *rest[task :: tasks - 1]] for task in range(tasks - 1)]
    return [row for hand in (*hands, whole[tasks - 1 :: tasks]) for row in hand]


def may_resubmit(state: State) -> bool:
    """Whether a slice in this state can be put into a submission without doing it twice.

    UNKNOWN may be chosen by name: who chooses it knows that the evidence is lost.
    """
    return state.final or state in {State.WAITING, State.UNKNOWN}


@dataclass(frozen=True, slots=True)
class Claim:
    """What an array in flight takes of the throttle, in array tasks.

    Attributes:
        number: its submission's number.
        open: tasks that have not ended.
        running: those of them that run.
        share: how many it may run at once; 0: no more of it starts; None: no limit.
    """

    number: int
    open: int
    running: int
    share: int | None

    @property
    def may(self) -> int:
        """Tasks that it may come to run at once, from now on."""
        return self.open if self.share is None else min(self.share, self.open)

    @property
    def taken(self) -> int:
        """Tasks that it runs, or may start to run without being asked again."""
        return max(self.running, self.may)


def shared_out(limit: int, claims: Sequence[Claim]) -> tuple[dict[int, int], int]:
    """A throttle of so many tasks shared out among the arrays in flight.

    What is too much is cut, the newest array first. What is free goes to arrays that have tasks
    waiting, the oldest first.

    Returns:
        the shares that change, by the submission's number; and how many tasks are left for
        the next submission.
    """
    may = {claim.number: claim.may for claim in claims}
    # What has not started is cut first, since what runs goes on; then what runs is not replaced.
    excess = sum(claim.taken for claim in claims) - limit
    _cut(may, {claim.number: claim.running for claim in claims}, excess)
    _cut(may, dict.fromkeys(may, 0), sum(may.values()) - limit)
    free = limit - sum(max(claim.running, may[claim.number]) for claim in claims)
    for claim in claims:
        taken = max(claim.running, may[claim.number])
        more = min(free, claim.open - taken)
        if more > 0:
            may[claim.number] = taken + more
            free -= more
    shares = {c.number: may[c.number] for c in claims if may[c.number] != c.may}
    return shares, max(0, free)


def _cut(may: dict[int, int], floor: Mapping[int, int], excess: int) -> None:
    """Take the excess from what arrays may start, the newest first, down to the floor."""
    for number in reversed(may):
        cut = max(0, min(excess, may[number] - floor[number]))
        may[number] -= cut
        excess -= cut
