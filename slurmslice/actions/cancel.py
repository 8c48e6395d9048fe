"""Cancel slices: those in the queue of the run, those in the engine, and some of an array task."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from itertools import chain

from slurmslice.actions.poll import poll
from slurmslice.actions.resolve_doubts import wait_for_doubts
from slurmslice.actions.slice_evidence import task_goes_on
from slurmslice.errors import NoAnswerError
from slurmslice.run.identity import job_identity
from slurmslice.run.journal import Cancelled
from slurmslice.run.run import Run
from slurmslice.run.submission import Submission, SubmissionStatus
from slurmslice.sbatch.array_expression import compress_indices, parse_array
from slurmslice.status.states import State


def cancel(run: Run, rows: Collection[int] | None) -> list[int]:
    """Cancel these slices (None: all that have not ended), and return their rows.

    Raises:
        NoAnswerError: the engine did not answer; the request is journalled, so try again. Or
        another process was just killed while it submitted; then nothing was cancelled.
    """
    wait_for_doubts(run)
    with run.directory.lock("cancel"):
        run.reload()
        return cancel_locked(run, rows)


def cancel_locked(run: Run, rows: Collection[int] | None) -> list[int]:
    """Cancel these slices, as ``cancel`` does. The caller holds the lock.

    Raises:
        NoAnswerError: as ``cancel``.
    """
    groups = rows_to_cancel(run, rows)
    requests = [cancel_request(run, number, members) for number, members in groups.items()]
    for request in requests:
        run.decide(request)
    for request in requests:
        cancel_in_engine(run, request)
    return sorted(chain.from_iterable(groups.values()))


def rows_to_cancel(run: Run, rows: Collection[int] | None) -> dict[int, list[int]]:
    """Group the rows that have not ended, of these or of all, by their submission.

    Waiting rows have no submission: their group is 0. The caller holds the lock.

    Raises:
        NoAnswerError: as ``cancel``.
    """
    _refuse_in_doubt(run)
    run.record_returned_rows()
    groups: dict[int, list[int]] = {}
    for row in range(len(run.table)) if rows is None else sorted(rows):
        if not run.statuses.ended(row):
            number = 0 if row in run.journal_state.queue else run.journal_state.holder[row]
            groups.setdefault(number, []).append(row)
    return groups


def _refuse_in_doubt(run: Run) -> None:
    """Refuse while a submission is in doubt: it may have a job, and no id to cancel it."""
    for submission in run.journal_state.unconfirmed():
        raise NoAnswerError(
            f"It is not known yet if submission {submission.number:03d} was accepted.",
            "Nothing was cancelled. Run the same command again: it first searches for the job.",
            code="submission-unknown",
            submission=submission.number,
        )


def cancel_request(
    run: Run, number: int, rows: Collection[int], *, submit_again: bool = False
) -> Cancelled:
    """Return the event that cancels rows of one submission (0: waiting rows). It is not recorded.

    An array task goes on if a slice of it may still run and is not cancelled.
    """
    submission, partly = run.journal_state.submissions.get(number), set[int]()
    if submission is not None and submission.intent.pack > 1:
        cancelled = submission.cancelled.keys() | rows
        going_on = (row for row in run.unfinished_rows(submission) if row not in cancelled)
        tasks = {submission.array_index_of(row) for row in rows}
        partly = tasks.intersection(map(submission.array_index_of, going_on))
    named = str(compress_indices(sorted(rows)))
    indices = str(compress_indices(sorted(partly))) if partly else ""
    return Cancelled(number, named, run.clock(), submit_again, indices)


def cancel_in_engine(run: Run, request: Cancelled) -> None:
    """Cancel rows of one submission in the engine; nothing if it has no job there.

    A task that goes on with other slices ends its cancelled ones itself: it finds them in a file,
    also after a restart (ADR 19). The other tasks end.
    """
    submission = run.journal_state.submissions.get(request.number)
    if submission is None or submission.status is not SubmissionStatus.SUBMITTED:
        return
    job, rows = job_identity(run, submission), parse_array(request.rows)
    if len(rows) == len(list(run.unfinished_rows(submission))):
        run.engine.cancel(job, None)
        return
    partly = parse_array(request.partly).indices if request.partly else ()
    if partly:
        slots = {index: _cancelled_slots(submission, index) for index in partly}
        run.directory.write_cancelled(request.number, slots)
        run.engine.announce_cancelled(job, partly)
    if whole := {submission.array_index_of(row) for row in rows}.difference(partly):
        run.engine.cancel(job, sorted(whole))


def shared_rows(run: Run, rows: Iterable[int]) -> list[int]:
    """Return those of these cancelled rows whose array task goes on with other slices."""
    holders = ((row, run.journal_state.submission_of(row)) for row in rows)
    return [row for row, holder in holders if holder and task_goes_on(run, holder, row)]


def _cancelled_slots(submission: Submission, index: int) -> list[int]:
    """Return the slots of a task that a person has cancelled, now or earlier."""
    rows = submission.rows_of_task[index]
    return [slot for slot, row in enumerate(rows) if row in submission.cancelled]


NOTICE_WAIT_S = 10
"""The maximum wait until running tasks have noticed the cancelled slices, seconds."""


def wait_until_noticed(run: Run, rows: Sequence[int]) -> list[int]:
    """Poll until running tasks have ended these slices; return those that have not ended.

    Pending tasks notice it when they start. On this machine the runner needs a moment, and a wait
    might run tasks here.
    """
    for seconds in range(NOTICE_WAIT_S + 1):
        poll(run)
        waiting = [row for row in rows if not run.statuses.ended(row)]
        if run.engine.runs_in_process or not any(_task_runs(run, row) for row in waiting):
            break
        if seconds < NOTICE_WAIT_S:
            run.engine.wait(1.0)
    return waiting


def _task_runs(run: Run, row: int) -> bool:
    """Return whether a slice of the row's array task has begun."""
    submission = run.journal_state.submission_of(row)
    if submission is None:
        return False
    rows = submission.rows_of_task[submission.array_index_of(row)]
    return any(run.statuses.state(one) not in _NOT_BEGUN for one in rows)


_NOT_BEGUN = frozenset({State.PENDING, State.SUBMITTED, State.WAITING})


CANCEL_WAIT_S = 30.0
"""The maximum wait until Slurm has ended cancelled tasks, seconds; it needs a few seconds."""


def wait_until_cancelled(run: Run, rows: Collection[int]) -> bool:
    """Poll until no cancelled row is in flight any more; False if that takes too long."""
    deadline = run.clock() + CANCEL_WAIT_S
    while True:
        poll(run)
        if not any(run.statuses.state(row).in_flight for row in rows):
            return True
        if run.clock() > deadline:
            return False
        run.engine.wait(1.0)
