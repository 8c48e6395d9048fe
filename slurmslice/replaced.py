"""A script that exits 0 before its command: replaced by its setup, or by a person's template. Pure.

Slurm then calls the task COMPLETED. What tells it from a command that was done is that the script
has not written that a slice began.
"""

from __future__ import annotations

import re
from dataclasses import replace

from slurmslice.judge import Standing
from slurmslice.packed import VISIBLE_S
from slurmslice.progress import parse
from slurmslice.states import Evidence, State

_EXEC = re.compile(
    r"(?:^|[;&|{]|\b(?:then|do|else))\s*exec\s+(?!\d*[<>&]|\{\w+\}[<>])\S", re.MULTILINE
)


def runs_another(setup: str) -> bool:
    """Whether a shell text has a plain ``exec`` that runs a program; others redirect (bash(1)).

    For a warning: there are other ways to say it.
    """
    return _EXEC.search(setup) is not None


def looked_for(
    known: Standing, found: Standing, log: bytes | None, job: str | None, now: float
) -> Standing:
    """The standing of a slice that is COMPLETED, by a script that may have ended too early.

    Args:
        known: what was known before.
        found: the standing, COMPLETED by the word of Slurm.
        log: what its task put out; None where there is no such file, which says nothing.
        job: the array's job id.
        now: epoch seconds.
    """
    if parse(log or b"", job).restart is not None:
        return found
    if now - (found.ended_at or 0) < VISIBLE_S:
        return replace(known, reason="COMPLETED; that its slice began may not be seen here yet")
    if log is None:
        return found
    return replace(found, state=State.FAILED, evidence=Evidence.PROGRESS, reason=_REPLACED)


_REPLACED = (
    "the command was not run: its script had exited 0 before, or given its place away (exec)"
)
