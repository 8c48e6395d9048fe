"""Aligned tables on stdout. A terminal cuts long lines; a pipe gets them whole."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

from slurmslice.cli.output.console import printable_line, use_colors
from slurmslice.reports.measured import cpu_text, elapsed_text, memory_text, mib_text
from slurmslice.reports.slice_requests import SliceRequests
from slurmslice.run.run import Run
from slurmslice.sbatch.units import format_time
from slurmslice.status.reconcile import SliceStatus
from slurmslice.system.escaping import escape

_WIDE = 10_000_000  # more than the longest value with every byte escaped


def print_slices_table(run: Run, rows: Iterable[int]) -> None:
    """Print one line per slice: its state, node, resource use and request."""
    header = ("KEY", "STATE", "ATTEMPT", "JOB", "EXIT", "ELAPSED", "LIMIT", "CPU", "MEMORY",
              "REQUESTED", "NODE", "REASON")  # fmt: skip
    requested = SliceRequests(run)
    lines = (_slice_line(run, row, requested) for row in rows)
    print_table(header, lines, right=(2, 5, 6, 7, 8, 9))


def _slice_line(run: Run, row: int, requested: SliceRequests) -> tuple[str, ...]:
    status, asked = run.statuses[row], requested.of(row)
    return (
        escape(run.table.keys[row]),
        str(status.state),
        str(status.attempt or ""),
        run.array_task_of(status) or "",
        _exit(status),
        elapsed_text(status),
        "" if asked.time_s is None else format_time(asked.time_s),
        cpu_text(status),
        memory_text(status),
        mib_text(asked.mem_bytes),
        status.node or "",
        escape(requested.why(row)),
    )


def _exit(status: SliceStatus) -> str:
    if status.exit_code is None:
        return ""
    return f"{status.exit_code}:{status.signal or 0}"


def print_table(
    header: Sequence[str], rows: Iterable[Sequence[str]], right: Sequence[int] = ()
) -> None:
    """Print an aligned table. A terminal cuts long lines at its edge; a pipe gets them whole."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for position, title in enumerate(header):
        justify = "right" if position in right else "left"
        table.add_column(title, justify=justify, no_wrap=True, overflow="ellipsis")  # type: ignore[arg-type]
    for row in rows:
        table.add_row(*(Text(printable_line(cell)) for cell in row))
    terminal = sys.stdout.isatty()
    console = Console(
        width=None if terminal else _WIDE, no_color=not use_colors(terminal), highlight=False
    )
    console.print(table)
