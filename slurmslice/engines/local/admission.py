"""Decide if one more task may start beside the running tasks."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from slurmslice.engines.local.jobs import TaskResources

if TYPE_CHECKING:
    from slurmslice.engines.local.machine import Machine
    from slurmslice.engines.local.worker_pool import WorkerPool

SPARE_BYTES = 128 << 20
"""Memory that must be free before a task starts if the task requests no memory."""


@dataclass(frozen=True, slots=True)
class FreeResources:
    """The free resources of the machine.

    Attributes:
        cpus: CPUs that other programs leave to us; our tasks may use some of them already.
        memory: available memory in bytes, without the memory that our tasks use.
    """

    cpus: int
    memory: int


def may_start(
    free: FreeResources, running: Sequence[TaskResources], new: TaskResources, *, throttled: bool
) -> bool:
    """Return ``True`` if a task may start now. The first task always may, so a run never stops.

    Args:
        free: the free resources.
        running: the running tasks of all jobs.
        new: the task.
        throttled: the job has a throttle; then CPUs are not counted.
    """
    return not running or (
        (throttled or _cpus_suffice(free, running, new)) and _memory_suffices(free, running, new)
    )


def _cpus_suffice(
    free: FreeResources, running: Sequence[TaskResources], new: TaskResources
) -> bool:
    return sum(task.cpus for task in running) + new.cpus <= free.cpus


def _memory_suffices(
    free: FreeResources, running: Sequence[TaskResources], new: TaskResources
) -> bool:
    """Compare with the free memory, less the memory that running tasks requested but do not use."""
    reserved = sum(max(0, task.memory - task.used) for task in running)
    return (new.memory or SPARE_BYTES) <= free.memory - reserved


def tasks_that_fit(free: FreeResources, task: TaskResources) -> int:
    """Return the number of such tasks that fit into the free resources, at least one."""
    return max(1, min(free.cpus // task.cpus, free.memory // (task.memory or SPARE_BYTES)))


class Admission:
    """Admits tasks by measurements of this machine.

    Args:
        machine: this machine.
        pool: the workers.
    """

    def __init__(self, machine: Machine, pool: WorkerPool) -> None:
        self._machine = machine
        self._pool = pool
        self._free = FreeResources(1, machine.memory)
        self._measured_at = 0.0
        self._paused_until = 0.0

    def pause(self, seconds: float) -> None:
        """Admit no task for a time."""
        self._paused_until = time.monotonic() + seconds

    def admits(self, new: TaskResources, *, throttled: bool) -> bool:
        """Return ``True`` if a task may start now (``may_start``)."""
        if time.monotonic() < self._paused_until:
            return False
        self.measure()
        running = self._pool.running_tasks()
        if may_start(self._free, running, new, throttled=throttled):
            return True
        if not throttled and not _cpus_suffice(self._free, running, new):
            return False  # only the end of a task can free CPUs
        if self._pool.ended_at <= self._measured_at:
            return False
        self._measure_now()  # a task that ended since then may have freed memory
        return may_start(self._free, self._pool.running_tasks(), new, throttled=throttled)

    def measure(self) -> None:
        """Measure free resources and the use of our tasks, if the last measurement is too old."""
        if not self._measured_at or time.monotonic() >= self._machine.load.due:
            self._measure_now()

    def _measure_now(self) -> None:
        self._measured_at = time.monotonic()
        self._machine.load.measure(self._pool.measure())
        free_cpus = self._machine.free_cpus(self._machine.load.others)
        self._free = FreeResources(free_cpus, self._machine.free_memory())
