"""The local engine: environment, measurements and results of tasks; the fixture ``bench``."""

from __future__ import annotations

import errno
import hashlib
import os
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from slurmslice.engines.local import (
    LocalEngine,
    engine,
    machine,
    orphans,
    runner,
    worker_pool,
    workers,
)
from slurmslice.engines.local.memory_cgroup import MemoryGroup, MemoryGroups
from slurmslice.engines.protocol import SubmitRequest
from slurmslice.errors import EngineError
from slurmslice.run.directory import RunDirectory
from slurmslice.run.journal import Cancelled, Event, Intent, Shared, Submitted
from slurmslice.run.journal_jobs import JournalJobs
from slurmslice.sbatch.array_expression import parse_array
from slurmslice.sbatch.resource_request import NO_REQUEST
from slurmslice.status.identity import JobIdentity
from slurmslice.status.observation import TaskReport
from slurmslice.status.states import State
from slurmslice.system import process
from tests.support.paths import REPOSITORY
from tests.support.requested import a_request

PATIENCE_S = 20.0
"""Seconds until a test gives up. No test needs a tenth of it."""


class Bench:
    """A run directory with a journal, an engine on it, and other processes with engines.

    Each job has its own script, which the run's script sources. It may write into ``$NOTES``.
    """

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self.notes = run_dir.parent / "notes"
        self.notes.mkdir()
        self.directory = RunDirectory(run_dir)
        self.engine = LocalEngine(run_dir, JournalJobs(self.directory))
        self.processes: list[subprocess.Popen[str]] = []
        self.job_count = 0

    def next_job(
        self, script: str, array: str = "0", *, arguments: tuple[str, ...] = (), **request: object
    ) -> SubmitRequest:
        """Create the request of the next job, without submitting it."""
        self.job_count += 1
        folder = self.run_dir / "submissions" / f"{self.job_count:03d}"
        (folder / "tasks").mkdir(parents=True)
        (folder / "script.sh").write_text(f"NOTES={self.notes}\n{textwrap.dedent(script)}")
        self.directory.script.write_text(
            f". {self.run_dir}/submissions/$(printf %03d $SLURM_ARRAY_JOB_ID)/script.sh"
        )
        return SubmitRequest(
            number=self.job_count,
            job_name=f"bench-token{self.job_count}",
            token=f"token{self.job_count}",
            script=self.directory.script,
            folder=folder,
            array=parse_array(array),
            overrides=NO_REQUEST,
            arguments=arguments,
            request=a_request(**request),  # type: ignore[arg-type]
        )

    def accept(self, job: SubmitRequest) -> None:
        """Record in the journal that a job was accepted."""
        array = str(job.array)
        texts = (job.token, job.job_name, array, array.partition("%")[0])
        script = hashlib.sha256(job.script.read_bytes()).hexdigest()
        self.record(
            Intent(
                job.number, *texts, NO_REQUEST, NO_REQUEST, script, "", time.time(),
                options=job.request,
                arguments=job.arguments,
            ),
            Submitted(job.number, str(job.number), None, "sbatch", time.time()),
        )  # fmt: skip

    def record(self, *events: Event) -> None:
        """Append events to the journal."""
        for event in events:
            self.directory.append(event)

    def cancel(self, job: SubmitRequest, array: str) -> None:
        """Cancel tasks, as another process does."""
        self.record(Cancelled(job.number, array, time.time()))

    def throttle(self, job: SubmitRequest, limit: int | None) -> None:
        """Set the throttle, as another process does."""
        self.record(Shared(job.number, limit, time.time()))

    def submit(self, script: str, array: str = "0", **request: object) -> SubmitRequest:
        """Submit a job."""
        job = self.next_job(script, array, **request)  # type: ignore[arg-type]
        self.engine.submit(job)
        self.accept(job)
        return job

    def run(self, script: str, array: str = "0", **options: object) -> dict[int, TaskReport]:
        """Submit a job and wait for its end. Return its reports by index."""
        job = self.submit(script, array, **options)
        return self.finish(job)

    def finish(self, job: SubmitRequest) -> dict[int, TaskReport]:
        """Run tasks until a job has ended. Return its reports by index."""
        self.until(lambda: not self.queue(job))
        return self.ended(job)

    def until(self, condition: Callable[[], object], engine: LocalEngine | None = None) -> None:
        """Run tasks until a condition is true."""
        until(condition, lambda: (engine or self.engine).wait(0.05))

    def ended(self, job: SubmitRequest) -> dict[int, TaskReport]:
        """Return the reports of ended tasks by index."""
        seen = self.engine.observe([JobIdentity(str(job.number), job.job_name)])
        return {index: report for (_, index), report in seen.accounting.reports.items()}

    def queue(self, job: SubmitRequest, engine: LocalEngine | None = None) -> dict[int, TaskReport]:
        """Return the reports of unfinished tasks by index."""
        seen = (engine or self.engine).observe([JobIdentity(str(job.number), job.job_name)])
        return {index: report for (_, index), report in seen.queue.reports.items()}

    def states(self, job: SubmitRequest, engine: LocalEngine | None = None) -> set[State]:
        """Return the states of unfinished tasks."""
        return {report.state for report in self.queue(job, engine).values()}

    def log(self, job: SubmitRequest, index: int = 0) -> str:
        """Return the output of a task."""
        return (job.folder / "tasks" / f"{index}.log").read_text()

    def lines(self, name: str) -> list[str]:
        """Return the lines of a file in ``$NOTES``; none if it does not exist."""
        path = self.notes / name
        return path.read_text().splitlines() if path.exists() else []

    def elsewhere(self, program: str) -> subprocess.Popen[str]:
        """Start another process with its own ``engine`` on the run directory."""
        start = (
            "from pathlib import Path\n"
            "from slurmslice.engines.local import LocalEngine\n"
            "from slurmslice.run.journal_jobs import JournalJobs\n"
            "from slurmslice.run.directory import RunDirectory\n"
            f"run_dir = Path({str(self.run_dir)!r})\n"
            "engine = LocalEngine(run_dir, JournalJobs(RunDirectory(run_dir)))\n"
        )
        process = subprocess.Popen(
            [sys.executable, "-c", start + textwrap.dedent(program)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=REPOSITORY,
        )
        self.processes.append(process)
        return process

    def marked(self) -> list[psutil.Process]:
        """Return the marked processes of this run."""
        marker = orphans.marker_variable(self.run_dir)
        return [p for p in psutil.process_iter() if orphans._has_marker(p, marker)]

    def another(self) -> LocalEngine:
        """Return another engine in this process."""
        return LocalEngine(self.run_dir, JournalJobs(self.directory))


def options(
    cpus: int = 1,
    mem_mib: int | None = None,
    time_s: int | None = None,
    options: tuple[tuple[str, str], ...] = (),
) -> tuple[tuple[str, str], ...]:
    """The sbatch options of a request."""
    known = {
        "cpus-per-task": str(cpus),
        "mem": None if mem_mib is None else f"{mem_mib}M",
        "time": None if time_s is None else f"0:{time_s // 60:02d}:{time_s % 60:02d}",
    }
    return (*((name, value) for name, value in known.items() if value is not None), *options)


WORKS_ON = "while True: engine.wait(1)"
"""The program of a runner, for ``elsewhere``."""


def until(condition: Callable[[], object], meanwhile: Callable[[], None] | None = None) -> None:
    """Wait for a condition. The test fails if it stays false."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "the condition stayed false"
        if meanwhile is None:
            time.sleep(0.01)
        else:
            meanwhile()


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the machine have no load by other programs."""

    def nothing(load: machine.OtherLoad, ours: float) -> None:
        load.others = 0.0

    monkeypatch.setattr(machine.OtherLoad, "measure", nothing)
    monkeypatch.setattr(machine, "count_running_others", lambda loadavg: 0.0)


@pytest.fixture
def bench(tmp_path: Path, quiet: None) -> Iterator[Bench]:
    """Provide a bench. After the test, no process may be left."""
    bench = Bench(tmp_path / "run")
    yield bench
    bench.engine.close()
    for other in bench.processes:
        other.kill()
        other.wait()
        assert other.stdout is not None
        other.stdout.close()
    until(lambda: not bench.marked())


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the grace between SIGTERM and SIGKILL."""
    monkeypatch.setattr(worker_pool, "GRACE_S", 0.3)


# -- environment -----------------------------------------------------------------------------------


SLURMS = ("SLURM_", "SLURMD_", "SBATCH_", "SRUN_")
HOST = ("SLURMD_NODENAME", "SLURM_JOB_NODELIST", "SLURM_NODELIST", "SLURM_SUBMIT_HOST")


def test_a_task_gets_slurms_variables(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slurm's variables describe this task. Other variables are the caller's."""
    monkeypatch.setenv("SLURM_RESTART_COUNT", "3")
    monkeypatch.setenv("SRUN_CPUS_PER_TASK", "7")
    monkeypatch.setenv("SBATCH_ACCOUNT", "other")
    monkeypatch.setenv("MINE", "a b\n'c'")
    job = bench.submit("env -0 | sort -z", "3,5-9:2", cpus=2)
    bench.finish(job)
    said = dict(v.split("=", 1) for v in bench.log(job, 5).split("\0") if v)
    slurms = {
        name: value
        for name, value in said.items()
        if name.startswith((*SLURMS, orphans.marker_variable(bench.run_dir)))
    }
    assert slurms["SLURM_JOB_ID"].isdecimal()
    assert slurms.pop("SLURM_JOBID") == slurms.pop("SLURM_JOB_ID")
    assert slurms.pop("SLURM_SUBMIT_DIR") == os.getcwd()
    assert {slurms.pop(f"SLURM_JOB_{name}") for name in ("USER", "UID", "GID")}
    here = {slurms.pop(name) for name in HOST}
    assert here == {os.uname().nodename}
    assert slurms.pop(orphans.marker_variable(bench.run_dir)).isdecimal()
    assert slurms == {
        "SLURM_ARRAY_JOB_ID": "1",
        "SLURM_ARRAY_TASK_ID": "5",
        "SLURM_ARRAY_TASK_COUNT": "4",
        "SLURM_ARRAY_TASK_MIN": "3",
        "SLURM_ARRAY_TASK_MAX": "9",
        "SLURM_JOB_NAME": "bench-token1",
        "SLURM_ARRAY_TASK_STEP": "2",
        "SLURM_CPUS_PER_TASK": "1",
        "SLURM_CPUS_ON_NODE": "2",
        "SLURM_JOB_CPUS_PER_NODE": "2",
        "SLURM_NTASKS": "2",
        "SLURM_NPROCS": "2",
        "SLURM_TASKS_PER_NODE": "2",
        "SLURM_JOB_NUM_NODES": "1",
        "SLURM_NNODES": "1",
        **dict.fromkeys(("SLURM_NODEID", "SLURM_PROCID", "SLURM_LOCALID", "SLURM_GTIDS"), "0"),
    }
    assert said["MINE"] == "a b\n'c'"


def test_no_two_tasks_share_a_job_id(bench: Bench) -> None:
    """SLURM_JOB_ID is unique, because scripts name scratch folders by it."""
    script = "echo $SLURM_JOB_ID >>$NOTES/ids"
    bench.run(script, "0-4")
    bench.run(script, "0-4")
    assert len(set(bench.lines("ids"))) == 10


def test_a_task_gets_its_argument_its_log_and_no_input(bench: Bench) -> None:
    """Output is appended to the log, standard input is empty, and the argument is passed on."""
    job = bench.next_job("echo out $#:$1; echo err >&2; read || echo empty", arguments=("002",))
    (job.folder / "tasks" / "0.log").write_text("before\n")
    bench.accept(job)
    bench.finish(job)
    assert bench.log(job) == "before\nout 1:002\nerr\nempty\n"


def test_a_task_is_nice_and_has_its_own_process_group(bench: Bench) -> None:
    """The nice value is 10. The task has its own process group, and not the caller's session."""
    job = bench.submit("echo $(nice) $$ $(ps -o pgid=,sid= -p $$)")
    bench.finish(job)
    nice, pid, group, session = map(int, bench.log(job).split())
    assert nice == 10
    assert pid == group
    assert session != os.getsid(0)


def test_tasks_can_trap_signals_that_the_caller_ignores(bench: Bench) -> None:
    """A task can trap signals that its runner ignores (nohup, Python's SIGPIPE)."""
    job = bench.submit("trap 'echo heard' PIPE HUP; kill -PIPE $$; kill -HUP $$")
    bench.finish(job)
    assert bench.log(job) == "heard\nheard\n"


# -- results ---------------------------------------------------------------------------------------


def test_exit_codes_and_signals(bench: Bench) -> None:
    """Exit code 0 is COMPLETED. Others are FAILED; signal n is exit code 128 + n."""
    script = (
        "case $SLURM_ARRAY_TASK_ID in 0) ;; 1) exit 7;; 2) kill -9 $$;; 3) kill -SEGV $$;; esac"
    )
    reports = bench.run(script, "0-3")
    assert {i: (r.state, r.exit_code, r.signal) for i, r in reports.items()} == {
        0: (State.COMPLETED, 0, None),
        1: (State.FAILED, 7, None),
        2: (State.FAILED, 137, None),
        3: (State.FAILED, 139, None),
    }


def test_measurements(bench: Bench) -> None:
    """The report has CPU time, peak memory with children, times, and the request.

    The peak of a short task is only known with the file cache.
    """
    script = """
        bash -c 'for ((i = 0; i < 200000; i++)); do :; done'
        x=$(printf '%*s' 40000000 '')
    """
    before = int(time.time())
    report = bench.run(script, mem_mib=500)[0]
    assert report.state is State.COMPLETED
    assert report.cpu_s is not None
    assert report.cpu_s > 0.1
    assert report.elapsed_s is not None
    assert report.elapsed_s >= report.cpu_s * 0.5
    assert report.peak_with_cache_bytes is not None
    assert 40e6 < report.peak_with_cache_bytes < 500e6
    assert report.requested_mem_bytes == 500 << 20
    times = (report.submitted_at, report.started_at, report.ended_at)
    assert all(at is not None and before <= at <= time.time() for at in times)
    assert report.node == bench.engine.cluster()


def test_time_limit(bench: Bench) -> None:
    """A task at its time limit gets SIGTERM, with its children, and is TIMEOUT."""
    script = """
        trap 'wait $child; echo told; exit 0' TERM
        (trap 'echo child told; exit' TERM; sleep 30 & wait) &
        child=$!
        setsid sleep 31 &
        wait
    """
    job = bench.submit(script, time_s=1)
    report = bench.finish(job)[0]
    assert (report.state, report.exit_code) == (State.TIMEOUT, 0)
    assert bench.log(job) == "child told\ntold\n"
    assert report.elapsed_s is not None
    assert 1 <= report.elapsed_s < 4


def test_time_limit_without_reaction(bench: Bench, hasty: None) -> None:
    """A task that ignores SIGTERM is killed after the grace, with its children."""
    report = bench.run("trap '' TERM; sleep 30 & sleep 31; sleep 32", time_s=1)[0]
    assert (report.state, report.exit_code) == (State.TIMEOUT, 137)


def test_a_warning_before_the_limit(bench: Bench) -> None:
    """``--signal=B:USR1@1`` reaches only the script, one second before the limit."""
    script = """
        trap 'echo warned; exit 3' USR1
        (trap 'echo child warned' USR1; exec sleep 30) &
        wait
    """
    job = bench.submit(script, time_s=2, options=(("signal", "B:USR1@1"),))
    report = bench.finish(job)[0]
    assert (report.state, report.exit_code) == (State.FAILED, 3)
    assert bench.log(job) == "warned\n"


HOG = "x=$(printf '%*s' 300000000 '')"


def test_out_of_memory(bench: Bench) -> None:
    """The kernel kills a task that exceeds its memory. The task is OUT_OF_MEMORY."""
    needs_a_control_group(bench)
    report = bench.run(HOG, mem_mib=100)[0]
    assert report.state is State.OUT_OF_MEMORY
    assert report.peak_with_cache_bytes is not None
    assert report.peak_with_cache_bytes >= 90 << 20


def test_out_of_memory_in_a_child(bench: Bench) -> None:
    """A task is OUT_OF_MEMORY even if only a child was killed and its script exits 0."""
    needs_a_control_group(bench)
    script = f'[ $SLURM_ARRAY_TASK_ID = 1 ] || (exec bash -c "{HOG}"); exit 0'
    reports = bench.run(script, "0-1", mem_mib=100)
    assert [reports[i].state for i in (0, 1)] == [State.OUT_OF_MEMORY, State.COMPLETED]


def test_no_control_group_is_left(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The group of a task and the parent group are removed at the end."""
    needs_a_control_group(bench)
    made: list[Path] = []
    create = MemoryGroups.create

    def spy(self: MemoryGroups, name: str, memory: int) -> MemoryGroup:
        group = create(self, name, memory)
        made.append(group.path)
        return group

    monkeypatch.setattr(MemoryGroups, "create", spy)
    bench.run("true", "0-3", mem_mib=100)
    bench.engine.close()  # the reports may be complete before the runner has ended
    assert made
    assert not any(path.exists() or path.parent.exists() for path in made)


def needs_a_control_group(bench: Bench) -> None:
    """Skip the test if no memory group can be created here."""
    if not bench.engine.enforces_memory:
        pytest.skip(bench.engine.memory_note)


def test_the_callers_own_children_are_left_alone(bench: Bench) -> None:
    """Other children of the calling process are neither reaped nor killed."""
    own = subprocess.Popen(["bash", "-c", "exit 5"])
    longer = subprocess.Popen(["sleep", "30"], start_new_session=True)
    bench.run("sleep 30 & true", "0-3")
    assert own.wait() == 5
    assert longer.poll() is None
    longer.kill()
    longer.wait()


# -- failures --------------------------------------------------------------------------------------


def test_a_task_that_cannot_be_started(bench: Bench) -> None:
    """The error names the task, which is WAITING after the runner is closed."""
    job = bench.submit("true", "4")
    (job.folder / "tasks").rmdir()
    with pytest.raises(EngineError) as error:
        bench.engine.wait(5)
    assert error.value.code == "task-not-started"
    assert error.value.fields["index"] == 4
    bench.engine.close()
    assert bench.states(job) == {State.WAITING}
    assert not bench.ended(job)


def test_a_worker_that_exits_by_itself_is_an_error(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that exits by itself is an error. Its task is WAITING."""
    job = bench.submit("true", "4")
    monkeypatch.setattr(workers, "templates_folder", lambda: bench.notes)
    with pytest.raises(EngineError) as error:
        bench.until(lambda: False)
    assert error.value.code == "worker-ended"
    bench.engine.close()
    assert bench.states(job) == {State.WAITING}


def test_a_machine_that_is_full_of_processes(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """If fork fails for lack of resources, the task starts later."""
    monkeypatch.setattr(runner, "RETRY_S", 0.05)
    fork, tries = process.fork_worker, []

    def full(*args: Any, **more: Any) -> int:
        tries.append(1)
        if len(tries) == 2:
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
        return fork(*args, **more)

    monkeypatch.setattr(workers, "fork_worker", full)
    reports = bench.run("sleep 0.3", "0-2%2")
    assert {report.state for report in reports.values()} == {State.COMPLETED}
    assert len(tries) == 3


def test_no_bash(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without bash there is no runner, and the job stays PENDING."""
    job = bench.submit("true")
    monkeypatch.setenv("PATH", str(bench.notes))
    with pytest.raises(EngineError) as error:
        bench.engine.wait(5)
    assert error.value.code == "no-bash"
    assert not bench.engine.has_running_tasks
    assert bench.states(job) == {State.PENDING}


def test_without_control_groups(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is not enforced, a note says so before tasks run, and peaks are sampled."""
    for module in (engine, worker_pool):
        monkeypatch.setattr(module, "create_memory_groups", lambda: None)
    monkeypatch.setattr(machine, "MEASURE_EVERY_S", 0.05)
    job = bench.submit(f"{HOG}; until [ -e $NOTES/go ]; do sleep 0.02; done", mem_mib=100)
    assert not bench.engine.enforces_memory
    assert bench.engine.limits(job.request).note == bench.engine.memory_note
    assert not bench.engine.limits(a_request()).note
    assert "--mem" in bench.engine.memory_note
    seen = job.folder / "tasks" / "runner.log"
    bench.until(lambda: seen.exists() and int(seen.read_text().rpartition("rss=")[2]) > 250e6)
    (bench.notes / "go").touch()
    report = bench.finish(job)[0]
    assert report.state is State.COMPLETED
    assert (report.max_rss_bytes or 0) > 250e6


def test_a_short_task_has_no_peak(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a control group and without a sample, the peak is unknown, not 0."""
    monkeypatch.setattr(worker_pool, "create_memory_groups", lambda: None)
    for name in ("FIRST_MEASURE_S", "MEASURE_EVERY_S"):
        monkeypatch.setattr(machine, name, 1e9)  # no measurement while it runs
    report = bench.run("true")[0]
    assert (report.max_rss_bytes, report.peak_with_cache_bytes) == (None, None)


def test_the_file_cache_is_no_memory_of_a_task(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A task that only writes a file has a small peak. The control group's peak has the file."""
    needs_a_control_group(bench)
    monkeypatch.setattr(machine, "MEASURE_EVERY_S", 0.05)
    with tempfile.NamedTemporaryFile(dir="/var/tmp") as big:  # a file in memory is memory
        script = (
            f"head -c 80000000 /dev/zero >{big.name}; until [ -e $NOTES/go ]; do sleep 0.02; done"
        )
        job = bench.submit(script, mem_mib=500)
        seen = job.folder / "tasks" / "runner.log"
        bench.until(lambda: seen.exists() and "rss=" in seen.read_text())
        (bench.notes / "go").touch()
        report = bench.finish(job)[0]
    assert 0 < (report.max_rss_bytes or 0) < 40e6 < (report.peak_with_cache_bytes or 0)


def test_children_are_found_without_the_kernels_list(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the kernel lists no children, all processes are searched."""
    child = subprocess.Popen(["sleep", "30"])
    try:
        assert child.pid in machine.children(os.getpid())
        monkeypatch.setattr(machine, "_KERNEL_LISTS_CHILDREN", False)
        assert child.pid in machine.children(os.getpid())
        assert machine.children(child.pid) == []
    finally:
        child.kill()
        child.wait()
    assert machine.children(child.pid) == []


@pytest.mark.parametrize("own", ["", "glibc.malloc.check=0"])
def test_a_setting_for_the_workers_bash_reaches_no_task(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, own: str
) -> None:
    """Tasks have the caller's GLIBC_TUNABLES, or none."""
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    if own:
        monkeypatch.setenv("GLIBC_TUNABLES", own)
    job = bench.submit('echo "${GLIBC_TUNABLES-}"; env | grep -c ^GLIBC_TUNABLES=')
    bench.finish(job)
    assert bench.log(job).splitlines() == [own, "1" if own else "0"]
