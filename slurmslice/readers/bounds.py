"""Bounds of what a computed column may take: a slip of the pen must not take a login node."""

from __future__ import annotations

import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MEMORY_MIB = 512
CPU_S = 10
_MOST_BITS = 100_000


class TooLong(Exception):
    """It took more than its CPU time."""

    def __init__(self) -> None:
        super().__init__(f"it takes more than {CPU_S} s of CPU time")


@contextmanager
def bounded() -> Iterator[None]:
    """Let what is done inside take so much more memory, and so much CPU time.

    The main thread only. More memory is a MemoryError, more time a ``TooLong`` at the point
    reached (setrlimit(2), RLIMIT_AS; setitimer(2), ITIMER_VIRTUAL).
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    wanted = _address_space() + (MEMORY_MIB << 20)
    lower = min(limit for limit in (soft, hard, wanted) if limit != resource.RLIM_INFINITY)
    before = signal.signal(signal.SIGVTALRM, _stop)
    resource.setrlimit(resource.RLIMIT_AS, (lower, hard))
    signal.setitimer(signal.ITIMER_VIRTUAL, CPU_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        signal.signal(signal.SIGVTALRM, before)


def check_digits(operator: str, left: object, right: object) -> None:
    """Refuse a product or a power of whole numbers that is too long.

    Raises:
        OverflowError: it is.
    """
    if isinstance(left, int) and isinstance(right, int):
        size, other = left.bit_length(), right.bit_length()
        if (size * max(right, 0) if operator == "**" else size + other) > _MOST_BITS:
            raise OverflowError(f"{operator} gives a number with too many digits")


def _stop(number: int, frame: object) -> None:
    raise TooLong


def _address_space() -> int:
    """Bytes of this process' address space (proc(5), ``statm``: the first field, in pages)."""
    pages = Path("/proc/self/statm").read_text("ascii").split()[0]
    return int(pages) * resource.getpagesize()
