"""Slurm's units: memory in MiB, time in seconds.

Source: sbatch(1), ``--mem`` (a number is megabytes unless K, M, G or T follows) and ``--time``
(minutes, M:S, H:M:S, D-H, D-H:M, D-H:M:S; also D-). Slurm counts memory by 1024. sbatch accepts
blanks and a plus sign before memory, and no blanks around a time (tried on 22.05).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from fractions import Fraction

from slurmslice.errors import BadInputError

_KIB = {"K": 1, "": 1024, "M": 1024, "G": 1024**2, "T": 1024**3}
_MEMORY = re.compile(r"\s*\+?(\d{1,18})([KMGT]?)B?", re.IGNORECASE)
_FACTOR = re.compile(r"(?=[\d.]*[1-9])(\d{1,18}(?:\.\d{1,18})?)[x×]")
_MOST_DIGITS = 18
_TIME_FORMS = "Write minutes, MM:SS, HH:MM:SS, D-HH, D-HH:MM or D-HH:MM:SS."
UNLIMITED_TEXTS = frozenset({"UNLIMITED", "INFINITE", "-1"})


def parse_digits(text: str) -> int | None:
    """Return a whole number of at most 18 decimal digits; None for any other text.

    Python refuses to read thousands of digits, and Slurm's own numbers have fewer.
    """
    is_number = len(text) <= _MOST_DIGITS and text.isascii() and text.isdecimal()
    return int(text) if is_number else None


def parse_memory(text: str) -> int:
    """Return an sbatch memory size such as ``4G`` in MiB, rounded up.

    Raises:
        BadInputError: the text is not a memory size.
    """
    match = _MEMORY.fullmatch(text)
    if match is None or not text.isascii():
        raise BadInputError(
            f"{text!r} is not an amount of memory.",
            _meant_memory(text) or "Write a whole number and K, M, G or T.",
            code="bad-memory",
            value=text,
        )
    kib = int(match[1]) * _KIB[match[2].upper()]
    return -(-kib // 1024)


def _meant_memory(text: str) -> str:
    """Return a hint with the amount that a text means (``4 GiB``, ``x2``); empty if none does."""
    if factor := re.fullmatch(r"x\s*(\d+(?:\.\d+)?)", text, re.IGNORECASE | re.ASCII):
        return f"Write {factor[1]}x for a multiple."
    meant = re.fullmatch(r"\s*(\d{1,9}(?:\.\d{1,3})?)\s*([KMGT])(?:i?B)?\s*", text, re.I | re.ASCII)
    if meant is None:
        return ""
    kib = math.ceil(float(meant[1]) * _KIB[meant[2].upper()])
    return f"Write {format_memory(-(-kib // 1024))}."


def _meant_time(text: str) -> str:
    """Return a hint with the time that a text means (``2h``, ``1 day``); empty if none does."""
    meant = re.fullmatch(
        r"\s*(\d{1,9}(?:\.\d{1,3})?)\s*"
        r"(?:(s)(?:ec|econd)?s?|(m)(?:in|inute)?s?|(h)(?:our|r)?s?|(d)(?:ay)?s?)\s*",
        text, re.IGNORECASE | re.ASCII,
    )  # fmt: skip
    if meant is None:
        return ""
    unit = next(letter for letter in meant.groups()[1:] if letter)
    return f"Write {format_time(math.ceil(float(meant[1]) * _SECONDS[unit.lower()]))}."


def format_memory(mib: int) -> str:
    """Return the shortest exact sbatch memory size for a number of MiB: ``4G``, ``1500M``."""
    if mib and mib % 1024 == 0:
        return f"{mib // 1024}G"
    return f"{mib}M"


def round_up_memory(mib: int) -> int:
    """Round an amount of memory up to one that a person would write: 400M, 1G, 12G."""
    if mib <= 1000:
        return mib if mib % 64 == 0 or mib < 100 else -(-mib // 100) * 100
    return -(-mib // 1024) * 1024


def parse_time(text: str) -> int | None:
    """Return an sbatch time limit in seconds; None for no limit (``UNLIMITED``, ``INFINITE``, 0).

    Raises:
        BadInputError: the text has none of sbatch's forms.
    """
    if text.upper() in UNLIMITED_TEXTS:
        return None
    days, dash, clock = text.rpartition("-")
    fields = (clock or "0" if dash else clock).split(":")
    numbers = [*([days] if dash else []), *fields]
    values = [value for number in numbers if (value := parse_digits(number)) is not None]
    if len(fields) > 3 or len(values) < len(numbers):
        raise BadInputError(
            f"{text!r} is not a time limit.",
            _meant_time(text) or _TIME_FORMS,
            code="bad-time",
            value=text,
        )
    if dash:
        number, hours, minutes, seconds = (*values, 0, 0)[:4]
        return number * 86400 + hours * 3600 + minutes * 60 + seconds
    if len(values) == 1:
        return values[0] * 60 or None
    hours, minutes, seconds = (0, *values)[-3:]
    return hours * 3600 + minutes * 60 + seconds or None


_DURATION = re.compile(r"(\d{1,9}(?:\.\d{0,9})?|\.\d{1,9})(s|m|min|h|d)", re.IGNORECASE | re.ASCII)
_SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}


def parse_duration(text: str) -> float:
    """Return a duration of ours in seconds: with a unit (``0.2s``, ``1.5h``), or as sbatch's times.

    Raises:
        BadInputError: the text is neither, or it is 0 or no limit. A decimal number without a unit
            may be seconds or minutes.
    """
    if match := _DURATION.fullmatch(text):
        seconds = float(match[1]) * _SECONDS[match[2].lower()]
    elif re.fullmatch(r"\d*\.\d+|\d+\.", text, re.ASCII):
        raise BadInputError(
            f"{text!r} may be seconds or minutes.",
            f"Write {text}s for seconds, {text}m for minutes.",
            code="bad-time",
            value=text,
        )
    else:
        seconds = parse_time(text) or 0
    if not seconds:
        raise BadInputError(
            f"{text!r} is not a duration.",
            f"Write a unit: 0.2s, 5m, 1.5h, 2d. {_TIME_FORMS}",
            code="bad-time",
            value=text,
        )
    return seconds


def format_time(seconds: int) -> str:
    """Return seconds as ``[D-]HH:MM:SS``, the form of sbatch and squeue."""
    days, rest = divmod(seconds, 86400)
    clock = f"{rest // 3600:02d}:{rest % 3600 // 60:02d}:{rest % 60:02d}"
    return f"{days}-{clock}" if days else clock


def parse_count(text: str) -> int:
    """Read a number from 1 up.

    Raises:
        BadInputError: the text is not one.
    """
    if len(text) > 9 or not (text.isascii() and text.isdecimal() and text.strip("0")):
        raise BadInputError(f"{text!r} is not a number from 1 up.", code="bad-number", value=text)
    return int(text)


def parse_sampling_interval(text: str) -> float:
    """Return the seconds between two measurements of a task: ``30``, ``task=30,energy=60``.

    Source: sbatch(1), ``--acctg-freq``; slurm.conf(5), JobAcctGatherFrequency. Their default is 30.

    Returns:
        infinity if the task is only measured at its start and end (0).
    """
    intervals = (part.rpartition("task=") for part in text.lower().split(","))
    found = [number for before, _, number in intervals if not before and number.isdecimal()]
    return (int(found[0][:9]) or math.inf) if found else 30.0


def round_up_to_minutes(text: str) -> str:
    """Round a time limit up to whole minutes, as Slurm does (sbatch(1), --time).

    Raises:
        BadInputError: the text has none of sbatch's forms.
    """
    seconds = parse_time(text)
    return format_time(seconds + -seconds % 60) if seconds and seconds % 60 else text


def scale_memory(old: str, change: str) -> str:
    """Return the new amount of memory: ``change`` (``8G``), or a multiple of ``old`` (``2x``)."""
    return _scale(old, change, parse_memory, format_memory)


def scale_time(old: str, change: str) -> str:
    """Return the new time limit: ``change`` (``2:00:00``), or a multiple of ``old`` (``1.5x``)."""
    return _scale(old, change, _finite_time, format_time)


def _finite_time(text: str) -> int:
    seconds = parse_time(text)
    if seconds is None:
        raise BadInputError(
            f"The time limit {text!r} means no limit, so it cannot be multiplied.",
            "Give a time limit instead of a factor.",
            code="cannot-multiply",
            option="time",
            value=text,
        )
    return seconds


def is_factor(text: str) -> bool:
    """Tell if the text is a factor (``2x``), not an amount."""
    return _FACTOR.fullmatch(text.strip()) is not None


def _scale(old: str, change: str, parse: Callable[[str], int], write: Callable[[int], str]) -> str:
    factor = _FACTOR.fullmatch(change.strip())
    if factor is None:
        return change
    scaled = parse(old) * Fraction(factor[1])
    return write(max(1, -(-scaled.numerator // scaled.denominator)))
