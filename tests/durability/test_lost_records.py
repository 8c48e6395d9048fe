"""Lost, emptied or cut task logs: the slice's own log proves that it began."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from slurmslice.actions.poll import poll
from slurmslice.actions.submit import choose_waiting, submit
from slurmslice.actions.submit_queued import submit_queued
from slurmslice.run.run import Run
from slurmslice.script.progress_lines import SlotProgress, TaskProgress
from slurmslice.script.template_files import OwnTemplate
from slurmslice.spec.packing import Packing
from slurmslice.status.observation import TaskReport
from slurmslice.status.reconcile_packed import reconcile_packed
from slurmslice.status.states import State
from tests.support.fakes import FakeEngine
from tests.unit.status.test_reconcile_packed import BEGAN, KNOWN, NOTHING, NOW, ended, task

MakeRun = Callable[..., tuple[Run, FakeEngine]]
TEMPLATE = OwnTemplate(Path("mine.sh.j2"), '{% extends "array.sh.j2" %}')
LINE = "slurmslice {} job=100 restart=0 at=1800000000 host=n1 slot={}\n"


def began(run: Run, *rows: int) -> None:
    """Create the logs that the slices' own processes create."""
    for row in rows:
        run.directory.log_path(1, run.table.log_name(row)).touch()


def polled(run: Run, engine: FakeEngine, report: TaskReport, *, after_s: int = 60) -> None:
    """End all tasks with this report in the past, and poll."""
    report = replace(report, ended_at=int(run.clock()) - after_s, started_at=1)
    for job in engine.jobs.values():
        job.tasks.update(dict.fromkeys(job.tasks, report))
    poll(run)


DONE = TaskReport(State.COMPLETED, "COMPLETED", exit_code=0)
FAILED = TaskReport(State.FAILED, "FAILED", exit_code=1)


