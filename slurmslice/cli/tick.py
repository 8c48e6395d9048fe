"""``slurmslice tick``."""

from __future__ import annotations

import click

from slurmslice.cli import places
from slurmslice.cli.console import say
from slurmslice.cli.engine import open_run
from slurmslice.cli.live import describe
from slurmslice.cli.preview import tell_taken
from slurmslice.cli.sending import tell_what_waits
from slurmslice.cli.shared import run_argument
from slurmslice.cli.summary import exit_code, tell
from slurmslice.errors import BadInput
from slurmslice.verbs.follow import Policy, step
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
    """One step: look, put in what was submitted and has room now, and end.

    Attempts that `run --max-attempts` allows are made too. It can be called as often as wanted,
    by cron, and twice at once: what is in is never put in again.
    """
    run = open_run(places.find(run_name, changing=True), changing=True)
    if run.engine.runs_in_process:
        raise BadInput(
            "This run belongs to this machine, which works only while a process does.",
            f"`slurmslice run {run.asked.name}` goes on with it.",
        )
    looked = poll(run)
    fed = step(run, Policy(run.asked.max_attempts, submits=False))
    tell_taken(run, fed.taken)
    for note in (*looked.notes, *(f"No answer: {silence}" for silence in looked.silences)):
        say(note)
    fed.check(passing=looked.learnt)
    if run.finished:
        tell(run)
    else:
        say(click.unstyle(describe(run.standings.tally())))
        tell_what_waits(run, fed)
    return exit_code(run) if set_exit_code else 0
