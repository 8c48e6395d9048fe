"""The runner: runs the tasks of a run's jobs in one process, which holds the runner lock.

It is one loop without threads: read requests, start tasks, record ends, enforce time limits.
"""

from __future__ import annotations

import errno
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from slurmslice.engines.local.admission import Admission
from slurmslice.engines.local.jobs import JobSource, LocalJob, TaskResources
from slurmslice.engines.local.machine import Machine
from slurmslice.engines.local.runner_lock import RunnerLock, host_name
from slurmslice.engines.local.supported_requests import task_resources
from slurmslice.engines.local.worker_pool import GRACE_S, KILL_WAIT_S, WorkerPool
from slurmslice.engines.local.workers import STOP, find_bash
from slurmslice.errors import EngineError
from slurmslice.sbatch.array_expression import compress_indices
from slurmslice.system import files

STEP_S = 0.2
"""Seconds between two reads of other processes' requests."""

RETRY_S = 1.0
"""Seconds without a new task after the machine had no room for another process."""

BATCH = 32
"""Number of tasks to start before the runner looks for ends again."""

_NO_ROOM = frozenset({errno.EAGAIN, errno.ENOMEM})


@dataclass(slots=True)
class ActiveJob:
    """A job that this runner claimed.

    Attributes:
        job: the job, as last read from the journal.
        resources: the resources of each of its tasks.
        pending: the indices that have not started, in order.
        running: the number of running tasks.
    """

    job: LocalJob
    resources: TaskResources
    pending: deque[int]
    running: int = 0


