"""The log of a slice: its own file, and its sections in a file of its array task (ADR 20).

If a person named files for the output (``--output``, ``--error``), it is in these (ADR 36).
"""

from __future__ import annotations

import contextlib
import mmap
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import BinaryIO

from slurmslice.run.directory import RunDirectory
from slurmslice.run.output_files import FilePart, file_part, find_named, read_part
from slurmslice.run.run import Run
from slurmslice.run.submission import Submission
from slurmslice.script.log_sections import (
    MAX_SECTION_BYTES,
    LogSection,
    SectionPlace,
    find_sections,
    index_sections,
    read_sections,
)
from slurmslice.script.output_lines import NOT_NAMED, NamedOutput
from slurmslice.system import files

_MAX_PLACES = 1_000_000

_known_places: dict[tuple[str, int, int, int], dict[str, list[SectionPlace]]] = {}
"""The places of sections in shared files, by path, inode, size and time of the file. Neighbours in
the slice table are in different files, so each file would otherwise be read once for each slice."""


def _find_places(
    data: mmap.mmap, known: tuple[str, int, int, int]
) -> dict[str, list[SectionPlace]]:
    if known not in _known_places:
        found = index_sections(data)
        if sum(map(len, _known_places.values())) + len(found) > _MAX_PLACES:
            _known_places.clear()
        _known_places[known] = found
    return _known_places[known]


_ERROR = ".error"
"""The end of the path in ``$SLURMSLICE_ERROR``, after that of the log."""


def _stamp(path: str) -> str:
    """Return size and time of a file, ``SIZE:NANOSECONDS``; ``-`` if it is not there."""
    try:
        found = os.stat(path)
    except OSError:
        return "-"
    return f"{found.st_size}:{found.st_mtime_ns}"


