"""Tables: they fit a terminal, and are plain lines with tabs in a pipe."""

from __future__ import annotations

import io
import json
from collections.abc import Callable

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from slurmslice.cli.commands import doctor, runs
from slurmslice.cli.output import tables
from slurmslice.cli.output.tables import Column, fit_columns, print_table
from slurmslice.status.states import State
from tests.conftest import NewRun
from tests.support.fakes import FakeEngine
from tests.support.typed import Typed

ALL = (tables._SLICE_COLUMNS, doctor._COLUMNS, runs._COLUMNS)
KEPT = {"KEY", "STATE", "MEMORY", "REASON"}


class Terminal(io.StringIO):
    """A terminal that keeps its output."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def shown_at(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Print a table on a terminal of a width; return its lines."""

    def show(width: int, columns: tuple[Column, ...], *rows: tuple[str, ...]) -> list[str]:
        terminal = Terminal()
        with monkeypatch.context() as patch:
            patch.setattr("sys.stdout", terminal)
            patch.setenv("COLUMNS", str(width))
            patch.setenv("TERM", "xterm")
            print_table(columns, rows)
        return click.unstyle(terminal.getvalue()).splitlines()

    return show


# -- on a terminal -----------------------------------------------------------------------------

LONG = (
    "mass=1e14,seed=3", "OUT_OF_MEMORY", "2", "12345678_117", "0:9", "1-02:33:20", "2-00:00:00",
    "1-00:00:00", "4000M", "4096M", "node017", "exceeded its memory; asked for 4G " * 3,
)  # fmt: skip


def test_a_long_line_fits_80_columns(shown_at: Callable[..., list[str]]) -> None:
    """Key, state, memory and reason are there; only the reason is cut, with an ellipsis."""
    header, line = shown_at(80, tables._SLICE_COLUMNS, LONG)
    assert set(header.split()) >= KEPT
    assert max(map(len, (header, line))) <= 80
    assert {LONG[0], LONG[1], LONG[8]} <= set(line.split())
    assert line.rstrip().endswith("…")
    assert LONG[-1].startswith(line.rstrip("… ").rpartition("  ")[2])


def test_all_columns_are_there_if_they_fit(shown_at: Callable[..., list[str]]) -> None:
    """A wide terminal shows each column, whole; short values need less room."""
    header, line = shown_at(250, tables._SLICE_COLUMNS, LONG)
    assert header.split() == [column.title for column in tables._SLICE_COLUMNS]
    assert all(cell.strip() in line for cell in LONG)
    short = ("0", "PENDING", "1", *[""] * 8, "in the queue: Resources")
    header, line = shown_at(110, tables._SLICE_COLUMNS, short)
    assert len(header.split()) == len(tables._SLICE_COLUMNS)
    assert line.rstrip().endswith("Resources")


@given(
    columns=st.sampled_from(ALL),
    widths=st.lists(st.integers(3, 120), min_size=12, max_size=12),
    room=st.integers(60, 300),
)
def test_columns_fit(columns: tuple[Column, ...], widths: list[int], room: int) -> None:
    """No line is wider than the terminal, and no column is dropped before its turn."""
    widths = [min(width, 14) if 0 < at < len(columns) - 1 else width
              for at, width in enumerate(widths[: len(columns)])]  # fmt: skip
    shown = fit_columns(columns, widths, room)
    dropped = [column.dropped for at, column in enumerate(columns) if at not in shown]
    kept = [columns[at].dropped for at in shown if columns[at].dropped]
    assert sum(shown.values()) + 2 * (len(shown) - 1) <= room
    assert all(dropped)
    assert max(dropped, default=0) < min(kept, default=99)
    last = len(columns) - 1
    assert all(shown[at] == widths[at] for at in shown if at not in {0, last})
    if shown[0] < widths[0]:
        assert shown[last] <= 10


