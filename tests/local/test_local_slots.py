"""The local engine: the number of tasks that run at once, and the choice of the runner."""

from __future__ import annotations

import time

import pytest

from slurmslice.engines.local import machine
from slurmslice.engines.local.runner import Runner
from slurmslice.run.journal import Held, Released
from slurmslice.status.states import State
from tests.local.test_local_tasks import WORKS_ON, Bench, bench, quiet, until

__all__ = ["bench", "quiet"]

HELD = """
    echo "+" >>$NOTES/trace
    until [ -e $NOTES/go ] || [ -e $NOTES/go.$SLURM_ARRAY_TASK_ID ]; do sleep 0.02; done
    echo "-" >>$NOTES/trace
"""
"""A task that runs until a file ``go`` exists."""


def most_at_once(trace: list[str]) -> int:
    """Return the highest number of tasks that ran at once, from their lines."""
    level = most = 0
    for line in trace:
        level += 1 if line == "+" else -1
        most = max(most, level)
    return most


def fills(bench: Bench, slots: int, array: str, **needs: object) -> None:
    """Check that exactly ``slots`` tasks of an array run at once, until all have run."""
    bench.notes.joinpath("trace").unlink(missing_ok=True)
    bench.notes.joinpath("go").unlink(missing_ok=True)
    job = bench.submit(HELD, array, **needs)
    bench.until(lambda: len(bench.lines("trace")) == slots)
    bench.engine.wait(0.3)
    assert bench.lines("trace") == ["+"] * slots
    bench.notes.joinpath("go").touch()
    reports = bench.finish(job)
    assert {report.state for report in reports.values()} == {State.COMPLETED}
    assert len(bench.lines("trace")) == 2 * len(job.array)
    assert most_at_once(bench.lines("trace")) == slots


@pytest.fixture
def two_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the machine have two usable CPUs."""
    monkeypatch.setattr(machine, "usable_cpus", lambda affinity, quota: 2)


@pytest.fixture
def eight_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the machine have eight usable CPUs."""
    monkeypatch.setattr(machine, "usable_cpus", lambda affinity, quota: 8)
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(8)))


def test_as_many_as_cpus(bench: Bench, two_cpus: None) -> None:
    """Tasks of one CPU use all CPUs, and no more tasks run."""
    fills(bench, 2, "0-19")


def test_cpus_a_task(bench: Bench, eight_cpus: None) -> None:
    """With ``-c 3`` on eight CPUs, two tasks run at once."""
    fills(bench, 2, "0-9", cpus=3)


def test_the_next_starts_when_one_ends(bench: Bench, two_cpus: None) -> None:
    """The next task starts as soon as one task ends, while the other continues."""
    job = bench.submit(HELD, "0-3")
    bench.until(lambda: len(bench.lines("trace")) == 2)
    (bench.notes / "go.0").touch()
    bench.until(lambda: bench.lines("trace").count("+") == 3)
    assert {i for i, r in bench.queue(job).items() if r.state == "RUNNING"} == {1, 2}
    assert {i for i, r in bench.queue(job).items() if r.state == "PENDING"} == {3}
    (bench.notes / "go").touch()
    bench.finish(job)


def test_throttle(bench: Bench, two_cpus: None) -> None:
    """With ``%3``, three tasks run at once, even on two CPUs."""
    fills(bench, 3, "0-19%3")


def test_throttle_from_another_process(bench: Bench, two_cpus: None) -> None:
    """Any process can set and remove a throttle while tasks run."""
    job = bench.submit(HELD, "0-9%1")
    bench.until(lambda: bench.lines("trace") == ["+"])
    bench.throttle(job, 4)
    bench.until(lambda: bench.lines("trace").count("+") == 4)
    bench.throttle(job, 2)
    bench.until(lambda: bench.engine._source.jobs["1"].throttle == 2)
    for index in range(3):
        (bench.notes / f"go.{index}").touch()
    bench.until(lambda: bench.lines("trace").count("+") == 5)
    assert len([r for r in bench.queue(job).values() if r.state == "RUNNING"]) == 2
    bench.throttle(job, None)
    (bench.notes / "go").touch()
    bench.finish(job)


