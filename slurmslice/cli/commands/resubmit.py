"""The verb ``resubmit``: submit failed slices again."""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable, Sequence

import click

from slurmslice.actions.open_run import open_run
from slurmslice.actions.submit import choose_failed
from slurmslice.cli.options import locate_run
from slurmslice.cli.options.common import (
    ChangingCommand,
    KeysCommand,
    dry_run_option,
    keys_from_words,
    max_failures_option,
    new_env_option,
    parse_states,
    run_and_keys_argument,
    same_code_option,
    typed_words_and_request,
)
from slurmslice.cli.options.failure_group import among_rows, group_option, rows_in_groups
from slurmslice.cli.output.console import emit_note
from slurmslice.cli.output.refresh import refresh
from slurmslice.cli.output.submissions import (
    change_max_failures,
    submit_or_show,
    use_new_environment,
)
from slurmslice.cli.output.summary import NOTHING_TO_DO
from slurmslice.plan.batches import may_resubmit
from slurmslice.reports.counts import count_text, counts_by_state, key_ranges
from slurmslice.run.run import Run
from slurmslice.spec.run_spec import FailureLimit
from slurmslice.status.states import State
from slurmslice.system.shell_quoting import quote


class ResubmitCommand(KeysCommand, ChangingCommand):
    """A command with keys of slices, and options that change their request."""


@click.command(cls=ResubmitCommand)
@run_and_keys_argument
@click.option(
    "--state",
    "states",
    multiple=True,
    metavar="STATE",
    help="Only slices in these states. Separate them by commas. Default: FAIL, all failures. "
    "CANCELLED is not one of them: --state FAIL,CANCELLED",
)
@group_option
@max_failures_option
@new_env_option
@same_code_option
@dry_run_option
def command(
    words: tuple[str, ...],
    states: tuple[str, ...],
    groups: tuple[str, ...],
    max_failures: FailureLimit | None,
    new_env: bool,
    same_code: bool | None,
    dry_run: bool,
) -> int:
    """Submit ended slices again: all that failed, those of --state or --group, or the named ones.

    sbatch's options change the request of these slices; --mem 2x and --time 2x multiply it. A slice
    that has not ended is never submitted again. Type a key that begins with a dash after --.
    """
    after_dashes, changes = typed_words_and_request()
    chosen = parse_states(states)
    directory, keys = locate_run.find_run_and_keys(words + after_dashes, changing=True)
    run = open_run(directory, changing=True, read_only=dry_run)
    rows = keys_from_words(run, keys)
    if groups:
        refresh(run)
        rows = among_rows(rows, rows_in_groups(run, groups))
    run.same_code = run.same_code if same_code is None else same_code
    if new_env:
        use_new_environment(run)
    if max_failures is not None:
        change_max_failures(run, max_failures)
    choose, picked = choose_failed(chosen, rows), set[int]()

    def choose_and_keep(run: Run) -> Sequence[int]:
        picked.update(choose(run))
        return choose(run)

    code = submit_or_show(
        run, choose_and_keep, changes, verb="resubmit",
        again=functools.partial(_same_choice, states, groups, keys),
        nothing=functools.partial(_note_nothing, rows, chosen),
    )  # fmt: skip
    if rows is not None and picked:
        _note_left_out(run, set(rows) - picked, chosen)
    left_out_rows = sum(
        len(c.rows)
        for c in counts_by_state(run, rows)
        if c.state is State.CANCELLED and not c.accepted
    )
    if left_out_rows and chosen is None:
        slices = count_text(left_out_rows, "CANCELLED slice")
        message = f"Left out: {slices}. To include them: --state FAIL,CANCELLED"
        emit_note("cancelled-left-out", message, state=State.CANCELLED, slices=left_out_rows)
    if rows is None and picked:
        _note_accepted_left_out(run)
    return code


def _note_accepted_left_out(run: Run) -> None:
    """Say that accepted failures were left out, because nobody named these slices."""
    if rows := run.accepted_rows:
        keys = key_ranges(run.table.keys.of(rows))
        message = f"Left out, because accepted: {keys}. To try one again, name it."
        emit_note("accepted-left-out", message, slices=len(rows), keys=keys)


def _note_left_out(run: Run, rows: Collection[int], chosen: Collection[State] | None) -> None:
    """Name the slices that a person named and that were not resubmitted, with their states."""
    now = [c for c in counts_by_state(run, rows) if chosen or c.state is not State.CANCELLED]
    if not now:
        return
    states = ", ".join(f"{len(c.rows)} {c.label} ({c.keys})" for c in now)
    message = f"Left out: {states}."
    if any(not c.state.final for c in now):
        message += " A slice that has not ended is never submitted again."
    others = sorted({str(c.state) for c in now if may_resubmit(c.state)})
    if others:
        message += f" To run the others again, add --state {','.join(others)}."
    emit_note("named-left-out", message, states={c.label: c.keys for c in now})


def _same_choice(
    states: Iterable[str], groups: Iterable[str], keys: Sequence[str], options: Sequence[str]
) -> list[str]:
    named = [word for state in states for word in ("--state", state)]
    named += [word for group in groups for word in ("--group", group)]
    return [*named, *options, *(["--", *keys] if keys else [])]


def _what_to_type_instead(now: Collection[State], rows: Sequence[int] | None, run: Run) -> str:
    """Return the command for waiting slices, or for completed ones that were named."""
    if State.WAITING in now:
        return f"\nTo submit the waiting slices: slurmslice run {quote(run.record.name)}"
    if rows is not None and State.COMPLETED in now:
        return "\nTo run completed slices again, add --state COMPLETED."
    if rows is None and run.accepted_rows:
        return "\nTo try an accepted slice again, name it."
    return ""


def _note_nothing(rows: Sequence[int] | None, chosen: Collection[State] | None, run: Run) -> int:
    """Print that no slice can be submitted again, and return the exit code."""
    now = counts_by_state(run, rows)
    states = ", ".join(f"{len(c.rows)} {c.label} ({c.keys}: {c.why})" for c in now)
    possible = sorted(filter(may_resubmit, chosen or ()))
    wanted = f"is {' or '.join(possible)}" if possible else "can be submitted again"
    wanted = wanted if chosen else "has failed"
    emit_note(
        "nothing-to-resubmit",
        f"Nothing was resubmitted: none of these slices {wanted}. Now: {states}."
        + _what_to_type_instead({c.state for c in now}, rows, run),
        states={c.label: c.keys for c in now},
    )
    unfinished_rows = (row for c in now if c.state.in_flight for row in c.rows)
    if any(
        row in held.cancelled
        for row in unfinished_rows
        if (held := run.journal_state.submission_of(row))
    ):
        emit_note(
            "cancel-not-finished",
            "Slurm has not removed the cancelled slices yet. Try again in a moment.",
        )
    return NOTHING_TO_DO
