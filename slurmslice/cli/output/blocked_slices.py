"""Notes on slices that may never start, or that Slurm does not know any more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from slurmslice.engines.protocol import BlockingReason
from slurmslice.errors import SlurmsliceError
from slurmslice.notes import Note
from slurmslice.reports.counts import key_ranges
from slurmslice.run.run import Run
from slurmslice.status.reconcile import is_unknown_to_slurm
from slurmslice.status.states import IN_FLIGHT_STATES, State
from slurmslice.system.shell_quoting import quote


def notes_on_blocked_slices(run: Run) -> tuple[Note, ...]:
    """Return a note on each reason why pending slices may never start, with the commands to type.

    A limit that lets other slices of the run start is no reason for a note.
    """
    if run.hold.reason:
        return ()
    any_runs = State.RUNNING in run.statuses.state_counts()
    notes = [
        _note_on_blocked(run, rows, blocker)
        for blocker, rows in _blocked_rows(run).items()
        if not (blocker.may_pass and any_runs)
    ]
    return (*notes, *_notes_on_unknown_slices(run))


def _blocked_rows(run: Run) -> dict[BlockingReason, list[int]]:
    """Return the pending rows that may never start, by the reason."""
    # An array held for the throttle is not blocked: the process that follows the run releases it.
    held = {number for number, given in run.journal_state.submissions.items() if given.share == 0}
    known, found = dict[tuple[str, int], BlockingReason | None](), dict[BlockingReason, list[int]]()
    for row in run.statuses.rows_in({State.PENDING}):
        status = run.statuses[row]
        place = status.reason, status.submission
        if status.submission not in held and place not in known:
            known[place] = _blocking_reason(run, *place)
        if (blocker := known.get(place)) is not None:
            found.setdefault(blocker, []).append(row)
    return found


def _blocking_reason(run: Run, text: str, number: int) -> BlockingReason | None:
    """Return the reason for which tasks of a submission may never start; None if there is none."""
    blocker = run.engine.find_blocking_reason(text)
    if blocker and blocker.may_pass and (alone := _limit_exceeded_alone(run, number)):
        explanation = f"exceeds a limit without any other job: {alone}"
        return replace(blocker, explanation=explanation, advice="", may_pass=False)
    return blocker


def _note_on_blocked(run: Run, rows: Sequence[int], blocker: BlockingReason) -> Note:
    keys = key_ranges([run.table.keys[row] for row in rows])
    job = (run.array_task_of(run.statuses[rows[0]]) or "").partition("_")[0]
    modal = "may" if blocker.may_pass else "will"
    lines = [f"{keys}: {modal} not start ({blocker.slurm_reason}), it {blocker.explanation}."]
    if blocker.advice:
        lines.append(blocker.advice.format(job=job))
    if blocker.options_to_change or not blocker.advice:
        lines.append(_how_to_resubmit(run, rows, blocker.options_to_change))
    message, fields = "\n".join(lines), {"keys": keys, "reason": blocker.slurm_reason}
    if blocker.may_pass:
        return Note("may-not-start", message, fields)
    return Note("will-not-start", message, fields)


def _limit_exceeded_alone(run: Run, number: int) -> str:
    """Return the limit that one task of a submission exceeds; empty if none is known.

    Such a task is refused before it is submitted. It may have been submitted by hand, or the limit
    was lowered. This process asks the engine once.
    """
    submission = run.journal_state.submissions.get(number)
    if submission is None or not submission.intent.options:
        return ""
    request = submission.intent.options
    try:
        if request not in run.known_limits:
            run.known_limits[request] = run.engine.limits(request.verify())
    except SlurmsliceError:
        return ""
    return run.known_limits[request].impossible_reason


UNKNOWN_AFTER_S = 600.0
"""Seconds after a submission. By then each source that answers knows it, or has lost it."""


def _notes_on_unknown_slices(run: Run) -> list[Note]:
    """Return a note on slices that Slurm does not know although it answers, if there are any."""
    rows = run.statuses.rows_in(IN_FLIGHT_STATES)
    if not any(map(is_unknown_to_slurm, run.statuses.reasons(rows))):
        return []
    old = {
        n
        for n, s in run.journal_state.submissions.items()
        if run.clock() - s.intent.at >= UNKNOWN_AFTER_S
    }
    statuses = ((row, run.statuses[row]) for row in rows)
    lost = [
        row for row, one in statuses if one.submission in old and is_unknown_to_slurm(one.reason)
    ]
    if not lost:
        return []
    keys = key_ranges([run.table.keys[row] for row in lost])
    again = _how_to_resubmit(run, lost, "", to="If this persists:")
    message = f"{keys}: Slurm answers, but does not know these slices any more."
    return [Note("unknown-to-slurm", f"{message}\n{again}", {"keys": keys})]


def _how_to_resubmit(
    run: Run, rows: Sequence[int], options: str, *, to: str = "To change it:"
) -> str:
    """Return the two lines that cancel slices and resubmit them, perhaps with a new request."""
    name = quote(run.record.name)
    others = sum(n for state, n in run.statuses.state_counts().items() if not state.final) > len(
        rows
    )
    keys = f" -- {quote(run.table.keys[rows[0]])} …" if others else ""
    return (
        f"{to} slurmslice cancel {name}{keys}\n"
        f"{'then:':{len(to)}} slurmslice resubmit {name} --state CANCELLED {options}".rstrip()
    )
