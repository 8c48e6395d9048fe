"""Read a run that another one takes over: its description, its slices, and what is done.

The source is a run directory, also another user's, or an export (docs/adr/0042). It is only read.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from slurmslice.actions.open_run import open_run
from slurmslice.actions.poll import poll
from slurmslice.errors import BadInputError, DamagedRunError, EngineError
from slurmslice.run.directory import RunDirectory, read_required_file, sha256_hex
from slurmslice.run.exported import RUN_FILE, parse_exported_states, parse_run
from slurmslice.slices.slice_table import SliceTable, checked_table
from slurmslice.spec.run_spec import RunSpec
from slurmslice.status.states import IN_FLIGHT_STATES, State

MAY_RUN = frozenset({*IN_FLIGHT_STATES, State.UNKNOWN})
"""States of slices that may be done by their own run still."""


@dataclass(frozen=True, slots=True)
class TakenRun:
    """A run that a new one takes over.

    Attributes:
        path: its directory.
        spec: its description.
        table: the slices to take.
        done: the rows of these slices that are done.
        cluster: its cluster or machine; empty if not known.
        template: its own template of the script; empty for slurmslice's own.
        foreign: another user's run, or an export.
    """

    path: Path
    spec: RunSpec
    table: SliceTable
    done: tuple[int, ...]
    cluster: str
    template: str
    foreign: bool


@dataclass(frozen=True, slots=True)
class _Source:
    spec: RunSpec
    table: SliceTable
    states: Sequence[State]
    cluster: str
    template: str
    foreign: bool


def take_over(path: Path, wanted: Collection[State] | None) -> TakenRun:
    """Read the run in a folder.

    Args:
        path: a run directory or an export.
        wanted: the states of the slices to take; None for all slices.

    Raises:
        BadInputError: there is neither (``not-a-run``), a slice may still run there
            (``from-in-flight``), or no slice is in the wanted states.
        DamagedRunError: a file has wrong contents, or a newer slurmslice wrote it.
    """
    source = _export(path) if (path / RUN_FILE).exists() else _run(path)
    rows = [n for n, state in enumerate(source.states) if wanted is None or state in wanted]
    if not rows:
        raise BadInputError(
            f"No slice of {path} is in one of these states.",
            f"slurmslice status {path} shows their states.",
            code="no-slices",
            source=str(path),
        )
    running = [source.table.keys[n] for n in rows if source.states[n] in MAY_RUN]
    if running and wanted is None:
        raise BadInputError(
            f"{len(running)} slices of {path} may still run there, as {running[0]}: they would be "
            "done twice.",
            "Wait for their end or cancel them there. To take others only, name states, as in "
            f"--from {path}:FAIL,WAITING,CANCELLED",
            code="from-in-flight",
            source=str(path),
            slices=len(running),
        )
    done = tuple(n for n, row in enumerate(rows) if source.states[row] is State.COMPLETED)
    table = source.table if len(rows) == len(source.table) else _part(source.table, rows, path)
    return TakenRun(path, source.spec, table, done, source.cluster, source.template, source.foreign)


def _part(table: SliceTable, rows: Sequence[int], path: Path) -> SliceTable:
    """Return a table of some rows."""
    columns = {name: _chosen(table.values(name), rows) for name in table.columns}
    return checked_table([table.keys[row] for row in rows], str(path), columns)


def _chosen(values: Iterable[str], rows: Sequence[int]) -> list[str]:
    known = list(values)
    return [known[row] for row in rows]


def _run(path: Path) -> _Source:
    """Read a run directory; ask its engine for the newest states, if it answers here."""
    directory = RunDirectory.open(path)
    run = open_run(directory, read_only=True)
    with contextlib.suppress(EngineError):
        if not run.record.cluster or run.engine.cluster() == run.record.cluster:
            poll(run)
    states = [run.statuses.state(row) for row in range(len(run.table))]
    record, foreign = run.record, directory.foreign_owner is not None
    return _Source(record, run.table, states, record.cluster, record.template, foreign)


def _export(path: Path) -> _Source:
    spec, made = parse_run(read_required_file(path / RUN_FILE), str(path / RUN_FILE))
    data = read_required_file(path / "slices.tsv")
    if sha256_hex(data) != made.get("slices_sha256"):
        raise DamagedRunError(
            f"{path / 'slices.tsv'} was changed after the export.",
            "Export the run again: slurmslice export RUN",
            code="table-changed",
            path=str(path / "slices.tsv"),
        )
    table = SliceTable.read(data, str(path / "slices.tsv"))
    known = parse_exported_states(read_required_file(path / "states.tsv"), str(path / "states.tsv"))
    states = [known.get(key, State.WAITING) for key in table.keys]
    cluster, template = str(made.get("cluster", "")), str(made.get("template", ""))
    return _Source(spec, table, states, cluster, template, foreign=True)
