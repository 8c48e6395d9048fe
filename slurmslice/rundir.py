"""A run directory: which files there are, and how they are written so that nothing is lost.

::

    run.json        what was asked; a folder without it is no run
    script.sh       one script for every submission; the person's to edit
    slurmslice.sh   the library that the script sources; never changes
    slices.tsv      row, key, columns, log name; written once
    journal.jsonl   decisions; flushed to disk one by one
    states.tsv      what was seen; losing its tail is harmless
    submissions/007/  tasks.tsv  job (the claim)  logs/<log name>  tasks/<index>.log
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from slurmslice import files, locks, progress
from slurmslice.errors import BadInput, DamagedRun, NotAFile
from slurmslice.journal import Event, from_lines, to_line
from slurmslice.ranges import parse_array
from slurmslice.run_spec import RunRecord
from slurmslice.slices import SliceTable
from slurmslice.source_line import LIBRARY_NAME
from slurmslice.users import user_name

_BARRED = "barred by slurmslice, which gave this submission up\n"


class RunDirectory:
    """The files of one run. Everything here is bytes on disk; what they mean is ``run``'s."""

    read_only = False
    """Nothing is written here (``slurmslice.read_only``)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.script = path / "script.sh"
        self.library = path / LIBRARY_NAME
        self.slices = path / "slices.tsv"
        self._journal = path / "journal.jsonl"
        self.states = path / "states.tsv"
        self.unread: dict[Path, str] = {}
        """What tasks wrote and could not be read, and why."""
        self.fault = ""
        """What was wrong with the library at the last look; empty for nothing."""

    @classmethod
    def open(cls, path: Path) -> RunDirectory:
        """The run in a folder.

        Raises:
            BadInput: there is no run in it.
        """
        if not (path / "run.json").exists():
            raise BadInput(
                f"{path} is no run directory: it has no run.json.",
                "`slurmslice runs` lists the runs here.",
                code="not-a-run",
                path=str(path),
            )
        return cls(path)

    @property
    def writable(self) -> bool:
        """Whether this user may change the run."""
        return os.access(self.path, os.W_OK)

    def check_writable(self) -> None:
        """Say early, and with what to type, that nothing can be changed here.

        Raises:
            BadInput: this user may not change the run.
        """
        if self.writable:
            return
        path, owner = shlex.quote(str(self.path)), self.path.stat().st_uid
        look = f"`slurmslice status {path}` and `slurmslice logs {path} KEY` only look."
        if owner == os.geteuid():
            raise BadInput(
                f"{self.path} is read-only.",
                f"chmod u+w {path}, or: {look}",
                code="read-only-run",
                path=str(self.path),
            )
        raise BadInput(
            f"{self.path} is {user_name(owner)}'s, and you may not change it.",
            look,
            code="not-yours",
            path=str(self.path),
            owner=user_name(owner),
        )

    # -- what is written once ----------------------------------------------------------------

    def record(self) -> RunRecord:
        """What was asked.

        Raises:
            DamagedRun: ``run.json`` cannot be understood.
        """
        path = self.path / "run.json"
        return RunRecord.from_bytes(files.read(path), str(path))

    def table(self, sha256: str) -> SliceTable:
        """The slice table, which must have this digest.

        Raises:
            DamagedRun: ``slices.tsv`` was changed since the run was made, or cannot be read.
        """
        data = read_or_damaged(self.slices)
        if digest(data) != sha256:
            raise DamagedRun(
                f"{self.slices} was changed since the run was made.",
                "A slice table never changes: put it back as it was, or make another run.",
                code="table-changed",
                path=str(self.slices),
            )
        return SliceTable.read(data, str(self.slices))

    def library_fault(self, sha256: str) -> str:
        """What is wrong with the library, as an end of a sentence; empty if it has this digest."""
        try:
            data = files.read(self.library)
        except OSError as why:
            return f"cannot be read: {why.strerror}"
        return "" if digest(data) == sha256 else "was changed since the run was made"

    @property
    def script_edited(self) -> bool:
        """Whether the script is there and was written to since the run was made."""
        made = (self.path / "run.json").stat().st_mtime_ns  # the last of its files
        return self.script.exists() and self.script.stat().st_mtime_ns > made

    # -- submissions -------------------------------------------------------------------------

    def submission(self, number: int) -> Path:
        """The folder of a submission."""
        return self.path / "submissions" / f"{number:03d}"

    def task_table(self, number: int) -> Path:
        """The task table of a submission (the table form only)."""
        return self.submission(number) / "tasks.tsv"

    def log(self, number: int, name: str) -> Path:
        """The log of a slice in a submission."""
        return self.submission(number) / "logs" / name

    def task_log(self, number: int, index: int) -> Path:
        """What the array task and slurmstepd said; the progress lines stand in it."""
        return self.submission(number) / "tasks" / f"{index}.log"

    def read_task_log(self, number: int, index: int) -> bytes | None:
        """Its lines that may be progress; None where it is not there or is ``unread``."""
        path = self.task_log(number, index)
        self.unread.pop(path, None)
        try:
            return progress.sifted(files.chunks(path))
        except FileNotFoundError:
            return None
        except OSError as why:
            self.unread[path] = str(why.strerror)
            return None

    def has_log(self, number: int, name: str) -> bool:
        """Whether a slice's own log is there, which its process makes as the first that it does.

        True too where that cannot be seen: no slice counts as not begun by an error.
        """
        try:
            self.log(number, name).stat()
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:
            return True
        return True

    def prepare(self, number: int, table: SliceTable, rows: Sequence[int], direct: bool) -> str:
        """Make a submission's folder and its task table; the table's digest, empty for none.

        Of the logs' folders only the first is made: a task makes the one that it needs.

        A folder that a killed attempt left half made is completed. One that stands is not
        changed: a task table never changes once it was submitted.
        """
        folder = self.submission(number)
        (folder / "tasks").mkdir(parents=True, exist_ok=True)
        (folder / "logs").mkdir(exist_ok=True)
        if direct:
            return ""
        data = table.part(rows)
        files.replace(self.task_table(number), data)
        return digest(data)

    def owner(self, number: int) -> str | None:
        """The array job id that has claimed a submission; None where none has, or it is barred."""
        try:
            claim = self._claim(number)
        except FileNotFoundError:
            return None
        owner = claim.removesuffix("\n")
        return owner if owner.isdecimal() and claim != owner else None  # a torn line is none

    def bar(self, number: int) -> bool:
        """Take the claim of a submission whose job is nowhere, so that it can never run.

        Returns:
            Whether it is taken now, by this call or by one that was killed before it could say
            so; False where a job has it, which then has run.
        """
        claimed = files.claim(self.submission(number) / "job", _BARRED.encode())
        return claimed or self.barred(number)

    def unbar(self, number: int) -> None:
        """Let a submission be claimed again that ``bar`` has taken."""
        if self.barred(number):
            (self.submission(number) / "job").unlink(missing_ok=True)

    def barred(self, number: int) -> bool:
        """Whether ``bar`` has taken a submission's claim."""
        try:
            return self._claim(number) == _BARRED
        except FileNotFoundError:
            return False

    def _claim(self, number: int) -> str:
        return files.read(self.submission(number) / "job").decode("utf-8", "replace")

    # -- the journal -------------------------------------------------------------------------

    def read_journal(self, offset: int) -> tuple[bytes, int]:
        """Whole lines of the journal from an offset on, and the offset after them."""
        return files.read_on(self._journal, offset)

    def events(self) -> Iterator[Event]:
        """The journal's events; none where nothing was decided yet.

        Raises:
            DamagedRun: a line in the middle cannot be read.
        """
        return from_lines(self.read_journal(0)[0])

    def forget_outdated(self) -> bool:
        """Forget decisions that were not written, if others were; False: there were none."""
        return False

    def append(self, event: Event) -> None:
        """Write a decision down; it is on disk when this returns. Hold the lock.

        A torn last line of a killed writer is cut off first: it was no decision.
        """
        files.append(self._journal, to_line(event))

    # -- states ------------------------------------------------------------------------------

    def read_states(self, offset: int) -> tuple[bytes, int]:
        """Whole lines of ``states.tsv`` from an offset on, and the offset after them."""
        return files.read_on(self.states, offset)

    def append_states(self, lines: bytes, header: bytes) -> None:
        """Write down what was seen. Hold the lock.

        Args:
            lines: whole lines.
            header: the first line, written where the file is new.
        """
        files.append(self.states, lines, header)

    # -- the lock ----------------------------------------------------------------------------

    @contextlib.contextmanager
    def lock(self, verb: str, wait: float | None = None) -> Iterator[None]:
        """Hold the run for one write or one submission; never for a wait.

        Raises:
            Busy: another slurmslice holds it for longer than ``wait`` seconds (``WAIT_S``).
            EngineError: this file system has no locks.
        """
        wait = locks.WAIT_S if wait is None else wait
        with locks.held(self.path, verb, 0o666 & ~_umask(), wait):
            yield


