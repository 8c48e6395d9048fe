"""The phase of a canary. It follows from the states of its slices; only its end is recorded."""

from __future__ import annotations

from enum import Enum, auto

from slurmslice.plan.canary import canary_is_done, has_open_canary
from slurmslice.plan.repairs import rows_to_repair
from slurmslice.run.run import Run
from slurmslice.status.states import State


class CanaryPhase(Enum):
    """The phase of a canary."""

    OVER = auto()  # there is none, it was done, or a person goes on without it
    WAITED_FOR = auto()
    FAILED = auto()  # no rule tries its failed slices again
    DONE = auto()  # its end is not recorded yet


def stop_reason(run: Run) -> str:
    """Return why a run stopped by its own rule; empty if it did not.

    It is held and probes nothing, its canary failed and the other slices wait, or the run failed
    that it waits for.
    """
    if run.hold.reason and not run.hold.probe:
        return run.hold.reason
    if run.waits_for_other and run.after_seen.failed:
        return f"it waits, and {run.after_seen.failed}"
    waits = State.WAITING in run.statuses.state_counts() and not run.submissions_in_flight()
    if waits and canary_phase(run) is CanaryPhase.FAILED:
        return "the canary failed, so the other slices were not submitted"
    return ""


def canary_phase(run: Run) -> CanaryPhase:
    """Return the phase of a run's canary, by the states as they were last seen."""
    if not has_open_canary(run):
        return CanaryPhase.OVER
    states = {row: run.statuses.state(row) for row in run.canary}
    bad = {row for row, state in states.items() if state.failed or state is State.CANCELLED}
    bad = {row for row in bad if not run.acceptance_of(row)}
    if bad and not bad <= set(rows_to_repair(run)):
        return CanaryPhase.FAILED
    return CanaryPhase.DONE if canary_is_done(run) else CanaryPhase.WAITED_FOR
