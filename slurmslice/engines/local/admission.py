"""Whether one more task may start beside those that run. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

SPARE_BYTES = 128 << 20
"""Memory that must be free before a task starts that does not say how much it needs."""


@dataclass(frozen=True, slots=True)
class Demand:
    """What one task asked for, and what of it is in use.

    Attributes:
        cpus: CPUs.
        memory: bytes asked for; 0 where it did not say.
        used: bytes in use when the free memory was measured; 0 for one started later.
    """

    cpus: int
    memory: int
    used: int = 0


@dataclass(frozen=True, slots=True)
class Room:
    """What the machine has free.

    Attributes:
        cpus: CPUs for us, whether or not we use them already.
        memory: bytes that can be had now, beside what our tasks use.
    """

    cpus: int
    memory: int


def admits(room: Room, running: Iterable[Demand], new: Demand, *, throttled: bool) -> bool:
    """Whether a task may start now. The first always may: a run goes on, however slowly.

    Args:
        room: what is free.
        running: our tasks that run, all orders'.
        new: the task.
        throttled: its order says how many run at once, which stands in place of the CPUs.
    """
    demands = tuple(running)
    return not demands or (
        (throttled or fits_cpus(room, demands, new)) and fits_memory(room, demands, new)
    )


def fits_cpus(room: Room, running: Iterable[Demand], new: Demand) -> bool:
    """Whether its CPUs are free beside those of what runs."""
    return sum(demand.cpus for demand in running) + new.cpus <= room.cpus


def fits_memory(room: Room, running: Iterable[Demand], new: Demand) -> bool:
    """Whether its memory is free beside what the running ones asked for and may still take."""
    reserved = sum(max(0, demand.memory - demand.used) for demand in running)
    return (new.memory or SPARE_BYTES) <= room.memory - reserved


def at_once(room: Room, new: Demand) -> int:
    """How many such tasks fit in the room, at least one."""
    return max(1, min(room.cpus // new.cpus, room.memory // (new.memory or SPARE_BYTES)))
