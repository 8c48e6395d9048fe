"""The CPUs and the memory of this machine, and the part that other programs leave to us.

Source: proc(5) for /proc/meminfo, /proc/stat and /proc/PID/stat, sched_getaffinity(2),
``cgroups.py`` for the limits of control groups.
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from slurmslice.engines.local.cgroups import cpu_quota, find_own_group, memory_free, memory_limit

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_PROC = Path("/proc")

FIRST_MEASURE_S = 0.1
"""Duration of the first measurement of the load of other programs, seconds."""

MEASURE_EVERY_S = 1.0
"""Seconds between two measurements of the load of other programs."""

_UNCHARGED = 1.1
"""Factor on the CPU time of our processes. The kernel charges a part of the work of starting and
ending processes to none of them. Without the factor, many short tasks would count as load."""


@dataclass(frozen=True, slots=True)
class ProcessUsage:
    """The use of one process.

    Attributes:
        cpu_s: CPU seconds, with those of its ended children.
        rss: resident memory, bytes.
    """

    cpu_s: float
    rss: int


class Machine:
    """The usable resources of this machine. Limits are read once, free resources each time.

    Attributes:
        affinity: the CPUs on which this process may run.
        cpus: the number of usable CPUs.
        memory: the usable memory, bytes.
        load: the load of other programs.
    """

    def __init__(self) -> None:
        self.affinity = os.sched_getaffinity(0)
        cpu, self._memory_group = find_own_group("cpu"), find_own_group("memory")
        self.cpus = usable_cpus(len(self.affinity), cpu_quota(cpu) if cpu else None)
        limit = memory_limit(self._memory_group) if self._memory_group else None
        total = parse_meminfo((_PROC / "meminfo").read_text())["MemTotal"]
        self.memory = min(total, limit or total)
        self.load = OtherLoad(self.affinity)

    def free_memory(self) -> int:
        """Return the bytes that are available without swapping and below all limits."""
        available = parse_meminfo((_PROC / "meminfo").read_text())["MemAvailable"]
        free = memory_free(self._memory_group) if self._memory_group else None
        return available if free is None else min(available, free)

    def free_cpus(self, others: float) -> int:
        """Return the number of CPUs that other programs leave to us, at least one.

        Args:
            others: the CPUs that other programs use; half a CPU or more counts as one.
        """
        return max(1, min(self.cpus, len(self.affinity) - int(others + 0.5)))


class OtherLoad:
    """The load of other programs on our CPUs.

    It is the busy time of the CPUs, less the CPU time of our processes. The load average is not
    used: it lags by a minute, so it would still include our tasks that just ended.

    Attributes:
        others: the CPUs that other programs use. Before the first measurement it is the number
            of their running processes.
        due: the time of the next measurement, monotonic.
    """

    def __init__(self, cpus: Collection[int]) -> None:
        self._cpus = cpus
        self._measured_at, self._ours = time.monotonic(), time.process_time()
        self._busy = parse_busy_seconds((_PROC / "stat").read_text(), cpus)
        self._measured = False
        self.others = count_running_others((_PROC / "loadavg").read_text())
        self.due = self._measured_at + FIRST_MEASURE_S

    def measure(self, ours: float) -> None:
        """Measure the load if a measurement is due.

        Args:
            ours: CPU seconds of our processes so far, this process included.
        """
        now = time.monotonic()
        if now < self.due:
            return
        busy = parse_busy_seconds((_PROC / "stat").read_text(), self._cpus)
        used = busy - self._busy - (ours - self._ours) * _UNCHARGED
        new = max(0.0, used / (now - self._measured_at))
        self.others = (new + self.others) / 2 if self._measured else new
        self._measured_at, self._ours, self._busy, self._measured = now, ours, busy, True
        self.due = now + MEASURE_EVERY_S


def count_running_others(loadavg: str) -> float:
    """Parse the number of other runnable processes from /proc/loadavg."""
    running = loadavg.split()[3].partition("/")[0]
    return max(0.0, int(running) - 1.0)


def usable_cpus(affinity: int, quota: float | None) -> int:
    """Return the number of whole CPUs, at least one.

    Args:
        affinity: the number of CPUs on which this process may run.
        quota: the quota of its control group, in CPUs; None for no limit.
    """
    return max(1, min(affinity, int(quota) if quota is not None else affinity))


def parse_meminfo(text: str) -> dict[str, int]:
    """Parse the sizes in /proc/meminfo. They are returned in bytes."""
    lines = (line.split() for line in text.splitlines())
    return {line[0].rstrip(":"): int(line[1]) * 1024 for line in lines if line[-1] == "kB"}


def parse_busy_seconds(stat: str, cpus: Collection[int]) -> float:
    """Parse the busy seconds of some CPUs since boot from /proc/stat, without idle and iowait."""
    names = {f"cpu{cpu}" for cpu in cpus}
    ticks = 0
    for line in stat.splitlines():
        name, *fields = line.split()
        if name in names:
            user, nice, system, _idle, _iowait, irq, softirq = map(int, fields[:7])
            ticks += user + nice + system + irq + softirq
    return ticks / _TICKS


def _stat(pid: int) -> list[bytes] | None:
    """Read the fields of /proc/PID/stat, from the state on; None if the process is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            return stat.read().rpartition(b")")[2].split()
    except OSError:
        return None


def process_usage(pid: int) -> ProcessUsage | None:
    """Return the use of a process so far; None if it is gone."""
    fields = _stat(pid)
    if fields is None:
        return None
    return ProcessUsage(sum(map(int, fields[11:15])) / _TICKS, int(fields[21]) * _PAGE)


def process_group(pid: int) -> int | None:
    """Return the process group of a process; None if it is gone."""
    fields = _stat(pid)
    return None if fields is None else int(fields[2])


def is_zombie(pid: int) -> bool:
    """Return ``True`` if a process has ended and its parent has not noticed it."""
    fields = _stat(pid)
    return fields is not None and fields[0] == b"Z"


_KERNEL_LISTS_CHILDREN = os.path.exists(f"/proc/self/task/{os.getpid()}/children")
"""The kernel lists children (CONFIG_PROC_CHILDREN). If not, all processes are searched."""


def children(pid: int) -> list[int]:
    """Return the children of a process, oldest first, with zombies; empty if it is gone."""
    if not _KERNEL_LISTS_CHILDREN:
        pids = sorted(int(name) for name in os.listdir("/proc") if name.isdecimal())
        return [child for child in pids if (fields := _stat(child)) and int(fields[1]) == pid]
    found: list[int] = []
    with suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children", "rb") as listing:
                found += map(int, listing.read().split())
    return found


def descendants(pid: int) -> Iterator[int]:
    """Yield a process and all its descendants."""
    yield pid
    for child in children(pid):
        yield from descendants(child)
