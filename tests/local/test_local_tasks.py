"""The local engine: what a task gets and how its end is told; the bench that its tests work on."""

from __future__ import annotations

import errno
import hashlib
import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from slurmslice.engines.local import (
    LocalEngine,
    capacity,
    crew,
    engine,
    machine,
    memory_cgroup,
    orphans,
    runner,
    workers,
)
from slurmslice.engines.protocol import SubmitRequest
from slurmslice.errors import EngineError
from slurmslice.run.directory import RunDirectory
from slurmslice.run.journal import Cancelled, Event, Intent, Shared, Submitted
from slurmslice.run.journal_jobs import JournalJobs
from slurmslice.sbatch.array_expression import parse_array
from slurmslice.sbatch.resource_request import NO_REQUEST
from slurmslice.status.reports import TaskReport
from slurmslice.status.states import State
from slurmslice.system import process
from tests.support.paths import REPOSITORY
from tests.support.requested import a_request

PATIENCE_S = 20.0
"""When a test gives up; none of them needs a tenth of it."""


class Bench:
    """A run directory with a journal, an engine on it, and other processes with engines.

    Each job has a script of its own, which the run's script reads: ``$NOTES`` is a folder for it
    to write in.
    """

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self.notes = run_dir.parent / "notes"
        self.notes.mkdir()
        self.directory = RunDirectory(run_dir)
        self.engine = LocalEngine(run_dir, JournalJobs(self.directory))
        self.processes: list[subprocess.Popen[str]] = []
        self.orders = 0

    def order(
        self, script: str, array: str = "0", *, arguments: tuple[str, ...] = (), **request: object
    ) -> SubmitRequest:
        """Make the next job, which is not submitted yet."""
        self.orders += 1
        folder = self.run_dir / "submissions" / f"{self.orders:03d}"
        (folder / "tasks").mkdir(parents=True)
        (folder / "script.sh").write_text(f"NOTES={self.notes}\n{textwrap.dedent(script)}")
        self.directory.script.write_text(
            f". {self.run_dir}/submissions/$(printf %03d $SLURM_ARRAY_JOB_ID)/script.sh"
        )
        return SubmitRequest(
            number=self.orders,
            job_name=f"bench-token{self.orders}",
            token=f"token{self.orders}",
            script=self.directory.script,
            folder=folder,
            array=parse_array(array),
            overrides=NO_REQUEST,
            arguments=arguments,
            request=a_request(**request),  # type: ignore[arg-type]
        )

    def take(self, order: SubmitRequest) -> None:
        """Write in the journal that a job was taken."""
        array = str(order.array)
        texts = (order.token, order.job_name, array, array.partition("%")[0])
        script = hashlib.sha256(order.script.read_bytes()).hexdigest()
        self.tell(
            Intent(
                order.number, *texts, NO_REQUEST, NO_REQUEST, script, "", time.time(),
                options=order.request,
                arguments=order.arguments,
            ),
            Submitted(order.number, str(order.number), None, "sbatch", time.time()),
        )  # fmt: skip

    def tell(self, *events: Event) -> None:
        """Write in the journal what a person decides."""
        for event in events:
            self.directory.append(event)

    def cancel(self, order: SubmitRequest, array: str) -> None:
        """Cancel tasks, as another process does."""
        self.tell(Cancelled(order.number, array, time.time()))

    def throttle(self, order: SubmitRequest, limit: int | None) -> None:
        """Set how many tasks may run at a time, as another process does."""
        self.tell(Shared(order.number, limit, time.time()))

    def submit(self, script: str, array: str = "0", **request: object) -> SubmitRequest:
        """Submit a job."""
        order = self.order(script, array, **request)  # type: ignore[arg-type]
        self.engine.submit(order)
        self.take(order)
        return order

    def run(self, script: str, array: str = "0", **options: object) -> dict[int, TaskReport]:
        """Order it, and work until it has ended; the reports by index."""
        order = self.submit(script, array, **options)
        return self.finish(order)

    def finish(self, order: SubmitRequest) -> dict[int, TaskReport]:
        """Work until an order has ended."""
        self.until(lambda: not self.queue(order))
        return self.ended(order)

    def until(self, condition: Callable[[], object], engine: LocalEngine | None = None) -> None:
        """Work until it is so."""
        until(condition, lambda: (engine or self.engine).wait(0.05))

    def ended(self, order: SubmitRequest) -> dict[int, TaskReport]:
        """What accounting says."""
        seen = self.engine.observe([(str(order.number), order.job_name)])
        return {index: report for (_, index), report in seen.accounting.reports.items()}

    def queue(
        self, order: SubmitRequest, engine: LocalEngine | None = None
    ) -> dict[int, TaskReport]:
        """What the queue says."""
        seen = (engine or self.engine).observe([(str(order.number), order.job_name)])
        return {index: report for (_, index), report in seen.queue.reports.items()}

    def states(self, order: SubmitRequest, engine: LocalEngine | None = None) -> set[State]:
        """The states in the queue."""
        return {report.state for report in self.queue(order, engine).values()}

    def log(self, order: SubmitRequest, index: int = 0) -> str:
        """What a task said."""
        return (order.folder / "tasks" / f"{index}.log").read_text()

    def lines(self, name: str) -> list[str]:
        """The lines of a note that tasks write."""
        path = self.notes / name
        return path.read_text().splitlines() if path.exists() else []

    def elsewhere(self, program: str) -> subprocess.Popen[str]:
        """Another process with an ``engine`` of its own on the run directory."""
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
        """The processes of this run's tasks that live."""
        mark = orphans.marker(self.run_dir)
        return [p for p in psutil.process_iter() if orphans._has_mark(p, mark, None)]

    def another(self) -> LocalEngine:
        """Another engine in this process."""
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
"""A runner, as ``elsewhere`` takes it."""


