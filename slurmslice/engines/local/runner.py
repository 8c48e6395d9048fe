"""The runner: runs the tasks of a run's jobs while its process has the lock.

One loop, no thread: requests in, tasks started if there is room, ends noted, time watched.
"""

from __future__ import annotations

import errno
import time
from collections import deque
from dataclasses import dataclass

from slurmslice.engines.local.admission import Demand
from slurmslice.engines.local.capacity import Capacity
from slurmslice.engines.local.crew import GRACE_S, KILL_WAIT_S, Crew
from slurmslice.engines.local.jobs import JobSource, LocalJob
from slurmslice.engines.local.machine import Machine
from slurmslice.engines.local.runner_lock import RunnerLock, host
from slurmslice.engines.local.supported_requests import demand
from slurmslice.engines.local.workers import STOP, find_bash
from slurmslice.errors import EngineError
from slurmslice.sbatch.array_expression import compress_indices
from slurmslice.system import files

STEP_S = 0.2
"""How long a request of another process may go unseen, seconds."""

RETRY_S = 1.0
"""How long no task is started after the machine had no room for another process, seconds."""

BATCH = 32
"""Tasks that are started between two looks at what has ended."""

_NO_ROOM = frozenset({errno.EAGAIN, errno.ENOMEM})


@dataclass(slots=True)
class ActiveJob:
    """A job that this runner has claimed.

    Attributes:
        job: the job, as the journal has it now.
        demand: what each of its tasks takes up.
        pending: indices that were not started, in their order.
        running: how many tasks run.
    """

    job: LocalJob
    demand: Demand
    pending: deque[int]
    running: int = 0


