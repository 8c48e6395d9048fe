"""Jobs that found their submission taken: a script that was sent by hand once more runs nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from slurmslice.command import quote
from slurmslice.errors import BadInput, DamagedRun
from slurmslice.ledger import Submission
from slurmslice.notes import Note
from slurmslice.progress import refusals
from slurmslice.run import Run
from slurmslice.submission import script_array, script_request

_LOOKED_AT = 20
"""Tasks whose output is read: a double is refused in every one, and a file a slice is dear."""


def doubles(run: Run) -> tuple[Note, ...]:
    """Which jobs were refused since the run's last submission, and what to type, a note each.

    Reads the output of a few tasks of the first submission, which is what ``sbatch script.sh``
    sends, and of the last.
    """
    taken = [s for s in run.ledger.submissions.values() if s.job]
    last = int(max((s.intent.at for s in taken), default=0.0))  # tasks write whole seconds
    looked_at = {s.number: s for s in (taken[0], taken[-1])} if taken else {}
    told = [
        _told(run, job, s, f"submission {s.number:03d} once more, which job {s.job} has")
        for s in looked_at.values()
        for job in _refused(run, s.number, s.array, s.job, last)
    ]
    if taken and run.place.barred(1):
        gave_way = "submission 001, which was given up for others"
        gone = _refused(run, 1, _written(run), None, last)
        told += [_told(run, job, None, gave_way) for job in gone]
    return tuple(told)


def _written(run: Run) -> Iterable[int]:
    """The array that the script names; empty where it cannot be read."""
    try:
        return script_array(script_request(run))
    except (BadInput, DamagedRun):
        return ()


def _refused(
    run: Run, number: int, array: Iterable[int], owner: str | None, last: int
) -> Iterator[str]:
    """The jobs that a submission's claim, its owner's or anybody's, has stopped since then."""
    found: dict[str, tuple[str, int]] = {}
    for index in islice(array, _LOOKED_AT):
        found |= refusals(run.place.read_task_log(number, index) or b"")
    return (
        job
        for job, (had, at) in found.items()
        if job.isdecimal() and owner in {None, had} and at >= last
    )


def _told(run: Run, job: str, taken: Submission | None, what: str) -> Note:
    name = quote(run.record.name)
    number, owner = (taken.number, taken.job) if taken else (1, None)
    message = (
        f"Job {job} ran nothing: it is {what}, and no slice runs twice. What failed goes in again "
        f"with: slurmslice resubmit {name}; what waits: slurmslice submit {name}"
    )
    return Note("job-ran-nothing", message, {"job": job, "submission": number, "owner": owner})
