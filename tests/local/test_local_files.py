"""The local engine: requests and reports of several processes, through files only."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from slurmslice.engines.local import LocalEngine
from slurmslice.engines.local.runner_lock import RunnerLock, host_name
from slurmslice.engines.local.task_records import TaskRecords
from slurmslice.errors import BadInputError, EngineError
from slurmslice.run.directory import RunDirectory
from slurmslice.run.journal import Held, Released
from slurmslice.run.journal_jobs import JournalJobs
from slurmslice.sbatch.resource_request import NO_REQUEST, ResourceRequest
from slurmslice.status.identity import JobIdentity
from slurmslice.status.states import State
from tests.local.test_local_slots import HELD
from tests.local.test_local_tasks import WORKS_ON, Bench, bench, hasty, quiet, until
from tests.support.requested import a_request

__all__ = ["bench", "hasty", "quiet"]


# -- jobs ------------------------------------------------------------------------------------------


def test_submit_runs_nothing(bench: Bench) -> None:
    """A submitted job is PENDING, with a reason, until a runner starts."""
    job = bench.submit("echo >>$NOTES/ran", "0-2", mem_mib=50)
    assert not bench.engine.has_running_tasks
    assert bench.states(job) == {State.PENDING}
    assert bench.queue(job)[0].reason
    assert bench.queue(job)[0].requested_mem_bytes == 50 << 20
    assert not bench.lines("ran")


def test_a_job_comes_from_the_journal(bench: Bench) -> None:
    """Every process reads the same job from the journal, byte for byte."""
    job = bench.next_job(
        "true", "0-8:4,11%3", arguments=("002", "90"), cpus=2, mem_mib=7, time_s=60
    )
    odd = replace(job, job_name='a\udcff"\\ é-token1')
    bench.accept(odd)
    source = JournalJobs(bench.directory)
    assert source.refresh()
    assert not source.refresh()
    found = source.jobs["1"]
    assert (found.name, found.array, found.arguments) == (odd.job_name, odd.array, odd.arguments)
    assert (found.request, found.throttle, found.script) == (odd.request, 3, odd.script)


def test_requests_of_other_processes_are_in_the_journal(bench: Bench) -> None:
    """The source has the cancelled indices, the newest throttle, and the hold."""
    job = bench.submit("true", "0-8:2")
    source = JournalJobs(bench.directory)
    bench.cancel(job, "2,4")
    bench.throttle(job, 4)
    bench.record(Held("why", 1.0))
    source.refresh()
    assert set(source.jobs["1"].cancelled) == {2, 4}
    assert (source.jobs["1"].throttle, source.held) == (4, True)
    bench.throttle(job, None)
    bench.record(Released(2.0))
    source.refresh()
    assert (source.jobs["1"].throttle, source.held) == (None, False)


def test_an_unaccepted_submission_does_not_run(bench: Bench) -> None:
    """An intent without ``Submitted`` is not a job."""
    job = bench.submit("echo >>$NOTES/ran")
    journal = bench.run_dir / "journal.jsonl"
    intent = journal.read_bytes().splitlines(keepends=True)[0]
    journal.write_bytes(intent)
    assert bench.engine.find_job(job.token, job.job_name, 0.0) is None
    bench.engine.wait(0.1)
    assert not bench.engine.has_running_tasks
    assert not bench.queue(job)
    assert not bench.lines("ran")


REJECTED = [
    ("exceeds-machine", "cpus-per-task", a_request(cpus=4096)),
    ("exceeds-machine", "mem", a_request(mem_mib=1 << 40)),
    *(
        ("slurm-only", option, a_request(options=options))
        for option, options in [
            ("nodes", (("nodes", "2"),)),
            ("nodes", (("nodes", "2-4"),)),
            ("nodes", (("ntasks", "8"), ("ntasks-per-node", "4"))),
            ("gpus", (("gpus", "1"),)),
            ("gpus-per-task", (("gpus-per-task", "v100:1"),)),
            ("gres", (("gres", "gpu:2"),)),
            ("gres", (("gres", "gpu"),)),
            ("dependency", (("dependency", "afterok:5"),)),
            ("begin", (("begin", "now+1hour"),)),
        ]
    ),
]


@pytest.mark.parametrize(("code", "option", "request_"), REJECTED)
def test_impossible_requests_are_refused(
    bench: Bench, code: str, option: str, request_: ResourceRequest
) -> None:
    """The error names the option, and no file is written."""
    job = replace(bench.next_job("true"), request=request_)
    for attempt in (lambda: bench.engine.submit(job), lambda: bench.engine.limits(request_)):
        with pytest.raises(BadInputError) as error:
            attempt()
        assert error.value.hint
        assert (error.value.code, error.value.fields["option"]) == (code, option)
    assert {path.name for path in job.folder.iterdir()} == {"script.sh", "tasks"}


def test_irrelevant_options_are_ignored(bench: Bench) -> None:
    """A script with a partition, an account, mail, one node and no GPUs runs."""
    options = {
        "partition": "long",
        "account": "a",
        "qos": "q",
        "mail-type": "END",
        "nodes": "1-4",
        "gres": "none",
        "gpus": "0",
        "ntasks": "2",
        "signal": "USR1@30",
    }
    reports = bench.run("true", options=tuple(options.items()), time_s=60)
    assert reports[0].state is State.COMPLETED


def test_limits(bench: Bench) -> None:
    """The limits give the number of tasks that fit by CPUs and by memory, at least one."""
    machine = bench.engine._machine
    machine.cpus, machine.affinity = 4, set(range(4))
    machine.free_memory = lambda: 3 << 30  # type: ignore[method-assign]
    limits = bench.engine.limits(NO_REQUEST)
    assert (limits.at_once, limits.max_array_size) == (4, 4_000_001)
    assert limits.why == "4 of 4 CPUs free, 3 GiB of memory available"
    assert bench.engine.limits(a_request(cpus=3)).at_once == 1
    assert bench.engine.limits(a_request(mem_mib=1024)).at_once == 3
    assert bench.engine.limits(a_request(mem_mib=0)).at_once == 1


def test_no_file_is_created_before_the_first_job(tmp_path: Path) -> None:
    """``observe``, ``limits`` and ``wait`` do not create the run directory."""
    engine = LocalEngine(tmp_path / "run", JournalJobs(RunDirectory(tmp_path / "run")))
    engine.limits(NO_REQUEST)
    assert not engine.observe([JobIdentity("1", "name")]).queue.reports
    assert engine.find_job("token", "name", 0.0) is None
    engine.wait(0.01)
    engine.close()
    assert list(tmp_path.iterdir()) == []


# -- readers ---------------------------------------------------------------------------------------


def test_a_reader_sees_what_another_process_runs(bench: Bench) -> None:
    """A reader sees running, pending and ended tasks. Its ``wait`` returns early after a change."""
    job = bench.submit(HELD, "0-3%2")
    bench.elsewhere(WORKS_ON)
    until(lambda: len(bench.lines("trace")) == 2)
    until(lambda: bench.states(job) == {State.RUNNING, State.PENDING})
    running = bench.queue(job)[0]
    assert running.node == bench.engine.cluster()
    assert running.started_at is not None
    assert running.elapsed_s is not None
    (bench.notes / "go").touch()
    for _ in range(4):
        bench.engine.wait(60)  # it would take minutes without an early return
        assert not bench.engine.has_running_tasks
        if not bench.queue(job):
            break
    assert {r.state for r in bench.ended(job).values()} == {State.COMPLETED}


def test_unknown_jobs_are_absent(bench: Bench) -> None:
    """A job with another name, or with an unknown id, has no reports."""
    bench.submit("true")
    seen = bench.engine.observe([JobIdentity("1", "other"), JobIdentity("2", "bench-token2")])
    assert not seen.queue.reports
    assert not seen.accounting.reports


def test_a_runner_on_another_machine_is_left_alone(bench: Bench) -> None:
    """Jobs of a runner on another machine are not touched, even if the lock is free."""
    job = bench.submit("true", "0-1")
    runner = "7 elsewhere 1"
    path = bench.run_dir / "local" / "runner"
    path.parent.mkdir()
    path.write_text(f"{runner}\n")
    (job.folder / "job").write_text(f"1\n{runner}\n")
    line = "slurmslice start job=1 restart=0 at=5 host=elsewhere task=0\n"
    (job.folder / "tasks" / "worker-0.log").write_text(line)
    assert {i: r.state for i, r in bench.queue(job).items()} == {
        0: State.RUNNING,
        1: State.PENDING,
    }
    assert all("elsewhere" in report.reason for report in bench.queue(job).values())
    bench.engine.wait(0.05)
    assert not bench.engine.has_running_tasks
    path.unlink()
    assert bench.states(job) == {State.WAITING}
    assert "process 7 on elsewhere" in bench.queue(job)[0].reason


def test_no_lock_no_runner(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without file locks no task runs, and there is an error. ``observe`` still works."""
    job = bench.submit("true")

    def refuse(fd: int, how: int) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr("fcntl.flock", refuse)
    with pytest.raises(EngineError) as error:
        bench.engine.wait(1)
    assert error.value.code == "lock-failed"
    assert bench.states(job) == {State.PENDING}