@dataclass(frozen=True, slots=True)
class SliceLog:
    """The log of a slice in one submission.

    Attributes:
        directory: the run directory.
        number: the submission.
        index: the array index of the slice's task.
        name: the log's name, relative to the submission's folder ``logs``.
        packed: the task has several slices.
        named: the files that a person named for its output.
        later: the same files in the later attempts, which continue them.
    """

    directory: RunDirectory
    number: int
    index: int
    name: str
    packed: bool
    named: NamedOutput = NOT_NAMED
    later: tuple[NamedOutput, ...] = ()

    @classmethod
    def of(cls, run: Run, submission: Submission, row: int) -> SliceLog:
        """Return the log of the slice in a row, in a submission."""
        later = [
            one
            for one in run.journal_state.submissions.values()
            if run.record.output_options and one.number > submission.number and row in one.places
        ]
        named = [find_named(run, one, row) for one in (submission, *later)]
        return cls(
            run.directory,
            submission.number,
            submission.array_index_of(row),
            run.table.log_name(row),
            submission.intent.pack > 1,
            named[0],
            tuple(named[1:]),
        )

    @property
    def own(self) -> Path:
        """The slice's own file."""
        if self.named.output:
            return Path(self.named.output.path)
        return self.directory.log_path(self.number, self.name)

    @property
    def error(self) -> Path | None:
        """The file of its standard error; None if it is that of its standard output."""
        return Path(self.named.error.path) if self.named.error else None

    @property
    def shared(self) -> Path:
        """The file of its task that may have its sections."""
        if self.packed:
            return self.directory.shared_log_path(self.number, self.index)
        return self.directory.task_log_path(self.number, self.index)

    @property
    def error_file(self) -> Path:
        """The file for a reason that the program writes itself: ``$SLURMSLICE_ERROR``."""
        return Path(f"{self.directory.log_path(self.number, self.name)}{_ERROR}")

    def read_reason(self, size: int) -> bytes:
        """Return the beginning of the reason that the program wrote; nothing if there is none."""
        try:
            with open(files.open_regular(self.error_file), "rb") as file:
                return file.read(size)
        except OSError:
            return b""

    def stamp(self) -> str:
        """Return sizes and times of the files that may have its text, to see if they change."""
        log = str(self.directory.log_path(self.number, self.name))
        named = (one.path for one in (self.named.output, self.named.error) if one)
        return " ".join(map(_stamp, (log, f"{log}{_ERROR}", str(self.shared), *named)))

    def file(self, *, ended: bool) -> Path | None:
        """Return the file that has the text; None if the slice has ended and there is no text.

        If the slice has not ended, it is the file that will have it.
        """
        if not self.own.exists():
            if any(section.text for section in self.sections()) and self.shared.exists():
                return self.shared
            if ended:
                return None
        return self.own

    @property
    def proves_begin(self) -> bool:
        """True if the log shows that the slice began, also if the lines of its task are lost.

        True also after an I/O error: it must not turn a slice into one that never began.
        """
        if self.named != NOT_NAMED or self.directory.has_log(self.number, self.name):
            return True
        try:
            return self.packed and bool(self._read_sections())
        except OSError:
            return True

    @property
    def exists(self) -> bool:
        """True if the slice has a file of its own, or a section."""
        return self.own.exists() or bool(self.sections())

    @property
    def dropped(self) -> bool:
        """True if the newest log was not kept."""
        return any(section.dropped for section in self.sections()[-1:]) and not self.has_output

    @property
    def has_output(self) -> bool:
        """True if the slice has written anything, as far as its log was kept."""
        if any(any(read_part(part, 0)) for part in self.named_parts()):
            return True
        own = self.own
        written = own.exists() and not (own.is_file() and own.stat().st_size == 0)
        return (written and not self.named.output) or any(one.text for one in self.sections())

    def sections(self) -> list[LogSection]:
        """Return its sections, the oldest first; none if their file cannot be read."""
        found = list[LogSection]()
        if self.named.output:
            return found
        with contextlib.suppress(OSError):
            found = self._read_sections()
        if found or self.packed:
            return found
        return find_sections(self.directory.read_worker_lines(self.number, self.index), self.name)

    def _read_sections(self) -> list[LogSection]:
        try:
            opened = files.open_regular(self.shared)
        except FileNotFoundError:
            return []
        with open(opened, "rb") as file:
            status = os.fstat(file.fileno())
            if status.st_size == 0:  # mmap refuses an empty file
                return []
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                known = (str(self.shared), status.st_ino, status.st_size, status.st_mtime_ns)
                return read_sections(data, _find_places(data, known).get(self.name, ()))

    def streams(self) -> tuple[Callable[[int], Iterator[bytes]], ...]:
        """Return readers of the standard output and, if it has its own file, the standard error.

        Each yields bytes from an offset on.
        """
        parts = [partial(read_part, part) for part in self.named_parts()]
        return tuple(parts) if self.named.output else (self._read_log, *parts)

    def named_parts(self) -> list[FilePart]:
        """Return the parts of the named files that this attempt wrote."""
        return [
            file_part(file, [getattr(one, which) for one in self.later])
            for which in ("output", "error")
            if (file := getattr(self.named, which))
        ]

    def read(self) -> Iterator[bytes]:
        """Yield the bytes of the standard output, and then those of the standard error.

        Raises:
            NotAFileError, OSError: as ``streams``.
        """
        for stream in self.streams():
            yield from stream(0)

    def _read_log(self, offset: int = 0) -> Iterator[bytes]:
        """Yield the bytes of the log from an offset on, in pieces.

        A task moves a small log from its own file into a section. So a small file is read between
        two looks at the sections, until both agree. A file that equals the last section was moved,
        and is not removed yet.

        Raises:
            NotAFileError: the slice's own log is not a regular file.
            OSError: it cannot be read.
        """
        while True:
            sections = self.sections()
            with contextlib.ExitStack() as opened:
                file = self._open_own(opened)
                start = file.read(MAX_SECTION_BYTES + 1) if file else b""
                if sections != self.sections():
                    continue
                moved = b"".join(section.text for section in sections)
                is_moved = sections and start == sections[-1].text
                if new := (moved if is_moved else moved + start)[offset:]:
                    yield new
                if file:  # a large log is not read again from its beginning
                    file.seek(max(file.tell(), offset - len(moved)))
                    yield from iter(partial(file.read, MAX_SECTION_BYTES), b"")
                return

    def tail(self, size: int) -> bytes:
        """Return the last bytes of the log, at most so many.

        Raises:
            NotAFileError, OSError: as ``read``.
        """
        if parts := self.named_parts():
            texts = [part.tail(size) for part in parts]
            if not self.named.output:
                texts.insert(0, replace(self, named=NOT_NAMED).tail(size))
            most = size // max(1, sum(map(bool, texts)))
            return b"".join(text[-most:] for text in texts)
        with contextlib.ExitStack() as opened:
            file = self._open_own(opened)
            if file and (end := file.seek(0, os.SEEK_END)) >= size:
                file.seek(end - size)
                return file.read(size)
        return b"".join(self.read())[-size:]

    def task_tail(self, size: int) -> bytes:
        """Return the last bytes of the log of its array task, at most so many.

        Raises:
            NotAFileError, OSError: as ``read``.
        """
        path = self.directory.task_log_path(self.number, self.index)
        with open(files.open_regular(path), "rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - size))
            return file.read(size)

    def _open_own(self, opened: contextlib.ExitStack) -> BinaryIO | None:
        """Open the slice's own file; None if there is none."""
        try:
            return opened.enter_context(open(files.open_regular(self.own), "rb"))
        except FileNotFoundError:
            return None