def test_wide_letters_and_marks_take_their_cells(shown_at: Callable[..., list[str]]) -> None:
    """Columns are aligned by cells of the terminal. Rich's own marks in a value are text."""
    lines = shown_at(60, (Column("KEY"), Column("REASON")), ("日本[b]", "a"), ("x", "[red]é"))
    assert [cell_len(line) for line in lines] == [cell_len(lines[0])] * 3
    assert "日本[b]  a" in lines[1]
    assert "[red]é" in lines[2]


# -- in a pipe ---------------------------------------------------------------------------------


def test_a_pipe_gets_tabs(new_run: NewRun, engine: FakeEngine, typed: Typed) -> None:
    """One line per slice, one tab between columns, no padding, no blank line, nothing cut."""
    new_run("0-9")
    typed("submit", "demo")
    engine.end("100", 3, State.FAILED, exit_code=7)
    typed("status", "demo", "--slices")
    header, *lines = [line.split("\t") for line in typed.stdout.splitlines()]
    assert header == [column.title for column in tables._SLICE_COLUMNS]
    assert [line[0] for line in lines] == [str(key) for key in range(10)]
    assert {len(line) for line in lines} == {len(header)}
    assert all(cell == cell.strip() for line in lines for cell in line)
    assert lines[3][header.index("EXIT")] == "7:0"


@pytest.mark.parametrize("verb", ["runs", "doctor", "status --slices", "status --state WAITING"])
def test_no_table_has_padding_in_a_pipe(verb: str, new_run: NewRun, typed: Typed) -> None:
    """Each verb with a table: no line is blank or has two blanks in a row."""
    new_run("0-2")
    typed(*verb.split())
    lines = typed.stdout.splitlines()
    assert lines
    assert not [line for line in lines if not line.strip() or "  " in line]


def test_values_cannot_look_like_columns(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A tab, a line end or an escape sequence in a value does not make a column or a line."""
    print_table((Column("RUN"), Column("FOLDER")), [("a\tb", "c\nd\x1b[2J")])
    header, line = capsys.readouterr().out.splitlines()
    assert line.count("\t") == header.count("\t") == 1
    assert "\x1b" not in line


# -- as JSON -----------------------------------------------------------------------------------


def test_json_has_what_the_table_has(engine: FakeEngine, typed: Typed) -> None:
    """Each column of the table, the reason too, and the columns of the slice."""
    (typed.folder / "t.csv").write_text("name,mass\na,1e14\nb,\"x, 'y'\"\n")
    typed("render", "--table", "t.csv", "--key", "name", "--mem", "1G", "--name", "x", "--", "true")
    typed("submit", "x")
    engine.end("100", 1, State.OUT_OF_MEMORY, exit_code=0, signal=9)
    typed("status", "x", "--slices")
    table = [line.split("\t") for line in typed.stdout.splitlines()]
    rows = [dict(zip(table[0], line, strict=True)) for line in table[1:]]
    slices = typed.json("status", "x")["slices"]
    assert [one["columns"] for one in slices] == [
        {"name": "a", "mass": "1e14"}, {"name": "b", "mass": "x, 'y'"},
    ]  # fmt: skip
    for row, one in zip(rows, slices, strict=True):
        assert row["REASON"] == one["reason"]
        assert (row["KEY"], row["STATE"]) == (one["key"], one["state"])
        assert (row["JOB"], row["NODE"]) == (one["job"] or "", one["node"] or "")
        assert bool(row["ELAPSED"]) == (one["elapsed_s"] is not None)
    assert "1G" in slices[1]["reason"]


def test_json_has_the_time_of_a_running_slice(
    new_run: NewRun, engine: FakeEngine, typed: Typed
) -> None:
    """A slice that runs has the time since its start; one that waits has none."""
    new_run("0-1", array="0-1%1")
    typed("submit", "demo")
    engine.end("100", 0, State.RUNNING, started_at=1)
    first, second = json.loads(json.dumps(typed.json("status", "demo")))["slices"]
    assert first["elapsed_s"] > 0
    assert second["elapsed_s"] is None
