"""A worker: one bash that runs tasks of a job one after another (``templates/worker.sh``)."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Mapping
from contextlib import suppress

from slurmslice.engines.local.admission import Demand
from slurmslice.engines.local.jobs import LocalJob
from slurmslice.engines.local.machine import children, descendants, process_group, usage
from slurmslice.engines.local.memory_cgroup import Cell
from slurmslice.engines.local.script_kind import script_stamp, worker_kind
from slurmslice.engines.local.supported_requests import warning
from slurmslice.errors import EngineError
from slurmslice.script.template import templates_folder
from slurmslice.system import files
from slurmslice.system.process import fork_worker

NICE = 10

STOP, TIME_IS_UP, KILL = signal.SIGPWR, signal.SIGALRM, signal.SIGQUIT
"""What a worker is told by a signal. STOP is also what the kernel sends it when its runner dies."""

_PASSED_ON = frozenset(
    {signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2}
)
"""Signals that a worker passes on to its task, as the library does."""

_GROWTH = 1.05
"""A peak is written down when it is so many times the one that was written last."""


def find_bash() -> str:
    """Return where bash is.

    Raises:
        EngineError: it is not on PATH.
    """
    path = shutil.which("bash")
    if path is None:
        raise EngineError(
            "bash is not on PATH, and the run's script is a bash script.", code="no-bash"
        )
    return path


class Worker:
    """A worker that was started, and the task that it runs.

    Args:
        job: the job whose tasks it runs.
        number: its number in the job, from 0: nobody else writes ``worker-<number>.log``.
        bash: bash's path.
        env: the environment of the job's tasks.
        mark: the variable that marks the run's processes.
        grace_s: seconds from SIGTERM to SIGKILL.

    Attributes:
        pid: its process, and its session.
        stamp: which version of the script it has read.
        index: the array index of the task that it runs; None if it is idle.
        demand: the request of that task, and the memory in use at the last look.
        peak: the most memory of all looks, bytes.
        ends_at, warns_at: when its time is over, and when it is warned; monotonic, or None.
        stopped: it was told to end its task.
        cell: the control group of its task, or None.

    Raises:
        OSError: it could not be started.
    """

    def __init__(
        self,
        job: LocalJob,
        number: int,
        *,
        bash: str,
        env: Mapping[str, str],
        mark: str,
        grace_s: float,
    ) -> None:
        orders, self._orders = os.pipe()
        self.answers, answers = os.pipe()
        self.job, self.number = job, number
        self._warning = warning(job.request)
        self.stamp = script_stamp(job.script)
        try:
            log = job.folder / "tasks" / f"worker-{number}.log"
            output = files.open_regular(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            program = (bash, str(templates_folder() / "worker.sh"))
            numbers = (str(orders), str(answers), str(grace_s))
            about = (str(job.folder), worker_kind(job.script), str(job.script), *job.arguments)
            try:
                self.pid = fork_worker(
                    (*program, *numbers, *about), env, output=output, keep=(orders, answers),
                    mark=mark, death_signal=STOP, nice=NICE,
                )  # fmt: skip
            finally:
                os.close(output)
        except BaseException:
            os.close(self._orders)
            os.close(self.answers)
            raise
        finally:
            os.close(orders)
            os.close(answers)
        os.set_blocking(self.answers, False)
        self._rest = b""
        self._written_peak = 0.0
        self._free(None)

    def _free(self, index: int | None, demand: Demand | None = None) -> None:
        self.index = index
        self.demand = demand or Demand(0, 0)
        self.peak = self._written_peak = 0
        self.ends_at: float | None = None
        self.warns_at: float | None = None
        self.stopped = False
        self.cell: Cell | None = None

    # -- doing -------------------------------------------------------------------------------

    def warn(self) -> None:
        """Send the signal that was asked for (``--signal=B:USR1@60``) to the task's script."""
        self.warns_at = None
        if self._warning is None:
            return
        if self._warning[0] in _PASSED_ON:
            self.send(self._warning[0])
        elif below := children(self.pid):  # the oldest child is the task
            with suppress(OSError):
                os.kill(below[0], self._warning[0])

    def give(self, index: int, job_id: int, demand: Demand, cell: Cell | None) -> None:
        """Have a task run. A worker that is gone is noticed later."""
        self._free(index, demand)
        self.cell = cell
        self._count_time()
        with suppress(BrokenPipeError):
            os.write(self._orders, f"{index} {job_id} {cell.path if cell else ''}\n".encode())

    def _count_time(self) -> None:
        """Let the task's time begin now."""
        now, limit = time.monotonic(), self.job.request.time_s
        if limit is not None and self.index is not None and not self.stopped:
            self.ends_at = now + limit
            self.warns_at = now + max(0, limit - self._warning[1]) if self._warning else None

    def send(self, number: int) -> None:
        """Send it a signal."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def end_task(self, how: signal.Signals) -> None:
        """Have the task end (``STOP``, ``TIME_IS_UP``), also what has left its process group."""
        if self.stopped or self.index is None:
            return
        self.stopped, self.ends_at = True, None
        below, outside = children(self.pid), list[int]()
        if below:  # the oldest child is the task, whose group the worker signals itself
            known = {self.pid, below[0], None}
            outside = [pid for pid in descendants(self.pid) if process_group(pid) not in known]
        self.send(how)
        for pid in outside:
            with suppress(OSError):
                os.kill(pid, signal.SIGTERM)

    def look(self) -> float:
        """See what the task uses, and return the CPU seconds of the worker and all below it."""
        seen = [used for pid in descendants(self.pid) if (used := usage(pid))]
        if self.index is not None:
            memory = sum(used.rss for used in seen[1:])
            memory = self.cell.memory() if self.cell else memory
            self.demand = Demand(self.demand.cpus, self.demand.memory, memory)
            self.peak = max(self.peak, memory)
        return sum(used.cpu_s for used in seen)

    def has_news(self) -> bool:
        """Return ``True`` if the peak has grown so much that it is worth a line."""
        if self.peak <= self._written_peak * _GROWTH:
            return False
        self._written_peak = self.peak
        return True

    # -- hearing -----------------------------------------------------------------------------

    def hear(self) -> bool | None:
        """Return ``True`` if its task has ended, ``None`` if the worker itself has.

        The first thing that a worker says is that it is ready: its first task's time begins then.
        """
        try:
            data = os.read(self.answers, 4096)
        except BlockingIOError:
            return False
        if not data:
            return None
        *lines, self._rest = (self._rest + data).split(b"\n")
        if b"ready" in lines:
            self._count_time()
        return any(line != b"ready" for line in lines)

    def set_free(self) -> None:
        """Forget the task that has ended."""
        if self.cell is not None:
            self.cell.remove()
        self._free(None)

    # -- the end -----------------------------------------------------------------------------

    def dismiss(self) -> None:
        """Close its orders: it goes when its task has ended."""
        if self._orders >= 0:
            os.close(self._orders)
            self._orders = -1

    def reap(self, within: float) -> tuple[int, float] | None:
        """Wait for its end, for so many seconds; kill it then.

        Returns:
            its exit code as wait(2) has it (negative for a signal) and the CPU seconds that it and
            its children used; None if nobody can tell.
        """
        self.dismiss()
        deadline = time.monotonic() + within
        try:
            while True:
                pid, status, used = os.wait4(self.pid, os.WNOHANG)
                if pid:
                    break
                if time.monotonic() >= deadline:
                    self.send(signal.SIGKILL)
                    _, status, used = os.wait4(self.pid, 0)
                    break
                time.sleep(0.002)
        except ChildProcessError:  # the caller ignores SIGCHLD
            return None
        finally:
            os.close(self.answers)
        return os.waitstatus_to_exitcode(status), used.ru_utime + used.ru_stime
