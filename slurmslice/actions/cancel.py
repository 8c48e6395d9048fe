"""Cancel slices: those in the queue of the run, and those in the engine."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import chain

from slurmslice.actions.poll import poll
from slurmslice.actions.resolve_doubts import wait_for_doubts
from slurmslice.errors import BadInputError, NoAnswerError
from slurmslice.run.identity import job_identity
from slurmslice.run.journal import Cancelled
from slurmslice.run.run import Run
from slurmslice.run.submission import Submission, SubmissionStatus
from slurmslice.sbatch.array_expression import compress_indices
from slurmslice.system.shell_quoting import quote_words


def cancel(run: Run, rows: Collection[int] | None) -> list[int]:
    """Cancel these slices (None: all that have not ended), and return their rows.

    Raises:
        BadInputError: one of them shares its array task with other slices, which would end too.
        NoAnswerError: the engine did not answer; the request is journalled, so try again. Or
        another process was just killed while it submitted; then nothing was cancelled.
    """
    wait_for_doubts(run)
    with run.directory.lock("cancel"):
        run.reload()
        groups = rows_to_cancel(run, rows)
        for number, members in groups.items():
            run.decide(Cancelled(number, str(compress_indices(members)), run.clock()))
        for number, members in groups.items():
            cancel_in_engine(run, number, members)
    return sorted(chain.from_iterable(groups.values()))


def rows_to_cancel(run: Run, rows: Collection[int] | None) -> dict[int, list[int]]:
    """Group the rows that have not ended, of these or of all, by their submission.

    Waiting rows have no submission: their group is 0. The caller holds the lock.

    Raises:
        BadInputError, NoAnswerError: as ``cancel``.
    """
    _refuse_in_doubt(run)
    run.record_returned_rows()
    groups: dict[int, list[int]] = {}
    for row in range(len(run.table)) if rows is None else sorted(rows):
        if not run.statuses.ended(row):
            number = 0 if row in run.journal_state.queue else run.journal_state.holder[row]
            groups.setdefault(number, []).append(row)
    _refuse_shared(run, groups)
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


def _refuse_shared(run: Run, groups: Mapping[int, Sequence[int]]) -> None:
    for number, rows in groups.items():
        submission = run.journal_state.submissions.get(number)
        if submission is None or submission.intent.pack == 1:
            continue
        tasks = {submission.array_index_of(row) for row in rows}
        theirs = {
            r for r in run.unfinished_rows(submission) if submission.array_index_of(r) in tasks
        }
        if shared := theirs.difference(rows):
            chosen, other = _sharing_pair(submission, rows, shared)
            keys = run.table.keys
            raise BadInputError(
                f"Slice {keys[chosen]!r} shares an array task with {keys[other]!r}, which would "
                "be cancelled too.",
                _command_for_all(run, [keys[row] for row in sorted({*rows, *theirs})]),
                code="shared-task",
                key=keys[chosen],
                other=keys[other],
            )


def _command_for_all(run: Run, keys: Sequence[str]) -> str:
    """Return the command that cancels all of them, unless it is too long to read."""
    if len(keys) > _MAX_KEYS_SHOWN:
        return "Name all slices of the task: `slurmslice status --slices` shows them under JOB."
    return f"To cancel all: {quote_words(('slurmslice', 'cancel', run.record.name, '--', *keys))}"


_MAX_KEYS_SHOWN = 20


def _sharing_pair(
    submission: Submission, rows: Collection[int], others: Collection[int]
) -> tuple[int, int]:
    """Return the first of ``rows`` that shares its array task, and the other row of that task."""
    by_task = {submission.array_index_of(other): other for other in sorted(others, reverse=True)}
    chosen = min(row for row in rows if submission.array_index_of(row) in by_task)
    return chosen, by_task[submission.array_index_of(chosen)]


def cancel_in_engine(run: Run, number: int, rows: Sequence[int]) -> None:
    """Cancel rows of one submission in the engine; nothing if it has no job there."""
    submission = run.journal_state.submissions.get(number)
    if submission is None or submission.status is not SubmissionStatus.SUBMITTED:
        return
    whole = len(rows) == len(list(run.unfinished_rows(submission)))
    indices = sorted({submission.array_index_of(row) for row in rows})
    run.engine.cancel(job_identity(run, submission), None if whole else indices)


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
