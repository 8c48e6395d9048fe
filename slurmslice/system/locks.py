"""A run's lock: flock(2), plus a note with the name of its holder.

The lock ends with its process, however the process ends. On a file system that several machines
share, flock may work on each machine alone (NFS with ``local_lock``, Lustre with ``localflock``;
nfs(5)). The note therefore counts too: while it names another machine, that machine holds the
lock, even if flock succeeds here. A killed process leaves its note, so another machine's
note is believed for ``NOTE_VALID_S`` only.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import socket
import time
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from slurmslice.errors import EngineError, LockedError
from slurmslice.system import files

if TYPE_CHECKING:
    from filelock import BaseFileLock

LOCK_WAIT_S = 10.0
"""Seconds that a command waits for another one's write or sbatch before it fails."""

NOTE_VALID_S = 900.0
"""Seconds that another machine's note is believed: longer than one sbatch and its queries take."""

_NOTE = ".lock.holder"
_RETRY_S = 0.1


@dataclass(frozen=True, slots=True)
class LockHolder:
    """The process that holds a lock, or was killed while it held it; ``since`` in epoch seconds."""

    verb: str
    pid: int
    host: str
    since: float

    def __str__(self) -> str:
        at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.since))
        return f"`slurmslice {self.verb}`, process {self.pid} on {self.host}, since {at}"


@contextlib.contextmanager
def hold_lock(folder: Path, verb: str, mode: int, wait: float = LOCK_WAIT_S) -> Iterator[None]:
    """Hold the lock of a folder.

    Args:
        folder: the folder of ``.lock`` and its note ``.lock.holder``.
        verb: the slurmslice command that waits.
        mode: permissions of the lock file.
        wait: seconds to wait for the lock.

    Raises:
        LockedError: another process holds the lock for longer.
        EngineError: this file system has no locks.
        NotAFileError: the lock file or the note is not a regular file.
        OSError: the folder cannot be written to.
    """
    from filelock import FileLock

    files.check_regular_or_absent(folder / ".lock")
    lock, note = FileLock(folder / ".lock", mode=mode), folder / _NOTE
    deadline = time.monotonic() + wait
    while True:
        _acquire(lock, note, max(0.0, deadline - time.monotonic()))
        try:
            other = _write_note(note, verb)
        except BaseException:
            lock.release()
            raise
        if other is None:
            break
        lock.release()
        if time.monotonic() >= deadline:
            raise _locked_error(note, other)
        time.sleep(_RETRY_S)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # a note that stays is replaced by the next holder
            note.unlink()
        lock.release()


def _write_note(note: Path, verb: str) -> LockHolder | None:
    """Write our note after flock succeeded; return another machine's holder if there is one.

    If flock does not reach between two machines, the first to create its note holds the lock.
    """
    mine = LockHolder(verb, os.getpid(), socket.gethostname(), time.time())
    data = (json.dumps(asdict(mine)) + "\n").encode()
    while not files.create_exclusively(note, data):
        files.check_regular_or_absent(note)
        if (other := _remote_holder(note)) is not None:
            return other
        note.unlink(missing_ok=True)  # its process ran here and is gone, or the note is too old
    return None


def _acquire(lock: BaseFileLock, note: Path, wait: float) -> None:
    from filelock import Timeout

    try:
        with warnings.catch_warnings():  # filelock warns if it must use a plain file, not flock
            warnings.simplefilter("ignore", UserWarning)
            lock.acquire(timeout=wait)
    except Timeout:
        raise _locked_error(note, _holder(note)) from None
    except NotImplementedError as why:
        raise EngineError(
            f"{note.parent} cannot be locked: {why}.",
            "Create the run on another file system with --run-dir.",
            code="lock-failed",
            path=str(note.parent),
        ) from why


def _locked_error(note: Path, holder: LockHolder | None) -> LockedError:
    """Return the error with the holder and the next step."""
    hint = "Try again when that command has ended."
    if holder is not None and holder.host != socket.gethostname():
        # We cannot see processes of that machine. Without flock, a killed one leaves .lock too.
        lock = shlex.quote(str(note.with_name(".lock")))
        hint += f" If that process no longer exists: rm -f {lock} {shlex.quote(str(note))}"
    return LockedError(
        f"The run {note.parent} is locked by {holder or 'another slurmslice'}.",
        hint,
        run=note.parent.name,
        holder=holder,
    )


def _holder(note: Path) -> LockHolder | None:
    """Return the holder from the note; None if there is no note or it is incomplete."""
    try:
        record = json.loads(files.read_file(note))
        return LockHolder(
            str(record["verb"]), int(record["pid"]), str(record["host"]), float(record["since"])
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _remote_holder(note: Path) -> LockHolder | None:
    """Return the holder on another machine, if its note is fresh enough to be believed."""
    holder = _holder(note)
    if holder is None or holder.host == socket.gethostname():
        return None
    return holder if time.time() - holder.since < NOTE_VALID_S else None
