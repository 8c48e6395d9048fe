"""The cache of failure signatures, ``failures.tsv``, of logs as they were last read.

A line is of one attempt: its row, submission and cause, the sizes and times of its files, the
signature, and the line of the log. Invalid lines are skipped; the logs are then read again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass

from slurmslice.errors import SlurmsliceError
from slurmslice.run.directory import RunDirectory
from slurmslice.system.escaping import format_row, parse_row

_HEADER = format_row(
    ("row", "submission", "cause", "files", "signature", "line", "rules=1")
).encode()
"""The first line. Its last field changes with the rules of signatures: older files do not count."""

_FIELDS = 6


@dataclass(frozen=True, slots=True)
class KnownFailure:
    """The known facts of one failed attempt.

    Attributes:
        row: its row.
        submission: its submission.
        cause: its cause.
        files: sizes and times of the files that were read; empty if none was needed.
        signature: the signature of the failure.
        line: the line of the log as it stands; empty if there is none.
    """

    row: int
    submission: int
    cause: str
    files: str
    signature: str
    line: str


def read_failures(directory: RunDirectory) -> dict[int, KnownFailure]:
    """Return what the cache has, by row; nothing if it cannot be read or is of other rules."""
    header, _, rest = directory.read_failures().partition(b"\n")
    if header + b"\n" != _HEADER:
        return {}
    found: dict[int, KnownFailure] = {}
    for line in rest.split(b"\n"):
        with contextlib.suppress(SlurmsliceError, ValueError):
            fields = parse_row(line.decode("utf-8", "surrogateescape"))
            if len(fields) == _FIELDS:
                row, submission = int(fields[0]), int(fields[1])
                found[row] = KnownFailure(row, submission, *fields[2:])
    return found


def write_failures(directory: RunDirectory, known: Iterable[KnownFailure]) -> None:
    """Replace the cache. It is not replaced in another user's run, or if it cannot be written."""
    if directory.foreign_owner is not None:
        return
    rows = (
        (str(one.row), str(one.submission), one.cause, one.files, one.signature, one.line)
        for one in known
    )
    text = "".join(map(format_row, rows)).encode("utf-8", "surrogateescape")
    with contextlib.suppress(OSError):
        directory.write_failures(_HEADER + text)
