"""Slices that share an array task: the status of each, and the resources of their task."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurmslice.errors import BadInputError
from slurmslice.sbatch.resource_request import ResourceRequest
from slurmslice.sbatch.units import parse_memory, parse_time
from slurmslice.script.progress_lines import SlotProgress, TaskProgress
from slurmslice.spec.packing import (
    TARGET_TASK_S,
    Packing,
    automatic_pack,
    check_packing,
    check_throttle,
    fit_time_limit,
    slice_request,
    task_request,
)
from slurmslice.status.observation import TaskReport
from slurmslice.status.reconcile import ACCOUNTING_LAG_S, SliceEvidence, SliceStatus
from slurmslice.status.reconcile_packed import reconcile_packed, requeued_status_packed
from slurmslice.status.states import FINAL_STATES, EvidenceSource, State
from tests.support.errors import raises_error

NOW = 1_800_000_000.0
KNOWN = SliceStatus(State.RUNNING, "running", submission=1, index=3, attempt=1)
NOTHING = SliceEvidence(None, None, None, "", "", False, None, None, NOW)
RUNS = TaskReport(State.RUNNING, "RUNNING", node="n3", started_at=int(NOW) - 50)
ENDING = replace(RUNS, state=State.COMPLETING, word="COMPLETING")
BEGAN = SlotProgress(int(NOW) - 40, "n3")


def ended(code: int, *, timed_out: bool = False) -> SlotProgress:
    """Return a slice that ran and ended with this exit code."""
    return replace(BEGAN, ended_at=int(NOW) - 5, exit_code=code, timed_out=timed_out)


def lost(code: int, among: int) -> SlotProgress:
    """Return a slice that ended after the kernel killed a process of its task (out of memory)."""
    return replace(ended(code), oom_candidates=among)


def signalled(code: int) -> SlotProgress:
    """Return a slice that received SIGTERM and then exited with this code."""
    return replace(ended(code), signal_received="TERM")


MEASURED = replace(ended(0), peak_bytes=640, peak_samples=9)
"""It measured its memory nine times."""
ALONE = replace(signalled(143), cancelled=True)
"""It was cancelled alone while it ran."""
NEVER = SlotProgress(None, "n3", int(NOW) - 5, cancelled=True)
"""It was cancelled alone before its start."""


def task(state: State, code: int = 1) -> TaskReport:
    """Return accounting's report of the end of the whole task."""
    return TaskReport(state, str(state), exit_code=code, ended_at=int(NOW) - 2)


def active(state: State, restarts: int) -> TaskReport:
    """Return the queue's report of the task after this number of restarts."""
    return TaskReport(state, str(state), restarts=restarts)


