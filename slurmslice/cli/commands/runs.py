"""The verb ``runs``, and the output of ``slurmslice`` without a verb."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import click

from slurmslice.cli.options import locate_run
from slurmslice.cli.output.console import emit_note, print_line, print_message
from slurmslice.cli.output.tables import Column, print_table
from slurmslice.errors import SlurmsliceError
from slurmslice.reports.counts import count_text
from slurmslice.run.accepted_rows import accepted_rows
from slurmslice.run.directory import RunDirectory
from slurmslice.run.journal_state import replay_events
from slurmslice.run.statuses import StatusTable
from slurmslice.spec.run_spec import command_with_placeholders
from slurmslice.status.states import State

_COLUMNS = (
    Column("RUN"),
    Column("ENGINE", dropped=1),
    Column("SLICES", right=True),
    Column("DONE", right=True),
    Column("FAILED", right=True),
    Column("CANCELLED", right=True, dropped=3),
    Column("IN FLIGHT", right=True, dropped=4),
    Column("WAITING", right=True, dropped=5),
    Column("MADE", dropped=2),
    Column("COMMAND"),
)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(as_json: bool) -> None:
    """List the runs here, newest first, with the states last seen. Slurm is not asked.

    A run is its directory. To delete a run after all of its jobs have ended: `rm -r`.
    """
    if as_json:
        import json

        print_line(
            json.dumps([_record(RunDirectory(path)) for path in locate_run.runs_here()], indent=1)
        )
        return
    if not locate_run.runs_here():
        _list_elsewhere(locate_run.earlier_runs())
        return
    _table()


_MAX_LISTED = 10


def _list_elsewhere(runs: Sequence[Path]) -> None:
    """Say that there is no run here, and list the user's runs in other folders."""
    if not runs:
        emit_note("no-run-here", "No run here.", elsewhere=0)
        return
    message = (
        f"You have {count_text(len(runs), 'run')} in other folders. Each verb finds them by name:"
    )
    emit_note("no-run-here", f"No run here. {message}", elsewhere=len(runs))
    print_table(
        (Column("RUN"), Column("FOLDER")),
        [(run.name, str(run.parent)) for run in runs[:_MAX_LISTED]],
    )
    if len(runs) > _MAX_LISTED:
        emit_note(
            "more-runs",
            f"… and {len(runs) - _MAX_LISTED} older ones.",
            runs=len(runs) - _MAX_LISTED,
        )


def show_overview(examples: str) -> None:
    """Print the runs here, or examples if there is none."""
    if locate_run.runs_here():
        _table()
        print_message("slurmslice --help lists the verbs.")
    else:
        print_line(examples.rstrip())


def _table() -> None:
    rows = []
    for path in locate_run.runs_here():
        try:
            record = _record(RunDirectory(path))
        except SlurmsliceError as why:
            rows.append((path.name, *[""] * 8, f"unreadable: {why.message}"))
            continue
        made = datetime.datetime.fromtimestamp(float(str(record["created_at"])))
        rows.append(
            (
                str(record["run"]),
                str(record["engine"]),
                str(record["slices"]),
                str(record["done"]),
                f"{record['failed']}{_accepted_text(record)}",
                str(record["cancelled"]),
                str(record["in_flight"]),
                str(record["waiting"]),
                f"{made:%Y-%m-%d %H:%M}",
                f"{'(script.sh edited) ' if record['edited'] else ''}{record['command']}",
            )
        )
    print_table(_COLUMNS, rows)
    emit_note(
        "states-as-last-seen",
        "These are the states last seen. To ask now: slurmslice status [RUN]",
    )


def _accepted_text(record: dict[str, object]) -> str:
    return f" (+{record['accepted']} accepted)" if record["accepted"] else ""


def _record(directory: RunDirectory) -> dict[str, object]:
    record = directory.read_record()
    journal_state = replay_events(directory.events(), record.slices, record.done_rows)
    statuses = StatusTable(journal_state)
    statuses.read(directory.read_states(0)[0])
    states = statuses.state_counts()
    accepted = Counter(map(statuses.state, accepted_rows(journal_state, statuses)))
    left = {state: number - accepted[state] for state, number in states.items()}
    return {
        "run": record.name,
        "next": [["slurmslice", "status", record.name]],
        "directory": str(directory.path),
        "engine": record.engine,
        "cluster": record.cluster,
        "slices": len(statuses),
        "done": states.get(State.COMPLETED, 0),
        "failed": sum(number for state, number in left.items() if state.failed),
        "accepted": accepted.total(),
        "cancelled": left.get(State.CANCELLED, 0),
        "in_flight": sum(number for state, number in states.items() if state.in_flight),
        "waiting": states.get(State.WAITING, 0),
        "created_at": record.created_at,
        "command": command_with_placeholders(record.command),
        "edited": directory.script_edited,
    }