def create(
    path: Path,
    record: RunRecord,
    table: SliceTable,
    script: bytes,
    library: bytes,
    *,
    instead: bool = False,
) -> RunDirectory:
    """Make a run directory: whole, or not at all (a rename is the last step).

    Args:
        path: where; absolute.
        record: what was asked, and fixed.
        table: the slices.
        script: the script's bytes.
        library: the bytes of the library that it sources.
        instead: in the place of the one that is there, whose lock is held; that one is removed.

    Raises:
        BadInput: there is something at that path already, or it cannot be written.
    """
    check_path(path)
    draft, old = _beside(path), _beside(path)
    try:
        draft.mkdir(parents=True)
        _ignore_in_git(path.parent)
        run = RunDirectory(draft)
        run.slices.write_bytes(table.data)
        run.prepare(1, table, parse_array(record.first).indices, record.direct)
        run.library.write_bytes(library)
        run.library.chmod(0o444 & ~_umask())
        run.script.write_bytes(script)
        run.script.chmod(0o777 & ~_umask())
        (draft / "run.json").write_bytes(record.to_bytes())
        if instead:
            os.rename(path, old)
        os.rename(draft, path)
    except OSError as why:
        _remove(draft)
        if os.path.exists(old):
            os.rename(old, path)
        elif why.errno in {errno.EEXIST, errno.ENOTEMPTY}:  # of the last step (rename(2))
            raise BadInput(
                f"Another slurmslice made {path} at this moment.",
                "The same line again goes on with it.",
                code="changed-meanwhile",
                run=path.name,
            ) from why
        raise BadInput(
            f"The run directory {path} cannot be made: {why.strerror}.",
            "Choose another place with --run-dir, or another --name.",
            code="cannot-create-run",
            path=str(path),
        ) from why
    _remove(old)
    return RunDirectory(path)


