"""Resolve doubts: find submissions without an answer, and scripts that were submitted by hand.

A submission is found by its token: first in the claim on disk, because that is proof, then in
the queue and in accounting. If none of them has it for ``FENCE_AFTER_S``, slurmslice fences the
submission: it writes the claim itself, so a late job stops before its command. Only then can the
slices be submitted again.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from slurmslice.engines.protocol import JobInfo
from slurmslice.errors import (
    BadInputError,
    DamagedRunError,
    EngineError,
    LockedError,
    NoAnswerError,
)
from slurmslice.notes import Note
from slurmslice.plan.planned_submission import (
    PlannedSubmission,
    is_unsubmitted,
    plan_script_by_hand,
)
from slurmslice.plan.run_script import (
    read_script,
    script_array,
    script_job_name,
    script_request,
    script_rows_of_index,
)
from slurmslice.run.journal import (
    Fenced,
    Intent,
    JobCarriesMore,
    LateJobCancelled,
    SlicesReturned,
    Submitted,
)
from slurmslice.run.run import Run
from slurmslice.run.submission import Submission
from slurmslice.sbatch.array_expression import ArrayExpression, compress_indices
from slurmslice.script.progress_lines import parse_progress
from slurmslice.status.identity import JobIdentity

FENCE_AFTER_S = 20.0
"""Seconds for which a submission is searched before it is fenced. sbatch needs far less after
slurmctld answers; a job that comes later stops at the fence."""

UNSUBMITTED_VALID_S = 5.0
"""Seconds for which an answer of Slurm stays valid that nobody has submitted the script by hand.
If somebody does it in that time, the claim on disk decides between the two jobs."""

LATE_JOB_SEARCH_S = 3600.0
"""Seconds for which slurmslice searches for a late job of a fenced submission."""


@dataclass(frozen=True, slots=True)
class ResolvedDoubts:
    """The result of a search for submissions in doubt.

    Attributes:
        notes: notes for the person.
        no_answer_reasons: the reasons why the engine did not answer; then the doubt remains.
    """

    notes: tuple[Note, ...] = ()
    no_answer_reasons: tuple[str, ...] = ()


def wait_for_doubts(run: Run) -> tuple[Note, ...]:
    """Wait until every submission in doubt is found or fenced.

    Returns:
        notes about the result.

    Raises:
        NoAnswerError: a search failed, so nothing may be submitted.
    """
    deadline = run.clock() + FENCE_AFTER_S + 10
    notes: tuple[Note, ...] = ()
    while True:
        run.reload()
        resolved = resolve_doubts(run)
        notes, no_answer_reasons = notes + resolved.notes, resolved.no_answer_reasons
        if not run.journal_state.unconfirmed():
            return notes
        if no_answer_reasons or run.clock() > deadline:
            number = run.journal_state.unconfirmed()[0].number
            raise NoAnswerError(
                f"It is not known if submission {number:03d} was accepted, and the search failed: "
                f"{'; '.join(no_answer_reasons) or 'another slurmslice process holds the lock'}.",
                "Until then nothing more is submitted. Try again when Slurm answers.",
                code="submission-unknown",
                submission=number,
            )
        run.engine.wait(1.0)


def resolve_doubts(run: Run) -> ResolvedDoubts:
    """Search for all submissions in doubt, unless another process submits now. Never waits."""
    if not (run.journal_state.unconfirmed() or _fenced_lately(run) or _may_be_sent(run)):
        return ResolvedDoubts()
    try:
        with run.directory.lock("status", wait=0):
            run.reload()
            return resolve_doubts_locked(run)
    except (LockedError, OSError):
        return (
            ResolvedDoubts()
        )  # the holder of the lock does it and writes its results to the journal


def resolve_doubts_locked(run: Run) -> ResolvedDoubts:
    """Search for all submissions in doubt. The caller holds the lock."""
    notes: list[Note] = []
    try:
        for submission in run.journal_state.unconfirmed():
            notes += _find_or_fence(run, submission)
        for submission in _fenced_lately(run):
            notes += _cancel_late_job(run, submission)
        if _may_be_sent(run):
            notes += _adopt_by_hand(run)
    except EngineError as silence:
        return ResolvedDoubts(tuple(notes), (silence.message,))
    return ResolvedDoubts(tuple(notes))


def _find_or_fence(run: Run, submission: Submission) -> list[Note]:
    number = submission.number
    job = run.directory.claiming_job(number) or _find_job(run, submission.intent)
    if job is None and _may_appear(run, submission):
        return []
    if job is None and run.directory.fence(number):
        run.decide(Fenced(number, run.clock()))
        message = f"Submission {number:03d} never reached the queue; its slices can be submitted."
        return [Note("submission-freed", message, {"submission": number})]
    job = job or run.directory.claiming_job(number)
    if job is None:
        return []  # a task is writing its claim at this moment
    run.decide(Submitted(number, job, None, "found", run.clock()))
    message = f"Submission {number:03d} was accepted after all: job {job}."
    return [Note("submission-found", message, {"submission": number, "job": job})]


def _may_appear(run: Run, submission: Submission) -> bool:
    """Tell if a job that was not found may still appear in the queue.

    On this machine it cannot: a submission is on disk before its writer releases the lock.
    """
    return run.engine.jobs_outlive_us and run.clock() - submission.intent.at < FENCE_AFTER_S


def claimed_by_others(run: Run) -> list[Submission]:
    """Find submissions in flight with a claim by another job than the one that sbatch named.

    A submission may have two jobs: a wrapper called sbatch twice, or a person also submitted the
    script by hand. The first job to write the claim owns the submission. The tasks of the other job
    stop before their command, which is not a failure. This reads one small file per submission.
    """
    return [
        s
        for s in run.submissions_in_flight()
        if run.directory.claiming_job(s.number) not in {None, s.job}
    ]


def follow_claims(run: Run, doubled: Sequence[Submission]) -> tuple[Note, ...]:
    """Correct the journal by the claims: the owner of a claim is the submission's job."""
    try:
        with run.directory.lock("status", wait=0):
            return tuple(_adopt(run, submission) for submission in doubled)
    except (LockedError, OSError):
        return ()  # the holder of the lock sees it too