class Runner:
    """Runs the tasks of jobs. ``close`` releases the lock.

    Args:
        lock: the acquired lock. ``write_holder`` must be called before ``claim_jobs``.
        source: the source of jobs.
        machine: this machine.
        marker: the environment variable that marks the run's processes.
        environ: the environment of the jobs' submissions.

    Raises:
        EngineError: bash is missing.
    """

    def __init__(
        self,
        lock: RunnerLock,
        source: JobSource,
        machine: Machine,
        marker: str,
        environ: Mapping[str, str],
    ) -> None:
        self._lock = lock
        self._source = source
        self._machine = machine
        self._active: dict[str, ActiveJob] = {}
        self._pool = WorkerPool(marker, find_bash(), environ)
        self._admission = Admission(machine, self._pool)
        self._refreshed_at = 0.0
        self._applied_version = -1
        self._waits_for_room = False
        self._closed = False

    @property
    def idle(self) -> bool:
        """No task runs and no task is pending."""
        return not self._active

    def run_once(self, until: float) -> bool:
        """Do one round, at most until a monotonic time. Return ``True`` if a task ended.

        Raises:
            EngineError: a task cannot be started, or a worker failed.
        """
        self._read_requests()
        more = self._start_tasks()
        changed = False
        for worker, index, code in self._pool.wait_for_ends(0 if more else self._timeout(until)):
            self._record_end(worker.job, index, code)
            changed = True
        self._pool.enforce_time_limits()
        self._record_peaks()
        return changed

    def _timeout(self, until: float) -> float:
        """Return the seconds for which the runner may sleep."""
        now = time.monotonic()
        room = self._machine.load.due if self._waits_for_room else until
        return max(0.0, min(until, now + STEP_S, self._pool.next_deadline(), room) - now)

    # -- requests ----------------------------------------------------------------------------

    def _read_requests(self) -> None:
        now = time.monotonic()
        if now - self._refreshed_at >= STEP_S:
            self._refreshed_at = now
            self._source.refresh()
            self._announce_cancelled()
        if self._source.version != self._applied_version:
            self.claim_jobs()

    def claim_jobs(self) -> None:
        """Claim jobs that no runner claimed, and apply requests to all claimed jobs.

        The claim is on the disk before the first task starts, and the journal is read after the
        claim. Therefore a task that was cancelled before the claim never starts.

        Raises:
            OSError: a claim could not be written.
        """
        claimed = [job for job in self._source.jobs.values() if self._claim(job)]
        if claimed:
            self._source.refresh()
        self._applied_version = self._source.version
        for job in claimed:
            resources = task_resources(job.request, self._machine)
            self._active[job.id] = ActiveJob(job, resources, deque(job.array))
        for active in tuple(self._active.values()):
            self._apply_requests(active)

    def _claim(self, job: LocalJob) -> bool:
        if job.id in self._active or job.read_runner() is not None:
            return False
        claim = f"{job.id}\n{self._lock.own_text}\n".encode()
        return files.create_exclusively(job.claim_path, claim, durably=True)

    def _apply_requests(self, active: ActiveJob) -> None:
        """Update a job, and drop or end its cancelled tasks."""
        active.job = job = self._source.jobs[active.job.id]
        if dropped := [index for index in active.pending if index in job.cancelled]:
            self._write(job, "dropped", f"task={compress_indices(dropped)}")
            active.pending = deque(i for i in active.pending if i not in job.cancelled)
        for worker in self._pool.workers:
            if worker.job.id == job.id and worker.index in job.cancelled:
                worker.end_task(STOP)
        self._remove_if_done(active)

    def _announce_cancelled(self) -> None:
        """Let running tasks look for slices that were cancelled alone, once for each version.

        ``cancel`` writes the file after the journal.
        """
        for active in self._active.values():
            if active.job.partly_cancelled:
                for worker in self._pool.workers:
                    if worker.job.id == active.job.id:
                        worker.announce_cancelled(active.job)

    def _remove_if_done(self, active: ActiveJob) -> None:
        if not active.pending and not active.running:
            self._active.pop(active.job.id, None)

    # -- starts ------------------------------------------------------------------------------

    def _start_tasks(self) -> bool:
        """Start the tasks that fit, oldest job first. Return ``True`` if more may start at once.

        A task without room blocks all later jobs, because otherwise a large task might never
        start. A job at its throttle does not block later jobs.
        """
        started = 0
        self._waits_for_room = False
        for active in tuple(self._active.values()):
            throttle = active.job.throttle
            while active.pending and not self._source.held:
                if throttle is not None and active.running >= throttle:
                    break
                if started == BATCH:
                    return True
                if not self._admission.admits(active.resources, throttled=throttle is not None):
                    self._waits_for_room = True
                    return False
                if not self._start_next(active):
                    return False
                started += 1
        self._remove_idle_workers()
        return False

    def _start_next(self, active: ActiveJob) -> bool:
        """Start the next task of a job. Return ``False`` if the machine had no room for it."""
        index, job = active.pending[0], active.job
        try:
            self._pool.start(job, index, active.resources)
        except OSError as why:
            if why.errno in _NO_ROOM and self._pool.running_tasks():
                self._admission.pause(RETRY_S)
                return False
            raise EngineError(
                f"Task {index} of submission {job.number:03d} could not be started: "
                f"{why.strerror} ({job.folder / 'tasks'}).",
                code="task-not-started",
                index=index,
                submission=job.number,
            ) from why
        active.pending.popleft()
        active.running += 1
        return True

    def _remove_idle_workers(self) -> None:
        """Remove idle workers of jobs that have no pending task."""
        for worker in self._pool.workers:
            active = self._active.get(worker.job.id)
            if worker.index is None and not (active and active.pending):
                self._pool.remove(worker)

    # -- records -----------------------------------------------------------------------------

    def _record_end(self, job: LocalJob, index: int, code: int | None) -> None:
        """Record the end of a task. An exit code says that its worker ended too.

        Raises:
            EngineError: the worker ended without a signal.
        """
        active = self._active[job.id]
        active.running -= 1
        if code is not None and code >= 0:
            raise EngineError(
                f"The worker of task {index} of submission {job.number:03d} ended with exit code "
                f"{code}. The disk may be full. See the logs in {job.folder / 'tasks'}.",
                "Run the same command again to continue.",
                code="worker-ended",
                index=index,
                submission=job.number,
            )
        if code is not None:
            slot = "" if job.packed else "slot=0 "
            self._write(job, "end", f"{slot}exit={128 - code} task={index}")
        self._remove_if_done(active)

    def _record_peaks(self) -> None:
        """Measure the tasks, and record memory peaks that have grown."""
        self._admission.measure()
        for worker in self._pool.workers:
            if worker.index is not None and worker.peak_has_grown():
                self._write(worker.job, "peak", f"task={worker.index} rss={worker.peak}")

    @staticmethod
    def _write(job: LocalJob, kind: str, fields: str) -> None:
        """Append a line to the runner's progress file of a job."""
        head = f"slurmslice {kind} job={job.id} restart=0 at={int(time.time())} host={host_name()}"
        log = job.folder / "tasks/runner.log"
        files.append_lines(log, f"{head} {fields}\n".encode(), durably=False)

    # -- the end -----------------------------------------------------------------------------

    def close(self) -> None:
        """End all tasks, with the grace, and release the lock. Unfinished tasks become WAITING.

        An exception meanwhile (a second Ctrl-C) kills the tasks at once.
        """
        if self._closed:
            return
        self._closed = True
        try:
            self._pool.stop_tasks()
            deadline = time.monotonic() + GRACE_S + KILL_WAIT_S
            while self._pool.running_tasks() and time.monotonic() < deadline:
                list(self._pool.wait_for_ends(STEP_S))
                self._pool.enforce_time_limits()
        except BaseException:
            self._pool.kill_tasks()
            raise
        finally:
            self._release_lock()

    def _release_lock(self) -> None:
        """Release the lock. If a process is left, the next process that looks tries to end it."""
        try:
            if self._pool.close():
                self._lock.clear_holder()
        finally:
            self._lock.release()
