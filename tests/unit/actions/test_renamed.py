"""A job of ours under another name: its id, claim and time of submission identify it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace

import pytest

from slurmslice.actions.attach import attach
from slurmslice.actions.cancel import cancel
from slurmslice.actions.poll import poll
from slurmslice.actions.requeued import find_requeued
from slurmslice.actions.submit import choose_waiting, submit
from slurmslice.actions.throttle import set_throttle
from slurmslice.engines.protocol import JobInfo
from slurmslice.errors import BadInputError, NoAnswerError
from slurmslice.run.run import Run
from slurmslice.spec.packing import Packing
from slurmslice.status.identity import CLOCK_TOLERANCE_S, JobIdentity
from slurmslice.status.observation import TaskReport
from slurmslice.status.reconcile import ACCOUNTING_LAG_S
from slurmslice.status.states import State
from tests.conftest import NewRun
from tests.support.errors import raises_error
from tests.support.fakes import Clock, FakeEngine

MakeRun = Callable[..., tuple[Run, FakeEngine]]
RUNNING = TaskReport(State.RUNNING, "RUNNING", node="n1", restarts=0)
TOLD = (
    "slurmslice start job=100 restart=0 at=1800000000 host=n1 slot=0 format=1\n"
    "slurmslice end job=100 restart=0 at=1800000010 host=n1 slot=0 exit=143 told=TERM\n"
)


def submitted(new_run: NewRun, engine: FakeEngine, slices: str = "0-1") -> Run:
    """Submit a run; its job has claimed the submission, and Slurm has the time of it."""
    run = new_run(slices)
    submit(run, choose_waiting(None), {}, "submit")
    claim(run)
    at = int(run.clock())
    job = engine.jobs["100"]
    job.tasks = {index: replace(RUNNING, submitted_at=at) for index in job.tasks}
    return run


def claim(run: Run) -> None:
    """Let the job claim the submission now."""
    folder = run.directory.submission_folder(1)
    (folder / "job").write_text("100\n")
    os.utime(folder / "job", (run.clock(), run.clock()))


def states(run: Run) -> list[State]:
    """Return the state of each slice."""
    return [run.statuses.state(row) for row in range(len(run.table))]


def rename(engine: FakeEngine, *indices: int) -> None:
    """Rename tasks, as ``scontrol update JobId=100_0 JobName=…`` does."""
    engine.jobs["100"].names.update(dict.fromkeys(indices, "sample_7"))


@pytest.mark.parametrize("renamed", [(0,), (0, 1)])
@pytest.mark.parametrize("state", [State.RUNNING, State.COMPLETED, State.FAILED])
def test_a_renamed_task_is_followed(
    new_run: NewRun, engine: FakeEngine, renamed: tuple[int, ...], state: State
) -> None:
    """In the queue and in accounting, whether all tasks are renamed or some."""
    run = submitted(new_run, engine)
    rename(engine, *renamed)
    tasks = engine.jobs["100"].tasks
    ended_at = int(run.clock() - ACCOUNTING_LAG_S)
    for index in tasks:
        code = int(state is State.FAILED)
        final = {"exit_code": code, "ended_at": ended_at} if state.final else {}
        tasks[index] = replace(tasks[index], state=state, word=str(state), **final)  # type: ignore[arg-type]
    poll(run)
    assert states(run) == [state, state]


def test_a_renamed_and_restarted_task_runs_once(
    new_run: NewRun, engine: FakeEngine, clock: Clock
) -> None:
    """Preempted and requeued: Slurm gives it a new time of submission, and counts the restart."""
    run = submitted(new_run, engine, "0")
    rename(engine, 0)
    run.directory.task_log_path(1, 0).write_text(TOLD)
    clock.now += ACCOUNTING_LAG_S * 2
    again = int(clock.now) - 9
    engine.jobs["100"].tasks[0] = TaskReport(
        State.PENDING, "PENDING", reason="BeginTime", restarts=1, submitted_at=again
    )
    poll(run)
    assert states(run) == [State.PENDING]
    engine.jobs["100"].tasks[0] = TaskReport(
        State.COMPLETED, "COMPLETED", exit_code=0, submitted_at=again, ended_at=again
    )
    with run.directory.task_log_path(1, 0).open("a") as log:
        log.write(TOLD.replace("restart=0", "restart=1").replace("143 told=TERM", "0"))
    clock.now += ACCOUNTING_LAG_S
    poll(run)
    assert states(run) == [State.COMPLETED]


def test_a_renamed_task_that_slurm_requeued_is_not_submitted_again(
    new_run: NewRun, engine: FakeEngine
) -> None:
    """After its end, scontrol requeue."""
    run = submitted(new_run, engine, "0")
    rename(engine, 0)
    tasks = engine.jobs["100"].tasks
    begun = tasks[0]
    tasks[0] = replace(
        begun, state=State.FAILED, exit_code=1, ended_at=int(run.clock() - ACCOUNTING_LAG_S)
    )
    poll(run)
    assert states(run) == [State.FAILED]
    tasks[0] = replace(begun, restarts=1, submitted_at=int(run.clock()) + 99)
    with run.directory.lock("test"):
        assert find_requeued(run, [0]) == [0]


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("silent", [False, True])
def test_a_signal_is_no_end_while_the_queue_has_the_job_id(
    new_run: NewRun, make_run: MakeRun, engine: FakeEngine, packed: bool, silent: bool
) -> None:
    """The clocks differ, so the time proves nothing. Its script does, once Slurm answers."""
    if packed:
        run, engine = make_run(2, Packing(pack=2))
        submit(run, choose_waiting(None), {}, "submit")
        claim(run)
    else:
        run = submitted(new_run, engine, "0")
    job = engine.jobs["100"]
    job.names = dict.fromkeys(job.tasks, "sample_7")
    far = int(run.clock()) + 3600
    job.tasks = {i: replace(RUNNING, submitted_at=far) for i in job.tasks}
    run.directory.task_log_path(1, 0).write_text(TOLD)
    run.clock = lambda: 1_800_000_000.0 + 10 * ACCOUNTING_LAG_S
    ask = engine.job_info
    if silent:
        engine.job_info = no_answer  # type: ignore[method-assign]
    poll(run)
    poll(run)
    active = State.COMPLETING if packed else State.RUNNING  # a signal ended the packed slice
    assert run.statuses.state(0) is (State.SUBMITTED if silent else active)
    assert "attach" in run.statuses[0].reason or packed or not silent
    engine.job_info = ask  # type: ignore[method-assign]
    poll(run)
    poll(run)
    assert run.statuses.state(0) is active


def no_answer(job: str) -> JobInfo:
    """The controller does not answer."""
    raise NoAnswerError("scontrol did not answer in time.")


@pytest.mark.parametrize("other", ["another script", "another submission of this run"])
def test_a_job_that_got_the_id_later_is_another(
    new_run: NewRun, engine: FakeEngine, clock: Clock, other: str
) -> None:
    """The controller lost its state. The other job's state and end are not ours."""
    run = submitted(new_run, engine, "0")
    job = engine.jobs["100"]
    rename(engine, 0)
    if other == "another script":
        job.order = replace(job.order, script=run.directory.path / "run.json")
    else:
        job.order = replace(job.order, arguments=("002",))
    job.tasks[0] = replace(RUNNING, submitted_at=int(clock.now) + 60)
    run.directory.task_log_path(1, 0).write_text(TOLD)
    clock.now += ACCOUNTING_LAG_S * 2
    poll(run)
    assert states(run) == [State.FAILED]
    assert "SIGTERM" in run.statuses[0].reason
    cancel(run, None)
    set_throttle(run, 3)
    assert (engine.cancelled, engine.throttled) == ([], [])


