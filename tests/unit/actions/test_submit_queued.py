"""Each queued slice is submitted once, if it fits: arrays, limits, throttle, circuit breaker."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slurmslice.actions.attach import attach
from slurmslice.actions.cancel import cancel
from slurmslice.actions.circuit_breaker import trip_circuit_breaker
from slurmslice.actions.follow import (
    TICK_OPTIONS,
    FollowOptions,
    follow,
    follow_step,
    is_done,
    record_policy,
)
from slurmslice.actions.poll import poll
from slurmslice.actions.release import release
from slurmslice.actions.submit import choose_failed, choose_waiting, submit
from slurmslice.actions.submit_queued import submit_queued
from slurmslice.actions.throttle import set_throttle
from slurmslice.engines.protocol import SubmitRequest
from slurmslice.errors import BadInputError, SubmissionRejectedError, TooManyTasksError
from slurmslice.policy.circuit_breaker import FEWEST_FAILURES
from slurmslice.run.run import Run
from slurmslice.sbatch.resource_request import NO_REQUEST, ResourceRequest
from slurmslice.slices.slice_table import SliceTable
from slurmslice.spec.packing import Packing
from slurmslice.status.identity import JobIdentity
from slurmslice.status.observation import TaskReport
from slurmslice.status.states import State
from tests.conftest import NewRun
from tests.support.errors import raises_error
from tests.support.fakes import Clock, FakeEngine
from tests.support.plans import a_plan, planned

Reopen = Callable[[Run], Run]
ALL = choose_waiting(None)
FAILED = choose_failed(None, None)
KEYS = SliceTable([f"k{n}" for n in range(2500)])


def states(run: Run) -> Counter[State]:
    """Count the slices in each state."""
    return Counter(run.statuses.state_counts())


def carried(run: Run, engine: FakeEngine) -> Counter[int]:
    """Count the submissions of each row, by the cluster's records and the task tables."""
    rows: Counter[int] = Counter()
    pack = run.record.packing.pack
    for job in engine.jobs.values():
        table = run.directory.task_table_path(job.order.number).read_text().splitlines()[1:]
        for index in job.order.array:
            lines = table[index * pack : (index + 1) * pack]
            rows.update(int(line.split("\t")[0]) for line in lines)
    return rows


def to_the_end(run: Run, engine: FakeEngine, state: State = State.COMPLETED) -> None:
    """Tick until nothing is queued or in flight; every task ends in one state."""
    for _ in range(2000):
        engine.end_all(state)
        poll(run)
        if (
            not submit_queued(run, "tick").accepted
            and not run.journal_state.queue
            and not run.submissions_in_flight()
        ):
            return
    raise AssertionError("it never ended")


def test_more_slices_than_an_array_holds(new_run: NewRun, engine: FakeEngine) -> None:
    """2500 slices, MaxArraySize 1001: three submissions, each slice in one of them."""
    run = new_run(KEYS)
    accepted = submit(run, ALL, {}, "submit").accepted
    assert [len(t.planned.batch.rows) for t in accepted] == [1001, 1001, 498]
    assert set(carried(run, engine).values()) == {1}
    assert len(carried(run, engine)) == 2500
    to_the_end(run, engine)
    assert states(run) == {State.COMPLETED: 2500}


def test_failures_of_all_arrays_are_resubmitted_once(new_run: NewRun, engine: FakeEngine) -> None:
    """Exactly the failed slices of all arrays are submitted again."""
    run = new_run(KEYS)
    submit(run, ALL, {}, "submit")
    engine.end_all()
    for job, index in (("100", 5), ("101", 5), ("102", 497)):
        engine.end(job, index, State.FAILED)
    poll(run)
    (again,) = submit(run, FAILED, {}, "resubmit").accepted
    assert list(again.planned.batch.rows) == [5, 1006, 2499]
    to_the_end(run, engine)
    assert states(run) == {State.COMPLETED: 2500}
    assert Counter(carried(run, engine).values()) == {1: 2497, 2: 3}


