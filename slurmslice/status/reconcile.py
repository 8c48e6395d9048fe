"""The rule that turns accounting, queue and progress into a slice's status. Pure.

The rules have the order of ``docs/evidence.md``. No rule makes a state final because of absence,
an error or an unknown word (promise 5).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from slurmslice.script.progress_lines import SlotProgress, signal_number
from slurmslice.status.exit_reason import (
    refine_exit,
    report_from_progress,
    restart_reason,
    state_reason,
)
from slurmslice.status.observation import FACT_NAMES, AttemptFacts, TaskReport
from slurmslice.status.states import BEGUN_STATES, EvidenceSource, State

ACCOUNTING_LAG_S = 120.0
"""Seconds that accounting may lag behind a task's end. After that the progress lines count."""

UNRECORDED_CANCEL_S = 300.0
"""Seconds to wait, after the end of an array, for a task of it that never appeared."""

CANCEL_GRACE_S = 5.0
"""Seconds after scancel in which a task that started at that moment must appear."""

RESTARTABLE_STATES = frozenset({State.PREEMPTED, State.NODE_FAIL})
"""Final states of accounting after which Slurm itself may start the same job again."""

_MAY_NOT_HAVE_BEGUN = frozenset({State.CANCELLED, State.DEADLINE})
"""Ends that a pending task may have."""

_SCRIPT_DONE = frozenset({State.COMPLETED, State.CHECK_FAILED, State.WAITING})
"""States of a slice whose script has finished or will not run it, even if Slurm still cleans up."""


@dataclass(frozen=True, slots=True)
class SliceStatus(AttemptFacts):
    """The status of a slice: its state, and the facts about its newest attempt.

    Attributes:
        state: its state.
        reason: the reason for the state, for a person; never empty.
        evidence: the source of the state.
        submission: number of the submission that holds it; 0 for none.
        index: its array index in that submission; None if no submission holds it.
        attempt: the number of its attempts, with this one.
        log_cause: the named cause of its failure that its log shows; empty if it shows none.
    """

    state: State
    reason: str
    evidence: EvidenceSource = EvidenceSource.JOURNAL
    submission: int = 0
    index: int | None = None
    attempt: int = 0
    log_cause: str = ""


