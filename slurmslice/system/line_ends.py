"""Texts from Windows: byte-order marks and carriage returns at the ends of lines. Pure."""

from __future__ import annotations

import codecs

from slurmslice.errors import BadInputError
from slurmslice.system.shell_quoting import quote


def unix_text(data: bytes, source: str, hint: str = "") -> bytes:
    """Return a text without a byte-order mark, whose lines end with LF.

    If every line ends with CR LF, the text is from Windows, and each CR is removed. The last line
    may lack its end.

    Args:
        data: the text.
        source: the name of its file or option, for the error message.
        hint: what to type; by default the command that converts a file.

    Raises:
        BadInputError: there is another carriage return (``carriage-return``). A program would get
            it as a part of a word, and nobody sees it.
    """
    data = data.removeprefix(codecs.BOM_UTF8)
    if b"\r" not in data:
        return data
    lines = data.split(b"\n")
    if all(line.endswith(b"\r") for line in lines[:-1]):
        lines = [line.removesuffix(b"\r") for line in lines]
    found = next((number for number, line in enumerate(lines, 1) if b"\r" in line), None)
    if found is not None:
        raise carriage_return_error(source, found, hint)
    return b"\n".join(lines)


def byte_order_mark_error(source: str) -> BadInputError:
    """Return the error about a byte-order mark before the first line of a script."""
    return BadInputError(
        f"{source}, line 1: a byte-order mark, as in a text from Windows.",
        f"Remove it: sed -i '1s/^\\xef\\xbb\\xbf//' {quote(source)}",
        code="byte-order-mark",
        path=source,
    )


def carriage_return_error(source: str, line: int, hint: str = "") -> BadInputError:
    """Return the error about a carriage return.

    Args:
        source: the file's name.
        line: the line's number, from 1.
        hint: what to type; by default the command that converts the file.
    """
    return BadInputError(
        f"{source}, line {line}: a carriage return, as in a text from Windows.",
        hint or f"Remove it: sed -i 's/\\r//g' {quote(source)}",
        code="carriage-return",
        path=source,
        line=line,
    )
