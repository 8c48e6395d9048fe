"""``slurmslice resubmit``."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence

import click

from slurmslice.cli import places
from slurmslice.cli.console import note
from slurmslice.cli.engine import open_run
from slurmslice.cli.sending import let_start, send
from slurmslice.cli.shared import (
    ChangingCommand,
    KeysCommand,
    dry_run_option,
    keys_from_words,
    meta,
    no_breaker_option,
    parse_states,
    run_argument,
)
from slurmslice.reports.counts import count, counts
from slurmslice.run import Run
from slurmslice.states import State
from slurmslice.verbs.submit import failed


class ResubmitCommand(KeysCommand, ChangingCommand):
    """Keys, and changes of the request for them."""


@click.command(cls=ResubmitCommand)
@run_argument
@click.argument("keys", nargs=-1, metavar="[KEY]...")
@click.option(
    "--state",
    "states",
    multiple=True,
    metavar="STATE",
    help="Only slices in these states, in place of every failure; CANCELLED only by name.",
)
@no_breaker_option
@dry_run_option
def command(
    run_name: str | None,
    keys: tuple[str, ...],
    states: tuple[str, ...],
    no_breaker: bool,
    dry_run: bool,
) -> int:
    """Submit what failed again, while others may still run.

    Keys choose among the failed (those that begin with a dash follow --). Any option of sbatch
    changes the request for them; --mem 2x and --time 2x multiply what they had. CANCELLED slices
    are left out unless --state CANCELLED names them. What is PENDING or RUNNING is never
    submitted again.
    """
    words, changes = meta()
    chosen = parse_states(states)
    place = places.find(run_name, changing=True, keys_of="resubmit", keys=keys)
    run = open_run(place, changing=True, read_only=dry_run)
    rows = keys_from_words(run, keys + words)
    if no_breaker:
        let_start(run)
    code = send(
        run, failed(chosen, rows), changes, verb="resubmit",
        again=functools.partial(_again, states, keys + words),
        nothing=functools.partial(_nothing, rows),
    )  # fmt: skip
    left_out = sum(len(c.rows) for c in counts(run, rows) if c.state is State.CANCELLED)
    if left_out and (chosen is None or State.CANCELLED not in chosen):
        message = f"Left out: {count(left_out, 'CANCELLED slice')}; --state CANCELLED takes them."
        note("cancelled-left-out", message, state=State.CANCELLED, slices=left_out)
    return code


def _again(states: Iterable[str], keys: Sequence[str], options: Sequence[str]) -> list[str]:
    named = [word for state in states for word in ("--state", state)]
    return [*named, *options, *(["--", *keys] if keys else [])]


def _nothing(rows: Sequence[int] | None, run: Run) -> None:
    now = counts(run, rows)
    told = ", ".join(f"{len(c.rows)} {c.state} ({c.keys}: {c.why})" for c in now)
    note(
        "nothing-to-resubmit",
        f"None of these slices is in a state to be resubmitted: nothing was. Now: {told}.",
        states={str(c.state): c.keys for c in now},
    )
    open_rows = (row for c in now if c.state.in_flight for row in c.rows)
    if any(row in held.cancelled for row in open_rows if (held := run.ledger.of_row(row))):
        note(
            "cancel-not-finished",
            "What was cancelled goes in again once Slurm has let it go: try again in a moment.",
        )
