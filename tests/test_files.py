"""Files that only grow, and files put in place whole: any prefix is read, nothing is half there."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurmslice import files
from slurmslice.engines.local.books import Books
from slurmslice.engines.local.inbox import Inbox
from slurmslice.engines.local.role import Role
from slurmslice.journal import Event, Held, Queued, Throttled, from_lines, to_line
from slurmslice.resources import NO_REQUEST
from slurmslice.states import State

LINE = b"a line\tof some length\n"


def takes(most: int, room: int = 1 << 20) -> Callable[[int, bytes], int]:
    """A write(2) that takes so many bytes at a time, as long as there is room."""
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
    """A decision, by the journal's way."""
    files.append(path, to_line(Held("why", 1.0)))


def asked(path: Path) -> None:
    """A request."""
    Inbox(path).cancel("12", [3, 5, 9])


def noted(path: Path) -> None:
    """An event of the books."""
    Books(path, None, 0).write("cancelled", 7, "3,5,9", "why")


WRITERS = [journalled, asked, noted]


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("most", [1, 2, 7])
def test_a_write_that_takes_less_is_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[[Path], None], most: int
) -> None:
    """The system may take fewer bytes than it was given: the line is whole all the same."""
    whole, short = tmp_path / "whole", tmp_path / "short"
    monkeypatch.setattr("time.time", lambda: 5.0)
    write(whole)
    monkeypatch.setattr(os, "write", takes(most))
    write(short)
    assert short.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("room", range(0, 21, 2))
def test_a_disk_that_fills_up_names_the_file_and_leaves_it_readable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[[Path], None], room: int
) -> None:
    """Where there is room for a part of a line only: an error with the file; no line is lost."""
    path = tmp_path / "file"
    write(path)
    before = path.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", takes(8, room))
        with pytest.raises(OSError, match=path.name) as why:
            write(path)
    assert (why.value.errno, why.value.filename) == (errno.ENOSPC, str(path))
    assert files.read_on(path, 0) == (before, len(before))
    files.append(path, LINE)
    assert path.read_bytes() == before + LINE


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("there", [True, False])
def test_a_link_in_place_of_a_file_is_not_followed(
    tmp_path: Path, write: Callable[[Path], None], there: bool
) -> None:
    """What it points to is neither cut, written nor made: an error that names the link."""
    path, other = tmp_path / "file", tmp_path / "other"
    if there:
        other.write_bytes(LINE + b"no line yet")
    path.symlink_to(other)
    with pytest.raises(OSError, match=path.name) as why:
        write(path)
    assert why.value.errno == errno.ELOOP
    assert str(why.value.filename) == str(path)
    assert other.read_bytes() == LINE + b"no line yet" if there else not other.exists()


