"""Split an answer of sacct or squeue into records, and a record into its fields. Pure.

A record is one line with ``|`` between its fields. Only its last field, a job name, may hold
``|`` and line ends.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from slurmslice.errors import NoAnswerError

JOB_ID = re.compile(
    r"(\d{1,10})(?:\+\d+)?(?:_(?:(\d{1,8})|\[([^\]|]*)(\]?)))?(?:\.([\w+]+))?", re.ASCII
)
"""A job id as Slurm prints it: job, index, ``[indices``, closing bracket, step."""


def split_lines(text: str) -> list[str]:
    """Split an answer into its lines.

    Raises:
        NoAnswerError: the last line does not end, so the rest of the answer is missing.
    """
    *lines, rest = text.split("\n")
    if rest:
        raise NoAnswerError(f"Slurm's answer is cut off: {rest[-200:]!r}", code="unreadable-answer")
    return lines


def begins_record(line: str, fields: Sequence[str]) -> bool:
    """True if a record with these fields begins at this line."""
    return line.count("|") >= len(fields) - 1 and JOB_ID.match(line) is not None


def join_records(lines: Iterable[str], fields: Sequence[str]) -> list[str]:
    """Join lines into records: a line that begins no record continues the last one.

    Raises:
        NoAnswerError: the first line begins no record.
    """
    records: list[str] = []
    for line in lines:
        if begins_record(line, fields):
            records.append(line)
        elif records:
            records[-1] += f"\n{line}"
        else:
            raise NoAnswerError(
                f"Slurm's answer cannot be read: {line[:200]!r}", code="unreadable-answer"
            )
    return records


def split_record(record: str, fields: Sequence[str], end: str = "") -> dict[str, str]:
    """Split a record into its fields, by field name.

    Args:
        record: the record's text.
        fields: the names of its fields, in the order of the answer.
        end: text after the last field.

    Raises:
        NoAnswerError: the record has too few fields, or does not end with ``end``.
    """
    values = record.removesuffix(end).split("|", len(fields) - 1)
    if not record.endswith(end) or len(values) < len(fields):
        raise NoAnswerError(
            f"Slurm's answer is cut off: {record[:200]!r}", code="unreadable-answer"
        )
    return dict(zip(fields, values, strict=True))
