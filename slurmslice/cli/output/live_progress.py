"""Following a run: a block of lines that changes on a terminal, else plain lines."""

from __future__ import annotations

import contextlib
import shutil
import signal
import time
from collections.abc import Callable, Iterator

import click

from slurmslice.actions.follow import FollowOptions, follow, site_interval
from slurmslice.actions.poll import PollResult, poll
from slurmslice.actions.site_rules import load_site_rules
from slurmslice.actions.submit_queued import SubmitOutcome
from slurmslice.actions.watch import watch
from slurmslice.cli.output.blocked_slices import notes_on_blocked_slices
from slurmslice.cli.output.console import (
    emit_note,
    print_note,
    printable_line,
)
from slurmslice.cli.output.end_notice import tell_end
from slurmslice.cli.output.live_block import LiveBlock, is_repaintable
from slurmslice.cli.output.live_view import LiveView
from slurmslice.cli.output.preview import note_how_to_return, print_accepted
from slurmslice.cli.output.progress_line import progress_line
from slurmslice.cli.output.summary import (
    note_on_throttle,
    print_summary,
    run_exit_code,
    suggest_options,
    waiting_count,
    waiting_message,
)
from slurmslice.cli.output.typed_line import options_again, typed_changes
from slurmslice.errors import SlurmsliceError, SubmissionRejectedError
from slurmslice.notes import Note
from slurmslice.plan.then_phase import is_over
from slurmslice.reports.counts import frequent_reasons
from slurmslice.run.run import Run
from slurmslice.status.states import State
from slurmslice.system import config_files
from slurmslice.system.shell_quoting import quote, quote_words

PLAIN_LINE_EVERY_S = 30.0


def follow_live(run: Run, options: FollowOptions) -> int:
    """Follow a run to its end with progress, report, and return the exit code.

    An interruption prints how to return. The local engine first stops its tasks. The end is told
    once outside of this terminal, if the person wants it.
    """
    _note_short_interval(run, options.interval)
    try:
        code = _follow_to_end(run, lambda progress: follow(run, options, progress))
    except SlurmsliceError as why:
        tell_end(run, stopped=why.message)
        raise
    tell_end(run)
    return code


def watch_live(run: Run, interval: float | None) -> int:
    """Watch a run with progress, report, and return the exit code.

    Notes name the slices that are not submitted yet or held, and the commands for them.
    """
    _note_short_interval(run, interval)
    return _follow_to_end(run, lambda progress: watch(run, progress.show_watched, interval))


def _note_short_interval(run: Run, interval: float | None) -> None:
    """Tell a person who typed an interval that the site does not allow."""
    load_site_rules(run)
    least = site_interval(run)
    if interval is not None and interval < least:
        contact = f" Contact: {run.site.contact}" if run.site.contact else ""
        message = (
            f"Slurm is asked every {least:g} s, not every {interval:g} s: this is the min-poll of "
            f"{config_files.SITE_FILE}.{contact}"
        )
        emit_note("interval-raised", message, interval=interval, least=least)


def _follow_to_end(run: Run, follow_with: Callable[[Progress], None]) -> int:
    progress = Progress()
    try:
        with _interrupt_on_signals(progress):
            follow_with(progress)
    except KeyboardInterrupt:
        progress.end()
        _note_interrupted(run)
        return 130
    except SlurmsliceError:
        progress.end()
        _note_interrupted(run)
        raise
    finally:
        run.engine.close()  # after any error, no local task may run on
    progress.end()
    if run.engine.runs_in_process and not run.finished:
        poll(run)  # the engine has returned what it did not start
    print_summary(run)
    return run_exit_code(run)


def _note_interrupted(run: Run) -> None:
    if run.engine.has_running_tasks:
        emit_note("stopping-slices", "Stopping the running slices …")
        run.engine.close()
        message = f"The running slices were stopped. To continue: slurmslice run {run.record.name}"
        emit_note("slices-stopped", message)
        return
    if run.submissions_in_flight():
        waiting = "" if run.hold.reason else waiting_message(run)
        which = "Slices in the queue" if waiting else "The slices"
        emit_note(
            "jobs-keep-running", f"{which} keep running without this window.", all=not waiting
        )
        if waiting:
            emit_note("waiting", waiting, slices=waiting_count(run))
        note_how_to_return(run)
    elif not run.finished:
        line = command = f"slurmslice run {quote(run.record.name)}"
        message = f"The run is kept; none of its slices is in the queue. To continue: {line}"
        rejection = run.journal_state.rejection
        if rejection and (options := suggest_options(run, rejection)):
            again = options_again(typed_changes(), options.split())
            command = f"{line} {quote_words(again)}"
            message += f". With another request: {command}"
        emit_note("run-kept", message, run=run.record.name, command=command)
    elif not is_over(run):
        line = f"slurmslice run {quote(run.record.name)}"
        message = f"The step afterwards has not ended. To continue: {line}"
        emit_note("then-not-ended", message, run=run.record.name, command=line)


