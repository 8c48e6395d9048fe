"""Parse single values of Slurm's answers: numbers, sizes, times, node lists. Pure.

Each function returns None for a value that is absent or unknown. None of them raises an error.
"""

from __future__ import annotations

import re
from functools import lru_cache

_HUGE_SIZE = 1 << 60  # bytes: 22.05 prints a huge number if no memory was requested
_SIZE = re.compile(r"(\d{1,20}(?:\.\d{1,6})?)([KMGTP]?)([nc]?)")
_POWER = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4, "P": 5}


def parse_number(text: str) -> int | None:
    """Parse a whole number; None for ``Unknown``, ``None``, ``N/A`` and any other text."""
    return int(text) if text.isdecimal() and text.isascii() and len(text) <= 18 else None


@lru_cache(maxsize=1024)  # a million rows hold few different sizes
def parse_size(text: str, cpus: int | None = None) -> int | None:
    """Parse a size such as ``4000M`` into bytes.

    Args:
        text: the size, in bytes or with a unit (powers of 1024).
        cpus: the CPUs of the job. Release 20.11 adds ``c`` to a size per CPU.
    """
    match = _SIZE.fullmatch(text)
    if match is None:
        return None
    size = int(float(match[1]) * 1024 ** _POWER[match[2]])
    if match[3] == "c":
        size *= cpus or 1
    return size if 0 < size < _HUGE_SIZE else None


_CLOCK = re.compile(r"(?:(\d{1,6})-)?(?:(\d{1,4}):)?(\d{1,2}):(\d{1,2}(?:\.\d{1,6})?)")


def parse_clock(text: str) -> float | None:
    """Parse ``MM:SS.mmm`` or ``[D-]HH:MM:SS`` (sacct's TotalCPU) into seconds."""
    match = _CLOCK.fullmatch(text)
    if match is None or not text.isascii():
        return None
    days, hours, minutes = (int(part or 0) for part in match.groups()[:3])
    return days * 86400 + hours * 3600 + minutes * 60 + float(match[4])


_FIRST_NODE = re.compile(r"([^\s,\[\]()]+)(?:\[(\d+)[^\]]*\]([^\s,\[\]()]*))?(?:,.*)?")


@lru_cache(maxsize=1024)
def first_node(text: str) -> str | None:
    """Return the first node of a node list: ``n03`` for ``n[03-05,9],m1``."""
    match = _FIRST_NODE.fullmatch(text)
    return f"{match[1]}{match[2] or ''}{match[3] or ''}" if match else None
