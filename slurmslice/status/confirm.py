"""Confirmation of Slurm's end of a task by the lines that its script wrote. Pure.

Slurm knows the exit code of ``script.sh``. It does not spool the library, so it cannot know if the
library ran. The script exits 125 if the library is missing or cut. It may exit 0 if somebody
replaced the library. So COMPLETED counts only if the task's lines or logs prove that its slice
began. Exit 125 without any such proof means "not begun".

Accounting may also lose exit codes (seen: a FAILED task recorded as COMPLETED 0:0). So COMPLETED
never counts against the task's own lines.
"""

from __future__ import annotations

from dataclasses import replace

from slurmslice.script.progress_lines import SlotProgress, TaskProgress, setup_progress
from slurmslice.script.source_line import NOT_BEGUN_EXIT
from slurmslice.status.exit_reason import report_from_progress
from slurmslice.status.peak_memory import with_own_peak
from slurmslice.status.reconcile import SliceStatus, await_result
from slurmslice.status.reconcile_packed import FILE_VISIBLE_S
from slurmslice.status.states import EvidenceSource, State


def needs_confirmation(found: SliceStatus) -> bool:
    """Return whether a status rests on the exit code of a script whose library may not have run."""
    by_slurm = found.evidence in {EvidenceSource.ACCOUNTING, EvidenceSource.QUEUE}
    return by_slurm and (
        found.state is State.COMPLETED
        or (found.state is State.FAILED and found.exit_code == NOT_BEGUN_EXIT)
    )


def confirm_exit(
    known: SliceStatus,
    found: SliceStatus,
    wrote: TaskProgress | None,
    slot: int,
    now: float,
    *,
    has_log: bool,
    times_returned: int,
    cancelled: bool = False,
) -> SliceStatus:
    """Compare Slurm's report of an end with the task's own lines; return the slice's status.

    Args:
        known: its status before the poll.
        found: its status by Slurm's report; ``needs_confirmation`` is true for it.
        wrote: the lines that the task wrote; None if its log does not exist.
        slot: the slice's place in the task, from 0.
        now: epoch seconds.
        has_log: the slice's own log exists.
        times_returned: the number of times that it was returned because its task had not begun.
        cancelled: a person cancelled the slice with slurmslice.
    """
    in_setup = wrote is not None and wrote.setup_exit is not None
    own = _own_lines(wrote, slot)
    contradicted = None if own is None else contradiction(found, own, cancelled=cancelled)
    began = (bool(wrote and wrote.slots) or has_log) and not in_setup
    if began and contradicted is None:
        return with_own_peak(found, own, found.state)
    if now - (found.ended_at or 0) < FILE_VISIBLE_S:
        reason = f"its task ended as {found.state}; the task's lines may not be visible here yet"
        return await_result(known, found.evidence, reason, began=True)
    if wrote is None:
        return found  # a missing task log proves nothing
    if found.state is State.FAILED:
        return found if in_setup else _not_begun(found, times_returned)
    not_run = replace(
        found, state=State.FAILED, evidence=EvidenceSource.PROGRESS, reason=_NOT_RUN, exit_code=None
    )
    return contradicted or not_run


_NOT_RUN = "the command was not run: the script exited 0 without a line of slurmslice.sh"


def _own_lines(wrote: TaskProgress | None, slot: int) -> SlotProgress | None:
    """Return the newest lines about a slice; those of a failed setup are about each slice."""
    if wrote is None:
        return None
    return wrote.slots.get(slot) if wrote.setup_exit is None else setup_progress(wrote)


def contradiction(found: SliceStatus, own: SlotProgress, *, cancelled: bool) -> SliceStatus | None:
    """Return the status by a slice's own lines, if they contradict COMPLETED.

    The lines may lack the end: a check that failed, a time limit or a kill for memory is enough.

    Args:
        found: its status by Slurm's report.
        own: the lines about the slice.
        cancelled: a person cancelled the slice with slurmslice.

    Returns:
        None if ``found`` is not COMPLETED, if the lines are of an older start, or if they agree.
    """
    if found.state is not State.COMPLETED or own.restart < (found.restarts or 0):
        return None
    report, evidence, reason = report_from_progress(own, cancelled=cancelled)
    if report.state is State.COMPLETED:
        return None
    return replace(
        found,
        state=report.state,
        evidence=evidence,
        reason=f"{reason}, by its own progress lines; COMPLETED in {found.evidence}",
        exit_code=report.exit_code,
    )


def _not_begun(found: SliceStatus, times_returned: int) -> SliceStatus:
    """Return the slice without using an attempt. The second time it fails: retries must end."""
    reason = f"not begun: slurmslice.sh could not be read on {found.node or 'its node'}"
    if times_returned:
        return replace(found, reason=f"{reason}, for the second time")
    return replace(
        found, state=State.WAITING, reason=reason, started_at=None, ended_at=None, exit_code=None,
        elapsed_s=None,
    )  # fmt: skip


def withhold_completed(known: SliceStatus, found: SliceStatus, fault: str) -> SliceStatus:
    """Withhold COMPLETED while the library differs from the rendered one.

    It is then not known what the task ran. Other states pass unchanged.

    Args:
        known: the slice's status before the poll.
        found: its status by Slurm's report.
        fault: the difference, in words (``has changed``).
    """
    if found.state is not State.COMPLETED:
        return found
    reason = f"its task ended as {found.state}, but slurmslice.sh {fault}"
    return await_result(known, found.evidence, reason, began=True)
