"""The control groups in which slurmd keeps the jobs of a node: find them and empty them.

If slurmd or slurmstepd is killed, the job continues to run. Then only the control group shows which
processes belong to the node, because the group has the name of the node.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from . import processes

_ROOT = Path("/sys/fs/cgroup")


def version() -> int:
    """Return the cgroup version that the machine mounts, 1 or 2; cgroups(7)."""
    return 2 if (_ROOT / "cgroup.controllers").exists() else 1


def _groups(node: str) -> list[Path]:
    """Find the node's top groups: one for each controller in v1, only one in v2."""
    return [
        *_ROOT.glob(f"*/slurm_{node}"),
        *_ROOT.glob(f"system.slice/{node}_slurmstepd.scope"),
    ]


def _members(group: Path) -> list[int]:
    pids: list[int] = []
    for folder, _, _ in os.walk(group):  # it passes over a group that disappears at this moment
        with suppress(OSError):
            pids += map(int, Path(folder, "cgroup.procs").read_text().split())
    return pids


def job_pids(node: str) -> list[int]:
    """List the process ids of a node's jobs, those of slurmstepd first.

    A test that kills them in this order is a node that dies: no slurmstepd can report the end of
    its task. The ids themselves have no order, because the kernel begins again at a small one.
    """
    pids = {pid for group in _groups(node) for pid in _members(group)}
    return sorted(pids, key=lambda pid: (processes.name_of(pid) != "slurmstepd", pid))


def clear_orphans(node: str) -> None:
    """Clear a node if no slurmstepd lives. If one lives, slurmd will find it again."""
    if not any(processes.name_of(pid) == "slurmstepd" for pid in job_pids(node)):
        clear(node)


def clear(node: str) -> None:
    """Kill the remaining processes of a node's jobs, and remove its groups."""
    while pids := job_pids(node):
        processes.kill(pids, f"the jobs of {node}")
    for group in _groups(node):
        below = sorted((path for path in group.rglob("*") if path.is_dir()), reverse=True)
        for path in [*below, group]:
            with suppress(OSError):
                path.rmdir()
