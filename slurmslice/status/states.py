"""The states of a slice, and sets of states with a common consequence.

Source: squeue(1) and sacct(1), JOB STATE CODES, for Slurm's base states. The module
``slurmslice.engines.slurm.job_states`` parses Slurm's text.
"""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """Slurm's base states, its flag COMPLETING, and four states of slurmslice (the last four)."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    SUSPENDED = "SUSPENDED"
    COMPLETING = "COMPLETING"  # no longer running; the result is not known yet
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    TIMEOUT = "TIMEOUT"
    OUT_OF_MEMORY = "OUT_OF_MEMORY"
    NODE_FAIL = "NODE_FAIL"
    PREEMPTED = "PREEMPTED"
    BOOT_FAIL = "BOOT_FAIL"
    DEADLINE = "DEADLINE"
    CANCELLED = "CANCELLED"
    WAITING = "WAITING"  # not submitted, or returned without using an attempt
    SUBMITTED = "SUBMITTED"  # submitted; Slurm has not shown it yet
    CHECK_FAILED = "CHECK_FAILED"  # exit 0, but the output check failed
    UNKNOWN = "UNKNOWN"  # no evidence is left; the reason says why

    @property
    def final(self) -> bool:
        """Tell if an attempt in this state has ended for good."""
        return self in FINAL_STATES

    @property
    def in_flight(self) -> bool:
        """Tell if Slurm may still run the slice, so it must not be submitted again."""
        return self in IN_FLIGHT_STATES

    @property
    def failed(self) -> bool:
        """Tell if ``resubmit`` selects the slice if no states are named."""
        return self in FAILED_STATES


FAILED_STATES = frozenset(
    {
        State.FAILED,
        State.TIMEOUT,
        State.OUT_OF_MEMORY,
        State.NODE_FAIL,
        State.PREEMPTED,
        State.BOOT_FAIL,
        State.DEADLINE,
        State.CHECK_FAILED,
    }
)
FINAL_STATES = FAILED_STATES | {State.COMPLETED, State.CANCELLED}
IN_FLIGHT_STATES = frozenset(
    {
        State.PENDING,
        State.RUNNING,
        State.SUSPENDED,
        State.COMPLETING,
        State.SUBMITTED,
        State.UNKNOWN,
    }
)
BEGUN_STATES = frozenset({State.RUNNING, State.SUSPENDED, State.COMPLETING})
"""States in flight of an attempt that has begun, so that its result must be waited for."""


class EvidenceSource(StrEnum):
    """The source of a state."""

    JOURNAL = "journal"  # slurmslice's own decisions: WAITING, SUBMITTED
    ACCOUNTING = "accounting"  # sacct
    QUEUE = "queue"  # squeue
    PROGRESS = "progress"  # lines written by the task
    CHECK = "check"  # the output check
