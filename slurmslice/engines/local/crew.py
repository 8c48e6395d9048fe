"""All workers of a runner: started, listened to, and gone in the end."""

from __future__ import annotations

import select
import time
from collections.abc import Iterator

from slurmslice.engines.local.admission import Demand
from slurmslice.engines.local.environment import job_environment, task_job_id
from slurmslice.engines.local.jobs import LocalJob
from slurmslice.engines.local.memory_cgroup import Cell, Cells, open_cells
from slurmslice.engines.local.orphans import sweep
from slurmslice.engines.local.script_kind import script_stamp
from slurmslice.engines.local.workers import KILL, STOP, TIME_IS_UP, Worker

GRACE_S = 5.0
"""From SIGTERM to SIGKILL: at the time limit, when cancelled, when the runner stops."""

KILL_WAIT_S = 10.0
"""How long a process that SIGKILL does not end is waited for, seconds."""


class Crew:
    """The workers.

    Args:
        mark: the variable that marks the run's processes.
        bash: bash's path.

    Attributes:
        workers: those that live.
        ended_at: when a task ended last, monotonic.
    """

    def __init__(self, mark: str, bash: str) -> None:
        self._mark = mark
        self._bash = bash
        self._poll = select.poll()
        self._by_fd: dict[int, Worker] = {}
        self._cells: Cells | None = None
        self._cells_opened = False
        self._cpu_of_gone = 0.0
        self.ended_at = 0.0

    @property
    def workers(self) -> list[Worker]:
        """The workers that live."""
        return list(self._by_fd.values())

    def demands(self) -> list[Demand]:
        """Return the requests of what runs, with the memory in use at the last look."""
        return [worker.demand for worker in self._by_fd.values() if worker.index is not None]

    # -- starting ----------------------------------------------------------------------------

    def start(self, job: LocalJob, index: int, demand: Demand) -> Worker:
        """Have a task run by an idle worker of its job, or by a new one.

        Raises:
            OSError: no worker could be started.
        """
        worker = self._idle(job) or self._hire(job)
        worker.give(index, task_job_id(job, index), demand, self._cell(job, index, demand))
        return worker

    def _idle(self, job: LocalJob) -> Worker | None:
        """Return an idle worker of a job; one that has read an older script is let go."""
        stamp = script_stamp(job.script)
        for worker in self.workers:
            if worker.index is None and worker.job.id == job.id:
                if worker.stamp == stamp:
                    return worker
                self.dismiss(worker)
        return None

    def _hire(self, job: LocalJob) -> Worker:
        """Start a worker for a job, with the lowest number that is free."""
        taken = {worker.number for worker in self.workers if worker.job.id == job.id}
        number = next(n for n in range(len(taken) + 1) if n not in taken)
        worker = Worker(
            job, number, bash=self._bash, env=job_environment(job), mark=self._mark, grace_s=GRACE_S
        )
        self._by_fd[worker.answers] = worker
        self._poll.register(worker.answers, select.POLLIN)
        return worker

    def _cell(self, job: LocalJob, index: int, demand: Demand) -> Cell | None:
        if not job.request.mem_mib:
            return None
        if not self._cells_opened:
            self._cells, self._cells_opened = open_cells(), True
        try:
            return self._cells.make(f"{job.id}_{index}", demand.memory) if self._cells else None
        except OSError:
            return None  # somebody removed the group: only admission is left

    # -- watching ----------------------------------------------------------------------------

    def watch_time(self) -> None:
        """Warn and end tasks whose time has come."""
        now = time.monotonic()
        for worker in self._by_fd.values():
            if worker.warns_at is not None and now >= worker.warns_at:
                worker.warn()
            if worker.ends_at is not None and now >= worker.ends_at:
                worker.end_task(TIME_IS_UP)

    def next_time(self) -> float:
        """Return when ``watch_time`` is due next, monotonic; infinity for never."""
        workers = self._by_fd.values()
        times = (at for worker in workers for at in (worker.ends_at, worker.warns_at) if at)
        return min(times, default=float("inf"))

    def look(self) -> float:
        """See what the tasks use, and return the CPU seconds of all our processes so far."""
        used = sum(worker.look() for worker in self._by_fd.values())
        return time.process_time() + self._cpu_of_gone + used

    # -- hearing -----------------------------------------------------------------------------

    def hear(self, timeout: float) -> Iterator[tuple[Worker, int, int | None]]:
        """Wait for ends, for so many seconds.

        Yields:
            a worker, the index of its task that has ended, and None, or the exit code of the
            worker (negative for a signal) if that has ended with its task.
        """
        for fd, _ in self._poll.poll(timeout * 1000):
            worker = self._by_fd[fd]
            heard, index = worker.hear(), worker.index
            code = self.dismiss(worker) if heard is None else None
            if index is not None and heard is not False:
                worker.set_free()
                self.ended_at = time.monotonic()
                yield worker, index, code

    def dismiss(self, worker: Worker, within: float = 1.0) -> int:
        """Let a worker go, and end what it has left; its exit code (negative for a signal)."""
        self._poll.unregister(worker.answers)
        del self._by_fd[worker.answers]
        ended = worker.reap(within)
        if ended is None:
            return 0
        code, cpu = ended
        self._cpu_of_gone += cpu
        if code:
            sweep(self._mark, worker.pid)
        return code

    # -- the end -----------------------------------------------------------------------------

    def stop(self) -> None:
        """Tell all tasks to end, and idle workers to go."""
        for worker in self.workers:
            worker.dismiss()
            worker.end_task(STOP)

    def kill(self) -> None:
        """End all tasks at once."""
        for worker in self.workers:
            worker.send(KILL)

    def close(self) -> bool:
        """Let all workers go; return ``True`` if no process is left."""
        busy = any(worker.index is not None for worker in self.workers)
        codes = [self.dismiss(worker) for worker in self.workers]
        if self._cells is not None:
            self._cells.remove()
        return sweep(self._mark) if busy or any(codes) else True
