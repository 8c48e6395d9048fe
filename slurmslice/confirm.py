"""The end of a task by Slurm's word, compared with what its script wrote. Pure.

Slurm knows how ``script.sh`` ended, and not whether its library ran: the library is no part of what
Slurm spools. If it is missing or cut, the script exits 125; if it was exchanged, it may exit 0. So
COMPLETED is believed only of a task that has shown that its slice began, and exit 125 of a task
that has shown nothing means that it has not begun.
"""

from __future__ import annotations

from dataclasses import replace

from slurmslice.judge import Standing
from slurmslice.packed import VISIBLE_S
from slurmslice.progress import SlotProgress, TaskProgress
from slurmslice.source_line import NOT_BEGUN_EXIT
from slurmslice.states import Evidence, State


def needs_confirmation(found: Standing) -> bool:
    """Whether a state rests on the exit code of a script whose library may not have run."""
    by_slurm = found.evidence in {Evidence.ACCOUNTING, Evidence.QUEUE}
    return by_slurm and (
        found.state is State.COMPLETED
        or (found.state is State.FAILED and found.exit_code == NOT_BEGUN_EXIT)
    )


def confirm(
    known: Standing,
    found: Standing,
    wrote: TaskProgress | None,
    slot: int,
    now: float,
    *,
    has_log: bool,
    times_returned: int,
) -> Standing:
    """The standing of a slice after a look at what its task wrote.

    Args:
        known: what was known before.
        found: the standing by Slurm's word; one that ``needs_confirmation``.
        wrote: what the task wrote; None if its log is not there.
        slot: the slice's place in the task, from 0.
        now: epoch seconds.
        has_log: the slice's own log is there.
        times_returned: how often the slice was given back, because its task had not begun.
    """
    own = (wrote and wrote.slots.get(slot)) or SlotProgress()
    of_this_start = own.restart >= (found.restarts or 0)
    contradicted = found.state is State.COMPLETED and bool(own.exit_code) and of_this_start
    in_setup = wrote is not None and wrote.setup_exit is not None
    began = (bool(wrote and wrote.slots) or has_log) and not in_setup
    if began and not contradicted:
        return found
    if now - (found.ended_at or 0) < VISIBLE_S:
        return replace(known, reason=f"{found.state}; what its task wrote may not be seen here yet")
    if found.state is State.FAILED:
        return found if in_setup else _not_begun(found, times_returned)
    if wrote is None:
        return found  # a log that is gone says nothing
    reason = _CONTRADICTED if contradicted else _NOT_RUN
    return replace(
        found,
        state=State.FAILED,
        evidence=Evidence.PROGRESS,
        reason=reason,
        exit_code=own.exit_code,
    )


_CONTRADICTED = "its script exited 0, but what its task wrote says that the slice failed"
_NOT_RUN = "the command was not run: its script exited 0 without a line of slurmslice.sh"


def _not_begun(found: Standing, times_returned: int) -> Standing:
    """Not begun uses no attempt; for the second time it counts, or it would go on without end."""
    reason = f"not begun: slurmslice.sh could not be read on {found.node or 'its node'}"
    if times_returned:
        return replace(found, reason=f"{reason}, for the second time")
    return replace(
        found, state=State.WAITING, reason=reason, started_at=None, ended_at=None, exit_code=None,
        elapsed_s=None,
    )  # fmt: skip


def unconfirmed(known: Standing, found: Standing, fault: str) -> Standing:
    """A slice whose library is not as it was made: what the task ran is not known."""
    if found.state is not State.COMPLETED:
        return found
    return replace(known, reason=f"COMPLETED, but what ran is not known: slurmslice.sh {fault}")
