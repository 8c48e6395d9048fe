"""Numbers, sizes, times and nodes as Slurm's answers write them. None is: it does not say."""

from __future__ import annotations

import re
from functools import lru_cache

_NOTHING_SAID = 1 << 60  # bytes: 22.05 prints a huge number for memory that nobody asked for
_SIZE = re.compile(r"(\d{1,20}(?:\.\d{1,6})?)([KMGTP]?)([nc]?)")
_POWER = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4, "P": 5}


def parse_number(text: str) -> int | None:
    """A whole number; None for ``Unknown``, ``None``, ``N/A`` and whatever else is none."""
    return int(text) if text.isdecimal() and text.isascii() and len(text) <= 18 else None


@lru_cache(maxsize=1024)  # rows by the million have the same few
def parse_size(text: str, cpus: int | None = None) -> int | None:
    """Bytes of ``4000M``; with a suffix ``c`` (20.11) it is for each of so many CPUs."""
    match = _SIZE.fullmatch(text)
    if match is None:
        return None
    size = int(float(match[1]) * 1024 ** _POWER[match[2]])
    if match[3] == "c":
        size *= cpus or 1
    return size if 0 < size < _NOTHING_SAID else None


_CLOCK = re.compile(r"(?:(\d{1,6})-)?(?:(\d{1,4}):)?(\d{1,2}):(\d{1,2}(?:\.\d{1,6})?)")


def parse_clock(text: str) -> float | None:
    """Seconds of ``MM:SS.mmm`` or ``[D-]HH:MM:SS`` (sacct's TotalCPU)."""
    match = _CLOCK.fullmatch(text)
    if match is None or not text.isascii():
        return None
    days, hours, minutes = (int(part or 0) for part in match.groups()[:3])
    return days * 86400 + hours * 3600 + minutes * 60 + float(match[4])


_FIRST = re.compile(r"([^\s,\[\]()]+)(?:\[(\d+)[^\]]*\]([^\s,\[\]()]*))?(?:,.*)?")


@lru_cache(maxsize=1024)
def first_node(text: str) -> str | None:
    """The first node of ``n[03-05,9],m1``: n03."""
    match = _FIRST.fullmatch(text)
    return f"{match[1]}{match[2] or ''}{match[3] or ''}" if match else None
