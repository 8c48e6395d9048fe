"""The next step of a run, with its submissions, as ``--dry-run`` shows it (docs/adr/0030).

It is the step of ``follow_step`` on a run that is only read: its queue changes in memory only.
Only the calls of sbatch are left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from slurmslice.actions.canary import end_canary_if_done
from slurmslice.actions.follow import FollowOptions, drives_then, next_plans
from slurmslice.actions.submit import queue_plan
from slurmslice.actions.submit_queued import cannot_submit, next_bounds
from slurmslice.actions.throttle import allocate_throttle
from slurmslice.engines.protocol import QueueCapacity
from slurmslice.errors import NoAnswerError
from slurmslice.notes import Note
from slurmslice.plan.canary import rows_to_submit
from slurmslice.plan.next_submission import next_submission
from slurmslice.plan.plan import delay_notes
from slurmslice.plan.planned_submission import PlannedSubmission, check_task_table, is_unsubmitted
from slurmslice.plan.run_script import RunScript, read_script, script_array
from slurmslice.plan.then_phase import ThenPhase, then_phase
from slurmslice.run.run import Run


@dataclass(frozen=True, slots=True)
class ForeseenStep:
    """The submissions of the next step.

    Attributes:
        submissions: they fit now.
        waiting: the rows that would be queued and wait.
        wait_reason: the reason if some wait; else empty.
        notes: what delays the submissions, and decisions beside them.
        runs_then: the step after the run would be started.
    """

    submissions: tuple[PlannedSubmission, ...]
    waiting: tuple[int, ...]
    wait_reason: str
    notes: tuple[Note, ...]
    runs_then: bool = False


def foresee_step(run: Run, options: FollowOptions) -> ForeseenStep:
    """Queue what the next step would queue, and plan its submissions.

    Args:
        run: the run, which is only read. Its nodes and stop rules are judged (``follow.judge``).
        options: what the step does.

    Raises:
        BadInputError, NoAnswerError: as the step.
    """
    assert run.directory.read_only  # noqa: S101 - otherwise the queue would change
    notes = tuple(delay_notes(run))
    for plan in next_plans(run, options):
        queue_plan(run, plan, "run")
    run.record_returned_rows()
    wait_reason = cannot_submit(run)
    if wait_reason or not run.journal_state.queue:
        due = drives_then(run, options) and then_phase(run) is ThenPhase.DUE
        return ForeseenStep((), tuple(run.journal_state.queue), wait_reason, notes, due)
    notes += end_canary_if_done(run)
    planner = _Planner(run)
    submissions = tuple(planner)
    carried = {row for one in submissions for row in one.batch.rows}
    waiting = tuple(row for row in run.journal_state.queue if row not in carried)
    return ForeseenStep(submissions, waiting, planner.wait_reason, notes)


class _Planner:
    """The submissions of the queued slices that fit now, as ``submit_queued`` makes them."""

    def __init__(self, run: Run) -> None:
        self._run, self.wait_reason = run, ""

    def __iter__(self) -> Iterator[PlannedSubmission]:
        run, script = self._run, read_script(self._run)
        spare = allocate_throttle(run, script.request)
        left = dict(rows_to_submit(run, run.journal_state.queue))
        if len(left) < len(run.journal_state.queue):
            self.wait_reason = run.hold.reason or "until the canary is done"
        number, script_is_next = run.journal_state.next_number, is_unsubmitted(run)
        capacity, submitted = _capacity(run, script), 0
        while left:
            bounds, why = next_bounds(run, capacity, submitted, spare)
            if bounds is None:
                self.wait_reason = why
                return
            planned = next_submission(
                run, script, left, bounds, number=number, script_is_next=script_is_next
            )
            check_task_table(run, planned.number)
            for row in planned.batch.rows:
                del left[row]
            number, script_is_next = planned.number + 1, False
            tasks = len(planned.batch.array)
            submitted += tasks
            spare = None if spare is None else spare - min(spare, tasks)
            yield planned


def _capacity(run: Run, script: RunScript) -> QueueCapacity:
    """Return the room in the queue; without an answer, as if everything fitted."""
    try:
        return run.engine.queue_capacity(script.request.verify())
    except NoAnswerError:
        most = max(len(script_array(script.request)), len(run.table))
        return QueueCapacity(most, most)
