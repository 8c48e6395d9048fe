"""The jobs of the local engine, read from the run's journal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from slurmslice.engines.local.jobs import LocalJob
from slurmslice.run.directory import RunDirectory
from slurmslice.run.journal import (
    Cancelled,
    Event,
    Held,
    Intent,
    Released,
    Shared,
    Submitted,
    parse_events,
)
from slurmslice.run.submission import Submission
from slurmslice.sbatch.array_expression import parse_array


class JournalJobs:
    """The jobs in a journal, as of the last ``refresh`` (a ``JobSource``).

    Args:
        directory: the run directory.

    Attributes:
        jobs: the accepted submissions, by job id.
        held: no task may start.
        version: the number of events read.
    """

    def __init__(self, directory: RunDirectory) -> None:
        self._directory = directory
        self._read = self.version = 0
        self._intended: dict[int, Submission] = {}
        self.jobs: dict[str, LocalJob] = {}
        self.held = False
        self._paused: dict[str, int | None] = {}
        """The throttles of the jobs that do not start during a probe."""

    def refresh(self) -> bool:
        """Read new events. Return ``True`` if there were any.

        Raises:
            DamagedRunError: the journal cannot be read.
        """
        lines, self._read = self._directory.read_journal(self._read)
        for event in parse_events(lines, self.version + 1):
            self.version += 1
            self._apply(event)
        return bool(lines)

    def _apply(self, event: Event) -> None:
        match event:
            case Intent():
                self._intended[event.number] = Submission(event)
            case Submitted() if event.number in self._intended:
                self.jobs[event.job] = self._job(self._intended[event.number], event)
            case Cancelled() if str(event.number) in self.jobs:
                self._cancel(event)
            case Shared() if str(event.number) in self.jobs:
                self._throttle(str(event.number), event.share)
            case Held() | Released():
                self.held = isinstance(event, Held) and not event.probe
                self._pause(during_probe=isinstance(event, Held) and bool(event.probe))

    def _throttle(self, job: str, share: int | None) -> None:
        if job in self._paused:
            self._paused[job] = share
        else:
            self.jobs[job] = replace(self.jobs[job], throttle=share)

    def _pause(self, *, during_probe: bool) -> None:
        """Let the jobs so far start nothing during a probe; undo that after it."""
        for job, throttle in self._paused.items():
            self.jobs[job] = replace(self.jobs[job], throttle=throttle)
        self._paused = {}
        if during_probe:
            self._paused = {one.id: one.throttle for one in self.jobs.values()}
            for job in self._paused:
                self.jobs[job] = replace(self.jobs[job], throttle=0)

    def _job(self, submission: Submission, accepted: Submitted) -> LocalJob:
        intent = submission.intent
        return LocalJob(
            number=intent.number,
            name=accepted.job_name or intent.job_name,
            array=submission.array,
            script=self._directory.script,
            folder=self._directory.submission_folder(intent.number),
            arguments=intent.arguments,
            request=intent.options,
            packed=intent.pack > 1,
            submitted_at=accepted.at,
            throttle=submission.array.throttle,
        )

    def _cancel(self, event: Cancelled) -> None:
        job = self.jobs[str(event.number)]
        places = self._intended[event.number].places
        rows: Sequence[int] = parse_array(event.rows).indices
        partly = frozenset(parse_array(event.partly) if event.partly else ())
        tasks = (places[row][0] for row in rows if row in places)
        indices = dict.fromkeys((index for index in tasks if index not in partly), event.at)
        self.jobs[job.id] = replace(
            job,
            cancelled={**job.cancelled, **indices},
            partly_cancelled=job.partly_cancelled | partly,
        )
