"""The verb ``accept``: accept the failures of slices, so that the run can be done."""

from __future__ import annotations

from collections.abc import Sequence

import click

from slurmslice.actions.accept import AcceptResult, accept, undo_accept
from slurmslice.actions.circuit_breaker import reason_to_hold
from slurmslice.actions.open_run import open_run
from slurmslice.cli.options import locate_run
from slurmslice.cli.options.common import (
    KeysCommand,
    dry_run_option,
    keys_from_words,
    parse_states,
    run_and_keys_argument,
    state_option,
)
from slurmslice.cli.options.failure_group import among_rows, group_option, rows_in_groups
from slurmslice.cli.output.console import emit_note, print_note
from slurmslice.cli.output.refresh import refresh
from slurmslice.cli.output.submissions import release_held
from slurmslice.cli.output.summary import NOTHING_TO_DO
from slurmslice.cli.output.then_step import note_on_then
from slurmslice.errors import BadInputError
from slurmslice.reports.counts import count_text, counts_by_state, key_ranges
from slurmslice.run.accepted_rows import ACCEPTABLE
from slurmslice.run.run import Run
from slurmslice.system.shell_quoting import quote_words


@click.command(cls=KeysCommand)
@run_and_keys_argument
@click.option("--reason", metavar="TEXT", help="Why these failures are accepted. Required.")
@click.option("--undo", is_flag=True, help="Let the failures of these slices count again.")
@state_option
@group_option
@dry_run_option
def command(
    words: tuple[str, ...],
    reason: str | None,
    undo: bool,
    states: tuple[str, ...],
    groups: tuple[str, ...],
    dry_run: bool,
) -> int:
    """Accept that slices failed or were cancelled, by key, range, pattern or group of failures.

    They keep their state and are shown as accepted. They count as done for the exit code, for
    --then-if done and for --after. No rule acts on their failure. A new attempt ends it: to try a
    slice again, name it in `resubmit`.
    """
    why = _checked_reason(reason, undo=undo)
    if undo and groups:
        raise _conflict("undo", "group", "An accepted failure is in no group: name the slices.")
    chosen = parse_states(states)
    directory, keys = locate_run.find_run_and_keys(words, changing=True)
    if not (keys or states or groups):
        raise BadInputError(
            "No slice was named.",
            "Name slices, or choose a state: slurmslice accept [RUN] KEY --reason TEXT; "
            "slurmslice accept [RUN] --state FAIL --reason TEXT",
            code="missing-slice",
        )
    run = open_run(directory, changing=True, read_only=dry_run)
    rows = keys_from_words(run, keys)
    refresh(run)
    if groups:
        rows = among_rows(rows, rows_in_groups(run, groups))
    named: Sequence[int] = run.statuses.rows_in(ACCEPTABLE) if rows is None else rows
    some = [row for row in named if chosen is None or run.statuses.state(row) in chosen]
    result = undo_accept(run, some) if undo else accept(run, some, why)
    if not result.rows:
        return _note_nothing(run, rows, undo=undo)
    _note_result(run, result, why, undo=undo)
    if run.hold.reason and run.max_failures is not None and not reason_to_hold(run):
        release_held(run)
    if then := note_on_then(run):
        print_note(then)
    return 0


def _checked_reason(reason: str | None, *, undo: bool) -> str:
    """Return the reason, on one line.

    Raises:
        BadInputError: there is none, or one beside ``--undo``.
    """
    if undo and reason is not None:
        raise _conflict("undo", "reason", "Give one of them.")
    text = " ".join((reason or "").split())
    if not (undo or text):
        raise BadInputError(
            "accept needs a reason, which everybody who looks at the run will read.",
            "For example: --reason 'the input file is corrupt'. To take it back: --undo",
            code="missing-reason",
            option="reason",
        )
    return text


def _conflict(option: str, other: str, hint: str) -> BadInputError:
    message = f"--{option} and --{other} exclude each other."
    return BadInputError(message, hint, code="options-conflict", option=option, other=other)


def _note_result(run: Run, result: AcceptResult, reason: str, *, undo: bool) -> None:
    keys, slices = key_ranges(run.table.keys.of(list(result.rows))), len(result.rows)
    dry_run = run.directory.read_only
    if undo:
        verb = "Would undo" if dry_run else "Undone"
        message = f"{verb}: the failures of {count_text(slices)} ({keys}) count again."
        emit_note("accept-undone", message, slices=slices, keys=keys, dry_run=dry_run)
    else:
        verb = "Would accept" if dry_run else "Accepted"
        message = f"{verb} the failure of {count_text(slices)} ({keys}): {reason}"
        emit_note("accepted", message, slices=slices, keys=keys, reason=reason, dry_run=dry_run)
    if result.others:
        now = counts_by_state(run, result.others)
        states = ", ".join(f"{len(c.rows)} {c.label} ({c.keys})" for c in now)
        what = "accepted" if undo else "failed or cancelled"
        message = f"Left out, because they are not {what}: {states}."
        emit_note("named-left-out", message, states={c.label: c.keys for c in now})


def _note_nothing(run: Run, rows: Sequence[int] | None, *, undo: bool) -> int:
    """Say that there is nothing to accept, or to undo, and return the exit code."""
    now = counts_by_state(run, rows)
    states = ", ".join(f"{len(c.rows)} {c.label} ({c.keys})" for c in now)
    what = "accepted" if undo else "failed or cancelled"
    message = f"Nothing was changed: none of these slices is {what}. Now: {states}."
    if not undo and any(row in run.journal_state.queue for c in now for row in c.rows):
        words = ("slurmslice", "cancel", run.record.name, "KEY")
        message += f"\nA slice that waits to be tried again: cancel it first: {quote_words(words)}"
    emit_note("nothing-to-accept", message, states={c.label: c.keys for c in now})
    return NOTHING_TO_DO