@pytest.mark.parametrize("pack", [1, 2])
@pytest.mark.parametrize("own", [{"setup": "module load x"}, {"template": TEMPLATE}])
@pytest.mark.parametrize("log", [None, "", "loading\n"])
def test_a_slice_with_a_log_has_run(
    make_run: MakeRun, pack: int, own: dict[str, str], log: str | None
) -> None:
    """Slurm says COMPLETED, and the disk was full for the task's log: COMPLETED, at once."""
    run, engine = make_run(2, Packing(pack=pack), **own)
    submit(run, choose_waiting(None), {}, "submit")
    began(run, 0, 1)
    for index in range(2 // pack if log is not None else 0):
        run.directory.task_log_path(1, index).write_text(log or "")
    polled(run, engine, DONE, after_s=0)
    assert run.statuses.state_counts() == {State.COMPLETED: 2}


@pytest.mark.parametrize("log", [None, "", LINE.format("start", 2)])
def test_a_slice_of_a_pack_that_began_is_not_returned(make_run: MakeRun, log: str | None) -> None:
    """It is not known if it was done: it is FAILED, and does not run again without a request."""
    run, engine = make_run(4, Packing(pack=4))
    submit(run, choose_waiting(None), {}, "submit")
    began(run, 0, 1, 2)
    if log is not None:
        run.directory.task_log_path(1, 0).write_text(log)
    polled(run, engine, FAILED, after_s=0)
    assert not any(
        run.statuses[row].state.final for row in (0, 1)
    )  # its log may not be visible yet
    polled(run, engine, FAILED)
    assert run.statuses.state_counts() == {State.FAILED: 3, State.WAITING: 1}
    for row in (0, 1):
        assert "lost" in run.statuses[row].reason
        assert run.statuses[row].exit_code is None
    assert list(choose_waiting(None)(run)) == [3]


def test_an_unreadable_log_returns_no_slice(make_run: MakeRun) -> None:
    """An error is no answer: the lines may be readable later."""
    run, engine = make_run(2, Packing(pack=2))
    submit(run, choose_waiting(None), {}, "submit")
    log = run.directory.task_log_path(1, 0)
    os.mkfifo(log)
    polled(run, engine, FAILED)
    assert run.statuses.state_counts() == {State.SUBMITTED: 2}
    assert "cannot be read" in run.statuses[0].reason
    log.unlink()
    log.write_text(LINE.format("start", 0) + LINE.format("end", "0 exit=0"))
    polled(run, engine, FAILED)
    assert run.statuses.state_counts() == {State.COMPLETED: 1, State.WAITING: 1}


@pytest.mark.parametrize("state", [State.TIMEOUT, State.NODE_FAIL, State.FAILED, State.CANCELLED])
@pytest.mark.parametrize("times_returned", [0, 1])
@pytest.mark.parametrize("wrote", [TaskProgress(), TaskProgress(0, {0: ended(0)}),
                                   TaskProgress(1, setup_exit=1)])  # fmt: skip
def test_an_unrecorded_end_is_failed(
    state: State, times_returned: int, wrote: TaskProgress
) -> None:
    """It may have been done before. If its task was cancelled, it is CANCELLED."""
    said = replace(NOTHING, accounting=task(state), now=NOW + 60)
    status = reconcile_packed(KNOWN, said, 1, wrote, times_returned, has_log=True)
    assert status.state is (state if state is State.CANCELLED else State.FAILED)
    assert state is State.CANCELLED or str(state) in status.reason


def test_exit_0_of_a_task_means_that_all_its_slices_are_done() -> None:
    """The script exits 0 only if all slices are done, even if their progress lines are lost."""
    said = replace(NOTHING, accounting=task(State.COMPLETED, 0), now=NOW + 60)
    wrote = TaskProgress(0, {0: ended(0)})
    assert reconcile_packed(KNOWN, said, 1, wrote, 0, has_log=True).state is State.COMPLETED
    assert reconcile_packed(KNOWN, said, 1, wrote, 0).state is State.WAITING


@pytest.mark.parametrize(
    "wrote", [TaskProgress(1, {0: BEGAN}, frozenset({1})), TaskProgress(0, {1: BEGAN})]
)
def test_the_log_of_an_older_start_is_no_beginning_of_this_one(wrote: TaskProgress) -> None:
    """The task's log records that older start, so no line is lost: the slice is returned."""
    known = replace(KNOWN, restarts=1)
    said = replace(NOTHING, accounting=task(State.TIMEOUT), now=NOW + 60)
    assert reconcile_packed(known, said, 1, wrote, 0, has_log=True).state is State.WAITING


def test_any_line_of_a_slice_says_that_it_began() -> None:
    """Its start line was lost, and its timeout line exists."""
    wrote = TaskProgress(0, {0: ended(0), 1: SlotProgress(host="n3", timed_out=True)})
    said = replace(NOTHING, accounting=task(State.TIMEOUT))
    assert reconcile_packed(KNOWN, said, 1, wrote, 0).state is State.TIMEOUT


@pytest.mark.parametrize("lost", ["emptied", "unreadable"])
@pytest.mark.parametrize("rest", [True, False])
def test_a_slice_that_began_was_not_cancelled_before_its_start(
    make_run: MakeRun, lost: str, rest: bool
) -> None:
    """Accounting has one record for all unstarted tasks, or none; but the slice began."""
    run, engine = make_run(3, Packing())
    submit(run, choose_waiting(None), {}, "submit")
    (job,) = engine.jobs.values()
    if lost == "emptied":
        began(run, 1)
        run.directory.task_log_path(1, 1).write_text("")
    else:
        os.mkfifo(run.directory.task_log_path(1, 1))
    over = int(run.clock()) - 1000
    job.tasks = dict.fromkeys((0, 2), replace(DONE, ended_at=over, started_at=1))
    gone = TaskReport(State.CANCELLED, "CANCELLED by 0", ended_at=over, is_array_summary=True)
    job.tasks |= dict.fromkeys((1,) if rest else (), gone)
    poll(run)
    assert run.statuses.state_counts() == {State.COMPLETED: 2, State.COMPLETING: 1}


def test_a_setup_that_ended_the_script_is_no_slice_that_began(make_run: MakeRun) -> None:
    """Slurm reports COMPLETED, but the command was not run."""
    run, engine = make_run(1, Packing(), setup="module load x")
    submit(run, choose_waiting(None), {}, "submit")
    line = "slurmslice setup job=100 restart=0 at=1800000000 host=n1 exit=0\n"
    run.directory.task_log_path(1, 0).write_text(line)
    polled(run, engine, DONE)
    assert run.statuses.state_counts() == {State.FAILED: 1}


def test_a_returned_slice_does_not_run_beside_its_task(make_run: MakeRun) -> None:
    """scontrol requeue of a pack over its time limit: its task runs the rest."""
    run, engine = make_run(3, Packing(pack=3))
    submit(run, choose_waiting(None), {}, "submit")
    log = run.directory.task_log_path(1, 0)
    log.write_text(LINE.format("start", 0) + LINE.format("end", "0 exit=0"))
    engine.most = 0
    polled(run, engine, TaskReport(State.TIMEOUT, "TIMEOUT"))
    submit_queued(run, "tick")
    assert sorted(run.journal_state.queue) == [1, 2]

    engine.most, engine.restarted = None, True
    engine.jobs["100"].tasks[0] = TaskReport(State.RUNNING, "RUNNING", restarts=1)
    assert submit_queued(run, "tick").accepted == []
    poll(run)
    states = [run.statuses.state(row) for row in range(3)]
    assert states == [State.COMPLETED, State.PENDING, State.PENDING]
    assert run.journal_state.attempts == [1, 1, 1]
    more = LINE.format("start", 1) + LINE.format("end", "1 exit=0")
    log.write_text(log.read_text() + more.replace("restart=0", "restart=1"))
    polled(run, engine, TaskReport(State.TIMEOUT, "TIMEOUT", restarts=1))
    assert run.statuses.state_counts() == {State.COMPLETED: 2, State.WAITING: 1}
    (accepted,) = submit_queued(run, "tick").accepted
    assert list(accepted.planned.batch.rows) == [2]
