"""The log of a slice is read whole, while its task moves it from one file into another."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest

from slurmslice.run.directory import RunDirectory
from slurmslice.run.slice_logs import SliceLog
from slurmslice.script.log_sections import MAX_SECTION_BYTES

LINE = b"slurmslice log job=1 restart=0 at=1 host=n slot=0 bytes=%d name=a.log%s\n"
CLOSING = b"slurmslice log-end bytes=%d\n"


def section(text: bytes, more: bytes = b"") -> bytes:
    return LINE % (len(text), more) + (text + CLOSING % len(text) if text else b"")


@pytest.fixture(params=[True, False], ids=["packed", "alone"])
def log(tmp_path: Path, request: pytest.FixtureRequest) -> SliceLog:
    log = SliceLog(RunDirectory(tmp_path), 1, 3, "a.log", packed=request.param)
    log.own.parent.mkdir(parents=True)
    log.shared.parent.mkdir(parents=True)
    return log


def text(log: SliceLog, offset: int = 0) -> bytes:
    return b"".join(log.streams()[0](offset))


def test_nothing_is_there_yet(log: SliceLog) -> None:
    assert (text(log), log.exists, log.has_output, log.dropped) == (b"", False, False, False)
    assert (log.file(ended=False), log.file(ended=True)) == (log.own, None)


def test_sections_come_before_the_own_log(log: SliceLog) -> None:
    """A restarted slice writes into a new log."""
    log.shared.write_bytes(section(b"one\n") + section(b"two\n"))
    log.own.write_bytes(b"three")
    assert text(log) == b"one\ntwo\nthree"
    assert [text(log, offset) for offset in (4, 10, 13, 20)] == [b"two\nthree", b"ree", b"", b""]
    assert log.file(ended=True) == log.own


def test_the_end_of_a_log(log: SliceLog) -> None:
    """It is the end of all its text, in sections and in its own file, large ones too."""
    size = MAX_SECTION_BYTES
    assert log.tail(4) == b""
    log.shared.write_bytes(section(b"one\n") + section(b"two\n"))
    assert (log.tail(6), log.tail(100)) == (b"e\ntwo\n", b"one\ntwo\n")
    log.own.write_bytes(b"two\n")  # moved, and not removed yet
    assert log.tail(6) == b"e\ntwo\n"
    log.own.write_bytes(b"x" * (3 * size) + b"end")
    assert log.tail(size) == b"x" * (size - 3) + b"end"


def test_a_moved_log_is_shown_once(log: SliceLog) -> None:
    """A task was killed after it had written the section and before it emptied the log."""
    log.shared.write_bytes(section(b"one\n"))
    log.own.write_bytes(b"one\n")
    assert text(log) == b"one\n"
    log.own.write_bytes(b"")
    assert text(log) == b"one\n"
    log.own.unlink()
    assert text(log) == b"one\n"
    assert {log.file(ended=ended) for ended in (False, True)} == {log.shared}


def test_a_log_that_moves_while_it_is_read(log: SliceLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """The task moves the log between two steps of the reader, whichever they are."""
    looks = SliceLog.sections

    def move(self: SliceLog) -> object:
        found = looks(self)
        if log.own.exists():
            log.shared.write_bytes(section(b"one\n"))
            log.own.unlink()
        return found

    log.own.write_bytes(b"one\n")
    monkeypatch.setattr(SliceLog, "sections", move)
    assert text(log) == b"one\n"


def test_a_log_of_any_size_is_read_in_pieces(log: SliceLog) -> None:
    log.own.write_bytes(b"x" * (3 * MAX_SECTION_BYTES))
    assert text(log) == b"x" * (3 * MAX_SECTION_BYTES)
    assert text(log, 3 * MAX_SECTION_BYTES - 2) == b"xx"


def test_only_what_is_new_of_a_large_log_is_read(
    log: SliceLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A log that is followed is not read again from its beginning at each look."""
    size = 100 * MAX_SECTION_BYTES
    log.own.write_bytes(b"x" * size + b"new")
    opened, reads = SliceLog._open_own, Counted()

    def counted(self: SliceLog, stack: contextlib.ExitStack) -> Counted:
        reads.file = opened(self, stack)
        return reads

    monkeypatch.setattr(SliceLog, "_open_own", counted)
    assert text(log, size) == b"new"
    assert reads.bytes < 3 * MAX_SECTION_BYTES


class Counted:
    """A file that counts the bytes that were read from it."""

    def __init__(self) -> None:
        self.file: Any = None
        self.bytes = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)

    def read(self, most: int) -> bytes:
        data: bytes = self.file.read(most)
        self.bytes += len(data)
        return data


def test_a_log_that_was_not_kept(log: SliceLog) -> None:
    log.shared.write_bytes(section(b"", b" dropped=1"))
    assert (log.dropped, log.has_output, log.exists) == (True, False, True)
    assert log.file(ended=True) is None


def test_what_proves_that_a_slice_began(log: SliceLog) -> None:
    """Its own log, or its section in another file than the lines of its task."""
    assert not log.proves_begin
    log.shared.write_bytes(section(b""))
    assert log.proves_begin is log.packed
    log.own.write_bytes(b"")
    assert log.proves_begin


def test_an_unreadable_file_does_not_prove_that_nothing_began(log: SliceLog) -> None:
    log.shared.mkdir()
    assert log.proves_begin is log.packed
    assert text(log) == b""
