"""Poll: ask the engine once about all slices in flight, update their statuses, record them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from slurmslice.actions.fetch_job_steps import EndReports, fetch_job_steps
from slurmslice.actions.resolve_doubts import claimed_by_others, follow_claims, resolve_doubts
from slurmslice.errors import LockedError, NoAnswerError
from slurmslice.notes import Note
from slurmslice.plan.submission import library_fault, library_note
from slurmslice.run.journal import Requeued
from slurmslice.run.journal_state import Submission, group_by_unique_job_id
from slurmslice.run.run import Run
from slurmslice.run.statuses import STATUS_HEADER, format_status_lines
from slurmslice.sbatch.array_expression import compress_indices
from slurmslice.script.progress_lines import (
    SlotProgress,
    TaskProgress,
    parse_progress,
    setup_progress,
)
from slurmslice.status.confirm import confirm_exit, needs_confirmation, withhold_completed
from slurmslice.status.reconcile import SliceEvidence, SliceStatus, reconcile, requeued_status
from slurmslice.status.reconcile_packed import (
    is_unrecorded,
    reconcile_packed,
    requeued_status_packed,
)
from slurmslice.status.reports import Observation, SourceAnswer, TaskReport
from slurmslice.status.states import State


@dataclass(frozen=True, slots=True)
class PollResult:
    """The result of one poll.

    Attributes:
        changed: rows with a changed status.
        no_answer_reasons: the reasons why sources did not answer; empty if all did.
        any_answered: at least one source answered, or there was nothing to ask.
        notes: other notes for the person (a job submitted by hand, a fenced submission).
    """

    changed: tuple[int, ...] = ()
    no_answer_reasons: tuple[str, ...] = ()
    any_answered: bool = True
    notes: tuple[Note, ...] = ()


def poll(run: Run) -> PollResult:
    """Ask the engine once. It needs no lock: it records statuses only if the lock is free."""
    known = set(run.directory.unreadable_logs)
    result = _poll(run)
    result = replace(result, notes=(*result.notes, *_notes_on_library(run)))
    unreadable_logs = [
        (path, why) for path, why in run.directory.unreadable_logs.items() if path not in known
    ]
    return (
        replace(result, notes=(*result.notes, _unread_note(unreadable_logs)))
        if unreadable_logs
        else result
    )


def _unread_note(unreadable_logs: Sequence[tuple[Path, str]]) -> Note:
    """Say that task logs are unreadable, and why; the first one is an example."""
    path, why = unreadable_logs[0]
    more = (
        f" {len(unreadable_logs) - 1} more logs cannot be read either."
        if unreadable_logs[1:]
        else ""
    )
    message = f"Cannot read the task log {path}: {why}.{more}"
    return Note("task-log-unreadable", message, {"path": path, "files": len(unreadable_logs)})


def _poll(run: Run) -> PollResult:
    run.reload()
    settled = resolve_doubts(run)
    jobs = run.in_flight()
    if not jobs:
        return PollResult(
            (), settled.no_answer_reasons, not settled.no_answer_reasons, settled.notes
        )
    seen = [
        (group, run.engine.observe([(s.job, s.name) for s in group]))
        for group in group_by_unique_job_id(jobs)
    ]
    doubled = claimed_by_others(run)
    if doubled:  # the answer is about the wrong jobs; the next poll asks about the right ones
        return PollResult(
            (), settled.no_answer_reasons, True, (*settled.notes, *follow_claims(run, doubled))
        )
    ends = [fetch_job_steps(run, group, said) for group, said in seen]
    changed = {
        row: found
        for (group, said), ended in zip(seen, ends, strict=True)
        for row, found in _judged(run, group, said, ended)
    }
    changed = _with_library(run, changed)
    run.statuses.update(changed)
    record_statuses(run, changed)
    heard = [answer for _, said in seen for answer in (said.accounting, said.queue)]
    no_answer_reasons = [answer.silence for answer in heard if answer.silence and not answer.off]
    no_answer_reasons += [silence for _, silence in ends if silence]
    any_answered = any(answer.answered for answer in heard)
    return PollResult(
        tuple(changed),
        (*settled.no_answer_reasons, *no_answer_reasons),
        any_answered,
        settled.notes,
    )


def _with_library(run: Run, changed: dict[int, SliceStatus]) -> dict[int, SliceStatus]:
    """Compare the library with its digest in ``run.json``, if any status has changed.

    If the library has changed, no slice becomes COMPLETED.

    Returns:
        the statuses that change.
    """
    fault = library_fault(run) if changed else ""
    if not fault:
        return changed
    doubted = {r: withhold_completed(run.statuses[r], found, fault) for r, found in changed.items()}
    return {row: found for row, found in doubted.items() if found != run.statuses[row]}


def _notes_on_library(run: Run) -> tuple[Note, ...]:
    """Return a note on a fault of the library, once per process and fault."""
    before, fault = run.directory.known_fault, "" if run.succeeded else library_fault(run)
    run.directory.known_fault = fault
    return (library_note(run, fault),) if fault not in {"", before} else ()


def find_requeued(run: Run, rows: Sequence[int]) -> list[int]:
    """Find slices, ended or returned, that Slurm runs again or has not quite ended.

    They count as in flight from now on. The caller holds the lock.

    Raises:
        NoAnswerError: the queue did not answer, so these slices must not be submitted again.
    """
    held: dict[int, list[int]] = {}
    for row in rows:
        if number := _had_by(run, row):
            held.setdefault(number, []).append(row)
    submissions = [run.journal_state.submissions[number] for number in sorted(held)]
    changed: dict[int, SliceStatus] = {}
    for group in group_by_unique_job_id(s for s in submissions if s.job):
        queue = run.engine.observe([(s.job, s.name) for s in group]).queue
        if queue.silence:
            raise NoAnswerError(
                f"It is not known if Slurm runs these slices again: {queue.silence}.",
                "Nothing was submitted. Try again when Slurm answers.",
                reason=queue.silence,
            )
        found = ((r, _reopened(run, s, r, queue)) for s in group for r in held[s.number])
        changed |= {row: standing for row, standing in found if standing is not None}
    if changed:
        run.directory.append_states(format_status_lines(changed), STATUS_HEADER)
        _take_again(run, changed)
    run.statuses.update(changed)
    return list(changed)


def _had_by(run: Run, row: int) -> int:
    """Return the submission that a slice ended in, or that returned it; 0 for none."""
    number = run.journal_state.holder[row]
    if not number:
        return run.journal_state.former_holder.get(row, 0)
    return number if run.statuses.seen(row).state.final else 0


def _take_again(run: Run, changed: Mapping[int, SliceStatus]) -> None:
    """Record that returned slices belong to their submission again."""
    numbers = {
        row: now.submission for row, now in changed.items() if not run.journal_state.holder[row]
    }
    for number in sorted(set(numbers.values())):
        rows = compress_indices([row for row in numbers if numbers[row] == number])
        run.decide(Requeued(number, str(rows), run.clock()))


def _reopened(
    run: Run, submission: Submission, row: int, queue: SourceAnswer
) -> SliceStatus | None:
    """Return the status of a slice that runs again after its end or return; None if it does not."""
    known, (index, slot) = run.statuses.seen(row), submission.places[row]
    report = queue.reports.get((submission.job, index))
    if submission.intent.pack > 1 and report is not None:
        standing = requeued_status_packed(known, report, slot, _wrote(run, submission, index))
    else:
        standing = requeued_status(known, report)
    if standing is None or run.journal_state.holder[row]:
        return standing
    attempt = standing.attempt + 1
    return replace(standing, submission=submission.number, index=index, attempt=attempt)


def _judged(
    run: Run, jobs: Sequence[Submission], seen: Observation, ends: EndReports
) -> Iterator[tuple[int, SliceStatus]]:
    now, over = run.clock(), _over_since(seen)
    if seen.queue.answered:
        yield from _started_again(run, jobs, seen.queue)
    for submission in jobs:
        wrote: dict[int, TaskProgress] = {}
        for row in list(run.unfinished_rows(submission)):
            known = run.statuses[row]
            said = _hearing(submission, row, seen, ends, over=over, now=now)
            standing = _judge(run, submission, row, said, wrote)
            read_already = said.accounting is not None and said.accounting.progress is not None
            if needs_confirmation(standing) and not read_already:
                standing = _confirmed(run, submission, row, standing, now)
            if standing.state is State.CANCELLED and row in submission.submit_again:
                standing = replace(
                    standing, state=State.WAITING, reason=EDITED_SCRIPT_REASON, ended_at=None
                )
            if standing != known:
                yield row, standing


EDITED_SCRIPT_REASON = (
    "cancelled in Slurm, because script.sh was edited; it will be submitted again"
)
"""The reason of a held slice that ``release`` has cancelled, to submit it with the new script."""


def _started_again(
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
                standing = _reopened(run, submission, row, queue)
                if standing is not None:
                    yield row, standing


def _judge(
    run: Run, submission: Submission, row: int, said: SliceEvidence, wrote: dict[int, TaskProgress]
) -> SliceStatus:
    """Determine one slice's status. A task log is read once for all slices of a pack."""
    known = run.statuses[row]
    index, slot = submission.places[row]
    if submission.intent.pack == 1:
        progress = _progress(run, submission, row, said.accounting, said.queue)
        return reconcile(known, replace(said, progress=progress))
    if said.queue is not None and said.queue.state is State.PENDING and not said.queue.restarts:
        return reconcile(known, said)  # the task has not begun: there is no log to read
    if index not in wrote:
        wrote[index] = _wrote(run, submission, index)
    times_returned = run.journal_state.returned.get(row, ("", 0))[1]
    standing = reconcile_packed(known, said, slot, wrote[index], times_returned)
    if standing.state in {State.WAITING, State.FAILED} and is_unrecorded(slot, wrote[index]):
        if why := run.directory.unreadable_logs.get(
            run.directory.task_log(submission.number, index)
        ):
            return replace(known, reason=f"its task log cannot be read: {why}")
        has_log = _has_log(run, submission, row)
        return reconcile_packed(known, said, slot, wrote[index], times_returned, has_log=has_log)
    return standing


