"""The verb ``attach``: attach a job to a run by its number."""

from __future__ import annotations

import click

from slurmslice.actions.attach import attach
from slurmslice.actions.open_run import open_run
from slurmslice.cli.options import locate_run
from slurmslice.cli.output.console import emit_note
from slurmslice.cli.output.preview import note_how_to_return
from slurmslice.errors import BadInputError


@click.command()
@click.argument("words", nargs=-1, required=True, metavar="[RUN] JOBID")
def command(words: tuple[str, ...]) -> int:
    """Attach a job that was submitted by hand under another name, or renamed later.

    `status` finds a job with the name in the script without this verb.
    """
    if len(words) > 2 or not (words[-1].isascii() and words[-1].isdecimal()):
        raise BadInputError(
            "Give the number of one job.", "slurmslice attach [RUN] JOBID", code="missing-job"
        )
    directory = locate_run.find_run(words[0] if len(words) == 2 else None, changing=True)
    run = open_run(directory, changing=True)
    number = attach(run, words[-1])
    message = f"Job {words[-1]} is now submission {number:03d} of {run.record.name}."
    emit_note("job-attached", message, job=words[-1], submission=number, run=run.record.name)
    note_how_to_return(run)
    return 0