def test_what_is_put_in_place_is_whole_or_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk leaves the file what it was, and no draft beside it."""
    path = tmp_path / "file"
    files.replace(path, LINE)

    def full(fd: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left on device") as why:
        files.replace(path, b"another")
    assert why.value.filename == str(path)
    assert path.read_bytes() == LINE
    assert list(tmp_path.iterdir()) == [path]


@given(st.binary(max_size=20_000), st.binary(max_size=9_000).filter(lambda b: b"\n" not in b))
def test_a_torn_line_is_cut_off(
    tmp_path_factory: pytest.TempPathFactory, whole: bytes, torn: bytes
) -> None:
    """However long it is: the whole lines before it stay, the next line stands by itself."""
    path = tmp_path_factory.mktemp("torn") / "file"
    whole = whole[: files.whole_length(whole)]
    path.write_bytes(whole + torn)
    assert files.read_on(path, 0) == (whole, len(whole))
    files.append(path, LINE, b"header\n")
    assert path.read_bytes() == (whole or b"header\n") + LINE


# -- what the local engine keeps -------------------------------------------------------------------


def fill_books(path: Path) -> None:
    """Books with every kind of event."""
    books = Books(path, 1, 0)
    books.write("taken", 5, 99, "here", None)
    books.write("start", 1, 98, "5.500", None)
    books.write("end", 1, State.FAILED, 3, None, "5.500", "7.250", "1.75", "0.5", 4096, "why")
    books.write("start", 12, 97, "6.000", None)
    books.cancel([2, 13], 8.0)
    books.write("returned", 9, "its runner ended")


def fill_inbox(path: Path) -> None:
    """An inbox with every kind of request, of jobs and indices that begin alike."""
    inbox = Inbox(path)
    inbox.order("12")
    inbox.cancel("12", [1, 10, 100])
    inbox.cancel("123", None)
    inbox.throttle("12", 40)
    inbox.hold("12")
    inbox.release("12")
    inbox.hold("123")


def read_books(path: Path) -> list[object]:
    """All that a reader has of books."""
    books = Books(path, 1, 0)
    books.refresh()
    return [books.taken, books.returned, books.started, books.ended]


def read_inbox(path: Path) -> list[object]:
    """All that a reader has of an inbox."""
    inbox = Inbox(path)
    inbox.refresh()
    return [inbox.throttles, inbox.held,
            [inbox.cancelled(job, range(120)) for job in ("1", "12", "123")]]  # fmt: skip


READERS = [(fill_books, read_books), (fill_inbox, read_inbox)]


@pytest.mark.parametrize(("fill", "read"), READERS)
def test_any_prefix_says_what_its_whole_lines_say(
    tmp_path: Path, fill: Callable[[Path], None], read: Callable[[Path], list[object]]
) -> None:
    """Killed at any byte, and gone on with by another writer: a torn line never says anything.

    A part of ``cancel 12 1,10`` would cancel other tasks than were meant.
    """
    (tmp_path / "local").mkdir()
    path, lines = tmp_path / "local" / "file", tmp_path / "local" / "lines"
    fill(path)
    data = path.read_bytes()
    for length in range(len(data) + 1):
        lines.write_bytes(data[: files.whole_length(data[:length])])
        said = read(lines)
        path.write_bytes(data[:length])
        assert read(path) == said
        files.append(path, b"none\n")
        assert read(path) == said


@pytest.mark.parametrize(("fill", "read"), READERS)
@given(length=st.integers(0, 400), rest=st.binary(max_size=60), tail=st.booleans())
def test_whatever_follows_a_torn_line_is_read(
    tmp_path_factory: pytest.TempPathFactory,
    fill: Callable[[Path], None],
    read: Callable[[Path], list[object]],
    length: int,
    rest: bytes,
    tail: bool,
) -> None:
    """Bytes of another kind behind any prefix: no reader fails, whoever wrote them."""
    path = tmp_path_factory.mktemp("any") / "file"
    fill(path)
    path.write_bytes(path.read_bytes()[:length] + rest + b"\n" * tail)
    read(path)


@pytest.mark.parametrize(
    "line", ["start\t1\t2\tinf\t", "start\t1\t2\tnan\t", "cancelled\t1\t5-\twhy",
             "end\t1\tFAILED\t3\t\tinf\t1\t1\t1\t1\twhy", "taken\tx\ty\there\t"],
)  # fmt: skip
def test_a_number_that_is_none_is_no_event(tmp_path: Path, line: str) -> None:
    """``inf`` is a number to Python and no time: such a line is left out."""
    path = tmp_path / "file"
    path.write_text(f"{line}\n")
    assert read_books(path) == [None, None, {}, {}]


@given(length=st.integers(0, 80), rest=st.binary(max_size=20))
def test_whatever_names_the_runner_is_read(
    tmp_path_factory: pytest.TempPathFactory, length: int, rest: bytes
) -> None:
    """``runner.json``, torn or spoilt: it says who has the role, or nobody."""
    role = Role(tmp_path_factory.mktemp("role"))
    assert role.take()
    role.announce()
    whole = role.holder()
    role.path.write_bytes(role.path.read_bytes()[:length] + rest)
    assert rest or role.holder() in (None, whole)
    role.elsewhere()
    role.give_up()


def test_a_journal_is_of_whole_lines(tmp_path: Path) -> None:
    """What a killed writer tore off is no decision, whoever writes after it."""
    path = tmp_path / "journal"
    events: list[Event] = [Throttled(12, 1.0), Queued("0-9", NO_REQUEST, 2.0)]
    data = b"".join(map(to_line, events))
    for length in range(len(data) + 1):
        path.write_bytes(data[:length])
        journalled(path)
        whole = data[:length].count(b"\n")
        assert list(from_lines(path.read_bytes())) == [*events[:whole], Held("why", 1.0)]
