"""Submit and resubmit: what is wanted is queued, and what fits is fed to the engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import replace

from slurmslice.command import quote
from slurmslice.directives import rivals
from slurmslice.errors import BadInput, NoAnswer
from slurmslice.journal import Queued
from slurmslice.next_submission import SubmissionBounds, next_submissions
from slurmslice.packing import task_request
from slurmslice.plan import may_resubmit
from slurmslice.ranges import compress
from slurmslice.request_changes import LoweredRequest, lowered_requests, next_requests
from slurmslice.resources import ResourceRequest
from slurmslice.run import Run
from slurmslice.states import FAILURES, State
from slurmslice.submission import (
    PlannedSubmission,
    check_script,
    check_table,
    rows_of_index,
    script_array,
    script_request,
    throttle,
    untouched,
)
from slurmslice.verbs.feed import Fed, feed
from slurmslice.verbs.poll import look_again
from slurmslice.verbs.settle import settle_locked, wait_out_doubts

Choose = Callable[[Run], Sequence[int]]
"""Picks rows by the standings, once the lock is held and doubts are settled."""


def waiting(only: Sequence[int] | int | None) -> Choose:
    """The slices that wait: all, the first so many, or those among these rows."""

    def choose(run: Run) -> Sequence[int]:
        rows = run.standings.rows_in({State.WAITING})
        if only is None:
            return rows
        if isinstance(only, int):
            return rows[:only]
        _refuse_others(run, set(only) - set(rows))
        return sorted(only)

    return choose


def _refuse_others(run: Run, rows: Set[int]) -> None:
    if not rows:
        return
    first = min(rows)
    key, state = run.table.keys[first], run.standings.state(first)
    raise BadInput(
        f"Slice {key!r} is {state}, not WAITING.",
        "`slurmslice resubmit` puts slices in again that have ended.",
    )


def failed(states: frozenset[State] | None, rows: Sequence[int] | None) -> Choose:
    """The slices that failed, or that are in one of these states; among these rows if given."""
    chosen = {state for state in states or FAILURES if may_resubmit(state)}

    def choose(run: Run) -> Sequence[int]:
        picked = run.standings.rows_in(chosen)
        return picked if rows is None else sorted(set(picked) & set(rows))

    return choose


def submit(run: Run, choose: Choose, changes: Mapping[str, str], verb: str) -> Fed:
    """Queue the chosen slices, and feed what fits now.

    A doubt about an earlier submission is waited out first, without the lock.

    Raises:
        BadInput: the request cannot be understood, or can never be honoured.
        NoAnswer: whether Slurm runs ended slices again could not be asked.
    """
    wait_out_doubts(run)
    with run.place.lock(verb):
        run.reload()
        settle_locked(run)
        run.take_back()
        look_again(run, choose(run))
        for wanted, rows in _wished(run, choose(run), changes).items():
            run.decide(Queued(str(compress(rows)), wanted, run.clock()))
    return replace(feed(run, verb), queued=True)


def check_possible(run: Run, choose: Choose, changes: Mapping[str, str]) -> None:
    """Refuse to submit what could never run, which would wait for ever; asks the engine's limits.

    Raises:
        BadInput: no task of these slices can ever run; or as ``submit``.
    """
    script = script_request(run)
    for wanted, rows in _wished(run, choose(run), changes).items():
        asked = script.overridden_by(task_request(wanted, run.record.packing, len(rows)))
        try:
            limits = run.engine.limits(asked.verify())
        except NoAnswer:
            return  # who cannot be asked refuses nothing
        if limits.never:
            by_hand = f"; by hand Slurm decides: sbatch {quote(str(run.place.script))}"
            raise BadInput(
                f"Nothing was submitted: slice {run.table.keys[rows[0]]!r} could never run: "
                f"{limits.never}.",
                "`slurmslice doctor` shows what there is" + (by_hand if untouched(run) else "."),
            )


def lowered(
    run: Run, choose: Choose, changes: Mapping[str, str]
) -> dict[LoweredRequest, list[int]]:
    """The chosen rows that would be submitted with less memory or time than they asked for before.

    Raises:
        BadInput: as ``submit``.
    """
    if {"mem", "time", *rivals("mem")}.isdisjoint(changes):
        return {}
    return lowered_requests(run, script_request(run), _wished(run, choose(run), changes))


def rehearse(run: Run, choose: Choose, verb: str) -> tuple[str, ...]:
    """Look, as ``submit`` does, for what would be in its way; submits nothing.

    Returns:
        what would keep it waiting, a line each.

    Raises:
        NoAnswer: whether Slurm runs ended slices again could not be asked.
    """
    with run.place.lock(verb):
        run.reload()
        look_again(run, choose(run))
    doubts = ", ".join(f"{submission.number:03d}" for submission in run.ledger.in_doubt())
    notes = (
        [f"First it is to be found out whether submission {doubts} was taken."] if doubts else []
    )
    if run.ledger.held:
        notes.append(f"The rest is {run.ledger.held}: it goes in with --no-breaker.")
    return tuple(notes)


def preview(run: Run, choose: Choose, changes: Mapping[str, str]) -> Iterator[PlannedSubmission]:
    """What ``submit`` would send if there were room for all of it; nothing is made."""
    script = script_request(run)
    queue = dict(run.ledger.queue)
    for wanted, rows in _wished(run, choose(run), changes).items():
        queue.update(dict.fromkeys(rows, wanted))
    try:
        intake = run.engine.intake(script.verify())
        most = min(intake.max_array_size, intake.per_array)
    except NoAnswer:
        most = len(script_array(script))
    for planned in next_submissions(run, queue, SubmissionBounds(most, throttle(run, script))):
        check_table(run, planned.number)
        yield planned


def _wished(
    run: Run, rows: Sequence[int], changes: Mapping[str, str]
) -> dict[ResourceRequest, list[int]]:
    """The rows that are to be queued by what they ask for; those that are, just so, left out."""
    script = script_request(run)
    if rows:
        check_script(run)
    groups: dict[ResourceRequest, list[int]] = {}
    chosen = _in_the_script(run, script, rows)
    for row, wanted in next_requests(run, script, chosen, changes):
        if run.ledger.queue.get(row) != wanted:
            groups.setdefault(wanted, []).append(row)
    return groups


def _in_the_script(run: Run, script: ResourceRequest, rows: Sequence[int]) -> Sequence[int]:
    """The rows that a hand-edited ``#SBATCH --array`` lets into the first submission.

    Raises:
        BadInput: none of them.
    """
    if not (rows and untouched(run)):
        return rows
    array = script_array(script)
    named = {row for index in array for row in rows_of_index(run, index)}
    if len(named) == len(run.first_rows):
        return rows
    chosen = [row for row in rows if row in named]
    if not chosen:
        raise BadInput(
            f"None of these slices is in the script's --array={array}.",
            f"Edit that line of {run.place.script}, or name others.",
        )
    return chosen
