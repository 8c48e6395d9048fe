"""The local engine: it runs array tasks on this machine, with the same script, without Slurm.

The journal has the jobs (``jobs``). Progress lines have the results (``task_records``). The first
process that calls ``wait`` runs the tasks (``runner``).
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from slurmslice.engines.local.admission import FreeResources, tasks_that_fit
from slurmslice.engines.local.aside import LocalAside
from slurmslice.engines.local.jobs import JobSource, LocalJob
from slurmslice.engines.local.machine import Machine
from slurmslice.engines.local.memory_cgroup import create_memory_groups
from slurmslice.engines.local.orphans import kill_orphans, marker_variable
from slurmslice.engines.local.runner_lock import RunnerLock, describe_runner, host_name
from slurmslice.engines.local.supported_requests import MIB, check_request, task_resources
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
from slurmslice.status.identity import JobIdentity
from slurmslice.status.observation import Observation, SourceAnswer, TaskId, TaskReport
from slurmslice.status.states import State

if TYPE_CHECKING:
    from slurmslice.engines.local.runner import Runner

MAX_ARRAY_SIZE = 4_000_001
"""The largest MaxArraySize of Slurm."""

WATCH_S = 0.1
"""Seconds between two looks of a process that is not the runner."""

COLLECT_S = 0.25
"""Seconds for which ``wait`` collects changes before it returns."""

CALLER_FACTOR = 10
"""Minimum duration of ``wait``, as a multiple of the time since the last one. It limits the CPU
time that a caller spends on looking at a large run."""


class LocalEngine:
    """Runs array tasks on this machine (an ``Engine``).

    Args:
        run_dir: the run directory. No file is created in it before the first task runs.
        source: the source of the run's jobs.
        only_looks: take no lock and end no process, because the run is another user's.
    """

    name = "local"
    runs_in_process = True
    jobs_outlive_us = False
    may_be_submitted_by_hand = False
    has_queue_limits = False
    counts_whole_minutes = False
    stewards = None

    def __init__(self, run_dir: Path, source: JobSource, *, only_looks: bool = False) -> None:
        self._only_looks = only_looks
        self._run_dir = run_dir
        self._source = source
        self._lock = RunnerLock(run_dir / "local" / "runner")
        self._records: dict[str, TaskRecords] = {}
        self._runner: Runner | None = None
        self._environ: Mapping[str, str] = os.environ
        self._returned_at = time.monotonic()

    @cached_property
    def _machine(self) -> Machine:
        return Machine()

    @cached_property
    def aside(self) -> LocalAside:
        """Runs a program beside the slices. As ``Engine.aside``."""
        return LocalAside(self._lock, self._living_runner, self._marker)

    @cached_property
    def _marker(self) -> str:
        return marker_variable(self._run_dir)

    # -- limits ------------------------------------------------------------------------------

    @property
    def lasting_fault(self) -> None:
        """Always None: the engine is this process."""

    @property
    def has_running_tasks(self) -> bool:
        """This process runs the tasks. It must call ``wait`` until all tasks have ended."""
        return self._runner is not None

    @cached_property
    def enforces_memory(self) -> bool:
        """A task that exceeds its memory request is killed and becomes OUT_OF_MEMORY."""
        groups = create_memory_groups()
        if groups is not None:
            groups.remove()
        return groups is not None

    @property
    def memory_note(self) -> str:
        """An explanation of ``enforces_memory`` for a person."""
        if self.enforces_memory:
            return (
                "A task that exceeds its --mem is killed and becomes OUT_OF_MEMORY (control group)."
            )
        return (
            "--mem only limits the number of tasks that run at once. No control group can be "
            "created here, so a task that exceeds it is not killed."
        )

    def find_blocking_reason(self, text: str) -> None:
        """Return None: every pending task of this machine can start."""

    def suggest_change(self, rejection: str) -> str:
        """Return no options: this engine rejects a request before it is submitted."""
        return ""

    def cluster(self) -> str:
        """Return this machine's name."""
        return host_name()

    def limits(self, request: ResourceRequest) -> TaskLimits:
        """Return the number of such tasks that can run at once with the free resources.

        Raises:
            BadInputError: this machine can never fulfil the request.
        """
        machine = self._machine
        check_request(request, machine)
        machine.load.measure(time.process_time())
        free = FreeResources(machine.free_cpus(machine.load.others), machine.free_memory())
        gib = free.memory / (1 << 30)
        unlimited = request.mem_mib is not None and not self.enforces_memory
        why = f"{free.cpus} of {machine.cpus} CPUs free, {gib:.3g} GiB of memory available"
        fit = tasks_that_fit(free, task_resources(request, machine))
        return TaskLimits(
            MAX_ARRAY_SIZE, fit, why, note=self.memory_note if unlimited else "",
            node_mem_mib=machine.memory // MIB,
        )  # fmt: skip

    def queue_capacity(self, request: ResourceRequest) -> QueueCapacity:
        """Return no limit: jobs wait in the journal."""
        return QueueCapacity(MAX_ARRAY_SIZE, MAX_ARRAY_SIZE)

    # -- submissions: the journal has all of them --------------------------------------------

    def submit(self, submission: SubmitRequest) -> SubmitResult:
        """Check the request. The runner then finds the job in the journal.

        Raises:
            BadInputError: this machine can never fulfil the request.
        """
        check_request(submission.request, self._machine)
        if submission.environ is not None:
            self._environ = submission.environ
        return SubmitResult(str(submission.number), host_name())

    def test_submission(self, submission: SubmitRequest) -> str:
        """Refuse: this machine cannot predict when a task starts.

        Raises:
            BadInputError: always.
        """
        raise BadInputError("--test-only needs Slurm, but this run uses the local engine.",
                       "Use `--dry-run` to see what would be submitted.", code="slurm-only",
                       option="test-only")  # fmt: skip

    def job_info(self, job: str) -> JobInfo:
        """Refuse: jobs of this machine always belong to their run.

        Raises:
            BadInputError: always.
        """
        raise BadInputError(
            "Only jobs of Slurm can be attached, but this run uses the local engine.",
            code="slurm-only",
        )

    def find_job(self, token: str, job_name: str, since: float) -> FoundJob | None:
        """Return None: a job that is not in the journal does not exist."""
        return None

    def cancel(self, job: JobIdentity, indices: Collection[int] | None) -> None:
        """Do nothing: the runner reads the journal."""

    def announce_cancelled(self, job: JobIdentity, indices: Collection[int]) -> None:
        """Do nothing: the runner looks for the files."""

    def throttle(self, job: JobIdentity, limit: int | None) -> None:
        """Do nothing: the runner reads the journal."""

    def hold(self, job: JobIdentity) -> None:
        """Do nothing: the runner reads the journal."""

    def avoid_nodes(self, job: JobIdentity, add: Collection[str], remove: Collection[str]) -> None:
        """Do nothing: there is one machine."""

    def change_waiting(self, job: JobIdentity, request: ResourceRequest) -> Collection[int]:
        """Do nothing: the process that runs them has read their request."""
        return ()

    def release(self, job: JobIdentity) -> None:
        """Do nothing: the runner reads the journal."""

    # -- reports -----------------------------------------------------------------------------

    def observe(self, jobs: Sequence[JobIdentity]) -> Observation:
        """Return the reports of all tasks, after the processes of a dead runner were killed."""
        self._source.refresh()
        runner = self._living_runner()
        ended: dict[TaskId, TaskReport] = {}
        queued: dict[TaskId, TaskReport] = {}
        for identity in jobs:
            number, job = identity.job, self._source.jobs.get(identity.job)
            if job is None or job.name != identity.name:
                continue
            claimed_by = job.read_runner()
            records = self._records_of(job)
            records.refresh()
            ended.update(((number, i), report) for i, report in records.ended.items())
            for index, report in self._unfinished(job, records, claimed_by, runner):
                (ended if report.state.final else queued)[number, index] = report
        return Observation(SourceAnswer(ended), SourceAnswer(queued))

    def _records_of(self, job: LocalJob) -> TaskRecords:
        return self._records.setdefault(job.id, TaskRecords(job))

    def _living_runner(self) -> str:
        """Return the text of the living runner; empty for none.

        If the runner was killed, its processes are killed and its text is removed. If that is not
        possible, it counts as living.
        """
        holder = self._lock.own_text or self._lock.read_holder()
        if not holder or self._runner is not None or self._lock.is_on_other_host(holder):
            return holder
        if self._only_looks:
            return holder if self._lock.is_alive(holder) else ""
        try:
            if not self._lock.acquire():
                return holder
            try:
                return "" if self._clean_up(holder) else holder
            finally:
                self._lock.release()
        except (EngineError, OSError):  # no locks, or a full disk: the next process tries again
            return holder

    def _clean_up(self, holder: str) -> bool:
        """Kill the processes of a dead runner. Return ``True`` if none is left. Needs the lock."""
        if holder and not kill_orphans(self._marker):
            return False
        self._lock.clear_holder()
        return True

    def _unfinished(
        self, job: LocalJob, records: TaskRecords, claimed_by: str | None, runner: str
    ) -> Iterator[tuple[int, TaskReport]]:
        """Yield the reports of tasks that did not end by themselves."""
        lives = claimed_by is not None and claimed_by == runner
        waits = self._not_running(records, claimed_by, lives)
        started, now = records.started, time.time()
        for index in job.array:
            if index in records.ended:
                continue
            never_runs = index in records.stopped or index in records.dropped or not lives
            if index in job.cancelled and never_runs:
                yield index, self._cancelled(job, records, index)
            elif lives and index in started:
                since = started[index] or int(now)
                report = records.report(
                    State.RUNNING, self._other_host_note(runner), since, host_name()
                )
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

    def _not_running(self, records: TaskRecords, claimed_by: str | None, lives: bool) -> TaskReport:
        """Return the common report of all tasks of a job that do not run."""
        if claimed_by is None:
            return records.report(State.PENDING, "no runner has started yet")
        if not lives:
            reason = f"interrupted: its runner ({describe_runner(claimed_by)}) ended"
            return records.report(State.WAITING, reason)
        return records.report(
            State.PENDING, self._other_host_note(claimed_by) or "waits for a free slot"
        )

    def _other_host_note(self, runner: str) -> str:
        """Return a note if the runner is on another machine; else an empty text."""
        if not self._lock.is_on_other_host(runner):
            return ""
        return f"run by {describe_runner(runner)}; if it no longer exists, remove {self._lock.path}"

    def fetch_job_steps(
        self, jobs: Sequence[JobIdentity], tasks: Iterable[TaskId]
    ) -> dict[TaskId, TaskReport]:
        """Return no reports: ``observe`` has all measurements, and there are no job steps."""
        return {}

    def restarted_seconds(self, jobs: Sequence[JobIdentity]) -> Mapping[str, float]:
        """Return nothing: no task is restarted here."""
        return {}

    # -- time --------------------------------------------------------------------------------

    def wait(self, seconds: float) -> None:
        """Wait. Run tasks meanwhile, unless another process does.

        It returns early after changes, and at once if all jobs have ended.

        Raises:
            EngineError: a task cannot be started, or there are no locks.
        """
        now = time.monotonic()
        return_after = now + max(COLLECT_S, CALLER_FACTOR * (now - self._returned_at))
        ends = now + seconds
        try:
            if self._runner is not None or self._become_runner() or self._watch(return_after, ends):
                self._work(return_after, ends)
        finally:
            self._returned_at = time.monotonic()

    def _watch(self, return_after: float, ends: float) -> bool:
        """Sleep while another process runs tasks. Return ``True`` after becoming the runner."""
        before = self._read_so_far()
        while (now := time.monotonic()) < ends:
            if now >= return_after and self._read_so_far() != before:
                return False
            time.sleep(min(WATCH_S, ends - now))
            if self._become_runner():
                return True
        return False

    def _read_so_far(self) -> int:
        for records in self._records.values():
            records.refresh()
        return sum(records.read for records in self._records.values())

    def _work(self, return_after: float, ends: float) -> None:
        """Run tasks until the time is over, something changed, or no task is left."""
        changed = False
        while self._runner is not None:
            changed |= self._runner.run_once(min(return_after, ends) if changed else ends)
            if self._runner.idle:
                self.close()
                self._become_runner()  # a job may have arrived before the lock was released
            now = time.monotonic()
            if now >= ends or (changed and now >= return_after):
                return

    def _become_runner(self) -> bool:
        """Acquire the lock if there is work. Return ``True`` if this process is now the runner."""
        self._source.refresh()
        if all(job.read_runner() is not None for job in self._source.jobs.values()):
            return False
        if not self._lock.acquire():
            return False
        try:
            if self._clean_up(self._lock.read_holder()):
                from slurmslice.engines.local.runner import Runner

                runner = Runner(
                    self._lock, self._source, self._machine, self._marker, self._environ
                )
                self._lock.write_holder()
                self._runner = runner
                runner.claim_jobs()
        except BaseException:
            self.close()
            raise
        finally:
            if self._runner is None:
                self._lock.release()
        return self._runner is not None

    def close(self) -> None:
        """End all tasks and release the lock. Do nothing if this process is not the runner."""
        runner, self._runner = self._runner, None
        if runner is not None:
            runner.close()