# -- cancel ----------------------------------------------------------------------------------------


def test_cancel_from_another_process(bench: Bench, hasty: None) -> None:
    """Pending tasks never start, and running tasks are ended. Other tasks continue."""
    job = bench.submit(f"trap '' TERM\n{HELD}", "0-5%2")
    bench.until(lambda: len(bench.lines("trace")) == 2)
    bench.cancel(job, "1,3-4")
    bench.until(lambda: set(bench.ended(job)) == {1, 3, 4})
    assert {r.state for r in bench.ended(job).values()} == {State.CANCELLED}
    assert bench.ended(job)[3].started_at is None
    assert bench.ended(job)[1].exit_code == 137
    (bench.notes / "go").touch()
    reports = bench.finish(job)
    assert [reports[i].state for i in (0, 2, 5)] == [State.COMPLETED] * 3
    assert bench.lines("trace").count("+") == 4


def test_a_task_is_cancelled_after_its_runner_dropped_it(bench: Bench) -> None:
    """A pending task becomes CANCELLED only after its runner recorded that it dropped it."""
    job = bench.submit(HELD, "0-3%2")
    runner = bench.elsewhere(WORKS_ON)
    until(lambda: len(bench.lines("trace")) == 2)
    runner.send_signal(19)  # SIGSTOP: it reads nothing
    bench.cancel(job, "3")
    assert not bench.ended(job)
    assert bench.queue(job)[3].state is State.PENDING
    runner.send_signal(18)
    until(lambda: set(bench.ended(job)) == {3})
    assert bench.ended(job)[3].state is State.CANCELLED
    (bench.notes / "go").touch()


