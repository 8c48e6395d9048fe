"""``slurmslice watch``."""

from __future__ import annotations

import click

from slurmslice.cli import places
from slurmslice.cli.engine import open_run
from slurmslice.cli.live import watch_live
from slurmslice.cli.shared import run_argument


@click.command()
@run_argument
@click.option("--interval", type=click.FloatRange(min=0.1), help="Seconds between polls.")
def command(run_name: str | None, interval: float | None) -> int:
    """Follow a run until nothing of it is in flight. It only looks: it changes nothing.

    It says how many slices are not submitted yet. `slurmslice run RUN`, or `slurmslice tick RUN`
    on a cluster, submits them.
    """
    run = open_run(places.find(run_name, changing=False), read_only=True)  # nothing is written
    return watch_live(run, interval)
