"""A run directory: its files, and writes that survive a kill at any moment.

::

    run.json        the request; a folder without it is not a run
    script.sh       the one script of every submission; a person may edit it
    slurmslice.sh   the library that the script sources; never changes
    slices.tsv      row, key, columns, log name; written once
    slices-002.tsv  the rows that were added later
    journal.jsonl   decisions; each is flushed to disk
    states.tsv      states as polls found them; a lost tail does no harm
    failures.tsv    a cache of what the logs of failed slices say
    submissions/007/  tasks.tsv  job (the claim)  logs/<log name>  tasks/<index>.log
                      cancelled/<index>: slots of a task that goes on with its other slots
                      checkpoints: size and time of the checkpoints before it (--checkpoint)
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import count
from pathlib import Path

from slurmslice.errors import BadInputError, DamagedRunError, NotAFileError
from slurmslice.run.checkpoints import Identity, format_identities, parse_identities
from slurmslice.run.journal import Event, format_event, parse_events
from slurmslice.run.slice_changes import SlicesChanged
from slurmslice.script import progress_lines
from slurmslice.script.source_line import LIBRARY_NAME
from slurmslice.slices.slice_table import SliceTable
from slurmslice.spec.run_spec import RunRecord
from slurmslice.system import files, locks
from slurmslice.system.users import other_owner, user_name

_TASK_OF_LINE = re.compile(rb" task=(\d+)(?: |\n)")
_FENCED = "fenced by slurmslice, which gave this submission up\n"


class RunDirectory:
    """The files of one run. This class knows bytes on disk; ``Run`` knows their meaning."""

    read_only = False
    """True if nothing is ever written (``slurmslice.run.read_only``)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.script = path / "script.sh"
        self.library = path / LIBRARY_NAME
        self.slices = path / "slices.tsv"
        self._journal = path / "journal.jsonl"
        self.states = path / "states.tsv"
        self._failures = path / "failures.tsv"
        self.unreadable_logs: dict[Path, str] = {}
        """Task logs that could not be read, and the reasons."""
        self.known_fault = ""
        """The fault of the library at the last poll; empty if there was none."""
        self._worker_lines: tuple[int, list[tuple[int, int]], dict[bytes, list[bytes]]] = 0, [], {}

    @classmethod
    def open(cls, path: Path) -> RunDirectory:
        """Open the run in a folder.

        Raises:
            BadInputError: the folder holds no run.
        """
        if not (path / "run.json").exists():
            raise BadInputError(
                f"{path} is not a run directory: it has no run.json.",
                "Run `slurmslice runs` to list the runs here.",
                code="not-a-run",
                path=str(path),
            )
        return cls(path)

    @property
    def writable(self) -> bool:
        """True if this user may change the run."""
        return os.access(self.path, os.W_OK)

    @cached_property
    def foreign_owner(self) -> int | None:
        """The other user to whom the run belongs; None if it is this user's.

        The script and the journal of another user are never acted on, whatever their rights allow:
        their jobs would be this user's.
        """
        files = (self.path / "run.json", self.script, self.library, self.slices, self._journal)
        owners = (file.stat().st_uid for file in (self.path, *files) if file.exists())
        return other_owner(owners, os.geteuid())

    def check_writable(self) -> None:
        """Refuse early, with a hint, if this user cannot or must not change the run.

        Raises:
            BadInputError: this user may not change the run, or it belongs to another user.
        """
        owner = self.foreign_owner
        if owner is None and self.writable:
            return
        path = shlex.quote(str(self.path))
        hint = f"`slurmslice status {path}` and `slurmslice logs {path} KEY` only read."
        if owner is None:
            raise BadInputError(
                f"{self.path} is read-only.",
                f"Make it writable: chmod u+w {path}. {hint}",
                code="read-only-run",
                path=str(self.path),
            )
        raise BadInputError(
            f"{self.path} belongs to {user_name(owner)}: only this user can change it.",
            hint,
            code="not-yours",
            path=str(self.path),
            owner=user_name(owner),
        )

    # -- files written once ------------------------------------------------------------------

    def read_record(self) -> RunRecord:
        """Read ``run.json``.

        Raises:
            DamagedRunError: ``run.json`` cannot be understood.
        """
        path = self.path / "run.json"
        return RunRecord.from_bytes(files.read_file(path), str(path))

    def read_table(self, sha256: str) -> SliceTable:
        """Read the slice table, which must have this digest.

        Raises:
            DamagedRunError: ``slices.tsv`` was changed after the run was created, or is unreadable.
        """
        return self._read_table(self.slices, sha256)

    def _read_table(self, path: Path, sha256: str) -> SliceTable:
        data = self._read_slices(path)
        if sha256_hex(data) != sha256:
            raise DamagedRunError(
                f"{path} was changed after it was written.",
                "A slice table must never change: restore it, or create another run.",
                code="table-changed",
                path=str(path),
            )
        return SliceTable.read(data, str(path))

    def _read_slices(self, path: Path) -> bytes:
        return read_required_file(path)

    def read_changed_table(self, first: SliceTable, changes: Iterable[SlicesChanged]) -> SliceTable:
        """Return the slice table after these changes of the first one.

        Raises:
            DamagedRunError: as ``read_table``.
        """
        table = first
        for change in changes:
            path = self.path / f"slices-{change.number:03d}.tsv"
            table = table.changed_by(self._read_table(path, change.sha256))
        return table

    def read_present_table(self) -> SliceTable:
        """Return the slice table as it is now, without an open run.

        Raises:
            DamagedRunError: as ``read_table``, or the journal is damaged.
        """
        changes = (event for event in self.events() if isinstance(event, SlicesChanged))
        return self.read_changed_table(self.read_table(self.read_record().slices_sha256), changes)

    def write_slices(self, number: int, data: bytes) -> None:
        """Write the table of a change of the slices; it counts when the journal has the change."""
        files.replace_file(self.path / f"slices-{number:03d}.tsv", data)

    def library_fault(self, sha256: str) -> str:
        """Return the fault of the library, as a predicate; empty if it has this digest."""
        try:
            data = files.read_file(self.library)
        except OSError as why:
            return f"cannot be read: {why.strerror}"
        if not data:
            return "is empty"
        return "" if sha256_hex(data) == sha256 else "was changed after the run was created"

    @property
    def script_edited(self) -> bool:
        """True if the script exists and was written to after the run was created."""
        created = (self.path / "run.json").stat().st_mtime_ns  # it was written as the last file
        return self.script.exists() and self.script.stat().st_mtime_ns > created

    # -- submissions -------------------------------------------------------------------------

    def submission_folder(self, number: int) -> Path:
        """Return the folder of a submission."""
        return self.path / "submissions" / f"{number:03d}"

    def task_table_path(self, number: int) -> Path:
        """Return the path of a submission's task table (table form only)."""
        return self.submission_folder(number) / "tasks.tsv"

    def log_path(self, number: int, name: str) -> Path:
        """Return the path of a slice's log in a submission."""
        return self.submission_folder(number) / "logs" / name

    def task_log_path(self, number: int, index: int) -> Path:
        """Return the path of a task's own log: progress lines and slurmstepd's messages."""
        return self.submission_folder(number) / "tasks" / f"{index}.log"

    def shared_log_path(self, number: int, index: int) -> Path:
        """Return the path of the file that has the small logs of a task's slices, in a pack."""
        return self.submission_folder(number) / "tasks" / f"{index}.logs"

    def read_task_log(self, number: int, index: int) -> bytes | None:
        """Read the lines of a task log that may be progress lines.

        Returns:
            None if there is no such file, or if it cannot be read (then ``unread`` says why).
        """
        path = self.task_log_path(number, index)
        self.unreadable_logs.pop(path, None)
        try:
            return progress_lines.extract_progress_lines(files.read_chunks(path))
        except FileNotFoundError:
            return None
        except OSError as why:
            self.unreadable_logs[path] = str(why.strerror)
            return None

    def read_worker_lines(self, number: int, index: int) -> bytes:
        """Return the lines of the local engine's workers about a task that has no log of its own.

        The lines of one submission are kept in memory as long as its files are unchanged.
        """
        folder, known = self.submission_folder(number) / "tasks", list[tuple[int, int]]()
        with contextlib.suppress(OSError):
            for worker in count():
                status = (folder / f"worker-{worker}.log").stat()
                known.append((status.st_size, status.st_mtime_ns))
        if self._worker_lines[:2] != (number, known):
            lines: dict[bytes, list[bytes]] = {}
            with contextlib.suppress(OSError):
                for worker in range(len(known)):
                    for line in files.read_file(folder / f"worker-{worker}.log").splitlines(True):
                        if found := _TASK_OF_LINE.search(line):
                            lines.setdefault(found[1], []).append(line)
            self._worker_lines = number, known, lines
        return b"".join(self._worker_lines[2].get(b"%d" % index, ()))

    def has_log(self, number: int, name: str) -> bool:
        """Tell if a slice's own log exists. The slice's process creates it first of all.

        True also after an I/O error: an error must not turn a slice into one that never began.
        """
        try:
            self.log_path(number, name).stat()
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:
            return True
        return True

    def create_submission_folder(
        self,
        number: int,
        table: SliceTable,
        rows: Sequence[int],
        direct: bool,
        numbers: Mapping[str, Sequence[int]] | None = None,
    ) -> str:
        """Create a submission's folder, its task table, and the numbers of its slices.

        It completes a folder that a killed process left incomplete. A task table never changes
        after it was submitted. Tasks create the folders inside ``logs`` when they need them.

        Args:
            number: the number of the submission.
            table: the slices of the run.
            rows: the rows that it carries, in the order of the array's indices.
            direct: the array index is the key.
            numbers: ``attempt`` and ``continued`` of each of these rows, as far as they differ from
                those of first attempts (``JournalState.next_numbers``).

        Returns:
            the digest of the task table; empty in the direct form, which has none.
        """
        folder = self.submission_folder(number)
        (folder / "tasks").mkdir(parents=True, exist_ok=True)
        (folder / "logs").mkdir(exist_ok=True)
        if direct:
            for name, some in (numbers or {}).items():
                keys = (table.keys[row] for row in rows)
                files.replace_file(folder / _DIRECT[name], _format_numbers(keys, some))
            return ""
        data = table.part(rows)
        if numbers:
            part = SliceTable.read(data, str(self.task_table_path(number)))
            lines = zip(*(map(str, some) for some in numbers.values()), strict=True)
            data = part.with_columns(tuple(numbers), lines).data
        files.replace_file(self.task_table_path(number), data)
        return sha256_hex(data)

    def write_checkpoints(self, number: int, found: Mapping[int, Identity]) -> None:
        """Write the checkpoints that are there before a submission, by row."""
        path = self.submission_folder(number) / "checkpoints"
        files.replace_file(path, format_identities(found))

    def read_checkpoints(self, number: int) -> dict[int, Identity] | None:
        """Return the checkpoints before a submission; None if they were not recorded."""
        with contextlib.suppress(OSError):
            return parse_identities(files.read_file(self.submission_folder(number) / "checkpoints"))
        return None

    def write_cancelled(self, number: int, slots: Mapping[int, Sequence[int]]) -> None:
        """Write the cancelled slots of tasks that go on, by array index. The library reads them.

        It looks for a file for its task before each slice; usually there is none.
        """
        folder = self.submission_folder(number) / "cancelled"
        folder.mkdir(exist_ok=True)
        for index, some in slots.items():
            files.replace_file(folder / str(index), b"".join(b"%d\n" % slot for slot in some))

    def claiming_job(self, number: int) -> str | None:
        """Return the id of the job that has claimed a submission; None if none has.

        It is the first line of the claim. The local engine writes a second one.
        """
        try:
            owner, whole, _ = self._claim(number).partition("\n")
        except FileNotFoundError:
            return None
        return owner if owner.isdecimal() and whole else None  # else the line is torn

    def claimed_at(self, number: int) -> float | None:
        """Return the time of a submission's claim or fence, epoch seconds; None for none."""
        try:
            return (self.submission_folder(number) / "job").stat().st_mtime
        except FileNotFoundError:
            return None

    def fence(self, number: int) -> bool:
        """Fence a submission: take its claim, so that its job can never run a slice.

        Returns:
            True if the submission is fenced, by this call or by an earlier one that was killed;
            False if a job has claimed it and so has begun.
        """
        claimed = files.create_exclusively(self.submission_folder(number) / "job", _FENCED.encode())
        return claimed or self.is_fenced(number)

    def unfence(self, number: int) -> None:
        """Remove the fence of a submission, so that a job can claim it again."""
        if self.is_fenced(number):
            (self.submission_folder(number) / "job").unlink(missing_ok=True)

    def is_fenced(self, number: int) -> bool:
        """Tell if a submission is fenced."""
        try:
            return self._claim(number) == _FENCED
        except FileNotFoundError:
            return False

    def _claim(self, number: int) -> str:
        return files.read_file(self.submission_folder(number) / "job").decode("utf-8", "replace")

    # -- the journal -------------------------------------------------------------------------

    def read_journal(self, offset: int) -> tuple[bytes, int]:
        """Return whole lines of the journal from a byte offset on, and the offset after them."""
        return files.read_new_lines(self._journal, offset)

    def events(self) -> Iterator[Event]:
        """Iterate over the journal's events.

        Raises:
            DamagedRunError: a line in the middle cannot be read.
        """
        return parse_events(self.read_journal(0)[0])

    def forget_outdated(self) -> bool:
        """Forget unwritten decisions if the file has new ones; False: there were none."""
        return False

    def append(self, event: Event) -> None:
        """Append a decision; it is on disk when this returns. The caller holds the lock.

        It first removes a torn last line of a killed writer, because that is not a decision.
        """
        files.append_lines(self._journal, format_event(event))

    # -- states ------------------------------------------------------------------------------

    def read_states(self, offset: int) -> tuple[bytes, int]:
        """Return whole lines of ``states.tsv`` from a byte offset on, and the offset after them."""
        return files.read_new_lines(self.states, offset)

    def append_states(self, lines: bytes, header: bytes) -> None:
        """Append states that a poll found. The caller holds the lock.

        Args:
            lines: whole lines.
            header: the first line, written if the file is new.
        """
        files.append_lines(self.states, lines, header)

    # -- the cache of failures ---------------------------------------------------------------

    def read_failures(self) -> bytes:
        """Return ``failures.tsv``; nothing if it is not there or cannot be read."""
        with contextlib.suppress(OSError):
            return files.read_file(self._failures)
        return b""

    def write_failures(self, data: bytes) -> None:
        """Replace ``failures.tsv``. It needs no lock: its loss is harmless."""
        files.replace_file(self._failures, data)

    # -- the lock ----------------------------------------------------------------------------

    @contextlib.contextmanager
    def lock(self, verb: str, wait: float | None = None) -> Iterator[None]:
        """Lock the run for one write or one submission; never during a wait.

        Raises:
            LockedError: another slurmslice holds the lock for longer than ``wait`` seconds
            (``LOCK_WAIT_S``).
            EngineError: this file system does not support locks.
        """
        wait = locks.LOCK_WAIT_S if wait is None else wait
        with locks.hold_lock(self.path, verb, 0o666 & ~files.current_umask(), wait):
            yield


_DIRECT = {"attempt": "attempts", "continued": "continued"}
"""The files of the direct form that have a number for each slice."""


def _format_numbers(indices: Iterable[str], numbers: Sequence[int]) -> bytes:
    """Return numbers of the direct form: for each number a line with its indices, or ``*``.

    bash finds an index in a long list faster than it reads many lines.
    """
    if len(set(numbers)) == 1:
        return f"{numbers[0]} *\n".encode()
    by_number: dict[int, list[str]] = {}
    for index, number in zip(indices, numbers, strict=True):
        by_number.setdefault(number, []).append(index)
    return "".join(f"{n} {','.join(some)}\n" for n, some in sorted(by_number.items())).encode()


def sha256_hex(data: bytes) -> str:
    """Return the SHA-256 of some bytes, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def read_required_file(path: Path) -> bytes:
    """Read a file that every run has.

    Raises:
        DamagedRunError: the file is missing or cannot be read.
    """
    try:
        return files.read_file(path)
    except NotAFileError:
        raise
    except OSError as why:
        raise DamagedRunError(
            f"{path} cannot be read: {why.strerror}.",
            "Restore this file.",
            code="unreadable-file",
            path=str(path),
        ) from why