@pytest.mark.parametrize(
    ("rule", "own", "accounting", "queue", "state", "evidence"),
    [
        (1, ended(0), None, RUNS, State.COMPLETED, EvidenceSource.PROGRESS),
        (1, ended(5), None, RUNS, State.FAILED, EvidenceSource.PROGRESS),
        (1, ended(0), task(State.OUT_OF_MEMORY), None, State.COMPLETED, EvidenceSource.PROGRESS),
        (1, ended(3), task(State.NODE_FAIL), None, State.FAILED, EvidenceSource.PROGRESS),
        (1, ended(143, timed_out=True), None, RUNS, State.TIMEOUT, EvidenceSource.PROGRESS),
        (1, ended(0, timed_out=True), None, RUNS, State.TIMEOUT, EvidenceSource.PROGRESS),
        (1, lost(0, 1), None, RUNS, State.OUT_OF_MEMORY, EvidenceSource.PROGRESS),
        (1, lost(1, 1), task(State.OUT_OF_MEMORY), None, State.OUT_OF_MEMORY,
        EvidenceSource.PROGRESS),
        (1, lost(0, 3), task(State.OUT_OF_MEMORY), None, State.COMPLETED, EvidenceSource.PROGRESS),
        (1, ALONE, None, RUNS, State.CANCELLED, EvidenceSource.PROGRESS),
        (1, replace(ALONE, exit_code=0), None, RUNS, State.CANCELLED, EvidenceSource.PROGRESS),
        (1, replace(ALONE, exit_code=137), task(State.FAILED), None, State.CANCELLED,
         EvidenceSource.PROGRESS),
        (1, replace(ALONE, timed_out=True), None, RUNS, State.CANCELLED, EvidenceSource.PROGRESS),
        (1, NEVER, None, RUNS, State.CANCELLED, EvidenceSource.PROGRESS),
        (1, NEVER, task(State.NODE_FAIL), None, State.CANCELLED, EvidenceSource.PROGRESS),
        (1, NEVER, None, active(State.PENDING, 3), State.CANCELLED, EvidenceSource.PROGRESS),
        (1, replace(BEGAN, cancelled=True), task(State.FAILED), None, State.CANCELLED,
         EvidenceSource.PROGRESS),
        (5, replace(BEGAN, cancelled=True), None, RUNS, State.RUNNING, EvidenceSource.QUEUE),
        (2, lost(137, 1), None, RUNS, State.COMPLETING, EvidenceSource.QUEUE),
        (3, lost(137, 3), task(State.OUT_OF_MEMORY), None, State.OUT_OF_MEMORY,
         EvidenceSource.ACCOUNTING),
        (4, lost(137, 1), task(State.FAILED), None, State.OUT_OF_MEMORY, EvidenceSource.PROGRESS),
        (2, ended(137), None, RUNS, State.COMPLETING, EvidenceSource.QUEUE),
        (2, signalled(0), None, RUNS, State.COMPLETING, EvidenceSource.QUEUE),
        (2, signalled(0), None, ENDING, State.COMPLETING, EvidenceSource.QUEUE),
        (3, signalled(0), task(State.PREEMPTED), None, State.PREEMPTED, EvidenceSource.ACCOUNTING),
        (3, signalled(1), task(State.CANCELLED), None, State.CANCELLED, EvidenceSource.ACCOUNTING),
        (4, signalled(0), task(State.COMPLETED, 0), None, State.FAILED, EvidenceSource.PROGRESS),
        (4, signalled(0), task(State.FAILED), None, State.FAILED, EvidenceSource.PROGRESS),
        (4, signalled(3), task(State.FAILED), None, State.FAILED, EvidenceSource.PROGRESS),
        (4, signalled(0), task(State.OUT_OF_MEMORY), None, State.FAILED, EvidenceSource.PROGRESS),
        (3, ended(137), task(State.OUT_OF_MEMORY), None, State.OUT_OF_MEMORY,
        EvidenceSource.ACCOUNTING),
        (3, ended(143), task(State.TIMEOUT), None, State.TIMEOUT, EvidenceSource.ACCOUNTING),
        (3, ended(143), task(State.CANCELLED), None, State.CANCELLED, EvidenceSource.ACCOUNTING),
        (4, ended(143), task(State.OUT_OF_MEMORY), None, State.FAILED, EvidenceSource.PROGRESS),
        (4, ended(137), task(State.FAILED), None, State.FAILED, EvidenceSource.PROGRESS),
        (5, BEGAN, None, RUNS, State.RUNNING, EvidenceSource.QUEUE),
        (5, None, None, RUNS, State.PENDING, EvidenceSource.QUEUE),
        (5, BEGAN, None, ENDING, State.COMPLETING, EvidenceSource.QUEUE),
        (5, None, None, ENDING, State.PENDING, EvidenceSource.QUEUE),
        (5, BEGAN, RUNS, None, State.COMPLETING, EvidenceSource.QUEUE),
        (5, None, RUNS, None, State.PENDING, EvidenceSource.QUEUE),
        (5, BEGAN, None, None, State.COMPLETING, EvidenceSource.QUEUE),
        (5, BEGAN, task(State.COMPLETED, 0), None, State.COMPLETED, EvidenceSource.ACCOUNTING),
        (6, BEGAN, task(State.TIMEOUT), None, State.TIMEOUT, EvidenceSource.ACCOUNTING),
        (6, BEGAN, task(State.NODE_FAIL), None, State.NODE_FAIL, EvidenceSource.ACCOUNTING),
        (6, None, task(State.CANCELLED), None, State.CANCELLED, EvidenceSource.ACCOUNTING),
        (8, None, task(State.COMPLETED, 0), None, State.WAITING, EvidenceSource.ACCOUNTING),
        (8, None, task(State.OUT_OF_MEMORY), None, State.WAITING, EvidenceSource.ACCOUNTING),
        (8, None, task(State.FAILED), None, State.WAITING, EvidenceSource.ACCOUNTING),
    ],
)  # fmt: skip
def test_the_rules(
    rule: int,
    own: SlotProgress | None,
    accounting: TaskReport | None,
    queue: TaskReport | None,
    state: State,
    evidence: EvidenceSource,
) -> None:
    """Each rule of the table, beside a slice that ended well."""
    slots = {0: ended(0)} | ({1: own} if own else {})
    said = replace(NOTHING, accounting=accounting, queue=queue)
    status = reconcile_packed(KNOWN, said, 1, TaskProgress(0, slots), 0)
    assert (status.state, status.evidence) == (state, evidence), rule
    assert status.reason