def _adopt(run: Run, submission: Submission) -> Note:
    number, other = submission.number, submission.job
    owner = run.directory.claiming_job(number) or ""
    identity = job_info_or_none(run, owner)
    carried = identity.array if identity else None
    if left := _not_carried(run, submission, owner, carried):
        # This is journalled first: after a kill the claim is found again, and these rows are free.
        why = f"job {owner}, which runs submission {number:03d}, does not carry this slice"
        wanted = run.engine.jobs_outlive_us
        run.decide(SlicesReturned(number, str(compress_indices(left)), why, run.clock(), wanted))
    if number == 1:
        _add_carried(run, submission, owner, carried or ())
    run.decide(Submitted(number, owner, None, "claimed", run.clock()))
    found = f"Job {owner} runs submission {number:03d}; job {other} is a duplicate"
    names = {"submission": number, "job": owner, "double": other}
    try:
        run.engine.cancel(JobIdentity(other, submission.name), None)
    except EngineError as why:
        message = f"{found} and cannot be cancelled: {why.message}"
        return Note("duplicate-job", message, {**names, "cancelled": False})
    done = not run.directory.read_only
    return Note("duplicate-job", f"{found} and is cancelled.", {**names, "cancelled": done})


def _sent_by_hand(run: Run, name: str) -> tuple[str, ArrayExpression | None] | None:
    """Find the job of the script by its claim or its name; return its array too, if known."""
    if owner := run.directory.claiming_job(1):
        identity = job_info_or_none(run, owner)
        return owner, identity.array if identity else None
    found = run.engine.find_job(run.record.token, name, run.record.created_at)
    if found is None or runs_another_script(run, job_info_or_none(run, found.job)):
        return None
    return found.job, found.array


def job_info_or_none(run: Run, job: str) -> JobInfo | None:
    """Look up a job; None if there is no answer."""
    try:
        return run.engine.job_info(job)
    except (BadInputError, EngineError):
        return None


def runs_another_script(run: Run, identity: JobInfo | None) -> bool:
    """Tell if a job with this run's name runs another file: the script of a copy of the run.

    A file that does not exist any more may be this script, moved after the submission.
    """
    try:
        return identity is not None and not os.path.samefile(identity.command, run.directory.script)
    except OSError:
        return False


