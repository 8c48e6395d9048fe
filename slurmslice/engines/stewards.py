"""Jobs that follow a run by themselves (docs/adr/0022): what an engine that has them does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from slurmslice.sbatch.resource_request import ResourceRequest
from slurmslice.status.identity import JobIdentity
from slurmslice.status.observation import TaskReport


@dataclass(frozen=True, slots=True)
class LiveTask:
    """An array task in the queue.

    Attributes:
        job: the array's job id.
        index: its array index.
        started_at: epoch seconds; None if it has not started.
    """

    job: str
    index: int
    started_at: float | None = None

    @property
    def name(self) -> str:
        """The task as Slurm names it: ``12_3``."""
        return f"{self.job}_{self.index}"


@dataclass(frozen=True, slots=True)
class StewardOrder:
    """The request for a steward's job.

    Attributes:
        script, arguments: its script, and the words after it.
        options: all sbatch options.
        environ: the person's environment.
    """

    script: Path
    arguments: tuple[str, ...]
    options: ResourceRequest
    environ: Mapping[str, str]


class Stewards(Protocol):
    """The part of an engine for stewards. Their jobs are found and cancelled as others are."""

    def submit(self, order: StewardOrder) -> str:
        """Submit a steward's job, and return its id. Raises as ``Engine.submit``."""

    def wait_for(self, job: JobIdentity, words: tuple[str, ...]) -> None:
        """Change what a waiting steward waits for, in scontrol's words; nothing if it runs now."""

    def environ_of_person(self, environ: Mapping[str, str]) -> dict[str, str]:
        """Return the environment of the person from that of a steward's job."""

    def live_tasks(self, jobs: Sequence[JobIdentity]) -> list[LiveTask]:
        """List the tasks of these arrays that are in the queue now and have not ended.

        Raises:
            NoAnswerError: the queue did not answer.
        """

    def mail_at_end(self, job: str, subject: str, to: str) -> None:
        """Ask Slurm to mail this subject when the job, which calls this, has ended.

        The job loses its name, and with it its token.

        Raises:
            NoAnswerError: Slurm did not get the request, or refused it.
        """

    def look(self, job: JobIdentity) -> TaskReport | None:
        """Report on a steward's job: from the queue, else from accounting; None if neither has it.

        Raises:
            NoAnswerError: a source did not answer, so the job may be there all the same.
        """
