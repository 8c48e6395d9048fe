"""The verb ``status``: show the states of slices."""

from __future__ import annotations

import click

from slurmslice.actions.after_run import look_at_other
from slurmslice.actions.duplicates import duplicate_job_notes
from slurmslice.actions.open_run import open_run
from slurmslice.actions.poll import poll
from slurmslice.cli.options import locate_run
from slurmslice.cli.options.common import (
    KeysCommand,
    exit_code_option,
    keys_from_words,
    parse_states,
    run_and_keys_argument,
    state_option,
)
from slurmslice.cli.output.console import emit_note, print_line, print_note, write_data
from slurmslice.cli.output.preview import relative_path
from slurmslice.cli.output.summary import notes_on_silence, print_summary, run_exit_code
from slurmslice.cli.output.tables import print_slices_table
from slurmslice.cli.output.unattended import note_steward_state
from slurmslice.reports.counts import count_text
from slurmslice.run.run import Run


@click.command(cls=KeysCommand)
@run_and_keys_argument
@click.option("--slices", "per_slice", is_flag=True, help="Show one line per slice.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: the run and its slices.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV: a row per slice.")
@state_option
@exit_code_option
def command(
    words: tuple[str, ...],
    per_slice: bool,
    as_json: bool,
    as_csv: bool,
    states: tuple[str, ...],
    set_exit_code: bool,
) -> int:
    """Show the state of every slice, or of the named ones. Slurm is asked once."""
    chosen = parse_states(states)
    directory, keys = locate_run.find_run_and_keys(words, changing=False)
    run = open_run(directory)
    named = keys_from_words(run, keys)
    polled = poll(run)
    look_at_other(run)
    among = range(len(run.table)) if named is None else named
    rows = [r for r in among if chosen is None or run.statuses[r].state in chosen]
    is_summary = not (as_json or as_csv or per_slice) and chosen is None and named is None
    if as_json:
        from slurmslice.reports.records import run_json

        print_line(run_json(run, rows))
    elif as_csv:
        from slurmslice.reports.slice_rows import slice_csv

        write_data(slice_csv(run, rows))
    elif is_summary:
        _print_counts(run)
    else:
        print_slices_table(run, rows)
    # The summary has a note on the library already.
    shown = {"library-changed"} if is_summary else set()
    notes = (found for found in polled.notes if found.code not in shown)
    for found in (*notes, *duplicate_job_notes(run), *notes_on_silence(polled)):
        print_note(found)
    if not polled.any_answered:
        emit_note("no-source-answered", "No source answered: these are the states last seen.")
        return 3
    return run_exit_code(run) if set_exit_code else 0


def _print_counts(run: Run) -> None:
    where = (
        f"{run.record.engine} on {run.record.cluster}" if run.record.cluster else run.record.engine
    )
    path = relative_path(run.directory.path)
    headline = f"{run.record.name}: {count_text(len(run.table))}, {where}, {path}"
    emit_note("run-summary", headline, run=run.record.name, slices=len(run.table))
    print_summary(run)
    note_steward_state(run)
