"""The verb ``cancel``: cancel slices that have not ended."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import chain

import click

from slurmslice.actions.cancel import cancel, rows_to_cancel, shared_rows, wait_until_noticed
from slurmslice.actions.open_run import open_run
from slurmslice.actions.steward import end_steward
from slurmslice.actions.then_step import call_off_then
from slurmslice.cli.options import locate_run
from slurmslice.cli.options.common import (
    KeysCommand,
    dry_run_option,
    keys_from_words,
    run_and_keys_argument,
)
from slurmslice.cli.output.console import emit_note
from slurmslice.cli.output.refresh import refresh, wait_for_doubts_with_note
from slurmslice.plan.then_phase import ThenPhase, then_phase
from slurmslice.reports.counts import count_text, counts_by_state, key_ranges
from slurmslice.run.run import Run
from slurmslice.system.shell_quoting import quote_words


@click.command(cls=KeysCommand)
@run_and_keys_argument
@dry_run_option
def command(words: tuple[str, ...], dry_run: bool) -> int:
    """Cancel slices by key, range or pattern, or all slices of a run that have not ended."""
    directory, keys = locate_run.find_run_and_keys(words, changing=True)
    run = open_run(directory, changing=True, read_only=dry_run)
    rows = keys_from_words(run, keys)
    if rows is None and not dry_run and (job := end_steward(run, "cancelled")):
        way = "job" if job.isdecimal() else "line"
        message = f"What followed the run is ended: {way} {job}."
        emit_note("steward-cancelled", message, job=job)
    if rows is None and dry_run and run.has_steward:
        emit_note("would-cancel-steward", "Would end what follows the run.")
    if rows is None and not dry_run and (job := call_off_then(run)):
        emit_note("then-cancelled", f"Job {job}, the step afterwards, is cancelled.", job=job)
    refresh(run)
    wait_for_doubts_with_note(run)
    if dry_run:
        unfinished_rows = sorted(chain.from_iterable(rows_to_cancel(run, rows).values()))
    else:
        unfinished_rows = cancel(run, rows)
    which, slices = (
        key_ranges([run.table.keys[row] for row in unfinished_rows]),
        len(unfinished_rows),
    )
    if not unfinished_rows:
        emit_note("nothing-to-cancel", "No slice was cancelled: these slices have ended.")
        if rows is None:
            _note_step(run, dry_run=dry_run)
    elif dry_run:
        message = f"Would cancel {count_text(slices)}: {which}"
        emit_note("would-cancel", message, slices=slices, keys=which)
    else:
        emit_note(
            "cancelled", f"Cancelled {count_text(slices)}: {which}", slices=slices, keys=which
        )
        _note_shared(run, unfinished_rows)
        named = ("--", *keys) if keys else ()
        words = ("slurmslice", "resubmit", run.record.name, "--state", "CANCELLED", *named)
        back = quote_words(words)
        emit_note("how-to-resubmit", f"To submit them again: {back}", command=back)
    if unfinished_rows:
        _note_ended(run, set(rows or ()).difference(unfinished_rows))
    return 0


def _note_step(run: Run, *, dry_run: bool) -> None:
    """Say that the step afterwards does not start by itself any more, or would not."""
    phase, name = then_phase(run), run.record.name
    if dry_run and phase is ThenPhase.DUE:
        emit_note("would-call-off-then", "Would call off the step afterwards, which is due.")
    elif not dry_run and phase is ThenPhase.NOT_MET:
        again = quote_words(("slurmslice", "then", name))
        message = f"The step afterwards does not start by itself. To run it all the same: {again}"
        emit_note("then-called-off", message, command=again)


def _note_ended(run: Run, rows: Collection[int]) -> None:
    """Name the slices that a person named and that had ended before."""
    if rows:
        now = counts_by_state(run, rows)
        states = ", ".join(f"{len(c.rows)} {c.label} ({c.keys})" for c in now)
        message = f"Left out, because they have ended: {states}."
        emit_note("named-left-out", message, states={c.label: c.keys for c in now})


def _note_shared(run: Run, rows: Sequence[int]) -> None:
    """Say which slices have ended of those whose array task goes on with other slices."""
    shared = shared_rows(run, rows)
    if not shared:
        return
    waiting = wait_until_noticed(run, shared)
    if ended := sorted(set(shared).difference(waiting)):
        which = key_ranges([run.table.keys[row] for row in ended])
        message = f"Their array tasks go on with other slices. Ended: {which}"
        emit_note("cancelled-in-task", message, slices=len(ended), keys=which)
    if waiting:
        which = key_ranges([run.table.keys[row] for row in waiting])
        name = run.record.name
        emit_note(
            "cancel-not-noticed",
            f"Not ended yet: {which}. Their array tasks go on with other slices. A task ends or "
            "skips them as soon as it notices; a pending task does so when it starts.\n"
            f"To look: {quote_words(('slurmslice', 'status', name, '--slices'))}",
            slices=len(waiting),
            keys=which,
        )
