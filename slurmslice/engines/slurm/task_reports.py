"""Convert the fields of one record into a report of a task. Pure.

Sources: sacct(1) and squeue(1). "Seen" marks a fact observed on a cluster and not found in the
manuals.
"""

from __future__ import annotations

from collections.abc import Mapping

from slurmslice.engines.slurm.fields import first_node, parse_clock, parse_number, parse_size
from slurmslice.engines.slurm.job_states import parse_state
from slurmslice.engines.slurm.versions import may_be_truncated
from slurmslice.sbatch.option_table import Release
from slurmslice.status.observation import TaskReport
from slurmslice.status.states import State


def accounting_report(values: Mapping[str, str], release: Release | None) -> TaskReport:
    """Convert the fields of one record of sacct's (``commands.TASK_FIELDS`` or ``STEP_FIELDS``).

    Args:
        values: the record's fields by name.
        release: Slurm's release; None if unknown.
    """
    text = values["State"]
    state = parse_state(text)
    exit_code, signal = _parse_exit_pair(values["ExitCode"]) if state.final else (None, None)
    # A task that no longer pends keeps its old reason (seen).
    reason = values["Reason"] if state is State.PENDING else ""
    return TaskReport(
        state,
        text,
        exit_code=exit_code,
        signal=signal,
        submitted_at=parse_number(values["Submit"]),
        started_at=parse_number(values["Start"]),
        ended_at=parse_number(values["End"]),
        elapsed_s=parse_number(values["ElapsedRaw"]),
        cpu_s=parse_clock(values.get("TotalCPU", "")),
        max_rss_bytes=parse_size(values.get("MaxRSS", "")),
        requested_mem_bytes=parse_size(values["ReqMem"], parse_number(values["AllocCPUS"])),
        node=first_node(values["NodeList"]),
        reason="" if reason == "None" else reason,
        highest_step_exit=_parse_exit_pair(values["DerivedExitCode"])[0] or 0,
        exit_code_truncated=state is State.FAILED
        and not signal
        and may_be_truncated(exit_code, release),
    )


def queue_report(values: Mapping[str, str]) -> TaskReport:
    """Convert the fields of one record of squeue's (``commands.SQUEUE_FIELDS``)."""
    text = values["State"]
    state = parse_state(text)
    exit_code, signal = _parse_queue_exit(values["exit_code"]) if state.final else (None, None)
    reason = values["Reason"]
    return TaskReport(
        state,
        text,
        exit_code=exit_code,
        signal=signal,
        submitted_at=parse_number(values["SubmitTime"]),
        # Before its start and its end, squeue prints the times expected for a task (seen).
        started_at=None if state is State.PENDING else parse_number(values["StartTime"]),
        ended_at=parse_number(values["EndTime"]) if state.final else None,
        node=first_node(values["NodeList"]),
        reason="" if reason == "None" else reason,
        restarts=parse_number(values["RestartCnt"]),
    )


def brief_report(values: Mapping[str, str]) -> TaskReport:
    """Convert the state and the time of submission alone (``commands.WAITING_FIELDS``)."""
    text = values["State"]
    return TaskReport(parse_state(text), text, submitted_at=parse_number(values["SubmitTime"]))


def _parse_exit_pair(text: str) -> tuple[int | None, int | None]:
    """Parse exit code and signal of ``3:0``; None for signal 0."""
    code, _, signal = text.partition(":")
    return parse_number(code), parse_number(signal) or None


def _parse_queue_exit(text: str) -> tuple[int | None, int | None]:
    """Parse exit code and signal of squeue's exit_code (``versions.QUEUE_EXIT_PAIR``)."""
    if ":" in text:
        return _parse_exit_pair(text)
    status = parse_number(text)
    if status is None:
        return None, None
    return status >> 8 & 0xFF, status & 0x7F or None