def test_a_renamed_array_is_cancelled_and_throttled(new_run: NewRun, engine: FakeEngine) -> None:
    """Also if every task has another name."""
    run = submitted(new_run, engine, "0-9%4")
    rename(engine, *range(10))
    poll(run)
    set_throttle(run, 2)
    assert engine.throttled == [("100", 2)]
    cancel(run, None)
    assert engine.cancelled == [("100", None)]


def test_nothing_is_called_cancelled_while_the_queue_has_the_job_id(
    new_run: NewRun, engine: FakeEngine, clock: Clock
) -> None:
    """The pending job was renamed, and the clocks differ. The request did not reach it."""
    run = new_run("0")
    submit(run, choose_waiting(None), {}, "submit")
    rename(engine, 0)
    engine.jobs["100"].tasks[0] = TaskReport(
        State.PENDING, "PENDING", submitted_at=int(clock.now) + 3600
    )
    ask, engine.job_info = engine.job_info, no_answer  # type: ignore[method-assign]
    cancel(run, None)
    clock.now += ACCOUNTING_LAG_S
    poll(run)
    assert states(run) == [State.SUBMITTED]
    engine.job_info = ask  # type: ignore[method-assign]
    poll(run)
    poll(run)
    assert states(run) == [State.PENDING]


@pytest.mark.parametrize("renamed", [(0,), (1,), (2,), (0, 2)])
def test_attach_an_array_renamed_in_part(
    new_run: NewRun, engine: FakeEngine, renamed: tuple[int, ...]
) -> None:
    """A task that still has our name is no reason to refuse the others."""
    run = new_run("0-2")
    submit(run, choose_waiting(None), {}, "submit")
    at = int(run.clock()) + 3600
    tasks = engine.jobs["100"].tasks
    tasks.update({i: replace(report, submitted_at=at) for i, report in tasks.items()})
    rename(engine, *renamed)
    assert attach(run, "100") == 1
    poll(run)
    assert states(run) == [State.PENDING] * 3
    with raises_error(BadInputError, "already-attached", job="100", submission=1):
        attach(run, "100")


NOW = 1_800_000_000


@pytest.mark.parametrize(
    ("at", "restarts", "claimed", "own"),
    [
        (NOW, 0, False, True),
        (NOW + CLOCK_TOLERANCE_S, 0, True, True),
        (NOW + 60, 0, True, False),  # a job that got the id later
        (NOW + 60, 1, True, True),  # restarted
        (NOW + 60, 1, False, False),  # no task has begun, so Slurm restarted none
        (NOW - 60, 0, True, False),  # a job that had the id before
        (NOW - 60, 1, True, False),
        (NOW + 777, 0, False, True),  # an earlier report had this time
        (None, 1, True, False),
    ],
)
def test_the_time_of_the_submission(
    at: int | None, restarts: int, claimed: bool, own: bool
) -> None:
    """It shows if a record under another name is of our job or of another with the same id."""
    identity = JobIdentity(
        "7", "ours", NOW - 1, NOW, claimed, seen_at=lambda: frozenset({NOW + 777})
    )
    report = TaskReport(State.RUNNING, "RUNNING", submitted_at=at, restarts=restarts)
    assert identity.is_submitted_as(report) is own
