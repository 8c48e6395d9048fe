"""The end of an array task if Slurm's state alone would mislead, and the reason in words.

Pure, except that it looks up the names of users: accounting gives their numbers.
"""

from __future__ import annotations

import signal
from dataclasses import replace

from slurmslice.script.progress_lines import SlotProgress, signal_number
from slurmslice.status.observation import TaskReport
from slurmslice.status.peak_memory import with_credible_peak, with_own_peak
from slurmslice.status.states import EvidenceSource, State
from slurmslice.system.users import user_name


def refine_exit(
    report: TaskReport, own: SlotProgress | None, source: EvidenceSource
) -> tuple[TaskReport, EvidenceSource, str]:
    """Refine the final report of a task that carries one slice, and its peak memory.

    As ``_refine``. A peak or a CPU time that cannot be true is left out.
    """
    report, evidence, reason = _refine(report, own, source)
    report = replace(report, cpu_s=_measured_cpu_s(report, own))
    return with_own_peak(with_credible_peak(report), own, report.state), evidence, reason


_SETUP_EXITED = ("setup exited", "its setup exited")


def is_setup_reason(reason: str) -> bool:
    """Tell if a slice failed in its setup, by the reason for its state."""
    return reason.startswith(_SETUP_EXITED)


def _measured_cpu_s(report: TaskReport, own: SlotProgress | None) -> float | None:
    """Return the CPU time of an ended task; None if it was probably not measured.

    The kernel tells the CPU time of processes that were waited for. If Slurm kills all processes
    at the time limit, nobody waits for those of the command: accounting then has 4 ms for a task
    that computed for a minute (seen). An end line shows that its script lived to wait for them.
    """
    if report.state is not State.TIMEOUT:
        return report.cpu_s
    if own is None or own.exit_code is None:
        return None
    return max((s for s in (report.cpu_s, own.cpu_s) if s is not None), default=None)


def _refine(
    report: TaskReport, own: SlotProgress | None, source: EvidenceSource
) -> tuple[TaskReport, EvidenceSource, str]:
    """Refine the final report of a task that carries one slice.

    - A source may report COMPLETED with an exit code or a signal. That is no success.
    - A failed check makes its task FAILED. The slice is CHECK_FAILED.
    - The source may report too small an exit code. The task has written the true one.
    - If preemption has a GraceTime (slurm.conf(5)), job steps receive SIGTERM and their script
      does not. If they save their work and exit 0, Slurm reports COMPLETED (seen). The slice is
      PREEMPTED.
    - If a job step fails and the script exits 0, the task is COMPLETED (seen). The slice is
      CHECK_FAILED.
    - The accounting plugin ends a task over its memory by SIGKILL and reports FAILED
      (slurm.conf(5), OverMemoryKill; seen). The slice is OUT_OF_MEMORY.

    Args:
        report: the source's report, final.
        own: the lines that the task wrote; None if they were not read.
        source: accounting or the queue.

    Returns:
        the refined report, its evidence and the reason.
    """
    if report.state is State.COMPLETED and (report.exit_code or report.signal):
        report = replace(report, state=State.FAILED)
        return report, source, f"{state_reason(report)}, although {source} says COMPLETED"
    if report.state is State.FAILED and own is not None:
        if own.check_exit is not None and _may_match(report, own.check_exit):
            failed, reason = check_failed_report(report, own)
            return failed, EvidenceSource.CHECK, reason
        if own.exit_code is not None and _may_match(report, own.exit_code):
            report = replace(report, exit_code=own.exit_code)
            if own.in_setup:
                return report, source, f"setup exited {explain_code(report.exit_code)}"
    script_ended = report.state in {State.COMPLETED, State.FAILED}
    if script_ended and report.steps and report.steps.preempted:
        reason = f"signalled to make room for another job, then {state_reason(report)}"
        return replace(report, state=State.PREEMPTED), source, reason
    if report.state is State.COMPLETED and report.steps and report.steps.failed:
        reason = f"exit 0, but a job step {report.steps.failed}"
        return replace(report, state=State.CHECK_FAILED), source, reason
    if (
        report.state is State.TIMEOUT
        and own
        and own.exit_code is not None
        and not own.signal_received
    ):
        # Slurm checks time limits at intervals. This task ended before the next check (seen).
        how = exit_code_reason(own.exit_code) if own.exit_code else "exit 0"
        return report, source, f"{state_reason(report)}, but it ended by itself: {how}"
    if reason := _over_memory_reason(report):
        return replace(report, state=State.OUT_OF_MEMORY), source, reason
    return report, source, state_reason(report)


def report_from_progress(
    own: SlotProgress, *, cancelled: bool
) -> tuple[TaskReport, EvidenceSource, str]:
    """Make a report from the lines of a task alone, if neither source reports its end.

    Args:
        own: the lines that the task wrote.
        cancelled: a person cancelled the slice with slurmslice.

    Returns:
        the report, its evidence and the reason.
    """
    code = own.exit_code
    report = TaskReport(
        State.FAILED if code or own.signal_received else State.COMPLETED,
        exit_code=code,
        started_at=own.started_at,
        ended_at=own.ended_at,
        elapsed_s=own.elapsed_s,
        cpu_s=own.cpu_s,
        node=own.host,
    )
    if own.cancelled:
        cancelled_report = replace(report, state=State.CANCELLED)
        return cancelled_report, EvidenceSource.PROGRESS, f"cancelled {_cancelled_when(own)}"
    if own.signal_received:
        # The sender is not known. The command may have saved its work and exited 0.
        state = State.CANCELLED if cancelled else State.FAILED
        return replace(report, state=state), EvidenceSource.PROGRESS, signal_reason(own)
    if own.in_setup:
        return report, EvidenceSource.PROGRESS, f"setup exited {explain_code(code)}"
    if own.timed_out:
        timed_out = replace(report, state=State.TIMEOUT)
        return timed_out, EvidenceSource.PROGRESS, "exceeded the time limit of a slice"
    if own.oom_candidates == 1:
        killed = replace(report, state=State.OUT_OF_MEMORY)
        reason = "the kernel killed a process of it (out of memory)"
        reason += "" if code is None else f"; its command exited {code}"
        return killed, EvidenceSource.PROGRESS, reason
    if own.check_exit is not None:
        failed, reason = check_failed_report(report, own)
        return failed, EvidenceSource.CHECK, reason
    return report, EvidenceSource.PROGRESS, state_reason(report)


