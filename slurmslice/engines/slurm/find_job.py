"""Looking for the job that bears a token, in rows of the queue and of accounting. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from slurmslice.engines import Identity, Sighting
from slurmslice.engines.slurm.job_records import JobRecord
from slurmslice.errors import NoAnswer
from slurmslice.ranges import ArrayExpression, compress
from slurmslice.states import State


def find_in_queue(rows: Iterable[JobRecord], token: str, remembers_since: float) -> Sighting | None:
    """The job of a token, with its indices where the queue still knows them all.

    Args:
        rows: all of the user's, ended ones too.
        token: what the job's name ends in.
        remembers_since: epoch seconds; the controller has forgotten nothing that ended later.
    """
    found = _bearing(rows, token)
    job = _first(found)
    if job is None:
        return None
    return Sighting(job, _array([row for row in found if row.job == job], remembers_since))


def _array(rows: Sequence[JobRecord], remembers_since: float) -> ArrayExpression | None:
    """The indices of a job by its records in the queue; None where it may not know them all."""
    forgets = any((row.report.submitted_at or 0) < remembers_since for row in rows)
    if not rows or (forgets and not all(row.is_array_summary for row in rows)):
        return None
    if not all(row.indices_complete and row.indices for row in rows):
        return None
    indices = sorted({index for row in rows for index in row.indices or ()})
    throttles = [row.indices.throttle for row in rows if row.indices and row.is_array_summary]
    return compress(indices, next(iter(throttles), None))


def find_in_accounting(rows: Iterable[JobRecord], token: str) -> Sighting | None:
    """The job of a token. Its indices are not told: accounting may lag behind some of them.

    What has neither ended nor a node is passed over: the queue, which was asked first, would have
    it. A refused submission looks so until accounting has heard of its end.
    """
    known = (row for row in rows if row.report.state.final or row.report.node)
    job = _first(_bearing(known, token))
    return None if job is None else Sighting(job)


_RECORD = re.compile(r"JobName=(.*?) UserId=.*? Command=(.*?) WorkDir=", re.DOTALL)


def parse_job_info(
    records: str, script: str | None, rows: Sequence[JobRecord], remembers_since: float
) -> Identity:
    """What a job is.

    Args:
        records: what ``scontrol show job`` says of it.
        script: its script, where the controller still has it.
        rows: its records in the queue, ended ones too.
        remembers_since: as for ``in_queue``.

    Raises:
        NoAnswer: the records are none.
    """
    match = _RECORD.search(records)
    if match is None:
        raise NoAnswer(f"This is no job of scontrol's: {records[:200]!r}", code="unreadable-answer")
    name, command = match.groups()
    arguments: tuple[str, ...] = ()
    while (word := command.rpartition(" "))[2].isdecimal():
        command, arguments = word[0], (word[2], *arguments)
    return Identity(name, command, arguments, script, _array(rows, remembers_since))


def _bearing(rows: Iterable[JobRecord], token: str) -> list[JobRecord]:
    return [row for row in rows if row.name.endswith(token) and not is_refused_submission(row)]


def _first(rows: Sequence[JobRecord]) -> str | None:
    """The job that was submitted first, should there be several."""
    first = min(rows, key=lambda row: (row.report.submitted_at or 0, int(row.job)), default=None)
    return first.job if first else None


def is_refused_submission(row: JobRecord) -> bool:
    """Whether it is what a refused submission leaves behind (seen).

    It FAILED when it was submitted, with exit code 1, and never had a node; nor a start on some
    releases (``versions.REFUSED_UNSTARTED``).
    """
    report = row.report
    if report.state is not State.FAILED or report.node is not None:
        return False
    times = [report.submitted_at, report.ended_at, report.started_at or report.ended_at]
    moments = [time for time in times if time is not None]
    return len(moments) == len(times) and max(moments) - min(moments) <= _AT_ONCE_S


_AT_ONCE_S = 1
"""How far apart whole seconds may be of what happens at once."""


def parse_seconds(text: str) -> int:
    """Seconds of scontrol's ``300 sec``; 0 where it says none."""
    match = re.match(r"(\d{1,9}) sec", text)
    return int(match[1]) if match else 0
