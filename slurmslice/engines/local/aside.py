"""One program of a run on this machine, under the lock of the runner."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from slurmslice.engines.local.orphans import kill_orphans
from slurmslice.engines.local.runner_lock import RunnerLock
from slurmslice.errors import LockedError
from slurmslice.system.process import Program, start_program


class LocalAside:
    """Runs one program beside the slices (an ``engines.aside.Aside``).

    If this process is killed, the next one that looks at the run kills what is left of the program.

    Args:
        lock: the lock of the runner.
        living_runner: returns the text of the living runner, after a dead one was cleaned up.
        marker: the variable that marks the processes of the run.
    """

    def __init__(self, lock: RunnerLock, living_runner: Callable[[], str], marker: str) -> None:
        self._lock = lock
        self._living_runner = living_runner
        self._marker = marker
        self._program: Program | None = None

    @property
    def runs(self) -> bool:
        """True if a process of the run works."""
        return bool(self._living_runner())

    def start(self, argv: Sequence[str], environ: Mapping[str, str], output: Path) -> str:
        """Start the program. As ``Aside.start``."""
        if self._living_runner() or not self._lock.acquire():
            raise LockedError("Another slurmslice runs slices or a step of this run here.")
        try:
            self._lock.write_holder()
            marked = {**environ, self._marker: str(os.getpid())}
            self._program = start_program(argv, env=marked, output=output)
        except BaseException:
            self._release()
            raise
        return str(self._program.pid)

    def wait(self) -> int:
        """Wait for its end. As ``Aside.wait``."""
        assert self._program is not None  # noqa: S101 - it was started
        try:
            return self._program.wait()
        finally:
            self._program.kill_group()
            kill_orphans(self._marker)
            self._program = None
            self._release()

    def _release(self) -> None:
        self._lock.clear_holder()
        self._lock.release()