def _cancelled_when(own: SlotProgress) -> str:
    """Describe the end of a slice that was cancelled alone."""
    if own.exit_code is not None:
        return f"while it ran; its command exited {own.exit_code}"
    return "before its start" if own.started_at is None else "while it ran; its task ended then"


def signal_reason(own: SlotProgress) -> str:
    """Describe the end of a slice that received a signal from outside."""
    return f"received SIG{own.signal_received}, then exited {own.exit_code}"


def _over_memory_reason(report: TaskReport) -> str:
    """Describe a kill because of memory; empty if the task was not killed for its memory."""
    used, requested = report.max_rss_bytes, report.requested_mem_bytes
    if report.state is not State.FAILED or report.signal != signal.SIGKILL:
        return ""
    if not (used and requested and used > requested):
        return ""
    return f"killed over its memory: {used >> 20} MiB used, {requested >> 20} MiB requested"


def _may_match(report: TaskReport, code: int) -> bool:
    """Return whether the report may mean this exit code. If not, something failed later."""
    shown = report.exit_code
    return shown in {None, code} or (report.exit_code_truncated and shown == code - 128)


def check_failed_report(report: TaskReport, own: SlotProgress) -> tuple[TaskReport, str]:
    """Return the report and the reason of a slice whose check failed."""
    failed = replace(report, state=State.CHECK_FAILED, exit_code=0, signal=None)
    fault = own.check_file or f"its check exited {explain_code(own.check_exit)}"
    return failed, f"exit 0, but {fault}"


_NOT_STARTED = {126: "a file cannot be executed", 127: "a command was not found"}
"""The usual meaning of bash's exit codes for a command that it cannot start (bash(1))."""


def explain_code(code: int | None) -> str:
    """Return an exit code and its meaning in bash: ``139 (SIGSEGV)``, ``127 (usually …)``."""
    if code in _NOT_STARTED:
        return f"{code} (usually {_NOT_STARTED[code]})"
    number = signal_number(code)
    if number is None:
        return str(code)
    known = number in {member.value for member in signal.Signals}
    return f"{code} ({signal.Signals(number).name if known else f'signal {number}'})"


def exit_code_reason(code: int | None) -> str:
    """Describe an exit code other than 0: ``exit 139 (SIGSEGV)``."""
    return "it failed" if code is None else f"exit {explain_code(code)}"


def is_not_found(reason: str) -> bool:
    """Tell if a command was probably not found, by the reason for its slice's state."""
    return _NOT_STARTED[127] in reason


def is_not_executable(reason: str) -> bool:
    """Tell if a file could probably not be executed, by the reason for its slice's state."""
    return _NOT_STARTED[126] in reason


def state_reason(report: TaskReport) -> str:
    """Describe the reason for a task's state in words; never empty."""
    match report.state:
        case State.COMPLETED:
            return "exit 0"
        case State.FAILED if report.signal:
            return f"ended by signal {report.signal}"
        case State.FAILED:
            return exit_code_reason(report.exit_code)
        case State.OUT_OF_MEMORY:
            return "exceeded its memory"
        case State.TIMEOUT:
            return "exceeded its time limit"
        case State.NODE_FAIL:
            return "its node failed"
        case State.PREEMPTED:
            return "preempted by another job, and not restarted"
        case State.RUNNING:
            return (f"running on {report.node}" if report.node else "running") + _restarts(report)
        case State.COMPLETING:
            return "ending: Slurm cleans its node"
        case State.PENDING:
            where = f"in the queue: {report.reason}" if report.reason else "in the queue"
            cause = report.restart_cause and _restart_cause(report.restart_cause)
            waits = f"{cause}, waits" if cause else "waits"
            return f"{waits} to run again{_restarts(report)}; {where}" if report.restarts else where
        case State.CANCELLED if " by " in report.word:
            return f"cancelled by user {_user_label(report.word.partition(' by ')[2])}"
        case _:
            return report.reason or report.word or report.state.lower().replace("_", " ")


def restart_reason(ended: State, queue: TaskReport) -> str:
    """Describe a task that Slurm runs again.

    Args:
        ended: the end of its last start.
        queue: its report in the queue.
    """
    cause = _restart_cause(ended)
    if queue.state is State.PENDING and not queue.restarts:
        return f"{cause}, waits to run again; {state_reason(queue)}"
    return f"{cause}, {state_reason(replace(queue, restart_cause=None))}"


def _restart_cause(ended: State) -> str:
    causes = {State.PREEMPTED: "preempted", State.NODE_FAIL: "its node failed"}
    return causes.get(ended, f"{ended} before")


def _restarts(report: TaskReport) -> str:
    if not report.restarts:
        return ""
    return "; 1 restart" if report.restarts == 1 else f"; {report.restarts} restarts"


def _user_label(user: str) -> str:
    """Return the user's name; sacct gives the number."""
    return user_name(int(user)) if user.isascii() and user.isdecimal() else user