@dataclass(frozen=True, slots=True)
class SliceEvidence:
    """The evidence that one poll found about one slice.

    Attributes:
        accounting, queue: the reports of the sources; None if a source does not know the task.
        progress: the lines of its task; None if they do not exist or were not read.
        accounting_silence, queue_silence: the reason why a source did not answer; empty if it did.
        accounting_off: accounting is switched off for good.
        cancelled_at: the time when slurmslice cancelled it, epoch seconds; None if it did not.
        array_ended_at: the last end in accounting of any task of its array, epoch seconds; None
            if the queue still has a task of that array.
        now: epoch seconds.
        task_goes_on: slurmslice cancelled it, and not its whole task.
        other_job: the queue has a task with its job id and index that is not known to be it.
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
    task_goes_on: bool = False
    other_job: bool = False


def reconcile(known: SliceStatus, said: SliceEvidence) -> SliceStatus:
    """Return the status of a slice after one more poll.

    The result does not depend on the order of polls, on gaps or on repetitions
    (``tests/unit/status/test_late_sources.py``).

    Args:
        known: its status before the poll; not final.
        said: the evidence of the poll.
    """
    accounting, queue, own = said.accounting, said.queue, said.progress
    restarts = max(known.restarts or 0, (queue.restarts or 0) if queue else 0)
    if own is not None and own.restart < restarts:
        # Lines of an older start prove that the task began. They say nothing about this start.
        said = replace(said, progress=SlotProgress(restart=own.restart))
    if accounting is not None and accounting.is_array_summary and _has_begun(known, said):
        return reconcile(known, replace(said, accounting=None))
    if accounting is not None and accounting.state.final:
        return _final_in_accounting(known, accounting, said)
    if queue is not None and queue.state is State.WAITING:
        return _returned_by_engine(known, queue, said)
    if queue is not None and queue.state is not State.UNKNOWN:
        return _in_queue(known, queue, accounting, said)
    if queue is None and accounting is not None and accounting.state is not State.UNKNOWN:
        return _active_in_accounting(known, accounting, said)
    if strange := queue or accounting:
        return replace(known, reason=_unknown_word(strange))
    return _in_neither(known, said)


def requeued_status(known: SliceStatus, queue: TaskReport | None) -> SliceStatus | None:
    """Return the status of an ended slice that Slurm runs again (``scontrol requeue``).

    This is the only way back from a final state within an attempt. Either the queue has the same
    task active, or it did not answer when accounting reported the end, and now still ends the
    task's processes.

    Returns:
        None if Slurm does not run the slice again.
    """
    if queue is None or queue.state not in BEGUN_STATES | {State.PENDING}:
        return None
    if queue.state is not State.COMPLETING:
        return _with_report(
            known, queue, EvidenceSource.QUEUE, f"requeued by Slurm after {known.state}"
        )
    if known.state in _SCRIPT_DONE:
        return None
    return _with_report(known, queue, EvidenceSource.QUEUE, f"{known.state}; {_STILL_ENDING}")


_STILL_ENDING = "Slurm is still ending its processes"


def _final_in_accounting(
    known: SliceStatus, report: TaskReport, said: SliceEvidence
) -> SliceStatus:
    queue = said.queue
    if queue is not None and queue.state is State.UNKNOWN:
        return replace(known, reason=f"{report.state}, and {_unknown_word(queue)}")
    ending = queue is not None and queue.state is State.COMPLETING
    if queue is not None and not ending and not queue.state.final:
        reason = restart_reason(report.state, queue)
        return _with_report(known, queue, EvidenceSource.QUEUE, reason)
    if queue is not None and ending and report.state is not State.COMPLETED:
        # After a time limit or scancel, processes may save their work for KillWait
        # (slurm.conf(5)).
        reason = f"{report.state}; {_STILL_ENDING}"
        return _with_report(known, queue, EvidenceSource.QUEUE, reason)
    if report.state in RESTARTABLE_STATES and said.queue_silence:
        reason = (
            f"{report.state}; Slurm may restart it, but the queue did not answer "
            f"({said.queue_silence})"
        )
        return _ended_as(report.state, known, EvidenceSource.ACCOUNTING, reason)
    if missing := _missing_step_reports(report, said):
        reason = f"{report.state}; {missing}"
        return _ended_as(report.state, known, EvidenceSource.ACCOUNTING, reason)
    return _with_report(known, *refine_exit(report, said.progress, EvidenceSource.ACCOUNTING))


def _missing_step_reports(report: TaskReport, said: SliceEvidence) -> str:
    """Describe the reports that accounting still owes about an ended task; empty if none.

    The end of a job step may be recorded after its task's (seen). The wait for it is limited.
    """
    if report.is_array_summary or said.now - (report.ended_at or 0) >= ACCOUNTING_LAG_S:
        return ""
    if report.steps is None:
        return "accounting has not reported its job steps yet"
    if not report.steps.ended and report.state in {State.COMPLETED, State.FAILED}:
        return "accounting has not reported the end of its last job step yet"
    return ""


def _returned_by_engine(known: SliceStatus, queue: TaskReport, said: SliceEvidence) -> SliceStatus:
    # The local runner, or its supervisor, stops a task by a signal.
    own = said.progress
    by_itself = own is not None and not own.signal_received and signal_number(own.exit_code) is None
    ended = by_itself and _from_progress(known, said, "its runner ended before it could record it")
    return ended or _with_report(known, queue, EvidenceSource.QUEUE, state_reason(queue))


def _in_queue(
    known: SliceStatus, queue: TaskReport, accounting: TaskReport | None, said: SliceEvidence
) -> SliceStatus:
    if queue.state.final and not (said.accounting_off or said.accounting_silence):
        # Accounting knows more about the end, and lags a moment behind.
        reason = f"{queue.word} in the queue; not in accounting yet"
        return _ended_as(queue.state, known, EvidenceSource.QUEUE, reason)
    recent = said.now - (queue.ended_at or said.now) < ACCOUNTING_LAG_S
    if queue.state is State.COMPLETED and recent and not said.accounting_off:
        # Accounting may still report a failed job step or a memory kill.
        reason = f"COMPLETED in the queue; no answer: {said.accounting_silence}"
        return _ended_as(queue.state, known, EvidenceSource.QUEUE, reason)
    if queue.state.final:
        return _with_report(known, *refine_exit(queue, said.progress, EvidenceSource.QUEUE))
    if accounting is not None:
        queue = replace(
            queue,
            submitted_at=queue.submitted_at or accounting.submitted_at,
            started_at=queue.started_at or accounting.started_at,
            node=queue.node or accounting.node,
        )
    return _with_report(known, queue, EvidenceSource.QUEUE, state_reason(queue))


def _ended_as(end: State, known: SliceStatus, source: EvidenceSource, reason: str) -> SliceStatus:
    """Return the status of a slice whose task has ended in a source, if that is not the result."""
    began = known.state in BEGUN_STATES or end not in _MAY_NOT_HAVE_BEGUN
    return await_result(known, source, reason, began=began)


def await_result(
    known: SliceStatus, evidence: EvidenceSource, reason: str, *, began: bool
) -> SliceStatus:
    """Return the status of a slice that no longer runs and has no result yet.

    It is COMPLETING if it has begun; otherwise its state is as before.
    """
    if not began:
        return replace(known, reason=reason)
    return replace(known, state=State.COMPLETING, evidence=evidence, reason=reason)


def _left_queue(known: SliceStatus, said: SliceEvidence, reason: str) -> SliceStatus:
    """Return the status of a slice without a result whose task is absent from the queue."""
    return await_result(known, EvidenceSource.QUEUE, reason, began=_has_begun(known, said))


def _active_in_accounting(
    known: SliceStatus, report: TaskReport, said: SliceEvidence
) -> SliceStatus:
    if said.queue_silence:
        reason = f"{state_reason(report)}; the queue did not answer ({said.queue_silence})"
        return _with_report(known, report, EvidenceSource.ACCOUNTING, reason)
    if _may_be_queued(said):
        return replace(known, reason=_OTHER_JOB)
    if ended := _from_late_progress(known, said) or _cancelled_on_request(known, said):
        return ended
    reason = "no longer in the queue; accounting has not reported its end yet"
    if report.state is not State.PENDING or not _has_begun(known, said):
        known = _with_report(known, report, EvidenceSource.ACCOUNTING, reason)
    return _left_queue(known, said, reason)


def _in_neither(known: SliceStatus, said: SliceEvidence) -> SliceStatus:
    """Return the status if neither source knows the task. Absence alone makes nothing final."""
    if said.queue_silence:
        no_answer_reasons = filter(None, (said.queue_silence, said.accounting_silence))
        return replace(known, reason=f"as last seen; no answer: {'; '.join(no_answer_reasons)}")
    if _may_be_queued(said):
        return replace(known, reason=_OTHER_JOB)
    if said.accounting_off:
        ended = _from_progress(known, said, "accounting is off")
        ended = ended or _cancelled_on_request(known, said)
        return ended or _left_queue(known, said, _UNSEEN_WITHOUT_ACCOUNTING)
    if said.accounting_silence:
        return _left_queue(known, said, f"not in the queue; no answer: {said.accounting_silence}")
    ended = _from_late_progress(known, said)
    ended = ended or _cancelled_on_request(known, said) or _cancelled_by_hand(known, said)
    return ended or _left_queue(known, said, _unseen_reason(known, said))


def _may_be_queued(said: SliceEvidence) -> bool:
    """Return whether the queue may have the task under another name.

    Then its absence means nothing. A signal does not end a task that Slurm restarts.
    """
    own = said.progress
    ended = own is not None and own.ended_at is not None and not own.signal_received
    return said.other_job and not ended


_OTHER_JOB = (
    "the queue has its job id under another name, and it is not known if that is its job "
    "(slurmslice attach)"
)


def _unseen_reason(known: SliceStatus, said: SliceEvidence) -> str:
    if _has_begun(known, said):
        return f"it began; {_IN_NEITHER} now"
    if known.evidence is EvidenceSource.JOURNAL:
        return f"submitted; {_IN_NEITHER} yet"
    return f"{known.state} when last seen in {known.evidence}; {_IN_NEITHER} now"


_IN_NEITHER = "neither the queue nor accounting knows it"
_UNSEEN_WITHOUT_ACCOUNTING = (
    "no longer in the queue; accounting is off, and its task has not written an end"
)


def is_unknown_to_slurm(reason: str) -> bool:
    """Return whether this reason says that both sources answered and neither knows the task."""
    return _IN_NEITHER in reason


def _unknown_word(report: TaskReport) -> str:
    return f"slurmslice does not know Slurm's word for its state: {report.word}"


def _has_begun(known: SliceStatus, said: SliceEvidence) -> bool:
    """Return whether anything shows that a task of this attempt has started."""
    reported = said.accounting is not None and said.accounting.state in BEGUN_STATES
    return reported or said.progress is not None or known.state in BEGUN_STATES


def _cancelled_on_request(known: SliceStatus, said: SliceEvidence) -> SliceStatus | None:
    """Return CANCELLED if slurmslice cancelled the slice and it is no longer in the queue.

    Slurm keeps no record of a cancelled pending task. If the task had started, accounting or the
    task itself should report the end. If neither does (a controller lost its state), the person's
    request counts.
    """
    own = said.progress
    ended = own is not None and own.ended_at is not None and own.restart >= (known.restarts or 0)
    if said.cancelled_at is None or said.task_goes_on or ended:
        return None  # accounting or the task's own lines will report the end
    began = _has_begun(known, said) or said.accounting is not None
    if said.now - said.cancelled_at < (ACCOUNTING_LAG_S if began else CANCEL_GRACE_S):
        return _left_queue(known, said, "cancelled; waiting until Slurm has ended it")
    how = "; no longer in the queue, and nothing reports its end" if began else " before its start"
    return replace(
        known,
        state=State.CANCELLED,
        evidence=EvidenceSource.QUEUE,
        reason=f"cancelled{how}",
        ended_at=int(said.cancelled_at),
    )


def _cancelled_by_hand(known: SliceStatus, said: SliceEvidence) -> SliceStatus | None:
    """Return CANCELLED if its array has ended and the slice never began.

    A person cancelled it by scancel while it was pending. Slurm keeps no record of that
    (scancel(1) on a part of a pending array, seen).
    """
    if said.array_ended_at is None or said.progress is not None:
        return None
    if said.now - said.array_ended_at < UNRECORDED_CANCEL_S:
        minutes = f"{UNRECORDED_CANCEL_S / 60:.0f} minutes after its array's end"
        reason = f"Slurm does not know it now; counts as cancelled {minutes}"
        return _left_queue(known, said, reason)
    reason = "cancelled before its start: its array has ended without it"
    return replace(known, state=State.CANCELLED, evidence=EvidenceSource.ACCOUNTING, reason=reason)


def _from_late_progress(known: SliceStatus, said: SliceEvidence) -> SliceStatus | None:
    """Return the end by the progress lines, if accounting had ``ACCOUNTING_LAG_S`` to report it."""
    own = said.progress
    if own is None or own.ended_at is None:
        return None
    if said.now - own.ended_at < ACCOUNTING_LAG_S:
        return None
    return _from_progress(
        known, said, f"accounting has not reported it for {ACCOUNTING_LAG_S:.0f} s"
    )


def _from_progress(known: SliceStatus, said: SliceEvidence, why: str) -> SliceStatus | None:
    own = said.progress
    if own is None or own.exit_code is None:
        return None
    if own.restart < (known.restarts or 0):
        return None  # lines of an older start say nothing about the newer one
    report, evidence, reason = report_from_progress(own, cancelled=said.cancelled_at is not None)
    return _with_report(known, report, evidence, f"{reason}, by its own progress lines ({why})")


def _with_report(
    known: SliceStatus, report: TaskReport, evidence: EvidenceSource, reason: str
) -> SliceStatus:
    facts = {name: getattr(report, name) for name in FACT_NAMES}
    for name in ("submitted_at", "requested_mem_bytes", "restarts"):  # stay true for later reports
        if facts[name] is None:
            facts[name] = getattr(known, name)
    return replace(known, state=report.state, evidence=evidence, reason=reason, **facts)
