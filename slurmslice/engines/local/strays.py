"""Processes of tasks whose runner and warden are gone: found by the variable that marks tasks."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from slurmslice.engines.local.machine import descendants

if TYPE_CHECKING:
    import psutil

SWEEP_S = 5.0
"""How long processes that were killed are waited for, seconds."""

_LOOK_S = 0.02


def marker(run_dir: Path) -> str:
    """The name of the variable that marks the processes of a run's tasks: one name a run.

    A run inside a task of another run bears both marks, and is found by either.
    """
    return f"SLURMSLICE_LOCAL_{hashlib.sha256(os.fsencode(run_dir.resolve())).hexdigest()[:16]}"


def sweep(mark: str) -> bool:
    """End every process that bears the mark, and what such have left; whether none is left.

    A command may wipe its environment (``env -i``): so whatever descends from a marked process
    is ended too, and whatever is in the session in which a warden started its tasks. Only this
    user's can be seen. Processes of which this one is a part are spared, and then some are left.
    """
    import psutil

    ours = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    deadline = time.monotonic() + SWEEP_S
    sessions: set[int] = set()  # still known when those that bore the mark are gone
    stopped: set[int] = set()
    while found := _left(mark, sessions):
        if any(process.pid in ours for process in found):
            return False
        late = time.monotonic() > deadline
        fresh = [process for process in found if process.pid not in stopped]
        if fresh and not late:  # what forks meanwhile leaves a child that nothing tells any more
            stopped |= {process.pid for process in fresh if _did(process.suspend)}
            continue
        for process in found:
            _did(process.kill)
        if late:
            return False
        time.sleep(_LOOK_S)
    return True


def _left(mark: str, sessions: set[int]) -> list[psutil.Process]:
    """What is to be ended: those that bear the mark first, so that none tells how others ended.

    Args:
        mark: the variable.
        sessions: the tasks' sessions that are known; those that are found come to them.
    """
    import psutil

    marked = {p.pid: p for p in psutil.process_iter() if _bears(p, mark)}
    sessions |= {_tasks_session(process, mark) for process in marked.values()} - {0}
    below = {pid for top in marked for pid in descendants(top)} - marked.keys()
    wiped = [
        process
        for process in psutil.process_iter()
        if process.pid in below or (process.pid not in marked and _session(process.pid) in sessions)
    ]
    return [*marked.values(), *(process for process in wiped if _lives(process))]


def _tasks_session(process: psutil.Process, mark: str) -> int:
    """The session of a marked process, where all that is in it belongs to tasks; else 0.

    The warden makes a session before it starts tasks, which alone have a value in the variable:
    its leader is the warden, or whoever in a task called setsid, and bears the mark or is gone.
    Not so where somebody took a task's environment over into a shell.
    """
    import psutil

    session = _session(process.pid)
    if session in (0, os.getsid(0)) or not _value(process, mark) or not _lives(process):
        return 0
    try:
        leader = psutil.Process(session)
        known = leader.status() == psutil.STATUS_ZOMBIE or _bears(leader, mark)
    except psutil.NoSuchProcess:
        known = True
    return session if known else 0


def _session(pid: int) -> int:
    """The session of a process; 0: it is gone, or in another pid namespace (getsid(2))."""
    try:
        return os.getsid(pid)
    except OSError:
        return 0


def _lives(process: psutil.Process) -> bool:
    """Whether it is a process of this user that has not ended."""
    import psutil

    try:
        return process.uids().real == os.getuid() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _bears(process: psutil.Process, mark: str) -> bool:
    return _value(process, mark) is not None


def _value(process: psutil.Process, mark: str) -> str | None:
    import psutil

    try:
        return process.environ().get(mark)
    except (psutil.Error, OSError):
        return None  # gone, a zombie, or another user's


def _did(signal: Callable[[], None]) -> bool:
    """Whether a process was there to be signalled."""
    import psutil

    try:
        signal()
    except psutil.Error:
        return False
    return True
