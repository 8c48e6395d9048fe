"""Look at the log of a slice again and again, until the slice has ended."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from time import sleep

from slurmslice.actions.poll import poll
from slurmslice.run.run import Run
from slurmslice.run.submission import Submission
from slurmslice.script.progress_lines import parse_progress

_READ_S = 0.5
"""Seconds between two looks at the log."""

_POLL_S, _POLL_AT_END_S = 10.0, 1.0
"""Seconds between two polls of the slice's state: while it runs, and after it wrote its end."""


def newest_submission(run: Run, row: int) -> Submission | None:
    """Return the submission with a slice's newest log; None if it was never submitted."""
    return run.journal_state.submission_of(row) or run.journal_state.last_submission_of(row)


def looks(run: Run, row: int, number: int) -> Iterator[None]:
    """Yield at intervals; the last time after the slice has ended or was submitted again.

    This process only sleeps between two looks, because ``engine.wait`` might run tasks here.

    Args:
        run: the run.
        row: the slice.
        number: the submission whose log is read.
    """
    polled, has_ended = time.monotonic(), _EndLine(run, row, number)
    while True:
        newest = newest_submission(run, row)
        is_over = run.statuses[row].state.final or newest is None or newest.number != number
        yield
        if is_over:
            return
        sleep(_READ_S)
        pause = _POLL_AT_END_S if has_ended() else _POLL_S
        if time.monotonic() - polled >= pause:
            poll(run)
            polled = time.monotonic()


class _EndLine:
    """Tells if a slice has written the line of its end. It reads a log only if it has grown."""

    def __init__(self, run: Run, row: int, number: int) -> None:
        self._run, self._submission = run, run.journal_state.submissions[number]
        self._index, self._slot = self._submission.places[row]
        self._size = 0
        self._found = run.engine.runs_in_process  # there a poll is as cheap as a look

    def __call__(self) -> bool:
        path = self._run.directory.task_log_path(self._submission.number, self._index)
        with contextlib.suppress(OSError):
            size = path.stat().st_size
            if not self._found and size != self._size:
                self._size, self._found = size, self._is_there()
        return self._found

    def _is_there(self) -> bool:
        log = self._run.directory.read_task_log(self._submission.number, self._index)
        own = parse_progress(log or b"", self._submission.job).slots.get(self._slot)
        return own is not None and own.ended_at is not None
