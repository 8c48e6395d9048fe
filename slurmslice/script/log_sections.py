r"""The logs of slices that share a file, and their parser.

The script's library moves an empty or small log into a file of its array task when the slice has
ended (``templates/slurmslice.sh``, ``_make_section``; ADR 20). Each such log is a section::

    slurmslice log job=419 restart=0 at=1795424180 host=n3 slot=3 bytes=14 name=17.log
    Hello, world!
    slurmslice log-end bytes=14
    slurmslice log job=419 restart=0 at=1795424181 host=n3 slot=4 bytes=0 name=18.log
    slurmslice log job=419 restart=0 at=1795424182 host=n3 slot=5 bytes=0 name=19.log dropped=1

- ``bytes``: the length of the text. If it is 0, neither text nor closing line follows.
- ``name``: the slice's log, relative to the submission's folder ``logs``.
- ``dropped=1``: the log was removed, because the slice was done (``--keep-logs failed``).

A text without a newline at its end has one before the closing line. The closing line repeats the
length, so that it cannot be that of a later section. A section without it does not count.
"""

from __future__ import annotations

import mmap
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

MAX_SECTION_BYTES = 1 << 16
"""The longest text of a section; a longer log keeps its file."""

_HEADER = re.compile(
    rb"slurmslice log job=(?P<job>\d+) restart=(?P<restart>\d{1,9}) at=\d{1,12} host=\S+ "
    rb"slot=\d{1,9} bytes=(?P<bytes>\d{1,5}) name=(?P<name>\S+)"
    rb"(?: task=\d{1,9})?(?P<dropped> dropped=1)?\n"
)
_CLOSING_BYTES = len(b"\nslurmslice log-end bytes=99999\n")


@dataclass(frozen=True, slots=True)
class LogSection:
    """The log of one slice from one start of its task.

    Attributes:
        text: its bytes; empty if the slice wrote nothing, or if its log was not kept.
        dropped: its log was not kept.
        offset: the position of the text in the file, bytes.
    """

    text: bytes
    dropped: bool = False
    offset: int = field(default=0, compare=False)


def find_sections(data: bytes | mmap.mmap, name: str) -> list[LogSection]:
    """Find the sections of one slice, in the order of the starts of its task.

    Args:
        data: the file that several slices share, or ``tasks/<index>.log``.
        name: the slice's log, relative to ``logs``.
    """
    return read_sections(data, index_sections(data).get(name, ()))


SectionPlace = tuple[int, int, bool]
"""The place of a section: the offset of its text, its length, and True if it was dropped."""


def read_sections(data: bytes | mmap.mmap, places: Iterable[SectionPlace]) -> list[LogSection]:
    """Return the sections at these places."""
    return [
        LogSection(data[offset : offset + size], dropped=dropped, offset=offset)
        for offset, size, dropped in places
    ]


def index_sections(data: bytes | mmap.mmap) -> dict[str, list[SectionPlace]]:
    """Find the places of all sections by the name of the log, in the order of ``find_sections``."""
    found, position = dict[str, list[SectionPlace]](), 0
    while header := _HEADER.search(data, position):
        whole = _whole_end(data, header, header.end())
        position = whole or header.end()
        size, name = int(header["bytes"]), header["name"].decode("utf-8", "surrogateescape")
        if size == 0 or whole:
            place = header.end(), size, size == 0 and header["dropped"] is not None
            found.setdefault(name, []).append(place)
    return found


def skip_text(data: bytes | mmap.mmap, line: bytes, position: int) -> int:
    """Return the position after the text and the closing line of a section.

    A section may be cut (a full disk). Then its text ends before the next start of its task, or at
    its length.

    Args:
        data: the file, or a part of it that ends at ``needed_end`` or later.
        line: a progress line.
        position: the position after that line.

    Returns:
        ``position`` if the line is no header.
    """
    header = _HEADER.fullmatch(line)
    if header is None or header["bytes"] == b"0":
        return position
    if whole := _whole_end(data, header, position):
        return whole
    end = position + int(header["bytes"])
    end, restart = min(end, len(data)), int(header["restart"])
    begin = re.compile(rb"slurmslice (?:start|setup) job=%s restart=(\d{1,9}) " % header["job"])
    starts = begin.finditer(data, position, end)
    return next((line.start() for line in starts if int(line[1]) > restart), end)


def _whole_end(data: bytes | mmap.mmap, header: re.Match[bytes], position: int) -> int | None:
    """Return the position after the closing line of a section; None if it has none."""
    closing = re.compile(rb"\n?slurmslice log-end bytes=%s\n" % header["bytes"])
    found = closing.match(data, position + int(header["bytes"]))
    return found.end() if found else None


def needed_end(line: bytes, position: int) -> int:
    """Return the position up to which ``skip_text`` has to see the file, at most."""
    header = _HEADER.fullmatch(line)
    return position + (int(header["bytes"]) + _CLOSING_BYTES if header else 0)
