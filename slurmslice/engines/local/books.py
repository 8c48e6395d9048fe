"""The books of one order: ``local.tsv`` in its folder, a line an event, only ever appended to.

Tab-separated; the last field of each line is free text, so that a torn line has too few:

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

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

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
        try:
            with self._path.open("rb") as books:
                books.seek(self.read)
                data = books.read()
        except FileNotFoundError:
            return False
        whole = data.rfind(b"\n") + 1
        self.read += whole
        for line in data[:whole].decode("utf-8", "replace").split("\n"):
            event, *fields = line.split("\t")
            if _FIELDS.get(event) == len(fields) + 1:
                with suppress(ValueError, BadInput):  # spoilt by hand, or by a crash
                    self._take(event, fields)
        return whole > 0

    def _take(self, event: str, fields: list[str]) -> None:
        if event == "end":
            self.started.pop(int(fields[0]), None)
            self.ended[int(fields[0])] = self._report(fields)
        elif event == "start":
            self.started[int(fields[0])] = float(fields[2])
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
            started_at=int(float(started)),
            ended_at=int(float(ended)),
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
        """Append an event; on the disk when this returns, if ``durably``."""
        texts = ("" if field is None else str(field).translate(_BLANKS) for field in fields)
        line = "\t".join((event, *texts)) + "\n"
        fd = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            size = os.lseek(fd, 0, os.SEEK_END)
            if size and os.pread(fd, 1, size - 1) != b"\n":
                line = "\n" + line  # a killed writer's torn line must not swallow this one
            os.write(fd, line.encode())
            if durably:
                os.fsync(fd)
        finally:
            os.close(fd)

    def cancel(self, indices: Iterable[int], now: float) -> None:
        """Note tasks that were cancelled before they were started."""
        chosen = list(indices)
        if chosen:
            expression = compress(chosen)
            self.write("cancelled", int(now), expression, "cancelled before it started")
