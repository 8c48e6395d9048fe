"""Differences between releases of Slurm, and their effect on exit codes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from slurmslice.engines.slurm import job_records, versions
from slurmslice.sbatch.option_table import Release
from slurmslice.script.progress_lines import SlotProgress
from slurmslice.status.exit_reason import exit_code_reason
from slurmslice.status.observation import NO_JOB_STEPS, TaskReport
from slurmslice.status.reconcile import SliceEvidence, SliceStatus, reconcile
from slurmslice.status.states import EvidenceSource, State

NAMES = {"9": "n-t"}
OLD, NEW = (22, 5), (26, 5)


@pytest.mark.parametrize(
    ("text", "release"),
    [("20.11.4", (20, 11)), ("26.05.0-0rc1", (26, 5)), ("22.05", (22, 5)), ("", None),
     ("v22.05", None), ("222.05.1", None), ("22.051", None)],
)  # fmt: skip
def test_parse_release(text: str, release: Release | None) -> None:
    """SLURM_VERSION of ``scontrol show config``; any other text is None."""
    assert versions.parse_release(text) == release


def accounting_report(code: str, release: Release | None, state: str = "FAILED") -> TaskReport:
    """Return accounting's report of a task with this exit code."""
    row = f"9_1|{state}|{code}|0:0|100|110|120|10|1|1M|n1|None|n-t\n"
    return replace(
        job_records.parse_accounting_reports(row, NAMES, release)["9", 1], steps=NO_JOB_STEPS
    )


def status_of(report: TaskReport, wrote: int | None) -> SliceStatus:
    """Return the status of a slice; its task wrote this exit code, or None for nothing."""
    progress = None if wrote is None else SlotProgress(110, "n1", 120, wrote)
    known = SliceStatus(State.RUNNING, "running", EvidenceSource.QUEUE, 1, 1, 1)
    return reconcile(known, SliceEvidence(report, None, progress, "", "", False, None, None, 130.0))


@pytest.mark.parametrize(
    ("shown", "release", "wrote", "true"),
    [
        ("15:0", OLD, 143, 143),
        ("15:0", OLD, 15, 15),
        ("15:0", None, 143, 143),
        ("72:0", OLD, 200, 200),
        ("0:0", OLD, 128, 128),
        ("15:0", OLD, None, 15),  # it may be 143: without evidence, it is not changed
        ("15:0", OLD, 3, 15),  # the script went on after the command
        ("15:0", NEW, 143, 15),
        ("143:0", NEW, 143, 143),
        ("143:0", NEW, None, 143),
    ],
)
def test_the_true_exit_code(
    shown: str, release: Release | None, wrote: int | None, true: int
) -> None:
    """If sacct may have subtracted 128, the exit code written by the task decides."""
    status = status_of(accounting_report(shown, release), wrote)
    assert (status.state, status.exit_code) == (State.FAILED, true)
    assert status.reason == exit_code_reason(true)
    assert status.evidence is EvidenceSource.ACCOUNTING


def test_signals_are_not_truncated_exit_codes() -> None:
    """``0:15`` is signal 15, whatever the task wrote before; a COMPLETED task has exit code 0."""
    by_signal = accounting_report("0:15", OLD)
    assert (by_signal.exit_code_truncated, status_of(by_signal, 128).signal) == (False, 15)
    assert not accounting_report("0:0", OLD, "COMPLETED").exit_code_truncated


def test_exit_codes_in_the_queue_are_complete() -> None:
    """Both forms of squeue (``versions.QUEUE_EXIT_PAIR``); an invalid text gives None."""

    def exit_and_signal(text: str) -> tuple[int | None, int | None]:
        row = f"9_1|FAILED|{text}|1|2|3|0|n1|None|n-t|\n"
        report = job_records.parse_queue_reports(row, NAMES)["9", 1]
        assert not report.exit_code_truncated
        return report.exit_code, report.signal

    assert exit_and_signal("51200") == exit_and_signal("200:0") == (200, None)
    assert exit_and_signal("15") == exit_and_signal("0:15") == (0, 15)
    # 20.11: a core flag beside the signal
    assert exit_and_signal("253") == exit_and_signal("0:125") == (0, 125)
    assert exit_and_signal("") == exit_and_signal("x") == exit_and_signal(":") == (None, None)
    row = "9_1|FAILED|51200|1|2|3|0|n1|None|n-t|\n"
    queue = job_records.parse_queue_reports(row, NAMES)["9", 1]
    said = SliceEvidence(
        None, queue, SlotProgress(1, "n", 2, 72), "off", "", True, None, None, 130.0
    )
    known = SliceStatus(State.RUNNING, "running", EvidenceSource.QUEUE, 1, 1, 1)
    assert reconcile(known, said).exit_code == 200
