"""The causes of failures in a run: those of the slices, or of the nodes on which they failed.

A node may be suspected after slices failed on it and were repaired. Then the journal has another
cause.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from slurmslice.policy.causes import cause_of, counts
from slurmslice.run.continuations import is_continuation
from slurmslice.run.run import Run
from slurmslice.run.statuses import SeenAttempt
from slurmslice.status.reconcile import SliceStatus
from slurmslice.status.states import FAILED_STATES


def cause_in(run: Run, failed: SliceStatus | SeenAttempt, cause: str) -> str:
    """Return ``bad-node`` for a failure of the node, else the cause that the slice itself has."""
    by_node = (
        cause and counts(cause) and run.journal_state.nodes.blames(failed.node, failed.started_at)
    )
    return "bad-node" if by_node else cause


def cause_of_row(run: Run, row: int) -> str:
    """Return the cause of the last observed failure of a slice; empty if it has not failed."""
    seen = run.statuses.seen(row)
    return cause_in(run, seen, cause_of(seen))


def failed_attempts(run: Run) -> Iterator[SeenAttempt]:
    """Iterate over all failed attempts: those of slices that are queued again or run again too."""
    statuses = run.statuses
    rows = chain(statuses.rows_in(FAILED_STATES), run.journal_state.queue)
    return chain(statuses.attempts(rows), statuses.past_failures())


class RepairHistory:
    """The causes that were repaired, with the nodes that were suspected later.

    The journal has the cause of each repair as it was known then.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._failures: dict[int, list[SeenAttempt]] = {}
        self._wanted = bool(run.journal_state.nodes.periods or run.record.checkpoint)
        for one in run.statuses.past_failures() if self._wanted else ():
            self._failures.setdefault(one.row, []).append(one)

    def of(self, row: int) -> tuple[str, ...]:
        """Return the causes that were repaired since a person submitted the slice."""
        pairs = self._pairs(row)
        if not pairs:
            return self._run.journal_state.repairs.of(row)
        return tuple(cause_in(self._run, one, cause) for one, cause in pairs)

    def continued(self) -> set[tuple[int, int]]:
        """Return row and submission of each failed attempt that a continuation followed."""
        rows = [*self._failures, *self._run.journal_state.repairs.queued]
        return {
            (one.row, one.submission)
            for row in dict.fromkeys(rows)
            for one, cause in self._pairs(row)
            if is_continuation(cause)
        }

    def _pairs(self, row: int) -> list[tuple[SeenAttempt, str]]:
        """Pair the failed attempts of a row with their causes; empty if they do not match."""
        state = self._run.journal_state
        causes, failures = state.repairs.of(row), list(self._failures.get(row, ()))
        queued = row in state.repairs.queued
        if not (self._wanted and causes and (failures or queued)):
            return []
        first = state.repairs.before[row][0]
        failures = sorted((one for one in failures if one.submission >= first),
                          key=lambda one: one.submission)  # fmt: skip
        if queued:
            failures += self._run.statuses.attempts([row])
        if len(failures) != len(causes):  # the end of states.tsv is lost
            return []
        return list(zip(failures, causes, strict=True))
