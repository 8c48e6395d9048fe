"""The slices whose failure is accepted now, by the journal and their states. Pure."""

from __future__ import annotations

from slurmslice.run.acceptances import FailureAccepted
from slurmslice.run.journal_state import JournalState
from slurmslice.run.statuses import StatusTable
from slurmslice.status.states import FAILED_STATES, State

ACCEPTABLE = FAILED_STATES | {State.CANCELLED}
"""The states that a person can accept: the slice has ended, and is not done."""


def acceptance_of(
    journal_state: JournalState, statuses: StatusTable, row: int
) -> FailureAccepted | None:
    """Return the acceptance of a slice that has failed or was cancelled; None if there is none."""
    if statuses.state(row) not in ACCEPTABLE:
        return None
    return journal_state.accepted.find(row, journal_state.holder[row])


def accepted_rows(journal_state: JournalState, statuses: StatusTable) -> list[int]:
    """Return the rows whose failure is accepted, in order."""
    known = sorted(journal_state.accepted.of_row)
    return [row for row in known if acceptance_of(journal_state, statuses, row)]