def until(condition: Callable[[], object], meanwhile: Callable[[], None] | None = None) -> None:
    """Wait for a condition, in small steps; the test fails where it never comes."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        if meanwhile is None:
            time.sleep(0.01)
        else:
            meanwhile()


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Others leave the machine alone, as far as this process is told."""

    def nothing(load: machine.Load, ours: float) -> None:
        load.others = 0.0

    monkeypatch.setattr(machine.Load, "look", nothing)
    monkeypatch.setattr(machine, "running_now", lambda loadavg: 0.0)


@pytest.fixture
def bench(tmp_path: Path, quiet: None) -> Iterator[Bench]:
    """A bench whose processes are ended after the test, and that has left none behind."""
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
    """Whoever does not end on SIGTERM is killed soon."""
    monkeypatch.setattr(crew, "GRACE_S", 0.3)


# -- what a task gets ------------------------------------------------------------------------------


def test_a_task_gets_slurms_variables(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its index, its array, its job; nothing that an outer Slurm job set; the caller's others."""
    monkeypatch.setenv("SLURM_RESTART_COUNT", "3")
    monkeypatch.setenv("SBATCH_ACCOUNT", "other")
    monkeypatch.setenv("MINE", "a b\n'c'")
    order = bench.submit("env -0 | sort -z", "3,5,9", cpus=2)
    bench.finish(order)
    said = dict(v.split("=", 1) for v in bench.log(order, 5).split("\0") if v)
    slurms = {
        name: value
        for name, value in said.items()
        if name.startswith(("SLURM_", "SBATCH_", orphans.marker(bench.run_dir)))
    }
    assert slurms.pop("SLURM_JOB_ID").isdecimal()
    assert slurms.pop("SLURM_SUBMIT_DIR") == os.getcwd()
    assert slurms.pop(orphans.marker(bench.run_dir)).isdecimal()
    assert slurms == {
        "SLURM_ARRAY_JOB_ID": "1",
        "SLURM_ARRAY_TASK_ID": "5",
        "SLURM_ARRAY_TASK_COUNT": "3",
        "SLURM_ARRAY_TASK_MIN": "3",
        "SLURM_ARRAY_TASK_MAX": "9",
        "SLURM_JOB_NAME": "bench-token1",
        "SLURM_CPUS_PER_TASK": "2",
    }
    assert said["MINE"] == "a b\n'c'"


def test_no_two_tasks_share_a_job_id(bench: Bench) -> None:
    """Scripts name scratch folders by SLURM_JOB_ID: of two orders no two tasks have the same."""
    script = "echo $SLURM_JOB_ID >>$NOTES/ids"
    bench.run(script, "0-4")
    bench.run(script, "0-4")
    assert len(set(bench.lines("ids"))) == 10


def test_a_task_gets_its_argument_its_log_and_no_input(bench: Bench) -> None:
    """stdout and stderr are appended to its log, stdin is empty, the argument is passed on."""
    order = bench.order("echo out $#:$1; echo err >&2; read || echo empty", arguments=("002",))
    (order.folder / "tasks" / "0.log").write_text("before\n")
    bench.take(order)
    bench.finish(order)
    assert bench.log(order) == "before\nout 1:002\nerr\nempty\n"


def test_a_task_is_nice_and_in_a_group_of_its_own(bench: Bench) -> None:
    """Nice 10; its process group is its own, and its session is not the caller's."""
    order = bench.submit("echo $(nice) $$ $(ps -o pgid=,sid= -p $$)")
    bench.finish(order)
    nice, pid, group, session = map(int, bench.log(order).split())
    assert nice == 10
    assert pid == group
    assert session != os.getsid(0)


def test_signals_that_the_caller_ignores_are_heard_by_tasks(bench: Bench) -> None:
    """A task can trap what its runner ignores (nohup, Python's SIGPIPE)."""
    order = bench.submit("trap 'echo heard' PIPE HUP; kill -PIPE $$; kill -HUP $$")
    bench.finish(order)
    assert bench.log(order) == "heard\nheard\n"


# -- how its end is told ---------------------------------------------------------------------------


def test_exit_codes_and_signals(bench: Bench) -> None:
    """COMPLETED is exit 0; anything else is FAILED, with bash's code: 128 + n for signal n."""
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


def test_what_is_measured(bench: Bench) -> None:
    """CPU time and peak memory of the task and of what it waited for; times; the request."""
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
    assert report.max_rss_bytes is not None
    assert 40e6 < report.max_rss_bytes < 500e6
    assert report.requested_mem_bytes == 500 << 20
    times = (report.submitted_at, report.started_at, report.ended_at)
    assert all(at is not None and before <= at <= time.time() for at in times)
    assert report.node == bench.engine.cluster()


def test_time_limit(bench: Bench) -> None:
    """A task over its time is told to end, with its children, and is TIMEOUT whatever it says."""
    script = """
        trap 'wait $child; echo told; exit 0' TERM
        (trap 'echo child told; exit' TERM; sleep 30 & wait) &
        child=$!
        setsid sleep 31 &
        wait
    """
    order = bench.submit(script, time_s=1)
    report = bench.finish(order)[0]
    assert (report.state, report.exit_code) == (State.TIMEOUT, 0)
    assert bench.log(order) == "child told\ntold\n"
    assert report.elapsed_s is not None
    assert 1 <= report.elapsed_s < 4


def test_time_limit_of_the_deaf(bench: Bench, hasty: None) -> None:
    """A task that ignores SIGTERM is killed when the grace is over, and so are its children."""
    report = bench.run("trap '' TERM; sleep 30 & sleep 31; sleep 32", time_s=1)[0]
    assert (report.state, report.exit_code) == (State.TIMEOUT, 137)


def test_a_warning_before_the_limit(bench: Bench) -> None:
    """``--signal=B:USR1@1`` reaches the script, and it alone, a second before the limit."""
    script = """
        trap 'echo warned; exit 3' USR1
        (trap 'echo child warned' USR1; exec sleep 30) &
        wait
    """
    order = bench.submit(script, time_s=2, options=(("signal", "B:USR1@1"),))
    report = bench.finish(order)[0]
    assert (report.state, report.exit_code) == (State.FAILED, 3)
    assert bench.log(order) == "warned\n"


HOG = "x=$(printf '%*s' 300000000 '')"


def test_out_of_memory(bench: Bench) -> None:
    """A task over its memory is ended by the kernel and is OUT_OF_MEMORY."""
    needs_a_control_group(bench)
    report = bench.run(HOG, mem_mib=100)[0]
    assert report.state is State.OUT_OF_MEMORY
    assert report.max_rss_bytes is not None
    assert report.max_rss_bytes >= 90 << 20


def test_out_of_memory_in_a_child(bench: Bench) -> None:
    """It is OUT_OF_MEMORY even where its script lives on and exits 0; others are not."""
    needs_a_control_group(bench)
    script = f'[ $SLURM_ARRAY_TASK_ID = 1 ] || (exec bash -c "{HOG}"); exit 0'
    reports = bench.run(script, "0-1", mem_mib=100)
    assert [reports[i].state for i in (0, 1)] == [State.OUT_OF_MEMORY, State.COMPLETED]


def test_no_control_group_is_left(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is made for tasks is removed, each when it ends and all when the runner goes."""
    needs_a_control_group(bench)
    made: list[Path] = []
    make = memory_cgroup.Cells.make

    def spy(self: memory_cgroup.Cells, name: str, memory: int) -> memory_cgroup.Cell:
        cell = make(self, name, memory)
        made.append(cell.path)
        return cell

    monkeypatch.setattr(memory_cgroup.Cells, "make", spy)
    bench.run("true", "0-3", mem_mib=100)
    assert made
    assert not any(path.exists() or path.parent.exists() for path in made)


def needs_a_control_group(bench: Bench) -> None:
    """Skip where the machine does not let us limit a task's memory."""
    if not bench.engine.enforces_memory:
        pytest.skip(bench.engine.memory_note)


def test_the_callers_own_children_are_left_alone(bench: Bench) -> None:
    """A program that the same process has started is not reaped, nor killed."""
    own = subprocess.Popen(["bash", "-c", "exit 5"])
    longer = subprocess.Popen(["sleep", "30"], start_new_session=True)
    bench.run("sleep 30 & true", "0-3")
    assert own.wait() == 5
    assert longer.poll() is None
    longer.kill()
    longer.wait()


# -- what goes wrong -------------------------------------------------------------------------------


def test_a_task_that_cannot_be_started(bench: Bench) -> None:
    """The error says which one it is, and it waits once the runner is closed."""
    order = bench.submit("true", "4")
    (order.folder / "tasks").rmdir()
    with pytest.raises(EngineError) as error:
        bench.engine.wait(5)
    assert error.value.code == "task-not-started"
    assert error.value.fields["index"] == 4
    bench.engine.close()
    assert bench.states(order) == {State.WAITING}
    assert not bench.ended(order)


def test_a_worker_that_cannot_work(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that ends by itself is an error, and its task waits."""
    order = bench.submit("true", "4")
    monkeypatch.setattr(workers, "templates_folder", lambda: bench.notes)
    with pytest.raises(EngineError) as error:
        bench.until(lambda: False)
    assert error.value.code == "worker-ended"
    bench.engine.close()
    assert bench.states(order) == {State.WAITING}


def test_a_machine_that_is_full_of_processes(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """If no process can be had for the moment, the task is started later."""
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
    """Without bash there is no runner, and the order waits for one."""
    order = bench.submit("true")
    monkeypatch.setenv("PATH", str(bench.notes))
    with pytest.raises(EngineError) as error:
        bench.engine.wait(5)
    assert error.value.code == "no-bash"
    assert not bench.engine.working
    assert bench.states(order) == {State.PENDING}


def test_without_control_groups(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is asked for, not enforced; the note says so before tasks run; peaks are sampled."""
    for module in (engine, crew):
        monkeypatch.setattr(module, "open_cells", lambda: None)
    monkeypatch.setattr(machine, "LOOK_S", 0.05)
    monkeypatch.setattr(capacity, "LOOK_S", 0.05)
    order = bench.submit(f"{HOG}; until [ -e $NOTES/go ]; do sleep 0.02; done", mem_mib=100)
    assert not bench.engine.enforces_memory
    assert bench.engine.limits(order.request).note == bench.engine.memory_note
    assert not bench.engine.limits(a_request()).note
    assert "a task over it is not ended" in bench.engine.memory_note
    seen = order.folder / "tasks" / "runner.log"
    bench.until(lambda: seen.exists() and int(seen.read_text().rpartition("rss=")[2]) > 250e6)
    (bench.notes / "go").touch()
    report = bench.finish(order)[0]
    assert report.state is State.COMPLETED
    assert (report.max_rss_bytes or 0) > 250e6


def test_a_short_task_has_no_peak(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a control group, memory that nobody saw is not measured, and is not called 0."""
    monkeypatch.setattr(crew, "open_cells", lambda: None)
    for module, name in ((machine, "FIRST_LOOK_S"), (machine, "LOOK_S"), (capacity, "LOOK_S")):
        monkeypatch.setattr(module, name, 1e9)  # nobody looks while it runs
    assert bench.run("true")[0].max_rss_bytes is None


def test_children_are_found_without_the_kernels_list(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the kernel lists no children, they are found among all processes."""
    child = subprocess.Popen(["sleep", "30"])
    try:
        assert child.pid in machine.children(os.getpid())
        monkeypatch.setattr(machine, "_LISTED", False)
        assert child.pid in machine.children(os.getpid())
        assert machine.children(child.pid) == []
    finally:
        child.kill()
        child.wait()
    assert machine.children(child.pid) == []
