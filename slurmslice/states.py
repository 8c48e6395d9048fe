"""The states of a slice, and what follows from each.

Source: squeue(1) and sacct(1), JOB STATE CODES, for Slurm's base states. How Slurm's text is
turned into these stands in ``slurmslice.engines.slurm.job_states``.
"""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """Slurm's base states, and four of slurmslice's own (the last four)."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    SUSPENDED = "SUSPENDED"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    TIMEOUT = "TIMEOUT"
    OUT_OF_MEMORY = "OUT_OF_MEMORY"
    NODE_FAIL = "NODE_FAIL"
    PREEMPTED = "PREEMPTED"
    BOOT_FAIL = "BOOT_FAIL"
    DEADLINE = "DEADLINE"
    CANCELLED = "CANCELLED"
    WAITING = "WAITING"  # not submitted, or given back without having used up an attempt
    SUBMITTED = "SUBMITTED"  # submitted; Slurm has not shown it yet
    CHECK_FAILED = "CHECK_FAILED"  # exit 0, but the output check says no
    UNKNOWN = "UNKNOWN"  # the evidence is lost; the reason says why

    @property
    def final(self) -> bool:
        """Whether an attempt in this state has ended and will not go on."""
        return self in FINAL

    @property
    def in_flight(self) -> bool:
        """Whether Slurm may still run the slice: it must not be submitted again."""
        return self in IN_FLIGHT

    @property
    def failed(self) -> bool:
        """Whether ``resubmit`` takes the slice when no states are named."""
        return self in FAILURES


FAILURES = frozenset(
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
FINAL = FAILURES | {State.COMPLETED, State.CANCELLED}
IN_FLIGHT = frozenset(
    {State.PENDING, State.RUNNING, State.SUSPENDED, State.SUBMITTED, State.UNKNOWN}
)


class Evidence(StrEnum):
    """Where a state comes from."""

    JOURNAL = "journal"  # what slurmslice itself did: WAITING, SUBMITTED
    ACCOUNTING = "accounting"  # sacct
    QUEUE = "queue"  # squeue
    PROGRESS = "progress"  # what the task wrote
    CHECK = "check"  # the output check
