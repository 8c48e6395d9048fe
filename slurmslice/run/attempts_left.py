"""The attempts that slices still get by the recorded policy of their run."""

from __future__ import annotations

from slurmslice.run.run import Run
from slurmslice.status.states import FAILED_STATES, State


def attempts_left(run: Run, row: int) -> int:
    """Return the number of further attempts that a slice gets if each of them fails; from 0."""
    if run.statuses.state(row) in {State.COMPLETED, State.CANCELLED}:
        return 0
    return max(0, run.max_attempts - run.journal_state.attempts[row])


def rows_with_attempts_left(run: Run) -> list[int]:
    """Return the rows of failed slices with fewer attempts than the recorded policy gives them."""
    if run.max_attempts == 1:
        return []
    held_by = run.journal_state.submission_of
    rows = (row for row in run.statuses.rows_in(FAILED_STATES) if attempts_left(run, row))
    # A slice that a person cancelled may have failed before the cancel reached it: leave it out.
    return [row for row in rows if not ((held := held_by(row)) and row in held.cancelled)]