def test_cancel_all(bench: Bench) -> None:
    """Cancelling all tasks does not change completed tasks."""
    job = bench.submit(f"[ $SLURM_ARRAY_TASK_ID = 0 ] && exit; {HELD}", "0-5%2")
    bench.until(lambda: len(bench.lines("trace")) == 2 and bench.ended(job))
    bench.cancel(job, "0-5")
    reports = bench.finish(job)
    assert [reports[i].state for i in range(6)] == [State.COMPLETED, *[State.CANCELLED] * 5]


def test_cancel_without_a_runner(bench: Bench) -> None:
    """Pending tasks of an unclaimed job become CANCELLED and never start."""
    job = bench.submit("echo $SLURM_ARRAY_TASK_ID >>$NOTES/ran", "0-3")
    bench.cancel(job, "1-2")
    assert {i: r.state for i, r in bench.ended(job).items()} == dict.fromkeys(
        (1, 2), State.CANCELLED
    )
    bench.finish(job)
    assert sorted(bench.lines("ran")) == ["0", "3"]


def test_cancelled_beats_interrupted(bench: Bench) -> None:
    """A task is CANCELLED, not WAITING, if its runner dies during the cancel."""
    job = bench.submit(HELD, "0-3%2")
    runner = bench.elsewhere(WORKS_ON)
    until(lambda: len(bench.lines("trace")) == 2)
    runner.send_signal(19)  # SIGSTOP: it reads nothing
    bench.cancel(job, "1,3")
    runner.kill()
    runner.wait()
    until(lambda: bench.states(job) == {State.WAITING})
    assert set(bench.queue(job)) == {0, 2}
    assert {r.state for r in bench.ended(job).values()} == {State.CANCELLED}


# -- files -----------------------------------------------------------------------------------------

