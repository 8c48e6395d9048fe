"""Repair forward: slices that wait get the memory that others turned out to need. Pure.

``docs/adr/0021`` gives the reasons.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from slurmslice.policy.budget import Cost
from slurmslice.policy.ladder import Bounds, Left, RepairPolicy, foresee
from slurmslice.sbatch.resource_request import ResourceRequest

FEWEST_OVER = 5
"""Fewer slices that exceeded their memory raise no request of others."""

ONE_IN = 5
"""At least one in so many slices must have exceeded the memory."""


@dataclass(frozen=True, slots=True)
class MemoryEvidence:
    """The slices that exceeded an amount of memory, among those that tell.

    Attributes:
        over: the slices that exceeded it.
        judged: those, the others that ended, and those that have run longer than the slowest of
            these took.
    """

    over: int
    judged: int

    @property
    def suffices(self) -> bool:
        """True if slices that wait should request more."""
        return self.over >= FEWEST_OVER and self.over * ONE_IN >= self.judged


def memory_evidence(over_s: Sequence[float], ended: int, ages_s: Iterable[float]) -> MemoryEvidence:
    """Count the slices that tell if an amount of memory is enough.

    Args:
        over_s: for each slice that exceeded it, the seconds that its attempt took.
        ended: the number of other slices that ended.
        ages_s: the seconds since the start of each other slice that runs.
    """
    slowest = max(over_s, default=0.0)
    outlived = sum(age > slowest for age in ages_s)
    return MemoryEvidence(len(over_s), len(over_s) + ended + outlived)


def next_larger(
    policy: RepairPolicy, bounds: Bounds, had: ResourceRequest
) -> tuple[int, ResourceRequest] | None:
    """Return the first rung of the ladder for ``oom`` with more memory, and its whole request.

    None if there is none, or if it needs more CPUs, GPUs or time: those cost a part of the budget.

    Args:
        policy: the policy of the run.
        bounds: what bounds the requests; ``first`` is the request of a first attempt.
        had: the whole request of the slices that wait: ``first``, or raised before.

    Raises:
        BadInputError: a number in a request cannot be read.
    """
    request, least = bounds.first, had.mem_mib or 0
    for rung, step in enumerate(foresee(policy, "oom", bounds), start=1):
        if isinstance(step, Left):
            return None
        request = request.with_changes(step[1])
        if (request.mem_mib or 0) > least:
            costs_more = not Cost.of(request, 1).within(Cost.of(had, 1))
            return None if costs_more or request.time_s != had.time_s else (rung, request)
    return None
