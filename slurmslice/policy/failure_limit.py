"""The limit of ``--max-failures``: a number of slices, or a share of all slices. Pure."""

from __future__ import annotations

import re

from slurmslice.sbatch.units import parse_digits
from slurmslice.spec.run_spec import NO_LIMIT, FailureLimit

_PERCENT = re.compile(r"(\d{1,3}(?:\.\d{1,6})?)%", re.ASCII)


def parse_failure_limit(text: str) -> FailureLimit:
    """Return a limit: a number from 1 up, a share as typed (``5%``), or ``NO_LIMIT`` for ``none``.

    Raises:
        ValueError: the text is none of these.
    """
    if text == "none":
        return NO_LIMIT
    share = _PERCENT.fullmatch(text)
    if share and 0 < float(share[1]) <= 100:
        return text
    if number := parse_digits(text):
        return number
    raise ValueError(f"{text!r} is neither a number from 1 up, nor a share like 5%, nor 'none'.")


def limit_in_slices(limit: FailureLimit, slices: int) -> int:
    """Return a limit as a number of slices, rounded up; at least 1, or ``NO_LIMIT``."""
    if isinstance(limit, int):
        return limit
    whole, _, part = limit.removesuffix("%").partition(".")
    share, scale = int(whole + part), 100 * int("1" + "0" * len(part))
    return max(1, -(-slices * share // scale))
