"""Tables on stdout: columns that fit a terminal, or lines with tabs in a pipe or a file."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from slurmslice.cli.output.console import printable_line, use_colors
from slurmslice.reports.measured import cpu_text, elapsed_text, memory_text, mib_text
from slurmslice.reports.slice_life import SliceLives
from slurmslice.reports.slice_requests import SliceRequests
from slurmslice.run.continuations import count_continuations
from slurmslice.run.run import Run
from slurmslice.sbatch.units import format_time
from slurmslice.system.escaping import escape

_GAP = 2
_USEFUL, _LEAST = 24, 10
"""Widths of the last column: below the first one, columns are dropped; below the second one, the
first column is cut instead."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table. The last column of a table is cut if it is too wide.

    Attributes:
        title: its header.
        right: align it to the right.
        dropped: its turn if the terminal is too narrow: 1 is dropped first; 0 is never dropped.
    """

    title: str
    right: bool = False
    dropped: int = 0


_SLICE_COLUMNS = (
    Column("KEY"),
    Column("STATE"),
    Column("ATTEMPT", right=True, dropped=6),
    Column("JOB", dropped=4),
    Column("EXIT", dropped=3),
    Column("ELAPSED", right=True, dropped=8),
    Column("LIMIT", right=True, dropped=2),
    Column("CPU", right=True, dropped=1),
    Column("MEMORY", right=True),
    Column("REQUESTED", right=True, dropped=5),
    Column("NODE", dropped=7),
    Column("REASON"),
)


def print_slices_table(run: Run, rows: Iterable[int]) -> None:
    """Print one line per slice: its state, node, resource use and request."""
    requested, lives = SliceRequests(run), SliceLives(run)
    print_table(_SLICE_COLUMNS, (_slice_cells(run, row, requested, lives) for row in rows))


def _slice_cells(
    run: Run, row: int, requested: SliceRequests, lives: SliceLives
) -> tuple[str, ...]:
    status, limits = run.statuses[row], requested.of(row)
    return (
        escape(run.table.keys[row]),
        str(status.state),
        str(status.attempt or ""),
        run.array_task_of(status) or "",
        "" if status.exit_code is None else f"{status.exit_code}:{status.signal or 0}",
        elapsed_text(status, run.clock()),
        "" if limits.time_s is None else format_time(limits.time_s),
        cpu_text(status),
        memory_text(status),
        mib_text(limits.mem_bytes),
        status.node or "",
        escape(requested.why(row) + _repaired(run, row, lives)),
    )


def _repaired(run: Run, row: int, lives: SliceLives) -> str:
    """Return the ladder of a repaired slice, and the number of its continuations."""
    history = run.journal_state.repairs.of(row)
    repaired = f"; {lives.ladder(row)}" if history else ""
    number = count_continuations(history)
    return f"{repaired}; continued {number} of {run.max_continues}" if number else repaired


def print_table(columns: Sequence[Column], rows: Iterable[Sequence[str]]) -> None:
    """Print a table with a header.

    In a pipe or a file every line has all columns, whole, with one tab between them. A terminal
    gets aligned columns that fit its width: some columns are dropped, and the last one is cut.
    """
    if sys.stdout.isatty():
        _print_aligned(columns, list(rows))
        return
    for cells in _with_titles(columns, rows):
        sys.stdout.write("\t".join(map(printable_line, cells)) + "\n")
    sys.stdout.flush()  # an error of the reader appears here, where it is handled


def _print_aligned(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    from rich.cells import cell_len
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(no_color=not use_colors(terminal=True), highlight=False)
    lines = [[printable_line(cell) for cell in row] for row in rows]
    widths = [
        max(map(cell_len, cells)) for cells in zip(*_with_titles(columns, lines), strict=True)
    ]
    shown = fit_columns(columns, widths, console.width)
    table = Table(box=None, padding=(0, _GAP, 0, 0), pad_edge=False, header_style="bold")
    for position, width in shown.items():
        title, right = columns[position].title, columns[position].right
        table.add_column(
            title,
            justify="right" if right else "left",
            width=width,
            no_wrap=True,
            overflow="ellipsis",
        )
    for line in lines:
        table.add_row(*(Text(line[position]) for position in shown))
    console.print(table)


def _with_titles(
    columns: Sequence[Column], lines: Iterable[Sequence[str]]
) -> Iterator[Sequence[str]]:
    return chain([[column.title for column in columns]], lines)


def fit_columns(columns: Sequence[Column], widths: Sequence[int], room: int) -> dict[int, int]:
    """Choose the columns that fit, by position, and the width of each. Pure.

    Columns are dropped in their turn until the last column has a useful width. It is cut to the
    room that is left. The first column is cut only if even that is not enough.

    Args:
        columns: all columns.
        widths: the width of each, in cells of the terminal.
        room: the width of the terminal.
    """
    last = len(columns) - 1
    shown = dict(enumerate(widths[:last]))

    def left() -> int:
        return room - sum(shown.values()) - _GAP * len(shown)

    turns = sorted((column.dropped, at) for at, column in enumerate(columns) if column.dropped)
    for _, position in turns:
        if left() < min(widths[last], _USEFUL):
            del shown[position]
    lacking = max(0, min(widths[last], _LEAST) - left())
    shown[0] = max(1, shown[0] - lacking)
    return shown | {last: max(1, min(widths[last], left()))}
