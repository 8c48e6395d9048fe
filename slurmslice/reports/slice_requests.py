"""The requests of slices, so that a report can name the limit that a slice exceeded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from slurmslice.errors import SlurmsliceError
from slurmslice.plan.request_changes import previous_request
from slurmslice.plan.run_script import script_request
from slurmslice.run.run import Run
from slurmslice.sbatch.resource_request import NO_REQUEST, ResourceRequest
from slurmslice.sbatch.units import format_memory, format_time
from slurmslice.status.states import State


@dataclass(frozen=True, slots=True)
class SliceRequest:
    """The request of one slice in its newest attempt; None if not known.

    Attributes:
        mem_bytes: memory on all its nodes, bytes.
        time_s: its time limit, seconds; also None if there is none.
        cpus: CPUs on all its nodes.
        options: its whole request.
    """

    mem_bytes: int | None = None
    time_s: int | None = None
    cpus: int | None = None
    options: ResourceRequest = NO_REQUEST

    def exceeded_limit(self, state: State) -> str:
        """Return the limit that a slice in this state exceeded; empty if none or not known."""
        if state is State.OUT_OF_MEMORY and self.mem_bytes:
            return format_memory(self.mem_bytes >> 20)
        return format_time(self.time_s) if state is State.TIMEOUT and self.time_s else ""


class SliceRequests:
    """The requests of a run's slices: the script's directives, and the differences of some slices.

    If the script cannot be read, only the engine's reports are known.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._known: dict[ResourceRequest, SliceRequest] = {}
        try:
            self._script = script_request(run)
        except SlurmsliceError:
            self._script = NO_REQUEST

    def of(self, row: int) -> SliceRequest:
        """Return the request of a slice; its memory is its part of the task's in accounting."""
        changes = self._run.request_of(row)
        if changes not in self._known:
            self._known[changes] = self._of(changes)
        asked = self._known[changes]
        of_task, packing = self._run.statuses[row].requested_mem_bytes, self._run.record.packing
        if of_task and (packing.pack == 1 or asked.mem_bytes is None):
            return replace(asked, mem_bytes=of_task // packing.at_once)
        return asked

    def _of(self, changes: ResourceRequest) -> SliceRequest:
        try:
            request = previous_request(self._run, self._script, changes).verify()
        except SlurmsliceError:
            return SliceRequest()
        mib = request.mem_mib
        return SliceRequest(mib << 20 if mib else None, request.time_s, request.cpus, request)

    def why(self, row: int) -> str:
        """Return the reason of a slice's state, with the limit that it exceeded.

        If a person accepts it, the person's reason comes first.
        """
        status, accepted = self._run.statuses[row], self._run.acceptance_of(row)
        why = _with(self._run.reason_of(row), [self.of(row).exceeded_limit(status.state)])
        return f"accepted: {accepted.reason}; {why}" if accepted else why

    def over(self, state: State, rows: Sequence[int], reasons: str) -> str:
        """Add to the reasons of slices in one state the limits that they exceeded."""
        if state not in {State.OUT_OF_MEMORY, State.TIMEOUT}:
            return reasons
        return _with(reasons, [self.of(row).exceeded_limit(state) for row in rows[:_MAX_ROWS_READ]])


_MAX_ROWS_READ = 1000
_SHOWN = 3


def _with(reason: str, amounts: Sequence[str]) -> str:
    shown = list(dict.fromkeys(filter(None, amounts)))
    if not shown or "asked for" in reason:  # the reason already has both figures
        return reason
    more = ", …" if len(shown) > _SHOWN else ""
    return f"{reason}; asked for {', '.join(shown[:_SHOWN])}{more}"
