"""Find and kill the processes that a killed runner or worker left, by an environment variable."""

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

KILL_TIMEOUT_S = 5.0
"""Seconds to wait for the end of killed processes."""

_POLL_S = 0.02


def marker_variable(run_dir: Path) -> str:
    """Return the name of the environment variable that marks the processes of a run.

    Each run has its own name, because a run inside a task of another run has both markers.
    """
    return f"SLURMSLICE_LOCAL_{hashlib.sha256(os.fsencode(run_dir.resolve())).hexdigest()[:16]}"


def kill_orphans(marker: str, session: int = 0) -> bool:
    """Kill all processes with the marker and their descendants. Return ``True`` if none is left.

    A command may clear its environment (``env -i``). Therefore descendants of marked processes and
    all processes in the session of a worker are killed too. Only processes of this user are seen.
    If this process is itself one of them, nothing is killed and the result is ``False``.

    Args:
        marker: the variable. Its value is the worker's process id, which is also its session id.
        session: the worker whose processes are killed; 0 for all workers.
    """
    import psutil

    ours = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    deadline = time.monotonic() + KILL_TIMEOUT_S
    sessions = {session} - {0}  # still known after the marked processes have ended
    stopped: set[int] = set()
    while found := _find_orphans(marker, session, sessions):
        if any(process.pid in ours for process in found):
            return False
        late = time.monotonic() > deadline
        new = [process for process in found if process.pid not in stopped]
        if new and not late:  # stop them first: a process that forks could leave an unknown child
            stopped |= {process.pid for process in new if _signalled(process.suspend)}
            continue
        for process in found:
            _signalled(process.kill)
        if late:
            return False
        time.sleep(_POLL_S)
    return True


def _find_orphans(marker: str, session: int, sessions: set[int]) -> list[psutil.Process]:
    """Return the processes to kill.

    Marked processes come first: workers die before they can record the ends of their tasks.

    Args:
        marker: the variable.
        session: the worker whose processes are found; 0 for all workers.
        sessions: the known sessions of workers; newly found sessions are added.
    """
    import psutil

    everything = list(psutil.process_iter())
    wanted = str(session) if session else None
    marked = {p.pid: p for p in everything if _is_alive(p) and _has_marker(p, marker, wanted)}
    sessions |= {
        found
        for process in marked.values()
        if str(found := _session(process.pid)) == _marker_value(process, marker)
    }
    below = {pid for top in marked for pid in descendants(top)} - marked.keys()
    unmarked = [
        process
        for process in psutil.process_iter()
        if process.pid in below or (process.pid not in marked and _session(process.pid) in sessions)
    ]
    return [*marked.values(), *(process for process in unmarked if _is_alive(process))]


def _has_marker(process: psutil.Process, marker: str, wanted: str | None = None) -> bool:
    """Return ``True`` if a process has the marker, with the wanted value if one is given."""
    value = _marker_value(process, marker)
    return value is not None and wanted in (None, value)


def _session(pid: int) -> int:
    """Return the session of a process; 0 if it is gone or in another pid namespace (getsid(2))."""
    try:
        return os.getsid(pid)
    except OSError:
        return 0


def _is_alive(process: psutil.Process) -> bool:
    """Return ``True`` for a process of this user that has not ended."""
    import psutil

    try:
        return process.uids().real == os.getuid() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _marker_value(process: psutil.Process, marker: str) -> str | None:
    import psutil

    try:
        return process.environ().get(marker)
    except (psutil.Error, OSError):
        return None  # the process is gone, is a zombie, or belongs to another user


def _signalled(send: Callable[[], None]) -> bool:
    """Send a signal. Return ``True`` if the process still existed."""
    import psutil

    try:
        send()
    except psutil.Error:
        return False
    return True
