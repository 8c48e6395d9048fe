"""The explanation of a slice on stdout: paragraphs, and a table of its attempts."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping

from slurmslice.cli.output.console import print_line
from slurmslice.cli.output.preview import relative_path
from slurmslice.cli.output.tables import Column, print_table
from slurmslice.reports.explanation import Explanation
from slurmslice.reports.measured import cpu_text, elapsed_text, memory_text, mib_text
from slurmslice.reports.slice_life import SliceAttempt
from slurmslice.run.run import Run
from slurmslice.status.reconcile import SliceStatus
from slurmslice.system.shell_quoting import quote_words

_COLUMNS = (
    Column("ATTEMPT", right=True),
    Column("END"),
    Column("JOB", dropped=3),
    Column("SUBMITTED", dropped=1),
    Column("WAITED", right=True, dropped=5),
    Column("ELAPSED", right=True, dropped=8),
    Column("CPU", right=True, dropped=2),
    Column("MEMORY", right=True, dropped=7),
    Column("REQUESTED", right=True, dropped=6),
    Column("NODE", dropped=9),
    Column("RESTARTS", right=True, dropped=4),
    Column("REASON"),
)


def print_explanation(run: Run, found: Explanation, *, first: bool) -> None:
    """Print one explanation; an empty line separates it from the one before."""
    if not first:
        print_line()
    for line in _head(run, found):
        print_line(line)
    if found.attempts:
        print_line()
        print_table(_COLUMNS, (_cells(run, n, one) for n, one in enumerate(found.attempts, 1)))
        for number, old in enumerate(found.old_values, 1):
            if old:
                print_line(f"Attempt {number} had {_pairs(old)}")
    for title, lines in _sections(found):
        print_line()
        print_line(title)
        for line in lines:
            print_line(f"  {line}")


def _head(run: Run, found: Explanation) -> Iterator[str]:
    yield f"{found.key}: {found.state} ({found.reason})"
    where = f"{run.record.engine} on {run.record.cluster or 'this machine'}"
    yield f"Run:      {run.record.name}, {where}, {relative_path(run.directory.path)}"
    if found.values:
        yield f"Columns:  {_pairs(found.values)}"
    yield f"Command:  {found.command}"
    if len(found.attempts) > 1:
        yield f"Ladder:   {found.ladder}"
    if found.repair:
        yield f"Repair:   {found.repair}"


def _pairs(values: Mapping[str, str]) -> str:
    return "  ".join(f"{name}={value}" for name, value in values.items())


def _cells(run: Run, number: int, one: SliceAttempt) -> tuple[str, ...]:
    status, job = one.status, one.submission.job
    if status is None:
        return (str(number), one.end, job, *[""] * (len(_COLUMNS) - 3))
    return (
        str(number),
        one.end,
        run.array_task_of(status) or job,
        "" if status.submitted_at is None else _date(status.submitted_at),
        _waited(status),
        elapsed_text(status, run.clock()),
        cpu_text(status),
        memory_text(status),
        one.request.get("mem") or mib_text(status.requested_mem_bytes),
        status.node or "",
        str(status.restarts or ""),
        status.reason,
    )


def _date(at: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


def _waited(status: SliceStatus) -> str:
    """Return the time in the queue before the newest start."""
    if status.submitted_at is None or status.started_at is None:
        return ""
    return f"{max(0, status.started_at - status.submitted_at)}s"


def _sections(found: Explanation) -> Iterator[tuple[str, Iterable[str]]]:
    """Yield the titles and the lines of the paragraphs after the table."""
    if evidence := found.evidence:
        yield (
            "What the sources say of the newest attempt:",
            [
                f"accounting:  {evidence.accounting}",
                f"queue:       {evidence.queue}",
                *(f"its task:    {line}" for line in evidence.lines),
            ],
        )
    if found.slurm_lines:
        yield "Slurm's messages in the log of its task:", found.slurm_lines
    if found.log:
        yield f"The end of its log ({relative_path(found.log.path)}):", found.log.lines
    if found.next:
        yield "To type next:", [quote_words(words) for words in found.next]
