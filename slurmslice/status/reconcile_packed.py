"""The status of a slice that shares its array task with other slices. Pure.

Slurm reports the end of the task. The lines of the task show for which slices that report is true.
The rules have the order of ``docs/evidence.md``.
"""

from __future__ import annotations

import signal
from dataclasses import replace

from slurmslice.script.progress_lines import SlotProgress, TaskProgress, signal_number
from slurmslice.script.source_line import NOT_BEGUN_EXIT
from slurmslice.status.exit_reason import explain_code, report_from_progress, signal_reason
from slurmslice.status.observation import NO_JOB_STEPS, TaskReport
from slurmslice.status.peak_memory import with_own_peak
from slurmslice.status.reconcile import (
    ACCOUNTING_LAG_S,
    SliceEvidence,
    SliceStatus,
    await_result,
    reconcile,
    requeued_status,
)
from slurmslice.status.states import BEGUN_STATES, EvidenceSource, State

_ENDED_FROM_OUTSIDE = frozenset({signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGKILL})
"""Signals that Slurm, or the script for Slurm, sends to end a slice."""

FILE_VISIBLE_S = 60
"""Seconds until a file that a node has made is visible on other machines (nfs(5), acdirmax)."""

_SCRIPT_ENDED = frozenset({State.COMPLETED, State.FAILED})
"""Ends of a task that nobody ended. They do not explain a signal that a slice received."""


def reconcile_packed(
    known: SliceStatus,
    said: SliceEvidence,
    slot: int,
    wrote: TaskProgress,
    times_returned: int,
    *,
    has_log: bool = False,
) -> SliceStatus:
    """Return the status of a slice of a pack after one more poll.

    Args:
        known: its status before the poll; not final.
        said: the evidence of the poll about its array task, without progress.
        slot: the slice's place in the task, from 0.
        wrote: the lines that the task wrote in its newest restart.
        times_returned: the number of times that it was returned because its task ended before
            its turn.
        has_log: the slice's own log exists. The value matters only if ``is_unrecorded`` is true.
    """
    own = wrote.slots.get(slot, SlotProgress())
    if _has_ended_for_good(own):
        return _from_own_exit(known, own)
    restarts = max(known.restarts or 0, (said.queue and said.queue.restarts) or 0)
    if restarts > (wrote.restart or 0):
        own = SlotProgress()  # Slurm has requeued the task: the slice runs again with it
    began = SlotProgress() if wrote.slots else None
    task = reconcile(
        known, replace(said, progress=began, accounting=_without_steps(said.accounting))
    )
    if own.exit_code is not None:
        with_rounded_time = any(slot.oom_candidates for slot in wrote.slots.values())
        may_be_oom = own.oom_candidates is not None or not with_rounded_time
        return _ended_from_outside(known, own, task, said, may_be_oom=may_be_oom)
    if own.cancelled and task.state.final:
        return _from_own_exit(known, own)
    completed = task.state is State.COMPLETED and not _was_skipped(own, wrote)
    if completed and said.cancelled_at is not None and not _lines_are_visible(task, said):
        # Its line may be missing yet, and a task is COMPLETED although a slice was cancelled.
        return _await_lines(known, task)
    if completed or not task.state.final:
        return _with_running_task(task, own)
    unrecorded = has_log and is_unrecorded(slot, wrote)
    partial = wrote.slots and task.state is not State.COMPLETED  # COMPLETED: more lines must follow
    complete = (partial or wrote.setup_exit is not None) and not unrecorded
    if not (complete or _lines_are_visible(task, said)):
        return _await_lines(known, task)
    if _has_begun(own) or task.state is State.CANCELLED:
        return _ended_with_task(task, own)
    if unrecorded:
        return _unrecorded(task)
    if said.cancelled_at is not None:  # the person's request reached the task too late
        reason = f"cancelled before its start; its array task ended ({task.state}: {task.reason})"
        returned = _before_its_turn(task, wrote, 0)
        return replace(returned, state=State.CANCELLED, reason=reason)
    return _before_its_turn(task, wrote, times_returned)


def _await_lines(known: SliceStatus, task: SliceStatus) -> SliceStatus:
    reason = f"its task ended as {task.state}; the task's lines may not be visible here yet"
    return await_result(known, task.evidence, reason, began=known.state in BEGUN_STATES)


def is_unrecorded(slot: int, wrote: TaskProgress) -> bool:
    """Return whether no start of the task has written a line about the slice."""
    return slot not in wrote.slots and slot not in wrote.older_slots


