"""This machine: the CPUs and the memory that we may use, and how much of them others leave.

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

from slurmslice.engines.local.cgroups import cpu_quota, memory_free, memory_limit, own_group

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_PROC = Path("/proc")

FIRST_LOOK_S = 0.1
"""How long others' load is measured for the first time, seconds."""

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
        others: CPUs' worth of time that others use; at first the number of their processes that
            are running at this moment.
        due: the monotonic time of the next look that tells something.
    """

    def __init__(self, cpus: Collection[int]) -> None:
        self._cpus = cpus
        self._looked, self._ours = time.monotonic(), time.process_time()
        self._busy = busy_seconds((_PROC / "stat").read_text(), cpus)
        self._measured = False
        self.others = running_now((_PROC / "loadavg").read_text())
        self.due = self._looked + FIRST_LOOK_S

    def look(self, ours: float) -> None:
        """Measure anew if it is due.

        Args:
            ours: CPU seconds that our processes, this one included, have used so far.
        """
        now = time.monotonic()
        if now < self.due:
            return
        busy = busy_seconds((_PROC / "stat").read_text(), self._cpus)
        used = busy - self._busy - (ours - self._ours) * _UNCHARGED
        new = max(0.0, used / (now - self._looked))
        self.others = (new + self.others) / 2 if self._measured else new
        self._looked, self._ours, self._busy, self._measured = now, ours, busy, True
        self.due = now + LOOK_S


def running_now(loadavg: str) -> float:
    """The number of other processes that run or could run at this moment, by /proc/loadavg."""
    running = loadavg.split()[3].partition("/")[0]
    return max(0.0, int(running) - 1.0)


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


def _stat(pid: int) -> list[bytes] | None:
    """The fields of /proc/PID/stat from the state on; None if it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            return stat.read().rpartition(b")")[2].split()
    except OSError:
        return None


def usage(pid: int) -> Usage | None:
    """Return what a process used so far; None if it is gone."""
    fields = _stat(pid)
    if fields is None:
        return None
    return Usage(sum(map(int, fields[11:15])) / _TICKS, int(fields[21]) * _PAGE)


def process_group(pid: int) -> int | None:
    """Return the process group of a process; None if it is gone."""
    fields = _stat(pid)
    return None if fields is None else int(fields[2])


_LISTED = os.path.exists(f"/proc/self/task/{os.getpid()}/children")
"""The kernel lists children (CONFIG_PROC_CHILDREN); else every process is looked at."""


def children(pid: int) -> list[int]:
    """Return the children of a process, zombies included, oldest first; none if it is gone."""
    if not _LISTED:
        pids = sorted(int(name) for name in os.listdir("/proc") if name.isdecimal())
        return [child for child in pids if (fields := _stat(child)) and int(fields[1]) == pid]
    found: list[int] = []
    with suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children", "rb") as listing:
                found += map(int, listing.read().split())
    return found


def descendants(pid: int) -> Iterator[int]:
    """Yield a process and all below it."""
    yield pid
    for child in children(pid):
        yield from descendants(child)