def submission_number_of(identity: JobInfo) -> int:
    """Return the number of the submission that a job runs, by the arguments of its script."""
    return int(identity.arguments[0]) if identity.arguments else 1


def _add_carried(run: Run, submission: Submission, owner: str, carried: Iterable[int]) -> None:
    """Add the slices that the owner carries beyond the intended ones, after a larger ``--array``.

    A slice that the owner has begun counts as carried, even if the controller has forgotten it.
    """
    known = set(submission.array)
    try:
        written = script_array(script_request(run))
        begun = (index for index in written if _began(run, submission.number, index, owner))
        indices = sorted(known.union(carried, begun))
        rows = [row for index in indices for row in script_rows_of_index(run, index)]
    except (BadInputError, DamagedRunError):
        return  # the script is unreadable, or an index has no slice: then its task stops
    if len(indices) == len(known):
        return
    array = str(compress_indices(indices, submission.array.throttle))
    run.decide(JobCarriesMore(submission.number, array, str(compress_indices(rows)), run.clock()))


def _not_carried(
    run: Run, submission: Submission, owner: str, array: ArrayExpression | None
) -> list[int]:
    """List the rows of a submission that its owner does not carry; none if its array is unknown.

    A person may have submitted the script by hand with a smaller array. If a task has written a
    progress line, it belongs to the owner, even if the controller has forgotten the task.
    """
    if array is None:
        return []
    carried, number = set(array), submission.number
    return [
        row
        for row in run.journal_state.rows_held_by(number)
        if (index := submission.array_index_of(row)) not in carried
        and not run.statuses.ended(row)
        and not _began(run, number, index, owner)
    ]


def _began(run: Run, number: int, index: int, job: str) -> bool:
    return (
        parse_progress(run.directory.read_task_log(number, index) or b"", job).restart is not None
    )


def _find_job(run: Run, intent: Intent) -> str | None:
    found = run.engine.find_job(intent.token, intent.job_name, intent.at)
    return found.job if found else None


def _fenced_lately(run: Run) -> list[Submission]:
    return run.journal_state.fenced_since(run.clock() - LATE_JOB_SEARCH_S)


def _may_be_sent(run: Run) -> bool:
    """Tell if a person may have submitted the script by hand."""
    return is_unsubmitted(run) and run.clock() - run.unsubmitted_at > UNSUBMITTED_VALID_S


def _cancel_late_job(run: Run, submission: Submission) -> list[Note]:
    """Cancel a job that appeared after its submission was fenced: all its tasks would stop."""
    job = _find_job(run, submission.intent)
    if job is None:
        return []
    run.engine.cancel(JobIdentity(job, submission.name), None)
    run.decide(LateJobCancelled(submission.number, job, run.clock()))
    message = f"Job {job} of submission {submission.number:03d} is cancelled: it came too late."
    names = {"submission": submission.number, "job": job, "cancelled": not run.directory.read_only}
    return [Note("late-job", message, names)]


def _adopt_by_hand(run: Run) -> list[Note]:
    """Make a job of plain ``sbatch script.sh`` the first submission of the run."""
    try:
        script = read_script(run)
        name = script_job_name(run, script.request)
        planned = plan_script_by_hand(run, script, name)
    except BadInputError:
        return []  # sbatch cannot have accepted a script that cannot be read
    sent = _sent_by_hand(run, name)
    if sent is None:
        run.unsubmitted_at = run.clock()
        return []
    job, array = sent
    if 1 not in run.journal_state.submissions:
        run.decide(by_hand_intent(run, planned, array))
    run.decide(Submitted(1, job, None, "found", run.clock()))
    message = f"Job {job} was submitted by hand: it is now submission 001 of this run."
    return [Note("job-submitted-by-hand", message, {"job": job, "submission": 1})]


def by_hand_intent(run: Run, planned: PlannedSubmission, array: ArrayExpression | None) -> Intent:
    """Return the intent of a submission by hand, as slurmslice would have journalled it."""
    if array is not None:
        known = [index for index in sorted(planned.batch.array) if index in set(array)]
        rows = tuple(row for index in known for row in script_rows_of_index(run, index))
        indices = compress_indices(known, planned.batch.array.throttle)
        planned = replace(planned, batch=replace(planned.batch, array=indices, rows=rows))
    return planned.intent(run, run.clock(), run.record.first_sha256)
