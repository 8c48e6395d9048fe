"""Attach a job to the run by its id, if its name hides it from the search by token.

That happens if a person submitted the script under another name. It also happens if somebody
renamed a job of the run, or some of its tasks, and the times of this machine and of Slurm differ.
"""

from __future__ import annotations

from pathlib import Path

from slurmslice.actions.resolve_doubts import by_hand_intent, submission_number_of
from slurmslice.engines.protocol import JobInfo
from slurmslice.errors import BadInputError
from slurmslice.plan.planned_submission import plan_script_by_hand
from slurmslice.plan.run_script import read_script
from slurmslice.run.directory import read_required_file
from slurmslice.run.journal import Submitted
from slurmslice.run.run import Run
from slurmslice.run.submission import Submission, SubmissionStatus


def attach(run: Run, job: str) -> int:
    """Attach a job that runs this run's script; return its submission's number.

    Raises:
        BadInputError: there is no such job, it is attached already, or it is not a job of this run.
        NoAnswerError: the engine did not answer.
    """
    with run.directory.lock("attach"):
        run.reload()
        known = [s for s in run.journal_state.submissions.values() if s.job == job]
        identity = run.engine.job_info(job)
        if known and _is_followed(known[-1], identity):
            raise BadInputError(
                f"Job {job} is already submission {known[-1].number:03d} of this run.",
                code="already-attached",
                job=job,
                submission=known[-1].number,
            )
        number = _number(run, job, identity)
        owner = run.directory.claiming_job(number)
        if owner not in {None, job} or run.directory.is_fenced(number):
            raise BadInputError(
                f"Submission {number:03d} belongs to {f'job {owner}' if owner else 'no job'}: "
                f"the tasks of job {job} stop before they run a slice.",
                f"Cancel that job: scancel {job}",
                code="submission-has-job",
                job=job,
                submission=number,
                other=owner,
            )
        if number not in run.journal_state.submissions:
            script = read_script(run)
            planned = plan_script_by_hand(run, script, identity.name)
            run.decide(by_hand_intent(run, planned, identity.array))
        cluster = known[-1].cluster if known else None
        name = known[-1].name if known and known[-1].name in identity.names else identity.name
        submitted_at = identity.submitted_at
        run.decide(Submitted(number, job, cluster, "attached", run.clock(), name, submitted_at))
    return number


def _is_followed(submission: Submission, identity: JobInfo) -> bool:
    """Tell if all tasks of the job are known by their names, or by the time of the submission."""
    names = identity.names or {identity.name}
    attached = submission.slurm_at is not None and submission.slurm_at == identity.submitted_at
    return attached or names == {submission.name}


def _number(run: Run, job: str, identity: JobInfo) -> int:
    """Find the submission of a job by its claim, else by its script and the script's arguments."""
    numbers = (1, *run.journal_state.submissions)
    claimed = next((n for n in numbers if run.directory.claiming_job(n) == job), None)
    if claimed is not None:
        return claimed
    script = read_required_file(run.directory.script).decode("utf-8", "surrogateescape")
    if identity.script is None or identity.script.strip() != script.strip():
        raise BadInputError(
            f"Job {job} ({identity.name}) does not run {run.directory.script}.",
            "Only a job of the present script can be attached: not one of another script, nor "
            "one of this script before it was edited.",
            code="foreign-job",
            job=job,
        )
    if Path(identity.command).name != run.directory.script.name:
        raise BadInputError(
            f"Job {job} runs {identity.command!r}: that is not a submission of this run.",
            "The script takes only a submission's number as its argument.",
            code="foreign-job",
            job=job,
        )
    number = submission_number_of(identity)
    submission = run.journal_state.submissions.get(number)
    if number > 1 and submission is None:
        raise BadInputError(
            f"Job {job} is submission {number:03d}, and this run has no such submission.",
            code="unknown-submission",
            job=job,
            submission=number,
        )
    if (
        submission is not None
        and submission.status is SubmissionStatus.SUBMITTED
        and submission.job != job
    ):
        raise BadInputError(
            f"Submission {number:03d} is already job {submission.job}, not job {job}.",
            code="submission-has-job",
            job=job,
            submission=number,
            other=submission.job,
        )
    return number
