"""The files of a run's steward.

::

    steward/steward.sh    the script of its job; the same text in each run
    steward/job           the claim: the id of the job that is the steward
    steward/next          what it waits for next; one line, written by each round for bash
    steward/rounds.jsonl  a line for each round
    steward/trouble       a line of bash for each round in vain: when it looks next, and why
    steward/log           the output of its rounds
    steward/line.sh       what a line of a crontab calls, in place of a job; with the environment
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

from slurmslice.run.steward_record import Round, Trouble, parse_rounds, parse_trouble
from slurmslice.system import files, locks


class StewardFolder:
    """The files of a run's steward.

    Args:
        run_dir: the run directory.
    """

    def __init__(self, run_dir: Path) -> None:
        self.path = run_dir / "steward"
        self.script = self.path / "steward.sh"
        self.log = self.path / "log"
        self.line_script = self.path / "line.sh"
        self._claim = self.path / "job"
        self._next = self.path / "next"
        self._trouble = self.path / "trouble"
        self._rounds = self.path / "rounds.jsonl"

    def prepare(self, script: bytes) -> None:
        """Write the script, and remove an earlier steward's claim. The caller holds the lock."""
        self.path.mkdir(exist_ok=True)
        files.replace_file(self.script, script)
        self._claim.unlink(missing_ok=True)
        self._next.unlink(missing_ok=True)
        self._trouble.unlink(missing_ok=True)

    def write_line_script(self, text: str) -> None:
        """Write the script of a line, for the eyes of its owner only. The caller holds the lock."""
        self.path.mkdir(exist_ok=True)
        files.replace_file(self.line_script, text.encode("utf-8", "surrogateescape"), 0o600)

    def line_script_calls(self, words: str) -> bool:
        """Tell if the last command of the script of a line ends with these words."""
        try:
            text = files.read_file(self.line_script)
        except OSError:
            return False
        return text.endswith(f" {words}\n".encode("utf-8", "surrogateescape"))

    def only_one(self) -> AbstractContextManager[None]:
        """Hold the place of the one call of a line that works; a second one does not wait.

        Raises:
            LockedError: another call holds it.
        """
        return locks.hold_lock(self.path, "tick", 0o600, 0)

    def due_at(self) -> float:
        """Return the earliest time of the next round, epoch seconds; 0 if it is due."""
        rounds = self.rounds()
        return rounds[-1].not_before if rounds else 0.0

    def remove_line_script(self) -> None:
        """Remove the script of a line."""
        self.line_script.unlink(missing_ok=True)

    def claim(self, job: str) -> str:
        """Claim the place of the steward for a job; return the job that has it.

        Empty if the claim cannot be read.
        """
        files.create_exclusively(self._claim, f"{job}\n".encode())
        return self.claiming_job()

    def claiming_job(self) -> str:
        """Return the id of the job that has claimed the place; empty if none has."""
        try:
            owner = files.read_file(self._claim).decode("ascii", "replace").strip()
        except FileNotFoundError:
            return ""
        return owner if owner.isdecimal() else ""

    def write_next(self, words: str) -> None:
        """Write for bash what the job does next: ``end``, or ``wait`` and scontrol's words."""
        files.replace_file(self._next, f"{words}\n".encode("ascii"))

    def add_round(self, done: Round) -> None:
        """Append a round. The caller holds the lock."""
        files.append_lines(self._rounds, done.to_line())

    def rounds(self) -> list[Round]:
        """Return all rounds, the oldest first."""
        try:
            return parse_rounds(files.read_file(self._rounds).splitlines())
        except FileNotFoundError:
            return []

    def trouble(self) -> Trouble | None:
        """Return why the newest rounds of a job were in vain; None if the newest one was not."""
        try:
            return parse_trouble(files.read_file(self._trouble).splitlines())
        except FileNotFoundError:
            return None
