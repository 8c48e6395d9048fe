"""How files are written so that a ``kill -9`` or a full disk at any byte loses nothing.

Two ways: lines appended to a file that only grows, and a file put in place whole. A line counts
once its LF is there. What a killed writer tore off is no line: readers leave it out, and the
next writer cuts it off.
"""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path

_BLOCK = 4096


def append(path: Path, lines: bytes, header: bytes = b"", *, durably: bool = True) -> None:
    """Append whole lines. One writer at a time: hold the lock of what the file belongs to.

    The system may take fewer bytes than it was given (write(2): a disk that is nearly full, a
    signal); the rest is written after them.

    Args:
        path: the file; made where it is not there.
        lines: whole lines.
        header: the first line, written where the file is new.
        durably: they are on the disk when this returns.

    Raises:
        OSError: they could not be written; it names the file, and whole lines are all that is
            read of it. So it is with a symbolic link in the file's place (ELOOP, open(2)): what
            it points to is another's, and nothing of that is cut off.
    """
    fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    try:
        size, whole = os.lseek(fd, 0, os.SEEK_END), _whole(fd)
        if whole < size:
            os.ftruncate(fd, whole)
        _write(fd, lines if whole else header + lines)
        if durably:
            os.fsync(fd)
    except OSError as why:
        raise OSError(why.errno, why.strerror, str(path)) from why
    finally:
        os.close(fd)


def _write(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


def _whole(fd: int) -> int:
    """How many bytes of a file are whole lines."""
    end = os.lseek(fd, 0, os.SEEK_END)
    while end:
        start = max(0, end - _BLOCK)
        if whole := whole_length(os.pread(fd, end - start, start)):
            return start + whole
        end = start
    return 0


def whole_length(data: bytes) -> int:
    """How many bytes of a text are whole lines."""
    return data.rfind(b"\n") + 1


def read_on(path: Path, offset: int) -> tuple[bytes, int]:
    """Whole lines of a file that only grows, from an offset on, and the offset after them.

    An offset of 0 after a greater one says that it is another file now, or none.
    """
    try:
        with path.open("rb") as file:
            file.seek(offset)
            data = file.read()
            if not data and file.seek(0, os.SEEK_END) < offset:
                return b"", 0
    except FileNotFoundError:
        return b"", 0
    whole = whole_length(data)
    return data[:whole], offset + whole


def replace(path: Path, data: bytes) -> None:
    """Write a file whole or not at all, and onto the disk.

    Raises:
        OSError: it could not be written; it is what it was.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with draft.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    except OSError as why:
        with suppress(OSError):
            draft.unlink()
        raise OSError(why.errno, why.strerror, str(path)) from why
