"""Submit and resubmit: choose slices, and do what a plan says: queue them, submit what fits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import replace

from slurmslice.errors import BadInput
from slurmslice.journal import Queued
from slurmslice.plan import may_resubmit
from slurmslice.ranges import compress
from slurmslice.run import Run
from slurmslice.states import FAILURES, State
from slurmslice.submission import read_script
from slurmslice.submission_plan import Choice, Plan, make_plan
from slurmslice.verbs.poll import look_again
from slurmslice.verbs.settle import settle_locked, wait_out_doubts
from slurmslice.verbs.submit_queued import SubmitOutcome, submit_queued

Choose = Callable[[Run], Sequence[int]]
"""Picks rows by their states."""


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
        code="slice-not-waiting",
        key=key,
        state=str(state),
    )


def failed(states: frozenset[State] | None, rows: Sequence[int] | None) -> Choose:
    """The slices that failed, or that are in one of these states; among these rows if given."""
    chosen = {state for state in states or FAILURES if may_resubmit(state)}

    def choose(run: Run) -> Sequence[int]:
        picked = run.standings.rows_in(chosen)
        return picked if rows is None else sorted(set(picked) & set(rows))

    return choose


def look_before(run: Run, choose: Choose, verb: str) -> None:
    """Find out which of the chosen slices Slurm runs again, so that a plan leaves them out.

    Raises:
        NoAnswer: it could not be asked.
    """
    with run.place.lock(verb):
        run.reload()
        look_again(run, choose(run))


def submit(run: Run, choose: Choose, changes: Mapping[str, str], verb: str) -> SubmitOutcome:
    """Plan to submit the chosen slices, and do it.

    Raises:
        BadInput, NoAnswer: as ``make_plan`` and ``execute``.
    """
    wait_out_doubts(run)
    return execute(run, make_plan(run, Choice(choose(run), changes)), verb)


def execute(run: Run, plan: Plan, verb: str) -> SubmitOutcome:
    """Queue the slices of a plan, and submit what fits now.

    A doubt about an earlier submission is waited out first, without the lock. A slice that is no
    longer as it was when the plan was made is left out, and the result says so.

    Raises:
        BadInput: slices of the plan can never run, or the script was edited since it was made.
        NoAnswer: whether Slurm runs ended slices again could not be asked.
    """
    plan.check()
    wait_out_doubts(run)
    left_out: list[int] = []
    with run.place.lock(verb):
        run.reload()
        settle_locked(run)
        run.take_back()
        if read_script(run).sha256 != plan.script.sha256:
            raise BadInput(
                f"{run.place.script} was edited at this moment; nothing was submitted.",
                "The same line again submits it as it is now.",
                code="script-changed",
                path=str(run.place.script),
            )
        look_again(run, plan.rows)
        for planned in plan.requests:
            rows = planned.unchanged(run)
            left_out += set(planned.rows).difference(rows)
            if rows:
                run.decide(Queued(str(compress(rows)), planned.request, run.clock()))
    return replace(submit_queued(run, verb), queued=True, left_out=tuple(sorted(left_out)))
