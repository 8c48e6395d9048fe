"""Follow a run on the terminal: one line that changes, or plain lines where there is none."""

from __future__ import annotations

import contextlib
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping

import click

from slurmslice.cli.console import colored, note, one_line, painted, print_note
from slurmslice.cli.preview import tell_how_to_come_back, tell_taken
from slurmslice.cli.summary import (
    changing_options,
    exit_code,
    held_by_throttle,
    stuck,
    tell,
    waiting_count,
    waits,
)
from slurmslice.errors import Refused, SlurmsliceError
from slurmslice.notes import Note
from slurmslice.reports.counts import reasons
from slurmslice.run import Run
from slurmslice.states import State
from slurmslice.verbs.follow import FollowOptions, follow
from slurmslice.verbs.poll import Poll
from slurmslice.verbs.submit_queued import SubmitOutcome
from slurmslice.verbs.watch import watch

PLAIN_LINE_EVERY_S = 30.0
_BAR = 30


def follow_live(run: Run, options: FollowOptions) -> int:
    """Follow a run to its end with progress, report, and return the exit code.

    If it is interrupted, it says how to come back; on the local engine it first stops the tasks.
    """
    return _to_the_end(run, lambda progress: follow(run, options, progress))


def watch_live(run: Run, interval: float | None) -> int:
    """Watch a run with progress, report, and return the exit code.

    It says which slices are not submitted yet, or held, and which commands go on with them.
    """
    return _to_the_end(run, lambda progress: watch(run, progress.looked_only, interval))


def _to_the_end(run: Run, follow_with: Callable[[Progress], None]) -> int:
    progress = Progress()
    try:
        with _interrupted_in_order(progress):
            follow_with(progress)
    except KeyboardInterrupt:
        progress.end()
        _leave(run)
        return 130
    except SlurmsliceError:
        progress.end()
        _leave(run)
        raise
    finally:
        run.engine.close()  # whatever went wrong: nothing runs on unwatched
    progress.end()
    tell(run)
    return exit_code(run)


def _leave(run: Run) -> None:
    if run.engine.working:
        note("stopping-slices", "Stopping what runs …")
        run.engine.close()
        message = "What was running was stopped and waits."
        note("slices-stopped", f"{message} `slurmslice run {run.record.name}` goes on.")
        return
    if run.in_flight():
        waiting = "" if run.ledger.held else waits(run)
        which = "What is in the queue goes" if waiting else "The slices go"
        note("jobs-keep-running", f"{which} on without this window.", all=not waiting)
        if waiting:
            note("waiting", waiting, slices=waiting_count(run))
        tell_how_to_come_back(run)
    elif not run.finished:
        name = run.record.name
        options = changing_options(run.ledger.refusal)
        note(
            "run-kept",
            f"The run is kept, and nothing of it is in flight. `slurmslice run {name}` goes on; "
            f"options change its request, as in `slurmslice run {name} {options}`.",
            run=name, command=f"slurmslice run {name} {options}",
        )  # fmt: skip


@contextlib.contextmanager
def _interrupted_in_order(progress: Progress) -> Iterator[None]:
    """A closed terminal or a polite kill ends following as Ctrl-C does: in order.

    A signal that is ignored stays so: ``nohup slurmslice run … &`` outlives its terminal. One
    that comes while Python clears an object away is lost as an exception: the mark stays.
    """

    def interrupt(number: int, frame: object) -> None:
        progress.interrupted = True
        raise KeyboardInterrupt

    ends = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)
    heeded = [number for number in ends if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, interrupt) for number in heeded}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Progress:
    """Shown after each poll. On a terminal one line is painted over; else a line now and then."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._said = -PLAIN_LINE_EVERY_S  # the first line is said at once
        self._line = ""
        self._silences: tuple[str, ...] = ()
        self._stuck: tuple[Note, ...] = ()
        self._left: set[str] = set()
        self.interrupted = False

    def __call__(self, run: Run, looked: Poll, fed: SubmitOutcome) -> None:
        """Show where the run stands."""
        if self.interrupted:
            raise KeyboardInterrupt
        passing = fed.error and not isinstance(fed.error, Refused)
        silences = (*looked.silences, *([fed.waits] if passing else []))
        if fed.taken or looked.notes or silences != self._silences:
            self.end()
        tell_taken(run, fed.taken)
        for found in looked.notes:
            print_note(found)
        if silences != self._silences:
            for silence in silences:
                note("no-answer", f"Not now: {silence}")
            self._silences = silences
        hints = stuck(run)
        if hints and hints != self._stuck:
            self.end()
            for hint in hints:
                print_note(hint)
            self._stuck = hints
        why = f" (waiting: {fed.waits})" if fed.waits and not fed.error else ""
        line = describe(run.standings.tally()) + one_line(held_up(run) + why)
        if self._terminal:
            self._paint(line)
        elif line == self._line or time.monotonic() - self._said < PLAIN_LINE_EVERY_S:
            return
        else:
            self._said = time.monotonic()
            note("progress", click.unstyle(line))
        self._line = line

    def looked_only(self, run: Run, looked: Poll) -> None:
        """Show a poll of ``watch``, and once what it leaves alone: queued slices, held arrays."""
        waiting = Note("waiting", waits(run), {"slices": waiting_count(run)})
        shown = [waiting] if run.ledger.queue else []
        if held := held_by_throttle(run):
            shown.append(held)
        for one in shown if not run.ledger.held else ():
            if one.code not in self._left:
                self.end()
                print_note(one)
        self._left = {one.code for one in shown}
        self(run, looked, SubmitOutcome())

    def _paint(self, line: str) -> None:
        plain, width = click.unstyle(line), shutil.get_terminal_size().columns - 1
        if len(plain) > width:  # a line that wraps cannot be painted over
            line = plain[:width]
        click.echo(f"\r\x1b[K{line}", nl=False, err=True, color=colored(True))

    def end(self) -> None:
        """End the line that is painted over, so that what follows begins on its own."""
        if self._terminal and self._line:
            click.echo("", err=True)
            self._line = ""


def describe(states: Mapping[State, int]) -> str:
    """One line: a bar in segments (done, ended otherwise, running), and a count for each state."""
    total = sum(states.values())
    done, running = states.get(State.COMPLETED, 0), states.get(State.RUNNING, 0)
    ended = sum(n for state, n in states.items() if state.final)
    cells = [round(_BAR * n / total) for n in (done, ended, ended + running)]
    bar = "█" * cells[0] + "x" * (cells[1] - cells[0]) + "▒" * (cells[2] - cells[1])
    words = ", ".join(f"{n} {painted(state)}" for state, n in sorted(states.items()) if n)
    return f"{bar:·<{_BAR}} {ended}/{total} ended: {words}"


def held_up(run: Run) -> str:
    """Why slices are pending while none runs; empty where some do, or none is."""
    states = run.standings.tally()
    if State.RUNNING in states or State.PENDING not in states:
        return ""
    return f" ({reasons(run, run.standings.rows_in({State.PENDING}))})"
