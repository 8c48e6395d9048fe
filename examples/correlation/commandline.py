"""What the three command lines share: types of arguments, and how a script ends."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable

from pairs import InputError


def side(text: str) -> float:
    """Return a length > 0; for argparse."""
    value = float(text)
    if not (math.isfinite(value) and value > 0):
        raise ValueError(text)
    return value


def at_least_0(text: str) -> int:
    """Return an integer >= 0; for argparse."""
    value = int(text)
    if value < 0:
        raise ValueError(text)
    return value


def at_least_1(text: str) -> int:
    """Return an integer >= 1; for argparse."""
    value = int(text)
    if value < 1:
        raise ValueError(text)
    return value


def exit_status(program: str, work: Callable[[], None]) -> int:
    """Do the work; return 0, or 2 for bad input, or 1 if a file cannot be written."""
    try:
        work()
    except InputError as error:
        print(f"{program}: error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"{program}: error: {error}", file=sys.stderr)
        return 1
    return 0