def _has_begun(own: SlotProgress) -> bool:
    """Return whether a slice began. Any line of it proves that: a log may have lost others."""
    return own != SlotProgress()


def _was_skipped(own: SlotProgress, wrote: TaskProgress) -> bool:
    """Return whether the task wrote about other slices only. Then this slice cannot be done."""
    return bool(wrote.slots) and not _has_begun(own)


def _without_steps(report: TaskReport | None) -> TaskReport | None:
    # It is not known which slice ran a job step. So steps are neither fetched nor waited for.
    return report and replace(report, steps=NO_JOB_STEPS)


def _lines_are_visible(task: SliceStatus, said: SliceEvidence) -> bool:
    """Return whether all lines of an ended task must be visible here by now.

    A task that did not start wrote none.
    """
    return task.started_at is None or said.now - (task.ended_at or 0) >= FILE_VISIBLE_S


def requeued_status_packed(
    known: SliceStatus, queue: TaskReport | None, slot: int, wrote: TaskProgress
) -> SliceStatus | None:
    """Return the status of an ended slice of a pack that Slurm runs again.

    For slices without a pack it is ``reconcile.requeued_status``.

    A slice may have received a signal to end although its task continues: the controller has lost
    the request. Such a slice runs again with its task.

    Returns:
        None if Slurm does not run the slice again: it has ended for good, or it ended in this
        start of the task, which continues with other slices.
    """
    own = wrote.slots.get(slot, SlotProgress())
    restarts = queue.restarts or 0 if queue is not None else 0
    same_start = (
        own.exit_code is not None and not own.signal_received and restarts <= (wrote.restart or 0)
    )
    return None if same_start or _has_ended_for_good(own) else requeued_status(known, queue)


def _has_ended_for_good(own: SlotProgress) -> bool:
    """Return whether the script keeps the slice's end if Slurm restarts its task."""
    by_itself = not own.signal_received and signal_number(own.exit_code) not in _ENDED_FROM_OUTSIDE
    if own.cancelled and own.started_at is None:
        return True  # it never begins
    return own.exit_code is not None and (by_itself or own.timed_out or own.cancelled)


def _from_own_exit(known: SliceStatus, own: SlotProgress) -> SliceStatus:
    """Return the end by the slice's own lines (rules 1 and 4)."""
    own_end = replace(own, signal_received="")  # the signal did not end it
    report, evidence, reason = report_from_progress(own_end, cancelled=False)
    if own.oom_candidates and report.state is not State.OUT_OF_MEMORY and not own.timed_out:
        reason += (
            f"; the kernel killed a process of one of the {own.oom_candidates} slices that ran "
            "(out of memory)"
        )
    ended = _with_end(known, own, report.state, reason)
    return replace(ended, evidence=evidence, exit_code=report.exit_code)


def _ended_from_outside(
    known: SliceStatus,
    own: SlotProgress,
    task: SliceStatus,
    said: SliceEvidence,
    *,
    may_be_oom: bool,
) -> SliceStatus:
    """Return the end of a slice that a signal ended; its task shows the cause (rules 2 to 4).

    Args:
        known: its status before the poll.
        own: the lines about the slice.
        task: the status of its task.
        said: the evidence of the poll.
        may_be_oom: this slice may be the cause if its task is OUT_OF_MEMORY.
    """
    if task.state is State.WAITING:  # its runner has returned the task: it runs again
        return _with_running_task(task, own)
    number, final = signal_number(own.exit_code), task.state.final
    if final and task.state not in _SCRIPT_ENDED:
        oom = task.state is State.OUT_OF_MEMORY
        if not oom or (number == signal.SIGKILL and may_be_oom):
            return _ended_with_task(task, own)
    if not final and not _cause_stays_unknown(own, said):
        how = signal_reason(own) if own.signal_received else f"ended by signal {number}"
        reason = f"{how}; the cause is known after its task ends"
        open_task = _with_running_task(task, own)
        began = open_task.state in BEGUN_STATES
        return await_result(open_task, open_task.evidence, reason, began=began)
    ended = _from_own_exit(known, own)
    if own.signal_received:
        report, _, reason = report_from_progress(own, cancelled=said.cancelled_at is not None)
        ended = _with_end(known, own, report.state, reason)
    task_end = f"; its array task ended {task.state}" if final else ""
    return replace(ended, reason=ended.reason + task_end)


