"""Python's tracebacks in a log: the exception and the innermost frame of the program. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

_HEADER = b"Traceback (most recent call last)"
_MOST = 20
"""So many of the last tracebacks are looked at."""

_MOST_LINES = 400
_FRAME = re.compile(rb'\s+File "([^"\n]*)", line \d+(?:, in (\S+))?')
_EXCEPTION = re.compile(rb"(?:\w+\.)*\w+(?:: .*|:)?\s*$")
_LAUNCHERS = re.compile(rb"(?:\w+\.)*(?:ChildFailedError|ProcessRaisedException)\b")
_SEPARATOR = re.compile(r"[/\\]")
_INSTALLED = re.compile(
    r"site-packages|dist-packages|[/\\]lib(?:64)?[/\\]python[\d.]+|^<frozen|\.pyx$"
)


def last_tracebacks(tail: bytes, offset: int) -> Iterator[int]:
    """Iterate over the beginnings of the last tracebacks after an offset, from the end."""
    at = len(tail)
    for _ in range(_MOST):
        at = tail.rfind(_HEADER, offset, at)
        if at < 0:
            return
        yield at


def exception_after(tail: bytes, start: int) -> tuple[int, bytes, str] | None:
    """Return the line of the exception, its place, and the frame ``file:function``.

    None if the traceback is not whole.

    Args:
        tail: the end of a log.
        start: where the traceback begins. What precedes it in its line precedes the others too.
    """
    line_start = tail.rfind(b"\n", 0, start) + 1
    prefix = tail[line_start:start]
    at, frames = tail.find(b"\n", start) + 1, list[tuple[str, str]]()
    for _ in range(_MOST_LINES if at else 0):
        end = tail.find(b"\n", at)
        raw = tail[at : end if end >= 0 else len(tail)]
        line = raw.removeprefix(prefix).rstrip(b"\r")
        if found := _FRAME.match(line):
            frames.append((_text(found[1]), _text(found[2] or b"<module>")))
        elif line and not line[:1].isspace() and _EXCEPTION.match(line):
            return at, line, _own_frame(frames)
        if end < 0:
            return None
        at = end + 1
    return None


def is_launcher_exception(line: bytes) -> bool:
    """Tell if an exception says only that another process, with a traceback of its own, failed."""
    return bool(_LAUNCHERS.match(line))


def _own_frame(frames: list[tuple[str, str]]) -> str:
    """Return the innermost frame outside of installed packages; else the innermost of all."""
    own = [frame for frame in frames if not _INSTALLED.search(frame[0])]
    if not (chosen := (own or frames)[-1:]):
        return ""
    file, function = chosen[0]
    return f"{_SEPARATOR.split(file)[-1]}:{function}"


def _text(field: bytes) -> str:
    return field.decode("utf-8", "replace")
