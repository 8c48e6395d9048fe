"""The repairs of a run: the failed slices that its policy submits again, as choices of a plan.

``docs/adr/0021`` gives the rules. The policy itself is pure (``slurmslice.policy.ladder``).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from slurmslice.engines.protocol import TaskLimits
from slurmslice.errors import BadInputError, NoAnswerError, SlurmsliceError
from slurmslice.plan.attempt_costs import AttemptCosts
from slurmslice.plan.continuations import reason_not_to_continue
from slurmslice.plan.failure_causes import RepairHistory, cause_of_row
from slurmslice.plan.plan import Choice
from slurmslice.plan.repair_budget import divide_by_budget
from slurmslice.plan.request_changes import filled_request
from slurmslice.plan.run_script import script_request
from slurmslice.plan.same_code import divide_by_code
from slurmslice.policy.causes import counts
from slurmslice.policy.continue_on import MOST_CONTINUES
from slurmslice.policy.ladder import (
    DEFAULT_ATTEMPTS,
    Bounds,
    Left,
    RepairPolicy,
    attempts_used,
    next_step,
    request_changes,
    seconds_until,
)
from slurmslice.policy.repair_rules import Step, StepKind
from slurmslice.run.continuations import CONTINUE, is_continuation
from slurmslice.run.run import Run
from slurmslice.sbatch.resource_request import NO_REQUEST, ResourceRequest
from slurmslice.sbatch.units import format_memory
from slurmslice.spec.packing import task_request
from slurmslice.status.states import FINAL_STATES, State


def effective_policy(
    max_attempts: int | None,
    *,
    retry: bool,
    on: tuple[str, ...],
    causes: tuple[str, ...] = (),
    budget: str = "",
    allow_changed: bool = False,
    continue_on: str = "",
    max_continues: int = MOST_CONTINUES,
) -> RepairPolicy:
    """Return a policy; without a number of attempts, the default of its rules."""
    attempts = max_attempts or (DEFAULT_ATTEMPTS if retry or on else 1)
    return RepairPolicy(
        attempts, retry, on, causes, budget, allow_changed, continue_on, max_continues
    )


def repair_policy(run: Run) -> RepairPolicy:
    """Return the recorded policy of a run."""
    return effective_policy(
        run.recorded_attempts,
        retry=run.retry,
        on=run.on,
        causes=run.record.cause,
        budget=run.budget,
        allow_changed=run.allow_changed,
        continue_on=run.continue_on,
        max_continues=run.max_continues,
    )


def policy_in_force(run: Run) -> RepairPolicy:
    """Return the recorded policy of a run, within the rules of its site."""
    return repair_policy(run).within(run.site.max_attempts)


@dataclass(frozen=True, slots=True)
class LeftSlices:
    """Failed slices that the policy leaves.

    Attributes:
        cause: the cause of their failure.
        reason: the reason to leave them, for a person.
        rows: their rows.
    """

    cause: str
    reason: str
    rows: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Repairs:
    """The decisions of the policy on all failed slices.

    Attributes:
        due: the slices to submit again, with the changes and the cause of each choice.
        left: the others.
    """

    due: tuple[Choice, ...] = ()
    left: tuple[LeftSlices, ...] = ()

    @property
    def rows(self) -> list[int]:
        """List the rows to submit again, in order."""
        return sorted(row for choice in self.due for row in choice.rows)


def find_repairs(run: Run) -> Repairs:
    """Decide on each failed slice of a run by its recorded policy.

    A slice that a person cancelled may have failed before the cancel reached it: it is left.
    An accepted failure needs no decision.
    If the engine or the script cannot be read, the repair is decided without its limits.
    """
    if not repair_policy(run).submits_again:
        return Repairs()
    policy = policy_in_force(run)
    held_by = run.journal_state.submission_of
    failed = run.failed_rows
    if not failed:
        return Repairs()
    decide = Decisions(run, policy)
    due: dict[tuple[str, tuple[tuple[str, str], ...]], list[int]] = {}
    left: dict[tuple[str, str], list[int]] = {}
    for row in failed:
        cause, decision = decide(row)
        if run.site.fault:
            decision = Left(run.site.fault)
        if (held := held_by(row)) and row in held.cancelled:
            decision = Left("a person cancelled it")
        if isinstance(decision, Left):
            left.setdefault((cause, decision.reason), []).append(row)
        else:
            due.setdefault((cause, tuple(decision.items())), []).append(row)
    choices = [Choice(tuple(rows), dict(changes), why) for (why, changes), rows in due.items()]
    others = list[tuple[Choice, str]]()
    if choices and not (policy.allow_changed or run.same_code):  # --same-code refuses instead
        choices, others = divide_by_code(run, choices)
    if (policy.budget or run.site.budget) and choices:
        costs = AttemptCosts(run, decide.default_time)
        going_on = [choice for choice in choices if is_continuation(choice.cause)]
        repairs = [choice for choice in choices if not is_continuation(choice.cause)]
        choices, beyond = divide_by_budget(run, repairs, costs)
        choices = [*going_on, *choices]
        others += beyond
    for choice, reason in others:
        left.setdefault((choice.cause, reason), []).extend(choice.rows)
    return Repairs(
        tuple(choices), tuple(LeftSlices(*which, tuple(rows)) for which, rows in left.items())
    )


def rows_to_repair(run: Run) -> list[int]:
    """Return the rows of failed slices that the recorded policy submits again."""
    return find_repairs(run).rows


def continued_attempts(run: Run) -> set[tuple[int, int]]:
    """Return row and submission of each failed attempt after which its slice continues.

    They are no failures: the slice got further.
    """
    if not run.record.checkpoint:
        return set()
    going_on = (one for one in find_repairs(run).due if is_continuation(one.cause))
    due = {(row, run.statuses.seen(row).submission) for one in going_on for row in one.rows}
    return due | RepairHistory(run).continued()


class AttemptsLeft:
    """The further attempts of slices by the recorded policy of their run."""

    def __init__(self, run: Run) -> None:
        self._run, self._policy, self._history = run, policy_in_force(run), RepairHistory(run)
        due = find_repairs(run).due
        self._repaired = frozenset(row for one in due for row in one.rows)
        self._continued = frozenset(
            row for one in due if is_continuation(one.cause) for row in one.rows
        )

    def of(self, row: int) -> int:
        """Return the attempts that a slice still gets if each of them counts and fails; from 0."""
        state, most = self._run.statuses.state(row), self._policy.max_attempts
        left_alone = state.failed and row not in self._repaired
        if left_alone or state in {State.COMPLETED, State.CANCELLED}:
            return 0
        used = attempts_used(self._history.of(row))
        began = self._run.journal_state.attempts[row] > 0
        uncounted = row in self._continued or not counts(cause_of_row(self._run, row))
        if state.failed and uncounted:
            began = False
        return max(0, most - used - began)


class Decisions:
    """The decision on each slice; equal slices share one.

    Args:
        run: the run.
        policy: its policy.
    """

    def __init__(self, run: Run, policy: RepairPolicy) -> None:
        self._run, self.policy, self.script = run, policy, NO_REQUEST
        self._history = RepairHistory(run)
        with contextlib.suppress(SlurmsliceError):  # who submits finds the script damaged
            self.script = script_request(run)
        self._steps: dict[tuple[str, tuple[str, ...], int], Step | Left] = {}
        self._known: dict[object, Mapping[str, str] | Left] = {}

    def __call__(self, row: int) -> tuple[str, Mapping[str, str] | Left]:
        """Return the cause of a failure, and the changes of the request or the reason to leave."""
        run, seen = self._run, self._run.statuses.seen(row)
        cause, earlier = cause_of_row(run, row), self._history.of(row)
        raised = run.journal_state.raised.of_row.get(row)
        history = cause, earlier, raised.rung if raised else 0
        if history not in self._steps:
            self._steps[history] = next_step(self.policy, *history)
        step = self._steps[history]
        why_not = reason_not_to_continue(run, self.policy, row, cause)
        if why_not is not None and not why_not:
            return f"{CONTINUE}{cause}", {}
        if isinstance(step, Left):
            return cause, Left(f"{why_not}; {step.reason}") if why_not else step
        first = run.journal_state.repairs.before.get(row)
        memory = seen.requested_mem_bytes
        first_memory = run.statuses.requested_before(row, first[0]) if first else memory
        initial = run.initial_request(row)
        node = seen.node if step.kind is StepKind.ELSEWHERE else None
        kept = run.request_of(row)
        requests = kept, kept
        if first is not None:
            requests = kept, initial if first[1] is None else first[1]
        if raised is not None:
            requests, first_memory = (kept, initial), raised.given_bytes
        alike = step, requests, memory, first_memory, initial, node
        if alike not in self._known:
            self._known[alike] = self._changes(
                step, requests, (memory, first_memory), initial, node
            )
        return cause, self._known[alike]

    def _changes(
        self,
        step: Step,
        requests: tuple[ResourceRequest, ResourceRequest],
        memory: tuple[int | None, int | None],
        initial: ResourceRequest,
        node: str | None,
    ) -> Mapping[str, str] | Left:
        """Return the changes of one request, or the reason why no larger one is possible."""
        run = self._run
        multiplied = dict(step.changes) or {"mem": "2x"}
        try:
            had, first = (
                filled_request(run, self.script, kept, given, multiplied)
                for kept, given in zip(requests, memory, strict=True)
            )
            bounds = replace(
                self.bounds(first, had),
                peak_mib=self._peaks(initial) if step.kind is StepKind.MORE_MEMORY else None,
                node=None if run.engine.runs_in_process else node,
            )
            changes = request_changes(step, had, bounds)
            if isinstance(changes, Left):
                return changes
            wanted = had.with_changes(changes)
            if bounds.site_mib and (wanted.mem_mib or 0) > bounds.site_mib:
                most = format_memory(bounds.site_mib)
                return Left(f"the site allows no repair with more memory than {most}")
            if not changes:
                return changes
            reason = self.impossible_reason(wanted)
        except NoAnswerError:
            return dict(step.changes)  # the plan asks again
        except BadInputError as why:
            return Left(f"not possible: {why.message}")
        return Left(f"it could never run: {reason}") if reason else changes

    def bounds(self, first: ResourceRequest, had: ResourceRequest) -> Bounds:
        """Return what the engine's limits for a slice with a request bound.

        Raises:
            BadInputError: a number in the request cannot be read.
        """
        run, packing = self._run, self._run.record.packing
        of_site = run.site.max_mem_mib // packing.at_once if run.site.max_mem_mib else None
        limits = self._limits(had)
        if limits is None:
            return Bounds(first, site_mib=of_site)
        return Bounds(
            first,
            limits.node_mem_mib // packing.at_once if limits.node_mem_mib else None,
            limits.max_time_s // packing.rounds if limits.max_time_s else None,
            site_mib=of_site,
            maintenance_s=seconds_until(limits.maintenance_at, run.clock(), packing.rounds),
        )

    def impossible_reason(self, request: ResourceRequest) -> str:
        """Return the reason why a slice with a request could never run; empty if it could."""
        limits = self._limits(request)
        return limits.impossible_reason if limits else ""

    def _limits(self, request: ResourceRequest) -> TaskLimits | None:
        """Return the engine's limits for a task with this request of a slice; None if unknown."""
        run, packing = self._run, self._run.record.packing
        task = self.script.overridden_by(task_request(request, packing, 1)).verify()
        if task not in run.known_limits:
            try:
                run.known_limits[task] = run.engine.limits(task)
            except NoAnswerError:
                return None
        return run.known_limits[task]

    def default_time(self, request: ResourceRequest) -> int | None:
        """Return the time limit of a request without one, seconds; None if not known."""
        with contextlib.suppress(BadInputError):
            limits = self._limits(request)
            return limits.default_time_s if limits else None
        return None

    @cached_property
    def _peaks(self) -> Callable[[ResourceRequest], int | None]:
        """The largest measured peak, MiB, of ended slices with the same first request."""
        run, found = self._run, dict[ResourceRequest, int]()
        for row, peak in run.statuses.peaks(_ended_rows(run)):
            initial = run.initial_request(row)
            found[initial] = max(found.get(initial, 0), peak >> 20)
        return found.get


def _ended_rows(run: Run) -> Sequence[int]:
    return run.statuses.rows_in(FINAL_STATES)
