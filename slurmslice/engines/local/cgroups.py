"""The control groups of this process and their limits. This module only reads them.

Source: cgroups(7), the kernel's admin-guide/cgroup-v1 and cgroup-v2, proc(5) for mountinfo.
Both versions can be mounted at once, each with some of the controllers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_NO_LIMIT = 1 << 60
"""Version 1 expresses "no limit" by a number near 2^63."""


@dataclass(frozen=True, slots=True)
class ControlGroup:
    """The control group of this process, for one controller.

    Attributes:
        version: 1 or 2.
        path: its directory.
        top: the directory of the highest group that can be seen.
    """

    version: int
    path: Path
    top: Path

    def levels(self) -> Iterator[Path]:
        """Yield the group and all groups above it. The limits of all of them apply."""
        path = self.path
        while path != self.top:
            yield path
            path = path.parent
        yield path


def find_own_group(controller: str, proc: Path = Path("/proc")) -> ControlGroup | None:
    """Return the group of this process for a controller; None if there is none.

    Args:
        controller: ``memory`` or ``cpu``.
        proc: the mount point of proc.
    """
    try:
        return parse_own_group(
            controller, (proc / "self/cgroup").read_text(), (proc / "self/mountinfo").read_text()
        )
    except OSError:
        return None


def parse_own_group(controller: str, cgroup: str, mountinfo: str) -> ControlGroup | None:
    """Parse /proc/self/cgroup and /proc/self/mountinfo for ``find_own_group``."""
    paths: dict[str, str] = {}
    for line in cgroup.splitlines():
        _, names, where = line.split(":", 2)
        paths.update(dict.fromkeys(names.split(","), where))
    version = 1 if controller in paths else 2
    path = paths.get(controller if version == 1 else "")
    if path is None:
        return None
    for mount in mountinfo.splitlines():
        left, _, right = mount.partition(" - ")
        kind, _, options = right.split(" ", 2)
        here = kind == "cgroup2" if version == 2 else controller in options.split(",")
        if kind.startswith("cgroup") and here:
            root, point = (_unescape(text) for text in left.split(" ")[3:5])
            top = Path(point)
            return ControlGroup(version, top / _below(path, root), top)
    return None


def _below(path: str, root: str) -> str:
    """Return a group's path relative to the root of a mount; empty if it is outside that root."""
    root = root.rstrip("/")
    if ".." in path or not f"{path}/".startswith(f"{root}/"):
        return ""
    return path[len(root) :].strip("/")


def _unescape(text: str) -> str:
    """Decode octal escapes: mountinfo has them for blanks and backslashes (proc(5))."""
    return re.sub(r"\\(\d{3})", lambda match: chr(int(match[1], 8)), text)


def cpu_quota(group: ControlGroup) -> float | None:
    """Return the CPU quota of the group, in CPUs; None for no limit."""
    quotas = (_quota(group.version, level) for level in group.levels())
    return min((quota for quota in quotas if quota is not None), default=None)


def _quota(version: int, level: Path) -> float | None:
    if version == 2:
        quota, period = (*_text(level / "cpu.max").split(), "", "")[:2]
    else:
        quota, period = _text(level / "cpu.cfs_quota_us"), _text(level / "cpu.cfs_period_us")
    if not quota.isdecimal() or not period.isdecimal():  # "max", or -1
        return None
    return int(quota) / int(period)


def memory_limit(group: ControlGroup) -> int | None:
    """Return the memory limit of the group, bytes; None for no limit."""
    limits = (_limit(group.version, level) for level in group.levels())
    return min((limit for limit in limits if limit is not None), default=None)


def memory_free(group: ControlGroup) -> int | None:
    """Return the free memory of the group, bytes; None for no limit.

    The inactive file cache counts as free, because the kernel reclaims it first.
    """
    free = []
    for level in group.levels():
        limit = _limit(group.version, level)
        if limit is not None:
            free.append(limit - _used(group.version, level))
    return max(min(free), 0) if free else None


def _limit(version: int, level: Path) -> int | None:
    limit = _read_number(level / ("memory.max" if version == 2 else "memory.limit_in_bytes"))
    return None if limit is None or limit >= _NO_LIMIT else limit


def _used(version: int, level: Path) -> int:
    used = _read_number(level / ("memory.current" if version == 2 else "memory.usage_in_bytes"))
    name = "inactive_file" if version == 2 else "total_inactive_file"
    return (used or 0) - read_fields(level / "memory.stat").get(name, 0)


def _read_number(path: Path) -> int | None:
    """Read a number from a file; None if the file is missing or has no number."""
    text = _text(path)
    return int(text) if text.isdecimal() else None


def read_fields(path: Path) -> dict[str, int]:
    """Read a file of ``name number`` lines."""
    lines = (line.split() for line in _text(path).splitlines())
    return {line[0]: int(line[1]) for line in lines if len(line) == 2 and line[1].isdecimal()}


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