@pytest.mark.parametrize(
    ("own", "accounting", "elapsed", "cpu"),
    [
        (replace(ended(0), elapsed_s=1.25, cpu_s=0.5), None, 1.25, 0.5),
        (replace(ended(0), elapsed_s=0.0, cpu_s=0.0), None, 0.0, 0.0),
        (ended(0), None, 35.0, None),
        (replace(ended(0), ended_at=BEGAN.started_at), None, None, None),
        (replace(signalled(0), elapsed_s=1.25), task(State.CANCELLED), 1.25, None),
        (BEGAN, task(State.TIMEOUT), 38.0, None),
    ],
)
def test_figures_are_the_slices_own(
    own: SlotProgress, accounting: TaskReport | None, elapsed: float | None, cpu: float | None
) -> None:
    """The figures of the task are never those of a slice. Whole seconds may be too coarse."""
    if accounting is not None:
        accounting = replace(accounting, elapsed_s=99, cpu_s=98, max_rss_bytes=97)
    said = replace(NOTHING, accounting=accounting, queue=None if accounting else RUNS)
    known = replace(KNOWN, max_rss_bytes=7, peak_with_cache_bytes=7, cpu_s=7.0)
    status = reconcile_packed(known, said, 1, TaskProgress(0, {0: ended(0), 1: own}), 0)
    assert status.state.final
    assert (status.elapsed_s, status.cpu_s) == (elapsed, cpu)
    assert (status.max_rss_bytes, status.peak_with_cache_bytes) == (None, None)


@pytest.mark.parametrize(
    ("own", "accounting", "peak"),
    [
        (MEASURED, None, 640),
        (MEASURED, task(State.NODE_FAIL), 640),
        (replace(MEASURED, exit_code=None), task(State.TIMEOUT), 640),
        (replace(MEASURED, exit_code=137, oom_candidates=1), task(State.FAILED), None),
    ],
)
def test_the_peak_memory_is_what_the_task_measured_for_the_slice(
    own: SlotProgress, accounting: TaskReport | None, peak: int | None
) -> None:
    """Not for a slice that the kernel killed: its peak was between two measurements."""
    said = replace(NOTHING, accounting=accounting, queue=None if accounting else RUNS)
    status = reconcile_packed(KNOWN, said, 1, TaskProgress(0, {0: ended(0), 1: own}), 0)
    assert status.state.final
    assert (status.max_rss_bytes, status.peak_samples) == (peak, peak and 9)


def test_a_kill_beside_a_counted_one_is_not_out_of_memory() -> None:
    """The script counted the out-of-memory kill, and it was another slice's."""
    said = replace(NOTHING, accounting=task(State.OUT_OF_MEMORY))
    wrote = TaskProgress(0, {0: lost(0, 1), 1: ended(137)})
    states = [reconcile_packed(KNOWN, said, slot, wrote, 0).state for slot in (0, 1)]
    assert states == [State.OUT_OF_MEMORY, State.FAILED]