def test_never_more_tasks_than_the_limit(new_run: NewRun, engine: FakeEngine) -> None:
    """Slices that do not fit wait with a reason, and are submitted as others end."""
    engine.most = 30
    run = new_run(SliceTable([f"k{n}" for n in range(100)]))
    outcome = submit(run, ALL, {}, "submit")
    assert [len(t.planned.batch.rows) for t in outcome.accepted] == [30]
    assert "MaxSubmit" in outcome.wait_reason
    assert states(run) == {State.SUBMITTED: 30, State.WAITING: 70}
    assert "room" in run.statuses[50].reason
    assert submit_queued(run, "tick").accepted == []
    for index in range(10):
        engine.end("100", index, State.COMPLETED)
    poll(run)
    assert [len(t.planned.batch.rows) for t in submit_queued(run, "tick").accepted] == [10]
    to_the_end(run, engine)
    assert set(carried(run, engine).values()) == {1}
    assert states(run) == {State.COMPLETED: 100}


def test_an_unknown_limit_is_found_by_halving(new_run: NewRun, engine: FakeEngine) -> None:
    """After a temporary rejection the next array has half the size; after a success, twice."""

    def limit(order: SubmitRequest) -> None:
        queued = sum(not r.state.final for j in engine.jobs.values() for r in j.tasks.values())
        if queued + len(order.array) > 30:
            raise TooManyTasksError("Slurm takes no more for now: AssocMaxSubmitJobLimit")

    engine.on_submit = limit
    run = new_run(SliceTable([f"k{n}" for n in range(100)]))
    sizes = [
        len(t.planned.batch.rows) for _ in range(4) for t in submit(run, ALL, {}, "s").accepted
    ]
    assert sizes == [25]
    assert states(run)[State.WAITING] == 75
    to_the_end(run, engine)
    assert states(run) == {State.COMPLETED: 100}
    assert set(carried(run, engine).values()) == {1}


def test_a_final_rejection_stops_at_once_and_loses_nothing(
    new_run: NewRun, engine: FakeEngine
) -> None:
    """The first array runs on, nothing is queued any more, and a later submit can repair it."""

    def refuse(order: SubmitRequest) -> None:
        if order.number == 2:
            raise SubmissionRejectedError("Slurm refused the submission: invalid account")

    engine.on_submit = refuse
    run = new_run(KEYS)
    outcome = submit(run, ALL, {}, "submit")
    with pytest.raises(SubmissionRejectedError):
        outcome.raise_error(ignore_temporary=True)
    assert len(outcome.accepted) == 1
    assert not run.journal_state.queue
    assert states(run) == {State.SUBMITTED: 1001, State.WAITING: 1499}
    assert submit_queued(run, "tick").accepted == []
    submit(run, ALL, {"account": "b"}, "submit")
    assert set(carried(run, engine).values()) == {1}
    assert len(carried(run, engine)) == 2500


def test_two_at_once_submit_each_slice_once(
    new_run: NewRun, engine: FakeEngine, reopen: Reopen
) -> None:
    """Two processes tick, each with a state from before the other wrote."""
    engine.most = 40
    first = new_run(SliceTable([f"k{n}" for n in range(90)]))
    submit(first, ALL, {}, "submit")
    second = reopen(first)
    for _ in range(20):
        engine.end_all()
        poll(first)
        poll(second)
        submit_queued(second, "tick")
        submit_queued(first, "tick")
    assert set(carried(first, engine).values()) == {1}
    assert states(reopen(first)) == {State.COMPLETED: 90}


def test_queued_slices_survive_the_process(
    new_run: NewRun, engine: FakeEngine, reopen: Reopen
) -> None:
    """A tick of another process submits the slices that ``submit`` and ``resubmit`` left queued."""
    engine.most = 3
    run = new_run("0-9")
    submit(run, ALL, {}, "submit")
    engine.end_all(State.OUT_OF_MEMORY)
    poll(run)
    submit(run, choose_failed(None, None), {"mem": "8G"}, "resubmit")
    other = reopen(run)
    assert len(other.journal_state.queue) == 10 - 3
    to_the_end(other, engine)
    assert {job.order.request.mem_mib for job in engine.jobs.values()} == {None, 8192}
    assert states(other) == {State.COMPLETED: 10}
    assert reopen(other).journal_state.attempts == [2, 2, 2] + [1] * 7


