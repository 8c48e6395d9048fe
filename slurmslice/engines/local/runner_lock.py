"""The lock of a run directory. Only the process that holds it, the runner, may run tasks.

The lock is flock(2) on ``local/runner``, so it ends with its process. While a runner works, that
file names it: ``PID HOST TIME``. A killed runner leaves this text. The next process that looks
ends the runner's processes and empties the file. On a shared file system a lock may exist on one
machine only. Therefore a free lock means nothing if the text names another machine.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from pathlib import Path

from slurmslice.errors import EngineError, NotAFileError
from slurmslice.system import files

_NO_WRITE_ACCESS = frozenset({errno.ENOENT, errno.EACCES, errno.EPERM, errno.EROFS})
_MAX_BYTES = 1024


def host_name() -> str:
    """Return this machine's name."""
    return os.uname().nodename


def describe_runner(runner: str) -> str:
    """Describe a runner, for example ``process 7 on n3``."""
    pid, _, rest = runner.partition(" ")
    return f"process {pid} on {rest.partition(' ')[0]}" if rest else "an unknown process"


class RunnerLock:
    """The lock, and the text that names its holder.

    Args:
        path: the file ``local/runner``; ``acquire`` creates it.

    Attributes:
        own_text: the text of this process while it is the runner; else empty.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.own_text = ""
        self._fd: int | None = None

    def read_holder(self) -> str:
        """Return the text of the runner, or of a runner that was killed; empty for none."""
        try:
            with open(files.open_regular(self.path), "rb") as file:
                return file.read(_MAX_BYTES).decode("utf-8", "replace").strip()
        except OSError:
            return ""

    def is_on_other_host(self, holder: str) -> bool:
        """Return ``True`` if the text of a runner names another machine."""
        words = holder.split(" ")
        return len(words) > 2 and words[1] != host_name()

    def is_alive(self, holder: str) -> bool:
        """Return ``True`` if the process of a runner on this machine exists. The lock is not taken.

        Another process may have got its id. The signal 0 reaches nothing (kill(2)).
        """
        pid = holder.partition(" ")[0]
        try:
            os.kill(int(pid) if pid.isdecimal() else 0, 0)
        except (ProcessLookupError, OverflowError):
            return False
        except PermissionError:
            return True
        return True

    def acquire(self) -> bool:
        """Acquire the lock if it is free. Return ``True`` if this process holds it now.

        Raises:
            EngineError: the file system has no locks, or it is full.
            NotAFileError: the path is not a regular file.
        """
        try:
            self.path.parent.mkdir(exist_ok=True)
            fd = files.open_regular(self.path, os.O_RDWR | os.O_CREAT)
        except NotAFileError:
            raise
        except OSError as why:
            if why.errno in _NO_WRITE_ACCESS:
                return False
            raise EngineError(
                f"{self.path} cannot be created: {why.strerror}.",
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
                "Use --run-dir to put the run on a local file system.",
                code="lock-failed",
            ) from why
        self._fd = fd
        if self.is_on_other_host(self.read_holder()):
            self.release()
        return self._fd is not None

    def write_holder(self) -> None:
        """Name this process as the runner. The lock must be held.

        Raises:
            OSError: the file could not be written.
        """
        own_text = f"{os.getpid()} {host_name()} {time.time_ns()}"
        self._write(f"{own_text}\n".encode())
        self.own_text = own_text

    def clear_holder(self) -> None:
        """Empty the file: there is no runner. The lock must be held."""
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
        """Release the lock."""
        self.own_text = ""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
