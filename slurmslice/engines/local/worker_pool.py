"""The workers of a runner: start them, wait for them, and end them."""

from __future__ import annotations

import select
import time
from collections.abc import Iterator, Mapping

from slurmslice.engines.local.environment import job_environment, task_job_id
from slurmslice.engines.local.jobs import LocalJob, TaskResources
from slurmslice.engines.local.memory_cgroup import (
    MemoryGroup,
    MemoryGroups,
    create_memory_groups,
)
from slurmslice.engines.local.orphans import kill_orphans
from slurmslice.engines.local.worker_mode import read_script_version
from slurmslice.engines.local.workers import KILL, STOP, TIME_IS_UP, Worker

GRACE_S = 5.0
"""Seconds from SIGTERM to SIGKILL: at the time limit, on a cancel, and if the runner stops."""

KILL_WAIT_S = 10.0
"""Seconds to wait for a process that does not end after SIGKILL."""


class WorkerPool:
    """The living workers of one runner.

    Args:
        marker: the environment variable that marks the run's processes.
        bash: the path of bash.
        environ: the environment of the jobs' submissions.

    Attributes:
        ended_at: the time at which a task last ended, monotonic.
    """

    def __init__(self, marker: str, bash: str, environ: Mapping[str, str]) -> None:
        self._marker = marker
        self._environ = environ
        self._bash = bash
        self._poll = select.poll()
        self._by_fd: dict[int, Worker] = {}
        self._groups: MemoryGroups | None = None
        self._groups_tried = False
        self._cpu_of_ended = 0.0
        self.ended_at = 0.0

    @property
    def workers(self) -> list[Worker]:
        """The living workers."""
        return list(self._by_fd.values())

    def running_tasks(self) -> list[TaskResources]:
        """Return the resources of the running tasks; memory in use is from the last measurement."""
        return [worker.resources for worker in self._by_fd.values() if worker.index is not None]

    # -- start -------------------------------------------------------------------------------

    def start(self, job: LocalJob, index: int, resources: TaskResources) -> None:
        """Run a task in an idle worker of its job, or in a new worker.

        Raises:
            OSError: a worker could not be started.
        """
        worker = self._find_idle(job) or self._start_worker(job)
        group = self._create_group(job, index, resources)
        worker.assign(index, task_job_id(job, index), resources, group, self._free_place())

    def _free_place(self) -> int:
        """Return the lowest number that no running task has, of any job."""
        taken = {worker.place for worker in self.workers if worker.index is not None}
        return next(n for n in range(len(taken) + 1) if n not in taken)

    def _find_idle(self, job: LocalJob) -> Worker | None:
        """Return an idle worker of a job. Remove idle workers that read an older script."""
        version = read_script_version(job.script)
        for worker in self.workers:
            if worker.index is None and worker.job.id == job.id:
                if worker.script_version == version:
                    return worker
                self.remove(worker)
        return None

    def _start_worker(self, job: LocalJob) -> Worker:
        """Start a worker for a job, with the lowest free number."""
        taken = {worker.number for worker in self.workers if worker.job.id == job.id}
        number = next(n for n in range(len(taken) + 1) if n not in taken)
        worker = Worker(
            job, number, bash=self._bash, env=job_environment(job, self._environ),
            marker=self._marker, grace_s=GRACE_S,
        )  # fmt: skip
        self._by_fd[worker.events_fd] = worker
        self._poll.register(worker.events_fd, select.POLLIN)
        return worker

    def _create_group(
        self, job: LocalJob, index: int, resources: TaskResources
    ) -> MemoryGroup | None:
        if not (resources.memory and job.request.mem_mib):
            return None
        if not self._groups_tried:
            self._groups, self._groups_tried = create_memory_groups(), True
        if self._groups is None:
            return None
        try:
            return self._groups.create(f"{job.id}_{index}", resources.memory)
        except OSError:
            return None  # somebody removed the parent group: the request counts for admission only

    # -- watch -------------------------------------------------------------------------------

    def enforce_time_limits(self) -> None:
        """Send the warning signal to tasks, end them, or repeat that, if their time has come."""
        now = time.monotonic()
        for worker in self._by_fd.values():
            if worker.warns_at is not None and now >= worker.warns_at:
                worker.send_warning()
            if worker.ends_at is not None and now >= worker.ends_at:
                worker.end_task(TIME_IS_UP)
            worker.repeat_end_task()

    def next_deadline(self) -> float:
        """Return when ``enforce_time_limits`` is next due, monotonic; infinity for never."""
        workers = self._by_fd.values()
        times = (at for worker in workers for at in (worker.ends_at, worker.warns_at) if at)
        return min(times, default=float("inf"))

    def measure(self) -> float:
        """Measure the tasks' use. Return the CPU seconds of all our processes so far."""
        used = sum(worker.measure() for worker in self._by_fd.values())
        return time.process_time() + self._cpu_of_ended + used

    def wait_for_ends(self, timeout: float) -> Iterator[tuple[Worker, int, int | None]]:
        """Wait up to ``timeout`` seconds for tasks that end.

        Yields:
            a worker; the index of its task that ended; and the exit code of the worker (negative
            for a signal) if the worker ended too, else None.
        """
        for fd, _ in self._poll.poll(timeout * 1000):
            worker = self._by_fd[fd]
            task_ended, index = worker.read_events(), worker.index
            code = self.remove(worker) if task_ended is None else None
            if index is not None and task_ended is not False:
                worker.free_task()
                self.ended_at = time.monotonic()
                yield worker, index, code

    # -- end ---------------------------------------------------------------------------------

    def remove(self, worker: Worker, within: float = 1.0) -> int:
        """End a worker and all processes that it left.

        Args:
            worker: a worker of the pool.
            within: seconds until it is killed.

        Returns:
            its exit code (negative for a signal).
        """
        self._poll.unregister(worker.events_fd)
        del self._by_fd[worker.events_fd]
        ended = worker.reap(within)
        if ended is None:
            return 0
        code, cpu = ended
        self._cpu_of_ended += cpu
        if code:
            kill_orphans(self._marker, worker.pid)
        return code

    def stop_tasks(self) -> None:
        """Ask all tasks and all idle workers to end."""
        for worker in self.workers:
            worker.close_tasks()
            worker.end_task(STOP)

    def kill_tasks(self) -> None:
        """Kill all tasks at once."""
        for worker in self.workers:
            worker.send_signal(KILL)

    def close(self) -> bool:
        """End all workers. Return ``True`` if no process is left."""
        busy = any(worker.index is not None for worker in self.workers)
        codes = [self.remove(worker) for worker in self.workers]
        if self._groups is not None:
            self._groups.remove()
        return kill_orphans(self._marker) if busy or any(codes) else True
