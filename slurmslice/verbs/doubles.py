"""Jobs that found their submission taken: a script that was sent by hand once more runs nothing."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from slurmslice.command import quote
from slurmslice.ledger import Submission
from slurmslice.progress import refusals
from slurmslice.run import Run

_LOOKED_AT = 20
"""Tasks whose output is read: a double is refused in every one, and a file a slice is dear."""


def doubles(run: Run) -> tuple[str, ...]:
    """Which jobs were refused since the run's last submission, and what to type, a line each.

    Reads the output of a few tasks of the first submission, which is what ``sbatch script.sh``
    sends, and of the last.
    """
    taken = [s for s in run.ledger.submissions.values() if s.job]
    last = max((s.intent.at for s in taken), default=0.0)
    looked_at = {s.number: s for s in (taken[0], taken[-1])} if taken else {}
    return tuple(
        _told(run, submission, job)
        for submission in looked_at.values()
        for job in _refused(run, submission, last)
    )


def _refused(run: Run, submission: Submission, last: float) -> Iterator[str]:
    """The jobs that this submission's own job has stopped by its claim since then."""
    found: dict[str, tuple[str, int]] = {}
    for index in islice(submission.array, _LOOKED_AT):
        found |= refusals(run.place.read_task_log(submission.number, index) or b"")
    return (
        job
        for job, (owner, at) in found.items()
        if job.isdecimal() and owner == submission.job and at >= last
    )


def _told(run: Run, submission: Submission, job: str) -> str:
    name = quote(run.asked.name)
    return (
        f"Job {job} ran nothing: it is submission {submission.number:03d} once more, which job "
        f"{submission.job} has, and no slice runs twice. What failed goes in again with: "
        f"slurmslice resubmit {name}; what waits: slurmslice submit {name}"
    )
