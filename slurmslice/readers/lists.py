"""Slices from lists: of keys, or of shell commands (a job file)."""

from __future__ import annotations

from slurmslice.command import Words
from slurmslice.errors import BadInput
from slurmslice.readers.text import refuse_nul
from slurmslice.slices import SliceTable, checked

JOB = Words(("bash", "-c", "--", "{job}"))
"""The command of a job file's run: bash runs the slice's line, by itself, as its program text."""


def from_lines(data: bytes, source: str, *, nul: bool = False) -> SliceTable:
    """Slices from a list of keys, one a line, or ended by NUL.

    A line's end is LF; CR before it belongs to the line's end only where every line has one
    (a file from Windows). Blank lines are left out; with ``nul`` every key is taken as it is.

    Raises:
        BadInput: there is no key, one stands twice, or a NUL is in one; with ``nul``, one is empty.
    """
    separator = b"\0" if nul else b"\n"
    keys = data.split(separator)
    if not keys[-1]:
        keys.pop()
    if not nul:
        refuse_nul(data, source, "Did you mean -0, keys that end with NUL? ")
        if keys and all(key.endswith(b"\r") for key in keys):
            keys = [key[:-1] for key in keys]
        keys = [key for key in keys if key.strip()]
    return checked([key.decode("utf-8", "surrogateescape") for key in keys], source)


def from_jobs(data: bytes, source: str) -> SliceTable:
    """Slices from a job file: a shell command a line, as dSQ takes them.

    A line that is blank or begins with ``#`` is none; blanks around a command are no part of it.
    The key is the line's number in an editor, from 1; the column ``job`` has the command.

    Raises:
        BadInput: there is no command, one holds a NUL, or a line is a disBatch directive, which
            changes what other lines do.
    """
    refuse_nul(data, source)
    jobs: dict[str, str] = {}
    for number, line in enumerate(data.decode("utf-8-sig", "surrogateescape").split("\n"), 1):
        if line.startswith("#DISBATCH"):
            raise BadInput(
                f"{source}, line {number}: a #DISBATCH directive, which changes other lines.",
                "Only disBatch obeys it: write out what it does, and take it away.",
                code="disbatch-directive",
                path=source,
                line=number,
            )
        if line.strip() and not line.startswith("#"):
            jobs[str(number)] = line.strip()
    return checked(tuple(jobs), source, {"job": tuple(jobs.values())})
