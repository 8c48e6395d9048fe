"""The local engine: no process outlives its task, and no result is lost after a kill."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import suppress

import psutil
import pytest

from slurmslice.engines.local import LocalEngine, machine, orphans, workers
from slurmslice.engines.local.memory_cgroup import create_memory_groups
from slurmslice.run.journal_jobs import JournalJobs
from slurmslice.status.states import State
from tests.local.test_local_slots import HELD
from tests.local.test_local_tasks import WORKS_ON, Bench, bench, hasty, quiet, until

__all__ = ["bench", "hasty", "quiet"]

LONG = f"30.{os.getpid()}"
"""The duration of the sleeps of ``FAMILY``. It also identifies their processes."""

FAMILY = f"""
    sleep {LONG} &
    setsid sleep {LONG} &
    (setsid bash -c 'sleep {LONG} & sleep {LONG}' &)
    (sleep {LONG} & exec setsid sleep {LONG}) &
    setsid env -i /bin/sleep {LONG} &
    echo "+" >>$NOTES/trace
"""
"""Children that stay, or leave the group, the session, the parent or the environment."""


def test_children_do_not_outlive_their_task(bench: Bench) -> None:
    """Detached processes of a task are ended when its script ends."""
    job = bench.submit(FAMILY, "0-2")
    bench.finish(job)
    bench.until(lambda: not bench.marked())  # workers that have no task left also end
    assert not sleepers()


def test_a_task_keeps_its_own_daemons(bench: Bench) -> None:
    """Detached processes of a running task survive the end of other tasks."""
    keeper = "(setsid bash -c 'sleep 1; echo alive >>$NOTES/alive' &); sleep 1.3"
    script = f"export NOTES; [ $SLURM_ARRAY_TASK_ID = 0 ] || exit 0; {keeper}"
    bench.run(script, "0-9%3")
    assert bench.lines("alive") == ["alive"]


def test_close_ends_all_processes(bench: Bench, hasty: None) -> None:
    """After close() no process is left. Unfinished tasks are WAITING, completed ones stay so."""
    job = bench.submit(f"[ $SLURM_ARRAY_TASK_ID = 0 ] && exit 0; {FAMILY} sleep {LONG}", "0-5%2")
    bench.until(lambda: len(bench.lines("trace")) == 2 and 0 in bench.ended(job))
    bench.engine.close()
    assert not bench.engine.has_running_tasks
    assert not bench.marked()
    assert not sleepers()
    assert bench.ended(job)[0].state is State.COMPLETED
    assert sorted(bench.queue(job)) == [1, 2, 3, 4, 5]
    assert bench.states(job) == {State.WAITING}
    reason = bench.queue(job)[1].reason
    assert reason.startswith("interrupted: its runner")
    assert str(os.getpid()) in reason


def test_a_claimed_job_is_never_run_by_another_runner(bench: Bench) -> None:
    """A task that became WAITING runs only in a new submission."""
    job = bench.submit(HELD, "0-3%2")
    bench.until(lambda: len(bench.lines("trace")) == 2)
    bench.engine.close()
    (bench.notes / "go").touch()
    other = bench.another()
    again = bench.submit("echo again >>$NOTES/again", "0-1")
    bench.until(lambda: not bench.queue(again), other)
    assert len(bench.lines("again")) == 2
    assert bench.states(job) == {State.WAITING}
    assert bench.lines("trace") == ["+", "+"]
    other.close()


def test_close_sends_sigterm_first(bench: Bench) -> None:
    """A task gets SIGTERM and has the grace time to clean up."""
    job = bench.submit("trap 'sleep 0.2; echo tidy; exit' TERM; echo up; sleep 300 & wait")
    bench.until(lambda: (job.folder / "tasks/0.log").exists() and bench.log(job))
    bench.engine.close()
    assert bench.log(job) == "up\ntidy\n"
    assert bench.states(job) == {State.WAITING}


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGHUP, signal.SIGTERM])
def test_a_runner_that_dies_leaves_no_orphan(bench: Bench, number: int) -> None:
    """The tasks of a killed runner end, without another command."""
    job = bench.submit(f"{FAMILY} sleep {LONG}", "0-3%2")
    runner = bench.elsewhere(WORKS_ON)
    until(lambda: len(bench.lines("trace")) == 2)
    runner.send_signal(number)
    runner.wait()
    until(lambda: not bench.marked() and not sleepers())
    assert bench.states(job) == {State.WAITING}
    assert f"process {runner.pid} on" in bench.queue(job)[3].reason


def test_who_only_looks_ends_nothing(bench: Bench, hasty: None) -> None:
    """For a run of another user: its runner's file is neither locked nor emptied."""
    job = bench.submit(HELD, "0-3%2")
    bench.until(lambda: len(bench.lines("trace")) == 2)
    looker = LocalEngine(bench.run_dir, JournalJobs(bench.directory), only_looks=True)
    assert bench.states(job, looker) == {State.RUNNING, State.PENDING}
    bench.engine.close()
    dead = f"4194305 {os.uname().nodename} 1"
    (bench.run_dir / "local" / "runner").write_text(f"{dead}\n")
    (job.folder / "job").write_text(f"{job.number}\n{dead}\n")
    assert bench.states(job, looker) == {State.WAITING}
    assert (bench.run_dir / "local" / "runner").read_text() == f"{dead}\n"


