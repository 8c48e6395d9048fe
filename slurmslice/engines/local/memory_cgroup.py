"""Cells: a control group a task, with its memory as the limit, where one can be made.

A task that goes over it is ended by the kernel and by nothing else, and the group tells. Needs
a place below which this user may make groups: v1's memory hierarchy for root, v2's where the
user's systemd or a container handed it over (cgroups(7), delegation). Elsewhere requests serve
for admission only.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from slurmslice.engines.local.cgroups import Group, own_group, read_fields, read_number

_PREFIX = "slurmslice-"


@dataclass(frozen=True, slots=True)
class Cell:
    """The control group of one task."""

    version: int
    path: Path

    def memory(self) -> int:
        """Bytes in use that cannot be given back: without the file cache."""
        stat = read_fields(self.path / "memory.stat")
        names = ("anon", "shmem") if self.version == 2 else ("total_rss", "total_shmem")
        return sum(stat.get(name, 0) for name in names)

    def killed_at(self) -> int | None:
        """The peak of memory, bytes, where the kernel killed for it; None where it did not."""
        events = "memory.events" if self.version == 2 else "memory.oom_control"
        if not read_fields(self.path / events).get("oom_kill"):
            return None
        peak = "memory.peak" if self.version == 2 else "memory.max_usage_in_bytes"
        limit = "memory.max" if self.version == 2 else "memory.limit_in_bytes"
        return read_number(self.path / peak) or read_number(self.path / limit)

    def remove(self) -> None:
        """Remove the group. One that is not empty yet stays for the end of the runner."""
        with suppress(OSError):
            self.path.rmdir()


class Cells:
    """The group in which a runner's cells are."""

    def __init__(self, version: int, path: Path) -> None:
        self._version = version
        self.path = path

    def make(self, name: str, memory: int) -> Cell:
        """A cell with so many bytes as its limit, swap included.

        Raises:
            OSError: it could not be made.
        """
        cell = Cell(self._version, self.path / name)
        cell.path.mkdir(exist_ok=True)
        if self._version == 2:
            (cell.path / "memory.max").write_text(str(memory))
            _try(cell.path / "memory.swap.max", "0")
        else:
            (cell.path / "memory.limit_in_bytes").write_text(str(memory))
            _try(cell.path / "memory.memsw.limit_in_bytes", str(memory))
        return cell

    def remove(self) -> None:
        """Remove the group and what is left in it; processes in it keep it."""
        with suppress(OSError):
            for entry in os.scandir(self.path):
                if entry.is_dir():
                    os.rmdir(entry.path)
            self.path.rmdir()


def open_cells(group: Group | None = None) -> Cells | None:
    """Make the group for this process' cells; None where that is not possible.

    What killed runners left beside it is removed.

    Args:
        group: where to make it; this process' own group where None.
    """
    group = group or own_group("memory")
    if group is None:
        return None
    for directory in _places(group):
        cells = Cells(group.version, directory / f"{_PREFIX}{os.getpid()}-{os.urandom(2).hex()}")
        try:
            cells.path.mkdir(exist_ok=True)
            if group.version == 2:
                (cells.path / "cgroup.subtree_control").write_text("+memory")
            probe = cells.make("probe", 1 << 30)
            probe.remove()
        except OSError:
            cells.remove()
            continue
        _remove_left(directory, group.version)
        return cells
    return None


def _places(group: Group) -> list[Path]:
    """Groups below which cells can be made and entered, the nearest first.

    v1 lets a group hold both processes and groups. v2 does not (cgroups(7), "no internal
    processes"), so a place is one that hands the memory controller down already; entering a
    group that stands beside ours needs the right to write to the place itself, and must not
    lift a limit that holds for us.
    """
    if group.version == 1:
        return [group.path]
    places = []
    for level in group.levels():
        handed_down = "memory" in _words(level / "cgroup.subtree_control")
        if handed_down and os.access(level / "cgroup.procs", os.W_OK):
            places.append(level)
        if _limited(level):
            break
    return places


def _limited(level: Path) -> bool:
    words = (_words(level / name) for name in ("memory.max", "memory.high", "cpu.max", "pids.max"))
    return any(found[0] != "max" for found in words if found)


def _remove_left(directory: Path, version: int) -> None:
    for left in directory.glob(f"{_PREFIX}[0-9]*"):
        pid = left.name.removeprefix(_PREFIX).partition("-")[0]
        if not os.path.exists(f"/proc/{pid}"):
            Cells(version, left).remove()


def _words(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except OSError:
        return []


def _try(path: Path, text: str) -> None:
    """Write a limit of swap, where the kernel counts it."""
    with suppress(OSError):
        path.write_text(text)
