"""The standing of a slice that shares its array task with others. Pure.

What Slurm says is of the task; which slice it is true of is in what the task wrote. The rules
stand in ``docs/evidence.md``, in this order.
"""

from __future__ import annotations

import signal
from dataclasses import replace

from slurmslice.ends import by_check, by_own_word, explain, told_to_end
from slurmslice.evidence import NO_STEPS, TaskReport
from slurmslice.judge import GRACE_S, Hearing, Standing, judge, reopened
from slurmslice.progress import SlotProgress, TaskProgress, signal_of
from slurmslice.source_line import NOT_BEGUN_EXIT
from slurmslice.states import Evidence, State

_ENDED_FROM_OUTSIDE = frozenset({signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGKILL})
"""Signals by which Slurm, or the script on its behalf, ends a slice."""


def judge_packed(
    known: Standing,
    said: Hearing,
    slot: int,
    wrote: TaskProgress,
    times_returned: int,
    *,
    has_log: bool = False,
) -> Standing:
    """The standing of a slice of a pack after one more poll. ``known`` is not final.

    Args:
        known: what was known.
        said: what the poll says of its array task, without progress.
        slot: the slice's place in the task, from 0.
        wrote: what the task wrote, in its newest restart.
        times_returned: how often the slice was given back, since its task ended before its turn.
        has_log: the slice's own log is there. Asked for where ``unheard`` says so.
    """
    own = wrote.slots.get(slot, SlotProgress())
    if _for_good(own):
        return _by_exit(known, own)
    restarts = max(known.restarts or 0, (said.queue and said.queue.restarts) or 0)
    if restarts > (wrote.restart or 0):
        own = SlotProgress()  # Slurm has put the task back: it runs again with it
    began = SlotProgress() if wrote.slots else None
    task = judge(known, replace(said, progress=began, accounting=_without_steps(said.accounting)))
    if own.exit_code is not None:
        counted = any(slot.lost_among for slot in wrote.slots.values())
        starved = own.lost_among is not None or not counted
        return _by_signal(known, own, task, said, starved=starved)
    if not task.state.final or (task.state is State.COMPLETED and not _left_out(own, wrote)):
        return _in_turn(task, own)
    lost = has_log and unheard(slot, wrote)
    some = wrote.slots and task.state is not State.COMPLETED  # then the rest is still to be seen
    whole = (some or wrote.setup_exit is not None) and not lost
    if not (whole or _is_visible(task, said)):
        return replace(known, reason=f"{task.state}; what its task wrote may not be seen here yet")
    if _began(own) or task.state is State.CANCELLED:
        return _within(task, own)
    return _unrecorded(task) if lost else _before_its_turn(task, wrote, times_returned)


def unheard(slot: int, wrote: TaskProgress) -> bool:
    """Whether a task has not written a word of a slice, in no start of it."""
    return slot not in wrote.slots and slot not in wrote.older


def _began(own: SlotProgress) -> bool:
    """Whether a slice began: any line of it says so, as a log may have lost some."""
    return own != SlotProgress()


def _left_out(own: SlotProgress, wrote: TaskProgress) -> bool:
    """Whether a task wrote of other slices and not that this one began: it cannot be done."""
    return bool(wrote.slots) and not _began(own)


def _without_steps(report: TaskReport | None) -> TaskReport | None:
    # Which slice a job step was of is not known: they are not asked for, nor waited for.
    return report and replace(report, steps=NO_STEPS)


VISIBLE_S = 60
"""How long a file that a node has made may be missing elsewhere, seconds (nfs(5), acdirmax)."""


def _is_visible(task: Standing, said: Hearing) -> bool:
    """Whether what a task that has ended wrote must be seen by now. Unbegun it wrote nothing."""
    return task.started_at is None or said.now - (task.ended_at or 0) >= VISIBLE_S


def reopened_packed(
    known: Standing, queue: TaskReport | None, slot: int, wrote: TaskProgress
) -> Standing | None:
    """The standing of a slice that had ended and that Slurm runs again, as ``judge.reopened``.

    None too where it has ended for good, or in a start of the task that goes on with others. Where
    it was told to end and the task goes on, the controller has lost the word: it runs again with
    the task.
    """
    own = wrote.slots.get(slot, SlotProgress())
    restarts = queue.restarts or 0 if queue is not None else 0
    goes_on = own.exit_code is not None and not own.told and restarts <= (wrote.restart or 0)
    return None if goes_on or _for_good(own) else reopened(known, queue)


def _for_good(own: SlotProgress) -> bool:
    """Whether a slice is not run again when Slurm starts its task anew: the script keeps it."""
    by_itself = not own.told and signal_of(own.exit_code) not in _ENDED_FROM_OUTSIDE
    return own.exit_code is not None and (by_itself or own.timed_out)


