"""A run directory in which nothing is written, for a dry run and for ``watch``.

A look may decide something: a job that was sent by hand is taken in, a doubt is settled. Here
only this process knows of the decision. From then on it does not read the journal any further,
until it calls ``forget_outdated``.
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

    def forget_outdated(self) -> bool:
        """Forget the decisions if another process has written to the journal since the first one.

        Returns:
            True if there were such decisions: the journal is to be read again from its beginning.
        """
        if not self._decided or super().read_journal(self._read)[1] == self._read:
            return False
        self._decided = b""
        return True

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
