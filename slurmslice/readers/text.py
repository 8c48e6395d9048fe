"""Text files as people have them."""

from __future__ import annotations

import io
from typing import BinaryIO

from slurmslice.errors import BadInput
from slurmslice.slices import MOST_SLICES

LONGEST_LINE = 1 << 24
"""Bytes of a line: more than a program's arguments and variables have together (execve(2))."""

MOST_BYTES = 1 << 31
"""Of all lines: a run's slices are held in memory."""

_BLOCK = 1 << 20


def gathered(file: BinaryIO, source: str, end: bytes = b"\n") -> bytes:
    """All of a file or pipe that may have no end: read until it is clear that it is too much.

    Args:
        file: what is read.
        source: its name, for an error.
        end: what a line ends with; NUL, or LF, and then nothing is read behind a NUL.

    Raises:
        BadInput: a line does not end, or there are more lines or bytes than any run takes.
        OSError: it cannot be read.
    """
    kept, lines, line = io.BytesIO(), 0, 0
    while block := file.read(_BLOCK):
        kept.write(block)
        lines += block.count(end)
        last = block.rfind(end)
        line = line + len(block) if last < 0 else len(block) - last - 1
        if end != b"\0" and b"\0" in block:
            break  # which is refused by the one who asked
        if line > LONGEST_LINE:
            raise _endless(
                source, f"a line of more than {LONGEST_LINE:,} bytes", line_bytes=LONGEST_LINE
            )
        if lines > MOST_SLICES + 1:  # a table has a header
            raise _endless(source, f"more than {MOST_SLICES:,} lines", lines=MOST_SLICES)
        if kept.tell() > MOST_BYTES:
            raise _endless(source, f"more than {MOST_BYTES:,} bytes", bytes=MOST_BYTES)
    return kept.getvalue()


def _endless(source: str, what: str, **limit: int) -> BadInput:
    return BadInput(
        f"There is no end to {source}, or it is too long: it has {what}.",
        f"A run takes {MOST_SLICES:,} slices. If they are meant, make several runs of them.",
        code="endless-input",
        path=source,
        **limit,
    )


def refuse_nul(data: bytes, source: str, hint: str = "") -> None:
    """Refuse a file with a NUL byte, which no argument or variable can hold.

    Raises:
        BadInput: there is one; the message names the line.
    """
    nul = data.find(b"\0")
    if nul >= 0:
        line = data.count(b"\n", 0, nul) + 1
        raise BadInput(
            f"{source}, line {line}: a NUL byte, which no program can be given.",
            f"{hint}If the file is UTF-16, save it as UTF-8.",
            code="nul-byte",
            path=source,
            line=line,
        )
