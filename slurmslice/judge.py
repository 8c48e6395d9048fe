"""The one rule that turns what accounting, queue and progress say into a slice's standing. Pure.

The order of the rules is the order of ``docs/evidence.md``. No rule makes a state final from
absence, an error or a word that is not known (promise 5).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from slurmslice.ends import by_own_word, explain, looked_into
from slurmslice.evidence import FACTS, Facts, TaskReport
from slurmslice.progress import SlotProgress, signal_of
from slurmslice.states import Evidence, State

GRACE_S = 120.0
"""How long accounting may lag behind the end of a task before its progress file speaks for it."""


@dataclass(frozen=True, slots=True)
class Standing(Facts):
    """Where a slice stands, and what is known of its newest attempt.

    Attributes:
        state: its state.
        reason: why, for a person; never empty.
        evidence: where the state comes from.
        submission: number of the submission that holds it; 0 for none.
        index: its array index in that submission; None where none holds it.
        attempt: how many attempts it has had, this one included.
    """

    state: State
    reason: str
    evidence: Evidence = Evidence.JOURNAL
    submission: int = 0
    index: int | None = None
    attempt: int = 0


@dataclass(frozen=True, slots=True)
class Hearing:
    """All that one poll says of one slice.

    Attributes:
        accounting, queue: the sources' reports; None where they say nothing of it.
        progress: what its task wrote, where it was read.
        accounting_silence, queue_silence: why a source did not answer; empty where it did.
        accounting_off: accounting is switched off for good.
        cancelled_at: when it was cancelled on request; None where it was not.
        array_ended_at: when the last task of its array ended that accounting knows, where none
            of that array is in the queue any more; else None.
        now: epoch seconds.
    """

    accounting: TaskReport | None
    queue: TaskReport | None
    progress: SlotProgress | None
    accounting_silence: str
    queue_silence: str
    accounting_off: bool
    cancelled_at: float | None
    array_ended_at: float | None
    now: float


MAY_RESTART = frozenset({State.PREEMPTED, State.NODE_FAIL})
"""Final words of accounting after which Slurm itself may start the same job again."""


def judge(known: Standing, said: Hearing) -> Standing:
    """The standing of a slice after one more poll. ``known`` is not final.

    The order of polls does not matter, nor do gaps and repetitions: ``tests/test_truth.py``.
    """
    accounting, queue, own = said.accounting, said.queue, said.progress
    restarts = max(known.restarts or 0, (queue.restarts or 0) if queue else 0)
    if own is not None and own.restart < restarts:
        # What an older start of the task wrote says that it began, and nothing of this one.
        said = replace(said, progress=SlotProgress(restart=own.restart))
    if accounting is not None and accounting.is_array_summary and _began(known, said):
        return judge(known, replace(said, accounting=None))
    if accounting is not None and accounting.state.final:
        return _ended(known, accounting, said)
    if queue is not None and queue.state is State.WAITING:
        return _given_back(known, queue, said)
    if queue is not None and queue.state is not State.UNKNOWN:
        return _queued(known, queue, accounting, said)
    if queue is None and accounting is not None and accounting.state is not State.UNKNOWN:
        return _only_accounting(known, accounting, said)
    if strange := queue or accounting:
        return replace(known, reason=_not_known(strange))
    return _unseen(known, said)


def _not_known(report: TaskReport) -> str:
    return f"Slurm's word for it is not known here: {report.word}"


def _began(known: Standing, said: Hearing) -> bool:
    """Whether a task of this attempt has started, as far as anybody has seen."""
    return said.progress is not None or known.state in {State.RUNNING, State.SUSPENDED}


def reopened(known: Standing, queue: TaskReport | None) -> Standing | None:
    """The standing of a slice that had ended and that Slurm runs again (``scontrol requeue``).

    The one way back from a final state: the queue has the same task, active, or is still ending
    it, which was silent when accounting told its end. None: it is not so.
    """
    if queue is None or queue.state not in _ACTIVE:
        return None
    if not queue.completing:
        return _as(known, queue, Evidence.QUEUE, f"put back by Slurm after {known.state}")
    if known.state in _SETTLED:
        return None
    return _as(known, queue, Evidence.QUEUE, f"{known.state}; {_STILL_ENDING}")


_ACTIVE = frozenset({State.PENDING, State.RUNNING, State.SUSPENDED})

_SETTLED = frozenset({State.COMPLETED, State.CHECK_FAILED, State.WAITING})
"""States of a slice whose script has come to its end, or will not run it, whatever Slurm still
cleans up."""

_STILL_ENDING = "Slurm is still ending its processes"


def _ended(known: Standing, report: TaskReport, said: Hearing) -> Standing:
    queue = said.queue
    if queue is not None and queue.state is State.UNKNOWN:
        return replace(known, reason=f"{report.state}, and {_not_known(queue)}")
    if queue is not None and not queue.completing and not queue.state.final:
        reason = f"started again by Slurm after {report.state}; {queue.reason or queue.word}"
        return _as(known, queue, Evidence.QUEUE, reason)
    if queue is not None and queue.completing and report.state is not State.COMPLETED:
        # At a time limit and by scancel it has KillWait (slurm.conf(5)) to save what it has.
        return replace(known, reason=f"{report.state}; {_STILL_ENDING}")
    if report.state in MAY_RESTART and said.queue_silence:
        why = f"the queue did not answer ({said.queue_silence})"
        reason = f"{report.state}, and whether Slurm starts it again is not known yet: {why}"
        return replace(known, reason=reason)
    if to_come := _steps_to_come(report, said):
        return replace(known, reason=f"{report.state}; {to_come}")
    return _as(known, *looked_into(report, said.progress, Evidence.ACCOUNTING))


def _steps_to_come(report: TaskReport, said: Hearing) -> str:
    """What accounting still has to tell of a task that has ended; empty for nothing.

    A job step's end may come after its task's (seen), and is not waited for without limit.
    """
    if report.is_array_summary or said.now - (report.ended_at or 0) >= GRACE_S:
        return ""
    if report.steps is None:
        return "accounting has not told its job steps yet"
    if not report.steps.ended and report.state in {State.COMPLETED, State.FAILED}:
        return "accounting has not told yet how its last job step ended"
    return ""


def _given_back(known: Standing, queue: TaskReport, said: Hearing) -> Standing:
    # An end by a signal is how the runner, or what watches over it, stopped the task.
    own = said.progress
    by_itself = own is not None and not own.told and signal_of(own.exit_code) is None
    settled = by_itself and _from_progress(known, said, "its runner ended before it could note it")
    return settled or _as(known, queue, Evidence.QUEUE, explain(queue))


def _queued(
    known: Standing, queue: TaskReport, accounting: TaskReport | None, said: Hearing
) -> Standing:
    if queue.state.final and not (said.accounting_off or said.accounting_silence):
        # It has ended; accounting, which knows more, is a moment behind.
        return replace(known, reason=f"{queue.word} in the queue; accounting has not said so yet")
    early = said.now - (queue.ended_at or said.now) < GRACE_S
    if queue.state is State.COMPLETED and early and not said.accounting_off:
        # Accounting may still know better: of its job steps, of its memory.
        reason = f"COMPLETED in the queue; no answer: {said.accounting_silence}"
        return replace(known, reason=reason)
    if queue.state.final:
        return _as(known, *looked_into(queue, said.progress, Evidence.QUEUE))
    reason = explain(queue)
    if queue.completing:
        reason = "ending: its node is being cleaned"
    if accounting is not None:
        queue = replace(
            queue,
            submitted_at=queue.submitted_at or accounting.submitted_at,
            started_at=queue.started_at or accounting.started_at,
            node=queue.node or accounting.node,
        )
    return _as(known, queue, Evidence.QUEUE, reason)


def _only_accounting(known: Standing, report: TaskReport, said: Hearing) -> Standing:
    if said.queue_silence:
        reason = f"{explain(report)}; the queue did not answer ({said.queue_silence})"
        return _as(known, report, Evidence.ACCOUNTING, reason)
    late = _settled_late(known, said) or _let_go(known, said)
    reason = "gone from the queue; accounting has not said yet how it ended"
    return late or _as(known, report, Evidence.ACCOUNTING, reason)


def _unseen(known: Standing, said: Hearing) -> Standing:
    """Neither source speaks of it: absence, which makes nothing final by itself."""
    silences = [s for s in (said.queue_silence, said.accounting_silence) if s]
    if said.queue_silence or (silences and not said.accounting_off):
        return replace(known, reason=f"as last seen; no answer: {'; '.join(silences)}")
    if said.accounting_off:
        settled = _from_progress(known, said, "accounting is off")
        return settled or _let_go(known, said) or replace(known, reason=_UNSEEN_OFF)
    settled = _settled_late(known, said) or _let_go(known, said) or _left_out(known, said)
    return settled or replace(known, reason=_unseen_since(known))


def _unseen_since(known: Standing) -> str:
    if known.evidence is Evidence.JOURNAL:
        return _UNSEEN
    return f"{known.state} by the last word of {known.evidence}; {_NOW_SILENT}"


_NEITHER = "neither the queue nor accounting speaks of it"
_UNSEEN = f"submitted; {_NEITHER} yet"
_NOW_SILENT = f"{_NEITHER} now"
_UNSEEN_OFF = "gone from the queue; accounting is off, and its task has not written an end"


def is_unseen(reason: str) -> bool:
    """Whether a slice has this reason since both sources answered and neither knows it."""
    return _NEITHER in reason


def _let_go(known: Standing, said: Hearing) -> Standing | None:
    """Cancelled on request, and gone from the queue.

    Slurm keeps no record of tasks that had not started. Of one that had, somebody should say how
    it ended; where nobody does (a controller that lost its state), the person's word counts.
    """
    own = said.progress
    ended = own is not None and own.ended_at is not None and own.restart >= (known.restarts or 0)
    if said.cancelled_at is None or ended:
        return None  # how it ended will be told, by accounting or by what it wrote
    began = _began(known, said) or said.accounting is not None
    if said.now - said.cancelled_at < (GRACE_S if began else CANCEL_SETTLES_S):
        return replace(known, reason="cancelled; waiting until Slurm has let it go")
    how = "and gone from the queue; nobody says how it ended" if began else "before it started"
    return replace(
        known,
        state=State.CANCELLED,
        evidence=Evidence.QUEUE,
        reason=f"cancelled {how}",
        ended_at=int(said.cancelled_at),
    )


def _left_out(known: Standing, said: Hearing) -> Standing | None:
    """Its array has ended without it, and it never began: scancel by hand while it was pending.

    Slurm keeps no record of that (scancel(1) on part of a pending array, seen).
    """
    if said.array_ended_at is None or said.progress is not None:
        return None
    if said.now - said.array_ended_at < LEFT_OUT_S:
        minutes = f"{LEFT_OUT_S / 60:.0f} minutes after its array's end"
        return replace(known, reason=f"nowhere in Slurm now; counts as cancelled {minutes}")
    reason = "cancelled before it started: its array has ended without it"
    return replace(known, state=State.CANCELLED, evidence=Evidence.ACCOUNTING, reason=reason)


LEFT_OUT_S = 300.0
"""How long after an array's end a task that never showed itself is waited for."""

