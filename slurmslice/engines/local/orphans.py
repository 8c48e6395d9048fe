"""Processes that a killed runner or worker left, found by the variable that marks them."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING

from slurmslice.engines.local.machine import descendants

if TYPE_CHECKING:
    import psutil

SWEEP_S = 5.0
"""How long processes that were killed are waited for, seconds."""

_LOOK_S = 0.02


def marker(run_dir: Path) -> str:
    """Return the name of the variable that marks the processes of a run's tasks.

    Each run has its own name: a run inside a task of another run has both marks.
    """
    return f"SLURMSLICE_LOCAL_{hashlib.sha256(os.fsencode(run_dir.resolve())).hexdigest()[:16]}"


def sweep(mark: str, session: int = 0) -> bool:
    """Kill every process with the mark, and what such have left; return ``True`` if none is left.

    A command may wipe its environment (``env -i``): so whatever descends from a marked process is
    killed too, and whatever is in the session of a worker. Only this user's processes can be seen.
    Processes of which this one is a part are spared, and then some are left.

    Args:
        mark: the variable. Its value is the worker's process id, which is its session.
        session: the worker whose processes are meant; 0 for all.
    """
    import psutil

    ours = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    deadline = time.monotonic() + SWEEP_S
    sessions = {session} - {0}  # still known when those with the mark are gone
    stopped: set[int] = set()
    while found := _left(mark, session, sessions):
        if any(process.pid in ours for process in found):
            return False
        late = time.monotonic() > deadline
        fresh = [process for process in found if process.pid not in stopped]
        if fresh and not late:  # a process that forks meanwhile could leave an unknown child
            stopped |= {process.pid for process in fresh if _did(process.suspend)}
            continue
        for process in found:
            _did(process.kill)
        if late:
            return False
        time.sleep(_LOOK_S)
    return True


def _left(mark: str, session: int, sessions: set[int]) -> list[psutil.Process]:
    """Find what is to be killed: first those with the mark, so that none tells how others ended.

    Args:
        mark: the variable.
        session: the worker that is meant; 0 for all.
        sessions: the workers' sessions that are known; those that are found are added.
    """
    import psutil

    everything = list(psutil.process_iter())
    wanted = {str(session)} if session else None
    marked = {p.pid: p for p in everything if _lives(p) and _has_mark(p, mark, wanted)}
    sessions |= {
        found
        for process in marked.values()
        if str(found := _session(process.pid)) == _value(process, mark)
    }
    below = {pid for top in marked for pid in descendants(top)} - marked.keys()
    wiped = [
        process
        for process in psutil.process_iter()
        if process.pid in below or (process.pid not in marked and _session(process.pid) in sessions)
    ]
    return [*marked.values(), *(process for process in wiped if _lives(process))]


def _has_mark(process: psutil.Process, mark: str, values: Collection[str] | None) -> bool:
    value = _value(process, mark)
    return value is not None and (values is None or value in values)


def _session(pid: int) -> int:
    """Return the session of a process; 0 if it is gone or in another pid namespace (getsid(2))."""
    try:
        return os.getsid(pid)
    except OSError:
        return 0


def _lives(process: psutil.Process) -> bool:
    """Return ``True`` for a process of this user that has not ended."""
    import psutil

    try:
        return process.uids().real == os.getuid() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _value(process: psutil.Process, mark: str) -> str | None:
    import psutil

    try:
        return process.environ().get(mark)
    except (psutil.Error, OSError):
        return None  # gone, a zombie, or another user's


def _did(signal: Callable[[], None]) -> bool:
    """Return ``True`` if a process was there to be signalled."""
    import psutil

    try:
        signal()
    except psutil.Error:
        return False
    return True