def test_a_held_run_starts_no_task(bench: Bench, two_cpus: None) -> None:
    """While a run is held, running tasks continue, and no other task starts."""
    job = bench.submit(HELD, "0-3")
    bench.until(lambda: len(bench.lines("trace")) == 2)
    bench.record(Held("why", time.time()))
    bench.until(lambda: bench.engine._source.held)
    (bench.notes / "go").touch()
    bench.until(lambda: len(bench.ended(job)) == 2)
    bench.engine.wait(0.3)
    assert bench.lines("trace").count("+") == 2
    bench.record(Released(time.time()))
    bench.finish(job)
    assert bench.lines("trace").count("+") == 4


def test_memory_limits_the_number_too(
    bench: Bench, eight_cpus: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory requests must fit into the available memory, whatever the throttle is."""
    monkeypatch.setattr(machine.Machine, "free_memory", lambda self: 1000 << 20)
    fills(bench, 3, "0-9%5", mem_mib=300)


def test_one_task_runs_without_free_memory(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """If no task runs, one task starts in any case."""
    monkeypatch.setattr(machine.Machine, "free_memory", lambda self: 1 << 20)
    fills(bench, 1, "0-4%5", mem_mib=300)


def test_the_load_of_others_counts(
    bench: Bench, eight_cpus: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CPUs that other programs use are not used, unless there is a throttle."""

    def five(load: machine.OtherLoad, ours: float) -> None:
        load.others = 5.2

    monkeypatch.setattr(machine.OtherLoad, "measure", five)
    fills(bench, 3, "0-9")
    fills(bench, 6, "0-9%6")


def test_jobs_of_another_process_are_run(bench: Bench, two_cpus: None) -> None:
    """The present runner runs a job that another process submits."""
    first = bench.submit(HELD, "0")
    bench.until(lambda: bench.lines("trace"))
    second = bench.next_job("echo second $$ >>$NOTES/second", "7")
    bench.accept(second)  # only the journal has it, as if another process had submitted it
    bench.until(lambda: bench.lines("second"))
    assert bench.engine.has_running_tasks
    (bench.notes / "go").touch()
    bench.finish(first)
    bench.finish(second)
    bench.until(lambda: not bench.engine.has_running_tasks)


def test_no_job_is_lost_when_the_runner_stops(bench: Bench) -> None:
    """A job that arrives while the runner stops is run."""
    runner = bench.elsewhere(WORKS_ON)
    jobs = []
    for _ in range(30):
        jobs.append(bench.submit("echo $SLURM_ARRAY_JOB_ID >>$NOTES/jobs"))
        until(lambda: len(bench.lines("jobs")) == len(jobs))
    assert runner.poll() is None
    assert sorted(map(int, bench.lines("jobs"))) == list(range(1, 31))


def test_two_processes_that_wait_run_nothing_twice(bench: Bench) -> None:
    """If several processes wait, each task runs once."""
    job = bench.submit("echo $SLURM_ARRAY_TASK_ID >>$NOTES/ran; sleep 0.01", "0-49%4")
    others = [bench.elsewhere(WORKS_ON) for _ in range(2)]
    bench.finish(job)
    assert all(process.poll() is None for process in others)
    assert sorted(map(int, bench.lines("ran"))) == list(range(50))


def test_a_waiting_runner_sleeps(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A runner at its throttle sleeps until something happens."""
    rounds = 0
    run_once = Runner.run_once

    def count_rounds(runner: Runner, until: float) -> bool:
        nonlocal rounds
        rounds += 1
        return run_once(runner, until)

    monkeypatch.setattr(Runner, "run_once", count_rounds)
    bench.submit(HELD, "0-3%2")
    bench.until(lambda: len(bench.lines("trace")) == 2)
    before = rounds
    bench.engine.wait(1.0)
    assert rounds - before < 50
    bench.notes.joinpath("go").touch()
    bench.until(lambda: len(bench.lines("trace")) == 8)
