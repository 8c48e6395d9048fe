"""The files of the step after a run.

::

    then/then.sh          the script of its job; the same text in each run
    then/TOKEN/command    the person's shell text
    then/TOKEN/missing    the keys of the slices that are not done, one per line
    then/TOKEN/job        the claim: the id of the job that runs the step
    then/TOKEN/exit       its exit code, written by then.sh at its end
    then/TOKEN/log        its output
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from slurmslice.system import files

FENCED = "fenced"
"""The claim of a start whose job never arrived: a late job stops before its command."""


class ThenFolder:
    """The files of one start of the step.

    Args:
        run_dir: the run directory.
        token: the token of the start.
    """

    def __init__(self, run_dir: Path, token: str) -> None:
        self.script = run_dir / "then" / "then.sh"
        self.path = run_dir / "then" / token
        self.log = self.path / "log"
        self._claim = self.path / "job"

    def prepare(self, script: bytes, command: str, missing: Iterable[str]) -> None:
        """Write the script, the command and the keys. The caller holds the lock."""
        self.path.mkdir(parents=True, exist_ok=True)
        files.replace_file(self.script, script)
        files.replace_file(self.path / "command", os.fsencode(f"{command}\n"))
        keys = b"".join(os.fsencode(key) + b"\n" for key in missing)
        files.replace_file(self.path / "missing", keys)

    def claiming_job(self) -> str:
        """Return the id of the job that has claimed the step, or ``FENCED``; empty if none has."""
        return self._read("job")

    def fence(self) -> bool:
        """Claim the step, so that a late job stops; False if a job has claimed it."""
        files.create_exclusively(self._claim, f"{FENCED}\n".encode())
        return self.claiming_job() == FENCED

    def exit_code(self) -> int | None:
        """Return the exit code of the command; None if the step has not recorded its end."""
        text = self._read("exit")
        return int(text) if text.isdecimal() else None

    def _read(self, name: str) -> str:
        try:
            return files.read_file(self.path / name).decode("ascii", "replace").strip()
        except FileNotFoundError:
            return ""
