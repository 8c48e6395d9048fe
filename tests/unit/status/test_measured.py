"""Measured figures: a peak that the measurements probably missed is not reported as one."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest

from slurmslice.actions.poll import poll
from slurmslice.actions.submit import choose_waiting, submit
from slurmslice.reports.measured import NOT_MEASURED, cpu_text, elapsed_text, memory_text
from slurmslice.run.run import Run
from slurmslice.sbatch.units import parse_sampling_interval
from slurmslice.script.progress_lines import SlotProgress
from slurmslice.status.exit_reason import refine_exit
from slurmslice.status.observation import TaskReport
from slurmslice.status.reconcile import SliceStatus
from slurmslice.status.states import EvidenceSource, State
from tests.support.fakes import FakeEngine
from tests.support.typed import Typed

NewRun = Callable[..., Run]
MIB = 1 << 20
LONG = TaskReport(
    State.COMPLETED, "COMPLETED", exit_code=0, elapsed_s=600, sampling_s=30,
    max_rss_bytes=64 * MIB, requested_mem_bytes=100 * MIB,
)  # fmt: skip


@pytest.mark.parametrize(
    ("report", "peak"),
    [
        (LONG, 64),
        (replace(LONG, elapsed_s=60), 64),
        (replace(LONG, elapsed_s=59), None),
        (replace(LONG, elapsed_s=0), None),
        (replace(LONG, elapsed_s=None), None),
        (replace(LONG, elapsed_s=1, sampling_s=None), 64),
        (replace(LONG, sampling_s=math.inf), None),
        (replace(LONG, state=State.OUT_OF_MEMORY), None),
        (replace(LONG, state=State.OUT_OF_MEMORY, sampling_s=None), None),
        (replace(LONG, state=State.OUT_OF_MEMORY, max_rss_bytes=130 * MIB), 130),
        (replace(LONG, elapsed_s=1, max_rss_bytes=130 * MIB), 130),
        (replace(LONG, elapsed_s=1, requested_mem_bytes=None), None),
        (replace(LONG, state=State.TIMEOUT), 64),
        (replace(LONG, state=State.FAILED, exit_code=1, elapsed_s=31), None),
        (replace(LONG, max_rss_bytes=None), None),
    ],
)
def test_the_peak_of_a_task(report: TaskReport, peak: int | None) -> None:
    """It is known if it was measured twice, and if the limit did not end the task."""
    found, _, _ = refine_exit(report, None, EvidenceSource.ACCOUNTING)
    assert found.max_rss_bytes == (None if peak is None else peak * MIB)


OWN = SlotProgress(exit_code=0, peak_bytes=80 * MIB, peak_samples=9)


@pytest.mark.parametrize(
    ("report", "own", "peak", "samples"),
    [
        (LONG, OWN, 80, 20),
        (LONG, replace(OWN, peak_bytes=50 * MIB), 64, 20),
        (replace(LONG, elapsed_s=2), OWN, 80, 9),
        (replace(LONG, max_rss_bytes=None), OWN, 80, 9),
        (replace(LONG, max_rss_bytes=130 * MIB), OWN, 80, 9),  # shared memory counted twice
        (replace(LONG, max_rss_bytes=130 * MIB), replace(OWN, peak_bytes=150 * MIB), 150, 20),
        (replace(LONG, max_rss_bytes=130 * MIB, requested_mem_bytes=None), OWN, 130, 20),
        (replace(LONG, state=State.OUT_OF_MEMORY), OWN, None, None),
        (replace(LONG, restarts=1), OWN, 64, 20),  # the line is of an older start
        (replace(LONG, restarts=1), replace(OWN, restart=1), 80, 20),
        (LONG, SlotProgress(exit_code=0), 64, 20),
    ],
)
def test_a_task_measures_itself_too(
    report: TaskReport, own: SlotProgress, peak: int | None, samples: int | None
) -> None:
    """The larger figure counts, unless only accounting's is above the request."""
    found, _, _ = refine_exit(report, own, EvidenceSource.ACCOUNTING)
    assert found.max_rss_bytes == (None if peak is None else peak * MIB)
    assert found.peak_samples == samples


