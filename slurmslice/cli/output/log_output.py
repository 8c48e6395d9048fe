"""The output of a slice on stdout: its log or that of its array task, or a note on its absence."""

from __future__ import annotations

import contextlib
import functools
import os
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from slurmslice.actions.log_watch import looks
from slurmslice.cli.output.console import emit_note, print_line, printable_line, write_data
from slurmslice.cli.output.preview import relative_path
from slurmslice.run.run import Run
from slurmslice.run.slice_logs import SliceLog
from slurmslice.run.submission import Submission
from slurmslice.script.progress_lines import parse_progress, remove_other_slices
from slurmslice.system import files


@dataclass(frozen=True, slots=True)
class LogRequest:
    """The requested parts of the logs.

    Attributes:
        task: the array task's log instead of the slice's.
        only_path: only the paths of the files.
        follow: new output until the slice has ended.
        tail: only so many last lines of each log; None for all.
        headers: a header in the data names each slice, because there are several; otherwise a
            note on stderr names it.
    """

    task: bool
    only_path: bool
    follow: bool
    headers: bool
    tail: int | None = None


def show_log(
    run: Run,
    row: int,
    submission: Submission,
    request: LogRequest,
    how: str,
    *,
    alone: bool = False,
) -> None:
    """Print one log with a header or a note, or print its path.

    ``alone`` removes the lines about other slices of the pack from a task's log.
    """
    log = slice_log(run, row, submission)
    file = log.file(ended=_has_ended(run, row, submission))
    path = _task_log_path(run, row, submission) if request.task else file or log.own
    if request.only_path:
        if path.exists() or (file and not request.task):
            paths = [path, *([log.error] if log.error and not request.task else [])]
            write_data(os.fsencode(one) + b"\n" for one in paths)
        if not path.exists():
            _explain_missing(run, row, submission, request)
        return
    key = run.table.keys[row]
    title = f"{printable_line(key)}: {relative_path(path)}  ({how})"
    print_line(f"==> {title} <==") if request.headers else emit_note(
        "log-of", title, key=key, path=path
    )
    if request.task:
        _show_task_log(run, row, submission, path, request, alone=alone)
        return
    pieces = _last_lines(_read_log(run, row, submission, log, request.follow), request.tail)
    write_data(_with_line_end(pieces) if request.headers else pieces)
    if not log.has_output:
        explain_no_output(run, row, submission)


def _show_task_log(
    run: Run, row: int, submission: Submission, path: Path, request: LogRequest, *, alone: bool
) -> None:
    """Print the log of a slice's array task; if it has none, the lines of this machine's worker."""
    pieces = _last_lines(_read_task_log(run, row, submission, path, request.follow), request.tail)
    if submission.intent.pack > 1 and not alone:
        _note_slots(run, row, submission)
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
        _note_no_task_log(path)


def _note_no_task_log(path: Path) -> None:
    message = "The log does not exist: the array task wrote nothing, or the log was deleted."
    emit_note("no-task-log", message, path=path)


def _note_slots(run: Run, row: int, submission: Submission) -> None:
    """Name the slices of an array task: its log has only their slots."""
    rows = submission.rows_of_task[submission.array_index_of(row)]
    keys = {slot: printable_line(run.table.keys[one]) for slot, one in enumerate(rows)}
    shown = ", ".join(f"slot={slot} is {key}" for slot, key in islice(keys.items(), _MOST_SLOTS))
    more = f", and {len(keys) - _MOST_SLOTS} more" if len(keys) > _MOST_SLOTS else ""
    own = submission.places[row][1]
    if own >= _MOST_SLOTS:
        more += f"; slot={own} is {keys[own]}"
    emit_note("slots-of-task", f"The slices of this task: {shown}{more}", slots=keys)


_MOST_SLOTS = 20
"""The number of slices that the note on a task's log names."""


def _explain_missing(run: Run, row: int, submission: Submission, request: LogRequest) -> None:
    """Note why a log that was asked for by ``--path`` is not there."""
    if request.task:
        _note_no_task_log(_task_log_path(run, row, submission))
    else:
        explain_no_output(run, row, submission)


