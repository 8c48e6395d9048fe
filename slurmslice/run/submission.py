"""One submission of a run, as the journal's events describe it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property

from slurmslice.run.journal import Intent
from slurmslice.sbatch.array_expression import ArrayExpression, parse_array
from slurmslice.sbatch.resource_request import ResourceRequest


class SubmissionStatus(StrEnum):
    """The status of a submission."""

    INTENDED = "intended"  # the journal announced it; it is unknown if Slurm accepted it
    SUBMITTED = "submitted"
    REJECTED = "rejected"
    FENCED = "fenced"


@dataclass(frozen=True)
class Submission:
    """One sbatch call of the run's script.

    Attributes:
        intent: the journal's announcement of the submission.
        status: its status.
        job: job id of the array; empty if not known yet.
        cluster: the cluster that accepted it, if sbatch named one.
        submitted_at: time of sbatch's answer, epoch seconds on our clock.
        fenced_at: time at which it was fenced, epoch seconds; 0 if it was not.
        cancelled: rows cancelled by a person, each with the time (epoch seconds).
        submit_again: those of them to submit again after the engine has released them.
        share: the array's last share of the throttle; 0: no more tasks start; None: no limit.
        stopped: its share was 0 at some time.
        said: the words of an answer that was not Slurm's; None if there was none.
        job_name: the job's name if it differs from the intent's; else empty.
        slurm_at: the time of its submission by Slurm's clock, if a person attached it.
        avoids: the nodes that its pending tasks avoid by an update, with commas.
        avoids_in_vain: those of the last refused update; None if there was none.
        changed: the rows whose request was changed in the queue, each with all options in force.
    """

    intent: Intent
    status: SubmissionStatus = SubmissionStatus.INTENDED
    job: str = ""
    cluster: str | None = None
    submitted_at: float = 0.0
    fenced_at: float = 0.0
    cancelled: dict[int, float] = field(default_factory=dict)
    submit_again: frozenset[int] = frozenset()
    share: int | None = None
    stopped: bool = False
    said: str | None = None
    job_name: str = ""
    slurm_at: int | None = None
    avoids: str = ""
    avoids_in_vain: str | None = None
    changed: dict[int, ResourceRequest] = field(default_factory=dict)

    def options_of(self, row: int) -> ResourceRequest:
        """Return every sbatch option in force for the task of a row."""
        return self.changed.get(row, self.intent.options)

    @property
    def name(self) -> str:
        """The job's name."""
        return self.job_name or self.intent.job_name

    @property
    def number(self) -> int:
        """The submission's number, from 1."""
        return self.intent.number

    @cached_property
    def array(self) -> ArrayExpression:
        """The array indices, and the throttle at the time of submission."""
        return parse_array(self.intent.array)

    @cached_property
    def rows(self) -> Sequence[int]:
        """The rows in the order of the array indices, ``pack`` rows per index."""
        return parse_array(self.intent.rows).indices

    @cached_property
    def places(self) -> dict[int, tuple[int, int]]:
        """For each row, its array index and its slot in that task, from 0."""
        pack, indices = self.intent.pack, sorted(self.array)
        return {row: (indices[n // pack], n % pack) for n, row in enumerate(self.rows)}

    def array_index_of(self, row: int) -> int:
        """The array index of a row."""
        return self.places[row][0]

    @cached_property
    def rows_of_task(self) -> dict[int, list[int]]:
        """For each array index, the rows of its task in the order of their slots."""
        tasks: dict[int, list[int]] = {}
        for row, (index, _) in self.places.items():
            tasks.setdefault(index, []).append(row)
        return tasks


def group_by_unique_job_id(submissions: Iterable[Submission]) -> list[list[Submission]]:
    """Split submissions into groups with unique job ids.

    slurmctld uses job ids again after it has lost its state.
    """
    groups: list[list[Submission]] = []
    for submission in submissions:
        for group in groups:
            if all(other.job != submission.job for other in group):
                group.append(submission)
                break
        else:
            groups.append([submission])
    return groups
