"""A deadline for calls that have none of their own."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType
from typing import NoReturn


@contextlib.contextmanager
def raise_after(seconds: float) -> Iterator[None]:
    """Raise an error in a block that takes too long. Call this from the main thread.

    It ends a call of the operating system that waits (signal(7), EINTR; PEP 475).

    Args:
        seconds: the most time for the block.

    Raises:
        TimeoutError: the time is over.
    """

    def too_late(number: int, frame: FrameType | None) -> NoReturn:
        raise TimeoutError(f"no end after {seconds:g} seconds")

    handler = signal.signal(signal.SIGALRM, too_late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
