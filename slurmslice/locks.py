"""A run's lock: flock(2), and a note of who holds it.

The lock ends with its process, however that ended. On a file system that machines share, flock
may hold on one of them only (NFS with ``local_lock``, Lustre with ``localflock``; nfs(5)), so
the note counts too: while it names another machine, the lock is that one's, though flock was
given to us. A process that was killed there leaves its note, which is believed for ``NOTE_S``.
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

from slurmslice import files
from slurmslice.errors import Busy, EngineError

if TYPE_CHECKING:
    from filelock import BaseFileLock

WAIT_S = 10.0
"""How long a verb waits for another one's write or sbatch before it says who holds the lock."""

NOTE_S = 900.0
"""How long a note of another machine is believed: longer than an sbatch and its questions take."""

_NOTE = ".lock.holder"
_AGAIN_S = 0.1


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a lock, or held it and was killed: the verb, its process, and since when."""

    verb: str
    pid: int
    host: str
    since: float

    def __str__(self) -> str:
        at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.since))
        return f"`slurmslice {self.verb}`, process {self.pid} on {self.host}, since {at}"


@contextlib.contextmanager
def held(folder: Path, verb: str, mode: int, wait: float = WAIT_S) -> Iterator[None]:
    """Hold the lock of a folder.

    Args:
        folder: where ``.lock`` and its note ``.lock.holder`` are.
        verb: who asks for it.
        mode: the permissions that the lock file gets.
        wait: how long to wait for it, seconds.

    Raises:
        Busy: another process holds it for longer.
        EngineError: this file system has no locks.
        NotAFile: what stands in the place of one of the two is none.
        OSError: the folder cannot be written to.
    """
    from filelock import FileLock

    files.check_place(folder / ".lock")
    lock, note = FileLock(folder / ".lock", mode=mode), folder / _NOTE
    deadline = time.monotonic() + wait
    while True:
        _acquire(lock, note, max(0.0, deadline - time.monotonic()))
        try:
            other = _note_down(note, verb)
        except BaseException:
            lock.release()
            raise
        if other is None:
            break
        lock.release()
        if time.monotonic() >= deadline:
            raise _busy(note, other)
        time.sleep(_AGAIN_S)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # the next one puts its own in its place
            note.unlink()
        lock.release()


def _note_down(note: Path, verb: str) -> Holder | None:
    """Say who holds the lock, now that it is ours here; who holds it elsewhere, if somebody does.

    Of two machines whose flock does not reach the other one's, the first that puts its note in
    place has the lock.
    """
    mine = Holder(verb, os.getpid(), socket.gethostname(), time.time())
    data = (json.dumps(asdict(mine)) + "\n").encode()
    while not files.claim(note, data):
        files.check_place(note)
        if (other := _elsewhere(note)) is not None:
            return other
        note.unlink(missing_ok=True)  # of a process of this machine that is gone, or long past
    return None


def _acquire(lock: BaseFileLock, note: Path, wait: float) -> None:
    from filelock import Timeout

    try:
        with warnings.catch_warnings():  # that there is no flock, and a file's being there counts
            warnings.simplefilter("ignore", UserWarning)
            lock.acquire(timeout=wait)
    except Timeout:
        raise _busy(note, _holder(note)) from None
    except NotImplementedError as why:
        raise EngineError(
            f"{note.parent} cannot be locked: {why}.",
            "Put the run on another file system with --run-dir.",
            code="lock-failed",
            path=str(note.parent),
        ) from why


def _busy(note: Path, holder: Holder | None) -> Busy:
    """Who holds it, and what can be done."""
    hint = "Try again when it is done."
    if holder is not None and holder.host != socket.gethostname():
        # Of a process there nothing can be known here; without flock its lock stays as well.
        lock = shlex.quote(str(note.with_name(".lock")))
        hint += f" If that process is gone for good: rm -f {lock} {shlex.quote(str(note))}"
    return Busy(
        f"The run {note.parent} is held by {holder or 'another slurmslice'}.",
        hint,
        run=note.parent.name,
        holder=holder,
    )


def _holder(note: Path) -> Holder | None:
    """Who holds the lock by its note; None where there is none, or it is torn."""
    try:
        record = json.loads(files.read(note))
        return Holder(
            str(record["verb"]), int(record["pid"]), str(record["host"]), float(record["since"])
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _elsewhere(note: Path) -> Holder | None:
    """Who holds the lock on another machine, as far as can be told from here."""
    holder = _holder(note)
    if holder is None or holder.host == socket.gethostname():
        return None
    return holder if time.time() - holder.since < NOTE_S else None
