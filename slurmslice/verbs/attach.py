"""Attach: take a job into the run that its token does not find, since its name is another.

So it is where a person sent the script under another name, and where a job of the run was renamed.
"""

from __future__ import annotations

from pathlib import Path

from slurmslice.engines import Identity
from slurmslice.errors import BadInput
from slurmslice.journal import Submitted
from slurmslice.ledger import Fate
from slurmslice.run import Run
from slurmslice.rundir import read_or_damaged
from slurmslice.submission import by_script, read_script
from slurmslice.verbs.settle import intent_of


def attach(run: Run, job: str) -> int:
    """Take a job of this run's script into the run; the submission's number.

    Raises:
        BadInput: there is no such job, it is in the run already, or it is none of this run's.
        NoAnswer: the engine could not be asked.
    """
    with run.place.lock("attach"):
        run.reload()
        known = [s for s in run.ledger.submissions.values() if s.job == job]
        identity = run.engine.identify(job)
        if known and known[-1].name == identity.name:
            raise BadInput(
                f"Job {job} is submission {known[-1].number:03d} of this run already.",
                code="already-attached",
                job=job,
                submission=known[-1].number,
            )
        number = _number(run, job, identity)
        owner = run.place.owner(number)
        if owner not in {None, job} or run.place.barred(number):
            raise BadInput(
                f"Submission {number:03d} belongs to {f'job {owner}' if owner else 'no job'}: "
                f"the tasks of job {job} stop before their command.",
                f"`scancel {job}` ends it.",
                code="submission-has-job",
                job=job,
                submission=number,
                other=owner,
            )
        if number not in run.ledger.submissions:
            script = read_script(run)
            planned = by_script(run, script, identity.name)
            run.decide(intent_of(run, planned, identity.array))
        cluster = known[-1].cluster if known else None
        run.decide(Submitted(number, job, cluster, "attached", run.clock(), identity.name))
    return number


def _number(run: Run, job: str, identity: Identity) -> int:
    """Which submission a job is: by its claim, else by its script and what that was given."""
    numbers = (1, *run.ledger.submissions)
    claimed = next((n for n in numbers if run.place.owner(n) == job), None)
    if claimed is not None:
        return claimed
    script = read_or_damaged(run.place.script).decode("utf-8", "surrogateescape")
    if identity.script is None or identity.script.strip() != script.strip():
        raise BadInput(
            f"Job {job} ({identity.name}) does not run {run.place.script}.",
            "A job of another script, or of this one before it was edited, cannot be told to "
            "be this run's.",
            code="foreign-job",
            job=job,
        )
    if Path(identity.command).name != run.place.script.name:
        raise BadInput(
            f"Job {job} runs {identity.command!r}: that is no submission of this run.",
            "The script takes a submission's number, and no other words.",
            code="foreign-job",
            job=job,
        )
    number = int(identity.arguments[0]) if identity.arguments else 1
    submission = run.ledger.submissions.get(number)
    if number > 1 and submission is None:
        raise BadInput(
            f"Job {job} is submission {number:03d}, which this run never made.",
            code="unknown-submission",
            job=job,
            submission=number,
        )
    if submission is not None and submission.fate is Fate.SUBMITTED and submission.job != job:
        raise BadInput(
            f"Submission {number:03d} is job {submission.job} already, not job {job}.",
            code="submission-has-job",
            job=job,
            submission=number,
            other=submission.job,
        )
    return number