def test_ctrl_c(bench: Bench) -> None:
    """SIGINT is a KeyboardInterrupt in ``wait``. Tasks do not get it; close() ends them."""
    job = bench.submit("trap 'echo INT >>$NOTES/int' INT; sleep 300 & echo >>$NOTES/up; wait")
    program = """
        try:
            while True: engine.wait(5)
        except KeyboardInterrupt:
            engine.close()
            print("closed", flush=True)
    """
    runner = bench.elsewhere(program)
    until(lambda: bench.lines("up"))
    runner.send_signal(signal.SIGINT)
    assert runner.communicate()[0] == "closed\n"
    assert not bench.marked()
    assert not bench.lines("int")
    assert bench.states(job) == {State.WAITING}
    assert f"process {runner.pid} on" in bench.queue(job)[0].reason


def test_a_second_ctrl_c_ends_the_grace(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """An interrupted close() kills all tasks at once, and then they are WAITING."""
    job = bench.submit("trap '' TERM; echo >>$NOTES/up; while :; do sleep 1; done")
    bench.until(lambda: bench.lines("up"))
    runner = bench.engine._runner
    assert runner is not None

    def interrupted(timeout: float) -> object:
        raise KeyboardInterrupt

    monkeypatch.setattr(runner._pool, "wait_for_ends", interrupted)
    before = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        bench.engine.close()
    assert time.monotonic() - before < 3
    assert not bench.marked()
    assert bench.states(job) == {State.WAITING}


def test_a_kill_by_the_runner_is_no_failure(bench: Bench) -> None:
    """A kill that overtakes the stop leaves the task WAITING: bash runs the trap of QUIT first."""
    job = bench.submit("trap '' TERM; echo >>$NOTES/up; while :; do sleep 1; done", "0-1")
    bench.until(lambda: len(bench.lines("up")) == 2)
    runner = bench.engine._runner
    assert runner is not None
    runner._pool.kill_tasks()
    bench.engine.close()
    assert not bench.marked()
    assert bench.states(job) == {State.WAITING}


@pytest.mark.parametrize("how", [workers.STOP, workers.TIME_IS_UP])
def test_a_signal_that_bash_loses_is_repeated(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, how: signal.Signals
) -> None:
    """Bash loses the trap of a signal if another signal comes while the trap begins."""
    send, lost = workers.Worker.send_signal, list[int]()

    def lossy(worker: workers.Worker, number: int) -> None:
        if lost:
            send(worker, number)
        lost.append(number)

    monkeypatch.setattr(workers, "REPEAT_S", 0.05)
    monkeypatch.setattr(workers.Worker, "send_signal", lossy)
    job = bench.submit("echo >>$NOTES/up; sleep 300")
    bench.until(lambda: bench.lines("up"))
    assert bench.engine._runner is not None
    (worker,) = bench.engine._runner._pool.workers
    worker.end_task(how)
    bench.until(lambda: worker.index is None)
    assert lost[:2] == [how, how]
    if how == workers.STOP:
        assert bench.states(job) == {State.WAITING}
    else:
        assert bench.ended(job)[0].state is State.TIMEOUT


@pytest.mark.parametrize("how", [workers.STOP, workers.TIME_IS_UP, signal.SIGUSR1])
def test_a_signal_never_costs_the_result_of_an_ended_task(
    bench: Bench, how: signal.Signals
) -> None:
    """A task that has ended gets no signal, also if its worker has not noticed the end."""
    script = "echo >>$NOTES/up; until [[ -e $NOTES/go ]]; do sleep 0.01; done"
    job = bench.submit(script, time_s=3600, options=(("signal", "B:USR1@60"),))
    bench.until(lambda: bench.lines("up"))
    assert bench.engine._runner is not None
    (worker,) = bench.engine._runner._pool.workers
    os.kill(worker.pid, signal.SIGSTOP)
    until(lambda: psutil.Process(worker.pid).status() == psutil.STATUS_STOPPED)
    (bench.notes / "go").touch()
    until(lambda: machine.is_zombie(machine.children(worker.pid)[0]))
    if how == signal.SIGUSR1:
        worker.send_warning()
    else:
        worker.end_task(how)
    os.kill(worker.pid, signal.SIGCONT)
    assert bench.finish(job)[0].state is State.COMPLETED


def workers_of(pid: int) -> list[psutil.Process]:
    """Return the workers of a runner."""
    return psutil.Process(pid).children()


def test_a_worker_that_is_killed(bench: Bench) -> None:
    """The runner ends its processes and continues. Its task is FAILED, as on Slurm."""
    job = bench.submit(f"[ -e $NOTES/go ] && exit; {FAMILY} sleep {LONG} & wait", "0-3%2")
    bench.until(lambda: len(bench.lines("trace")) == 2)
    family = set(bench.marked())
    killed = workers_of(os.getpid())[0]
    below = set(killed.children(recursive=True))
    (bench.notes / "go").touch()
    killed.kill()
    bench.until(lambda: len(bench.ended(job)) == 3)
    states = sorted(report.state for report in bench.ended(job).values())
    assert states == [State.COMPLETED, State.COMPLETED, State.FAILED]
    (failed,) = [r for r in bench.ended(job).values() if r.state is State.FAILED]
    assert failed.exit_code == 137
    assert not [process for process in below if orphans._is_alive(process)]
    assert [process for process in family - below if orphans._is_alive(process)]  # the other task's


def test_a_task_that_kills_its_shell(bench: Bench) -> None:
    """``kill $$`` and ``kill -9 $$`` fail only their own task."""
    script = "case $SLURM_ARRAY_TASK_ID in 1) kill $$; sleep 9;; 2) kill -9 $$; sleep 9;; esac"
    reports = bench.run(script, "0-3%2")
    assert [reports[i].exit_code for i in range(4)] == [0, 143, 137, 0]
    assert [reports[i].state for i in (1, 2)] == [State.FAILED] * 2


def test_runner_and_workers_killed_at_once(bench: Bench) -> None:
    """The next process that looks ends the tasks before it reports them as WAITING."""
    job = bench.submit("sleep 300 & setsid sleep 301 & echo >>$NOTES/up; wait", "0-3%2")
    runner = bench.elsewhere(WORKS_ON)
    until(lambda: len(bench.lines("up")) == 2)
    everybody = [psutil.Process(runner.pid), *workers_of(runner.pid)]
    for process in everybody:
        process.suspend()  # so that none can act before all are killed
    for process in everybody:
        process.kill()
    runner.wait()
    assert len(bench.marked()) >= 4
    assert bench.states(job) == {State.WAITING}
    assert not bench.marked()


@pytest.mark.parametrize("value", ["", "1_0"])
def test_another_session_is_left_alone(bench: Bench, value: str) -> None:
    """In a session of no worker, only the marked process is killed."""
    marker = orphans.marker_variable(bench.run_dir)
    shell = subprocess.Popen(
        ["bash", "-c", f"sleep {LONG} & {marker}={value} sleep {LONG} & wait -n; echo; read"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    until(lambda: len(sleepers()) == 2 and bench.marked())
    assert orphans.kill_orphans(marker)
    assert shell.stdout is not None
    assert shell.stdout.readline() == b"\n"
    (bystander,) = sleepers()
    bystander.kill()
    shell.communicate()


def test_control_groups_of_a_killed_runner_are_removed(bench: Bench) -> None:
    """The next runner removes the control groups of a killed runner."""
    if not bench.engine.enforces_memory:
        pytest.skip(bench.engine.memory_note)
    probe = create_memory_groups()
    assert probe is not None
    directory = probe.path.parent
    probe.remove()
    bench.submit("echo >>$NOTES/up; sleep 300", "0-1%2", mem_mib=100)
    runner = bench.elsewhere(WORKS_ON)
    until(lambda: len(bench.lines("up")) == 2)
    assert list(directory.glob(f"slurmslice-{runner.pid}-*/1_0"))
    runner.kill()
    runner.wait()
    until(lambda: not bench.marked())
    bench.run("true", mem_mib=100)
    assert not list(directory.glob(f"slurmslice-{runner.pid}-*"))


def test_a_suspended_worker_is_ended(bench: Bench) -> None:
    """A suspended worker is ended. Otherwise its task could run beside the next attempt."""
    job = bench.submit(HELD, "0-1%1")
    runner = bench.elsewhere(WORKS_ON)
    until(lambda: bench.lines("trace"))
    (worker,) = workers_of(runner.pid)
    worker.suspend()  # it does not even get the signal of its runner's death
    runner.kill()
    runner.wait()
    until(lambda: bench.states(job) == {State.WAITING})
    until(lambda: not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE)


def sleepers() -> list[psutil.Process]:
    """Return the living sleeps of ``FAMILY``, also unmarked ones."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.cmdline()[1:] == [LONG]:
                found.append(process)
    return found
