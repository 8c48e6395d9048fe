"""The verb ``tick``: one step of following a run."""

from __future__ import annotations

import click

from slurmslice.actions.follow import follow_step, tick_options
from slurmslice.actions.open_run import open_run
from slurmslice.actions.poll import PollResult, poll
from slurmslice.cli.options import locate_run
from slurmslice.cli.options.common import dry_run_option, exit_code_option, run_argument
from slurmslice.cli.output.console import emit_note, print_note
from slurmslice.cli.output.end_notice import tell_end
from slurmslice.cli.output.line_round import tick_by_line
from slurmslice.cli.output.next_step import nothing_now, show_step
from slurmslice.cli.output.preview import print_accepted
from slurmslice.cli.output.progress_line import progress_line
from slurmslice.cli.output.submissions import note_waiting
from slurmslice.cli.output.summary import notes_on_silence, print_summary, run_exit_code
from slurmslice.cli.output.unattended import see_to_steward
from slurmslice.errors import BadInputError
from slurmslice.run.run import Run


@click.command()
@run_argument
@exit_code_option
@dry_run_option
@click.option("--by", metavar="TOKEN", hidden=True, help="The line of a table calls this.")
def command(run_name: str | None, set_exit_code: bool, dry_run: bool, by: str | None) -> int:
    """Do one step and end: poll, submit queued slices as there is room.

    Failed slices are repaired by the recorded policy (`run --retry`). In an unattended run it does
    what the steward does. You can call it as often as you like, from cron or twice at the same
    time: no slice is submitted twice.
    """
    directory = locate_run.find_run(run_name, changing=True)
    if by:
        tick_by_line(directory, by)
        return 0
    run = open_run(directory, changing=True, read_only=dry_run)
    if run.engine.runs_in_process and not run.finished:
        raise BadInputError(
            "tick cannot run slices on this machine: they run only while a process follows them.",
            f"To continue: slurmslice run {run.record.name}",
            code="slurm-only",
            run=run.record.name,
        )
    polled = poll(run)
    if dry_run:
        _show(run, polled)
        return run_exit_code(run) if set_exit_code else 0
    outcome = follow_step(run, tick_options(run))
    for found in (*polled.notes, *outcome.notes, *notes_on_silence(polled)):
        print_note(found)
    print_accepted(run, outcome.accepted)
    outcome.raise_error(ignore_temporary=polled.any_answered)
    if run.finished:
        print_summary(run)
    else:
        emit_note("progress", click.unstyle(progress_line(run.statuses.state_counts())))
        note_waiting(run, outcome)
        see_to_steward(run, quiet=True)
    tell_end(run)
    return run_exit_code(run) if set_exit_code else 0


def _show(run: Run, polled: PollResult) -> None:
    for found in (*polled.notes, *notes_on_silence(polled)):
        print_note(found)
    show_step(run, tick_options(run), nothing_now)
