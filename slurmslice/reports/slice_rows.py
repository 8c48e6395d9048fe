"""A row for each slice with its columns, state and usage, for spreadsheets."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterator

from slurmslice.reports.measured import elapsed_s
from slurmslice.reports.slice_requests import SliceRequests
from slurmslice.run.run import Run

_FIELDS = (
    "state", "reason", "attempts", "exit_code", "signal", "job", "node", "submitted_at",
    "started_at", "ended_at", "elapsed_s", "cpu_s", "max_rss_bytes", "requested_mem_bytes",
    "time_limit_s",
)  # fmt: skip


def slice_csv(run: Run, rows: Collection[int] | None = None) -> Iterator[bytes]:
    """Yield the lines of a CSV file in UTF-8 with a row for each slice, or for these rows.

    It is quoted as in RFC 4180; its lines end with LF, as all text of ours.
    Times are epoch seconds; an unknown value is empty. A column of the slice table that has the
    name of another field gets ``column_`` before it.
    """
    names = ("key", *map(_column_name, run.table.columns), *_FIELDS)
    requested = SliceRequests(run)
    yield _line(names)
    for row in range(len(run.table)) if rows is None else rows:
        yield _line(_values(run, row, requested))


def _column_name(name: str) -> str:
    return f"column_{name}" if name in {"key", *_FIELDS} else name


def _values(run: Run, row: int, requested: SliceRequests) -> tuple[object, ...]:
    status, limits = run.statuses[row], requested.of(row)
    return (
        run.table.keys[row], *run.table.column_values(row), str(status.state), requested.why(row),
        status.attempt, status.exit_code, status.signal, run.array_task_of(status), status.node,
        status.submitted_at, status.started_at, status.ended_at, elapsed_s(status, run.clock()),
        status.cpu_s, status.max_rss_bytes, limits.mem_bytes, limits.time_s,
    )  # fmt: skip


def _line(values: Collection[object]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(["" if v is None else v for v in values])
    return text.getvalue().encode("utf-8", "surrogateescape")
