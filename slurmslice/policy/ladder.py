"""The next step of a slice that failed: a ladder for each cause, its limits, and its caps. Pure.

``docs/adr/0021`` gives the reasons for the defaults and for what counts as an attempt.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property

from slurmslice.policy.causes import CAUSES, counts, matching_words
from slurmslice.policy.continue_on import MOST_CONTINUES
from slurmslice.policy.repair_rules import RepairRule, Step, StepKind, parse_rules
from slurmslice.sbatch.options import MEMORY_OPTIONS
from slurmslice.sbatch.resource_request import ResourceRequest
from slurmslice.sbatch.units import (
    format_memory,
    format_time,
    is_factor,
    parse_memory,
    round_up_memory,
    scale_memory,
    scale_time,
)
from slurmslice.system.shell_quoting import quote

DEFAULT_ATTEMPTS = 4
"""``--max-attempts`` of a run with ``--retry`` or ``--on``."""

MOST_UNCOUNTED = 5
"""The most repairs of each cause that does not count as an attempt."""

MEMORY_CAP, TIME_CAP = 8, 4
"""Multiplied memory and time are at most so many times the first request."""

_PEAK_MARGIN = Fraction(13, 10)
_GIB = 1024
_AGAIN, _ELSEWHERE = (Step(StepKind.AGAIN),), (Step(StepKind.ELSEWHERE),)
_DEFAULTS = {
    "oom": (Step(StepKind.MORE_MEMORY),),
    "timeout": (Step(StepKind.CHANGE, (("time", "1.5x"),)),),
    "node": _ELSEWHERE,
    "preempted": _AGAIN,
    "boot": _AGAIN,
    "bad-node": _AGAIN,  # every submission excludes such nodes
}


@dataclass(frozen=True)
class RepairPolicy:
    """The recorded policy of a run: what follows each cause.

    Attributes:
        max_attempts: the most attempts of a slice that count; 1 repairs nothing.
        retry: the default ladders are on.
        on: the person's rules.
        causes: the person's named causes.
        budget: the budget of automatic attempts, as typed; empty for none.
        allow_changed: a slice is repaired also if its code has changed.
        continue_on: the causes after which a slice continues from its checkpoint, as checked.
        max_continues: the most continuations of a slice.
        attempts_of_site: the site allows no more attempts.
    """

    max_attempts: int = 1
    retry: bool = False
    on: tuple[str, ...] = ()
    causes: tuple[str, ...] = ()
    budget: str = ""
    allow_changed: bool = False
    continue_on: str = ""
    max_continues: int = MOST_CONTINUES
    attempts_of_site: bool = False

    @property
    def submits_again(self) -> bool:
        """True if the policy may submit a failed slice again."""
        return self.max_attempts > 1 or bool(self.continue_on)

    def within(self, most_attempts: int | None) -> RepairPolicy:
        """Return the policy with at most so many attempts, because the site allows no more."""
        if most_attempts is None or self.max_attempts <= most_attempts:
            return self
        return replace(self, max_attempts=most_attempts, attempts_of_site=True)

    @property
    def limit_reason(self) -> str:
        """The reason to leave a slice that had all its attempts."""
        if self.attempts_of_site:
            attempts = "1 attempt" if self.max_attempts == 1 else f"{self.max_attempts} attempts"
            return f"the site allows at most {attempts}"
        return f"--max-attempts {self.max_attempts} reached"

    @property
    def continues_reason(self) -> str:
        """The reason to leave a slice that had all its continuations."""
        return f"--max-continues {self.max_continues} reached"

    @property
    def repaired_causes(self) -> list[str]:
        """The causes with a ladder, as rules name them."""
        rules = (*self._rules, *self._defaults) if self.max_attempts > 1 else ()
        return list(dict.fromkeys(rule.cause for rule in rules))

    @property
    def typed_causes(self) -> frozenset[str]:
        """The causes of the person's rules."""
        return frozenset(rule.cause for rule in self._rules)

    def __str__(self) -> str:
        rules = [f"--on {quote(rule)}" for rule in self.on]
        words = ["--retry"] if self.retry else []
        more = [f"--budget {self.budget}"] if self.budget else []
        more += ["--allow-changed"] if self.allow_changed else []
        if self.continue_on:
            more += [
                f"--continue-on {quote(self.continue_on)} --max-continues {self.max_continues}"
            ]
        return " ".join([*words, *rules, *more, f"--max-attempts {self.max_attempts}"])

    def rule_for(self, cause: str) -> RepairRule | None:
        """Return the rule for a cause: the person's narrowest, else a default; None for none."""
        for word in matching_words(cause):
            found = [rule for rule in self._rules if rule.covers(word)]
            if found:
                return min(reversed(found), key=lambda rule: rule.width)
        return next((rule for rule in self._defaults if rule.cause == matching_words(cause)[-1]),
                    None)  # fmt: skip

    @cached_property
    def _rules(self) -> tuple[RepairRule, ...]:
        return parse_rules(self.on, self.causes)

    @cached_property
    def _defaults(self) -> tuple[RepairRule, ...]:
        """The default ladders; ``--max-attempts N`` alone tries every other cause again too.

        A slice that hung would probably hang again. Neither tries that.
        """
        if self.on and not self.retry:  # what failed by its node never uses up a slice's own steps
            return (RepairRule("bad-node", _DEFAULTS["bad-node"]),)
        others = () if self.retry else (cause for cause in CAUSES if cause != "hang")
        known = dict.fromkeys(others, _AGAIN) | _DEFAULTS
        return tuple(RepairRule(cause, steps) for cause, steps in known.items())


