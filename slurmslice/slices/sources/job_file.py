"""Slices from a job file: a list of shell commands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from slurmslice.errors import BadInputError
from slurmslice.slices.slice_table import SliceTable, checked_table
from slurmslice.slices.sources.input_form import FormOption, FormSlices, InputForm
from slurmslice.slices.sources.text_input import read_input, refuse_nul
from slurmslice.system.line_ends import unix_text


def slices_from_job_file(data: bytes, source: str) -> SliceTable:
    """Return slices from a job file: one shell command per line, as for dSQ.

    Blank lines and comments (``#`` at the start) are skipped; blanks around a command are removed.
    The key is the line number, from 1; the column ``job`` holds the command.

    Raises:
        BadInputError: there is no command, one holds NUL or a carriage return, or a line is a
            disBatch directive, which changes other lines.
    """
    refuse_nul(data, source)
    jobs: dict[str, str] = {}
    text = unix_text(data, source).decode("utf-8", "surrogateescape")
    for number, line in enumerate(text.split("\n"), 1):
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


def _read(values: Mapping[str, Any]) -> FormSlices:
    data, source = read_input(values["job_file"])
    return FormSlices(slices_from_job_file(data, source), source, are_commands=True)


JOB_FILE = InputForm(
    example="--job-file FILE",
    summary="shell commands, one per line",
    option=FormOption(
        ("--job-file",),
        "Slices from shell commands, one per line, as for dSQ. The key is the line number.",
        "FILE|-",
    ),
    read=_read,
)
