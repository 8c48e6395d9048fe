"""The canary of a run: its other slices wait in the queue until these are done."""

from __future__ import annotations

from collections.abc import Mapping

from slurmslice.run.run import Run
from slurmslice.sbatch.resource_request import ResourceRequest
from slurmslice.status.states import State


def has_open_canary(run: Run) -> bool:
    """Tell if a run has a canary whose end is not recorded."""
    return run.waits_for_canary


def canary_is_done(run: Run) -> bool:
    """Tell if all slices of the canary are done, or their failure is accepted."""
    states = ((row, run.statuses.state(row)) for row in run.canary)
    return all(state is State.COMPLETED or run.acceptance_of(row) for row, state in states)


def rows_to_submit(run: Run, queue: Mapping[int, ResourceRequest]) -> Mapping[int, ResourceRequest]:
    """Return the part of a queue that may be submitted now: the canary, a probe, or all."""
    if probe := run.hold.probe:
        return {row: queue[row] for row in probe if row in queue}
    if not has_open_canary(run) or canary_is_done(run):
        return queue
    chosen = frozenset(run.canary)
    return {row: request for row, request in queue.items() if row in chosen}