def _confirmed(
    run: Run, submission: Submission, row: int, found: SliceStatus, now: float
) -> SliceStatus:
    """Compare a slice's status as Slurm gives it with the progress lines of its task."""
    index, slot = submission.places[row]
    log = run.directory.read_task_log(submission.number, index)
    unreadable_logs = (
        run.directory.task_log(submission.number, index) in run.directory.unreadable_logs
    )
    return confirm_exit(
        run.statuses[row],
        found,
        None if log is None else parse_progress(log, submission.job),
        slot,
        now,
        has_log=unreadable_logs or _has_log(run, submission, row),
        times_returned=run.journal_state.returned.get(row, ("", 0))[1],
    )


def _has_log(run: Run, submission: Submission, row: int) -> bool:
    return run.directory.has_log(submission.number, run.table.log_name(row))


def _over_since(seen: Observation) -> dict[str, float]:
    """Return the end times of arrays that have left the queue, epoch seconds, by job id."""
    if not (seen.queue.answered and seen.accounting.answered):
        return {}
    queued = {job for job, _ in seen.queue.reports}
    ended: dict[str, float] = {}
    for job, index in seen.accounting.reports:
        if job in queued:  # do not parse its reports: for a million tasks that takes seconds
            continue
        ended_at = seen.accounting.reports[job, index].ended_at
        if ended_at is not None:
            ended[job] = max(ended.get(job, 0.0), ended_at)
    return ended


