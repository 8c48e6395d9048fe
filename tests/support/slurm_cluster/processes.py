"""Processes by pid: test, identify and end them; and waits with a deadline."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from .errors import ClusterError

Answer = TypeVar("Answer")

_PAUSE = 0.05


def wait_until(predicate: Callable[[], Answer], deadline: float, what: str = "") -> Answer:
    """Poll until `predicate` returns a true value, and return it; fail after `deadline` s."""
    end = time.monotonic() + deadline
    while not (answer := predicate()):
        if time.monotonic() > end:
            raise ClusterError(f"waited {deadline:g} s in vain for {what or predicate}")
        time.sleep(_PAUSE)
    return answer


def read_pid(pid_file: Path) -> int | None:
    """Read a pid file; None if it is missing, empty or not a number."""
    try:
        return int(pid_file.read_text())
    except (OSError, ValueError):
        return None


def is_running(pid: int) -> bool:
    """Return whether the process runs. A zombie, which waits for its parent, does not run."""
    try:
        # The state follows the name. The name is in brackets and may hold any character, proc(5).
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def name_of(pid: int) -> str:
    """Return the name of a process's program, cut at 15 characters, proc(5); empty if it ended."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def is_daemon(pid: int, program: str, marks: Iterable[str]) -> bool:
    """Return whether `pid` is this program, with all marks in its arguments or environment.

    The kernel reuses pids, so the number in an old pid file may belong to another process now.
    """
    process = Path(f"/proc/{pid}")
    try:
        start = (process / "cmdline").read_bytes() + b"\0" + (process / "environ").read_bytes()
    except OSError:
        return False
    return (
        name_of(pid) == program
        and all(mark.encode() in start for mark in marks)
        and is_running(pid)
    )


def end(pids: list[int], patience: float, what: str) -> None:
    """Send SIGTERM to processes, SIGKILL after `patience` seconds, and wait for their end."""
    _send(pids, signal.SIGTERM)
    try:
        wait_until(lambda: not any(map(is_running, pids)), patience, what)
    except ClusterError:
        kill(pids, what)


def kill(pids: list[int], what: str) -> None:
    """Kill processes and wait for their end."""
    _send(pids, signal.SIGKILL)
    wait_until(lambda: not any(map(is_running, pids)), 20, f"the end of {what}")


def _send(pids: list[int], number: signal.Signals) -> None:
    for pid in filter(is_running, pids):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue
