"""The repairs of a run, as messages: the ladders in a preview, and the decisions in ``status``."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

from slurmslice.actions.site_rules import rules_in_force
from slurmslice.engines.protocol import Engine
from slurmslice.errors import BadInputError, NoAnswerError
from slurmslice.notes import Note
from slurmslice.plan.plan import Choice
from slurmslice.plan.repairs import (
    AttemptsLeft,
    effective_policy,
    find_repairs,
    policy_in_force,
    repair_policy,
)
from slurmslice.plan.same_code import CODE_CHANGED
from slurmslice.policy.budget import NO_COST, Cost, budget_limit
from slurmslice.policy.ladder import Bounds, Left, RepairPolicy, foresee, seconds_until
from slurmslice.policy.repair_forward import FEWEST_OVER, ONE_IN, next_larger
from slurmslice.policy.repair_rules import Step, StepKind
from slurmslice.reports.counts import key_ranges
from slurmslice.reports.estimate import RequestGroup
from slurmslice.run.continuations import CONTINUE, count_continuations, is_continuation
from slurmslice.run.run import Run
from slurmslice.run.site_rules import SiteRules
from slurmslice.sbatch.options import MEMORY_OPTIONS
from slurmslice.sbatch.resource_request import ResourceRequest
from slurmslice.sbatch.units import format_memory, format_time
from slurmslice.spec.run_spec import RunRecord
from slurmslice.system.shell_quoting import quote

_MOST_GROUPS = 5


def ladder_notes(record: RunRecord, groups: Sequence[RequestGroup], engine: Engine) -> list[Note]:
    """Return a note on each cause that the policy of a new run repairs, with its ladder.

    Groups of slices with different requests may have different ladders.
    """
    policy = effective_policy(
        record.max_attempts, retry=record.retry, on=record.on, causes=record.cause
    )
    repairs, site = policy.max_attempts > 1, rules_in_force()
    policy = policy.within(1 if site.fault else site.max_attempts)
    bounds = [_bounds(record, group, engine, site) for group in groups[:_MOST_GROUPS]]
    notes = []
    shown = policy.repaired_causes
    if engine.runs_in_process:
        shown = [
            cause for cause in shown if cause not in _OF_CLUSTERS or cause in policy.typed_causes
        ]
    for cause in shown:
        typical = cause.partition("-")[0] if cause.startswith("exit:") else cause
        ladders = dict.fromkeys(_ladder(policy, typical, one) for one in bounds)
        more = " …" if len(groups) > _MOST_GROUPS else ""
        message = f"{cause}: {' | '.join(ladders)}{more}"
        notes.append(Note("repair-ladder", message, {"cause": cause, "ladders": list(ladders)}))
    if "oom" in shown and any(_raises_others(policy, one) for one in bounds):
        message = (
            f"oom: if {FEWEST_OVER} slices or more, and one in {ONE_IN} of those that ended or ran "
            "longer, exceed their memory, the slices that wait request the next step too"
        )
        notes.append(Note("repair-forward", message, {"fewest": FEWEST_OVER, "one_in": ONE_IN}))
    notes += _budget_note(record.budget, groups, bounds[0].first.time_s)
    if notes and "failed" not in shown:
        notes.append(Note("others-left", "any other failure: left"))
    return [*notes, *(_site_note(site) if repairs else ())]


def _site_note(site: SiteRules) -> Iterator[Note]:
    """Yield a note on what the site allows repairs, if it says something about them."""
    given = {
        "at most {} attempts": site.max_attempts,
        "at most {} of memory": site.max_mem_mib and format_memory(site.max_mem_mib),
        "a budget of {}": site.budget,
    }
    rules = [text.format(value) for text, value in given.items() if value]
    message = site.fault or f"the site allows {', '.join(rules)}"
    if site.fault or rules:
        fields = {"max_attempts": site.max_attempts, "budget": site.budget, "fault": site.fault}
        yield Note("site-rules", message, fields)


def _raises_others(policy: RepairPolicy, bounds: Bounds) -> bool:
    """Tell if slices that wait may request more memory after others exceeded theirs."""
    try:
        return next_larger(policy, bounds, bounds.first) is not None
    except BadInputError:
        return False


def _budget_note(
    budget: str, groups: Sequence[RequestGroup], default_s: int | None
) -> Iterator[Note]:
    """Yield a note on the budget; ``default_s``: the limit of slices that request no time."""
    if not budget:
        return
    times = [(group, group.options.time_s or default_s) for group in groups]
    costs = (Cost.of(group.options, time).times(group.slices) for group, time in times if time)
    first = sum(costs, NO_COST)
    limit = budget_limit(budget, first)
    shown = str(limit if first.gpu_s else Cost(limit.cpu_s))
    if not all(time for _, time in times):
        shown = "nothing, as long as --time is unknown"
    fields = {"cpu_s": limit.cpu_s, "gpu_s": limit.gpu_s}
    yield Note("repair-budget", f"budget of repairs: {shown}", fields)


_OF_CLUSTERS = frozenset({"node", "preempted", "boot", "bad-node"})


def _bounds(record: RunRecord, group: RequestGroup, engine: Engine, site: SiteRules) -> Bounds:
    """Return what bounds the requests of a group, as far as the engine tells it now."""
    first, packing = group.options, record.packing
    of_site = site.max_mem_mib // packing.at_once if site.max_mem_mib else None
    try:
        limits = engine.limits(group.request.verify())
    except NoAnswerError:
        return Bounds(first, node=_NODE, site_mib=of_site)
    if "time" not in first and limits.default_time_s:
        first = first.overridden_by({"time": format_time(limits.default_time_s)})
    return Bounds(
        first,
        limits.node_mem_mib // packing.at_once if limits.node_mem_mib else None,
        limits.max_time_s // packing.rounds if limits.max_time_s else None,
        node=None if engine.runs_in_process else _NODE,
        site_mib=of_site,
        maintenance_s=seconds_until(limits.maintenance_at, time.time(), packing.rounds),
    )


_NODE = "NODE"


def _ladder(policy: RepairPolicy, cause: str, bounds: Bounds) -> str:
    """Describe a ladder: ``4G → 8G → 16G → 32G, then left``; of a very long one, the beginning."""
    shown: list[str] = []
    end = ""
    try:
        for step in foresee(policy, cause, bounds):
            if isinstance(step, Left):
                end = step.reason
            else:
                shown.append(_step_text(*step))
    except BadInputError as why:
        end = why.message
    if not shown:
        return f"left ({end})"
    counted = ((text, len(list(same))) for text, same in groupby(shown))
    texts = [text if number == 1 else f"{text} ×{number}" for text, number in counted]
    first = _first_value(policy, cause, bounds)
    more = f" … up to {policy.max_attempts} attempts" if not end else ""
    return f"{' → '.join([*first, *texts])}{more}, then left"


def _first_value(policy: RepairPolicy, cause: str, bounds: Bounds) -> list[str]:
    """Return the first value of the only option that the first step changes."""
    first = next(foresee(policy, cause, bounds))
    if isinstance(first, Left) or len(first[1]) != 1:
        return []
    (name,) = first[1]
    value = bounds.first.get(name)
    return [value] if value and name in {"time", *MEMORY_OPTIONS} else []


def _step_text(step: Step, changes: Mapping[str, str]) -> str:
    if step.kind in {StepKind.AGAIN, StepKind.ELSEWHERE}:
        return step.kind.value
    if len(changes) == 1 and not {"time", *MEMORY_OPTIONS}.isdisjoint(changes):
        return next(iter(changes.values()))
    return str(ResourceRequest.of(changes))


def note_on_repairs(run: Run, to_continue: str) -> Note | None:
    """Return a note on the repair of each failed slice; None if the policy repairs nothing.

    Args:
        run: the run.
        to_continue: the commands that go on with the run; empty if the command shows what it
            would do itself.
    """
    policy = policy_in_force(run)
    if not (repair_policy(run).submits_again and run.failed_rows):
        return None
    repairs, attempts = find_repairs(run), AttemptsLeft(run)
    by_number: dict[int, list[int]] = {}
    for row in repairs.rows:
        by_number.setdefault(attempts.of(row), []).append(row)
    due = [(_keys(run, one.rows), one) for one in repairs.due]
    left = [(_keys(run, one.rows), one) for one in repairs.left]
    lines = [f"Repair ({policy}):"]
    held = "not now, because the run is held: " if run.hold.reason else ""
    lines += (f"  {keys} ({_cause(one.cause)}): {held}{_again(one)}" for keys, one in due)
    lines += (f"  {keys} ({one.cause}): left, {one.reason}" for keys, one in left)
    if due and to_continue and not (run.hold.reason or run.has_steward):
        lines.append(f"To make the repairs: {to_continue}.")
    may_raise = not policy.attempts_of_site
    if may_raise and any(one.reason == policy.limit_reason for one in repairs.left):
        more = f"slurmslice run {quote(run.record.name)} --max-attempts {policy.max_attempts + 1}"
        lines.append(f"To allow more attempts: {more}")
    if any(one.reason.startswith(policy.continues_reason) for one in repairs.left):
        more = f"slurmslice run {quote(run.record.name)} --max-continues {2 * policy.max_continues}"
        lines.append(f"To allow more continuations: {more}")
    if any(one.reason.endswith(CODE_CHANGED) for one in repairs.left):
        more = f"slurmslice run {quote(run.record.name)} --allow-changed"
        lines.append(f"To repair them with the code as it is now: {more}")
    fields = {
        "max_attempts": policy.max_attempts,
        "left": {str(number): _keys(run, by_number[number]) for number in sorted(by_number)},
        "repairs": [
            {"cause": one.cause, "keys": keys, "changes": dict(one.changes)} for keys, one in due
        ],
        "not_repaired": [
            {"cause": one.cause, "keys": keys, "reason": one.reason} for keys, one in left
        ],
    }
    return Note("attempts-left", "\n".join(lines), fields)


def _keys(run: Run, rows: Sequence[int]) -> str:
    return key_ranges([run.table.keys[row] for row in rows])


def _cause(cause: str) -> str:
    return cause.removeprefix(CONTINUE)


def _again(choice: Choice) -> str:
    if is_continuation(choice.cause):
        return "continues from its checkpoint"
    return f"again with {ResourceRequest.of(choice.changes)}" if choice.changes else "again"


def note_on_continuations(run: Run) -> Note | None:
    """Return a note on the slices that continued from their checkpoints; None for none."""
    state = run.journal_state
    numbers = {
        row: count_continuations(state.repairs.of(row))
        for row in {**state.repairs.begun, **state.repairs.queued}
    }
    most = max(numbers.values(), default=0)
    if not most:
        return None
    rows = [row for row in sorted(numbers) if numbers[row]]
    limit = run.max_continues
    message = f"Continued from their checkpoints: {_keys(run, rows)} (at most {most} of {limit})."
    fields = {"keys": _keys(run, rows), "most": most, "max_continues": limit}
    return Note("slices-continued", message, fields)
