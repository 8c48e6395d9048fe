"""Poll: ask the engine once about all slices in flight, update their statuses, record them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from slurmslice.actions.fetch_job_steps import EndReports, fetch_job_steps
from slurmslice.actions.log_cause import with_log_cause
from slurmslice.actions.renamed import adopt_renamed
from slurmslice.actions.requeued import requeued_statuses
from slurmslice.actions.resolve_doubts import claimed_by_others, follow_claims, resolve_doubts
from slurmslice.actions.site_rules import load_site_rules
from slurmslice.actions.slice_evidence import (
    array_end_times,
    may_have_begun,
    read_slice_progress,
    read_task_progress,
    slice_evidence,
    slice_has_log,
)
from slurmslice.actions.then_step import look_at_then
from slurmslice.errors import LockedError, NoAnswerError
from slurmslice.notes import Note
from slurmslice.plan.run_script import library_fault, library_note
from slurmslice.run.identity import job_identity
from slurmslice.run.run import Run
from slurmslice.run.statuses import STATUS_HEADER, format_status_lines
from slurmslice.run.submission import Submission, group_by_unique_job_id
from slurmslice.script.progress_lines import TaskProgress, parse_progress
from slurmslice.status.confirm import (
    confirm_exit,
    contradiction,
    needs_confirmation,
    withhold_completed,
)
from slurmslice.status.observation import Observation
from slurmslice.status.reconcile import SliceEvidence, SliceStatus, await_result, reconcile
from slurmslice.status.reconcile_packed import is_unrecorded, reconcile_packed
from slurmslice.status.states import BEGUN_STATES, State


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
    load_site_rules(run)
    known = set(run.directory.unreadable_logs)
    result = _look_at_then(run, _poll(run))
    result = replace(result, notes=(*result.notes, *_notes_on_library(run)))
    unreadable_logs = [
        (path, why) for path, why in run.directory.unreadable_logs.items() if path not in known
    ]
    return (
        replace(result, notes=(*result.notes, _unread_note(unreadable_logs)))
        if unreadable_logs
        else result
    )


def _look_at_then(run: Run, result: PollResult) -> PollResult:
    """Also look at the step after the run, if it has not ended."""
    try:
        look_at_then(run)
    except NoAnswerError as silence:
        reasons = (*result.no_answer_reasons, silence.message)
        answered = result.any_answered and bool(run.submissions_in_flight())
        return replace(result, no_answer_reasons=reasons, any_answered=answered)
    return result


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
    resolved = resolve_doubts(run)
    jobs = run.submissions_in_flight()
    if not jobs:
        return PollResult(
            (), resolved.no_answer_reasons, not resolved.no_answer_reasons, resolved.notes
        )
    asked_at = run.clock()
    observed = [
        (group, run.engine.observe([job_identity(run, s) for s in group]))
        for group in group_by_unique_job_id(jobs)
    ]
    claimed = claimed_by_others(run)
    if claimed:  # the answer is about the wrong jobs; the next poll asks about the right ones
        return PollResult(
            (), resolved.no_answer_reasons, True, (*resolved.notes, *follow_claims(run, claimed))
        )
    if any(adopt_renamed(run, group, answers) for group, answers in observed):
        return PollResult((), resolved.no_answer_reasons, True, resolved.notes)
    ends = [fetch_job_steps(run, group, answers) for group, answers in observed]
    changed = {
        row: found
        for (group, answers), ended in zip(observed, ends, strict=True)
        for row, found in _changed_statuses(run, group, answers, ended)
    }
    changed = _with_library(run, changed)
    run.statuses.update(changed)
    record_statuses(run, changed)
    sources = [source for _, answers in observed for source in (answers.accounting, answers.queue)]
    no_answer_reasons = [source.silence for source in sources if source.silence and not source.off]
    no_answer_reasons += [silence for _, silence in ends if silence]
    if not no_answer_reasons:
        run.answered_at = asked_at
    any_answered = any(source.answered for source in sources)
    return PollResult(
        tuple(changed),
        (*resolved.no_answer_reasons, *no_answer_reasons),
        any_answered,
        resolved.notes,
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


def _changed_statuses(
    run: Run, jobs: Sequence[Submission], observation: Observation, ends: EndReports
) -> Iterator[tuple[int, SliceStatus]]:
    now, over = run.clock(), array_end_times(observation)
    if observation.queue.answered:
        yield from requeued_statuses(run, jobs, observation.queue)
    for submission in jobs:
        wrote: dict[int, TaskProgress] = {}
        for row in list(run.unfinished_rows(submission)):
            known = run.statuses[row]
            evidence = slice_evidence(
                run, submission, row, observation, ends, over=over, now=now,
                foreign_jobs=run.foreign_jobs,
            )  # fmt: skip
            status = _reconcile_slice(run, submission, row, evidence, wrote, known=known)
            if needs_confirmation(status):
                status = _confirmed_status(run, submission, row, status, evidence)
            if evidence.task_goes_on and status.state.in_flight:
                status = replace(status, reason=f"{NOT_CANCELLED_YET}; {status.reason}")
            if status.state is State.CANCELLED and row in submission.submit_again:
                status = replace(
                    status, state=State.WAITING, reason=SUBMIT_AGAIN_REASON, ended_at=None
                )
            if status != known:
                yield row, with_log_cause(run, submission, row, status)


NOT_CANCELLED_YET = "cancelled, and its array task has not noticed it yet"
"""The reason of a slice in flight that was cancelled, and not its whole task."""

SUBMIT_AGAIN_REASON = "cancelled in Slurm; it will be submitted again"
"""The reason of a slice that was cancelled to submit it anew: with an edited script or with
corrected values, or as a probe."""


def _reconcile_slice(
    run: Run,
    submission: Submission,
    row: int,
    evidence: SliceEvidence,
    wrote: dict[int, TaskProgress],
    *,
    known: SliceStatus,
) -> SliceStatus:
    """Determine one slice's status. A task log is read once for all slices of a pack."""
    index, slot = submission.places[row]
    if submission.intent.pack == 1:
        progress = read_slice_progress(run, submission, row, evidence.accounting, evidence.queue)
        return reconcile(known, replace(evidence, progress=progress))
    if (
        evidence.queue is not None
        and evidence.queue.state is State.PENDING
        and not evidence.queue.restarts
    ):
        return reconcile(known, evidence)  # the task has not begun: there is no log to read
    if index not in wrote:
        wrote[index] = read_task_progress(run, submission, index)
    times_returned = run.journal_state.returned.get(row, ("", 0))[1]
    status = reconcile_packed(known, evidence, slot, wrote[index], times_returned)
    if status.state in {State.WAITING, State.FAILED} and is_unrecorded(slot, wrote[index]):
        if why := run.directory.unreadable_logs.get(
            run.directory.task_log_path(submission.number, index)
        ):
            reason, began = f"its task log cannot be read: {why}", known.state in BEGUN_STATES
            return await_result(known, status.evidence, reason, began=began)
        has_log = slice_has_log(run, submission, row)
        return reconcile_packed(
            known, evidence, slot, wrote[index], times_returned, has_log=has_log
        )
    return status


def _confirmed_status(
    run: Run, submission: Submission, row: int, found: SliceStatus, evidence: SliceEvidence
) -> SliceStatus:
    """Compare a slice's status as Slurm gives it with the progress lines of its task."""
    cancelled = evidence.cancelled_at is not None
    if evidence.accounting is not None and (own := evidence.accounting.progress) is not None:
        return contradiction(found, own, cancelled=cancelled) or found
    index, slot = submission.places[row]
    log = run.directory.read_task_log(submission.number, index)
    return confirm_exit(
        run.statuses[row],
        found,
        None if log is None else parse_progress(log, submission.job),
        slot,
        evidence.now,
        has_log=may_have_begun(run, submission, row),
        times_returned=run.journal_state.returned.get(row, ("", 0))[1],
        cancelled=cancelled,
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
