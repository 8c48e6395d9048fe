"""A script that exits 0 before its command: replaced by its setup, or by a person's template. Pure.

Slurm then calls the task COMPLETED. What tells it from a command that was done is that no slice
began: the script has written of none, and the slice's own log, which its process makes as the first
thing that it does, is not there.
"""

from __future__ import annotations

import re
from dataclasses import replace

from slurmslice.judge import Standing
from slurmslice.packed import VISIBLE_S
from slurmslice.states import Evidence, State

_EXEC = re.compile(
    r"(?:^|[;&|{]|\b(?:then|do|else))\s*exec\s+(?!\d*[<>&]|\{\w+\}[<>])\S", re.MULTILINE
)


def runs_another(setup: str) -> bool:
    """Whether a shell text has a plain ``exec`` that runs a program; others redirect (bash(1)).

    For a warning: there are other ways to say it.
    """
    return _EXEC.search(setup) is not None


def looked_for(known: Standing, found: Standing, began: bool | None, now: float) -> Standing:
    """The standing of a slice that is COMPLETED, by a script that may have ended too early.

    Args:
        known: what was known before.
        found: the standing, COMPLETED by the word of Slurm.
        began: whether a slice began, as its task's output or the slice's own log shows; None
            where there is neither, which says nothing.
        now: epoch seconds.
    """
    if began:
        return found
    if now - (found.ended_at or 0) < VISIBLE_S:
        return replace(known, reason="COMPLETED; that its slice began may not be seen here yet")
    if began is None:
        return found
    return replace(found, state=State.FAILED, evidence=Evidence.PROGRESS, reason=_REPLACED)


_REPLACED = (
    "the command was not run: its script had exited 0 before, or given its place away (exec)"
)