def test_queued_slices_can_be_cancelled(new_run: NewRun, engine: FakeEngine) -> None:
    """A queued slice is CANCELLED at once, and never submitted."""
    engine.most = 3
    run = new_run("0-9")
    submit(run, ALL, {}, "submit")
    assert cancel(run, [8, 9]) == [8, 9]
    to_the_end(run, engine)
    assert states(run) == {State.COMPLETED: 8, State.CANCELLED: 2}


@pytest.mark.usefixtures("unmeasured")
def test_the_throttle_limits_the_whole_run(new_run: NewRun, engine: FakeEngine) -> None:
    """All arrays together never run more tasks than the throttle, and use most of it.

    If one array has no more tasks, the next one is submitted at the poll that sees it.
    """
    run = new_run(SliceTable([f"k{n}" for n in range(2500)]))
    set_throttle(run, 20)
    submit(run, ALL, {}, "submit")
    assert [job.order.array.throttle for job in engine.jobs.values()] == [20]
    limits, below = {"100": 20}, 0
    for _ in range(400):
        for job, limit in engine.throttled:
            limits[job] = limit or 0
        for job, accepted in engine.jobs.items():
            limits.setdefault(job, accepted.order.array.throttle or 0)
        running = _run_some(engine, limits)
        assert running <= 20
        below += running < 20
        poll(run)
        if not submit_queued(run, "tick").accepted and run.finished:
            break
    assert states(run) == {State.COMPLETED: 2500}
    assert set(carried(run, engine).values()) == {1}
    assert below <= 5  # two polls at each change from one array to the next, and the end


def _run_some(engine: FakeEngine, limits: dict[str, int]) -> int:
    """End the running tasks, then start as many as the shares allow; return their number."""
    from slurmslice.status.observation import TaskReport

    running = 0
    for job, accepted in engine.jobs.items():
        for index, report in accepted.tasks.items():
            if report.state is State.RUNNING:
                engine.end(job, index, State.COMPLETED)
        pending = [i for i, r in accepted.tasks.items() if r.state is State.PENDING]
        for index in pending[: limits[job]]:
            accepted.tasks[index] = TaskReport(State.RUNNING, "RUNNING")
            running += 1
    return running


def test_a_higher_share_is_journalled_before_it_is_set(new_run: NewRun, engine: FakeEngine) -> None:
    """A kill between the journal and scontrol leaves the shares too small, never too large."""
    run = new_run("0-99%10")
    submit(run, ALL, {}, "submit")
    told: list[int | None] = []

    def listen(job: JobIdentity, limit: int | None) -> None:
        told.append(limit)
        known = run.journal_state.submissions[1].share
        assert known is not None
        assert limit is not None
        assert known >= limit

    engine.throttle = listen  # type: ignore[method-assign]
    set_throttle(run, 4)
    set_throttle(run, 9)
    assert told == [4, 9]
    assert run.journal_state.submissions[1].share == 9


@pytest.mark.parametrize("state", [State.FAILED, State.TIMEOUT])
def test_the_breaker_holds_the_rest(new_run: NewRun, engine: FakeEngine, state: State) -> None:
    """The first 20 slices have all failed: nothing more starts, and a note says so."""
    run = new_run("0-99%5")
    submit(run, ALL, {}, "submit")
    for index in range(FEWEST_FAILURES):
        engine.end("100", index, state)
    poll(run)
    record_policy(run, max_attempts=3)
    follow_step(run, FollowOptions())
    assert engine.held == ["100"]
    assert len(engine.jobs) == 1
    assert str(FEWEST_FAILURES) in run.hold.reason
    follow(run, FollowOptions(), lambda *_: None)  # it ends
    release(run)
    assert engine.released == ["100"]
    engine.end_all()
    poll(run)
    trip_circuit_breaker(run)
    assert not run.hold.reason
    assert states(run)[State.COMPLETED] == 80


