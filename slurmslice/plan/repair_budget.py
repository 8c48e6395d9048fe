"""The part of the due repairs that the budget of a run allows."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import replace

from slurmslice.errors import BadInputError
from slurmslice.plan.attempt_costs import AttemptCosts
from slurmslice.plan.plan import Choice
from slurmslice.policy.budget import NO_COST, Cost, budget_limit
from slurmslice.run.run import Run

_UNKNOWN = "its time limit is not known, so its cost is not known (--budget)"


def divide_by_budget(
    run: Run, due: Sequence[Choice], costs: AttemptCosts
) -> tuple[list[Choice], list[tuple[Choice, str]]]:
    """Divide repairs into those that fit into the budget, and the others with a reason."""
    limit = budget_limit(run.budget, _first_attempts(run, costs))
    used, fit, left = costs.repairs(), list[Choice](), list[tuple[Choice, str]]()
    for choice in due:
        rows: dict[str, list[int]] = {}
        for row in choice.rows:
            cost, reason = _next(run, costs, row, choice.changes), ""
            if cost is None:
                reason = _UNKNOWN
            elif not (used + cost).within(limit):
                reason = f"it would exceed the budget of {limit}"
            else:
                used += cost
            rows.setdefault(reason, []).append(row)
        parts = {reason: replace(choice, rows=tuple(some)) for reason, some in rows.items()}
        fit += [part for reason, part in parts.items() if not reason]
        left += [(part, reason) for reason, part in parts.items() if reason]
    return fit, left


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
