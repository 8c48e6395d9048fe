"""Submit the queued slices in as few submissions as possible, as far as they fit."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from slurmslice.actions.canary import end_canary_if_done
from slurmslice.actions.judge_nodes import include_all_nodes
from slurmslice.actions.raise_requests import raise_requests
from slurmslice.actions.requeued import find_requeued
from slurmslice.actions.resolve_doubts import resolve_doubts_locked, wait_for_doubts
from slurmslice.actions.same_environment import next_environ
from slurmslice.actions.throttle import allocate_throttle, current_share
from slurmslice.engines.protocol import QueueCapacity, SubmitResult
from slurmslice.errors import (
    BadInputError,
    EngineError,
    SlurmsliceError,
    SubmissionRejectedError,
    SubmissionUnclearError,
    SubmissionUnknownError,
    SubmitLimitError,
    TooManyTasksError,
)
from slurmslice.notes import Note
from slurmslice.plan.canary import rows_to_submit
from slurmslice.plan.next_submission import QueuedRequests, SubmissionBounds, next_submission
from slurmslice.plan.planned_submission import (
    PlannedSubmission,
    check_task_table,
    is_unsubmitted,
    out_of_memory_again,
    overridden_edit_notes,
)
from slurmslice.plan.run_script import RunScript, check_script, read_script
from slurmslice.plan.same_code import read_code, refuse_other_code
from slurmslice.run.checkpoints import identify_all
from slurmslice.run.journal import Dequeued, Rejected, Submitted, Unclear
from slurmslice.run.run import Run
from slurmslice.run.submission import SubmissionStatus
from slurmslice.sbatch.array_expression import compress_indices


@dataclass(frozen=True, slots=True)
class AcceptedSubmission:
    """A submission that the engine accepted.

    Attributes:
        planned: the submission.
        job: the array's job id.
        notes: notes for the person.
        short_of_memory: the rows that ran out of memory before and get no more memory now.
    """

    planned: PlannedSubmission
    job: str
    notes: tuple[Note, ...]
    short_of_memory: tuple[int, ...] = ()


@dataclass
class SubmitOutcome:
    """The result of submitting queued slices.

    Attributes:
        accepted: the accepted submissions.
        wait_reason: the reason if slices are still queued; else empty.
        share_free_soon: almost all tasks in flight run, so a share of the throttle is free soon.
        error: the error that stopped the submitting; None if there was none.
        queued: the slices of the plan are queued, even if an error followed.
        left_out_rows: rows of the plan that had changed after it was made.
        notes: notes on decisions beside the submissions.
    """

    accepted: list[AcceptedSubmission] = field(default_factory=list)
    wait_reason: str = ""
    share_free_soon: bool = False
    error: EngineError | None = None
    queued: bool = False
    left_out_rows: tuple[int, ...] = ()
    notes: tuple[Note, ...] = ()

    def raise_error(self, *, ignore_temporary: bool) -> None:
        """Raise the error, if it matters.

        Args:
            ignore_temporary: ignore a temporary error; if False, ignore it only after a submission.

        Raises:
            EngineError: the error that stopped the submitting.
        """
        is_final = isinstance(self.error, SubmissionRejectedError)
        if self.error and (is_final or not (ignore_temporary or self.accepted)):
            raise self.error


def submit_queued(run: Run, verb: str) -> SubmitOutcome:
    """Submit queued slices as far as they fit now. Each sbatch call takes the lock anew."""
    outcome = SubmitOutcome()
    try:
        wait_for_doubts(run)
        _submit_queued(run, verb, outcome)
    except EngineError as why:
        outcome.error, outcome.wait_reason = why, why.message
    return outcome


def _submit_queued(run: Run, verb: str, outcome: SubmitOutcome) -> None:
    submitted, queue_capacity = 0, None
    while True:
        with run.directory.lock(verb):
            run.reload()
            resolve_doubts_locked(run)
            run.record_returned_rows()
            script = read_script(run)
            spare = allocate_throttle(run, script.request)
            outcome.wait_reason = run.hold.reason
            if not run.journal_state.queue:
                return
            outcome.wait_reason = cannot_submit(run)
            if outcome.wait_reason:
                return
            outcome.notes += end_canary_if_done(run)
            outcome.notes += () if submitted else raise_requests(run)
            queue = rows_to_submit(run, run.journal_state.queue)
            if not queue:
                outcome.wait_reason = run.hold.reason or "until the canary is done"
                return
            outcome.share_free_soon = spare is not None and _drains(run)
            queue_capacity = queue_capacity or run.engine.queue_capacity(script.request.verify())
            bounds, outcome.wait_reason = next_bounds(run, queue_capacity, submitted, spare)
            if bounds is None:
                return
            submitted += _submit_next(run, script, queue, bounds, outcome)


def cannot_submit(run: Run) -> str:
    """Return why no queued slice may be submitted now; empty if one may, if it fits."""
    if run.hold.probe:
        return ""
    if run.waits_for_other and not run.hold.reason:
        return f"until the run {os.path.basename(run.record.after)} is done"
    return run.hold.reason


def _drains(run: Run) -> bool:
    """Tell if no array in flight has more than twice the tasks that it may run at once."""
    shares = (current_share(run, submission) for submission in run.submissions_in_flight())
    return all(array.open_tasks <= 2 * array.used_tasks for array in shares)


def _submit_next(
    run: Run,
    script: RunScript,
    queue: QueuedRequests,
    bounds: SubmissionBounds,
    outcome: SubmitOutcome,
) -> int:
    """Make the next submission; return its number of array tasks."""
    planned = next_submission(
        run, script, queue, bounds,
        number=run.journal_state.next_number, script_is_next=is_unsubmitted(run),
    )  # fmt: skip
    if _runs_again(run, planned):
        return 0
    accepted = _submit(run, planned)
    if accepted is None:
        return 0
    outcome.accepted.append(accepted)
    if run.uses_all_nodes:
        outcome.notes += include_all_nodes(run)
        run.uses_all_nodes = False
    return len(planned.batch.array)


def next_bounds(
    run: Run, queue_capacity: QueueCapacity, submitted: int, spare: int | None
) -> tuple[SubmissionBounds | None, str]:
    """Return the maximum size of the next submission; or None, and the reason if none fits.

    Args:
        run: the run.
        queue_capacity: the room before this step.
        submitted: the tasks that were submitted in this step.
        spare: the tasks that the next submission may run at once; None for no throttle.
    """
    if spare == 0:
        return None, "throttle reached"
    most = min(queue_capacity.max_array_size, queue_capacity.max_tasks_per_array)
    if queue_capacity.tasks is not None:
        free = queue_capacity.tasks - submitted - run.places_kept
        if free <= 0:
            return None, queue_capacity.why
        most = min(most, free)
    return SubmissionBounds(min(most, run.journal_state.max_next_tasks or most), spare), ""


def _runs_again(run: Run, planned: PlannedSubmission) -> bool:
    """Remove slices from the queue that Slurm runs again or still ends; tell if there are any."""
    again = find_requeued(run, planned.batch.rows)
    if queued := [row for row in again if row in run.journal_state.queue]:
        run.decide(Dequeued(str(compress_indices(queued)), "Slurm still has them", run.clock()))
    return bool(again)


def _submit(run: Run, planned: PlannedSubmission) -> AcceptedSubmission | None:
    """Make one submission: folder, intent, engine, answer. The caller holds the lock.

    Returns:
        None if it was rejected and excluded suspected nodes: the next one uses all nodes.
    """
    sha = _prepare_folder(run, planned)
    code = read_code(run, planned.script)
    refuse_other_code(run, code)
    environ = next_environ(run, planned.script, planned.request)
    short_of_memory = out_of_memory_again(run, planned)
    run.decide(planned.intent(run, run.clock(), sha, code))
    try:
        result = _send(run, planned, environ)
    except (SubmissionRejectedError, SubmitLimitError, BadInputError) as rejection:
        if planned.number > 1 and not run.directory.fence(planned.number):
            return _accept_refused(run, planned, rejection)
        if _record_rejection(run, planned, rejection):
            return None
        raise
    except SubmissionUnknownError as doubt:
        return _look_up(run, planned, doubt)
    run.decide(Submitted(planned.number, result.job, result.cluster, "sbatch", run.clock()))
    run.shares_sent.add(planned.number)
    return AcceptedSubmission(
        planned,
        result.job,
        (*result.notes, *_avoided_note(planned), *overridden_edit_notes(run, planned)),
        short_of_memory,
    )


def _prepare_folder(run: Run, planned: PlannedSubmission) -> str:
    """Create the folder of a submission, with its checkpoints; return the digest of its table."""
    check_task_table(run, planned.number)
    check_script(run, planned.script)
    sha = run.record.first_sha256
    if planned.number > 1:
        fence_script(run)
        sha = run.directory.create_submission_folder(
            planned.number, run.table, planned.table_rows, run.record.direct,
            run.journal_state.next_numbers(planned.table_rows),
        )  # fmt: skip
    if run.record.checkpoint:
        found = identify_all(run.record, run.table, planned.batch.rows)
        run.directory.write_checkpoints(planned.number, found)
        run.known_checkpoints.pop(planned.number, None)
    return sha


def _record_rejection(run: Run, planned: PlannedSubmission, rejection: SlurmsliceError) -> bool:
    """Record that a submission was rejected.

    Returns:
        True if it excluded suspected nodes, which may be the cause: the next one uses all nodes.
    """
    temporary = isinstance(rejection, SubmitLimitError)
    too_many_tasks = isinstance(rejection, TooManyTasksError)
    again = bool(planned.avoided) and isinstance(rejection, SubmissionRejectedError)
    answer = rejection.message, run.clock(), temporary or again, too_many_tasks
    run.decide(Rejected(planned.number, *answer))
    if is_unsubmitted(run) and _script_may_run(run) and not run.first_is_outdated:
        run.directory.unfence(1)  # a person may submit it by hand, as before
    run.uses_all_nodes = run.uses_all_nodes or again
    return again


def _avoided_note(planned: PlannedSubmission) -> Iterator[Note]:
    """Say which nodes a submission excludes beside those of a person."""
    if planned.avoided:
        names = ", ".join(planned.avoided)
        yield Note("nodes-avoided", f"without the node {names}", {"nodes": list(planned.avoided)})


def _send(run: Run, planned: PlannedSubmission, environ: Mapping[str, str]) -> SubmitResult:
    """Give the submission to the engine.

    A site's own program may refuse in its own words. The first time that is a doubt, and its
    submission is searched for. After it was certain that it did not arrive, the same answer again
    is a refusal: otherwise the run would submit for ever.

    Raises:
        EngineError, BadInputError: as ``Engine.submit``.
    """
    try:
        return run.engine.submit(planned.submit_request(run, environ))
    except SubmissionUnclearError as doubt:
        if without_numbers(doubt.said) in map(without_numbers, run.journal_state.never_arrived()):
            raise SubmissionRejectedError(
                "The submission was refused, but not by Slurm: an earlier one with the same answer "
                f"never reached the queue. The answer of sbatch: {doubt.said or 'nothing'}",
                said=doubt.said,
            ) from doubt
        run.decide(Unclear(planned.number, doubt.said, run.clock()))
        raise


def without_numbers(words: str) -> str:
    """Return an answer without its times, counters and paths with numbers, to compare it."""
    return " ".join(word for word in words.split() if not any(map(str.isdecimal, word)))


def fence_script(run: Run) -> None:
    """Fence submission 001 before a later one: submitted by hand it would run slices twice.

    Raises:
        SubmissionUnknownError: a person submitted it by hand just now.
    """
    if _script_may_run(run) and not run.directory.fence(1):
        raise SubmissionUnknownError(
            "The script was submitted by hand just now.",
            "Run `slurmslice status`: it makes that job a part of the run.",
            code="script-sent-by-hand",
        )


def _script_may_run(run: Run) -> bool:
    """Tell if a job of submission 001 may still start, by hand or after a wrong rejection."""
    first = run.journal_state.submissions.get(1)
    return first is None or first.status is SubmissionStatus.REJECTED


def _accept_refused(
    run: Run, planned: PlannedSubmission, rejection: SlurmsliceError
) -> AcceptedSubmission:
    """Accept a submission that sbatch rejected, because one of its tasks has claimed it.

    After a true rejection the fence stops a job that still appears. Submission 001 is not
    fenced: a person may still submit it by hand, and then its token finds it.
    """
    job = run.directory.claiming_job(planned.number)
    if job is None:  # the task is writing its claim at this moment
        return _look_up(run, planned, SubmissionUnknownError(rejection.message))
    run.decide(Submitted(planned.number, job, None, "claimed", run.clock()))
    note = Note("runs-despite-refusal", "sbatch rejected the job, but it runs.", {"job": job})
    return AcceptedSubmission(planned, job, (note,))


def _look_up(
    run: Run, planned: PlannedSubmission, doubt: SubmissionUnknownError
) -> AcceptedSubmission:
    """Search for the job of a submission without a clear answer: the queue may have it already."""
    resolved = resolve_doubts_locked(run)
    submission = run.journal_state.submissions[planned.number]
    if submission.job:
        return AcceptedSubmission(planned, submission.job, resolved.notes)
    raise SubmissionUnknownError(
        f"{doubt.message} It is not known yet if submission {planned.number:03d} was accepted.",
        "Run `slurmslice status` to search for it. Nothing is submitted twice.",
        submission=planned.number,
    )
