"""Decides if one more task may start: measures the machine and asks ``admission``."""

from __future__ import annotations

import time

from slurmslice.engines.local.admission import Demand, Room, admits, fits_cpus
from slurmslice.engines.local.crew import Crew
from slurmslice.engines.local.machine import Machine

LOOK_S = 1.0
"""How old a measurement may be, seconds."""


class Capacity:
    """The room for tasks on this machine.

    Args:
        machine: what is free.
        crew: what runs.
    """

    def __init__(self, machine: Machine, crew: Crew) -> None:
        self._machine = machine
        self._crew = crew
        self._room = Room(1, machine.memory)
        self._measured = 0.0
        self._closed_until = 0.0

    def close(self, seconds: float) -> None:
        """Admit nothing for a while."""
        self._closed_until = time.monotonic() + seconds

    def admits(self, new: Demand, *, throttled: bool) -> bool:
        """Return ``True`` if a task may start now (``admission.admits``)."""
        if time.monotonic() < self._closed_until:
            return False
        self.measure()
        running = self._crew.demands()
        if admits(self._room, running, new, throttled=throttled):
            return True
        if not throttled and not fits_cpus(self._room, running, new):
            return False  # the requests of our own count, so only an end can make room
        if self._crew.ended_at <= self._measured:
            return False
        self.measure(0)  # what has ended since may have freed memory
        return admits(self._room, self._crew.demands(), new, throttled=throttled)

    def measure(self, age: float | None = None) -> None:
        """See what is free and what our tasks use, if that was done so many seconds ago or more."""
        now, age = time.monotonic(), LOOK_S if age is None else age
        if now - self._measured < age and now < self._machine.load.due:
            return
        self._machine.load.look(self._crew.look())
        free = self._machine.free_cpus(self._machine.load.others)
        self._room = Room(free, self._machine.free_memory())
        self._measured = now