@pytest.mark.parametrize(
    ("what", "state"),
    [
        ({"accounting_off": True, "accounting_silence": "off"}, State.FAILED),
        ({"accounting_off": True, "accounting_silence": "off", "cancelled_at": NOW - 9},
         State.CANCELLED),
        ({"accounting_off": True, "accounting_silence": "off", "queue_silence": "timed out"},
         State.COMPLETING),
        ({"now": NOW + ACCOUNTING_LAG_S}, State.FAILED),
        ({"now": NOW + ACCOUNTING_LAG_S, "queue_silence": "timed out"}, State.COMPLETING),
    ],
)  # fmt: skip
def test_an_unexplained_signal_is_no_success(what: dict[str, Any], state: State) -> None:
    """The command may have saved its work and exited 0. While the queue is silent it is open."""
    wrote = TaskProgress(0, {1: signalled(0)})
    status = reconcile_packed(KNOWN, replace(NOTHING, **what), 1, wrote, 0)
    assert status.state is state
    assert "SIGTERM" in status.reason


@pytest.mark.parametrize("end", [State.FAILED, State.NODE_FAIL, State.TIMEOUT])
def test_a_cancelled_slice_whose_task_ended_before_its_turn(end: State) -> None:
    """It is not returned: it would run again, although a person has cancelled it."""
    said = replace(NOTHING, accounting=task(end), cancelled_at=NOW - 9)
    status = reconcile_packed(KNOWN, said, 1, TaskProgress(0, {0: ended(0)}), 0)
    assert (status.state, status.exit_code, status.elapsed_s) == (State.CANCELLED, None, None)


@pytest.mark.parametrize("slots", [{}, {0: BEGAN}, {1: ended(0)}])
def test_a_cancelled_slice_is_not_completed_before_its_line_can_be_seen(
    slots: dict[int, SlotProgress],
) -> None:
    """Its task is COMPLETED although the slice was cancelled. A slow disk shows its line later."""
    report = replace(task(State.COMPLETED, 0), started_at=int(NOW) - 50)
    said = replace(NOTHING, accounting=report, cancelled_at=NOW - 9)
    found = reconcile_packed(KNOWN, said, 0, TaskProgress(0, slots), 0, has_log=True)
    assert found.state.in_flight


def test_a_slice_that_goes_on_is_not_cancelled_by_the_request() -> None:
    """Its task may have left the queue with all slices done: its lines and accounting decide."""
    known = replace(KNOWN, state=State.PENDING)
    said = replace(NOTHING, cancelled_at=NOW - ACCOUNTING_LAG_S)
    alone = replace(said, task_goes_on=True)
    assert reconcile_packed(known, said, 1, TaskProgress(), 0).state is State.CANCELLED
    assert reconcile_packed(known, alone, 1, TaskProgress(), 0).state is State.PENDING


@pytest.mark.parametrize("own", [ALONE, NEVER])
def test_slurm_does_not_run_a_cancelled_slice_again(own: SlotProgress) -> None:
    """The file of cancelled slots holds for each start of the task."""
    known, wrote = replace(KNOWN, state=State.CANCELLED), TaskProgress(0, {1: own})
    for queue in (RUNS, active(State.PENDING, 1), active(State.RUNNING, 1)):
        assert requeued_status_packed(known, queue, 1, wrote) is None


def test_a_slice_without_an_end_line_has_no_exit_code() -> None:
    """The task's exit code is another slice's: the disk was full for the end line, for example."""
    wrote = TaskProgress(0, {0: ended(0), 1: BEGAN})
    said = replace(NOTHING, accounting=task(State.FAILED))
    status = reconcile_packed(KNOWN, said, 1, wrote, 0)
    assert (status.state, status.exit_code) == (State.FAILED, None)
    assert "no end" in status.reason


