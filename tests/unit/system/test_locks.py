"""A run's lock: held for one write or one sbatch call, and never by a dead process."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from slurmslice.actions.follow import FollowOptions, follow
from slurmslice.engines.protocol import SubmitRequest
from slurmslice.errors import EngineError, LockedError
from slurmslice.run.directory import RunDirectory
from slurmslice.system import files, locks
from tests.conftest import NewRun
from tests.support.errors import raises_error
from tests.support.fakes import FakeEngine
from tests.support.typed import Typed

HOLD = """\
import sys
from pathlib import Path
from slurmslice.run.directory import RunDirectory
with RunDirectory(Path(sys.argv[1])).lock("resubmit"):
    print("held", flush=True)
    sys.stdin.read()
"""
MADE = ("render", "-a", "0-3", "--name", "x", "--", "true", "{}")


@pytest.fixture
def directory(typed: Typed, monkeypatch: pytest.MonkeyPatch) -> RunDirectory:
    """A run, with a short wait for its lock."""
    monkeypatch.setattr("slurmslice.system.locks.LOCK_WAIT_S", 0.3)
    typed(*MADE)
    return RunDirectory(typed.folder / "runs" / "x")


@pytest.fixture
def other(directory: RunDirectory) -> Iterator[subprocess.Popen[str]]:
    """Another process with the lock."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(directory.path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    yield holder
    holder.kill()
    holder.communicate()


def note(directory: RunDirectory, **more: object) -> Path:
    """Write a note that names the holder of a run's lock."""
    path = directory.path / ".lock.holder"
    holder = {"verb": "submit", "pid": 7, "host": "elsewhere", "since": time.time(), **more}
    path.write_text(json.dumps(holder))
    return path


def test_locked_error_names_the_holder(
    typed: Typed, directory: RunDirectory, other: subprocess.Popen[str]
) -> None:
    """It names command, process, machine and time; exit code 3. Reading needs no lock."""
    said = typed("submit")
    assert (typed.code, typed.error) == (3, "locked")
    holder = typed.fields["holder"]
    assert isinstance(holder, locks.LockHolder)
    assert (holder.verb, holder.pid, holder.host) == ("resubmit", other.pid, socket.gethostname())
    assert str(holder) in said
    assert re.search(r" \d{4}-\d\d-\d\d \d\d:\d\d:\d\d$", str(holder))
    for verb in (("cancel",), ("throttle", "x", "1"), ("resubmit",)):
        typed(*verb)
        assert (typed.code, typed.error) == (3, "locked")
    typed("status")
    assert typed.code == 0
    other.communicate("")
    typed("submit")
    assert typed.code == 0


def test_killed_process_holds_no_lock(
    typed: Typed, directory: RunDirectory, other: subprocess.Popen[str]
) -> None:
    """The lock ends with its process; its note does not count on the same machine."""
    other.send_signal(signal.SIGKILL)
    other.wait()
    assert (directory.path / ".lock.holder").exists()
    typed("submit")
    assert typed.code == 0
    assert not (directory.path / ".lock.holder").exists()


def test_note_of_another_machine_blocks_without_shared_flock(
    typed: Typed, engine: FakeEngine, directory: RunDirectory
) -> None:
    """With NFS and local locks, nothing is submitted twice, and the error says what to type."""
    left = note(directory)
    said = typed("submit")
    assert (typed.code, typed.error) == (3, "locked")
    holder = typed.fields["holder"]
    assert isinstance(holder, locks.LockHolder)
    assert (holder.verb, holder.pid, holder.host) == ("submit", 7, "elsewhere")
    assert f"rm -f {directory.path}/.lock {left}" in said
    typed("status")
    assert typed.code == 0
    assert not engine.jobs
    left.unlink()
    typed("submit")
    assert typed.code == 0
    assert len(engine.jobs) == 1


def test_only_one_of_two_machines_gets_the_lock(
    typed: Typed, engine: FakeEngine, directory: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If flock does not reach between the machines, the first note wins."""
    claim = files.create_exclusively

    def late(path: Path, data: bytes) -> bool:
        note(directory)
        return claim(path, data)

    monkeypatch.setattr("slurmslice.system.files.create_exclusively", late)
    typed("submit")
    assert (typed.code, typed.error) == (3, "locked")
    assert isinstance(typed.fields["holder"], locks.LockHolder)
    assert (typed.fields["holder"].pid, typed.fields["holder"].host) == (7, "elsewhere")
    assert not engine.jobs


def test_note_works_without_hard_links(
    typed: Typed, directory: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some file systems have no hard links; an existing note still counts."""

    def none(*args: object, **more: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", none)
    left = note(directory)
    typed("submit")
    assert (typed.code, typed.error) == (3, "locked")
    left.unlink()
    typed("submit")
    assert typed.code == 0
    assert not list(directory.path.glob(".lock.holder*"))


@pytest.mark.parametrize("since", [-locks.NOTE_VALID_S - 1, None])
def test_old_or_incomplete_note_is_ignored(
    typed: Typed, directory: RunDirectory, since: float | None
) -> None:
    """Its process was killed: no lock is held so long, and an incomplete note names nobody."""
    left = note(directory, since=time.time() + (since or 0))
    if since is None:
        left.write_text(left.read_text()[:20])
    typed("submit")
    assert typed.code == 0


def test_lock_works_without_flock(
    typed: Typed, directory: RunDirectory, monkeypatch: pytest.MonkeyPatch,
    recwarn: pytest.WarningsRecorder,
) -> None:  # fmt: skip
    """Without flock (Lustre's default), one process has the lock, and there is no warning."""

    def none(fd: int, operation: int) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(fcntl, "flock", none)
    with (
        directory.lock("submit"),
        raises_error(LockedError, "locked") as busy,
        directory.lock("cancel"),
    ):
        pass
    holder = busy.value.fields["holder"]
    assert isinstance(holder, locks.LockHolder)
    assert holder.pid == os.getpid()
    with directory.lock("cancel"):
        pass
    assert not recwarn.list


def test_file_system_without_locks_is_refused(
    directory: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error says so, and the hint names --run-dir."""

    def none(*args: object, **more: object) -> None:
        raise NotImplementedError("FileSystem does not appear to support flock")

    monkeypatch.setattr("filelock.FileLock.acquire", none)
    with raises_error(EngineError, "lock-failed") as failed, directory.lock("submit"):
        pass
    assert "--run-dir" in failed.value.hint


def test_lock_is_held_during_sbatch_but_not_while_waiting(
    new_run: NewRun, engine: FakeEngine
) -> None:
    """While a run is followed, other commands get the lock; during sbatch none does."""
    run = new_run("0-3")
    seen: list[str] = []

    def free(order: SubmitRequest | None = None) -> None:
        try:
            with run.directory.lock("cancel", wait=0):
                seen.append("free")
        except LockedError:
            seen.append("held")

    def waits() -> None:
        free()
        engine.end_all()

    engine.on_submit, engine.on_wait = free, waits
    follow(run, FollowOptions(), lambda *args: None)
    assert seen == ["held", "free"]
