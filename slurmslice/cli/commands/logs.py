"""The ``slurmslice logs`` command."""

from __future__ import annotations

import contextlib
import functools
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import click

from slurmslice.actions.open_run import open_run
from slurmslice.actions.poll import poll
from slurmslice.cli.options import locate_run
from slurmslice.cli.options.common import KeysCommand, keys_from_words, parse_states, state_option
from slurmslice.cli.output.console import emit_note, print_line, printable_line, write_data
from slurmslice.cli.output.preview import relative_path
from slurmslice.errors import BadInputError
from slurmslice.run.run import Run
from slurmslice.run.slice_logs import SliceLog
from slurmslice.run.submission import Submission, SubmissionStatus
from slurmslice.script.progress_lines import TaskProgress, parse_progress, remove_other_slices
from slurmslice.system import files
from slurmslice.system.shell_quoting import quote

_READ_S = 0.5
"""Seconds between two reads of a log that is followed."""

_POLL_S = 10.0
"""Seconds between two polls of the slice's state while its log is followed."""


@click.command(cls=KeysCommand)
@click.argument("names", nargs=-1, metavar="[RUN] KEY...")
@state_option
@click.option("-f", "--follow", is_flag=True, help="Print new output until the slice has ended.")
@click.option("--all", "every", is_flag=True, help="Show earlier attempts too, in order.")
@click.option("--task", is_flag=True, help="Show the log of the array task and of slurmstepd.")
@click.option("--path", "only_path", is_flag=True, help="Print only the paths of the files.")
def command(
    names: tuple[str, ...],
    states: tuple[str, ...],
    follow: bool,
    every: bool,
    task: bool,
    only_path: bool,
) -> int:
    """Show the output of slices in their newest attempt.

    Name the RUN first if you name several KEYs. With several slices, a header names each slice.
    With --state the arguments are [RUN] [KEY]..., and no KEY means all slices. Write -- before a
    key that begins with a dash.
    """
    chosen = parse_states(states)
    if not names and chosen is None:
        raise BadInputError(
            "No slice was named.", "Type slurmslice logs [RUN] KEY", code="missing-slice"
        )
    run, rows = _named_slices(names) if chosen is None else _any_slices(names)
    poll(run)
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
    several = len(rows) > 1 or (every and any(run.journal_state.attempts[row] > 1 for row in rows))
    request = _LogRequest(task=task, only_path=only_path, follow=follow, headers=several)
    for row in rows:
        if (
            newest := run.journal_state.submission_of(row)
            or run.journal_state.last_submission_of(row)
        ) is None:
            _report_unsubmitted(run, row, alone=len(rows) == 1)
            continue
        _show_earlier(run, row, newest, request, every=every)
        _show_newest(run, row, newest, request)
    return 0


@dataclass(frozen=True, slots=True)
class _LogRequest:
    """The requested parts of the logs.

    Attributes:
        task: the array task's log instead of the slice's.
        only_path: only the paths of the files.
        follow: new output until the slice has ended.
        headers: a header in the data names each slice, because there are several; otherwise a
            note on stderr names it.
    """

    task: bool
    only_path: bool
    follow: bool
    headers: bool


def _named_slices(names: tuple[str, ...]) -> tuple[Run, Sequence[int]]:
    """Return the run and the rows of the named slices.

    Raises:
        BadInputError: the run or a slice does not exist; or only a run was named.
    """
    keys = names
    try:
        if len(names) == 1:
            found = locate_run.find_run(None, changing=False)
        else:
            found, keys = locate_run.find_run_and_keys(names, changing=False)
        run = open_run(found)
        return run, run.table.select(keys)
    except BadInputError as why:
        if len(names) == 1 and locate_run.is_run_name(names[0]):
            raise BadInputError(
                f"{names[0]!r} is a run; no slice of it was named.",
                f"Type slurmslice logs {quote(names[0])} KEY",
                code="missing-slice",
                run=names[0],
            ) from why
        raise


def _any_slices(names: tuple[str, ...]) -> tuple[Run, Sequence[int]]:
    """Return the run (the first name, if any) and the rows of the slices named after it, or all."""
    found, keys = locate_run.find_run_and_keys(names, changing=False)
    run = open_run(found)
    rows = keys_from_words(run, keys)
    return run, range(len(run.table)) if rows is None else rows


def _show_earlier(
    run: Run, row: int, newest: Submission, request: _LogRequest, *, every: bool
) -> None:
    """Show a slice's output in its earlier submissions, in order, or note their number."""
    if run.journal_state.attempts[row] < 2:
        return
    accepted = (
        s for s in run.journal_state.submissions.values() if s.status is SubmissionStatus.SUBMITTED
    )
    earlier = [s for s in accepted if s.number < newest.number and row in s.places]
    for submission in earlier if every else ():
        _show(run, row, submission, replace(request, follow=False), "an earlier attempt")
    if earlier and not every and not request.only_path:
        message = f"There are {len(earlier)} earlier attempts. To show them, add --all."
        if len(earlier) == 1:
            message = "There is 1 earlier attempt. To show it, add --all."
        emit_note("earlier-attempts", message, attempts=len(earlier))


def _show_newest(run: Run, row: int, newest: Submission, request: _LogRequest) -> None:
    """Show a slice's newest output; if it failed without output, the log of its array task."""
    status = run.statuses[row]
    how = f"{status.state}: {run.reason_of(row)}"
    silent = status.state.failed and not _slice_log(run, row, newest).has_output
    if silent and not request.task:
        _explain_no_output(run, row, newest, "This is the log of its array task:")
        _show(run, row, newest, replace(request, task=True, follow=False), how, alone=True)
    else:
        _show(run, row, newest, request, how)


