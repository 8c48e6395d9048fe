"""Memory and time limits for computed columns, so that a mistake does not exhaust a login node."""

from __future__ import annotations

import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MAX_MEMORY_MIB = 512
MAX_CPU_S = 10
_MOST_BITS = 100_000


class CpuTimeError(Exception):
    """The computation used more than its CPU time."""

    def __init__(self) -> None:
        super().__init__(f"it takes more than {MAX_CPU_S} s of CPU time")


@contextmanager
def limited_resources() -> Iterator[None]:
    """Limit the additional memory and the CPU time of the block; call it in the main thread.

    The block gets a MemoryError for too much memory and a ``CpuTimeError`` for too much time
    (setrlimit(2), RLIMIT_AS; setitimer(2), ITIMER_VIRTUAL).
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    wanted = _address_space() + (MAX_MEMORY_MIB << 20)
    lower = min(limit for limit in (soft, hard, wanted) if limit != resource.RLIM_INFINITY)
    before = signal.signal(signal.SIGVTALRM, _stop)
    resource.setrlimit(resource.RLIMIT_AS, (lower, hard))
    signal.setitimer(signal.ITIMER_VIRTUAL, MAX_CPU_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        signal.signal(signal.SIGVTALRM, before)


def check_digit_count(operator: str, left: object, right: object) -> None:
    """Refuse a product or a power of whole numbers if the result has too many digits.

    Raises:
        OverflowError: the result has too many digits.
    """
    if isinstance(left, int) and isinstance(right, int):
        size, other = left.bit_length(), right.bit_length()
        if (size * max(right, 0) if operator == "**" else size + other) > _MOST_BITS:
            raise OverflowError(f"{operator} gives a number with too many digits")


def _stop(number: int, frame: object) -> None:
    raise CpuTimeError


def _address_space() -> int:
    """Size of this process' address space in bytes (proc(5), ``statm``: first field, in pages)."""
    pages = Path("/proc/self/statm").read_text("ascii").split()[0]
    return int(pages) * resource.getpagesize()
