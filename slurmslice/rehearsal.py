"""A run directory in which nothing is written, for a dry run: it looks as its verb does.

What a look decides (a job that was sent by hand is taken in, a doubt is settled) is known to
this process alone. The journal is not read on from then on: a dry run is over in a moment.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from slurmslice.journal import Event, to_line
from slurmslice.rundir import RunDirectory


class Rehearsal(RunDirectory):
    """The files of one run, only ever read. One ``Run`` may be opened in it."""

    written = False

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._decided = b""
        self._read = 0

    def read_journal(self, offset: int) -> tuple[bytes, int]:
        """As it is on disk, and once something was decided what that is."""
        if not self._decided:
            lines, self._read = super().read_journal(offset)
            return lines, self._read
        return self._decided[offset - self._read :], self._read + len(self._decided)

    def append(self, event: Event) -> None:
        """Remember a decision."""
        self._decided += to_line(event)

    def append_states(self, lines: bytes, header: bytes) -> None:
        """Leave it at what the ``Run`` knows."""

    def bar(self, number: int) -> bool:
        """Whether the claim of a submission could be taken, which is not done."""
        return self.owner(number) is None

    @contextlib.contextmanager
    def lock(self, verb: str, wait: float | None = None) -> Iterator[None]:
        """Nothing that others would have to wait for."""
        yield
