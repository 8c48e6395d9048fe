"""A run that is only read, for ``--dry-run`` and ``watch``: nothing is written or submitted.

A poll takes decisions: a job that was submitted by hand joins the run, a doubt is resolved. Here
only this process knows them. After the first decision the journal is not read further, until
``forget_outdated``.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, cast

from slurmslice.engines.protocol import Engine
from slurmslice.errors import NoAnswerError
from slurmslice.run.directory import RunDirectory
from slurmslice.run.journal import Event, format_event


class ReadOnlyDirectory(RunDirectory):
    """The files of one run, never written. Only one ``Run`` may be opened in it."""

    read_only = True

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._decided = b""
        self._read = 0
        self._slices: dict[Path, bytes] = {}

    def read_journal(self, offset: int) -> tuple[bytes, int]:
        """Read the file; after the first decision, return the decisions of this process."""
        if not self._decided:
            lines, self._read = super().read_journal(offset)
            return lines, self._read
        return self._decided[offset - self._read :], self._read + len(self._decided)

    def append(self, event: Event) -> None:
        """Remember a decision."""
        self._decided += format_event(event)

    def forget_outdated(self) -> bool:
        """Forget the decisions if another process has written to the journal since the first one.

        Returns:
            True if there were such decisions: then read the journal again from its beginning.
        """
        if not self._decided or super().read_journal(self._read)[1] == self._read:
            return False
        self._decided = b""
        return True

    def append_states(self, lines: bytes, header: bytes) -> None:
        """Write nothing: the statuses are in ``Run``."""

    def write_failures(self, data: bytes) -> None:
        """Write nothing: the cache of another command stays."""

    def write_cancelled(self, number: int, slots: Mapping[int, Sequence[int]]) -> None:
        """Write nothing: the tasks of a dry run go on."""

    def write_slices(self, number: int, data: bytes) -> None:
        """Remember the table."""
        self._slices[self.path / f"slices-{number:03d}.tsv"] = data

    def _read_slices(self, path: Path) -> bytes:
        return self._slices[path] if path in self._slices else super()._read_slices(path)

    def fence(self, number: int) -> bool:
        """Tell if a submission could be fenced; do not fence it."""
        return self.claiming_job(number) is None

    @contextlib.contextmanager
    def lock(self, verb: str, wait: float | None = None) -> Iterator[None]:
        """Take no lock, so that no other process waits."""
        yield


class _ReadOnlyEngine:
    """An engine that answers questions and changes nothing."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def __getattr__(self, name: str) -> Any:
        """Return a method of the engine."""
        return getattr(self._engine, name)

    def cancel(self, *_: object) -> None:
        """Cancel nothing."""

    throttle = hold = release = announce_cancelled = avoid_nodes = change_waiting = cancel


class _ForeignEngine(_ReadOnlyEngine):
    """An engine for the run of another user. It searches and looks into no jobs of this user."""

    def _refuse(self, *_: object) -> NoReturn:
        """Refuse an action, or a question about jobs that are another user's."""
        raise NoAnswerError("The run belongs to another user, who alone can ask that.")

    submit = test_submission = find_job = job_info = _refuse

    def wait(self, seconds: float) -> None:
        """Sleep. The local engine would run tasks."""
        time.sleep(seconds)


def foreign_engine(engine: Engine) -> Engine:
    """Wrap an engine for the run of another user: it only reports on known jobs."""
    return cast(Engine, _ForeignEngine(engine))


def read_only_engine(engine: Engine) -> Engine:
    """Wrap an engine so that it answers questions and changes nothing."""
    return cast(Engine, _ReadOnlyEngine(engine))
