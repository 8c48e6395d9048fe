"""``slurmslice watch``."""

from __future__ import annotations

import click

from slurmslice.cli import places
from slurmslice.cli.engine import open_run
from slurmslice.cli.live import follow_live
from slurmslice.cli.shared import run_argument
from slurmslice.verbs.follow import Policy


@click.command()
@run_argument
@click.option("--interval", type=click.FloatRange(min=0.1), help="Seconds between polls.")
def command(run_name: str | None, interval: float | None) -> int:
    """Follow a run until nothing of it is in flight.

    What was submitted and did not fit yet goes in as there is room; nothing else is changed.
    """
    run = open_run(places.find(run_name, changing=False))
    return follow_live(run, Policy(submits=False, interval=interval))
