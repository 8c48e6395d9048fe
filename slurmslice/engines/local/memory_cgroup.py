"""A control group for each task, with the requested memory as its limit.

If a task exceeds the limit, the kernel kills it, and the group records that. This user must be
allowed to create groups below a parent group. In version 1 root may do so. In version 2 systemd or
a container must have delegated a group to the user (cgroups(7), delegation). Otherwise memory
requests count for admission only.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from slurmslice.engines.local.cgroups import ControlGroup, find_own_group, read_fields

_PREFIX = "slurmslice-"


@dataclass(frozen=True, slots=True)
class MemoryGroup:
    """The control group of one task.

    Attributes:
        version: 1 or 2.
        path: its directory.
    """

    version: int
    path: Path

    def memory(self) -> int:
        """Return the memory in use, bytes, without the file cache."""
        stat = read_fields(self.path / "memory.stat")
        names = ("anon", "shmem") if self.version == 2 else ("total_rss", "total_shmem")
        return sum(stat.get(name, 0) for name in names)

    def remove(self) -> None:
        """Remove the group. If it still has processes, the end of the runner removes it."""
        with suppress(OSError):
            self.path.rmdir()


class MemoryGroups:
    """The parent group of a runner's memory groups.

    Args:
        version: 1 or 2.
        path: its directory.
    """

    def __init__(self, version: int, path: Path) -> None:
        self._version = version
        self.path = path

    def create(self, name: str, memory: int) -> MemoryGroup:
        """Create a group.

        Args:
            name: its name.
            memory: its limit in bytes, swap included.

        Raises:
            OSError: the group could not be created.
        """
        group = MemoryGroup(self._version, self.path / name)
        group.path.mkdir(exist_ok=True)
        if self._version == 2:
            limit, swap, most_swap = "memory.max", "memory.swap.max", 0
        else:
            limit, swap, most_swap = (
                "memory.limit_in_bytes", "memory.memsw.limit_in_bytes", memory
            )  # fmt: skip
        (group.path / limit).write_text(str(memory))
        with suppress(OSError):  # the kernel does not count swap
            (group.path / swap).write_text(str(most_swap))
        return group

    def remove(self) -> None:
        """Remove the parent group and its groups, if no process is in them."""
        with suppress(OSError):
            for entry in tuple(self.path.iterdir()):
                if entry.is_dir():
                    entry.rmdir()
            self.path.rmdir()


def create_memory_groups(group: ControlGroup | None = None) -> MemoryGroups | None:
    """Create the parent group of this process' memory groups; None if that is not possible.

    Groups beside it that killed runners left are removed.

    Args:
        group: the group below which it is created; by default the group of this process.
    """
    group = group or find_own_group("memory")
    if group is None:
        return None
    for directory in _candidate_parents(group):
        name = f"{_PREFIX}{os.getpid()}-{os.urandom(2).hex()}"
        groups = MemoryGroups(group.version, directory / name)
        try:
            groups.path.mkdir(exist_ok=True)
            if group.version == 2:
                (groups.path / "cgroup.subtree_control").write_text("+memory")
            groups.create("probe", 1 << 30).remove()
        except OSError:
            groups.remove()
            continue
        _remove_stale_groups(directory, group.version)
        return groups
    return None


def _candidate_parents(group: ControlGroup) -> list[Path]:
    """Return the groups below which memory groups can be created, the nearest first.

    Version 1 lets a group hold both processes and groups. Version 2 does not (cgroups(7), "no
    internal processes"), so a parent must delegate the memory controller already. A process can
    only enter a sibling of its own group if it may write to the parent. The parent must not be
    above a limit of this process, because the task would escape that limit.
    """
    if group.version == 1:
        return [group.path]
    places = []
    for level in group.levels():
        handed_down = "memory" in _words(level / "cgroup.subtree_control")
        if handed_down and os.access(level / "cgroup.procs", os.W_OK):
            places.append(level)
        if _has_limit(level):
            break
    return places


def _has_limit(level: Path) -> bool:
    words = (_words(level / name) for name in ("memory.max", "memory.high", "cpu.max", "pids.max"))
    return any(found[0] != "max" for found in words if found)


def _remove_stale_groups(directory: Path, version: int) -> None:
    for stale in directory.glob(f"{_PREFIX}[0-9]*"):
        pid = stale.name.removeprefix(_PREFIX).partition("-")[0]
        if not os.path.exists(f"/proc/{pid}"):
            MemoryGroups(version, stale).remove()


def _words(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except OSError:
        return []
