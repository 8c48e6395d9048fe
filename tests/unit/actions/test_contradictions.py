"""Accounting or the queue says COMPLETED, and the task's own lines say otherwise: no success."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from slurmslice.actions.poll import poll
from slurmslice.actions.submit import choose_waiting, submit
from slurmslice.run.journal import Cancelled
from slurmslice.run.run import Run
from slurmslice.spec.packing import Packing
from slurmslice.status.observation import Observation, SourceAnswer, TaskReport
from slurmslice.status.reconcile import ACCOUNTING_LAG_S
from slurmslice.status.reconcile_packed import FILE_VISIBLE_S
from slurmslice.status.states import State
from tests.conftest import NewRun
from tests.support.fakes import Clock, FakeEngine

MakeRun = Callable[..., tuple[Run, FakeEngine]]
DONE = TaskReport(State.COMPLETED, "COMPLETED", exit_code=0)


def lines(*events: str, restart: int = 0) -> str:
    """Return the progress lines of these events: ``end slot=0 exit=1``."""
    parts = (event.split(" ", 1) for event in events)
    head = f"job=100 restart={restart} at=1800000000 host=n1"
    return "".join(f"slurmslice {kind} {head} {rest}\n" for kind, rest in parts)


START = "start slot=0 format=1"
CHECK = "check slot=0 exit=4"


def polled(run: Run, engine: FakeEngine, report: TaskReport, log: str) -> None:
    """Submit, let the first task end like this long ago with this log, and poll."""
    submit(run, choose_waiting(None), {}, "submit")
    run.directory.task_log_path(1, 0).write_text(log)
    ended_at = int(run.clock() - ACCOUNTING_LAG_S)
    engine.jobs["100"].tasks[0] = replace(report, ended_at=ended_at, started_at=1)
    poll(run)


MEMBERS = [
    ((START, "end slot=0 exit=1"), State.FAILED, 1, "exit 1"),
    ((START, "end slot=0 exit=143"), State.FAILED, 143, "SIGTERM"),
    ((START, "end slot=0 exit=139"), State.FAILED, 139, "SIGSEGV"),
    ((START, "end slot=0 exit=0 told=TERM"), State.FAILED, 0, "SIGTERM"),
    ((START, "end slot=0 exit=0 told=HUP"), State.FAILED, 0, "SIGHUP"),
    ((START, CHECK, "end slot=0 exit=4"), State.CHECK_FAILED, 0, "check"),
    ((START, CHECK), State.CHECK_FAILED, 0, "check"),  # the disk was full for the end line
    (("setup exit=5",), State.FAILED, 5, "setup"),
    (("setup exit=0",), State.FAILED, 1, "setup"),
]


@pytest.mark.parametrize("source", ["accounting", "queue"])
@pytest.mark.parametrize(("events", "state", "code", "word"), MEMBERS)
def test_the_tasks_own_lines_say_that_it_failed(
    new_run: NewRun,
    engine: FakeEngine,
    monkeypatch: pytest.MonkeyPatch,
    source: str,
    events: tuple[str, ...],
    state: State,
    code: int,
    word: str,
) -> None:
    """COMPLETED 0:0 in accounting, or in the queue of a cluster without accounting."""
    run = new_run("0")
    if source == "queue":
        observe = engine.observe
        off = SourceAnswer(silence="off", off=True)
        monkeypatch.setattr(
            engine, "observe", lambda jobs: Observation(off, observe(jobs).accounting)
        )
    polled(run, engine, DONE, lines(*events))
    status = run.statuses[0]
    assert (status.state, status.exit_code) == (state, code)
    assert word in status.reason
    assert f"COMPLETED in {source}" in status.reason


@pytest.mark.parametrize(
    ("events", "state", "word"),
    [
        ((START, "end slot=0 exit=0 told=TERM"), State.FAILED, "SIGTERM"),
        ((START, "end slot=0 exit=137"), State.FAILED, "SIGKILL"),
        ((START, CHECK), State.CHECK_FAILED, "check"),
        ((START, "timeout slot=0"), State.TIMEOUT, "time limit"),
        ((START, "memory slot=0 of=1"), State.OUT_OF_MEMORY, "memory"),
    ],
)
def test_a_slice_of_a_pack_under_a_completed_task(
    make_run: MakeRun, events: tuple[str, ...], state: State, word: str
) -> None:
    """Its own line counts, also without its end. The other slice of the task is COMPLETED."""
    run, engine = make_run(2, Packing(pack=2))
    good = ("start slot=1 format=1", "end slot=1 exit=0")
    polled(run, engine, DONE, lines(*events, *good))
    assert [run.statuses.state(row) for row in (0, 1)] == [state, State.COMPLETED]
    assert word in run.statuses[0].reason
    assert "COMPLETED" in run.statuses[0].reason


@pytest.mark.parametrize("report", [replace(DONE, exit_code=3), replace(DONE, signal=9)])
def test_a_record_that_contradicts_itself(
    new_run: NewRun, engine: FakeEngine, report: TaskReport
) -> None:
    """One record says COMPLETED and has an exit code or a signal."""
    run = new_run("0")
    polled(run, engine, report, lines(START, "end slot=0 exit=0"))
    assert run.statuses.state(0) is State.FAILED
    assert "COMPLETED" in run.statuses[0].reason


def test_a_cancelled_slice_that_saved_its_work(new_run: NewRun, engine: FakeEngine) -> None:
    """It received the signal of its cancellation. It is CANCELLED, not COMPLETED."""
    run = new_run("0")
    submit(run, choose_waiting(None), {}, "submit")
    run.decide(Cancelled(1, "0", run.clock()))
    run.directory.task_log_path(1, 0).write_text(lines(START, "end slot=0 exit=0 told=TERM"))
    engine.jobs["100"].tasks[0] = replace(DONE, ended_at=int(run.clock() - ACCOUNTING_LAG_S))
    poll(run)
    assert run.statuses.state(0) is State.CANCELLED


def test_lines_of_an_older_start_contradict_nothing(new_run: NewRun, engine: FakeEngine) -> None:
    """Slurm restarted the task, and the queue has shown that start."""
    run = new_run("0")
    submit(run, choose_waiting(None), {}, "submit")
    run.directory.task_log_path(1, 0).write_text(lines(START, "end slot=0 exit=0 told=TERM"))
    engine.jobs["100"].tasks[0] = TaskReport(State.RUNNING, "RUNNING", restarts=1)
    poll(run)
    engine.jobs["100"].tasks[0] = replace(DONE, ended_at=int(run.clock() - ACCOUNTING_LAG_S))
    poll(run)
    assert run.statuses.state(0) is State.COMPLETED


def test_the_lines_of_a_newer_start_may_not_be_visible_yet(
    new_run: NewRun, engine: FakeEngine, clock: Clock
) -> None:
    """For a minute the lines that contradict may be those of an older start."""
    run = new_run("0")
    submit(run, choose_waiting(None), {}, "submit")
    log = run.directory.task_log_path(1, 0)
    log.write_text(lines(START, "end slot=0 exit=1"))
    engine.jobs["100"].tasks[0] = replace(DONE, ended_at=int(clock.now))
    poll(run)
    assert run.statuses.state(0) is State.COMPLETING
    with log.open("a") as more:
        more.write(lines(START, "end slot=0 exit=0", restart=1))
    clock.now += FILE_VISIBLE_S
    poll(run)
    assert run.statuses.state(0) is State.COMPLETED
