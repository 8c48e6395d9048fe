"""Progress on a terminal while many logs are read."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from slurmslice.cli.output.live_block import LiveBlock, is_repaintable

_FIRST_S, _EVERY_S = 0.5, 0.1


@contextmanager
def reading_logs() -> Iterator[Callable[[int, int], None]]:
    """Show how many logs were read, if that takes more than half a second.

    Yields:
        a function to call before each log, with the number of those before it and of all.
    """
    block, due = LiveBlock(), time.monotonic() + _FIRST_S

    def show(number: int, total: int) -> None:
        nonlocal due
        if (now := time.monotonic()) >= due:
            due = now + _EVERY_S
            block.paint([f"Reading logs: {number} of {total}"])

    try:
        yield show if is_repaintable() else lambda number, total: None
    finally:
        block.clear()