def test_the_breaker_ignores_a_run_with_a_completed_slice(
    new_run: NewRun, engine: FakeEngine
) -> None:
    """One completed slice shows that the command can work."""
    run = new_run("0-99")
    submit(run, ALL, {}, "submit")
    for index in range(FEWEST_FAILURES + 5):
        engine.end("100", index, State.FAILED)
    engine.end("100", 50, State.COMPLETED)
    poll(run)
    follow_step(run, FollowOptions())
    assert not engine.held


def test_the_breaker_stops_attempts_too(new_run: NewRun, engine: FakeEngine) -> None:
    """All 50 slices ran at once and failed, so nothing waits: none gets its second attempt."""
    run = new_run("0-49")
    record_policy(run, max_attempts=3)
    follow_step(run, FollowOptions())
    engine.end_all(State.FAILED)
    poll(run)
    outcome = follow_step(run, FollowOptions())
    assert not outcome.accepted
    assert len(engine.jobs) == 1
    assert run.hold.reason
    assert run.statuses.state_counts() == {State.FAILED: 50}
    assert is_done(run, FollowOptions())


def test_failures_before_a_resubmission_count(
    new_run: NewRun, engine: FakeEngine, clock: Clock
) -> None:
    """Ten slices end at a time, and are submitted again: the breaker counts their attempts."""
    run = new_run("0-39%10")
    record_policy(run, max_attempts=9)
    follow_step(run, FollowOptions())
    attempts = 0
    while not run.hold.reason:
        assert attempts < 2 * FEWEST_FAILURES
        clock.now += 100
        for job in engine.jobs:
            for index in [i for i, r in engine.jobs[job].tasks.items() if not r.state.final][:5]:
                engine.end(job, index, State.FAILED, ended_at=int(clock.now))
                attempts += 1
        run = Run(run.directory, engine, clock)  # as each `tick` does
        poll(run)
        follow_step(run, FollowOptions())
    assert len(engine.jobs) > 1
    release(run)
    clock.now += 1
    run = Run(run.directory, engine, clock)
    trip_circuit_breaker(run)
    assert not run.hold.reason


def test_follow_continues_over_arrays_and_limits(
    new_run: NewRun, engine: FakeEngine, clock: Clock
) -> None:
    """``run`` submits until all slices are done."""
    engine.most = 7
    run = new_run("0-49")

    def work() -> None:
        clock.now += 5
        engine.end_all()

    shown: list[str] = []
    engine.on_wait = work
    follow(
        run,
        FollowOptions(),
        lambda run, polled, outcome: shown.extend(a.job for a in outcome.accepted),
    )
    assert states(run) == {State.COMPLETED: 50}
    assert shown == list(engine.jobs)  # each submission is shown, once


def test_a_queued_request_is_doubled_once(
    new_run: NewRun, engine: FakeEngine, clock: Clock
) -> None:
    """``run RUN --mem 2x`` doubles the request of queued slices once, after any number of polls."""
    engine.most = 2
    run = new_run("0-9", mem="1G")
    engine.on_wait = engine.end_all
    follow(run, FollowOptions(plan=a_plan(run, ALL, {"mem": "2x"})), lambda *_: None)
    assert {job.order.request.mem_mib for job in engine.jobs.values()} == {2048}
    assert len(engine.jobs) == 5


