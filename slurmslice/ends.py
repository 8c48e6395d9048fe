"""How an array task ended, where Slurm's state alone would mislead; and why, in words. Pure.

But for the names of users, which accounting has as numbers.
"""

from __future__ import annotations

import signal
from dataclasses import replace

from slurmslice.evidence import TaskReport
from slurmslice.progress import SlotProgress, signal_of
from slurmslice.states import Evidence, State
from slurmslice.users import user_name


def looked_into(
    report: TaskReport, own: SlotProgress | None, source: Evidence
) -> tuple[TaskReport, Evidence, str]:
    """A final report of a task of one slice, what it rests on, and why it is so.

    A check that fails makes its task FAILED. A job step that fails leaves the task COMPLETED if
    the script exits 0 (seen). The accounting plugin ends a task that is over its memory by
    SIGKILL, and calls it FAILED (slurm.conf(5), OverMemoryKill; seen). Of an exit code that the
    source may have made smaller, the task itself tells the true one. Where what is preempted has a
    GraceTime (slurm.conf(5)), job steps are told to end by SIGTERM, and their script is not: if
    they save what they have and exit 0, all of it is COMPLETED (seen).

    Args:
        report: what the source says, final.
        own: what the task wrote, where it was read.
        source: accounting or the queue.
    """
    if report.state is State.FAILED and own is not None:
        if own.check_exit is not None and _may_be(report, own.check_exit):
            failed, reason = by_check(report, own.check_exit)
            return failed, Evidence.CHECK, reason
        if own.exit_code is not None and _may_be(report, own.exit_code):
            report = replace(report, exit_code=own.exit_code)
            if own.in_setup:
                return report, source, f"its setup exited {report.exit_code}"
    by_itself = report.state in {State.COMPLETED, State.FAILED}
    if by_itself and report.steps and report.steps.preempted:
        reason = f"told to make room for another job, and then {explain(report)}"
        return replace(report, state=State.PREEMPTED), source, reason
    if report.state is State.COMPLETED and report.steps and report.steps.failed:
        reason = f"exit 0, but a job step of it {report.steps.failed}"
        return replace(report, state=State.CHECK_FAILED), source, reason
    if report.state is State.TIMEOUT and own and own.exit_code is not None and not own.told:
        # Slurm looks at time limits now and then, and finds out only when it has ended (seen).
        how = exit_in_words(own.exit_code) if own.exit_code else "exit 0"
        return report, source, f"{explain(report)}, and yet ended by itself: {how}"
    if over := _over_memory(report):
        return replace(report, state=State.OUT_OF_MEMORY), source, over
    return report, source, explain(report)


def by_own_word(own: SlotProgress, *, cancelled: bool) -> tuple[TaskReport, Evidence, str]:
    """The report of a slice of which its task alone tells the end, what it rests on, and why.

    Args:
        own: what its task wrote, its end too.
        cancelled: it was cancelled on request.
    """
    code = own.exit_code
    report = TaskReport(
        State.FAILED if code or own.told else State.COMPLETED,
        exit_code=code,
        started_at=own.started_at,
        ended_at=own.ended_at,
        node=own.host,
    )
    if own.in_setup and not own.told:
        return report, Evidence.PROGRESS, f"its setup exited {code}"
    if own.told:
        # By whom is not known. It may have saved what it had, and exited well.
        state = State.CANCELLED if cancelled else State.FAILED
        return replace(report, state=state), Evidence.PROGRESS, told_to_end(own)
    if own.check_exit is not None:
        failed, reason = by_check(report, own.check_exit)
        return failed, Evidence.CHECK, reason
    return report, Evidence.PROGRESS, explain(report)


def told_to_end(own: SlotProgress) -> str:
    """How a slice ended that was told to, in words."""
    return f"told to end by SIG{own.told}, it exited {own.exit_code}"


def _over_memory(report: TaskReport) -> str:
    """Why a task that was killed was killed for its memory; empty where it was not."""
    used, asked = report.max_rss_bytes, report.requested_mem_bytes
    if report.state is not State.FAILED or report.signal != signal.SIGKILL:
        return ""
    if not (used and asked and used > asked):
        return ""
    mib = f"{used >> 20} MiB in use, {asked >> 20} MiB asked for"
    return f"ended by signal 9 over its memory: {mib}"


def _may_be(report: TaskReport, code: int) -> bool:
    """Whether an exit code is the one of the report: what failed may have come later."""
    shown = report.exit_code
    return shown in {None, code} or (report.exit_code_truncated and shown == code - 128)


def by_check(report: TaskReport, code: int) -> tuple[TaskReport, str]:
    """The report of a slice whose check exited with a code, and the reason."""
    failed = replace(report, state=State.CHECK_FAILED, exit_code=0, signal=None)
    return failed, f"exit 0, but its check exited {code}"


def exit_in_words(code: int | None) -> str:
    """An exit code that is not 0, with the signal that bash means by it: ``exit 139 (SIGSEGV)``."""
    if code is None:
        return "it failed"
    number = signal_of(code)
    if number is None:
        return f"exit {code}"
    known = number in {member.value for member in signal.Signals}
    return f"exit {code} ({signal.Signals(number).name if known else f'signal {number}'})"


def explain(report: TaskReport) -> str:
    """Why a task is in its state, in words; never empty."""
    match report.state:
        case State.COMPLETED:
            return "exit 0"
        case State.FAILED if report.signal:
            return f"ended by signal {report.signal}"
        case State.FAILED:
            return exit_in_words(report.exit_code)
        case State.OUT_OF_MEMORY:
            return "went over its memory"
        case State.TIMEOUT:
            return "went over its time limit"
        case State.NODE_FAIL:
            return "its node failed"
        case State.PREEMPTED:
            return "preempted by another job, and not started again"
        case State.RUNNING:
            return f"running on {report.node}" if report.node else "running"
        case State.PENDING:
            return f"in the queue: {report.reason}" if report.reason else "in the queue"
        case State.CANCELLED if " by " in report.word:
            return f"cancelled by user {_named(report.word.partition(' by ')[2])}"
        case _:
            return report.reason or report.word or report.state.lower().replace("_", " ")


def _named(user: str) -> str:
    """A user by name, where sacct gives the number."""
    return user_name(int(user)) if user.isascii() and user.isdecimal() else user
