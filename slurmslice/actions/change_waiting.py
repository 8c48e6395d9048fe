"""Change the request of slices that wait in the engine's queue (docs/adr/0040)."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from slurmslice.engines.protocol import SubmitRequest
from slurmslice.errors import BadInputError, EngineError, SubmitLimitError
from slurmslice.notes import Note
from slurmslice.plan.avoided_nodes import excluded_by_person, excluding
from slurmslice.plan.request_changes import next_requests, previous_request
from slurmslice.plan.run_script import script_request
from slurmslice.run.identity import job_identity
from slurmslice.run.queue_changes import QueueChanged
from slurmslice.run.run import Run
from slurmslice.run.submission import Submission
from slurmslice.sbatch.array_expression import compress_indices
from slurmslice.sbatch.options import MEMORY_OPTIONS, any_option
from slurmslice.sbatch.resource_request import ResourceRequest
from slurmslice.sbatch.units import is_factor
from slurmslice.spec.packing import task_request
from slurmslice.status.states import State

_MEMORY = frozenset({"mem", "mem-per-cpu"})
_CHANGEABLE = frozenset({"exclude", "partition", "time", *_MEMORY})
"""The options that every release changes as a person means it (docs/adr/0040)."""


@dataclass(frozen=True, slots=True)
class QueueChange:
    """The change of one array.

    Attributes:
        submission: the array.
        rows: its slices that have not started.
        request: their next request: the options that differ from the script's.
        update: the options of a task to update.
    """

    submission: Submission
    rows: tuple[int, ...]
    request: ResourceRequest
    update: ResourceRequest


@dataclass
class QueueChanges:
    """The result of changing what waits in the queue.

    Attributes:
        changed: the rows that have the new request.
        left: the rows that keep the old one, in order.
        reason: the newest reason of that; empty if there is none.
        notes: a note on each array.
    """

    changed: list[int] = field(default_factory=list)
    left: list[int] = field(default_factory=list)
    reason: str = ""
    notes: list[Note] = field(default_factory=list)


def waiting_rows(run: Run) -> dict[int, list[int]]:
    """Return the slices in the engine's queue that have not started, by their submission."""
    states = {State.PENDING, State.SUBMITTED}
    found: dict[int, list[int]] = {}
    for one in run.submissions_in_flight():
        if rows := [row for row in run.unfinished_rows(one) if run.statuses.state(row) in states]:
            found[one.number] = rows
    return found


def change_waiting(run: Run, changes: ResourceRequest) -> QueueChanges:
    """Change the request of what waits in the queue, one update per array.

    A dry run tests the changes, and makes none.

    Args:
        run: the run, after a poll.
        changes: sbatch options, long names, as a person typed them.

    Raises:
        BadInputError: a change cannot be understood.
        LockedError: another process holds the lock for too long.
    """
    result = QueueChanges()
    with run.directory.lock("run"):
        run.reload()
        groups = waiting_rows(run)
        result.reason = _cannot_change(run, changes) if groups else ""
        for number, rows in groups.items():
            submission = run.journal_state.submissions[number]
            why = result.reason or _change(run, submission, rows, changes, result)
            if why:
                result.left += rows
                result.reason = why
    return result


def _cannot_change(run: Run, changes: Mapping[str, str]) -> str:
    """Return why these options cannot be changed in the queue; empty if they can."""
    names = [any_option(name).name for name in changes]
    if run.engine.runs_in_process:
        return "the engine runs them already"
    if run.site.fault or not run.site.update_pending:
        return "this site allows no change of jobs in the queue"
    other = next((name for name in names if name not in _CHANGEABLE), None)
    if other:
        return f"Slurm cannot change --{other} of a job in the queue"
    if "time" in names and run.record.packing.pack > 1:
        return "the time limit of a slice in a pack is fixed when it is submitted"
    if "/" in changes.get("exclude", ""):
        return "only sbatch reads a file of nodes"
    return ""


def _change(
    run: Run,
    submission: Submission,
    rows: list[int],
    changes: ResourceRequest,
    result: QueueChanges,
) -> str:
    """Change an array; return why it keeps its request, or nothing. The caller holds the lock."""
    try:
        change = _plan(run, submission, rows, changes)
        _test(run, change)
        if run.directory.read_only:
            result.changed += rows
            told = _told(change, rows, "would have")
            result.notes.append(Note("would-change-queue", *told))
            return ""
        indices = run.engine.change_waiting(job_identity(run, submission), change.update)
    except (EngineError, BadInputError) as why:
        fields = {"job": submission.job, "reason": why.message, "options": str(changes)}
        message = f"The slices in the queue as job {submission.job} keep their request: "
        result.notes.append(Note("queue-not-changed", message + why.message, fields))
        return why.message
    done = [row for row in rows if submission.array_index_of(row) in indices]
    if done:
        _record(run, change, done)
        result.changed += done
        result.notes.append(Note("queue-changed", *_told(change, done, "now have")))
    return ""