@pytest.mark.usefixtures("unmeasured")
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(1, 120), st.integers(1, 9), st.integers(1, 4), st.integers(1, 11), st.data())
def test_for_all_sizes_each_slice_runs_once(
    make_run: Callable[..., tuple[Run, FakeEngine]],
    slices: int,
    pack: int,
    at_once: int,
    most: int,
    data: st.DataObject,
) -> None:
    """Packed or not, with any limit: every slice is submitted once."""
    pack = min(pack, slices)
    run, engine = make_run(slices, Packing(pack, min(at_once, pack)))
    engine.most = most
    submit(run, ALL, {}, "submit")
    for _ in range(300):
        assert len(run.journal_state.queue) + sum(carried(run, engine).values()) == slices
        engine.end_all()
        poll(run)
        if not submit_queued(run, "tick").accepted and not run.journal_state.queue:
            break
    assert set(carried(run, engine).values()) == {1}
    assert len(carried(run, engine)) == slices
    assert states(run) == {State.COMPLETED: slices}


def test_some_slices_of_a_pack_get_their_own_table(
    make_run: Callable[..., tuple[Run, FakeEngine]],
) -> None:
    """--only in a packed run submits these slices once, and fences the script."""
    run, engine = make_run(20, Packing(5))
    submit(run, choose_waiting([3, 4]), {}, "submit")
    submit(run, ALL, {}, "submit")
    assert run.directory.is_fenced(1)
    assert carried(run, engine) == Counter(range(20))


def test_a_request_of_a_pack_is_of_one_slice(
    make_run: Callable[..., tuple[Run, FakeEngine]],
) -> None:
    """--mem 2x and --time 2x of a pack: its task gets P times the memory, K/P times the time."""
    packing = Packing(6, 2, 60)
    run, engine = make_run(12, packing, options=(("mem", "100M"), ("time", "1")))
    submit(run, ALL, {}, "submit")
    needs = engine.jobs["100"].order.request
    assert (needs.mem_mib, needs.time_s) == (200, 180)
    engine.end_all(State.TIMEOUT)
    for path in range(2):
        run.directory.task_log_path(1, path).write_text(
            "".join(
                f"slurmslice {what} job=100 restart=0 at=1 host=n slot={slot}{rest}\n"
                for slot in range(6)
                for what, rest in (("start", ""), ("timeout", ""), ("end", " exit=143"))
            )
        )
    poll(run)
    assert states(run) == {State.TIMEOUT: 12}
    (again,) = submit(run, FAILED, {"mem": "2x", "time": "2x"}, "resubmit").accepted
    order = engine.jobs[again.job].order
    assert (order.request.mem_mib, order.request.time_s) == (400, 360)
    assert order.arguments == ("002", "120")


@pytest.mark.parametrize(
    ("slices", "changes", "seconds"),
    [(1, {}, 60), (3, {}, 120), (6, {}, 180), (7, {}, 180), (3, {"time": "2x"}, 240)],
)
def test_a_smaller_pack_requests_less_time(
    make_run: Callable[..., tuple[Run, FakeEngine]],
    slices: int,
    changes: dict[str, str],
    seconds: int,
) -> None:
    """A smaller pack, two slices at a time: the time of the rounds that it needs."""
    run, engine = make_run(12, Packing(6, 2, 60), options=(("mem", "100M"), ("time", "1")))
    submit(run, ALL, {}, "submit")
    cancel(run, None)
    poll(run)
    again = choose_failed(frozenset({State.CANCELLED}), range(slices))
    (accepted,) = submit(run, again, changes, "resubmit").accepted
    needs = engine.jobs[accepted.job].order.request
    assert (needs.mem_mib, needs.time_s) == (200, seconds)


def test_a_time_limit_that_was_edited_stays(
    make_run: Callable[..., tuple[Run, FakeEngine]],
) -> None:
    """An edited line of the script is not overridden."""
    run, engine = make_run(12, Packing(6, 2, 60), options=(("time", "1"),))
    edited = run.directory.script.read_text().replace("--time=00:03:00", "--time=00:10:00")
    run.directory.script.write_text(edited)
    (accepted,) = submit(run, choose_waiting([3, 4]), {}, "submit").accepted
    assert engine.jobs[accepted.job].order.request.time_s == 600


