"""The books of one order: ``local.tsv`` in its folder, a line an event, only ever appended to.

Tab-separated:

- ``taken  epoch  pid  host  ·``: a runner has begun to work on the order. On disk before its
  first task is started: no other runner ever starts tasks of this order.
- ``start  index  pid  epoch  ·``
- ``end  index  state  exit  signal  started  ended  elapsed_s  cpu_s  max_rss_bytes  reason``
- ``cancelled  epoch  indices  reason``: never started, and never will be.
- ``returned  epoch  reason``: whatever has not ended will not: the order is closed.

Times are epoch seconds; what is not known is empty. Only the runner writes, or who holds its
lock while there is none. What a crash of the machine tears off the end is harmless: the order
is taken, so its tasks are given back.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from slurmslice import files
from slurmslice.errors import BadInput
from slurmslice.evidence import NO_STEPS, TaskReport
from slurmslice.ranges import compress, parse_array
from slurmslice.states import State

_MIB = 1 << 20
_FIELDS = {"taken": 5, "start": 5, "end": 11, "cancelled": 4, "returned": 3}
_BLANKS = str.maketrans("\t\n\r", "   ")


@dataclass(frozen=True, slots=True)
class Taken:
    """Which runner works on an order, or did: its process, its machine."""

    pid: int
    host: str


class Books:
    """What is known of an order's tasks. ``refresh`` reads on; the rest is what was read.

    Attributes:
        read: bytes that were read.
        taken: the runner that took the order; None where none has.
        returned: why the order was closed with tasks that had not ended; None where it was not.
        started: when tasks that have not ended were started, epoch seconds, by index.
        ended: the reports of tasks that have ended, by index.
    """

    def __init__(self, path: Path, mem_mib: int | None, submitted_at: int) -> None:
        self._path = path
        self._memory = None if mem_mib is None else mem_mib * _MIB
        self._submitted_at = submitted_at
        self.read = 0
        self.taken: Taken | None = None
        self.returned: str | None = None
        self.started: dict[int, float] = {}
        self.ended: dict[int, TaskReport] = {}

    # -- reading -----------------------------------------------------------------------------

    def refresh(self) -> bool:
        """Read what was written since; whether there was anything."""
        lines, self.read = files.read_on(self._path, self.read)
        for line in lines.decode("utf-8", "replace").split("\n"):
            event, *fields = line.split("\t")
            if _FIELDS.get(event) == len(fields) + 1:
                with suppress(ValueError, OverflowError, BadInput):  # spoilt by hand, or by a crash
                    self._take(event, fields)
        return bool(lines)

    def _take(self, event: str, fields: list[str]) -> None:
        if event == "end":
            self.started.pop(int(fields[0]), None)
            self.ended[int(fields[0])] = self._report(fields)
        elif event == "start":
            self.started[int(fields[0])] = _seconds(fields[2])
        elif event == "cancelled":
            report = self.report(State.CANCELLED, ended_at=int(fields[0]), reason=fields[2])
            self.ended.update((index, report) for index in parse_array(fields[1]))
        elif event == "taken":
            self.taken = Taken(int(fields[1]), fields[2])
        else:
            self.returned = fields[1]

    def _report(self, fields: list[str]) -> TaskReport:
        _, state, exit_code, signal, started, ended, elapsed, cpu, rss, reason = fields
        return TaskReport(
            State(state),
            state,
            exit_code=int(exit_code) if exit_code else None,
            signal=int(signal) if signal else None,
            submitted_at=self._submitted_at,
            started_at=int(_seconds(started)),
            ended_at=int(_seconds(ended)),
            elapsed_s=float(elapsed),
            cpu_s=float(cpu),
            max_rss_bytes=int(rss),
            requested_mem_bytes=self._memory,
            node=self.taken.host if self.taken else None,
            reason=reason,
            steps=NO_STEPS,
        )

    def report(
        self,
        state: State,
        reason: str = "",
        started_at: int | None = None,
        ended_at: int | None = None,
        elapsed_s: float | None = None,
    ) -> TaskReport:
        """A report of a task of which no end was measured."""
        return TaskReport(
            state,
            state.value,
            submitted_at=self._submitted_at,
            started_at=started_at,
            ended_at=ended_at,
            elapsed_s=elapsed_s,
            requested_mem_bytes=self._memory,
            node=self.taken.host if self.taken and started_at else None,
            reason=reason,
            steps=NO_STEPS,
        )

    # -- writing -----------------------------------------------------------------------------

    def write(self, event: str, *fields: object, durably: bool = False) -> None:
        """Append an event; on the disk when this returns, if ``durably``.

        Raises:
            OSError: it could not be written; the books are what they were.
        """
        texts = ("" if field is None else str(field).translate(_BLANKS) for field in fields)
        line = "\t".join((event, *texts)) + "\n"
        files.append(self._path, line.encode(), durably=durably)

    def cancel(self, indices: Iterable[int], now: float) -> None:
        """Note tasks that were cancelled before they were started."""
        chosen = list(indices)
        if chosen:
            expression = compress(chosen)
            self.write("cancelled", int(now), expression, "cancelled before it started")


def _seconds(text: str) -> float:
    """A time; OverflowError or ValueError for what counts as none (``inf``, ``nan``)."""
    seconds = float(text)
    int(seconds)
    return seconds
