"""Text files as people have them: with a byte order mark or without, in any encoding of names."""

from __future__ import annotations

import codecs

from slurmslice.errors import BadInput


def decoded(data: bytes, source: str) -> str:
    """A file's text without its byte order mark; bytes that are not UTF-8 are surrogates.

    Raises:
        BadInput: there is a NUL, which no argument can hold; the message names the line.
    """
    nul = data.find(b"\0")
    if nul >= 0:
        line = data.count(b"\n", 0, nul) + 1
        raise BadInput(
            f"{source}, line {line}: a NUL byte, which no program can be given.",
            "If the file is UTF-16, save it as UTF-8.",
        )
    return data.removeprefix(codecs.BOM_UTF8).decode("utf-8", "surrogateescape")
