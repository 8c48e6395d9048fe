"""``slurmslice run``."""

from __future__ import annotations

import click

from slurmslice.asked import Asked
from slurmslice.cli import places
from slurmslice.cli.asking import EPILOG, Asking, asking
from slurmslice.cli.console import say
from slurmslice.cli.engine import choose, open_run
from slurmslice.cli.live import follow_live
from slurmslice.cli.preview import announce, relative
from slurmslice.cli.shared import SbatchCommand, dry_run_option
from slurmslice.errors import BadInput
from slurmslice.rundir import RunDirectory
from slurmslice.verbs.create import check_name, default_name, describe, make
from slurmslice.verbs.follow import Policy


@click.command(cls=SbatchCommand, epilog=EPILOG)
@click.argument("run_name", metavar="[RUN]", required=False)
@asking
@dry_run_option
@click.option(
    "--max-attempts",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    metavar="N",
    help="Attempts that a slice gets; what failed is submitted again while some are left.",
)
@click.option("--interval", type=click.FloatRange(min=0.1), help="Seconds between polls.")
def command(
    run_name: str | None,
    asking: Asking,
    dry_run: bool,
    max_attempts: int,
    interval: float | None,
) -> int:
    """Submit, follow to the end and report; the same line goes on where it stopped.

    The command comes after --: `{}` in it is the slice's key. With RUN in place of a command,
    that run goes on. It can be left with Ctrl-C: on Slurm the slices go on, and any verb works
    beside it in a second terminal.
    """
    place = _going_on(run_name, asking) if run_name else _new(asking, max_attempts, dry_run)
    if place is None:
        return 0
    run = open_run(place, changing=True)
    if dry_run:
        say(f"{relative(place.path)} would go on; nothing was done: --dry-run.")
        return 0
    return follow_live(run, Policy(max_attempts, feed=True, interval=interval))


def _going_on(run_name: str, asking: Asking) -> RunDirectory:
    if asking.anything:
        raise BadInput(
            f"{run_name!r} names a run, and slices or a command are given too.",
            f"`slurmslice run {run_name}` goes on with it; a new run's command stands after --.",
        )
    return places.find(run_name, changing=True)


def _new(asking: Asking, max_attempts: int, dry_run: bool) -> RunDirectory | None:
    """The run that the line describes: made now, or the one that it made before."""
    wanted = asking.wanted(max_attempts)
    path = places.new_run(check_name(wanted.name or default_name(wanted.command)), asking.run_dir)
    engine = choose(asking.engine, path)
    asked, silence = describe(wanted, engine)
    if path.exists():
        place = RunDirectory.open(path)
        _refuse_another(place.asked(), asked)
        say(f"{asked.name}: going on with {relative(path)}")
        return place
    announce(asked, wanted.table, engine)
    if silence:
        say(f"Slurm could not be asked about its limits: {silence}")
    if dry_run:
        say(f"Nothing was made: --dry-run. It would be {relative(path)}.")
        return None
    place = make(asked, wanted, path)
    places.remember(path)
    return place


def _refuse_another(there: Asked, asked: Asked) -> None:
    different = there.differences(asked)
    if different:
        raise BadInput(
            f"There is a run {asked.name} already, and it is another one: {'; '.join(different)}.",
            "Give this one another --name; or `slurmslice resubmit` changes the request of the "
            "one that is there.",
        )