class Runner:
    """Runs the tasks of jobs. Made by who has just taken the lock; gives it up.

    Args:
        lock: the lock, taken. It must be announced before ``adopt``.
        source: where jobs come from.
        machine: where they run.
        mark: the variable that marks the run's processes.

    Raises:
        EngineError: there is no bash.
    """

    def __init__(self, lock: RunnerLock, source: JobSource, machine: Machine, mark: str) -> None:
        self._lock = lock
        self._source = source
        self._machine = machine
        self._active: dict[str, ActiveJob] = {}
        self._crew = Crew(mark, find_bash())
        self._capacity = Capacity(machine, self._crew)
        self._asked = 0.0
        self._obeyed = -1
        self._waits_for_room = False
        self.closed = False

    @property
    def idle(self) -> bool:
        """Nothing runs and nothing is to be run."""
        return not self._active

    def turn(self, until: float) -> bool:
        """Do one round, at most until a monotonic time; return ``True`` if a task has ended.

        Raises:
            EngineError: a task cannot be started, or what became of one cannot be written.
        """
        self._hear_requests()
        more = self._start_some()
        changed = False
        for worker, index, code in self._crew.hear(0 if more else self._patience(until)):
            self._note_end(worker.job, index, code)
            changed = True
        self._crew.watch_time()
        self._write_peaks()
        return changed

    def _patience(self, until: float) -> float:
        now = time.monotonic()
        room = self._machine.load.due if self._waits_for_room else until
        return max(0.0, min(until, now + STEP_S, self._crew.next_time(), room) - now)

    # -- requests ----------------------------------------------------------------------------

    def _hear_requests(self) -> None:
        """Do what other processes have asked for since the last time."""
        now = time.monotonic()
        if now - self._asked >= STEP_S:
            self._asked = now
            self._source.refresh()
        if self._source.version != self._obeyed:
            self.adopt()

    def adopt(self) -> None:
        """Claim the jobs that nobody has claimed, and do what is asked for them.

        The claim is on the disk before the first task starts, and the journal is read after it:
        what was cancelled while a job had no claim is never started.

        Raises:
            OSError: a claim could not be written.
        """
        claimed = [job for job in self._source.jobs.values() if self._claim(job)]
        if claimed:
            self._source.refresh()
        self._obeyed = self._source.version
        for job in claimed:
            takes = demand(job.request, self._machine)
            self._active[job.id] = ActiveJob(job, takes, deque(job.array))
        for active in tuple(self._active.values()):
            self._obey(active)

    def _claim(self, job: LocalJob) -> bool:
        if job.id in self._active or job.read_runner() is not None:
            return False
        claim = f"{job.id}\n{self._lock.mine}\n".encode()
        return files.create_exclusively(job.claim_path, claim, durably=True)

    def _obey(self, active: ActiveJob) -> None:
        """Drop and end the tasks of a job that were cancelled."""
        active.job = job = self._source.jobs[active.job.id]
        if dropped := [index for index in active.pending if index in job.cancelled]:
            self._write(job, f"dropped {self._head(job)} task={compress_indices(dropped)}")
            active.pending = deque(i for i in active.pending if i not in job.cancelled)
        for worker in self._crew.workers:
            if worker.job.id == job.id and worker.index in job.cancelled:
                worker.end_task(STOP)
        self._forget_if_done(active)

    def _forget_if_done(self, active: ActiveJob) -> None:
        if not active.pending and not active.running:
            self._active.pop(active.job.id, None)

    # -- starting ----------------------------------------------------------------------------

    def _start_some(self) -> bool:
        """Start what there is room for, oldest job first; return ``True`` if there is more at once.

        Later jobs do not pass a task that finds no room, or a large task would never get its turn.
        A job that its throttle holds back does not hold others back.
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
                if not self._capacity.admits(active.demand, throttled=throttle is not None):
                    self._waits_for_room = True
                    return False
                if not self._start(active):
                    return False
                started += 1
        self._let_idle_go()
        return False

    def _start(self, active: ActiveJob) -> bool:
        """Start the next task of a job; return ``True`` if the machine had room for it."""
        try:
            self._crew.start(active.job, active.pending[0], active.demand)
        except OSError as why:
            if why.errno in _NO_ROOM and self._crew.demands():
                self._capacity.close(RETRY_S)
                return False
            raise EngineError(
                f"Task {active.pending[0]} of submission {active.job.number:03d} could not be "
                f"started: {why.strerror} ({active.job.folder / 'tasks'}).",
                code="task-not-started",
                index=active.pending[0],
                submission=active.job.number,
            ) from why
        active.pending.popleft()
        active.running += 1
        return True

    def _let_idle_go(self) -> None:
        """Let the workers of jobs go of which nothing more is to be started."""
        for worker in self._crew.workers:
            if worker.index is None and not self._has_work(worker.job):
                self._crew.dismiss(worker)

    def _has_work(self, job: LocalJob) -> bool:
        active = self._active.get(job.id)
        return active is not None and bool(active.pending)

    # -- what became of them -----------------------------------------------------------------

    def _note_end(self, job: LocalJob, index: int, code: int | None) -> None:
        """Note that a task has ended, and that its worker has, if there is an exit code."""
        active = self._active[job.id]
        active.running -= 1
        if code is not None and code >= 0:
            log = job.folder / "tasks"
            raise EngineError(
                f"The worker of task {index} of submission {job.number:03d} ended ({code}); the "
                f"disk may be full. Its words are in {log}.",
                "The same command again goes on from there.",
                code="worker-ended",
                index=index,
                submission=job.number,
            )
        if code is not None:
            slot = "" if job.packed else " slot=0"
            self._write(job, f"end {self._head(job)}{slot} exit={128 - code} task={index}")
        self._forget_if_done(active)

    def _write_peaks(self) -> None:
        """Look what the tasks use, and write down peaks that have grown."""
        self._capacity.measure()
        for worker in self._crew.workers:
            if worker.index is not None and worker.has_news():
                fields = f"task={worker.index} rss={worker.peak}"
                self._write(worker.job, f"peak {self._head(worker.job)} {fields}")

    @staticmethod
    def _head(job: LocalJob) -> str:
        return f"job={job.id} restart=0 at={int(time.time())} host={host()}"

    @staticmethod
    def _write(job: LocalJob, text: str) -> None:
        files.append_lines(
            job.folder / "tasks/runner.log", f"slurmslice {text}\n".encode(), durably=False
        )

    # -- the end -----------------------------------------------------------------------------

    def close(self) -> None:
        """End what runs, with the grace, and give up the lock. What has not ended waits.

        An exception meanwhile (a second Ctrl-C) ends the grace.
        """
        if self.closed:
            return
        self.closed = True
        try:
            self._crew.stop()
            deadline = time.monotonic() + GRACE_S + KILL_WAIT_S
            while self._crew.demands() and time.monotonic() < deadline:
                list(self._crew.hear(STEP_S))
        except BaseException:
            self._crew.kill()
            raise
        finally:
            self._give_up()

    def _give_up(self) -> None:
        """Give up the lock. If a process is left, whoever looks next tries to end it again."""
        try:
            if self._crew.close():
                self._lock.forget()
        finally:
            self._lock.release()