@dataclass(frozen=True, slots=True)
class Left:
    """The decision to leave a failed slice as it is.

    Attributes:
        reason: the reason, for a person.
    """

    reason: str


def attempts_used(earlier: Sequence[str]) -> int:
    """Count the repairs that used up an attempt, by their causes."""
    return sum(map(counts, earlier))


def next_step(
    policy: RepairPolicy, cause: str, earlier: Sequence[str], raised: int = 0
) -> Step | Left:
    """Return the next step of a slice that failed, or the decision to leave it.

    Args:
        policy: the policy of its run.
        cause: the cause of its newest failure.
        earlier: the causes that were repaired since a person submitted the slice.
        raised: the rungs for ``oom`` that its first request was ahead already.
    """
    if policy.attempts_of_site and policy.max_attempts == 1:
        return Left(policy.limit_reason)
    rule = policy.rule_for(cause) if policy.max_attempts > 1 else None
    if rule is None:
        return Left(f"no rule for {cause}")
    if counts(cause) and attempts_used(earlier) + 1 >= policy.max_attempts:
        return Left(policy.limit_reason)
    if earlier.count(cause) >= MOST_UNCOUNTED and not counts(cause):
        return Left(f"{cause} was repaired {MOST_UNCOUNTED} times")
    known = (*earlier, *["oom"] * raised)
    rung = sum(policy.rule_for(before) == rule for before in known)
    step = rule.steps[min(rung, len(rule.steps) - 1)]
    if step.kind is StepKind.LEAVE:
        return Left(f"left by the rule for {rule.cause}")
    if rung >= len(rule.steps) and not step.may_repeat:
        return Left(f"the last step for {rule.cause} did not help")
    return step


@dataclass(frozen=True, slots=True)
class Bounds:
    """Facts that bound the next request of a slice. None means not known.

    Attributes:
        first: the request of its first attempt.
        node_mib: the memory that the commonest node has for one slice, MiB.
        max_time_s: the longest time limit of a slice, seconds.
        peak_mib: the largest measured use of memory of slices that ended, MiB.
        node: the node that it failed on.
        site_mib: the most memory of a slice that the site allows, MiB.
        maintenance_s: the time for a slice until a maintenance takes all its nodes, seconds.
    """

    first: ResourceRequest
    node_mib: int | None = None
    max_time_s: int | None = None
    peak_mib: int | None = None
    node: str | None = None
    site_mib: int | None = None
    maintenance_s: int | None = None