@pytest.mark.parametrize(
    ("own", "end", "code"),
    [
        (signalled(143), task(State.CANCELLED), 143),
        (signalled(0), task(State.PREEMPTED), 0),
        (ended(137), task(State.OUT_OF_MEMORY), 137),
        (ended(143), task(State.TIMEOUT, 0), 143),
        (BEGAN, task(State.CANCELLED), None),
        (BEGAN, task(State.NODE_FAIL, 0), None),
        (BEGAN, task(State.COMPLETED, 0), 0),
    ],
)
def test_the_exit_code_is_the_slices_own(
    own: SlotProgress, end: TaskReport, code: int | None
) -> None:
    """Slurm gives one exit code for all slices of a task: 1:0 of a cancelled one."""
    said = replace(NOTHING, accounting=end)
    status = reconcile_packed(KNOWN, said, 1, TaskProgress(0, {0: ended(0), 1: own}), 0)
    assert (status.state, status.exit_code, status.signal) == (end.state, code, None)


@pytest.mark.parametrize("own", [signalled(143), signalled(0), ended(137), ended(143), BEGAN, None])
def test_a_slice_whose_runner_has_ended_waits_for_the_next_one(own: SlotProgress | None) -> None:
    """The cause of a signal is known: the runner of this machine was interrupted."""
    waits = TaskReport(State.WAITING, "WAITING", reason="interrupted")
    said = replace(NOTHING, queue=waits)
    wrote = TaskProgress(0, {0: ended(0)} | ({1: own} if own else {}))
    status = reconcile_packed(KNOWN, said, 1, wrote, 0)
    assert (status.state, status.reason) == (State.WAITING, "interrupted")


def test_a_task_that_ends_before_its_first_slice_counts_the_second_time() -> None:
    """A slice is returned once, because the node may be bad. The second time it fails."""
    said = replace(NOTHING, accounting=task(State.FAILED))
    wrote = TaskProgress(0, {}, setup_exit=7)
    first = reconcile_packed(KNOWN, said, 1, wrote, 0)
    second = reconcile_packed(KNOWN, said, 1, wrote, 1)
    assert (first.state, second.state) == (State.WAITING, State.FAILED)
    assert "setup" in second.reason


@pytest.mark.parametrize(
    ("own", "restart", "queue", "again"),
    [
        (ended(1), 0, active(State.RUNNING, 0), False),
        (ended(1), 1, active(State.RUNNING, 1), False),
        (ended(1), 0, active(State.PENDING, 1), False),
        (ended(143, timed_out=True), 0, active(State.RUNNING, 1), False),
        (ended(137), 1, active(State.RUNNING, 1), False),
        (signalled(0), 0, active(State.PENDING, 1), True),
        (signalled(143), 0, active(State.RUNNING, 0), True),  # the controller has lost the scancel
        (ended(137), 0, active(State.PENDING, 1), True),
        (ended(137), 0, active(State.RUNNING, 1), True),
        (BEGAN, 1, active(State.RUNNING, 1), True),
        (None, 1, active(State.RUNNING, 1), True),
        (ended(1), 0, None, False),
    ],
)
def test_an_ended_slice_runs_again_only_with_its_task(
    own: SlotProgress | None, restart: int, queue: TaskReport | None, again: bool
) -> None:
    """This is so if it was ended from outside. The script keeps its own result."""
    known = replace(KNOWN, state=State.FAILED)
    wrote = TaskProgress(restart, {0: own} if own else {1: BEGAN})
    status = requeued_status_packed(known, queue, 0, wrote)
    assert (status is not None) == again


SLOTS = st.none() | st.builds(
    lambda code, late: ended(code, timed_out=late) if code is not None else BEGAN,
    st.none() | st.integers(0, 255),
    st.booleans(),
)


@given(SLOTS, st.sampled_from([s for s in State if s.value.isupper()]), st.booleans())
def test_nothing_is_final_without_evidence(
    own: SlotProgress | None, state: State, silent: bool
) -> None:
    """While its task has not ended, a slice is final only by its own end line."""
    queue = None if silent or state in FINAL_STATES else TaskReport(state, str(state))
    said = replace(
        NOTHING,
        queue=queue,
        queue_silence="down" if silent else "",
        accounting_silence="down" if silent else "",
    )
    slots = {} if own is None else {0: own}
    status = reconcile_packed(KNOWN, said, 0, TaskProgress(0, slots), 0)
    if status.state.final:
        assert own is not None
        assert own.exit_code is not None
        assert status.evidence is EvidenceSource.PROGRESS