def _report_unsubmitted(run: Run, row: int, *, alone: bool) -> None:
    message = f"Slice {run.table.keys[row]!r} has no log, because it was not submitted yet."
    if alone:
        raise BadInputError(message, code="no-log", key=run.table.keys[row])
    emit_note("not-submitted", message, key=run.table.keys[row])


def _show(
    run: Run,
    row: int,
    submission: Submission,
    request: _LogRequest,
    how: str,
    *,
    alone: bool = False,
) -> None:
    """Print one log with a header or a note, or print its path.

    ``alone`` removes the lines about other slices of the pack from a task's log.
    """
    log = _slice_log(run, row, submission)
    path = _task_log_path(run, row, submission) if request.task else log.path
    if request.only_path:
        write_data((os.fsencode(path) + b"\n",))
        return
    key = run.table.keys[row]
    title = f"{printable_line(key)}: {relative_path(path)}  ({how})"
    print_line(f"==> {title} <==") if request.headers else emit_note(
        "log-of", title, key=key, path=path
    )
    if request.task:
        _show_task_log(run, row, submission, path, request, alone=alone)
        return
    pieces = _read_log(run, row, log, request.follow)
    write_data(_with_line_end(pieces) if request.headers else pieces)
    if not log.has_output:
        _explain_no_output(run, row, submission)


def _show_task_log(
    run: Run, row: int, submission: Submission, path: Path, request: _LogRequest, *, alone: bool
) -> None:
    """Print the log of a slice's array task; if it has none, the lines of this machine's worker."""
    pieces = _read_task_log(run, row, path, request.follow)
    if alone:
        pieces = (remove_other_slices(b"".join(pieces), submission.places[row][1]),)
    write_data(_with_line_end(pieces) if request.headers else pieces)
    if path.exists() and not (path.is_file() and path.stat().st_size == 0):
        return
    if path.exists():
        emit_note("task-wrote-nothing", "The array task wrote nothing.")
    elif lines := _worker_lines(run, row, submission):
        write_data((lines,))
    else:
        message = "The log does not exist: the array task wrote nothing, or the log was deleted."
        emit_note("no-task-log", message, path=path)


def _with_line_end(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield these pieces, and a line end if the last one lacks it."""
    last = b"\n"
    for piece in pieces:
        yield piece
        last = piece[-1:] or last
    if last != b"\n":
        yield b"\n"


def _slice_log(run: Run, row: int, submission: Submission) -> SliceLog:
    return SliceLog.of(run.directory, submission, row, run.table.log_name(row))


def _task_log_path(run: Run, row: int, submission: Submission) -> Path:
    return run.directory.task_log_path(submission.number, submission.array_index_of(row))


def _explain_no_output(run: Run, row: int, submission: Submission, more: str = "") -> None:
    """Note the reason: the slice wrote nothing, or its log was deleted, moved or not kept."""
    own = _slice_log(run, row, submission)
    index, slot = submission.places[row]
    log = run.directory.read_task_log(submission.number, index)
    wrote = parse_progress(log or _worker_lines(run, row, submission), submission.job)
    if own.dropped:
        message = "Its log was not kept: --keep-logs failed keeps only the logs of failed slices."
        emit_note("log-not-kept", message)
    elif _began(wrote, slot) and not own.exists:  # a task creates the log before the command
        gone = f"The slice began, but its log {relative_path(own.own)} was deleted or moved. {more}"
        emit_note("log-gone", gone.rstrip(), path=own.own)
    elif run.statuses[row].state.final or submission.number != run.journal_state.holder[row]:
        emit_note("slice-wrote-nothing", f"The slice itself wrote nothing. {more}".rstrip())
    else:
        emit_note("no-output-yet", "The slice has written nothing yet.")


def _began(wrote: TaskProgress, slot: int) -> bool:
    return slot in wrote.slots and wrote.slots[slot].started_at is not None


def _worker_lines(run: Run, row: int, submission: Submission) -> bytes:
    """Return the lines about a task that the workers of this machine wrote."""
    return run.directory.read_worker_lines(submission.number, submission.array_index_of(row))


def _read_log(run: Run, row: int, log: SliceLog, follow: bool) -> Iterator[bytes]:
    """Yield the bytes of a slice's log; with ``follow``, new bytes until the slice has ended."""
    printed = 0
    for _ in _looks(run, row, follow):
        for piece in log.read(printed):
            yield piece
            printed += len(piece)


def _read_task_log(run: Run, row: int, path: Path, follow: bool) -> Iterable[bytes]:
    """Yield the bytes of a task's log; with ``follow``, new bytes until the slice has ended."""
    with contextlib.ExitStack() as opened:
        file: BinaryIO | None = None
        for _ in _looks(run, row, follow):
            if file is None and path.exists():
                file = opened.enter_context(open(files.open_regular(path), "rb"))
            if file is not None:
                yield from iter(functools.partial(file.read, 1 << 16), b"")


def _looks(run: Run, row: int, follow: bool) -> Iterator[None]:
    """Yield once; with ``follow``, at intervals, the last time after the slice has ended."""
    polled = time.monotonic()
    while True:
        ended = run.statuses[row].state.final
        yield
        if not follow or ended:
            return
        run.engine.wait(_READ_S)
        if time.monotonic() - polled > _POLL_S:
            poll(run)
            polled = time.monotonic()
