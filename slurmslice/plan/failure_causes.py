"""The causes of failures in a run: those of the slices, or of the nodes on which they failed.

A node may be suspected after slices failed on it and were repaired. Then the journal has another
cause.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from slurmslice.policy.causes import cause_of, counts
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
        for one in run.statuses.past_failures() if run.journal_state.nodes.periods else ():
            self._failures.setdefault(one.row, []).append(one)

    def of(self, row: int) -> tuple[str, ...]:
        """Return the causes that were repaired since a person submitted the slice."""
        run = self._run
        causes = run.journal_state.repairs_of(row)
        failures = self._failures.get(row, ())
        if not (causes and failures):
            return causes
        first = run.journal_state.before_repairs[row][0]
        failures = sorted((one for one in failures if one.submission >= first),
                          key=lambda one: one.submission)  # fmt: skip
        if row in run.journal_state.repairs_queued:
            failures += run.statuses.attempts([row])
        if len(failures) != len(causes):  # the end of states.tsv is lost
            return causes
        pairs = zip(failures, causes, strict=True)
        return tuple(cause_in(run, one, cause) for one, cause in pairs)