@given(st.integers(1, 50), st.integers(1, 8), st.integers(1, 10**6), st.integers(1, 10**5))
def test_a_slices_request_survives_the_way_to_its_task_and_back(
    pack: int, at_once: int, mib: int, seconds: int
) -> None:
    """A task requests its slices at once and all turns; a slice gets its own part back."""
    packing = Packing(pack, min(at_once, pack), seconds)
    asked = ResourceRequest.of(
        {"mem": f"{mib}M", "time": f"0:{seconds}", "cpus-per-task": "3", "qos": "x"}
    )
    of_all = task_request(asked, packing)
    parts = packing.at_once if pack > 1 else 1
    assert parse_memory(of_all["mem"]) == mib * parts
    assert of_all["cpus-per-task"] == str(3 * parts)
    assert parse_time(of_all["time"]) == seconds * (packing.rounds if pack > 1 else 1)
    back = slice_request(of_all, packing)
    assert (parse_memory(back["mem"]), back["cpus-per-task"]) == (mib, "3")
    assert (parse_time(back["time"]), back["qos"]) == (seconds, "x")


@given(st.integers(1, 500), st.integers(1, 8), st.integers(1, 7200), st.integers(1, 86400))
def test_a_pack_is_cut_to_the_partitions_limit(
    pack: int, at_once: int, seconds: int, most: int
) -> None:
    """A task is never longer than the partition allows, with at least one slice in a turn."""
    made = fit_time_limit(Packing(pack, min(at_once, pack), seconds), most)
    assert 1 <= made.at_once <= made.pack <= pack
    assert made.rounds == 1 or made.rounds * seconds <= most


@given(st.floats(0.001, 10**5), st.integers(1, 8), st.integers(1, 10**5))
def test_automatic_packs_take_about_a_quarter_of_an_hour(
    slice_s: float, at_once: int, slices: int
) -> None:
    """A pack takes no longer, unless one slice does, and has no more slices than the run."""
    pack = automatic_pack(slice_s, at_once, slices)
    assert pack >= at_once
    assert pack <= max(slices, at_once)
    if pack > at_once:
        assert pack * slice_s / at_once <= TARGET_TASK_S + 1


@pytest.mark.parametrize(
    ("options", "packing", "other"),
    [
        ((("nodes", "2"),), Packing(4), "nodes"),
        ((("gpus", "1"),), Packing(4, 2), "gpus"),
        ((("gres", "gpu:2"),), Packing(4, 2), "gres"),
        ((("ntasks", "4"),), Packing(4, 2), "ntasks"),
    ],
)
def test_resources_that_a_task_cannot_divide_are_refused(
    options: tuple[tuple[str, str], ...], packing: Packing, other: str
) -> None:
    """Several nodes in a pack; GPUs or processes if several slices run at a time."""
    with raises_error(BadInputError, "options-conflict", other=other):
        check_packing(ResourceRequest(options), packing)


def test_at_once_is_at_most_the_slices_of_a_task() -> None:
    """A task of one slice cannot run two at a time."""
    with raises_error(BadInputError, "at-once-exceeds-pack", option="at-once", value=2):
        check_packing(ResourceRequest(), Packing(1, 2))


def test_gpus_one_after_another_are_fine() -> None:
    """A pack that runs one slice at a time may have GPUs."""
    check_packing(ResourceRequest.of({"gpus": "1", "nodes": "1"}), Packing(4))
    check_packing(ResourceRequest.of({"nodes": "2", "gpus": "4"}), Packing())


def test_a_throttle_below_the_slices_of_a_task_is_refused() -> None:
    """Such a throttle could not be kept."""
    check_throttle(4, 4)
    check_throttle(None, 4)
    with raises_error(BadInputError, "throttle-below-at-once", throttle=3, at_once=4):
        check_throttle(3, 4)