def seconds_until(maintenance_at: float | None, now: float, rounds: int) -> int | None:
    """Return the time that each slice of a task has until a maintenance; None if none is planned.

    Args:
        maintenance_at: its begin, epoch seconds.
        now: epoch seconds.
        rounds: the number of slices of the task that run one after another.
    """
    return None if maintenance_at is None else max(0, int(maintenance_at - now) // rounds)


def request_changes(step: Step, had: ResourceRequest, bounds: Bounds) -> Mapping[str, str] | Left:
    """Return the changes of a request that a step makes, or the reason why it cannot.

    Args:
        step: the step; not ``leave``.
        had: the whole request of the last attempt.
        bounds: what bounds the next one.

    Raises:
        BadInputError: a number in the request cannot be read.
    """
    if step.kind is StepKind.AGAIN:
        return {}
    if step.kind is StepKind.ELSEWHERE:
        if bounds.node is None:
            return Left("no other node is known")
        excluded = [*filter(None, had.get("exclude", "").split(",")), bounds.node]
        return {"exclude": ",".join(dict.fromkeys(excluded))}
    changes = dict(step.changes) if step.kind is StepKind.CHANGE else {"mem": ""}
    for name, value in list(changes.items()):
        if not (step.kind is StepKind.MORE_MEMORY or is_factor(value)):
            continue
        grown = _longer(had, value, bounds) if name == "time" else _larger(had, value, bounds)
        if isinstance(grown, Left):
            return grown
        del changes[name]
        changes |= grown
    return changes


def _longer(had: ResourceRequest, factor: str, bounds: Bounds) -> Mapping[str, str] | Left:
    """Multiply the time limit, up to its cap."""
    if had.time_s is None:
        return Left("its time limit is not known")
    wanted = scale_time(had["time"], factor)
    seconds = ResourceRequest((("time", wanted),)).time_s or 0
    cap, why = min(_time_caps(bounds), default=(seconds, ""))
    if seconds <= cap:
        return {"time": wanted}
    if cap <= had.time_s:
        return Left(f"more time than {format_time(cap)} is not requested{why}")
    return {"time": format_time(cap)}


def _time_caps(bounds: Bounds) -> Iterator[tuple[int, str]]:
    """Yield each cap on the time limit, seconds, and the end of a reason to leave a slice."""
    if bounds.first.time_s:
        yield TIME_CAP * bounds.first.time_s, ""
    if bounds.max_time_s:
        yield bounds.max_time_s, ""
    if bounds.maintenance_s is not None:  # Slurm counts whole minutes
        yield max(0, bounds.maintenance_s // 60 * 60), ", because a maintenance begins then"


def _larger(had: ResourceRequest, factor: str, bounds: Bounds) -> Mapping[str, str] | Left:
    """Multiply the memory, up to its cap; an empty factor is the default one."""
    name, total = next((n for n in MEMORY_OPTIONS if n in had), None), had.mem_mib
    if name is None or not total:
        whole = had.whole_nodes_memory
        return Left("it has all memory of its node" if whole else "its memory is not known")
    value = parse_memory(had[name])
    share = total // value  # nodes, CPUs or GPUs
    wanted = scale_memory(had[name], factor) if factor else _more_memory(value, share, bounds)
    cap = _memory_cap(total, had.nodes, bounds)
    if cap is None or parse_memory(wanted) * share <= cap:
        return {name: wanted}
    if cap // share <= value:
        return Left(f"more memory than {format_memory(cap)} is not requested")
    return {name: format_memory(cap // share)}


def _memory_cap(total: int, nodes: int, bounds: Bounds) -> int | None:
    """Return the most memory of a slice, MiB; None if nothing bounds it."""
    caps = [MEMORY_CAP * bounds.first.mem_mib] if bounds.first.mem_mib else []
    # A request above the commonest node is meant for larger nodes.
    if bounds.node_mib and bounds.node_mib * nodes >= total:
        caps.append(bounds.node_mib * nodes)
    if bounds.site_mib:
        caps.append(bounds.site_mib)
    return min(caps, default=None)


def _more_memory(value: int, share: int, bounds: Bounds) -> str:
    """Return the default next amount: a multiple, and more than others needed."""
    total = value * share
    factor = Fraction(4 if total < _GIB else 2 if total <= 64 * _GIB else "1.5")
    wanted = value * factor
    if bounds.peak_mib:
        wanted = max(wanted, _PEAK_MARGIN * bounds.peak_mib / share)
    return format_memory(round_up_memory(-(-wanted.numerator // wanted.denominator)))


MOST_FORESEEN = 20
"""The most steps of a ladder that are foreseen: a person may allow a million attempts."""


def foresee(
    policy: RepairPolicy, cause: str, bounds: Bounds
) -> Iterator[tuple[Step, Mapping[str, str]] | Left]:
    """Iterate over the steps of a slice that fails again and again by one cause, and their changes.

    The last item is the reason why it is left then. A longer ladder ends after ``MOST_FORESEEN``.

    Args:
        policy: the policy of the run.
        cause: the cause.
        bounds: what bounds its requests; ``first`` is its first one.

    Raises:
        BadInputError: as ``request_changes``, or the changes do not fit the request.
    """
    had, earlier = bounds.first, list[str]()
    for _ in range(MOST_FORESEEN):
        step = next_step(policy, cause, earlier)
        if isinstance(step, Left):
            yield step
            return
        changes = request_changes(step, had, bounds)
        if isinstance(changes, Left):
            yield changes
            return
        yield step, changes
        had = had.with_changes(changes)
        earlier.append(cause)
