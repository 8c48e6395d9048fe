"""Duplicate jobs: a second job of one submission, whose tasks stop before they run a slice."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from slurmslice.errors import BadInputError, DamagedRunError
from slurmslice.notes import Note
from slurmslice.plan.run_script import script_array, script_request
from slurmslice.run.run import Run
from slurmslice.run.submission import Submission
from slurmslice.script.progress_lines import find_refused_jobs
from slurmslice.system.shell_quoting import quote

_TASKS_READ = 20
"""The number of task logs that are read. A duplicate is refused in every task, and reading one
file per slice takes too long."""


def duplicate_job_notes(run: Run) -> tuple[Note, ...]:
    """Return a note for each duplicate job since the run's last submission, with the next command.

    It reads some task logs of the last submission, and of the first one, because
    ``sbatch script.sh`` makes the first one.
    """
    accepted = [s for s in run.journal_state.submissions.values() if s.job]
    last = int(max((s.intent.at for s in accepted), default=0.0))  # tasks write whole seconds
    searched = {s.number: s for s in (accepted[0], accepted[-1])} if accepted else {}
    notes = [
        _note(run, job, s, f"submission {s.number:03d} already runs as job {s.job}")
        for s in searched.values()
        for job in _refused(run, s.number, s.array, s.job, last)
    ]
    if accepted and run.directory.is_fenced(1):
        reason = "submission 001 was given up, and other submissions carry its slices"
        refused = _refused(run, 1, _script_indices(run), None, last)
        notes += [_note(run, job, None, reason) for job in refused]
    return tuple(notes)


def _script_indices(run: Run) -> Iterable[int]:
    """Return the array of the script; empty if the script cannot be read."""
    try:
        return script_array(script_request(run))
    except (BadInputError, DamagedRunError):
        return ()


def _refused(
    run: Run, number: int, array: Iterable[int], owner: str | None, last: int
) -> Iterator[str]:
    """Iterate over the jobs that a claim of this owner (None: of any) has stopped since then."""
    found: dict[str, tuple[str, int]] = {}
    for index in islice(array, _TASKS_READ):
        found |= find_refused_jobs(run.directory.read_task_log(number, index) or b"")
    return (
        job
        for job, (had, at) in found.items()
        if job.isdecimal() and owner in {None, had} and at >= last
    )


def _note(run: Run, job: str, submission: Submission | None, reason: str) -> Note:
    name = quote(run.record.name)
    number, owner = (submission.number, submission.job) if submission else (1, None)
    message = (
        f"Job {job} ran nothing, because {reason}; no slice runs twice. To submit failed slices "
        f"again: slurmslice resubmit {name}. To submit waiting slices: slurmslice submit {name}"
    )
    return Note("job-ran-nothing", message, {"job": job, "submission": number, "owner": owner})
