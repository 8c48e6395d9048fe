"""``slurmslice throttle``."""

from __future__ import annotations

import click

from slurmslice.cli import places
from slurmslice.cli.console import say
from slurmslice.cli.engine import open_run
from slurmslice.errors import BadInput
from slurmslice.reports.counts import count
from slurmslice.verbs.steer import throttle


@click.command()
@click.argument("run_name", metavar="[RUN]", required=False)
@click.argument("limit", metavar="N|none")
def command(run_name: str | None, limit: str) -> int:
    """Change how many slices of a run may run at once, now and in what is submitted later."""
    if limit != "none" and not (limit.isascii() and limit.isdecimal()):
        raise BadInput(f"{limit!r} is not a number of slices.", "Give a number, or none.")
    run = open_run(places.find(run_name, changing=True), changing=True)
    told = throttle(run, None if limit in {"none", "0"} else int(limit))
    say(f"Throttle: {limit}, told to {count(told, 'array')} in the queue or running.")
    return 0
