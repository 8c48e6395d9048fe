"""Text files as people have them."""

from __future__ import annotations

from slurmslice.errors import BadInput


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
        )
