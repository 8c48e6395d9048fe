"""The ``slurmslice logs`` command."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import click

from slurmslice.actions.log_watch import newest_submission
from slurmslice.actions.open_run import open_run
from slurmslice.actions.poll import poll
from slurmslice.cli.options import locate_run
from slurmslice.cli.options.common import KeysCommand, keys_from_words, parse_states, state_option
from slurmslice.cli.options.failure_group import among_rows, group_option, rows_in_groups
from slurmslice.cli.options.named_slices import named_slices
from slurmslice.cli.output.console import emit_note, printable_line
from slurmslice.cli.output.log_output import (
    LogRequest,
    explain_no_output,
    has_start_line,
    show_log,
    slice_log,
)
from slurmslice.errors import BadInputError
from slurmslice.run.run import Run
from slurmslice.run.submission import Submission, SubmissionStatus
from slurmslice.status.states import BEGUN_STATES, State
from slurmslice.system.shell_quoting import quote


@click.command(cls=KeysCommand)
@click.argument("names", nargs=-1, metavar="[RUN] KEY...")
@state_option
@group_option
@click.option("-f", "--follow", is_flag=True, help="Print new output until the slice has ended.")
@click.option("--tail", metavar="N", type=click.IntRange(1), help="Print only the last N lines.")
@click.option("--all", "every", is_flag=True, help="Show earlier starts too, in order.")
@click.option("--task", is_flag=True, help="Show the log of the array task and of slurmstepd.")
@click.option("--path", "only_path", is_flag=True, help="Print only the paths of the files.")
def command(
    names: tuple[str, ...],
    states: tuple[str, ...],
    groups: tuple[str, ...],
    follow: bool,
    tail: int | None,
    every: bool,
    task: bool,
    only_path: bool,
) -> int:
    """Show the output of slices in their newest attempt.

    Name the RUN first if you name several KEYs. With several slices, a header names each slice.
    With --state or --group the arguments are [RUN] [KEY]..., and no KEY means all slices. Write --
    before a key that begins with a dash.
    """
    chosen, selects = parse_states(states), bool(states or groups)
    if not names and not selects:
        raise BadInputError(
            "No slice was named.", "Type slurmslice logs [RUN] KEY", code="missing-slice"
        )
    run, rows = _any_slices(names) if selects else named_slices(names, "logs")
    poll(run)
    if groups:
        rows = among_rows(rows, rows_in_groups(run, groups))
    if chosen is not None:
        rows = [row for row in rows if run.statuses[row].state in chosen]
        if not rows:
            emit_note("none-in-state", "None of these slices is in one of these states.")
    if follow and len(rows) > 1:
        raise BadInputError(
            f"-f follows one slice; you named {len(rows)}.",
            "Name only one of them.",
            code="one-slice-only",
            slices=len(rows),
        )
    if follow and tail:
        raise BadInputError(
            "-f prints a log from its beginning, and --tail only its end.",
            "Type one of them.",
            code="options-conflict",
            option="follow",
            other="tail",
        )
    several = len(rows) > 1 or (every and any(_earlier_starts(run, row) for row in rows))
    request = LogRequest(task=task, only_path=only_path, follow=follow, headers=several, tail=tail)
    for row in rows:
        if (newest := newest_submission(run, row)) is None:
            _report_unsubmitted(run, row, alone=len(rows) == 1)
            continue
        _show_earlier(run, row, request, every=every)
        if follow and not only_path:
            _follow(run, row, newest, request)
        else:
            _show_newest(run, row, newest, request)
    return 0


def _any_slices(names: tuple[str, ...]) -> tuple[Run, Sequence[int]]:
    """Return the run (the first name, if any) and the rows of the slices named after it, or all."""
    found, keys = locate_run.find_run_and_keys(names, changing=False)
    run = open_run(found)
    rows = keys_from_words(run, keys)
    return run, range(len(run.table)) if rows is None else rows


def _earlier_starts(run: Run, row: int) -> list[Submission]:
    """Return the earlier submissions in which a slice began, in order.

    A start that was interrupted uses no attempt, but it may have written something.
    """
    newest, earlier = newest_submission(run, row), list[Submission]()
    for one in run.journal_state.submissions.values() if newest else ():
        accepted = one.status is SubmissionStatus.SUBMITTED
        if newest and accepted and one.number < newest.number and row in one.places:
            earlier.append(one)
    if len(earlier) < run.journal_state.attempts[row]:
        return earlier
    return [
        one for one in earlier if slice_log(run, row, one).exists or has_start_line(run, row, one)
    ]


def _show_earlier(run: Run, row: int, request: LogRequest, *, every: bool) -> None:
    """Show a slice's output in its earlier submissions, in order, or note their number."""
    earlier = _earlier_starts(run, row)
    for submission in earlier if every else ():
        show_log(run, row, submission, replace(request, follow=False), "an earlier start")
    if earlier and not every and not request.only_path:
        message = f"There are {len(earlier)} earlier logs. To show them, add --all."
        if len(earlier) == 1:
            message = "There is 1 earlier log. To show it, add --all."
        emit_note("earlier-logs", message, logs=len(earlier))


def _follow(run: Run, row: int, newest: Submission, request: LogRequest) -> None:
    """Show a slice's output until it has ended, also that of a later submission; note its end."""
    key, shown = printable_line(run.table.keys[row]), 0
    was_ended = run.statuses[row].state.final
    while newest.number != shown:
        status, shown = run.statuses[row], newest.number
        if not (status.state.final or status.state in BEGUN_STATES):
            _note_wait(run, row, key)
        _show_newest(run, row, newest, request)  # until it has ended or was submitted again
        newest = newest_submission(run, row) or newest
    if not was_ended:  # else the note on the log has told it
        state, reason = run.statuses[row].state, run.reason_of(row)
        emit_note("slice-ended", f"{key}: {state} ({reason})", key=key, state=state)


def _note_wait(run: Run, row: int, key: str) -> None:
    """Say that a slice that is followed has not begun, and what it waits for."""
    state, name = run.statuses[row].state, quote(run.record.name)
    message = f"{key} does not run ({state}: {run.reason_of(row)}). To end the wait: Ctrl-C"
    if state is State.WAITING:
        message += f"\nTo submit waiting slices, in another terminal: slurmslice run {name}"
    emit_note("log-not-begun", message, key=key, state=state)


def _show_newest(run: Run, row: int, newest: Submission, request: LogRequest) -> None:
    """Show a slice's newest output; if it failed without output, the log of its array task."""
    status = run.statuses[row]
    how = f"{status.state}: {run.reason_of(row)}"
    silent = status.state.failed and not slice_log(run, row, newest).has_output
    if silent and not request.task:
        explain_no_output(run, row, newest, "This is the log of its array task:")
        show_log(run, row, newest, replace(request, task=True, follow=False), how, alone=True)
    else:
        show_log(run, row, newest, request, how)


def _report_unsubmitted(run: Run, row: int, *, alone: bool) -> None:
    message = f"Slice {run.table.keys[row]!r} has no log, because it was not submitted yet."
    if alone:
        raise BadInputError(message, code="no-log", key=run.table.keys[row])
    emit_note("not-submitted", message, key=run.table.keys[row])
