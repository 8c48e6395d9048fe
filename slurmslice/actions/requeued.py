"""Find ended or returned slices that Slurm runs again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from slurmslice.actions.slice_evidence import read_task_progress
from slurmslice.errors import NoAnswerError
from slurmslice.run.identity import job_identity
from slurmslice.run.journal import Requeued
from slurmslice.run.run import Run
from slurmslice.run.statuses import STATUS_HEADER, format_status_lines
from slurmslice.run.submission import Submission, group_by_unique_job_id
from slurmslice.sbatch.array_expression import compress_indices
from slurmslice.status.observation import SourceAnswer
from slurmslice.status.reconcile import SliceStatus, requeued_status
from slurmslice.status.reconcile_packed import requeued_status_packed


def find_requeued(run: Run, rows: Sequence[int]) -> list[int]:
    """Find slices, ended or returned, that Slurm runs again or has not quite ended.

    They count as in flight from now on. The caller holds the lock.

    Raises:
        NoAnswerError: the queue did not answer, so these slices must not be submitted again.
    """
    held: dict[int, list[int]] = {}
    for row in rows:
        if number := _last_submission_number(run, row):
            held.setdefault(number, []).append(row)
    submissions = [run.journal_state.submissions[number] for number in sorted(held)]
    changed: dict[int, SliceStatus] = {}
    for group in group_by_unique_job_id(s for s in submissions if s.job):
        queue = run.engine.observe([job_identity(run, s) for s in group]).queue
        if queue.silence:
            raise NoAnswerError(
                f"It is not known if Slurm runs these slices again: {queue.silence}.",
                "Nothing was submitted. Try again when Slurm answers.",
                reason=queue.silence,
            )
        found = ((r, _requeued_status(run, s, r, queue)) for s in group for r in held[s.number])
        changed |= {row: status for row, status in found if status is not None}
    if changed:
        run.directory.append_states(format_status_lines(changed), STATUS_HEADER)
        _record_requeued(run, changed)
    run.statuses.update(changed)
    return list(changed)


def _last_submission_number(run: Run, row: int) -> int:
    """Return the submission that a slice ended in, or that returned it; 0 for none."""
    number = run.journal_state.holder[row]
    if not number:
        return run.journal_state.former_holder.get(row, 0)
    return number if run.statuses.seen(row).state.final else 0


def _record_requeued(run: Run, changed: Mapping[int, SliceStatus]) -> None:
    """Record that returned slices belong to their submission again."""
    numbers = {
        row: now.submission for row, now in changed.items() if not run.journal_state.holder[row]
    }
    for number in sorted(set(numbers.values())):
        rows = compress_indices([row for row in numbers if numbers[row] == number])
        run.decide(Requeued(number, str(rows), run.clock()))


def _requeued_status(
    run: Run, submission: Submission, row: int, queue: SourceAnswer
) -> SliceStatus | None:
    """Return the status of a slice that runs again after its end or return; None if it does not."""
    known, (index, slot) = run.statuses.seen(row), submission.places[row]
    report = queue.reports.get((submission.job, index))
    if submission.intent.pack > 1 and report is not None:
        status = requeued_status_packed(
            known, report, slot, read_task_progress(run, submission, index)
        )
    else:
        status = requeued_status(known, report)
    if status is None or run.journal_state.holder[row]:
        return status
    attempt = status.attempt + 1
    return replace(status, submission=submission.number, index=index, attempt=attempt)


def requeued_statuses(
    run: Run, jobs: Sequence[Submission], queue: SourceAnswer
) -> Iterator[tuple[int, SliceStatus]]:
    """Find ended slices whose task is in the queue again. The queue was asked after their end."""
    queued: dict[str, set[int]] = {}
    for job, index in queue.reports:
        queued.setdefault(job, set()).add(index)
    for submission in jobs:
        is_open = {submission.array_index_of(row) for row in run.unfinished_rows(submission)}
        again = queued.get(submission.job, set()) - is_open
        for row in run.journal_state.rows_held_by(submission.number) if again else ():
            if submission.array_index_of(row) in again and row not in run.journal_state.queue:
                status = _requeued_status(run, submission, row, queue)
                if status is not None:
                    yield row, status
