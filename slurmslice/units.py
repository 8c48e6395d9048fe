"""Slurm's units: memory in MiB, time in seconds.

Source: sbatch(1), ``--mem`` (a bare number is megabytes, K M G T follow it) and ``--time``
(minutes, M:S, H:M:S, D-H, D-H:M, D-H:M:S). Slurm counts memory by 1024.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction

from slurmslice.errors import BadInput

_KIB = {"K": 1, "": 1024, "M": 1024, "G": 1024**2, "T": 1024**3}
_MEMORY = re.compile(r"(\d+)([KMGT]?)B?", re.IGNORECASE)
_FACTOR = re.compile(r"(?=[\d.]*[1-9])(\d+(?:\.\d+)?)[x×]")
_TIME_FORMS = "Write minutes, MM:SS, HH:MM:SS, D-HH, D-HH:MM or D-HH:MM:SS."
UNLIMITED = frozenset({"UNLIMITED", "INFINITE", "-1"})


def parse_memory(text: str) -> int:
    """MiB, rounded up, of an sbatch memory size such as ``4G``.

    Raises:
        BadInput: the text is no memory size.
    """
    match = _MEMORY.fullmatch(text.strip())
    if match is None or not text.isascii():
        raise BadInput(
            f"{text!r} is not an amount of memory.",
            "Write a whole number and K, M, G or T.",
            code="bad-memory",
            value=text,
        )
    kib = int(match[1]) * _KIB[match[2].upper()]
    return -(-kib // 1024)


def format_memory(mib: int) -> str:
    """The shortest exact text for a number of MiB that sbatch reads back: ``4G``, ``1500M``."""
    if mib and mib % 1024 == 0:
        return f"{mib // 1024}G"
    return f"{mib}M"


def parse_time(text: str) -> int | None:
    """Seconds of an sbatch time limit; None for no limit (``UNLIMITED``, ``INFINITE``, 0).

    Raises:
        BadInput: the text is in none of sbatch's forms.
    """
    if text.strip().upper() in UNLIMITED:
        return None
    days, dash, clock = text.strip().rpartition("-")
    fields = clock.split(":")
    numbers = [*([days] if dash else []), *fields]
    if len(fields) > 3 or not all(n.isascii() and n.isdecimal() for n in numbers):
        raise BadInput(f"{text!r} is not a time limit.", _TIME_FORMS, code="bad-time", value=text)
    values = [int(field) for field in fields]
    if dash:
        hours, minutes, seconds = (*values, 0, 0)[:3]
        return int(days) * 86400 + hours * 3600 + minutes * 60 + seconds
    if len(values) == 1:
        return values[0] * 60 or None
    hours, minutes, seconds = (0, *values)[-3:]
    return hours * 3600 + minutes * 60 + seconds or None


def format_time(seconds: int) -> str:
    """``[D-]HH:MM:SS``, the form that sbatch reads back and squeue prints."""
    days, rest = divmod(seconds, 86400)
    clock = f"{rest // 3600:02d}:{rest % 3600 // 60:02d}:{rest % 60:02d}"
    return f"{days}-{clock}" if days else clock


def parse_count(text: str) -> int:
    """Read a number from 1 up.

    Raises:
        BadInput: the text is not one.
    """
    if len(text) > 9 or not (text.isascii() and text.isdecimal() and text.strip("0")):
        raise BadInput(f"{text!r} is not a number from 1 up.", code="bad-number", value=text)
    return int(text)


def whole_minutes(text: str) -> str:
    """A time limit as Slurm counts it: seconds are rounded up to a minute (sbatch(1), --time).

    Raises:
        BadInput: the text is in none of sbatch's forms.
    """
    seconds = parse_time(text)
    return format_time(seconds + -seconds % 60) if seconds and seconds % 60 else text


def scale_memory(old: str, change: str) -> str:
    """``change`` as an amount of memory: itself (``8G``), or ``old`` times it (``2x``)."""
    return _scale(old, change, parse_memory, format_memory)


def scale_time(old: str, change: str) -> str:
    """``change`` as a time limit: itself (``02:00:00``), or ``old`` times it (``1.5x``)."""
    return _scale(old, change, _limited, format_time)


def _limited(text: str) -> int:
    seconds = parse_time(text)
    if seconds is None:
        raise BadInput(
            f"The time limit {text!r} is no limit: it cannot be multiplied.",
            code="cannot-multiply",
            option="time",
            value=text,
        )
    return seconds


def is_factor(text: str) -> bool:
    """Whether the text asks for a multiple (``2x``) and not for an amount."""
    return _FACTOR.fullmatch(text.strip()) is not None


def _scale(old: str, change: str, parse: Callable[[str], int], write: Callable[[int], str]) -> str:
    factor = _FACTOR.fullmatch(change.strip())
    if factor is None:
        return change
    scaled = parse(old) * Fraction(factor[1])
    return write(max(1, -(-scaled.numerator // scaled.denominator)))
