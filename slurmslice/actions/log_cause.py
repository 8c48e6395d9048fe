"""Find the named cause of a failure at the end of the slice's log."""

from __future__ import annotations

import contextlib
from dataclasses import replace

from slurmslice.errors import SlurmsliceError
from slurmslice.policy.log_causes import LOG_TAIL_BYTES, find_cause
from slurmslice.run.run import Run
from slurmslice.run.slice_logs import SliceLog
from slurmslice.run.submission import Submission
from slurmslice.status.reconcile import SliceStatus
from slurmslice.status.states import State

_BY_LOG = frozenset({State.FAILED, State.CHECK_FAILED})
"""States that do not tell the cause themselves."""


def with_log_cause(run: Run, submission: Submission, row: int, status: SliceStatus) -> SliceStatus:
    """Return a status with the cause that the end of the slice's log names.

    A reason that the program wrote itself counts as the last line. A log that cannot be read names
    no cause.
    """
    if status.state not in _BY_LOG:
        return replace(status, log_cause="") if status.log_cause else status
    log = SliceLog.of(run, submission, row)
    tail = b""
    with contextlib.suppress(OSError, SlurmsliceError):
        tail = log.tail(LOG_TAIL_BYTES)
    if reason := log.read_reason(LOG_TAIL_BYTES):
        tail += b"\n" + reason
    return replace(status, log_cause=find_cause(tail, run.record.cause))
