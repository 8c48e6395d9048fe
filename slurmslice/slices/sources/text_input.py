"""Bounded reading of text files and pipes."""

from __future__ import annotations

import io
from typing import BinaryIO

from slurmslice.errors import BadInputError
from slurmslice.slices.slice_table import MAX_SLICES
from slurmslice.system.files import unreadable_file_error

MAX_LINE_BYTES = 1 << 24
"""Most bytes of a line: no program accepts so many bytes of arguments and variables (execve(2))."""

MAX_INPUT_BYTES = 1 << 31
"""Most bytes of the whole input, because slices are held in memory."""

_BLOCK = 1 << 20


def read_bounded(file: BinaryIO, source: str, end: bytes = b"\n") -> bytes:
    """Read a possibly endless file or pipe; stop as soon as it is certainly too long.

    Args:
        file: the file or pipe.
        source: its name, for error messages.
        end: the line end, LF or NUL. With LF, reading stops after a block with NUL.

    Raises:
        BadInputError: a line is too long, or there are more lines or bytes than a run accepts.
        OSError: the file cannot be read.
    """
    kept, lines, line = io.BytesIO(), 0, 0
    while block := file.read(_BLOCK):
        kept.write(block)
        lines += block.count(end)
        last = block.rfind(end)
        line = line + len(block) if last < 0 else len(block) - last - 1
        if end != b"\0" and b"\0" in block:
            break  # the caller refuses NUL
        if line > MAX_LINE_BYTES:
            raise _endless(
                source, f"a line of more than {MAX_LINE_BYTES:,} bytes", line_bytes=MAX_LINE_BYTES
            )
        if lines > MAX_SLICES + 1:  # a table has a header
            raise _endless(source, f"more than {MAX_SLICES:,} lines", lines=MAX_SLICES)
        if kept.tell() > MAX_INPUT_BYTES:
            raise _endless(source, f"more than {MAX_INPUT_BYTES:,} bytes", bytes=MAX_INPUT_BYTES)
    return kept.getvalue()


def read_input(path: str, end: bytes = b"\n") -> tuple[bytes, str]:
    """Read a file, or standard input for ``-``; return its bytes and its name.

    Raises:
        BadInputError: the file cannot be read, or it is too long.
    """
    piped = path in {"", "-"}
    name = "standard input" if piped else path
    try:
        with open(0 if piped else name, "rb", closefd=not piped) as file:
            return read_bounded(file, name, end), name
    except OSError as why:
        raise unreadable_file_error(f"The file of the slices, {name!r},", name, why) from why


def _endless(source: str, what: str, **limit: int) -> BadInputError:
    return BadInputError(
        f"{source} is too long or endless: it has {what}.",
        f"A run accepts {MAX_SLICES:,} slices. Make several runs if you need more.",
        code="endless-input",
        path=source,
        **limit,
    )


def refuse_nul(data: bytes, source: str, hint: str = "") -> None:
    """Refuse a file with a NUL byte, because no argument or variable can hold it.

    Raises:
        BadInputError: the file holds NUL; the message names the line.
    """
    nul = data.find(b"\0")
    if nul >= 0:
        line = data.count(b"\n", 0, nul) + 1
        raise BadInputError(
            f"{source}, line {line}: a NUL byte, which no program's argument can hold.",
            f"{hint}If the file is UTF-16, save it as UTF-8.",
            code="nul-byte",
            path=source,
            line=line,
        )