@contextlib.contextmanager
def _interrupt_on_signals(progress: Progress) -> Iterator[None]:
    """Turn SIGHUP and SIGTERM into KeyboardInterrupt, as Ctrl-C does.

    An ignored signal stays ignored, so ``nohup slurmslice run … &`` survives its terminal. Python
    drops an exception that is raised in a finalizer, so the handler also sets a flag.
    """

    def interrupt(number: int, frame: object) -> None:
        progress.interrupted = True
        raise KeyboardInterrupt

    ends = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)
    handled = [number for number in ends if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, interrupt) for number in handled}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Progress:
    """The display after each poll: a repainted block on a terminal, else a line every 30 s."""

    def __init__(self) -> None:
        self._terminal = is_repaintable()
        self._block, self._view = LiveBlock(), LiveView()
        self._last_line_at = -PLAIN_LINE_EVERY_S  # print the first line at once
        self._line = ""
        self._silences: tuple[str, ...] = ()
        self._blocked: tuple[Note, ...] = ()
        self._mentioned: set[str] = set()
        self.interrupted = False

    def __call__(self, run: Run, polled: PollResult, outcome: SubmitOutcome) -> None:
        """Show the states of the run after a poll and a submission."""
        if self.interrupted:
            raise KeyboardInterrupt
        temporary = outcome.error and not isinstance(outcome.error, SubmissionRejectedError)
        no_answer_reasons = (
            *polled.no_answer_reasons,
            *([outcome.wait_reason] if temporary else []),
        )
        if outcome.accepted or polled.notes or no_answer_reasons != self._silences:
            self.end()
        for found in polled.notes:
            print_note(found)
        print_accepted(run, outcome.accepted)
        if no_answer_reasons != self._silences:
            for silence in no_answer_reasons:
                emit_note("no-answer", f"No answer: {silence}")
            self._silences = no_answer_reasons
        hints = notes_on_blocked_slices(run)
        if hints and hints != self._blocked:
            self.end()
            for hint in hints:
                print_note(hint)
            self._blocked = hints
        why = (
            f" (waiting: {outcome.wait_reason})"
            if outcome.wait_reason and not outcome.error
            else ""
        )
        remark, counts = printable_line(pending_reason(run) + why), run.statuses.state_counts()
        if self._terminal:
            room = shutil.get_terminal_size().columns - 1
            self._block.paint([progress_line(counts, remark, room), *self._view.lines(run, room)])
            return
        line = progress_line(counts, remark)
        if line == self._line or time.monotonic() - self._last_line_at < PLAIN_LINE_EVERY_S:
            return
        self._line, self._last_line_at = line, time.monotonic()
        pace = self._view.pace_text(run)
        emit_note("progress", f"{click.unstyle(line)}{'; ' if pace else ''}{pace}")

    def show_watched(self, run: Run, polled: PollResult) -> None:
        """Show a poll of ``watch``. Mention queued slices and held arrays once."""
        waiting = Note("waiting", waiting_message(run), {"slices": waiting_count(run)})
        shown = [waiting] if run.journal_state.queue else []
        if held := note_on_throttle(run):
            shown.append(held)
        for one in shown if not run.hold.reason else ():
            if one.code not in self._mentioned:
                self.end()
                print_note(one)
        self._mentioned = {one.code for one in shown}
        self(run, polled, SubmitOutcome())

    def end(self) -> None:
        """End the repainted block, so that the next text starts on a new line."""
        self._block.end()


def pending_reason(run: Run) -> str:
    """Return why slices are pending if none runs; empty if one runs or none is pending."""
    states = run.statuses.state_counts()
    if State.RUNNING in states or State.PENDING not in states:
        return ""
    return f" ({frequent_reasons(run, run.statuses.rows_in({State.PENDING}))})"
