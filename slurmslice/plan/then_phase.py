"""The phase of the step after a run. It follows from the journal and the states of the slices."""

from __future__ import annotations

from enum import StrEnum

from slurmslice.plan.repairs import rows_to_repair
from slurmslice.run.run import Run
from slurmslice.status.states import State


class ThenPhase(StrEnum):
    """The phase of the step after a run, in the words of ``status --json``."""

    NONE = "none"  # the run has no such step
    WAITING = "waiting"  # slices have not ended, or the run is held
    NOT_MET = "not-met"  # all have ended, and the condition is not met, or it was called off
    DUE = "due"
    STARTED = "started"
    DONE = "done"
    FAILED = "failed"


def slices_have_ended(run: Run) -> bool:
    """Tell if all slices have ended, and no rule repairs one. More may be added (``--open``)."""
    return run.finished and not rows_to_repair(run)


def slices_are_over(run: Run) -> bool:
    """Tell if all slices have ended, no rule repairs one, and no person adds any."""
    return slices_have_ended(run) and not run.is_open


def then_phase(run: Run) -> ThenPhase:
    """Return the phase of the step, by the states as they were last seen."""
    rule, step = run.record.then, run.journal_state.then
    if rule is None:
        return ThenPhase.NONE
    state = (step.state or run.then_seen_state) if step else None
    if step and state is not State.WAITING:
        if state is None or not state.final:
            return ThenPhase.STARTED
        return ThenPhase.DONE if state is State.COMPLETED else ThenPhase.FAILED
    if run.hold.reason or not slices_are_over(run):
        return ThenPhase.WAITING
    done = run.statuses.state_counts().get(State.COMPLETED, 0)
    if run.journal_state.then_called_off:
        return ThenPhase.NOT_MET
    is_met = rule.is_met(done, len(run.accepted_rows), len(run.table))
    return ThenPhase.DUE if is_met else ThenPhase.NOT_MET


def is_stale(run: Run) -> bool:
    """Tell if slices were submitted after the newest start of the step."""
    step = run.journal_state.then
    return step is not None and run.journal_state.newest_accepted > step.intent.newest


def is_over(run: Run) -> bool:
    """Tell if all slices have ended, no rule repairs one, and no step is due or runs."""
    return slices_are_over(run) and then_phase(run) not in {ThenPhase.DUE, ThenPhase.STARTED}