def _last_lines(pieces: Iterable[bytes], number: int | None) -> Iterable[bytes]:
    """Return the last lines of a text, or all of it; no more than these are kept in memory."""
    if number is None:
        return pieces
    lines, rest = deque[bytes](maxlen=number), b""
    for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        lines.extend(one + b"\n" for one in whole)
    if rest:
        lines.append(rest)
    return tuple(lines)


def _with_line_end(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield these pieces, and a line end if the last one lacks it."""
    last = b"\n"
    for piece in pieces:
        yield piece
        last = piece[-1:] or last
    if last != b"\n":
        yield b"\n"


def slice_log(run: Run, row: int, submission: Submission) -> SliceLog:
    """Return the log of a slice in a submission."""
    return SliceLog.of(run, submission, row)


def _task_log_path(run: Run, row: int, submission: Submission) -> Path:
    return run.directory.task_log_path(submission.number, submission.array_index_of(row))


def explain_no_output(run: Run, row: int, submission: Submission, more: str = "") -> None:
    """Note the reason: the slice wrote nothing, or its log was deleted, moved or not kept."""
    own = slice_log(run, row, submission)
    if own.dropped:
        message = "Its log was not kept: --keep-logs failed keeps only the logs of failed slices."
        emit_note("log-not-kept", message)
    elif own.own.is_char_device():
        message = f"Its output went to {relative_path(own.own)}. {more}".rstrip()
        emit_note("output-discarded", message, path=own.own)
    elif not own.exists and has_start_line(
        run, row, submission
    ):  # a task creates the log before the command
        gone = f"The slice began, but its log {relative_path(own.own)} was deleted or moved. {more}"
        emit_note("log-gone", gone.rstrip(), path=own.own)
    elif _has_ended(run, row, submission):
        emit_note("slice-wrote-nothing", f"The slice itself wrote nothing. {more}".rstrip())
    else:
        emit_note("no-output-yet", "The slice has written nothing yet.")


def _has_ended(run: Run, row: int, submission: Submission) -> bool:
    """Tell if a slice writes nothing more in a submission."""
    return run.statuses[row].state.final or submission.number != run.journal_state.holder[row]


def has_start_line(run: Run, row: int, submission: Submission) -> bool:
    """Tell if a slice has written a start line in a submission."""
    index, slot = submission.places[row]
    log = run.directory.read_task_log(submission.number, index)
    wrote = parse_progress(log or _worker_lines(run, row, submission), submission.job)
    return slot in wrote.slots and wrote.slots[slot].started_at is not None


def _worker_lines(run: Run, row: int, submission: Submission) -> bytes:
    """Return the lines about a task that the workers of this machine wrote."""
    return run.directory.read_worker_lines(submission.number, submission.array_index_of(row))


def _read_log(
    run: Run, row: int, submission: Submission, log: SliceLog, follow: bool
) -> Iterator[bytes]:
    """Yield the bytes of a slice's log; with ``follow``, new bytes until the slice has ended.

    If its standard error has a file of its own, that comes after its standard output.
    """
    printed = [0, 0]
    for _ in looks(run, row, submission.number) if follow else (None,):
        if follow:  # the task names the files when it begins
            log = slice_log(run, row, submission)
        for which, stream in enumerate(log.streams()):
            for piece in stream(printed[which]):
                yield piece
                printed[which] += len(piece)


def _read_task_log(
    run: Run, row: int, submission: Submission, path: Path, follow: bool
) -> Iterable[bytes]:
    """Yield the bytes of a task's log; with ``follow``, new bytes until the slice has ended."""
    with contextlib.ExitStack() as opened:
        file: BinaryIO | None = None
        for _ in looks(run, row, submission.number) if follow else (None,):
            if file is None and path.exists():
                file = opened.enter_context(open(files.open_regular(path), "rb"))
            if file is not None:
                yield from iter(functools.partial(file.read, 1 << 16), b"")
