"""A plan: the slices to submit, and their requests. It is made once, then shown or executed.

A person or a policy makes ``Choice``s. ``make_plan`` reads the script once and fixes the rows,
their requests and the warnings. ``--dry-run`` shows the plan, and
``slurmslice.actions.submit.execute_plan`` executes it. Some facts may change in between: free
places in the queue, doubts, and slices that Slurm runs again. The execution checks them again under
the lock. So it may do less than the plan, but nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from slurmslice.errors import BadInputError, NoAnswerError
from slurmslice.notes import Note
from slurmslice.plan.canary import rows_to_submit
from slurmslice.plan.next_submission import SubmissionBounds, next_submissions
from slurmslice.plan.planned_submission import PlannedSubmission, check_task_table, is_unsubmitted
from slurmslice.plan.request_changes import LoweredRequest, lowered_requests, next_requests
from slurmslice.plan.run_script import (
    RunScript,
    check_script,
    read_script,
    script_array,
    script_rows_of_index,
    task_throttle,
)
from slurmslice.run.run import Run
from slurmslice.sbatch.options import MEMORY_OPTIONS
from slurmslice.sbatch.resource_request import NO_REQUEST, ResourceRequest
from slurmslice.spec.packing import task_request
from slurmslice.status.states import State
from slurmslice.system.shell_quoting import quote_words


@dataclass(frozen=True, slots=True)
class Choice:
    """Slices to submit, and the changes of their requests.

    Attributes:
        rows: their rows.
        changes: sbatch options, long names; ``2x`` multiplies the last value of a slice.
        cause: the cause of failure that the policy repairs; empty if a person chose the slices.
    """

    rows: Sequence[int]
    changes: Mapping[str, str] = NO_REQUEST
    cause: str = ""


def divide(
    choices: Sequence[Choice], reason_to_leave: Callable[[Choice, int], str]
) -> tuple[list[Choice], list[tuple[Choice, str]]]:
    """Divide choices into those that stay, and those that are left with a reason.

    Args:
        choices: the choices.
        reason_to_leave: returns the reason to leave a row; empty to keep it.
    """
    kept, left = list[Choice](), list[tuple[Choice, str]]()
    for choice in choices:
        parts: dict[str, list[int]] = {}
        for row in choice.rows:
            parts.setdefault(reason_to_leave(choice, row), []).append(row)
        for reason, rows in parts.items():
            part = replace(choice, rows=tuple(rows))
            if reason:
                left.append((part, reason))
            else:
                kept.append(part)
    return kept, left


@dataclass(frozen=True, slots=True)
class PlannedRequest:
    """Slices to queue with the same request.

    Attributes:
        request: their options that differ from the script's.
        rows: their rows.
        states: their states when the plan was made, pairwise.
        holders: the submissions that held them then, pairwise; 0 for none.
        cause: as in ``Choice``.
    """

    request: ResourceRequest
    rows: tuple[int, ...]
    states: tuple[State, ...]
    holders: tuple[int, ...]
    cause: str = ""

    def unchanged(self, run: Run) -> list[int]:
        """List the rows with the same state and submission as in the plan, or only returned."""
        state, holder = run.statuses.state, run.journal_state.holder
        return [
            row
            for row, before, held_by in zip(self.rows, self.states, self.holders, strict=True)
            if state(row) is before and holder[row] in {held_by, 0}
        ]


@dataclass(frozen=True, slots=True)
class ImpossibleRequest:
    """Slices of a plan that can never run with their request.

    Attributes:
        rows: their rows.
        error: the reason, with a hint.
    """

    rows: tuple[int, ...]
    error: BadInputError


@dataclass(frozen=True, slots=True)
class Plan:
    """The slices to submit. A plan never changes.

    Attributes:
        script: the script as it was read for the plan.
        requests: the slices to queue, by their requests, without the slices that are already
            queued with the same request.
        lowered: the rows that get less memory or time than before.
        refused: the slices that can never run (``refuse_impossible_requests``).
        notes: the reasons if something delays the submission.
    """

    script: RunScript
    requests: tuple[PlannedRequest, ...] = ()
    lowered: Mapping[LoweredRequest, Sequence[int]] = field(default_factory=dict)
    refused: tuple[ImpossibleRequest, ...] = ()
    notes: tuple[Note, ...] = ()

    @property
    def rows(self) -> list[int]:
        """List the rows to queue."""
        return [row for planned in self.requests for row in planned.rows]

    def raise_refusal(self) -> None:
        """Raise the first refusal, if there is one.

        Raises:
            BadInputError: slices of the plan can never run.
        """
        if self.refused:
            raise self.refused[0].error

    def submissions(self, run: Run) -> Iterator[PlannedSubmission]:
        """Plan the submissions as if all slices fitted into the queue, the queued slices first.

        Raises:
            BadInputError: the script cannot be understood.
            DamagedRunError: a task table was changed.
        """
        queue = dict(run.journal_state.queue)
        for planned in self.requests:
            queue.update(dict.fromkeys(planned.rows, planned.request))
        try:
            queue_capacity = run.engine.queue_capacity(self.script.request.verify())
            most = min(queue_capacity.max_array_size, queue_capacity.max_tasks_per_array)
        except NoAnswerError:
            most = len(script_array(self.script.request))
        bounds = SubmissionBounds(most, task_throttle(run, self.script.request))
        now = rows_to_submit(run, queue)
        for submission in next_submissions(run, self.script, now, bounds):
            check_task_table(run, submission.number)
            yield submission


def make_plan(run: Run, *choices: Choice) -> Plan:
    """Plan the submission of these slices; if one is chosen twice, the later choice counts.

    Raises:
        DamagedRunError: there is no script.
        BadInputError: the script or the changes cannot be understood.
    """
    script = read_script(run)
    wanted: dict[int, tuple[ResourceRequest, str]] = {}
    for choice in choices:
        if choice.rows:
            check_script(run, script)
        rows = _in_the_script(run, script, choice.rows)
        for row, request in next_requests(run, script.request, rows, choice.changes):
            wanted[row] = request, choice.cause
    groups: dict[tuple[ResourceRequest, str], list[int]] = {}
    for row, (request, cause) in wanted.items():
        if run.journal_state.queue.get(row) != request:
            groups.setdefault((request, cause), []).append(row)
    changed = {name for choice in choices if not choice.cause for name in choice.changes}
    lowered = {} if changed.isdisjoint({"time", *MEMORY_OPTIONS}) else groups
    return Plan(
        script,
        tuple(_planned(run, request, rows, cause) for (request, cause), rows in groups.items()),
        lowered_requests(run, script.request, {one: rows for (one, _), rows in lowered.items()}),
        notes=tuple(delay_notes(run)),
    )


def refuse_impossible_requests(run: Run, plan: Plan) -> Plan:
    """Return the plan with a refusal of each slice that could never run and would wait forever.

    It asks the engine for its limits once per request. If the engine does not answer, nothing is
    refused.

    Raises:
        BadInputError: the engine can never satisfy a request (GPUs on the local engine).
    """
    refused = []
    for planned in plan.requests:
        of_task = task_request(planned.request, run.record.packing, len(planned.rows))
        try:
            limits = run.engine.limits(plan.script.request.overridden_by(of_task).verify())
        except NoAnswerError:
            return plan
        if why := limits.impossible_reason:
            refused.append(ImpossibleRequest(planned.rows, _never_runs_error(run, planned, why)))
    return replace(plan, refused=tuple(refused))


def _never_runs_error(run: Run, planned: PlannedRequest, why: str) -> BadInputError:
    key = run.table.keys[planned.rows[0]]
    words = ("sbatch", *run.record.first_options.to_argv(), str(run.directory.script))
    by_hand = f" To submit anyway: {quote_words(words)}"
    return BadInputError(
        f"Nothing was submitted: slice {key!r} can never run: {why}.",
        "Run `slurmslice doctor` to see the limits." + (by_hand if is_unsubmitted(run) else ""),
        code="never-runs",
        key=key,
        reason=why,
    )


def _planned(run: Run, request: ResourceRequest, rows: Sequence[int], cause: str) -> PlannedRequest:
    states = tuple(run.statuses.state(row) for row in rows)
    holders = tuple(run.journal_state.holder[row] for row in rows)
    return PlannedRequest(request, tuple(rows), states, holders, cause)


def delay_notes(run: Run) -> Iterator[Note]:
    """Yield the reasons why submissions of a run are delayed."""
    if doubts := [submission.number for submission in run.journal_state.unconfirmed()]:
        which = ", ".join(f"{number:03d}" for number in doubts)
        message = f"It is not known yet if submission {which} was accepted: that is resolved first."
        yield Note("submission-in-doubt", message, {"submissions": doubts})
    if run.hold.reason:
        held = f"The rest is {run.hold.reason}. Release it with --max-failures none."
        yield Note("rest-held", held)


def _in_the_script(run: Run, script: RunScript, rows: Sequence[int]) -> Sequence[int]:
    """Leave out the rows that a hand-edited ``#SBATCH --array`` of the first submission lacks.

    Raises:
        BadInputError: no row is left.
    """
    if not (rows and is_unsubmitted(run)):
        return rows
    array = script_array(script.request)
    named = {row for index in array for row in script_rows_of_index(run, index)}
    if len(named) == len(run.first_rows):
        return rows
    chosen = [row for row in rows if row in named]
    if not chosen:
        raise BadInputError(
            f"None of these slices is in the script's --array={array}.",
            f"Edit that line of {run.directory.script}, or choose other slices.",
            code="not-in-array",
            array=str(array),
        )
    return chosen
