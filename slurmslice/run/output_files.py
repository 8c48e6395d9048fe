"""The files that a person named for the output of slices, and the part of each attempt in them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from slurmslice.run.run import Run
from slurmslice.run.submission import Submission
from slurmslice.script.output_lines import NOT_NAMED, NamedFile, NamedOutput, find_named_output
from slurmslice.system import files

_PIECE = 1 << 16

_known: dict[tuple[str, int, int], dict[int, NamedOutput]] = {}
"""The files by slot, of the task log with this path, size and time. A pack has many slots."""


def find_named(run: Run, submission: Submission, row: int) -> NamedOutput:
    """Return the files for the output of a slice in a submission, as its task recorded them."""
    if not run.record.output_options or row not in submission.places:
        return NOT_NAMED
    index, slot = submission.places[row]
    return _of_task(run, submission.number, index).get(slot, NOT_NAMED)


def _of_task(run: Run, number: int, index: int) -> dict[int, NamedOutput]:
    path = run.directory.task_log_path(number, index)
    try:
        status = path.stat()
    except OSError:
        return find_named_output(run.directory.read_worker_lines(number, index))
    known = str(path), status.st_size, status.st_mtime_ns
    if known not in _known:
        lines = run.directory.read_task_log(number, index) or b""
        lines += run.directory.read_worker_lines(number, index)
        if len(_known) >= 1000:
            _known.clear()
        _known[known] = find_named_output(lines)
    return _known[known]


@dataclass(frozen=True, slots=True)
class FilePart:
    """The part of a named file that one attempt wrote.

    Attributes:
        path: the file.
        start: its first byte.
        end: the byte after its last one; None for the end of the file.
    """

    path: Path
    start: int
    end: int | None

    def tail(self, size: int) -> bytes:
        """Return its last bytes, at most so many; none if there is no such file."""
        try:
            whole = self.path.stat().st_size
        except FileNotFoundError:
            return b""
        length = (whole if self.end is None else min(self.end, whole)) - self.start
        return b"".join(read_part(self, max(0, length - size)))


def file_part(file: NamedFile, later: Sequence[NamedFile | None]) -> FilePart:
    """Return the part of an attempt: it ends before that of the next one with the same file.

    A later attempt that began with an empty file has overwritten it: then nothing is left.
    """
    starts = [one.start for one in later if one and one.path == file.path]
    if any(start < file.start for start in starts) or 0 in starts:
        return FilePart(Path(file.path), 0, 0)
    return FilePart(Path(file.path), file.start, starts[0] if starts else None)


def read_part(part: FilePart, offset: int) -> Iterator[bytes]:
    """Yield the bytes of a part from an offset in it on; none if there is no such file.

    A device has no text.

    Raises:
        NotAFileError: it is neither a regular file nor a device.
        OSError: it cannot be read.
    """
    if not os.path.exists(part.path) or part.path.is_char_device():
        return
    with open(files.open_regular(part.path), "rb") as file:
        at = file.seek(part.start + offset)
        while part.end is None or at < part.end:
            piece = file.read(_PIECE if part.end is None else min(_PIECE, part.end - at))
            if not piece:
                return
            at += len(piece)
            yield piece
