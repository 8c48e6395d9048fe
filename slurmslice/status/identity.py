"""The identity of a job of ours: its id, and its name or the time of its submission. Pure.

Slurm uses job ids again after it has lost its state, so an id alone proves nothing. A job's name
ends in a token, but a script, a person or a site's plugin may rename a job, or some of its tasks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from slurmslice.status.observation import TaskReport

CLOCK_TOLERANCE_S = 2
"""Largest difference between the clocks of a cluster's machines, with the rounding of seconds."""


@dataclass(frozen=True)
class JobIdentity:
    """The identity of a job. Without any times, only its name identifies it.

    Attributes:
        job: the array's job id.
        name: its name at its submission, or when a person attached it.
        intended_at: its submission was not earlier, epoch seconds.
        accepted_at: its submission was not later, epoch seconds: sbatch had answered, or a task
            of the job had claimed the submission.
        claimed: a task of a job with this id has claimed the submission.
        attached_at: Slurm's time of its submission, if a person attached it.
        seen_at: returns Slurm's submission times of its tasks in earlier reports.
    """

    job: str
    name: str
    intended_at: float = float("inf")
    accepted_at: float = float("-inf")
    claimed: bool = False
    attached_at: int | None = None
    seen_at: Callable[[], frozenset[int]] = frozenset

    @cached_property
    def _seen_at(self) -> frozenset[int]:
        return self.seen_at()

    def is_submitted_as(self, report: TaskReport) -> bool:
        """Return whether a report under another name, with this job id, is about this job.

        A job that got the id later was submitted after the claim. A task that Slurm has restarted
        was submitted after the claim too (seen: a new submission time), but a job begins with no
        restart.
        """
        at = report.submitted_at
        if at is None:
            return False
        earliest = self.intended_at - CLOCK_TOLERANCE_S
        if earliest <= at <= self.accepted_at + CLOCK_TOLERANCE_S or at == self.attached_at:
            return True
        if at < earliest:
            return False
        return (self.claimed and bool(report.restarts)) or at in self._seen_at
