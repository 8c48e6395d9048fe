"""How files are written so that a ``kill -9`` or a full disk at any byte loses nothing.

Two ways: lines appended to a file that only grows, and a file put in place whole. A line counts
once its LF is there. What a killed writer tore off is no line: readers leave it out, and the
next writer cuts it off.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

from slurmslice.errors import NotAFile

_BLOCK = 4096

_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFDIR: "a folder",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFLNK: "a symbolic link",
}
_NO_FILE = frozenset({errno.ENXIO, errno.ENODEV, errno.EISDIR})
"""What open(2) says of pipes without a reader, sockets, devices and folders."""


def opened(path: Path, flags: int = os.O_RDONLY) -> int:
    """The descriptor of a file. What else stands in its place is neither waited for nor read.

    A named pipe is waited for until somebody has its other end, and a device may have no end
    (fifo(7), zero(4)).

    Raises:
        NotAFile: it is none.
        OSError: it cannot be opened.
    """
    try:
        fd = _open(path, flags)
    except OSError as why:
        if why.errno in _NO_FILE:
            _check(path, os.stat(path))
        raise
    try:
        _check(path, os.fstat(fd))
    except NotAFile:
        os.close(fd)
        raise
    return fd


def _open(path: Path, flags: int) -> int:
    try:
        return os.open(path, flags | os.O_NONBLOCK, 0o666)
    except BlockingIOError:  # somebody has a lease, as an NFS server for its clients: fcntl(2)
        _check(path, os.stat(path))
        return os.open(path, flags, 0o666)  # waits until it is given back


def check_place(path: Path) -> None:
    """Refuse what is no file in a file's place; links too. Nothing may be there.

    Raises:
        NotAFile: it is none.
    """
    with suppress(FileNotFoundError):
        _check(path, os.lstat(path))


def _check(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise NotAFile(str(path), _KINDS[stat.S_IFMT(status.st_mode)])


def read(path: Path) -> bytes:
    """All of a file.

    Raises:
        NotAFile: it is none.
        OSError: it cannot be read.
    """
    with open(opened(path), "rb") as file:
        return file.read()


def chunks(path: Path) -> Iterator[bytes]:
    """All of a file, a mebibyte at a time: one that others write may be larger than the memory.

    Raises:
        NotAFile: it is none.
        OSError: it cannot be read.
    """
    with open(opened(path), "rb") as file:
        yield from iter(partial(file.read, 1 << 20), b"")


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
        NotAFile: what stands there is none.
        OSError: they could not be written; it names the file, and whole lines are all that is
            read of it. So it is with a symbolic link in the file's place (ELOOP, open(2)): what
            it points to is another's, and nothing of that is cut off.
    """
    fd = opened(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW)
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

    Raises:
        NotAFile: what stands there is none.
    """
    try:
        with open(opened(path), "rb") as file:
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


def claim(path: Path, data: bytes, *, durably: bool = False) -> bool:
    """Put a file in place whole where none is, for one of several who try; whether it was us.

    Where there are no hard links, a kill may leave a torn one.

    Args:
        path: the file.
        data: its contents.
        durably: it is on the disk when this returns.

    Raises:
        OSError: it could not be written.
    """
    draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    try:
        draft.write_bytes(data)
        if durably:
            _flush(draft)
        _link(draft, path)
    except FileExistsError:
        return False
    finally:
        draft.unlink(missing_ok=True)
    if durably:
        _flush(path.parent)
    return True


def _flush(path: Path) -> None:
    """Put a file, or the entries of a folder, on the disk (fsync(2))."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


_NO_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})
"""What link(2) says where there are no hard links, or no more of them."""


def _link(draft: Path, path: Path) -> None:
    try:
        os.link(draft, path)
    except OSError as why:
        if why.errno not in _NO_LINKS:
            raise
        with path.open("xb") as file:
            file.write(draft.read_bytes())
