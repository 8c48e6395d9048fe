"""COMPLETING: a slice that no longer runs, and whose result no source has reported yet.

It is in flight and has begun, so it is waited for and never submitted again. It does not run, so
the number of RUNNING slices never exceeds the throttle.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import click
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slurmslice.actions.cancel import rows_to_cancel
from slurmslice.actions.circuit_breaker import reason_to_hold, trip_circuit_breaker
from slurmslice.actions.follow import FollowOptions, is_done
from slurmslice.actions.poll import poll
from slurmslice.actions.submit import choose_failed, choose_waiting, submit
from slurmslice.actions.throttle import current_share
from slurmslice.actions.watch import watch
from slurmslice.cli.output.progress_line import progress_line
from slurmslice.run.run import Run
from slurmslice.script.progress_lines import SlotProgress
from slurmslice.spec.packing import Packing
from slurmslice.status.identity import JobIdentity
from slurmslice.status.observation import (
    NO_JOB_STEPS,
    Observation,
    SourceAnswer,
    TaskId,
    TaskReport,
)
from slurmslice.status.reconcile import SliceEvidence, SliceStatus, reconcile
from slurmslice.status.states import State
from tests.conftest import NewRun
from tests.support.fakes import Clock, FakeEngine
from tests.support.typed import Typed

MakeRun = Callable[..., tuple[Run, FakeEngine]]
START = 1_800_000_000
THROTTLE, TASKS = 12, 40
LAG_S = 100
"""Accounting lags by less than the time after which progress lines replace it."""


@dataclass(frozen=True)
class Task:
    """An array task: its start, its end, its last second in the queue, and accounting's lag."""

    starts: int
    ends: int
    gone: int
    lag: int

    def queue(self, when: int) -> TaskReport | None:
        """Return squeue's report at a time."""
        if when >= self.gone:
            return None
        if when >= self.ends:
            return TaskReport(State.COMPLETING, "COMPLETING", started_at=self.starts)
        state = State.RUNNING if when >= self.starts else State.PENDING
        return TaskReport(state, str(state))

    def accounting(self, when: int) -> TaskReport | None:
        """Return sacct's report at a time: what was true ``lag`` seconds before."""
        known = when - self.lag
        if known < self.starts:
            return None
        if known < self.ends:
            return TaskReport(State.RUNNING, "RUNNING", started_at=self.starts)
        return TaskReport(
            State.COMPLETED, "COMPLETED", exit_code=0, steps=NO_JOB_STEPS,
            started_at=self.starts, ended_at=self.ends,
        )  # fmt: skip

    def progress(self, when: int) -> SlotProgress | None:
        """Return the lines that the task has written."""
        if when < self.starts:
            return None
        lines = SlotProgress(self.starts, "n1")
        return lines if when < self.ends else replace(lines, ended_at=self.ends, exit_code=0)


@st.composite
def clusters(draw: st.DrawFn) -> list[Task]:
    """Generate an array that Slurm runs with the throttle; each end starts the next task."""
    places, tasks = [START + 1] * THROTTLE, []
    for _ in range(TASKS):
        place = places.index(min(places))
        starts = places[place]
        ends = starts + draw(st.integers(1, 60))
        tasks.append(
            Task(starts, ends, ends + draw(st.integers(0, 30)), draw(st.integers(0, LAG_S)))
        )
        places[place] = ends  # Slurm starts the next task while it cleans up after this one
    return tasks


def seen(task: Task, known: SliceStatus, when: int, *, silent: bool) -> SliceStatus:
    """Poll once, accounting first."""
    return reconcile(
        known,
        SliceEvidence(
            accounting=None if silent else task.accounting(when - 1),
            queue=task.queue(when),
            progress=task.progress(when),
            accounting_silence="down" if silent else "",
            queue_silence="",
            accounting_off=False,
            cancelled_at=None,
            array_ended_at=None,
            now=when,
        ),
    )


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(clusters(), st.lists(st.tuples(st.integers(1, 60), st.booleans()), max_size=12))
def test_never_more_slices_run_than_the_throttle_allows(
    tasks: Sequence[Task], polls: Sequence[tuple[int, bool]]
) -> None:
    """Whatever accounting's lag, RUNNING are exactly the tasks that run; and at the end none."""
    new = SliceStatus(State.SUBMITTED, "submitted", submission=1, attempt=1)
    known, now = [new] * len(tasks), START
    late = max(task.ends for task in tasks) + 400 - START
    for after, silent in [*polls, (late, False)]:
        now += after
        known = [
            one if one.state.final else seen(task, one, now, silent=silent)
            for task, one in zip(tasks, known, strict=True)
        ]
        runs = [task.starts <= now < task.ends for task in tasks]
        assert [one.state is State.RUNNING for one in known] == runs
        assert sum(runs) <= THROTTLE
    assert {one.state for one in known} == {State.COMPLETED}


def lagging(engine: FakeEngine, left: Sequence[int]) -> None:
    """Let accounting report all tasks of job 100 as RUNNING, and the queue not know some."""
    observe = engine.observe

    def late(jobs: Sequence[JobIdentity]) -> Observation:
        answer = observe(jobs)
        reports = {**answer.accounting.reports, **answer.queue.reports}
        gone: set[TaskId] = {("100", index) for index in left}
        queue = {task: r for task, r in answer.queue.reports.items() if task not in gone}
        return Observation(SourceAnswer(reports), SourceAnswer(queue))

    engine.observe = late  # type: ignore[method-assign]


