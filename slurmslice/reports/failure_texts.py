"""The messages of failed slices in their logs, read once and kept in a cache (ADR 43)."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable
from functools import cached_property

from slurmslice.errors import SlurmsliceError
from slurmslice.policy.causes import cause_of
from slurmslice.policy.failure_signature import (
    NO_SIGNATURE,
    LogSignature,
    cause_signature,
    log_signature,
    needs_log,
)
from slurmslice.policy.log_causes import LOG_TAIL_BYTES
from slurmslice.policy.signatures import SliceValues, common_words, own_values
from slurmslice.run.failure_cache import KnownFailure, read_failures, write_failures
from slurmslice.run.run import Run
from slurmslice.run.slice_logs import SliceLog
from slurmslice.status.reconcile import SliceStatus

_OF_LIBRARY = re.compile(
    rb"^(?:slurmslice [a-z-]+ (?:job|bytes)=|[^\n]*/slurmslice\.sh: line ).*\n?", re.MULTILINE
)
"""Progress lines, and what bash says about a signal in a line of the library."""


def cached_failures(run: Run) -> dict[int, KnownFailure]:
    """Return what is known of the newest attempts of failed slices, by row. It reads no log."""
    known, statuses = read_failures(run.directory), run.statuses
    return {
        row: found
        for row in (run.failed_rows if known else ())
        if (found := known.get(row)) and _is_of(found, statuses[row])
    }


def _is_of(known: KnownFailure, status: SliceStatus) -> bool:
    return known.submission == status.submission and known.cause == cause_of(status)


class FailureTexts:
    """The signatures of the failed slices of a run. Accepted failures are none of them.

    Args:
        run: the run.
        on_look: is called before each slice, with the number of those before it and of all.

    Attributes:
        before: what was known before, by row.
        now: what is known now, by row.
        read: the number of logs that were read.
    """

    def __init__(self, run: Run, on_look: Callable[[int, int], None] | None = None) -> None:
        self._run = run
        self.before = cached_failures(run)
        self.read = 0
        self.now: dict[int, KnownFailure] = {}
        failed = run.failed_rows
        for number, row in enumerate(failed):
            if on_look:
                on_look(number, len(failed))
            self.now[row] = self._look(row)
        if self.now != self.before:
            write_failures(run.directory, self.now.values())

    def _look(self, row: int) -> KnownFailure:
        status, known = self._run.statuses[row], self.before.get(row)
        cause, submission = cause_of(status), self._run.journal_state.submission_of(row)
        if not needs_log(cause) or submission is None:
            told = cause_signature(cause) if not needs_log(cause) else NO_SIGNATURE
            return KnownFailure(row, status.submission, cause, "", told.signature, told.line)
        log = SliceLog.of(self._run, submission, row)
        stamp = log.stamp()
        if known and known.files == stamp:
            return known
        self.read += 1
        found = self._signature(row, cause, log, status)
        return KnownFailure(row, status.submission, cause, stamp, found.signature, found.line)

    def _signature(self, row: int, cause: str, log: SliceLog, status: SliceStatus) -> LogSignature:
        tail, reason = b"", log.read_reason(LOG_TAIL_BYTES)
        with contextlib.suppress(OSError, SlurmsliceError):
            tail = log.tail(LOG_TAIL_BYTES)
        own, values = self._run.record.cause, self._values(row, status.node)
        found = log_signature(tail, cause, values, own, reason)
        if found is None and (cause == "setup" or not log.packed):
            found = log_signature(_task_text(log), cause, values, own)
        return found or NO_SIGNATURE

    def _values(self, row: int, node: str | None) -> SliceValues:
        table = self._run.table
        columns = list(zip(table.columns, table.column_values(row), strict=True))
        hosts = (node, node.split(".", 1)[0]) if node else ()
        return SliceValues(own_values(table.keys[row], columns), self._words, hosts)

    @cached_property
    def _words(self) -> dict[str, str]:
        table = self._run.table
        named = [("key", table.values("")), *((name, table.values(name)) for name in table.columns)]
        return common_words(named)


def _task_text(log: SliceLog) -> bytes:
    """Return what Slurm and the setup wrote into the log of the array task."""
    with contextlib.suppress(OSError, SlurmsliceError):
        return _OF_LIBRARY.sub(b"", log.task_tail(LOG_TAIL_BYTES))
    return b""


def joined_since(texts: FailureTexts, rows: Iterable[int]) -> list[int]:
    """Return those of some rows that were not known before; none if nothing was known."""
    return [row for row in rows if row not in texts.before] if texts.before else []