def _hearing(
    submission: Submission,
    row: int,
    seen: Observation,
    ends: EndReports,
    *,
    over: Mapping[str, float],
    now: float,
) -> SliceEvidence:
    task = submission.job, submission.array_index_of(row)
    ended, silence = ends
    untold = task in ended and ended[task] is None
    return SliceEvidence(
        accounting=ended[task] if task in ended else seen.accounting.reports.get(task),
        queue=seen.queue.reports.get(task),
        progress=None,
        accounting_silence=silence if untold else seen.accounting.silence,
        queue_silence=seen.queue.silence,
        accounting_off=seen.accounting.off,
        cancelled_at=submission.cancelled.get(row),
        array_ended_at=over.get(submission.job),
        now=now,
    )


def _progress(
    run: Run,
    submission: Submission,
    row: int,
    accounting: TaskReport | None,
    queue: TaskReport | None,
) -> SlotProgress | None:
    """Read a task's progress lines, if they matter: to read one file per slice takes long.

    They matter if Slurm does not report the task, if it FAILED (perhaps by its slice's check) or
    ran over its time limit, and if accounting says that it never began.
    """
    for report in (accounting, queue):
        if report is not None and report.progress is not None:
            return report.progress
    states = {report.state for report in (accounting, queue) if report is not None}
    ended = accounting is not None and accounting.state.final and not accounting.is_array_summary
    is_reported = queue is not None or ended
    if is_reported and not states & {State.FAILED, State.TIMEOUT, State.WAITING}:
        return None
    index = submission.array_index_of(row)
    wrote = _wrote(run, submission, index)
    if wrote.setup_exit is not None:  # even if the setup printed lines like a slice's
        return setup_progress(wrote)
    unreadable_logs = (
        run.directory.task_log(submission.number, index) in run.directory.unreadable_logs
    )
    began = SlotProgress() if unreadable_logs or _has_log(run, submission, row) else None
    return wrote.slots.get(0, began)


def _wrote(run: Run, submission: Submission, index: int) -> TaskProgress:
    return parse_progress(
        run.directory.read_task_log(submission.number, index) or b"", submission.job
    )


def record_statuses(run: Run, changed: Mapping[int, SliceStatus]) -> None:
    """Record changed statuses if the lock is free; else the next poll finds them again."""
    if not changed:
        return
    try:
        with run.directory.lock("status", wait=0):
            run.directory.append_states(format_status_lines(changed), STATUS_HEADER)
            run.record_returned_rows()
    except (LockedError, OSError):
        return  # a reader may have no write permission
