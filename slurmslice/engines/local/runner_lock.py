"""The right to run tasks of a run directory: one process at a time has it, the run's runner.

It is flock(2) on ``local/runner``, so it ends with its process. While a runner works, that file
says who it is: ``PID HOST TIME``. A runner that was killed leaves that text: whoever looks next
ends its processes and empties the file. On a file system that machines share, a lock may hold on
one of them only; so nothing is concluded here while the text names another machine.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from pathlib import Path

from slurmslice.errors import EngineError, NotAFileError
from slurmslice.system import files

_MAY_ONLY_LOOK = frozenset({errno.ENOENT, errno.EACCES, errno.EPERM, errno.EROFS})
_LONGEST = 1024


def host() -> str:
    """Return this machine's name."""
    return os.uname().nodename


def describe(runner: str) -> str:
    """Return a runner in words: ``process 7 on n3``."""
    pid, _, rest = runner.partition(" ")
    return f"process {pid} on {rest.partition(' ')[0]}" if rest else "a process that is gone"


class RunnerLock:
    """The lock, and the text that says who holds it.

    Args:
        path: the file ``local/runner``. Nothing is made before ``take``.

    Attributes:
        mine: the text while this process is the runner; else empty.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.mine = ""
        self._fd: int | None = None

    def holder(self) -> str:
        """Return who is the runner, or was it and was killed; empty for nobody."""
        try:
            with open(files.open_regular(self.path), "rb") as file:
                return file.read(_LONGEST).decode("utf-8", "replace").strip()
        except OSError:
            return ""

    def is_elsewhere(self, holder: str) -> bool:
        """Return ``True`` if a runner's text names another machine."""
        words = holder.split(" ")
        return len(words) > 2 and words[1] != host()

    def take(self) -> bool:
        """Take the lock if it is free; return ``True`` if this process has it now.

        Raises:
            EngineError: the file system has no locks, or is full.
            NotAFileError: another kind of file is in its place.
        """
        try:
            self.path.parent.mkdir(exist_ok=True)
            fd = files.open_regular(self.path, os.O_RDWR | os.O_CREAT)
        except NotAFileError:
            raise
        except OSError as why:
            if why.errno in _MAY_ONLY_LOOK:
                return False
            raise EngineError(
                f"{self.path} cannot be made: {why.strerror}.",
                code="lock-failed",
                path=str(self.path),
            ) from why
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return False
        except OSError as why:
            os.close(fd)
            raise EngineError(
                f"{self.path} cannot be locked: {why.strerror}.",
                "Put the run on a local file system with --run-dir.",
                code="lock-failed",
            ) from why
        self._fd = fd
        if self.is_elsewhere(self.holder()):
            self.release()
        return self._fd is not None

    def announce(self) -> None:
        """Write that this process is the runner. Hold the lock.

        Raises:
            OSError: it could not be written.
        """
        mine = f"{os.getpid()} {host()} {time.time_ns()}"
        self._write(f"{mine}\n".encode())
        self.mine = mine

    def forget(self) -> None:
        """Write that nobody is the runner. Hold the lock."""
        self._write(b"")

    def _write(self, text: bytes) -> None:
        fd = -1 if self._fd is None else self._fd
        try:
            os.ftruncate(fd, 0)
            os.lseek(fd, 0, os.SEEK_SET)
            while text:
                text = text[os.write(fd, text) :]
        except OSError as why:
            raise OSError(why.errno, why.strerror, str(self.path)) from why

    def release(self) -> None:
        """Give the lock up."""
        self.mine = ""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
