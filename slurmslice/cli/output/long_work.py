"""A line on a terminal while slurmslice itself works for long."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from slurmslice.cli.output.live_block import LiveBlock, is_repaintable

_FIRST_S, _EVERY_S = 0.5, 0.2


@contextmanager
def shown_if_long(what: str) -> Iterator[None]:
    """Show what is done and for how long, if it takes more than half a second.

    The work must print nothing: its text would be beside the line.

    Args:
        what: the work, in words: ``Reading the slices``.
    """
    if not is_repaintable():
        yield
        return
    done = threading.Event()
    painter = threading.Thread(target=_paint_until, args=(done, what), daemon=True)
    painter.start()
    try:
        yield
    finally:
        done.set()
        painter.join()


def _paint_until(done: threading.Event, what: str) -> None:
    block, began, wait = LiveBlock(), time.monotonic(), _FIRST_S
    while not done.wait(wait):
        block.paint([f"{what}: {time.monotonic() - began:.0f} s"])
        wait = _EVERY_S
    block.clear()
