"""Durable file operations: a ``kill -9`` or a full disk at any byte loses no earlier data.

There are two kinds of writes: lines appended to a growing file, and a file created or replaced
as a whole. A line counts after its LF is written. A killed writer may leave an incomplete last
line: readers ignore it, and the next writer removes it.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

from slurmslice.errors import BadInputError, NotAFileError

_BLOCK = 4096

_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFDIR: "a folder",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFLNK: "a symbolic link",
}
_NOT_REGULAR = frozenset({errno.ENXIO, errno.ENODEV, errno.EISDIR})
"""Errors of open(2) for a named pipe without a reader, a socket, a device and a folder."""


def open_regular(path: Path, flags: int = os.O_RDONLY) -> int:
    """Open a regular file and return its descriptor. Refuse anything else without waiting for it.

    Opening a named pipe would wait for its other end, and reading a device may never end
    (fifo(7), zero(4)).

    Raises:
        NotAFileError: it is not a regular file.
        OSError: it cannot be opened.
    """
    try:
        fd = _open(path, flags)
    except OSError as why:
        if why.errno in _NOT_REGULAR:
            _require_regular(path, os.stat(path))
        raise
    try:
        _require_regular(path, os.fstat(fd))
    except NotAFileError:
        os.close(fd)
        raise
    return fd


def _open(path: Path, flags: int) -> int:
    try:
        return os.open(path, flags | os.O_NONBLOCK, 0o666)
    except BlockingIOError:  # somebody has a lease on it, as NFS servers do: fcntl(2)
        _require_regular(path, os.stat(path))
        return os.open(path, flags, 0o666)  # waits until the lease ends


def check_regular_or_absent(path: Path) -> None:
    """Refuse a path that is neither a regular file nor free; refuse symbolic links too.

    Raises:
        NotAFileError: something else is at the path.
    """
    with suppress(FileNotFoundError):
        _require_regular(path, os.lstat(path))


def _require_regular(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise NotAFileError(str(path), _KINDS[stat.S_IFMT(status.st_mode)])


def read_file(path: Path) -> bytes:
    """Return the content of a file.

    Raises:
        NotAFileError: it is not a regular file.
        OSError: it cannot be read.
    """
    with open(open_regular(path), "rb") as file:
        return file.read()


def read_chunks(path: Path) -> Iterator[bytes]:
    """Yield the content of a file by the mebibyte, because it may be larger than the memory.

    Raises:
        NotAFileError: it is not a regular file.
        OSError: it cannot be read.
    """
    with open(open_regular(path), "rb") as file:
        yield from iter(partial(file.read, 1 << 20), b"")


def append_lines(path: Path, lines: bytes, header: bytes = b"", *, durably: bool = True) -> None:
    """Append whole lines. The caller must hold the lock, because only one writer may append.

    write(2) may write fewer bytes than requested (a nearly full disk, a signal); the rest is then
    written by further calls.

    Args:
        path: the file; created if it does not exist.
        lines: whole lines.
        header: the first line of a new file.
        durably: flush the lines to disk before returning.

    Raises:
        NotAFileError: the path is not a regular file.
        OSError: the lines could not be written; the error names the file. Readers see only its
            whole lines. A symbolic link is refused too (ELOOP, open(2)), because its target
            belongs to somebody else and must not be truncated.
    """
    fd = open_regular(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW)
    try:
        size, whole = os.lseek(fd, 0, os.SEEK_END), _whole_length_of(fd)
        if whole < size:
            os.ftruncate(fd, whole)
        _write_all(fd, lines if whole else header + lines)
        if durably:
            os.fsync(fd)
    except OSError as why:
        raise OSError(why.errno, why.strerror, str(path)) from why
    finally:
        os.close(fd)


def _write_all(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


def _whole_length_of(fd: int) -> int:
    """The number of bytes of a file up to the end of its last whole line."""
    end = os.lseek(fd, 0, os.SEEK_END)
    while end:
        start = max(0, end - _BLOCK)
        if whole := whole_lines_length(os.pread(fd, end - start, start)):
            return start + whole
        end = start
    return 0


def whole_lines_length(data: bytes) -> int:
    """The number of bytes up to the end of the last whole line."""
    return data.rfind(b"\n") + 1


def read_new_lines(path: Path, offset: int) -> tuple[bytes, int]:
    """Read the whole lines of a growing file from an offset; return them and the offset after them.

    A returned offset of 0 after a larger one means that the file was replaced or is gone.

    Raises:
        NotAFileError: the path is not a regular file.
    """
    try:
        with open(open_regular(path), "rb") as file:
            file.seek(offset)
            data = file.read()
            if not data and file.seek(0, os.SEEK_END) < offset:
                return b"", 0
    except FileNotFoundError:
        return b"", 0
    whole = whole_lines_length(data)
    return data[:whole], offset + whole


def replace_file(path: Path, data: bytes, mode: int = 0o666) -> None:
    """Replace a file as a whole, and flush it to disk.

    Args:
        path: the file.
        data: its contents.
        mode: its permissions, less the umask.

    Raises:
        OSError: it could not be written; the old file is unchanged.
    """
    replace_file_by_pieces(path, (data,), mode)


def replace_file_by_pieces(path: Path, pieces: Iterable[bytes], mode: int = 0o666) -> None:
    """Replace a file as a whole by these bytes, and flush it to disk.

    After an exception, also of the iterator, the old file is unchanged.

    Raises:
        OSError: it could not be written.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with open(draft, "wb", opener=partial(os.open, mode=mode)) as file:
            file.writelines(pieces)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    except BaseException as why:
        with suppress(OSError):
            draft.unlink()
        if not isinstance(why, OSError) or isinstance(why, NotAFileError):
            raise
        raise OSError(why.errno, why.strerror, why.filename or str(path)) from why


def create_exclusively(path: Path, data: bytes, *, durably: bool = False) -> bool:
    """Create a file as a whole if none exists; return whether we created it.

    If several processes try, only one succeeds. On a file system without hard links, a kill may
    leave an incomplete file.

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
"""Errors of link(2) if the file system has no hard links, or allows no more of them."""


def _link(draft: Path, path: Path) -> None:
    try:
        os.link(draft, path)
    except OSError as why:
        if why.errno not in _NO_LINKS:
            raise
        with path.open("xb") as file:
            file.write(draft.read_bytes())


def current_umask() -> int:
    """Return the process' umask. It can only be read by setting it for an instant."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def unreadable_file_error(what: str, path: str, why: OSError) -> BadInputError:
    """Return the error about a file of the user that cannot be read.

    Args:
        what: the file's use and its name, as the subject of a sentence.
        path: the file's path.
        why: the error of the operating system.
    """
    if isinstance(why, FileNotFoundError | NotADirectoryError):
        return BadInputError(
            f"{what} does not exist.", "Check its path.", code="no-such-file", path=path
        )
    if isinstance(why, IsADirectoryError):
        hint = "Name a file in it."
        return BadInputError(f"{what} is a folder.", hint, code="is-a-folder", path=path)
    message = f"{what} cannot be read: {why.strerror}."
    return BadInputError(message, "Check its rights.", code="unreadable-file", path=path)
