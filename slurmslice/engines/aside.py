"""A program beside the slices (docs/adr/0027): what an engine without a queue does for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol


class Aside(Protocol):
    """Runs one program of a run on this machine while a slurmslice process waits for it."""

    @property
    def runs(self) -> bool:
        """True if a process of the run works, here or elsewhere."""

    def start(self, argv: Sequence[str], environ: Mapping[str, str], output: Path) -> str:
        """Start the program, and return its process id. Its output is appended to a file.

        Raises:
            LockedError: another process of the run works.
            OSError: it could not be started.
        """

    def wait(self) -> int:
        """Wait for its end, and return its exit code; 128 and the number after a signal.

        After any exception, also KeyboardInterrupt, the program and its descendants are killed.
        """
