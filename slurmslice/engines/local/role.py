"""The runner's role: one process at a time works on a run's orders, the one that holds its lock.

The lock is flock(2)'s own and not a file's being there, so that it ends with its process,
however that ended: a lock that outlives a ``kill -9`` would pass for a runner that lives. Beside
it stands ``runner.json``, which says who it is. On a file system that machines share a lock may
hold on one of them only, so while that file names another machine nothing is concluded here.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from slurmslice import files
from slurmslice.errors import EngineError, NotAFile

_NOT_OURS = frozenset({errno.ENOENT, errno.EACCES, errno.EPERM, errno.EROFS})
"""Why there can be no lock where somebody only looks: another user's run, or none any more."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Who has the role, or had it and was killed.

    Attributes:
        pid: its process.
        host: its machine.
        since: when it took it, epoch seconds.
    """

    pid: int
    host: str
    since: float


class Role:
    """The right to run tasks of a run directory and to write their books.

    Args:
        folder: where the lock and ``runner.json`` are.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.path = folder / "runner.json"
        self._lock: int | None = None

    @property
    def exists(self) -> bool:
        """Whether anybody ever had it, or ordered anything."""
        return self._folder.is_dir()

    def take(self) -> bool:
        """Take the lock if it is free and no other machine may have it; whether it was taken.

        Raises:
            EngineError: this file system has no locks, or is full.
            NotAFile: what stands in the lock's place is none.
        """
        if self.elsewhere() is not None or not self._lock_it():
            return False
        if self.elsewhere() is not None:
            self.release()
        return self._lock is not None

    def _lock_it(self) -> bool:
        lock = self._folder / "lock"
        try:
            # An order whose writer was killed stands, and the folder may not yet.
            self._folder.mkdir(exist_ok=True)
            fd = files.opened(lock, os.O_RDWR | os.O_CREAT)
        except NotAFile:
            raise
        except OSError as why:
            if why.errno in _NOT_OURS:
                return False
            raise EngineError(
                f"{lock} cannot be made: {why.strerror}.", code="lock-failed", path=str(lock)
            ) from why
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return False
        except OSError as why:
            os.close(fd)
            raise EngineError(
                f"{lock} cannot be locked: {why.strerror}.",
                "Put the run on a local file system with --run-dir.",
                code="lock-failed",
                path=str(lock),
            ) from why
        self._lock = fd
        return True

    def announce(self) -> None:
        """Say who has the role."""
        mine = Holder(os.getpid(), host(), time.time())
        files.replace(self.path, (json.dumps(asdict(mine)) + "\n").encode())

    def release(self) -> None:
        """Give the lock up."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def give_up(self) -> None:
        """Say that nobody has the role, and give up the lock, whatever becomes of the first."""
        try:
            self.forget()
        finally:
            self.release()

    def forget(self) -> None:
        """Remove what says who has the role. Hold the lock: then nobody else has it."""
        with suppress(FileNotFoundError):
            self.path.unlink()

    def holder(self) -> Holder | None:
        """Who last said that it has the role, and did not give it up; None for nobody."""
        try:
            record = json.loads(files.read(self.path))
            return Holder(int(record["pid"]), str(record["host"]), float(record["since"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def elsewhere(self) -> Holder | None:
        """Who has the role on another machine, as far as can be told from here."""
        holder = self.holder()
        return holder if holder is not None and holder.host != host() else None


def host() -> str:
    """This machine's name."""
    return os.uname().nodename