CANCEL_SETTLES_S = 5.0
"""How long after scancel a task that started at that very moment would have shown itself."""


def _settled_late(known: Standing, said: Hearing) -> Standing | None:
    """What the progress file says, once accounting has had its time."""
    progress = said.progress
    if progress is None or progress.ended_at is None:
        return None
    if said.now - progress.ended_at < GRACE_S:
        return None
    return _from_progress(known, said, f"accounting is silent for {GRACE_S:.0f} s and more")


def _from_progress(known: Standing, said: Hearing, why: str) -> Standing | None:
    own = said.progress
    if own is None or own.exit_code is None:
        return None
    if own.restart < (known.restarts or 0):
        return None  # what an older start of the task wrote does not speak for the newer one
    report, evidence, reason = by_own_word(own, cancelled=said.cancelled_at is not None)
    return _as(known, report, evidence, f"{reason}, says its task itself ({why})")


def _as(known: Standing, report: TaskReport, evidence: Evidence, reason: str) -> Standing:
    facts = {name: getattr(report, name) for name in FACTS}
    for name in ("submitted_at", "requested_mem_bytes", "restarts"):  # true of any later report
        if facts[name] is None:
            facts[name] = getattr(known, name)
    return replace(known, state=report.state, evidence=evidence, reason=reason, **facts)
