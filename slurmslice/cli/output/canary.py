"""The note on a canary that other slices wait for."""

from __future__ import annotations

from slurmslice.notes import Note
from slurmslice.plan.canary_phase import CanaryPhase, canary_phase
from slurmslice.reports.counts import key_ranges
from slurmslice.run.run import Run
from slurmslice.status.states import State
from slurmslice.system.shell_quoting import quote


def note_on_canary(run: Run) -> Note | None:
    """Return a note on the canary while other slices wait for it; None if none does."""
    phase = canary_phase(run)
    if phase is CanaryPhase.OVER or State.WAITING not in run.statuses.state_counts():
        return None
    keys, name = key_ranges([run.table.keys[row] for row in run.canary]), quote(run.record.name)
    fields = {"keys": keys, "slices": len(run.canary)}
    go_on = f"To go on without it: slurmslice run {name} --canary none"
    if phase is CanaryPhase.FAILED:
        cancelled = any(run.statuses.state(row) is State.CANCELLED for row in run.canary)
        again = f"slurmslice resubmit {name}{' --state FAIL,CANCELLED' if cancelled else ''}"
        message = (
            f"The canary ({keys}) failed, so nothing else is submitted.\n"
            f"After the repair: {again}, then slurmslice run {name}\n{go_on}"
        )
        return Note("canary-failed", message, fields)
    return Note("canary-runs", f"The other slices wait until the canary ({keys}) is done.\n{go_on}",
                fields)  # fmt: skip
