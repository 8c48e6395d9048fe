"""The local engine: array tasks on this machine, by the same rendered script, without Slurm.

The run's journal says what is to be run (``jobs``), and the lines that tasks write say what became
of it (``task_records``). Whoever calls ``wait`` runs the tasks if nobody else does (``runner``).
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from slurmslice.engines.local.admission import Room, at_once
from slurmslice.engines.local.jobs import JobSource, LocalJob
from slurmslice.engines.local.machine import Machine
from slurmslice.engines.local.memory_cgroup import open_cells
from slurmslice.engines.local.orphans import marker, sweep
from slurmslice.engines.local.runner_lock import RunnerLock, describe, host
from slurmslice.engines.local.supported_requests import check, demand
from slurmslice.engines.local.task_records import TaskRecords
from slurmslice.engines.protocol import (
    FoundJob,
    JobInfo,
    QueueCapacity,
    SubmitRequest,
    SubmitResult,
    TaskLimits,
)
from slurmslice.errors import BadInputError, EngineError
from slurmslice.sbatch.resource_request import ResourceRequest
from slurmslice.status.reports import Observation, SourceAnswer, TaskId, TaskReport
from slurmslice.status.states import State

if TYPE_CHECKING:
    from slurmslice.engines.local.runner import Runner

MAX_ARRAY_SIZE = 4_000_001
"""As Slurm's largest."""

STEP_S = 0.1
"""How often a process that is not the runner looks, seconds."""

NEWS_S = 0.25
"""How long ``wait`` gathers news before it returns with them, seconds."""

NEWS_SHARE = 10
"""``wait`` lasts so many times as long as what its caller did since the last one, so that
looking at a large run does not keep its CPUs from work."""


