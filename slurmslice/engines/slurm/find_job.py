"""Find the job of a submission by its token, in records of the queue and of accounting. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from slurmslice.engines.protocol import FoundJob, JobInfo
from slurmslice.engines.slurm.job_records import JobRecord
from slurmslice.errors import NoAnswerError
from slurmslice.sbatch.array_expression import ArrayExpression, compress_indices
from slurmslice.status.states import State


def find_in_queue(
    records: Iterable[JobRecord], token: str, remembers_since: float
) -> FoundJob | None:
    """Find the job of a token; its array is None if the queue may have forgotten tasks of it.

    Args:
        records: all records of the user, ended jobs included.
        token: the end of the job's name.
        remembers_since: epoch seconds; the controller still knows each job that ended later.
    """
    found = _with_token(records, token)
    job = _first_submitted(found)
    if job is None:
        return None
    return FoundJob(job, _whole_array([r for r in found if r.job == job], remembers_since))


def find_in_accounting(records: Iterable[JobRecord], token: str) -> FoundJob | None:
    """Find the job of a token; its array is never given, because accounting may lack tasks.

    A record without an end and without a node is ignored: the queue is asked first and would
    have the job. A refused submission looks like that until accounting has recorded its end.
    """
    known = (r for r in records if r.report.state.final or r.report.node)
    job = _first_submitted(_with_token(known, token))
    return None if job is None else FoundJob(job)


_RECORD = re.compile(r"JobName=(.*?) UserId=.*? Command=(.*?) WorkDir=", re.DOTALL)


def parse_job_info(
    text: str, script: str | None, records: Sequence[JobRecord], remembers_since: float
) -> JobInfo:
    """Parse a job's name, command and array.

    Args:
        text: the answer of ``scontrol show job``.
        script: the job's script; None if the controller has removed it.
        records: the job's records in the queue, ended tasks included.
        remembers_since: as for ``find_in_queue``.

    Raises:
        NoAnswerError: the text is no such answer.
    """
    match = _RECORD.search(text)
    if match is None:
        raise NoAnswerError(
            f"scontrol's answer describes no job: {text[:200]!r}", code="unreadable-answer"
        )
    name, command = match.groups()
    arguments: tuple[str, ...] = ()
    while (parts := command.rpartition(" "))[2].isdecimal():
        command, arguments = parts[0], (parts[2], *arguments)
    times = (r.report.submitted_at for r in records if r.report.submitted_at is not None)
    return JobInfo(
        name,
        command,
        arguments,
        script,
        _whole_array(records, remembers_since),
        frozenset(record.name for record in records),
        min(times, default=None),  # a restart has a later time
    )


_TOLERANCE_S = 1
"""Largest difference between two times, in whole seconds, of events at the same moment."""


def is_refused_submission(record: JobRecord) -> bool:
    """True if a record is the trace of a refused submission (seen).

    Such a record FAILED at its submission with exit code 1, and has no node. On some releases
    it has no start time either (``versions.REFUSED_WITHOUT_START``).
    """
    report = record.report
    if report.state is not State.FAILED or report.node is not None:
        return False
    times = [report.submitted_at, report.ended_at, report.started_at or report.ended_at]
    known = [time for time in times if time is not None]
    return len(known) == len(times) and max(known) - min(known) <= _TOLERANCE_S


def parse_seconds(text: str) -> int:
    """Parse scontrol's ``300 sec`` into seconds; 0 for any other text."""
    match = re.match(r"(\d{1,9}) sec", text)
    return int(match[1]) if match else 0


def _whole_array(records: Sequence[JobRecord], remembers_since: float) -> ArrayExpression | None:
    """Return the array of a job by its records in the queue; None if some tasks may be missing."""
    may_forget = any((r.report.submitted_at or 0) < remembers_since for r in records)
    if not records or (may_forget and not all(r.is_array_summary for r in records)):
        return None
    if not all(r.indices_complete and r.indices for r in records):
        return None
    indices = sorted({index for r in records for index in r.indices or ()})
    throttles = [r.indices.throttle for r in records if r.indices and r.is_array_summary]
    return compress_indices(indices, next(iter(throttles), None))


def _with_token(records: Iterable[JobRecord], token: str) -> list[JobRecord]:
    return [r for r in records if r.name.endswith(token) and not is_refused_submission(r)]


def _first_submitted(records: Sequence[JobRecord]) -> str | None:
    """Return the id of the job submitted first, if several jobs have the token."""
    first = min(records, key=lambda r: (r.report.submitted_at or 0, int(r.job)), default=None)
    return first.job if first else None
