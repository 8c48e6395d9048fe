"""The identity of a submission's job, from the journal, the claim and earlier reports."""

from __future__ import annotations

from slurmslice.run.run import Run
from slurmslice.run.submission import Submission
from slurmslice.status.identity import JobIdentity


def job_identity(run: Run, submission: Submission) -> JobIdentity:
    """Return what is known of a submission's job.

    The claim is of the job, or of no job. The journal holds the time of the intent, except for
    a script that was submitted by hand: it was submitted after the run was created.
    """
    number, accepted_at = submission.number, submission.submitted_at
    claimed = run.directory.claiming_job(number) == submission.job
    claimed_at = run.directory.claimed_at(number) if claimed else None
    return JobIdentity(
        submission.job,
        submission.name,
        run.record.created_at if number == 1 else submission.intent.at,
        accepted_at if claimed_at is None else min(accepted_at, claimed_at),
        claimed,
        submission.slurm_at,
        lambda: _submission_times(run, submission),
    )


def _submission_times(run: Run, submission: Submission) -> frozenset[int]:
    """Return Slurm's submission times of a job's tasks, as earlier reports gave them."""
    seen = (run.statuses.seen(row) for row in submission.rows)
    of_this_job = (status for status in seen if status.submission == submission.number)
    return frozenset(s.submitted_at for s in of_this_job if s.submitted_at is not None)
