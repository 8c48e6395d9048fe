"""A run's lock: for one write or one sbatch; who waits is told for whom; the dead hold nothing."""

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

from slurmslice import files, locks
from slurmslice.engines import Order
from slurmslice.errors import Busy, EngineError
from slurmslice.rundir import RunDirectory
from slurmslice.verbs.follow import FollowOptions, follow
from tests.conftest import NewRun
from tests.errors import raises_error
from tests.fakes import FakeEngine
from tests.typed import Typed

HOLD = """\
import sys
from pathlib import Path
from slurmslice.rundir import RunDirectory
with RunDirectory(Path(sys.argv[1])).lock("resubmit"):
    print("held", flush=True)
    sys.stdin.read()
"""
MADE = ("render", "-a", "0-3", "--name", "x", "--", "true", "{}")


@pytest.fixture
def place(typed: Typed, monkeypatch: pytest.MonkeyPatch) -> RunDirectory:
    """A run, and little patience."""
    monkeypatch.setattr(locks, "WAIT_S", 0.3)
    typed(*MADE)
    return RunDirectory(typed.folder / "runs" / "x")


@pytest.fixture
def other(place: RunDirectory) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the run."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(place.path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    yield holder
    holder.kill()
    holder.communicate()


def note(place: RunDirectory, **more: object) -> Path:
    """A note of who holds a run."""
    path = place.path / ".lock.holder"
    said = {"verb": "submit", "pid": 7, "host": "elsewhere", "since": time.time(), **more}
    path.write_text(json.dumps(said))
    return path


def test_who_waits_is_told_for_whom(
    typed: Typed, place: RunDirectory, other: subprocess.Popen[str]
) -> None:
    """Verb, process, machine, since when; exit 3. To look needs no lock."""
    said = typed("submit")
    assert (typed.code, typed.error) == (3, "locked")
    holder = typed.fields["holder"]
    assert isinstance(holder, locks.Holder)
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


def test_who_was_killed_holds_nothing(
    typed: Typed, place: RunDirectory, other: subprocess.Popen[str]
) -> None:
    """The lock ends with its process; what it noted is of no account on this machine."""
    other.send_signal(signal.SIGKILL)
    other.wait()
    assert (place.path / ".lock.holder").exists()
    typed("submit")
    assert typed.code == 0
    assert not (place.path / ".lock.holder").exists()


def test_another_machine_is_believed_though_flock_does_not_reach_it(
    typed: Typed, engine: FakeEngine, place: RunDirectory
) -> None:
    """NFS with local locks: nothing is submitted beside it, and what to do is told."""
    left = note(place)
    said = typed("submit")
    assert (typed.code, typed.error) == (3, "locked")
    holder = typed.fields["holder"]
    assert isinstance(holder, locks.Holder)
    assert (holder.verb, holder.pid, holder.host) == ("submit", 7, "elsewhere")
    assert f"rm -f {place.path}/.lock {left}" in said
    typed("status")
    assert typed.code == 0
    assert not engine.jobs
    left.unlink()
    typed("submit")
    assert typed.code == 0
    assert len(engine.jobs) == 1


def test_of_two_machines_that_begin_at_once_one_has_it(
    typed: Typed, engine: FakeEngine, place: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """flock reaches neither's other: whose note is there first has it."""
    claim = files.claim

    def late(path: Path, data: bytes) -> bool:
        note(place)
        return claim(path, data)

    monkeypatch.setattr(files, "claim", late)
    typed("submit")
    assert (typed.code, typed.error) == (3, "locked")
    assert isinstance(typed.fields["holder"], locks.Holder)
    assert (typed.fields["holder"].pid, typed.fields["holder"].host) == (7, "elsewhere")
    assert not engine.jobs


def test_without_hard_links_a_note_is_created(
    typed: Typed, place: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some file systems have none; a note that is there is respected all the same."""

    def none(*args: object, **more: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", none)
    left = note(place)
    typed("submit")
    assert (typed.code, typed.error) == (3, "locked")
    left.unlink()
    typed("submit")
    assert typed.code == 0
    assert not list(place.path.glob(".lock.holder*"))


@pytest.mark.parametrize("since", [-locks.NOTE_S - 1, None])
def test_a_note_that_is_old_or_torn_holds_nobody(
    typed: Typed, place: RunDirectory, since: float | None
) -> None:
    """It is of a process that was killed: no lock is held so long, none is given by half a note."""
    left = note(place, since=time.time() + (since or 0))
    if since is None:
        left.write_text(left.read_text()[:20])
    typed("submit")
    assert typed.code == 0


def test_without_flock_a_file_holds_it(
    typed: Typed, place: RunDirectory, monkeypatch: pytest.MonkeyPatch,
    recwarn: pytest.WarningsRecorder,
) -> None:  # fmt: skip
    """A file system without flock (Lustre, as it comes): still one at a time, and no warning."""

    def none(fd: int, operation: int) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(fcntl, "flock", none)
    with place.lock("submit"), raises_error(Busy, "locked") as busy, place.lock("cancel"):
        pass
    holder = busy.value.fields["holder"]
    assert isinstance(holder, locks.Holder)
    assert holder.pid == os.getpid()
    with place.lock("cancel"):
        pass
    assert not recwarn.list


def test_no_lock_at_all_is_told(place: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that says so and what to do."""

    def none(*args: object, **more: object) -> None:
        raise NotImplementedError("FileSystem does not appear to support flock")

    monkeypatch.setattr("filelock.FileLock.acquire", none)
    with raises_error(EngineError, "lock-failed") as failed, place.lock("submit"):
        pass
    assert "--run-dir" in failed.value.hint


def test_it_is_held_for_an_sbatch_and_for_no_wait(new_run: NewRun, engine: FakeEngine) -> None:
    """While a run is followed any other verb gets in; beside an sbatch none does."""
    run = new_run("0-3")
    seen: list[str] = []

    def free(order: Order | None = None) -> None:
        try:
            with run.place.lock("cancel", wait=0):
                seen.append("free")
        except Busy:
            seen.append("held")

    def waits() -> None:
        free()
        engine.end_all()

    engine.on_submit, engine.on_wait = free, waits
    follow(run, FollowOptions(), lambda *args: None)
    assert seen == ["held", "free"]
