"""Submit and resubmit: choose slices, plan their submission, queue them, submit what fits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import replace

from slurmslice.actions.requeued import find_requeued
from slurmslice.actions.resolve_doubts import resolve_doubts_locked, wait_for_doubts
from slurmslice.actions.same_environment import check_environment
from slurmslice.actions.submit_queued import SubmitOutcome, submit_queued
from slurmslice.errors import BadInputError
from slurmslice.plan.batches import may_resubmit
from slurmslice.plan.plan import Choice, Plan, make_plan
from slurmslice.plan.run_script import read_script
from slurmslice.plan.same_code import check_same_code
from slurmslice.run.journal import Queued
from slurmslice.run.run import Run
from slurmslice.sbatch.array_expression import compress_indices
from slurmslice.status.states import FAILED_STATES, State

ChooseRows = Callable[[Run], Sequence[int]]
"""A function that chooses rows of a run."""


def choose_waiting(only: Sequence[int] | int | None) -> ChooseRows:
    """Choose waiting slices: all (None), the first N (a number), or these rows."""

    def choose(run: Run) -> Sequence[int]:
        rows = run.statuses.rows_in({State.WAITING})
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
    key, state = run.table.keys[first], run.statuses.state(first)
    raise BadInputError(
        f"Slice {key!r} is {state}, not WAITING.",
        "To submit slices again that have ended: slurmslice resubmit",
        code="slice-not-waiting",
        key=key,
        state=str(state),
    )


def choose_failed(states: frozenset[State] | None, rows: Sequence[int] | None) -> ChooseRows:
    """Choose failed slices, or slices in these states; only among these rows if given.

    A slice with an accepted failure is chosen only if it is among given rows.
    """
    chosen = {state for state in states or FAILED_STATES if may_resubmit(state)}

    def choose(run: Run) -> Sequence[int]:
        picked = set(run.statuses.rows_in(chosen))
        return sorted(picked.difference(run.accepted_rows) if rows is None else picked & set(rows))

    return choose


def find_requeued_before(run: Run, choose: ChooseRows, verb: str) -> None:
    """Find the chosen slices that Slurm runs again, so that a plan leaves them out.

    Raises:
        NoAnswerError: the engine did not answer.
    """
    with run.directory.lock(verb):
        run.reload()
        find_requeued(run, choose(run))


def submit(run: Run, choose: ChooseRows, changes: Mapping[str, str], verb: str) -> SubmitOutcome:
    """Plan the submission of the chosen slices, and execute the plan.

    Raises:
        BadInputError, NoAnswerError: as ``make_plan`` and ``execute_plan``.
    """
    wait_for_doubts(run)
    return execute_plan(run, make_plan(run, Choice(choose(run), changes)), verb)


def settle_doubts(run: Run) -> None:
    """Wait until no submission is in doubt. A dry run does not wait: its plans name the doubts.

    Raises:
        NoAnswerError: as ``wait_for_doubts``.
    """
    if not run.directory.read_only:
        wait_for_doubts(run)


def execute_plan(run: Run, plan: Plan, verb: str) -> SubmitOutcome:
    """Queue the slices of a plan, and submit what fits now.

    Raises:
        BadInputError, NoAnswerError: as ``queue_plan``.
    """
    left_out_rows = queue_plan(run, plan, verb)
    return replace(submit_queued(run, verb), queued=True, left_out_rows=left_out_rows)


def queue_plan(run: Run, plan: Plan, verb: str) -> tuple[int, ...]:
    """Queue the slices of a plan; return those that are left out.

    Doubts about earlier submissions are resolved first, without the lock. A slice that has
    changed after the plan was made is left out. If the run is only read, its queue changes in
    this process alone.

    Raises:
        BadInputError: slices of the plan can never run, or the script was edited after the plan.
        NoAnswerError: the engine did not say if it runs ended slices again.
    """
    plan.raise_refusal()
    settle_doubts(run)
    left_out_rows: list[int] = []
    with run.directory.lock(verb):
        run.reload()
        resolve_doubts_locked(run)
        run.record_returned_rows()
        if read_script(run).sha256 != plan.script.sha256:
            raise BadInputError(
                f"{run.directory.script} was edited just now; nothing was submitted.",
                "Run the same command again to submit the script as it is now.",
                code="script-changed",
                path=str(run.directory.script),
            )
        if plan.rows:
            check_environment(run, plan)
            check_same_code(run)
        find_requeued(run, plan.rows)
        for planned in plan.requests:
            rows = planned.unchanged(run)
            left_out_rows += set(planned.rows).difference(rows)
            if rows:
                queued = str(compress_indices(rows)), planned.request, run.clock()
                run.decide(Queued(*queued, planned.cause))
    return tuple(sorted(left_out_rows))
