"""This machine: the CPUs and the memory that we may use, and how much of them others leave.

Source: proc(5) for /proc/meminfo, /proc/stat and /proc/PID/stat, sched_getaffinity(2),
``cgroups.py`` for the limits of control groups.
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from slurmslice.engines.local.cgroups import cpu_quota, memory_free, memory_limit, own_group
from slurmslice.engines.local.warden import children

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_PROC = Path("/proc")

FIRST_LOOK_S = 0.1
"""How long others' load is watched before a second task is started."""

LOOK_S = 1.0
"""Seconds between two looks at others' load."""

_UNCHARGED = 1.1
"""Starting and ending processes keeps the kernel busy with what it charges to none of them: so
much more than they are charged with counts as theirs, or many short tasks would pass for load."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What one process used: CPU seconds, those of ended children included; resident bytes."""

    cpu_s: float
    rss: int


class Machine:
    """What this machine has for us. Read once, but for what is free now."""

    def __init__(self) -> None:
        self.affinity = os.sched_getaffinity(0)
        cpu, self._memory_group = own_group("cpu"), own_group("memory")
        self.cpus = usable_cpus(len(self.affinity), cpu_quota(cpu) if cpu else None)
        limit = memory_limit(self._memory_group) if self._memory_group else None
        total = meminfo((_PROC / "meminfo").read_text())["MemTotal"]
        self.memory = min(total, limit or total)
        self.load = Load(self.affinity)

    def free_memory(self) -> int:
        """Bytes that can be had now without swapping and without reaching a limit."""
        available = meminfo((_PROC / "meminfo").read_text())["MemAvailable"]
        free = memory_free(self._memory_group) if self._memory_group else None
        return available if free is None else min(available, free)

    def free_cpus(self, others: float) -> int:
        """CPUs that others leave us, at least one.

        Args:
            others: how many CPUs' worth of time others use; half a CPU and more counts as one.
        """
        return max(1, min(self.cpus, len(self.affinity) - int(others + 0.5)))


class Load:
    """How busy others keep our CPUs.

    Counted from the CPUs' own busy time less what our processes used, and not from the load
    average: that lags by a minute, and would still hold the tasks that we have just ended.

    Attributes:
        others: CPUs' worth of time that others use; None where it is not known yet.
    """

    def __init__(self, cpus: Collection[int]) -> None:
        self._cpus = cpus
        self._seen: tuple[float, float] | None = None
        self._ours = 0.0
        self.others: float | None = None
        self.look(time.process_time())

    def look(self, ours: float) -> float | None:
        """CPUs' worth of time that others use; None where it was not watched for long enough.

        Args:
            ours: CPU seconds that our processes, this one included, have used so far.
        """
        now = time.monotonic()
        wait = FIRST_LOOK_S if self.others is None else LOOK_S
        if self._seen is not None and now - self._seen[0] < wait:
            return self.others
        busy = busy_seconds((_PROC / "stat").read_text(), self._cpus)
        if self._seen is not None:
            used = busy - self._seen[1] - (ours - self._ours) * _UNCHARGED
            new = max(0.0, used / (now - self._seen[0]))
            self.others = new if self.others is None else (new + self.others) / 2
        self._seen, self._ours = (now, busy), ours
        return self.others

    @property
    def due(self) -> float:
        """The monotonic time of the next look that tells something."""
        wait = FIRST_LOOK_S if self.others is None else LOOK_S
        return (self._seen[0] if self._seen else 0.0) + wait


def usable_cpus(affinity: int, quota: float | None) -> int:
    """Whole CPUs, at least one, of an affinity and a control group's quota."""
    return max(1, min(affinity, int(quota) if quota is not None else affinity))


def meminfo(text: str) -> dict[str, int]:
    """The sizes of /proc/meminfo, in bytes."""
    lines = (line.split() for line in text.splitlines())
    return {line[0].rstrip(":"): int(line[1]) * 1024 for line in lines if line[-1] == "kB"}


def busy_seconds(stat: str, cpus: Collection[int]) -> float:
    """How long these CPUs have worked since the boot, by /proc/stat: not idle, not waiting."""
    names = {f"cpu{cpu}" for cpu in cpus}
    ticks = 0
    for line in stat.splitlines():
        name, *fields = line.split()
        if name in names:
            user, nice, system, _idle, _iowait, irq, softirq = map(int, fields[:7])
            ticks += user + nice + system + irq + softirq
    return ticks / _TICKS


def usage(pid: int) -> Usage | None:
    """What a process used so far; None where it is gone."""
    try:
        stat = (_PROC / str(pid) / "stat").read_bytes()
    except OSError:
        return None
    fields = stat.rpartition(b")")[2].split()
    return Usage(sum(map(int, fields[11:15])) / _TICKS, int(fields[21]) * _PAGE)


def descendants(pid: int) -> Iterator[int]:
    """A process and all below it."""
    yield pid
    for child in children(pid):
        yield from descendants(child)
