"""The part of the due repairs that the budget of a run allows."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence

from slurmslice.errors import BadInputError
from slurmslice.plan.attempt_costs import AttemptCosts
from slurmslice.plan.plan import Choice, divide
from slurmslice.policy.budget import NO_COST, Cost, budget_limit
from slurmslice.run.run import Run

_UNKNOWN = "its time limit is not known, so its cost is not known (--budget)"


def divide_by_budget(
    run: Run, due: Sequence[Choice], costs: AttemptCosts
) -> tuple[list[Choice], list[tuple[Choice, str]]]:
    """Divide repairs into those that fit into the budget, and the others with a reason."""
    first = _first_attempts(run, costs)
    given = {run.budget: "--budget", run.site.budget: "the site's budget"}
    limits = [(budget_limit(text, first), f"{who} {text}") for text, who in given.items() if text]
    used = costs.repairs()

    def reason_to_leave(choice: Choice, row: int) -> str:
        nonlocal used
        cost = _next(run, costs, row, choice.changes)
        if cost is None:
            return _UNKNOWN
        for limit, which in limits:
            if not (used + cost).within(limit):
                return f"it would exceed the budget ({which})"
        used += cost
        return ""

    return divide(due, reason_to_leave)


def _first_attempts(run: Run, costs: AttemptCosts) -> Cost:
    """Return the most that the first attempts of all slices may cost."""
    if not run.record.per_slice:
        one = costs.of(costs.request(run.initial_request(0)))
        return one.times(len(run.table)) if one else NO_COST
    each = (costs.of(costs.request(run.initial_request(row))) for row in range(len(run.table)))
    return sum((cost for cost in each if cost), NO_COST)


def _next(run: Run, costs: AttemptCosts, row: int, changes: Mapping[str, str]) -> Cost | None:
    request = costs.request(run.request_of(row))
    with contextlib.suppress(BadInputError):  # the plan tells what cannot be changed
        request = request.with_changes(changes)
    return costs.of(request)