def test_a_failed_slice_of_a_pack_is_resubmitted_at_once(
    make_run: Callable[..., tuple[Run, FakeEngine]],
) -> None:
    """The end is final: if its task starts again, the slice keeps its state."""
    run, engine = make_run(3, Packing(pack=3))
    submit(run, ALL, {}, "submit")
    line = "slurmslice {} job=100 restart=0 at=1800000000 host=n slot=0{}\n"
    log = run.directory.task_log_path(1, 0)
    log.write_text(line.format("start", "") + line.format("end", " exit=3"))
    engine.jobs["100"].tasks[0] = TaskReport(State.RUNNING, "RUNNING", restarts=0)
    poll(run)
    assert run.statuses.state(0) is State.FAILED
    (accepted,) = submit(run, FAILED, {}, "resubmit").accepted
    assert list(accepted.planned.batch.rows) == [0]
    engine.jobs["100"].tasks[0] = TaskReport(State.PENDING, "PENDING", restarts=1)
    poll(run)
    assert run.journal_state.holder == [2, 1, 1]
    assert states(run) == {State.PENDING: 3}


def test_slices_that_their_task_never_began_are_resubmitted(
    make_run: Callable[..., tuple[Run, FakeEngine]],
) -> None:
    """It was submitted but not tried: `tick` submits it like a new one."""
    run, engine = make_run(3, Packing(pack=3))
    submit(run, ALL, {"mem": "50M"}, "submit")
    log = run.directory.task_log_path(1, 0)
    log.write_text("slurmslice start job=100 restart=0 at=1800000000 host=n slot=0\n")
    engine.end("100", 0, State.NODE_FAIL)
    poll(run)
    assert states(run) == {State.NODE_FAIL: 1, State.WAITING: 2}
    (accepted,) = follow_step(run, TICK_OPTIONS).accepted
    assert sorted(accepted.planned.batch.rows) == [1, 2]
    assert accepted.planned.batch.changes == ResourceRequest.of({"mem": "50M"})
    assert run.journal_state.attempts == [1, 1, 1]


def test_a_renamed_job_can_be_attached(new_run: NewRun, engine: FakeEngine) -> None:
    """Neither its name nor a time shows that it is ours: it counts as foreign without an answer."""
    run = new_run("0-4")
    submit(run, ALL, {}, "submit")
    job = engine.jobs["100"]
    job.order = replace(job.order, job_name="renamed")
    poll(run)
    assert states(run) == {State.SUBMITTED: 5}
    assert attach(run, "100") == 1
    poll(run)
    assert states(run) == {State.PENDING: 5}
    cancel(run, None)
    assert engine.cancelled == [("100", None)]
    with raises_error(BadInputError, "already-attached", job="100", submission=1):
        attach(run, "100")


def test_a_job_under_another_name_can_be_attached(new_run: NewRun, engine: FakeEngine) -> None:
    """``attach`` accepts a job by its script and claim, and refuses a job of another script."""
    run = new_run("0-4")
    (draft,) = planned(run, ALL)
    order = draft.submit_request(run)
    theirs = SubmitRequest(1, "another name", "", order.script, order.folder, order.array,
    NO_REQUEST, (), order.request)  # fmt: skip
    engine.submit(theirs)
    assert attach(run, "100") == 1
    poll(run)
    assert states(run) == {State.PENDING: 5}
    with raises_error(BadInputError, "already-attached", job="100", submission=1):
        attach(run, "100")
    with raises_error(BadInputError, "unknown-job", job="999"):
        attach(run, "999")
    job_info = engine.job_info
    engine.job_info = lambda job: replace(job_info(job), command=f"{order.script} foo")  # type: ignore[method-assign]
    engine.submit(replace(theirs, job_name="a third"))
    with raises_error(BadInputError, "foreign-job", job="101"):
        attach(run, "101")
    engine.job_info = job_info  # type: ignore[method-assign]
    stranger = order.folder.parent / "stranger.sh"
    stranger.write_text("#!/bin/bash\n")
    engine.submit(
        SubmitRequest(
            1, "x", "", stranger, order.folder, order.array, NO_REQUEST, (), order.request
        )
    )
    with raises_error(BadInputError, "foreign-job", job="102"):
        attach(run, "102")
