"""The runner's end of the socket to its warden (``warden.py`` has the other, and the messages)."""

from __future__ import annotations

import os
import select
import socket
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from slurmslice.engines.local import warden
from slurmslice.process import spawn

_MESSAGE_BYTES = 1 << 16
_REAP_S = 0.005


@dataclass(frozen=True, slots=True)
class Began:
    """A task's script was started: its process (and process group) id, and when (epoch)."""

    key: str
    pid: int
    at: float


@dataclass(frozen=True, slots=True)
class Failed:
    """A task could not be started, for this errno."""

    key: str
    errno: int


@dataclass(frozen=True, slots=True)
class Ended:
    """A task has ended, and no process of it is left.

    Attributes:
        key: the task's.
        status: its script's, as wait(2) has it.
        cpu_s: CPU time of all its processes that were waited for, user and system.
        max_rss_bytes: the largest single process' peak (getrusage(2)).
        elapsed_s: from start to end, seconds.
        at: when the script ended, epoch seconds.
        told: it was asked to end, and had not ended by itself before.
    """

    key: str
    status: int
    cpu_s: float
    max_rss_bytes: int
    elapsed_s: float
    at: float
    told: bool


Event = Began | Failed | Ended


class Link:
    """A warden that was started, and what is said to it and heard from it.

    Args:
        marker: the variable that marks tasks' processes.
        grace_s: seconds from SIGTERM to SIGKILL when it ends what is left.
        env: the environment that tasks get, but for what each is given.
        cells: the control group that it removes if it outlives this process.

    Raises:
        OSError: it could not be started.
    """

    def __init__(
        self, marker: str, grace_s: float, env: Mapping[str, str], cells: Path | None
    ) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        argv = [sys.executable, "-I", "-S", warden.__file__, marker, str(grace_s)]
        if cells is not None:
            argv.append(str(cells))
        try:
            self.pid = spawn(argv, stdin=theirs.fileno(), env=env)
        finally:
            theirs.close()
        self._poll = select.poll()
        self._poll.register(self._socket, select.POLLIN)
        self.open = True

    # -- what is said ------------------------------------------------------------------------

    def start(self, key: str, log: Path, argv: Sequence[str], env: Mapping[str, str]) -> None:
        """Have a task started; ``Began`` or ``Failed`` follows."""
        variables = [f"{name}={value}" for name, value in env.items()]
        self._say("start", key, str(log), str(len(variables)), *variables, *argv)

    def signal(self, key: str, number: int, *, whole: bool) -> None:
        """Signal all processes of a task, or its script alone."""
        self._say("signal", key, str(number), str(int(whole)))

    def kill(self, key: str = "*") -> None:
        """End a task, or all, with SIGKILL."""
        self._say("kill", key)

    def leave(self) -> None:
        """Have all tasks ended, with the grace, and the warden after them."""
        self._say("leave")

    def _say(self, *fields: str) -> None:
        try:
            self._socket.send("\0".join(fields).encode("utf-8", "surrogateescape"))
        except OSError:
            self.open = False  # it is gone; what became of its tasks is the runner's to find out

    # -- what is heard -----------------------------------------------------------------------

    def events(self, timeout: float) -> Iterator[Event]:
        """What the warden says within a time-out (seconds); all that is there at once."""
        while self.open and self._poll.poll(timeout * 1000):
            timeout = 0
            try:
                message = self._socket.recv(_MESSAGE_BYTES)
            except ConnectionError:
                message = b""
            if not message:
                self.open = False
                return
            yield _event(message.decode().split("\0"))

    def close(self, within: float) -> bool:
        """Let the warden go; whether it ended within so many seconds and left nothing behind."""
        self._socket.close()
        self.open = False
        deadline = time.monotonic() + within
        while time.monotonic() < deadline:
            try:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
            except ChildProcessError:  # the caller ignores SIGCHLD: nobody can tell
                return False
            if pid:
                return status == 0
            time.sleep(_REAP_S)
        return False


def _event(fields: Sequence[str]) -> Event:
    match fields:
        case ["began", key, pid, at]:
            return Began(key, int(pid), float(at))
        case ["failed", key, errno]:
            return Failed(key, int(errno))
        case [_, key, status, cpu, rss, elapsed, at, told]:
            numbers = (int(status), float(cpu), int(rss), float(elapsed), float(at))
            return Ended(key, *numbers, told == "1")
        case _:
            raise AssertionError(f"the warden said {fields!r}")