def _by_exit(known: Standing, own: SlotProgress) -> Standing:
    """Rules 1 and 4: by what its own lines say."""
    code = own.exit_code or 0
    if own.timed_out:  # what it exits with, told to end, is no end of its own
        return _ended(known, own, State.TIMEOUT, "took longer than a slice may")
    if own.lost_among == 1:
        reason = f"lost a process for want of memory; its command exited {code}"
        return _ended(known, own, State.OUT_OF_MEMORY, reason)
    if own.check_exit is not None and code:
        failed, reason = by_check(TaskReport(State.FAILED), own.check_exit)
        checked = _ended(known, own, failed.state, reason)
        return replace(checked, evidence=Evidence.CHECK, exit_code=0)
    state = State.FAILED if code else State.COMPLETED
    reason = explain(TaskReport(state, exit_code=code))
    if own.lost_among:
        reason += f"; it or another of {own.lost_among} that ran lost a process for want of memory"
    return _ended(known, own, state, reason)


def _by_signal(
    known: Standing, own: SlotProgress, task: Standing, said: Hearing, *, starved: bool
) -> Standing:
    """Rules 2 to 4: ended from outside, and its task tells by what.

    ``starved``: where its task is OUT_OF_MEMORY, it may be by this slice.
    """
    number, final = signal_of(own.exit_code), task.state.final
    if final and task.state not in _BY_ITSELF:
        oom = task.state is State.OUT_OF_MEMORY
        if not oom or (number == signal.SIGKILL and starved):
            return _within(task, own)
    if not final and not _never_explained(own, said):
        how = told_to_end(own) if own.told else f"ended by signal {number}"
        return replace(_in_turn(task, own), reason=f"{how}; why is told when its task ends")
    if own.told and not (final and task.state in _BY_ITSELF):
        report, _, reason = by_own_word(own, cancelled=said.cancelled_at is not None)
        return _ended(known, own, report.state, reason)
    return _by_exit(known, own)


_BY_ITSELF = frozenset({State.COMPLETED, State.FAILED})
"""Ends of a task that was not ended: a signal that came before was not meant to end it."""


def _never_explained(own: SlotProgress, said: Hearing) -> bool:
    """Whether nobody will tell any more by what a slice was ended."""
    if said.queue is not None or said.queue_silence:
        return False
    if said.accounting_off:
        return True
    absent = said.accounting is None and not said.accounting_silence
    return absent and said.now - (own.ended_at or said.now) >= GRACE_S


def _in_turn(task: Standing, own: SlotProgress) -> Standing:
    """Rule 5: its task runs, or waits, or ended with every slice done."""
    if task.state.final:
        return _within(task, own)
    if task.state is State.RUNNING and not _began(own):
        reason = "waits for its turn in its array task"
        return replace(task, state=State.PENDING, started_at=None, elapsed_s=None, reason=reason)
    return replace(task, started_at=own.started_at or task.started_at)


def _within(task: Standing, own: SlotProgress) -> Standing:
    """Rule 6: it ended with its task. Times are its own; what was measured is the task's."""
    if task.state is State.FAILED and own.exit_code is None:  # the task's exit code is not its
        reason = f"its array task ended ({task.reason}), and it has written no end of its own"
        task = replace(task, exit_code=None, reason=reason)
    return replace(
        task,
        started_at=own.started_at,
        elapsed_s=_elapsed(own.started_at, own.ended_at or task.ended_at),
        cpu_s=None,
        max_rss_bytes=None,
    )


def _unrecorded(task: Standing) -> Standing:
    """Rule 7: it began, and what its task wrote of it is lost. The task exits 0 when all are done.

    Else it may have been done, too: it is not given back, which would run it again unasked.
    """
    within = _within(task, SlotProgress())
    if task.state is State.COMPLETED:
        return within
    reason = (
        f"it began; its array task ended ({task.state}: {task.reason}), and what that wrote of it "
        "is lost: whether it was done is not known"
    )
    return replace(within, state=State.FAILED, reason=reason, exit_code=None, signal=None)


def _before_its_turn(task: Standing, wrote: TaskProgress, times_returned: int) -> Standing:
    """Rules 8 and 9: given back; the second time that no slice of its task began, it counts."""
    how = "its array task ended before its turn"
    if wrote.setup_exit is not None:
        how = f"setup exited {wrote.setup_exit}"
    elif task.exit_code == NOT_BEGUN_EXIT and wrote.restart is None:
        how = "not begun: slurmslice.sh could not be read"
    reason = f"{how} ({task.state}: {task.reason})"
    if not wrote.slots and times_returned:
        return replace(task, state=State.FAILED, reason=reason, started_at=None, elapsed_s=None)
    return replace(
        task, state=State.WAITING, reason=reason, started_at=None, ended_at=None, exit_code=None,
        signal=None, elapsed_s=None,
    )  # fmt: skip


def _ended(known: Standing, own: SlotProgress, state: State, reason: str) -> Standing:
    return replace(
        known,
        state=state,
        evidence=Evidence.PROGRESS,
        reason=reason,
        exit_code=own.exit_code,
        started_at=own.started_at or known.started_at,
        ended_at=own.ended_at,
        elapsed_s=_elapsed(own.started_at or known.started_at, own.ended_at),
        node=own.host,
    )


def _elapsed(started: int | None, ended: int | None) -> float | None:
    return None if started is None or ended is None else float(max(0, ended - started))