def _beside(path: Path) -> Path:
    """A hidden name of its own in the same folder."""
    return path.parent / f".{path.name}.{secrets.token_hex(4)}"


def check_path(path: Path) -> None:
    """Refuse a path that sbatch cannot be told to write into.

    Raises:
        BadInput: the path holds a backslash or a control character (sbatch(1), filename
            pattern: a backslash switches all patterns off).
    """
    if any(c == "\\" or ord(c) < 32 or ord(c) == 127 for c in str(path)):
        raise BadInput(
            f"The run directory {str(path)!r} holds a backslash or a control character, which "
            "sbatch's --output cannot express.",
            "Choose another place with --run-dir.",
            code="bad-run-path",
            path=str(path),
        )


def digest(data: bytes) -> str:
    """SHA-256, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def read_or_damaged(path: Path) -> bytes:
    """A file that every run has.

    Raises:
        DamagedRun: it is not there, or cannot be read.
    """
    try:
        return files.read(path)
    except NotAFile:
        raise
    except OSError as why:
        raise DamagedRun(
            f"{path} cannot be read: {why.strerror}.",
            "Restore it.",
            code="unreadable-file",
            path=str(path),
        ) from why


def _ignore_in_git(folder: Path) -> None:
    """Runs are no source: their folder ignores itself."""
    ignore = folder / ".gitignore"
    if folder.name == "slurmslice-runs" and not ignore.exists():
        ignore.write_text("*\n")


def _remove(folder: Path) -> None:
    import shutil

    shutil.rmtree(folder, ignore_errors=True)


def _umask() -> int:
    """The process' umask; reading it means setting it for an instant."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
