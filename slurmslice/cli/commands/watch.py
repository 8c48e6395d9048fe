"""The verb ``watch``: follow a run without changing it."""

from __future__ import annotations

import click

from slurmslice.actions.open_run import open_run
from slurmslice.cli.options import locate_run
from slurmslice.cli.options.common import run_argument, seconds
from slurmslice.cli.output.live_progress import watch_live


@click.command()
@run_argument
@click.option(
    "--interval",
    type=seconds,
    metavar="SECONDS",
    help="Ask Slurm every so many seconds.",
)
def command(run_name: str | None, interval: float | None) -> int:
    """Follow a run until none of its slices is in the queue or running; change nothing.

    Slices that are not submitted yet stay so. To submit them: `slurmslice run RUN`, or
    `slurmslice tick RUN` on a cluster.
    """
    run = open_run(
        locate_run.find_run(run_name, changing=False), read_only=True
    )  # nothing is written
    return watch_live(run, interval)
