"""A line on a terminal while slurmslice itself works for long."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from slurmslice.cli.output.live_block import LiveBlock, is_repaintable

_FIRST_S, _EVERY_S = 0.5, 0.2


@contextmanager
def shown_if_long(what: str, parts: str = "") -> Iterator[Callable[[int, int], None]]:
    """Show what is done and for how long, if it takes more than half a second.

    The work must print nothing: its text would be beside the line.

    Args:
        what: the work, in words: ``Making the report``.
        parts: what is counted: ``logs``; it may be left out if ``what`` has the word.

    Yields:
        a function that the work may call: with the number of parts that are done, and of all.
    """
    line = _Line(what, parts)
    if not is_repaintable():
        yield line.count
        return
    done = threading.Event()
    painter = threading.Thread(target=line.paint_until, args=(done,), daemon=True)
    painter.start()
    try:
        yield line.count
    finally:
        done.set()
        painter.join()


class _Line:
    """The line: the work, how much of it is done, and the time since its beginning."""

    def __init__(self, what: str, parts: str) -> None:
        self._what, self._parts, self._counted = what, parts and f" {parts}", ""
        self._began = time.monotonic()

    def count(self, number: int, total: int) -> None:
        """Note how many parts are done; it is called for each, so it is cheap."""
        self._counted = f", {number} of {total}{self._parts}"

    def paint_until(self, done: threading.Event) -> None:
        """Paint the line again and again."""
        block, wait = LiveBlock(), _FIRST_S
        while not done.wait(wait):
            block.paint([f"{self._what}{self._counted}: {time.monotonic() - self._began:.0f} s"])
            wait = _EVERY_S
        block.clear()