@pytest.mark.parametrize(
    ("state", "own", "cpu_s"),
    [
        (State.TIMEOUT, None, None),
        (State.TIMEOUT, SlotProgress(), None),
        (State.TIMEOUT, SlotProgress(exit_code=143, signal_received="TERM"), 0.004),
        (State.TIMEOUT, SlotProgress(exit_code=143, signal_received="TERM", cpu_s=52.8), 52.8),
        (State.FAILED, None, 0.004),
        (State.COMPLETED, None, 0.004),
    ],
)
def test_the_cpu_time_of_a_task_at_its_time_limit(
    state: State, own: SlotProgress | None, cpu_s: float | None
) -> None:
    """It is not known if the task's processes were killed and nobody waited for them."""
    report = TaskReport(state, cpu_s=0.004)
    assert refine_exit(report, own, EvidenceSource.ACCOUNTING)[0].cpu_s == cpu_s


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30", 30), ("1", 1), ("task=15", 15), ("Task=15,energy=60", 15), ("energy=60,task=5", 5),
     ("0", math.inf), ("task=0", math.inf), ("energy=60", 30), ("", 30), ("(null)", 30)],
)  # fmt: skip
def test_the_interval_of_measurements(text: str, seconds: float) -> None:
    """JobAcctGatherFrequency and ``--acctg-freq`` have the same forms."""
    assert parse_sampling_interval(text) == seconds


SHORT = TaskReport(
    State.COMPLETED, "COMPLETED", exit_code=0, started_at=100, ended_at=110, elapsed_s=10
)


@pytest.mark.parametrize(
    ("options", "peak"),
    [({}, None), ({"acctg_freq": "1"}, 7), ({"acctg_freq": "task=20"}, None)],
)
def test_a_job_may_ask_for_more_measurements(
    new_run: NewRun, engine: FakeEngine, options: dict[str, str], peak: int | None
) -> None:
    """``--acctg-freq`` overrides the frequency of the cluster."""
    run = new_run("0-1", **options)
    engine.max_rss_bytes, engine.cpu_s, engine.sampling_s = 7, 1.5, 30
    submit(run, choose_waiting(None), {}, "submit")
    for index in (0, 1):
        engine.jobs["100"].tasks[index] = SHORT
    poll(run)
    assert {status.max_rss_bytes for status in run.statuses} == {peak}
    assert {status.cpu_s for status in run.statuses} == {1.5}


def test_an_out_of_memory_slice_names_its_limit(
    new_run: NewRun, engine: FakeEngine, typed: Typed
) -> None:
    """The table and --json have no figure below the request, and the reason has the request."""
    run = new_run("0-1", mem="100M")
    engine.max_rss_bytes = 64 * MIB
    submit(run, choose_waiting(None), {}, "submit")
    for index in (0, 1):
        engine.jobs["100"].tasks[index] = replace(SHORT, state=State.OUT_OF_MEMORY, elapsed_s=600)
    shown = typed("status", "demo", "--slices")
    assert "64M" not in shown
    assert shown.count(NOT_MEASURED) >= 2
    for one in typed.json("status", "demo")["slices"]:
        assert (one["state"], one["max_rss_bytes"]) == ("OUT_OF_MEMORY", None)
        assert "100M" in one["reason"]


ENDED = SliceStatus(State.COMPLETED, "exit 0", started_at=100, ended_at=110)


@pytest.mark.parametrize(
    ("status", "texts"),
    [
        (ENDED, (NOT_MEASURED, NOT_MEASURED, NOT_MEASURED)),
        (replace(ENDED, elapsed_s=10.0, cpu_s=0.0, max_rss_bytes=MIB), ("10.0s", "0.0s", "1M")),
        (replace(ENDED, peak_with_cache_bytes=9 * MIB),
         (NOT_MEASURED, NOT_MEASURED, "9M with cache")),
        (replace(ENDED, max_rss_bytes=MIB, peak_with_cache_bytes=9 * MIB),
         (NOT_MEASURED, NOT_MEASURED, "1M")),
        (replace(ENDED, started_at=None, state=State.CANCELLED), ("", "", "")),
        (replace(ENDED, ended_at=None, state=State.COMPLETING), ("", "", "")),
        (replace(ENDED, started_at=None, state=State.PENDING), ("", "", "")),
    ],
)  # fmt: skip
def test_figures_as_texts(status: SliceStatus, texts: tuple[str, str, str]) -> None:
    """Only an attempt that began and ended can be "not measured"."""
    assert (elapsed_text(status, now=100), cpu_text(status), memory_text(status)) == texts
