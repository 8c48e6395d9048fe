"""Find out whose job the queue has under an id of ours, if neither name nor time shows it."""

from __future__ import annotations

from collections.abc import Sequence

from slurmslice.actions.resolve_doubts import (
    job_info_or_none,
    runs_another_script,
    submission_number_of,
)
from slurmslice.engines.protocol import JobInfo
from slurmslice.errors import LockedError
from slurmslice.run.journal import Submitted
from slurmslice.run.run import Run
from slurmslice.run.submission import Submission
from slurmslice.status.observation import Observation


def adopt_renamed(run: Run, group: Sequence[Submission], observation: Observation) -> bool:
    """Ask the controller about jobs with an id of ours and another name, once in each process.

    The script of the job decides. If it is this run's, the journal gets Slurm's time of the job's
    submission, which identifies the job from now on.

    Returns:
        True if a job is ours: then the observation lacks it, and the next poll has it.
    """
    ids = {job for job, _ in observation.queue.other_jobs} - run.foreign_jobs
    adopted = False
    for submission in group:
        info = job_info_or_none(run, submission.job) if submission.job in ids else None
        if info is None or info.submitted_at is None:
            continue
        if not _runs(run, submission, info) or info.submitted_at == submission.slurm_at:
            run.foreign_jobs.add(submission.job)
            continue
        accepted = Submitted(
            submission.number, submission.job, submission.cluster, "attached", run.clock(),
            submission.name, info.submitted_at,
        )  # fmt: skip
        adopted |= _decide(run, accepted)
    return adopted


def _runs(run: Run, submission: Submission, info: JobInfo) -> bool:
    """Tell if a job runs this submission. Another one of the run may have had its id before."""
    return submission_number_of(info) == submission.number and not runs_another_script(run, info)


def _decide(run: Run, accepted: Submitted) -> bool:
    try:
        with run.directory.lock("status", wait=0):
            run.decide(accepted)
            return True
    except (LockedError, OSError):
        return False  # the holder of the lock sees it too