class LocalEngine:
    """Runs array tasks on this machine; an ``Engine``.

    Args:
        run_dir: the run directory. Nothing is made in it before the first task runs.
        source: the run's jobs.
    """

    name = "local"
    runs_in_process = True
    jobs_outlive_us = False
    may_be_submitted_by_hand = False
    has_queue_limits = False
    counts_whole_minutes = False

    def __init__(self, run_dir: Path, source: JobSource) -> None:
        self._run_dir = run_dir
        self._source = source
        self._lock = RunnerLock(run_dir / "local" / "runner")
        self._records: dict[str, TaskRecords] = {}
        self._runner: Runner | None = None
        self._left = time.monotonic()

    @cached_property
    def _machine(self) -> Machine:
        return Machine()

    @cached_property
    def _mark(self) -> str:
        return marker(self._run_dir)

    # -- what it can take --------------------------------------------------------------------

    @property
    def working(self) -> bool:
        """This process runs the tasks: it must call ``wait`` until all have ended."""
        return self._runner is not None

    @cached_property
    def enforces_memory(self) -> bool:
        """A task over its memory request is ended as OUT_OF_MEMORY."""
        cells = open_cells()
        if cells is None:
            return False
        cells.remove()
        return True

    @property
    def memory_note(self) -> str:
        """What ``enforces_memory`` means, for the report."""
        if self.enforces_memory:
            return "A task over its --mem is ended as OUT_OF_MEMORY (by its control group)."
        return (
            "--mem decides only how many tasks run at once: no control group can be made here, "
            "so a task over it is not ended."
        )

    def find_blocking_reason(self, text: str) -> None:
        """Return None: every pending task of this machine starts sooner or later."""

    def suggest_change(self, rejection: str) -> str:
        """Return no options: this engine rejects a request before it is submitted."""
        return ""

    def cluster(self) -> str:
        """Return this machine's name."""
        return host()

    def limits(self, request: ResourceRequest) -> TaskLimits:
        """Return how many such tasks can run at once, by what is free now.

        Raises:
            BadInputError: this machine can never honour these needs.
        """
        machine = self._machine
        check(request, machine)
        machine.load.look(time.process_time())
        room = Room(machine.free_cpus(machine.load.others), machine.free_memory())
        gib = room.memory / (1 << 30)
        unlimited = request.mem_mib is not None and not self.enforces_memory
        why = f"{room.cpus} CPUs of {machine.cpus} free, {gib:.3g} GiB of memory available"
        fit = at_once(room, demand(request, machine))
        return TaskLimits(MAX_ARRAY_SIZE, fit, why, note=self.memory_note if unlimited else "")

    def queue_capacity(self, request: ResourceRequest) -> QueueCapacity:
        """Return no limit: jobs wait in the journal."""
        return QueueCapacity(MAX_ARRAY_SIZE, MAX_ARRAY_SIZE)

    # -- submissions: the journal says all of it ---------------------------------------------

    def submit(self, order: SubmitRequest) -> SubmitResult:
        """Check the request. The journal, which says that it was taken, is the order.

        Raises:
            BadInputError: this machine can never honour its needs.
        """
        check(order.request, self._machine)
        return SubmitResult(str(order.number), host())

    def test(self, order: SubmitRequest) -> str:
        """Refuse: this machine cannot tell when it would start what.

        Raises:
            BadInputError: always.
        """
        raise BadInputError("--test-only asks Slurm, and this run belongs to this machine.",
                       "`--dry-run` shows what would be submitted.", code="slurm-only",
                       option="test-only")  # fmt: skip

    def job_info(self, job: str) -> JobInfo:
        """Refuse: jobs of this machine are always the run's own.

        Raises:
            BadInputError: always.
        """
        raise BadInputError(
            "Jobs of this machine belong to their runs: there is nothing to attach.",
            code="slurm-only",
        )

    def find(self, token: str, job_name: str, since: float) -> FoundJob | None:
        """Return None: a job of this machine is in the journal, or it does not exist."""
        return None

    def cancel(self, job: str, name: str, indices: Collection[int] | None) -> None:
        """Do nothing: the runner reads the journal."""

    def throttle(self, job: str, name: str, limit: int | None) -> None:
        """Do nothing: the runner reads the journal."""

    def hold(self, job: str, name: str) -> None:
        """Do nothing: the runner reads the journal."""

    def release(self, job: str, name: str) -> None:
        """Do nothing: the runner reads the journal."""

    # -- what became of them -----------------------------------------------------------------

    def observe(self, jobs: Sequence[tuple[str, str]]) -> Observation:
        """Return what the tasks wrote. What a dead runner left is ended first."""
        self._source.refresh()
        runner = self._living_runner()
        ended: dict[TaskId, TaskReport] = {}
        queued: dict[TaskId, TaskReport] = {}
        for number, name in jobs:
            job = self._source.jobs.get(number)
            if job is None or job.name != name:
                continue
            claimed_by = job.read_runner()
            records = self._records_of(job)
            records.refresh()
            ended.update(((number, i), report) for i, report in records.ended.items())
            for index, report in self._rest(job, records, claimed_by, runner):
                (ended if report.state.final else queued)[number, index] = report
        return Observation(SourceAnswer(ended), SourceAnswer(queued))

    def _records_of(self, job: LocalJob) -> TaskRecords:
        return self._records.setdefault(job.id, TaskRecords(job))

    def _living_runner(self) -> str:
        """Return the text of the runner that lives; empty for none.

        A runner that was killed is brought to its end: its processes are killed, and its text is
        removed. If that cannot be done, it counts as living.
        """
        holder = self._lock.mine or self._lock.holder()
        if not holder or self._runner is not None or self._lock.is_elsewhere(holder):
            return holder
        try:
            if not self._lock.take():
                return holder
            try:
                return "" if self._bury(holder) else holder
            finally:
                self._lock.release()
        except (EngineError, OSError):  # no locks, or a full disk: whoever looks next does it
            return holder

    def _bury(self, holder: str) -> bool:
        """End what a dead runner left; return ``True`` if nothing is left. Hold the lock."""
        if holder and not sweep(self._mark):
            return False
        self._lock.forget()
        return True

    def _rest(
        self, job: LocalJob, records: TaskRecords, claimed_by: str | None, runner: str
    ) -> Iterator[tuple[int, TaskReport]]:
        """Yield the reports of tasks that have not ended by themselves."""
        lives = claimed_by is not None and claimed_by == runner
        waits, started, now = (
            self._not_started(records, claimed_by, lives),
            records.started,
            time.time(),
        )
        for index in job.array:
            if index in records.ended:
                continue
            over = index in records.stopped or index in records.dropped or not lives
            if index in job.cancelled and over:
                yield index, self._cancelled(job, records, index)
            elif lives and index in started:
                since = started[index] or int(now)
                report = records.report(State.RUNNING, self._abroad(runner), since, host())
                yield index, replace(report, elapsed_s=max(0.0, now - since))
            else:
                yield index, waits

    def _cancelled(self, job: LocalJob, records: TaskRecords, index: int) -> TaskReport:
        known = records.stopped.get(index)
        if known is not None:
            return replace(known, state=State.CANCELLED, word=State.CANCELLED.value)
        began = records.started.get(index)
        reason = "" if began else "cancelled before it started"
        report = records.report(State.CANCELLED, reason, began)
        return replace(report, ended_at=int(job.cancelled[index]))

    def _not_started(self, records: TaskRecords, claimed_by: str | None, lives: bool) -> TaskReport:
        """Return the report that all tasks of a job share that do not run."""
        if claimed_by is None:
            return records.report(State.PENDING, "no process works on it yet")
        if not lives:
            reason = f"interrupted: its runner ({describe(claimed_by)}) ended"
            return records.report(State.WAITING, reason)
        return records.report(State.PENDING, self._abroad(claimed_by) or "waits for its turn")

    def _abroad(self, runner: str) -> str:
        """Return what a person must know of a runner on another machine; else nothing."""
        if not self._lock.is_elsewhere(runner):
            return ""
        return f"run by {describe(runner)}; if that is gone for good, remove {self._lock.path}"

    def fetch_job_steps(
        self, jobs: Sequence[tuple[str, str]], tasks: Iterable[TaskId]
    ) -> dict[TaskId, TaskReport]:
        """Return nothing more: ``observe`` has the measures, and there are no job steps."""
        return {}

    # -- time --------------------------------------------------------------------------------

    def wait(self, seconds: float) -> None:
        """Let time pass; run tasks meanwhile, unless another process does.

        Returns early with news, and at once when all jobs have ended.

        Raises:
            EngineError: a task cannot be started, or there are no locks.
        """
        now = time.monotonic()
        news = now + max(NEWS_S, NEWS_SHARE * (now - self._left))
        ends = now + seconds
        try:
            if self._runner is not None or self._become_runner() or self._watch(news, ends):
                self._work(news, ends)
        finally:
            self._left = time.monotonic()

    def _watch(self, news: float, ends: float) -> bool:
        """Sleep while another process works; return ``True`` if this one is the runner now."""
        before = self._read_so_far()
        while (now := time.monotonic()) < ends:
            if now >= news and self._read_so_far() != before:
                return False
            time.sleep(min(STEP_S, ends - now))
            if self._become_runner():
                return True
        return False

    def _read_so_far(self) -> int:
        for records in self._records.values():
            records.refresh()
        return sum(records.read for records in self._records.values())

    def _work(self, news: float, ends: float) -> None:
        """Run tasks until the time is over, there are news, or nothing is left."""
        changed = False
        while self._runner is not None:
            changed |= self._runner.turn(min(news, ends) if changed else ends)
            if self._runner.idle:
                self.close()
                self._become_runner()  # a job may have come while the lock was given up
            now = time.monotonic()
            if now >= ends or (changed and now >= news):
                return

    def _become_runner(self) -> bool:
        """Take the lock if there is work and it is free; return ``True`` if this is the runner."""
        self._source.refresh()
        if all(job.read_runner() is not None for job in self._source.jobs.values()):
            return False
        if not self._lock.take():
            return False
        try:
            if self._bury(self._lock.holder()):
                from slurmslice.engines.local.runner import Runner

                runner = Runner(self._lock, self._source, self._machine, self._mark)
                self._lock.announce()
                self._runner = runner
                runner.adopt()
        except BaseException:
            self.close()
            raise
        finally:
            if self._runner is None:
                self._lock.release()
        return self._runner is not None

    def close(self) -> None:
        """Stop: end what runs, and give up the lock. Nothing if this is not the runner."""
        runner, self._runner = self._runner, None
        if runner is not None:
            runner.close()
