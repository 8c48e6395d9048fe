"""One round of a run that a line of a table follows: ``tick RUN --by TOKEN``, in its log."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

import click

from slurmslice.actions.open_run import open_run
from slurmslice.actions.steward_round import EXPECTED_ENDS, RoundResult, do_line_round
from slurmslice.actions.table_line import remove_block
from slurmslice.cli.output.console import emit_note, print_note
from slurmslice.cli.output.end_notice import tell_end
from slurmslice.cli.output.preview import print_accepted
from slurmslice.cli.output.progress_line import progress_line
from slurmslice.cli.output.summary import print_summary
from slurmslice.run.directory import RunDirectory
from slurmslice.run.run import Run
from slurmslice.run.steward_folder import StewardFolder


def tick_by_line(directory: RunDirectory, token: str) -> None:
    """Do one round if the pause is over. At the end, tell it, and then remove the line.

    Raises:
        EngineError: the engine cannot work here, or the table cannot be changed.
    """
    if StewardFolder(directory.path).due_at() > time.time():
        return
    run = open_run(directory, changing=True)
    result = do_line_round(run, token)
    if result is None:
        return
    show_round(run, result)
    if result.ended:
        steward = run.journal_state.steward
        if steward and (steward.token, steward.ended) == (token, result.ended):
            tell_end(run, "" if result.ended in EXPECTED_ENDS else result.ended)
        with _terminate_ignored():  # scrontab may end the job of the line that it removes
            remove_block(token)
            if steward is None or steward.token == token or not steward.is_line:
                StewardFolder(directory.path).remove_line_script()


@contextmanager
def _terminate_ignored() -> Iterator[None]:
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def show_round(run: Run, result: RoundResult) -> None:
    """Write the lines of one round into the log of a steward; at the end, the summary."""
    print_accepted(run, list(result.accepted))
    for found in result.polled.notes if result.polled else ():
        print_note(found)
    if result.trouble:
        emit_note("steward-trouble", result.trouble)
    if result.polled:
        emit_note("progress", click.unstyle(progress_line(run.statuses.state_counts())))
    if result.ended:
        if result.polled:
            print_summary(run)
        emit_note("steward-ends", f"The steward ends: {result.ended}.", reason=result.ended)
    else:
        later = f", in {result.wake.pause_s} s or later" if result.wake.pause_s else ""
        message = f"Next round when {result.wake}{later}."
        emit_note("steward-waits", message, wake=" ".join(result.wake.words))
