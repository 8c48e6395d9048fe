"""Slices from lists of keys, and from lists of shell commands (job files)."""

from __future__ import annotations

from slurmslice.errors import BadInputError
from slurmslice.slices.slice_table import SliceTable, checked_table
from slurmslice.slices.sources.text_input import refuse_nul


def slices_from_lines(data: bytes, source: str, *, nul: bool = False) -> SliceTable:
    """Return slices from a list of keys, separated by line ends or by NUL bytes.

    A line ends with LF. A CR before it is removed only if every line has one (a file from
    Windows). Blank lines are skipped. With ``nul``, keys are not changed.

    Raises:
        BadInputError: there is no key, a key occurs twice or holds NUL; with ``nul``, a key is
        empty.
    """
    separator = b"\0" if nul else b"\n"
    keys = data.split(separator)
    if not keys[-1]:
        keys.pop()
    if not nul:
        refuse_nul(data, source, "If each key ends with NUL, use -0. ")
        if keys and all(key.endswith(b"\r") for key in keys):
            keys = [key[:-1] for key in keys]
        keys = [key for key in keys if key.strip()]
    return checked_table([key.decode("utf-8", "surrogateescape") for key in keys], source)


def slices_from_jobs(data: bytes, source: str) -> SliceTable:
    """Return slices from a job file: one shell command per line, as for dSQ.

    Blank lines and comments (``#`` at the start) are skipped; blanks around a command are removed.
    The key is the line number, from 1; the column ``job`` holds the command.

    Raises:
        BadInputError: there is no command, one holds NUL, or a line is a disBatch directive, which
            changes other lines.
    """
    refuse_nul(data, source)
    jobs: dict[str, str] = {}
    for number, line in enumerate(data.decode("utf-8-sig", "surrogateescape").split("\n"), 1):
        if line.startswith("#DISBATCH"):
            raise BadInputError(
                f"{source}, line {number}: this #DISBATCH directive changes other lines.",
                "slurmslice does not support it. Write its effect into the commands and delete it.",
                code="disbatch-directive",
                path=source,
                line=number,
            )
        if line.strip() and not line.startswith("#"):
            jobs[str(number)] = line.strip()
    return checked_table(tuple(jobs), source, {"job": tuple(jobs.values())})
