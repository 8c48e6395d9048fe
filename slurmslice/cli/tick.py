"""``slurmslice tick``."""

from __future__ import annotations

import click

from slurmslice.cli import places
from slurmslice.cli.console import note, print_note
from slurmslice.cli.engine import open_run
from slurmslice.cli.live import progress_line
from slurmslice.cli.preview import print_taken
from slurmslice.cli.sending import note_waiting
from slurmslice.cli.shared import run_argument
from slurmslice.cli.summary import exit_code, notes_on_silence, print_summary
from slurmslice.errors import BadInput
from slurmslice.verbs.follow import TICK, step
from slurmslice.verbs.poll import poll


@click.command()
@run_argument
@click.option(
    "--exit-code",
    "set_exit_code",
    is_flag=True,
    help="Exit 0 if every slice is done, 1 if some failed, 4 if it is not finished.",
)
def command(run_name: str | None, set_exit_code: bool) -> int:
    """One step: look, submit queued slices as there is room, and end.

    It also resubmits failed slices while they have attempts left, as `run --max-attempts`
    recorded it. Call it as often as you like, by cron, or twice at the same time: no slice is
    submitted twice.
    """
    run = open_run(places.find(run_name, changing=True), changing=True)
    if run.record.engine == "local":
        raise BadInput(
            "This run belongs to this machine, which works only while a process does.",
            f"`slurmslice run {run.record.name}` goes on with it.",
            code="slurm-only",
            run=run.record.name,
        )
    looked = poll(run)
    fed = step(run, TICK)
    print_taken(run, fed.taken)
    for found in (*looked.notes, *notes_on_silence(looked)):
        print_note(found)
    fed.check(passing=looked.learnt)
    if run.finished:
        print_summary(run)
    else:
        note("progress", click.unstyle(progress_line(run.standings.tally())))
        note_waiting(run, fed)
    return exit_code(run) if set_exit_code else 0