def _plan(
    run: Run, submission: Submission, rows: list[int], changes: ResourceRequest
) -> QueueChange:
    """Plan the update of an array.

    Raises:
        BadInputError: a change cannot be understood, or its slices would get different requests.
    """
    script = script_request(run)
    multiplied = any(map(is_factor, changes.values()))
    alike = {
        (run.request_of(row), multiplied and run.statuses.seen(row).requested_mem_bytes): row
        for row in rows
    }
    requests = {
        request
        for row in alike.values()
        for _, request in next_requests(
            run, script, [row], _with_own_nodes(run.request_of(row), script, changes)
        )
    }
    if len(requests) > 1:
        raise BadInputError(
            "its slices would have different requests, and one update changes them all",
            code="options-conflict",
            option=next(iter(changes)),
        )
    (request,) = requests
    names = {any_option(name).name for name in changes}
    names |= _MEMORY if names & _MEMORY else set()
    whole = previous_request(run, script, request).only(names)
    update = task_request(whole, run.record.packing)
    if "exclude" in changes:
        update = update.overridden_by({"exclude": changes["exclude"]})
    return QueueChange(submission, tuple(rows), request, update)


def _with_own_nodes(
    kept: ResourceRequest, script: ResourceRequest, changes: ResourceRequest
) -> ResourceRequest:
    """Add the nodes that a person excluded before to those of ``--exclude``."""
    if "exclude" not in changes:
        return changes
    before = script.overridden_by(kept).only({"exclude"})
    more = [node for node in excluded_by_person(changes) if node not in excluded_by_person(before)]
    return changes.overridden_by({"exclude": excluding(before, more)})


def _test(run: Run, change: QueueChange) -> None:
    """Test if a task could run with the new request: Slurm accepts an update after which none can.

    A full queue says nothing about that.

    Raises:
        EngineError, BadInputError: as ``Engine.test_submission``.
    """
    request = _options(change)
    limits = run.engine.limits(request.verify())
    if limits.impossible_reason:
        raise BadInputError(
            f"they could never run: {limits.impossible_reason}",
            code="never-runs",
            reason=limits.impossible_reason,
        )
    sent = request.only(change.update.keys())
    with contextlib.suppress(SubmitLimitError):
        run.engine.test_submission(one_task(run, change.submission, change.rows[0], sent))


def one_task(
    run: Run, submission: Submission, row: int, changes: Mapping[str, str]
) -> SubmitRequest:
    """Return the request that submits the task of a row again, with other options, for a test."""
    array = compress_indices([submission.array_index_of(row)])
    own, intent = {"array": str(array), **changes}, submission.intent
    return SubmitRequest(
        number=intent.number,
        job_name=intent.job_name,
        token=intent.token,
        script=run.directory.script,
        folder=run.directory.submission_folder(intent.number),
        array=array,
        overrides=intent.overrides.overridden_by(own),
        arguments=intent.arguments,
        request=submission.options_of(row).overridden_by(own),
        environ=run.environ,
    )


def _options(change: QueueChange) -> ResourceRequest:
    """Return every option in force for a task after the change."""
    before = change.submission.options_of(change.rows[0])
    nodes = excluded_by_person(before)
    more = [node for node in excluded_by_person(change.update) if node not in nodes]
    update = change.update.without({"exclude"})
    if more:
        update = update.overridden_by({"exclude": excluding(before, more)})
    kept = before.without(MEMORY_OPTIONS) if update.keys() & MEMORY_OPTIONS else before
    return kept.overridden_by(update)


def _record(run: Run, change: QueueChange, rows: list[int]) -> None:
    """Record the request of these rows, unless it is known already."""
    options = _options(change)
    known = change.submission.options_of
    new = [row for row in rows if known(row) != options or run.request_of(row) != change.request]
    if new:
        number, which = change.submission.number, str(compress_indices(new))
        run.decide(QueueChanged(number, which, change.request, options, run.clock()))


def _told(change: QueueChange, rows: list[int], verb: str) -> tuple[str, dict[str, Any]]:
    """Return the message and the fields of a note on slices that have a new request."""
    job, options = change.submission.job, str(change.update)
    message = f"Slices in the queue as job {job} {verb} {options}: {len(rows)}."
    return message, {"job": job, "slices": len(rows), "options": options}