LINES = b"""\
0m0.000s 0m0.004s
1m0.250s 0m0,500s
slurmslice start job=1 restart=0 at=1795424103 host=n3 slot=0 task=4
slurmslice check job=1 restart=0 at=1795424104 host=n3 slot=0 exit=3 task=4
0m0.000s 0m0.005s
1m0.250s 0m0,625s
slurmslice end job=1 restart=0 at=1795424105 host=n3 slot=0 exit=3 task=4 us=2500000
slurmslice start job=1 restart=0 at=1795424105 host=n3 slot=0 task=5
"""


def records_of(bench: Bench) -> TaskRecords:
    """Return the records of the first job, read by a new reader."""
    source = JournalJobs(bench.directory)
    source.refresh()
    records = TaskRecords(source.jobs["1"])
    records.refresh()
    return records


def test_a_torn_line_is_ignored(bench: Bench) -> None:
    """A line that was cut at any byte is ignored. The other lines are read."""
    log = bench.submit("true", "0-9").folder / "tasks" / "worker-0.log"
    for cut in range(len(LINES)):
        log.write_bytes(LINES[:cut] + b"\n" + LINES.replace(b"task=4", b"task=6"))
        records = records_of(bench)
        assert records.started.keys() >= {5}
        assert records.ended[6].exit_code == 3
        assert records.ended[6].elapsed_s == 2.5
        assert records.ended[6].cpu_s == pytest.approx(0.125)
        known = records.ended.get(4)
        assert known is None or known.exit_code == 3


def test_new_lines_are_read_once(bench: Bench) -> None:
    """A reader reads new lines of all workers and of the runner once."""
    tasks = bench.submit("true", "0-9").folder / "tasks"
    records = records_of(bench)
    assert not records.refresh()
    (tasks / "worker-0.log").write_bytes(LINES)
    assert records.refresh()
    assert not records.refresh()
    assert dict(records.started) == {5: 1795424105}
    assert records.ended[4].progress is not None
    assert records.ended[4].progress.check_exit == 3
    (tasks / "runner.log").write_text(
        "slurmslice dropped job=1 restart=0 at=1 host=n3 task=7-9\n"
        "slurmslice end task=x\nnonsense\n"
        "slurmslice peak job=1 restart=0 at=1 host=n3 task=5 rss=4096\n"
    )
    (tasks / "worker-1.log").write_text(
        "slurmslice start job=1 restart=0 at=1795424103 host=n3 task=2\n"
        "slurmslice end job=1 restart=0 at=1795424103 host=n3 exit=143 told=TERM stopped=1 task=2\n"
    )
    with (tasks / "worker-0.log").open("ab") as log:
        log.write(LINES.splitlines(keepends=True)[6].replace(b"task=4", b"task=5"))
    assert records.refresh()
    assert records.dropped == {7, 8, 9}
    assert set(records.stopped) == {2}
    assert records.ended[5].max_rss_bytes == 4096
    assert not records.started


@pytest.mark.parametrize(
    ("before", "exit_code", "state"),
    [
        ("", 0, State.COMPLETED),
        ("", 143, State.FAILED),
        ("timeout", 0, State.TIMEOUT),
        ("memory", 0, State.OUT_OF_MEMORY),
    ],
)
def test_the_state_of_an_end(bench: Bench, before: str, exit_code: int, state: State) -> None:
    """The time limit and out-of-memory kills decide the state before the exit code does."""
    log = bench.submit("true").folder / "tasks" / "worker-0.log"
    head = "job=1 restart=0 at=1795424103 host=n3 slot=0"
    lines = [f"start {head} task=0", f"end {head} exit={exit_code} told=TERM task=0"]
    if before:
        lines.insert(1, f"{before} {head} of=1 task=0")
    log.write_text("".join(f"slurmslice {line}\n" for line in lines))
    assert records_of(bench).ended[0].state is state


def test_one_process_has_the_lock(tmp_path: Path) -> None:
    """A second process cannot acquire a held lock. The text of the lock names its holder."""
    path = tmp_path / "local" / "runner"
    one, two = RunnerLock(path), RunnerLock(path)
    assert one.acquire()
    one.write_holder()
    assert not two.acquire()
    assert two.read_holder() == one.own_text
    assert host_name() in two.read_holder()
    assert not two.is_on_other_host(two.read_holder())
    one.clear_holder()
    one.release()
    assert two.read_holder() == ""
    assert two.acquire()
    two.release()
    assert not RunnerLock(tmp_path / "nowhere" / "local" / "runner").acquire()
