"""The verb ``failures``: group the failed slices by their error."""

from __future__ import annotations

import click

from slurmslice.actions.open_run import open_run
from slurmslice.actions.poll import poll
from slurmslice.cli.options.common import run_argument
from slurmslice.cli.options.locate_run import find_run
from slurmslice.cli.output.console import emit_note, print_line, print_note
from slurmslice.cli.output.failures import print_failures
from slurmslice.cli.output.long_work import shown_if_long
from slurmslice.cli.output.summary import notes_on_silence
from slurmslice.reports.failure_groups import FailureGroups


@click.command()
@run_argument
@click.option("--all", "every", is_flag=True, help="Show all groups, not only the largest.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: all groups.")
def command(run_name: str | None, every: bool, as_json: bool) -> int:
    """Group the failed slices by their error, the most frequent first.

    Each group has an id, for --group of logs and resubmit. The ids stay the same while the run goes
    on. Only the end of each new log is read. Nothing is submitted.
    """
    run = open_run(find_run(run_name, changing=False))
    polled = poll(run)
    with shown_if_long("Reading the logs") as show:
        groups = FailureGroups(run, show)
    if as_json:
        import json

        failed = sum(map(len, groups.rows.values()))
        records = [group.record(run) for group in groups]
        found = {"run": run.record.name, "failed": failed, "slices": len(run.table),
                 "groups": records, "next": records[0]["next"] if records else []}  # fmt: skip
        print_line(json.dumps(found, indent=1))
    else:
        print_failures(run, groups, every=every)
    for note in (*polled.notes, *notes_on_silence(polled)):
        print_note(note)
    if not polled.any_answered:
        emit_note("no-source-answered", "No source answered: these are the states last seen.")
        return 3
    return 0
