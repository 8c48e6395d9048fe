"""The part of the due repairs that the budget of a run allows."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from slurmslice.errors import BadInputError
from slurmslice.plan.plan import Choice
from slurmslice.plan.request_changes import previous_request
from slurmslice.policy.budget import NO_COST, Cost, budget_limit
from slurmslice.run.run import Run
from slurmslice.sbatch.resource_request import NO_REQUEST, ResourceRequest

_UNKNOWN = "its time limit is not known, so its cost is not known (--budget)"

DefaultTime = Callable[[ResourceRequest], int | None]
"""A function that returns the time limit of a request without one, seconds; None if not known."""


class RepairBudget:
    """The budget of a run's automatic attempts, and what they have used.

    An attempt that has ended is charged its use: CPUs × duration. One in flight is charged its time
    limit. All attempts since a person submitted the slice are charged, but not the person's own.

    Args:
        run: the run.
        script: the options of its script.
        default_time: the time limit of a request without one.
    """

    def __init__(self, run: Run, script: ResourceRequest, default_time: DefaultTime) -> None:
        self._run, self._script, self._default_time = run, script, default_time
        self._costs: dict[object, Cost | None] = {}

    def divide(self, due: Sequence[Choice]) -> tuple[list[Choice], list[tuple[Choice, str]]]:
        """Divide repairs into those that fit into the budget, and the others with a reason."""
        limit, used = self.limit(), self.used()
        fit, left = list[Choice](), list[tuple[Choice, str]]()
        for choice in due:
            rows: dict[str, list[int]] = {}
            for row in choice.rows:
                cost = self._next(row, choice.changes)
                if cost is None:
                    reason = _UNKNOWN
                elif (used + cost).within(limit):
                    used, reason = used + cost, ""
                else:
                    reason = f"it would exceed the budget of {limit}"
                rows.setdefault(reason, []).append(row)
            for reason, some in rows.items():
                part = replace(choice, rows=tuple(some))
                if reason:
                    left.append((part, reason))
                else:
                    fit.append(part)
        return fit, left

    def limit(self) -> Cost:
        """Return what the automatic attempts may use."""
        return budget_limit(self._run.budget, self._first_attempts())

    def used(self) -> Cost:
        """Return the cost of all automatic attempts so far."""
        return sum(self._charges(), NO_COST)

    def _charges(self) -> Iterator[Cost]:
        run, state = self._run, self._run.journal_state
        for row, (before, _) in state.before_repairs.items():
            number = state.holder[row]
            if number <= before:
                continue
            request = self._request(state.submissions[number].intent.changes)
            status = run.statuses.seen(row)
            if status.state.final and status.submission == number:
                yield Cost.of(request, status.elapsed_s or 0)
            else:
                yield self._cost(request) or NO_COST
        for row, number, seconds in run.statuses.past_durations():
            if row in state.before_repairs and number > state.before_repairs[row][0]:
                request = self._request(state.submissions[number].intent.changes)
                yield Cost.of(request, seconds)

    def _first_attempts(self) -> Cost:
        run = self._run
        if not run.record.per_slice:
            one = self._cost(self._request(run.initial_request(0)))
            return one.times(len(run.table)) if one else NO_COST
        rows = range(len(run.table))
        costs = (self._cost(self._request(run.initial_request(row))) for row in rows)
        return sum((cost for cost in costs if cost), NO_COST)

    def _next(self, row: int, changes: Mapping[str, str]) -> Cost | None:
        request = self._request(self._run.request_of(row))
        with contextlib.suppress(BadInputError):  # the plan tells what cannot be changed
            request = request.with_changes(changes)
        return self._cost(request)

    def _request(self, kept: ResourceRequest) -> ResourceRequest:
        try:
            return previous_request(self._run, self._script, kept)
        except BadInputError:  # a number that cannot be read: the submission will say so
            return NO_REQUEST

    def _cost(self, request: ResourceRequest) -> Cost | None:
        """Return the most that one attempt with this request may use; None if not known."""
        if request not in self._costs:
            seconds = request.time_s or self._default_time(request)
            self._costs[request] = Cost.of(request, seconds) if seconds else None
        return self._costs[request]