def run_tasks(engine: FakeEngine, indices: Sequence[int]) -> None:
    """Let these tasks of job 100 run."""
    for index in indices:
        engine.jobs["100"].tasks[index] = TaskReport(State.RUNNING, "RUNNING", node="n1")


def test_a_run_shows_no_more_than_its_throttle(
    new_run: NewRun, engine: FakeEngine, typed: Typed
) -> None:
    """Accounting still says RUNNING for 12 tasks that left the queue, and 12 others run."""
    run = new_run("0-98%12")
    submit(run, choose_waiting(None), {}, "submit")
    run_tasks(engine, range(12))
    poll(run)
    assert run.statuses.state_counts()[State.RUNNING] == 12
    run_tasks(engine, range(24))
    lagging(engine, range(12))
    poll(run)
    counts = run.statuses.state_counts()
    assert counts == {State.RUNNING: 12, State.COMPLETING: 12, State.PENDING: 75}
    record = typed.json("status", "demo")
    assert record["counts"] == {str(state): number for state, number in counts.items()}
    assert not record["finished"]
    shown = typed("status", "demo", "--state", "COMPLETING", "--exit-code")
    assert typed.code == 4
    assert shown.count("COMPLETING") == 12
    assert typed.json("runs")[0]["in_flight"] == 99


def test_it_is_never_submitted_again(new_run: NewRun, engine: FakeEngine) -> None:
    """Neither by its name nor by its state; ``cancel`` still reaches it."""
    run = new_run("0-3")
    submit(run, choose_waiting(None), {}, "submit")
    run_tasks(engine, range(4))
    lagging(engine, [1, 2])
    poll(run)
    assert run.statuses.rows_in({State.COMPLETING}) == [1, 2]
    for choose in (choose_failed(None, [1, 2]), choose_failed(frozenset({State.COMPLETING}), None)):
        assert submit(run, choose, {}, "resubmit").accepted == []
    assert rows_to_cancel(run, [1]) == {1: [1]}
    assert len(engine.jobs) == 1


def test_its_place_under_the_throttle_is_free(new_run: NewRun, engine: FakeEngine) -> None:
    """It is an open task that does not run: Slurm has started another one in its place."""
    run = new_run("0-9%4")
    submit(run, choose_waiting(None), {}, "submit")
    run_tasks(engine, range(8))
    lagging(engine, range(4))
    poll(run)
    share = current_share(run, run.journal_state.submissions[1])
    assert (share.open_tasks, share.running_tasks) == (10, 4)


@pytest.mark.parametrize("state", [State.RUNNING, State.SUSPENDED, State.COMPLETING])
def test_a_held_run_waits_for_its_result(
    new_run: NewRun, engine: FakeEngine, clock: Clock, state: State
) -> None:
    """``run`` and ``watch`` go on until the slice has ended, and not longer."""
    run = new_run("0-39")
    submit(run, choose_waiting(None), {}, "submit")
    for index in range(20):
        engine.end("100", index, State.FAILED, exit_code=1)
    engine.jobs["100"].tasks[20] = TaskReport(state, str(state), node="n1")
    poll(run)
    trip_circuit_breaker(run)
    assert run.statuses.state(20) is state
    assert run.hold.reason
    assert not is_done(run, FollowOptions())
    seen: list[State] = []

    def look(run: Run, _: object) -> None:
        seen.append(run.statuses.state(20))
        engine.end("100", 20, State.COMPLETED, exit_code=0)

    watch(run, look, interval=0.01)
    assert seen == [state, State.COMPLETED]
    assert is_done(run, FollowOptions())


@pytest.mark.parametrize("late", [State.RUNNING, State.COMPLETING, State.COMPLETED])
def test_slices_without_a_result_do_not_trip_the_breaker(
    new_run: NewRun, engine: FakeEngine, clock: Clock, late: State
) -> None:
    """20 failures are known, and 60 slices that began beside them have no result yet."""
    run = new_run("0-99")
    submit(run, choose_waiting(None), {}, "submit")
    started = int(clock.now) - 40
    for index in range(80):
        state = State.FAILED if index < 20 else late
        engine.jobs["100"].tasks[index] = TaskReport(
            state, str(state), started_at=started, ended_at=started + 20 if state.final else None
        )
    poll(run)
    assert run.statuses.state_counts()[State.FAILED] == 20
    assert not reason_to_hold(run)


def test_the_other_slices_of_its_pack_have_not_begun(make_run: MakeRun) -> None:
    """The task leaves the queue while one slice ran; the next one is not COMPLETING."""
    run, engine = make_run(2, Packing(pack=2))
    submit(run, choose_waiting(None), {}, "submit")
    head = "job=100 restart=0 at=1799999999 host=n1"
    log = run.directory.task_log_path(1, 0)
    log.write_text(f"slurmslice start {head} slot=0 format=1\n")
    run_tasks(engine, [0])
    poll(run)
    assert [one.state for one in run.statuses] == [State.RUNNING, State.PENDING]
    lagging(engine, [0])
    poll(run)
    assert [one.state for one in run.statuses] == [State.COMPLETING, State.PENDING]


def test_the_bar_counts_it_as_begun() -> None:
    """It is not an end, and it is shown beside the ends."""
    counts = {State.COMPLETED: 1, State.RUNNING: 1, State.COMPLETING: 1}
    line = click.unstyle(progress_line(counts))
    assert "1/3 ended" in line
    assert "1 COMPLETING" in line
    assert "·" not in line