def _cause_stays_unknown(own: SlotProgress, said: SliceEvidence) -> bool:
    """Return whether no source will report any more what ended the slice."""
    if said.queue is not None or said.queue_silence or said.other_job:
        return False
    if said.accounting_off:
        return True
    absent = said.accounting is None and not said.accounting_silence
    return absent and said.now - (own.ended_at or said.now) >= ACCOUNTING_LAG_S


def _with_running_task(task: SliceStatus, own: SlotProgress) -> SliceStatus:
    """Return the status if its task runs, is pending, or ended with all slices done (rule 5)."""
    if task.state.final:
        return _ended_with_task(task, own)
    if task.state in {State.RUNNING, State.COMPLETING} and not _has_begun(own):
        reason = "waits for its turn in its array task"
        if task.state is State.COMPLETING:
            reason = f"it has not begun, and its array task is COMPLETING: {task.reason}"
        return replace(task, state=State.PENDING, started_at=None, elapsed_s=None, reason=reason)
    # The task's elapsed time is not the slice's.
    return replace(task, started_at=own.started_at or task.started_at, elapsed_s=own.elapsed_s)


def _ended_with_task(task: SliceStatus, own: SlotProgress) -> SliceStatus:
    """Return the end of a slice that ended with its task (rule 6).

    Times and the exit code are the slice's own. The task's exit code is that of all its slices.
    Memory is what the task measured for the slice. Accounting's is that of the whole task.
    """
    code, signal_sent = own.exit_code, None
    if code is None:
        code, signal_sent = task.exit_code if task.state is State.COMPLETED else None, task.signal
    if task.state is State.FAILED and own.exit_code is None:
        reason = f"its array task ended ({task.reason}), and it has written no end line"
        task = replace(task, reason=reason)
    ended = replace(
        task,
        exit_code=code,
        signal=signal_sent,
        started_at=own.started_at,
        elapsed_s=_elapsed(own, own.started_at, own.ended_at or task.ended_at),
        cpu_s=own.cpu_s,
        max_rss_bytes=None,
        peak_samples=None,
        peak_with_cache_bytes=None,
    )
    return with_own_peak(ended, own, ended.state)


def _unrecorded(task: SliceStatus) -> SliceStatus:
    """Return the end of a slice that began and whose progress lines are lost (rule 7).

    The task exits 0 only if all slices are done. After any other exit the slice may be done or
    not. It is not returned, because then it would run again without a request.
    """
    ended = _ended_with_task(task, SlotProgress())
    if task.state is State.COMPLETED:
        return ended
    reason = (
        f"it began, its array task ended ({task.state}: {task.reason}), and its progress lines are "
        "lost: it is not known if it was done"
    )
    return replace(ended, state=State.FAILED, reason=reason, exit_code=None, signal=None)


def _before_its_turn(task: SliceStatus, wrote: TaskProgress, times_returned: int) -> SliceStatus:
    """Return a slice to WAITING (rule 8), or fail it the second time no slice began (rule 9)."""
    how = "its array task ended before its turn"
    if wrote.setup_exit is not None:
        how = f"setup exited {explain_code(wrote.setup_exit)}"
    elif task.exit_code == NOT_BEGUN_EXIT and wrote.restart is None:
        how = "not begun: slurmslice.sh could not be read"
    reason = f"{how} ({task.state}: {task.reason})"
    if not wrote.slots and times_returned:
        return replace(task, state=State.FAILED, reason=reason, started_at=None, elapsed_s=None)
    return replace(
        task, state=State.WAITING, reason=reason, started_at=None, ended_at=None, exit_code=None,
        signal=None, elapsed_s=None,
    )  # fmt: skip


def _with_end(known: SliceStatus, own: SlotProgress, state: State, reason: str) -> SliceStatus:
    ended = replace(
        known,
        state=state,
        evidence=EvidenceSource.PROGRESS,
        reason=reason,
        exit_code=own.exit_code,
        started_at=own.started_at or known.started_at,
        ended_at=own.ended_at,
        elapsed_s=_elapsed(own, own.started_at or known.started_at, own.ended_at),
        cpu_s=own.cpu_s,
        max_rss_bytes=None,
        peak_samples=None,
        peak_with_cache_bytes=None,
        node=own.host,
    )
    return with_own_peak(ended, own, state)


def _elapsed(own: SlotProgress, started: int | None, ended: int | None) -> float | None:
    """Return the slice's wall-clock time, seconds; if it has not measured it, by the times given.

    Those are whole seconds, so a difference of 0 is no measurement.
    """
    if own.elapsed_s is not None or started is None or ended is None:
        return own.elapsed_s
    return float(ended - started) if ended > started else None
