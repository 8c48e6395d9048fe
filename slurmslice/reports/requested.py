"""What slices asked for, so that who went over it is told over what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from slurmslice.errors import SlurmsliceError
from slurmslice.request_changes import previous_request
from slurmslice.resources import NO_REQUEST, ResourceRequest
from slurmslice.run import Run
from slurmslice.states import State
from slurmslice.submission import script_request
from slurmslice.units import format_memory, format_time


@dataclass(frozen=True, slots=True)
class Asked:
    """What one slice asked for in its newest attempt; None where it is not known.

    Attributes:
        mem_bytes: memory, bytes; of all its nodes.
        time_s: its time limit, seconds; None where there is none, too.
    """

    mem_bytes: int | None = None
    time_s: int | None = None

    def gone_over(self, state: State) -> str:
        """What a slice in this state went over; empty where it did not, or it is not known."""
        if state is State.OUT_OF_MEMORY and self.mem_bytes:
            return format_memory(self.mem_bytes >> 20)
        return format_time(self.time_s) if state is State.TIMEOUT and self.time_s else ""


class Requested:
    """What the slices of a run ask for: the script's directives, and what differs for some.

    Of a script that cannot be read only what the engine told is known.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._known: dict[ResourceRequest, Asked] = {}
        try:
            self._script = script_request(run)
        except SlurmsliceError:
            self._script = NO_REQUEST

    def of(self, row: int) -> Asked:
        """What a slice asked for; memory as accounting tells it, which speaks of a whole task."""
        changes = self._run.request_of(row)
        if changes not in self._known:
            self._known[changes] = self._of(changes)
        asked = self._known[changes]
        told, packing = self._run.standings[row].requested_mem_bytes, self._run.record.packing
        if told and (packing.pack == 1 or asked.mem_bytes is None):
            return Asked(told // packing.at_once, asked.time_s)
        return asked

    def _of(self, changes: ResourceRequest) -> Asked:
        try:
            request = previous_request(self._run, self._script, changes).verify()
        except SlurmsliceError:
            return Asked()
        mib = request.mem_mib
        return Asked(mib << 20 if mib else None, request.time_s)

    def why(self, row: int) -> str:
        """Why a slice is in its state, with what it went over."""
        standing = self._run.standings[row]
        return _with(standing.reason, [self.of(row).gone_over(standing.state)])

    def over(self, state: State, rows: Sequence[int], reasons: str) -> str:
        """The reasons of slices in one state, with what they went over; of many some are asked."""
        if state not in {State.OUT_OF_MEMORY, State.TIMEOUT}:
            return reasons
        return _with(reasons, [self.of(row).gone_over(state) for row in rows[:_ASKED]])


_ASKED = 1000
_SHOWN = 3


def _with(reason: str, amounts: Sequence[str]) -> str:
    shown = list(dict.fromkeys(filter(None, amounts)))
    if not shown or "asked for" in reason:  # that has both figures
        return reason
    more = ", …" if len(shown) > _SHOWN else ""
    return f"{reason}; asked for {', '.join(shown[:_SHOWN])}{more}"
