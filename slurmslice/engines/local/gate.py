"""Lets tasks in: puts what the machine has free and what ours use before ``admission``."""

from __future__ import annotations

import time

from slurmslice.engines.local.admission import Demand, Room, admits, fits_cpus
from slurmslice.engines.local.machine import Machine
from slurmslice.engines.local.pool import Pool

LOOK_S = 1.0
"""How old a measurement may be, seconds."""


class Gate:
    """Whether there is room for one more task.

    Args:
        machine: what is free.
        pool: what runs.
    """

    def __init__(self, machine: Machine, pool: Pool) -> None:
        self._machine = machine
        self._pool = pool
        self._room = Room(1, machine.memory)
        self._measured = 0.0
        self._closed_until = 0.0

    def close(self, seconds: float) -> None:
        """Let nothing in for a while."""
        self._closed_until = time.monotonic() + seconds

    def due(self) -> float:
        """When a task that finds no room now may find some, monotonic; infinity if not by time."""
        load = self._machine.load
        return load.due if load.others is None else float("inf")

    def admits(self, new: Demand, *, throttled: bool) -> bool:
        """Whether a task may start now (``admission.admits``)."""
        if time.monotonic() < self._closed_until:
            return False
        self._measure(LOOK_S)
        running = self._pool.demands()
        if admits(self._room, running, new, throttled=throttled):
            return True
        if not throttled and not fits_cpus(self._room, running, new):
            return False  # our own are counted, not measured: memory alone is freed by an end
        if self._pool.ended_at <= self._measured:
            return False
        self._measure(0)  # what has ended since may have made room
        return admits(self._room, self._pool.demands(), new, throttled=throttled)

    def _measure(self, age: float) -> None:
        """See what is free and what ours use, unless that was done so many seconds ago or less.

        Until others' load is known there is one CPU for us: the first task starts at once, a
        second a moment later.
        """
        now = time.monotonic()
        load = self._machine.load
        if now - self._measured < age and not (load.others is None and now >= load.due):
            return
        load.look(self._pool.look())
        free = 1 if load.others is None else self._machine.free_cpus(load.others)
        self._room = Room(free, self._machine.free_memory())
        self._measured = now
