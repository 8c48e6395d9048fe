"""Growing files and replaced files: every prefix is readable, and no file is half written."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurmslice.engines.local.jobs import LocalJob
from slurmslice.engines.local.runner_lock import RunnerLock
from slurmslice.engines.local.task_records import TaskRecords
from slurmslice.run.journal import Event, Held, Queued, Throttled, format_event, parse_events
from slurmslice.sbatch.array_expression import parse_array
from slurmslice.sbatch.resource_request import NO_REQUEST
from slurmslice.system import files

LINE = b"a line\tof some length\n"


def takes(most: int, room: int = 1 << 20) -> Callable[[int, bytes], int]:
    """Return a write(2) that writes at most this many bytes per call until the room is used up."""
    left, write = room, os.write

    def some(fd: int, data: bytes) -> int:
        nonlocal left
        if not left:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = write(fd, data[: min(most, left)])
        left -= written
        return written

    return some


def journalled(path: Path) -> None:
    """Write a decision as the journal does."""
    files.append_lines(path, format_event(Held("why", 1.0)))


def noted(path: Path) -> None:
    """Write a line as the local runner does."""
    line = b"slurmslice dropped job=1 restart=0 at=7 host=n3 task=3,5,9\n"
    files.append_lines(path, line, durably=False)


WRITERS = [journalled, noted]


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("most", [1, 2, 7])
def test_partial_write_is_continued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[[Path], None], most: int
) -> None:
    """If the system writes fewer bytes than requested, the line is still complete."""
    whole, short = tmp_path / "whole", tmp_path / "short"
    monkeypatch.setattr("time.time", lambda: 5.0)
    write(whole)
    monkeypatch.setattr(os, "write", takes(most))
    write(short)
    assert short.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("room", range(0, 21, 2))
def test_full_disk_loses_no_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[[Path], None], room: int
) -> None:
    """With room for only a part of a line, the error names the file and no line is lost."""
    path = tmp_path / "file"
    write(path)
    before = path.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", takes(8, room))
        with pytest.raises(OSError, match=path.name) as why:
            write(path)
    assert (why.value.errno, why.value.filename) == (errno.ENOSPC, str(path))
    assert files.read_new_lines(path, 0) == (before, len(before))
    files.append_lines(path, LINE)
    assert path.read_bytes() == before + LINE


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("there", [True, False])
def test_append_refuses_a_symbolic_link(
    tmp_path: Path, write: Callable[[Path], None], there: bool
) -> None:
    """Its target is neither truncated, written nor created; the error names the link."""
    path, other = tmp_path / "file", tmp_path / "other"
    if there:
        other.write_bytes(LINE + b"no line yet")
    path.symlink_to(other)
    with pytest.raises(OSError, match=path.name) as why:
        write(path)
    assert why.value.errno == errno.ELOOP
    assert str(why.value.filename) == str(path)
    assert other.read_bytes() == LINE + b"no line yet" if there else not other.exists()


def test_replace_is_all_or_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk leaves the old file unchanged and no draft beside it."""
    path = tmp_path / "file"
    files.replace_file(path, LINE)

    def full(fd: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left on device") as why:
        files.replace_file(path, b"another")
    assert why.value.filename == str(path)
    assert path.read_bytes() == LINE
    assert list(tmp_path.iterdir()) == [path]


@given(st.binary(max_size=20_000), st.binary(max_size=9_000).filter(lambda b: b"\n" not in b))
def test_incomplete_line_is_removed(
    tmp_path_factory: pytest.TempPathFactory, whole: bytes, torn: bytes
) -> None:
    """Whole lines before an incomplete one stay; the next line begins on its own."""
    path = tmp_path_factory.mktemp("torn") / "file"
    whole = whole[: files.whole_lines_length(whole)]
    path.write_bytes(whole + torn)
    assert files.read_new_lines(path, 0) == (whole, len(whole))
    files.append_lines(path, LINE, b"header\n")
    assert path.read_bytes() == (whole or b"header\n") + LINE


# -- what the local engine reads -------------------------------------------------------------------

WORKER_LINES = b"""\
0m0.000s 0m0.004s
0m1.250s 0m0.500s
slurmslice start job=1 restart=0 at=5 host=n3 slot=0 format=1 task=1
slurmslice check job=1 restart=0 at=6 host=n3 slot=0 exit=3 task=1
0m0.000s 0m0.005s
0m1.500s 0m0.625s
slurmslice end job=1 restart=0 at=7 host=n3 slot=0 exit=3 task=1 us=1750000 with_cache=4096
slurmslice start job=1 restart=0 at=7 host=n3 slot=0 format=1 task=12
slurmslice timeout job=1 restart=0 at=8 host=n3 slot=0 task=12
slurmslice end job=1 restart=0 at=8 host=n3 slot=0 exit=143 told=TERM stopped=1 task=12 us=12
slurmslice start job=1 restart=0 at=9 host=n3 slot=0 format=1 task=13
"""
RUNNER_LINES = b"""\
slurmslice peak job=1 restart=0 at=6 host=n3 task=13 rss=40960
slurmslice dropped job=1 restart=0 at=7 host=n3 task=1,10,100
slurmslice end job=1 restart=0 at=8 host=n3 slot=0 exit=137 task=14
"""
FILES = [("worker-0.log", WORKER_LINES), ("runner.log", RUNNER_LINES)]


def read_records(path: Path) -> list[object]:
    """Return everything that a reader gets about tasks."""
    nothing = Path("/nowhere")
    job = LocalJob(
        1, "x", parse_array("0-120"), nothing, path.parent.parent, (), NO_REQUEST, False, 0.0, None
    )
    records = TaskRecords(job)
    records.refresh()
    return [dict(records.started), records.ended, records.stopped, records.dropped]


@pytest.mark.parametrize(("name", "data"), FILES)
def test_any_prefix_is_read_as_its_complete_lines(tmp_path: Path, name: str, data: bytes) -> None:
    """A writer is killed at any byte, and another one continues: an incomplete line never counts.

    A part of ``dropped task=1,10`` would name other tasks.
    """
    (tmp_path / "tasks").mkdir()
    path = tmp_path / "tasks" / name
    for length in range(len(data) + 1):
        path.write_bytes(data[: files.whole_lines_length(data[:length])])
        said = read_records(path)
        for rest in (b"", b"none\n", b"x\nslurmslice start job=1\n"):
            path.write_bytes(data[:length] + rest)
            assert read_records(path) == said


@pytest.mark.parametrize(("name", "data"), FILES)
@given(length=st.integers(0, 900), rest=st.binary(max_size=60), tail=st.booleans())
def test_bytes_after_a_torn_line_are_read(
    tmp_path_factory: pytest.TempPathFactory,
    name: str,
    data: bytes,
    length: int,
    rest: bytes,
    tail: bool,
) -> None:
    """If a prefix of a file is followed by other bytes, no reader fails."""
    path = tmp_path_factory.mktemp("any") / "tasks" / name
    path.parent.mkdir()
    path.write_bytes(data[:length] + rest + b"\n" * tail)
    read_records(path)


@pytest.mark.parametrize(
    "line",
    [
        "end job=1 restart=0 at=7 host=n3 slot=0 exit=inf task=1",
        "end job=1 restart=0 at=7 host=n3 slot=0 exit=0 task=nan",
        "dropped job=1 restart=0 at=7 host=n3 task=5-",
        "start job=1 restart=0 at=9999999999999999 host=n3 task=1",
        "end job=1 restart=0 at=7 host=n3 exit=0 task=1 us=" + "9" * 400,
    ],
)
def test_a_line_with_an_invalid_number_is_ignored(tmp_path: Path, line: str) -> None:
    """A line with an invalid or too large number is ignored."""
    (tmp_path / "tasks").mkdir()
    path = tmp_path / "tasks" / "worker-0.log"
    path.write_text(f"slurmslice {line}\n")
    assert read_records(path)[1:] == [{}, {}, set()]


@given(length=st.integers(0, 80), rest=st.binary(max_size=20))
def test_a_damaged_runner_file_is_read(
    tmp_path_factory: pytest.TempPathFactory, length: int, rest: bytes
) -> None:
    """The runner's file, torn or damaged, names a runner or nobody, and no reader fails."""
    lock = RunnerLock(tmp_path_factory.mktemp("lock") / "local" / "runner")
    assert lock.acquire()
    lock.write_holder()
    lock.path.write_bytes(lock.path.read_bytes()[:length] + rest)
    assert rest or lock.own_text.startswith(lock.read_holder())
    lock.is_on_other_host(lock.read_holder())
    lock.clear_holder()
    assert not lock.read_holder()
    lock.release()


def test_journal_ignores_an_incomplete_line(tmp_path: Path) -> None:
    """The incomplete line of a killed writer is no decision, whoever writes next."""
    path = tmp_path / "journal"
    events: list[Event] = [Throttled(12, 1.0), Queued("0-9", NO_REQUEST, 2.0)]
    data = b"".join(map(format_event, events))
    for length in range(len(data) + 1):
        path.write_bytes(data[:length])
        journalled(path)
        whole = data[:length].count(b"\n")
        assert list(parse_events(path.read_bytes())) == [*events[:whole], Held("why", 1.0)]
