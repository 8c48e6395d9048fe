"""``slurmslice submit``."""

from __future__ import annotations

import click

from slurmslice.cli import places
from slurmslice.cli.console import note, out
from slurmslice.cli.engine import open_run
from slurmslice.cli.sending import let_start, nothing_waits, send
from slurmslice.cli.shared import (
    ChangingCommand,
    dry_run_option,
    meta,
    no_breaker_option,
    run_argument,
)
from slurmslice.errors import BadInput
from slurmslice.reports.counts import count
from slurmslice.resources import ResourceRequest
from slurmslice.run import Run
from slurmslice.submission_plan import Choice, make_plan
from slurmslice.verbs.submit import Choose, waiting


@click.command(cls=ChangingCommand)
@run_argument
@click.option(
    "--only",
    metavar="N|KEYS",
    help="Only the first N that wait (a bare number), or these: 3-7, 3,17, a key, keys by commas.",
)
@dry_run_option
@no_breaker_option
@click.option(
    "--test-only", is_flag=True, help="Ask Slurm when it would start (sbatch --test-only)."
)
def command(
    run_name: str | None, only: str | None, dry_run: bool, no_breaker: bool, test_only: bool
) -> int:
    """Submit what waits in a run, all or a few; the rest goes in with the next submit.

    sbatch's options (-p, --mem, …) change the request of what goes in.
    """
    run = open_run(places.find(run_name, changing=True), changing=True, read_only=dry_run)
    choose, changes = waiting(_only(run, only)), meta()[1]
    if test_only:
        return _test(run, choose, changes)
    if no_breaker:
        let_start(run)
    chosen = ("--only", only) if only else ()
    return send(
        run, choose, changes, verb="submit", again=lambda options: (*chosen, *options),
        nothing=nothing_waits,
    )  # fmt: skip


def _only(run: Run, text: str | None) -> list[int] | int | None:
    """How many, or which. A bare number is how many: ``5-5`` is the slice 5."""
    if text is None:
        return None
    if text.isascii() and text.isdecimal():
        if not int(text):
            raise BadInput(
                "--only 0 asks for 0 slices.",
                "A slice called 0 is named: --only 0-0",
                code="bad-number",
                option="only",
                value=0,
            )
        return int(text)
    names = [text] if run.table.row_of(text) is not None or "," not in text else text.split(",")
    return run.table.select(names)


def _test(run: Run, choose: Choose, changes: ResourceRequest) -> int:
    """What Slurm says of the next submission; nothing is submitted."""
    plan = make_plan(run, Choice(choose(run), changes))
    planned = next(plan.submissions(run), None)
    if planned is None:
        nothing_waits(run)
        return 0
    slices = len(planned.batch.rows)
    message = f"Of submission {planned.number:03d}, {count(slices)}, Slurm says:"
    note("test-only", message, submission=planned.number, slices=slices)
    out(run.engine.test(planned.order(run)))
    return 0
