"""An engine in memory that fulfils the protocol, and can simulate errors."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from slurmslice.engines.aside import Aside
from slurmslice.engines.protocol import (
    BlockingReason,
    FoundJob,
    JobInfo,
    QueueCapacity,
    SubmitRequest,
    SubmitResult,
    TaskLimits,
)
from slurmslice.engines.slurm.pending_reasons import find_blocking_reason
from slurmslice.engines.slurm.sbatch_result import suggest_change
from slurmslice.errors import BadInputError, NoAnswerError, UnusableSlurmError
from slurmslice.sbatch.resource_request import ResourceRequest
from slurmslice.status.identity import JobIdentity
from slurmslice.status.observation import (
    NO_JOB_STEPS,
    JobSteps,
    Observation,
    SourceAnswer,
    TaskId,
    TaskReport,
)
from slurmslice.status.states import State
from tests.support.fake_stewards import FakeStewards


@dataclass
class Job:
    """An array that the fake cluster accepted, and the states of its tasks."""

    order: SubmitRequest
    tasks: dict[int, TaskReport]
    names: dict[int, str] = field(default_factory=dict)
    """The names of renamed tasks."""


@dataclass
class FakeEngine:
    """A cluster whose answers a test chooses.

    ``on_submit`` is called with each request before the job is accepted (raise to reject it), and
    ``after_submit`` after that (raise to lose the answer). ``later`` holds requests that are
    accepted after a number of seconds (``pass_time``).
    """

    name: str = "slurm"
    runs_in_process: bool = False
    jobs_outlive_us: bool = True
    may_be_submitted_by_hand: bool = True
    has_queue_limits: bool = True
    counts_whole_minutes: bool = True
    max_array_size: int = 1001
    jobs: dict[str, Job] = field(default_factory=dict)
    on_submit: Callable[[SubmitRequest], None] = lambda order: None
    after_submit: Callable[[SubmitRequest], None] = lambda order: None
    silence: str = ""
    lookups_fail: bool = False
    cancelled: list[tuple[str, tuple[int, ...] | None]] = field(default_factory=list)
    announced: list[tuple[str, tuple[int, ...]]] = field(default_factory=list)
    on_announce: Callable[[], None] = lambda: None
    throttled: list[tuple[str, int | None]] = field(default_factory=list)
    held: list[str] = field(default_factory=list)
    released: list[str] = field(default_factory=list)
    stopped: set[str] = field(default_factory=set)
    changed: list[tuple[str, str]] = field(default_factory=list)
    avoided: list[tuple[str, tuple[str, ...], tuple[str, ...]]] = field(default_factory=list)
    on_avoid: Callable[[], None] = lambda: None
    later: list[tuple[float, SubmitRequest]] = field(default_factory=list)
    most: int | None = None
    asked_for_room: int = 0
    waited: list[float] = field(default_factory=list)
    on_wait: Callable[[], None] = lambda: None
    polls: int = 0
    steps: JobSteps | None = NO_JOB_STEPS
    cpu_s: float | None = None
    max_rss_bytes: int | None = None
    sampling_s: float | None = None
    restarted: bool = False
    before_restarts: dict[str, float] | None = field(default_factory=dict)
    measures: int = 0
    limited: TaskLimits | None = None

    has_running_tasks: bool = False
    lasting_fault: UnusableSlurmError | None = None

    def __post_init__(self) -> None:
        self.stewards: FakeStewards | None = FakeStewards(self)
        self.aside: Aside | None = None

    def close(self) -> None:
        pass

    def find_blocking_reason(self, text: str) -> BlockingReason | None:
        return find_blocking_reason(text)

    def suggest_change(self, rejection: str) -> str:
        return suggest_change(rejection)[0]

    def cluster(self) -> str:
        return "fake"

    def limits(self, request: ResourceRequest) -> TaskLimits:
        return self.limited or TaskLimits(self.max_array_size)

    def queue_capacity(self, request: ResourceRequest) -> QueueCapacity:
        self.asked_for_room += 1
        if self.most is None:
            return QueueCapacity(self.max_array_size, self.max_array_size)
        queued = [r for job in self.jobs.values() for r in job.tasks.values() if not r.state.final]
        left = max(0, self.most - len(queued))
        return QueueCapacity(
            self.max_array_size, self.max_array_size, left, f"MaxSubmit is {self.most}"
        )

    def submit(self, order: SubmitRequest) -> SubmitResult:
        self.on_submit(order)
        job = str(100 + len(self.jobs))
        self.jobs[job] = Job(order, {i: TaskReport(State.PENDING, "PENDING") for i in order.array})
        self.after_submit(order)
        return SubmitResult(job)

    def test_submission(self, order: SubmitRequest) -> str:
        self.on_submit(order)
        return f"Job 1 to start now with {len(order.array)} tasks"

    def job_info(self, job: str) -> JobInfo:
        if job not in self.jobs:
            raise BadInputError(f"The controller knows no job {job}.", code="unknown-job", job=job)
        order = self.jobs[job].order
        script = order.script.read_text()
        known = self.jobs[job]
        names = frozenset(known.names.get(index, order.job_name) for index in known.tasks)
        times = (r.submitted_at for r in known.tasks.values() if r.submitted_at is not None)
        return JobInfo(
            order.job_name, str(order.script), order.arguments, script, order.array, names,
            min(times, default=None),
        )  # fmt: skip

    def find_job(self, token: str, job_name: str, since: float) -> FoundJob | None:
        if self.lookups_fail:
            raise NoAnswerError("the fake queue does not answer")
        for job, taken in self.jobs.items():
            if taken.order.job_name == job_name:
                return FoundJob(job, taken.order.array)
        found = self.stewards.find(job_name) if self.stewards else None
        return FoundJob(found) if found else None

    def observe(self, jobs: Sequence[JobIdentity]) -> Observation:
        self.polls += 1
        if self.silence:
            return Observation(
                SourceAnswer(silence=self.silence), SourceAnswer(silence=self.silence)
            )
        reports, others = dict[TaskId, TaskReport](), set[TaskId]()
        for job in jobs:
            for index, report in self.jobs[job.job].tasks.items() if job.job in self.jobs else ():
                if self._is_own(job, index):
                    reports[job.job, index] = report
                elif not report.state.final:
                    others.add((job.job, index))
        ended = {task: report for task, report in reports.items() if report.state.final}
        queued = {task: report for task, report in reports.items() if not report.state.final}
        return Observation(SourceAnswer(ended), SourceAnswer(queued, other_jobs=frozenset(others)))

    def restarted_seconds(self, jobs: Sequence[JobIdentity]) -> dict[str, float]:
        if self.before_restarts is None:
            raise NoAnswerError("sacct did not answer in time.")
        return {
            job: s for job, s in self.before_restarts.items() if job in {one.job for one in jobs}
        }

    def fetch_job_steps(
        self, jobs: Sequence[JobIdentity], tasks: Iterable[TaskId]
    ) -> dict[TaskId, TaskReport]:
        self.measures += 1
        if self.steps is None:
            raise NoAnswerError("sacct did not answer in time.")
        ended = {(job, index): self.jobs[job].tasks[index] for job, index in tasks}
        return {
            task: replace(
                report,
                cpu_s=self.cpu_s,
                max_rss_bytes=self.max_rss_bytes,
                sampling_s=self.sampling_s,
                steps=self.steps,
                started_at=7 if self.restarted else report.started_at,
            )
            for task, report in ended.items()
        }

    def cancel(self, identity: JobIdentity, indices: Collection[int] | None) -> None:
        job = identity.job
        if self.stewards and job in self.stewards.orders:
            self.cancelled.append((job, None))
            self.stewards.reports[job] = TaskReport(State.CANCELLED, "CANCELLED")
            return
        if not self._has(identity):
            return
        self.cancelled.append((job, None if indices is None else tuple(indices)))
        for index in list(self.jobs[job].tasks) if indices is None else indices:
            if not self.jobs[job].tasks[index].state.final:
                self.end(job, index, State.CANCELLED)

    def announce_cancelled(self, job: JobIdentity, indices: Collection[int]) -> None:
        if self._has(job):
            self.announced.append((job.job, tuple(indices)))
            self.on_announce()

    def throttle(self, job: JobIdentity, limit: int | None) -> None:
        if self._has(job):
            self.throttled.append((job.job, limit))

    def hold(self, job: JobIdentity) -> None:
        if self._has(job):
            self.held.append(job.job)
            self.stopped.add(job.job)

    def release(self, job: JobIdentity) -> None:
        if self._has(job):
            self.released.append(job.job)
            self.stopped.discard(job.job)

    def avoid_nodes(self, job: JobIdentity, add: Collection[str], remove: Collection[str]) -> None:
        if self._has(job):
            self.on_avoid()
            self.avoided.append((job.job, tuple(add), tuple(remove)))

    def change_waiting(self, job: JobIdentity, request: ResourceRequest) -> Collection[int]:
        if not self._has(job):
            return ()
        self.on_avoid()
        self.changed.append((job.job, str(request)))
        tasks = self.jobs[job.job].tasks
        return [index for index, report in tasks.items() if report.state is State.PENDING]

    def wait(self, seconds: float) -> None:
        self.waited.append(seconds)
        self.on_wait()

    def _has(self, job: JobIdentity) -> bool:
        return any(self._is_own(job, index) for index in self.jobs[job.job].tasks)

    def _is_own(self, job: JobIdentity, index: int) -> bool:
        known = self.jobs[job.job]
        name = known.names.get(index, known.order.job_name)
        return name == job.name or job.is_submitted_as(known.tasks[index])

    # -- what tests do to it -----------------------------------------------------------------

    def end(self, job: str, index: int, state: State, **what: Any) -> None:
        """Let a task end."""
        self.jobs[job].tasks[index] = TaskReport(state, str(state), **what)

    def run(self, job: str, index: int, **what: Any) -> None:
        """Let a task run."""
        self.jobs[job].tasks[index] = TaskReport(State.RUNNING, "RUNNING", **what)

    def end_all(self, state: State = State.COMPLETED) -> None:
        """Let every task that has not ended end in one state."""
        for job, taken in self.jobs.items():
            for index, report in taken.tasks.items():
                if not report.state.final:
                    self.end(job, index, state, exit_code=int(state is not State.COMPLETED))

    def pass_time(self, seconds: float) -> None:
        """Accept the delayed requests that are due."""
        self.later = [(due - seconds, order) for due, order in self.later]
        for due, order in self.later:
            if due <= 0:
                FakeEngine.submit(self, order)
        self.later = [(due, order) for due, order in self.later if due > 0]

    def work(self, does: Callable[[str, SubmitRequest, int], int]) -> None:
        """Run every task that may start, as the script does: it claims first, or is refused.

        Args:
            does: the work of a task, from its job, request and index; returns the exit code.
        """
        for job, taken in self.jobs.items():
            for index in sorted(taken.tasks) if job not in self.stopped else ():
                if not taken.tasks[index].state.final:
                    code = does(job, taken.order, index) if _claims(job, taken.order) else 2
                    self.end(job, index, State.FAILED if code else State.COMPLETED, exit_code=code)


def _claims(job: str, order: SubmitRequest) -> bool:
    """Return whether an array has its submission's claim, or gets it now."""
    claim = order.folder / "job"
    if not claim.exists():
        claim.write_text(f"{job}\n")
    return claim.read_text() == f"{job}\n"


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now
