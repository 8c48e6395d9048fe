"""The engines that run array tasks: Slurm, or this machine. This module is their protocol.

Each method that asks the engine may raise ``NoAnswerError``: then nothing is known. No method
writes to the journal; only the run does.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from slurmslice.engines.aside import Aside
from slurmslice.engines.stewards import Stewards
from slurmslice.errors import UnusableSlurmError
from slurmslice.notes import Note
from slurmslice.sbatch.array_expression import ArrayExpression
from slurmslice.sbatch.resource_request import ResourceRequest
from slurmslice.status.identity import JobIdentity
from slurmslice.status.observation import Observation, TaskId, TaskReport


@dataclass(frozen=True, slots=True)
class SubmitRequest:
    """The request for one submission, as an engine gets it.

    Attributes:
        number: the submission's number in its run, from 1.
        job_name: the job's name, which ends in the token.
        token: the random token.
        script: the run's script.
        folder: the submission's folder; a task's own output goes to ``tasks/%a.log`` in it.
        array: the indices and the throttle in force.
        overrides: all sbatch options given beside the script.
        arguments: the script's arguments (``002``); none for the first submission.
        request: every option in force for one task, the overrides included.
        environ: the environment of its tasks, before the engine's own changes; None for that of
            this process.
    """

    number: int
    job_name: str
    token: str
    script: Path
    folder: Path
    array: ArrayExpression
    overrides: ResourceRequest
    arguments: tuple[str, ...]
    request: ResourceRequest
    environ: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class SubmitResult:
    """The result of an accepted submission.

    Attributes:
        job: the array's job id.
        cluster: the cluster that accepted it, if the answer names one.
        notes: notes for the person (a wrapper's warnings, dropped environment variables).
    """

    job: str
    cluster: str | None = None
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True, slots=True)
class TaskLimits:
    """The known limits of the engine for tasks with one request.

    Attributes:
        max_array_size: the highest array index plus one.
        at_once: tasks that can run at once; 0 if none can run in the present configuration;
            None if not known.
        why: the source of ``at_once``, for a person.
        max_time_s: the longest time limit of a task, seconds; None if there is no maximum, or
            it is not known.
        default_time_s: the time limit of a task that requests none, seconds; None if there is
            none, or it is not known.
        impossible_reason: the reason why no such task can ever run, even on an empty cluster
            with all nodes up; empty if one may run, or if that is not certain.
        note: a note for the person about such tasks on this engine; empty if there is none.
        node_mem_mib: the memory of the commonest node for such tasks, MiB; None if not known.
        nodes: the number of nodes of the partitions for such tasks; None if not known.
        maintenance_at: the begin of the next maintenance of all these nodes, epoch seconds; None if
            none is planned, or it is not known. Until its end, no task may run on them.
    """

    max_array_size: int
    at_once: int | None = None
    why: str = ""
    max_time_s: int | None = None
    default_time_s: int | None = None
    impossible_reason: str = ""
    note: str = ""
    node_mem_mib: int | None = None
    nodes: int | None = None
    maintenance_at: float | None = None


@dataclass(frozen=True, slots=True)
class QueueCapacity:
    """The number of tasks that an engine's queue accepts now.

    Attributes:
        max_array_size: the highest array index plus one.
        max_tasks_per_array: the maximum number of tasks in one array.
        tasks: the total number of tasks that it accepts now; None if there is no limit.
        why: the source of that limit, for a person.
    """

    max_array_size: int
    max_tasks_per_array: int
    tasks: int | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class FoundJob:
    """A job that was found by its token.

    Attributes:
        job: the array's job id.
        array: the indices that it was submitted with; None if the source does not give them.
    """

    job: str
    array: ArrayExpression | None = None


@dataclass(frozen=True, slots=True)
class JobInfo:
    """The name, the script and the array of one job, as the engine has them.

    Attributes:
        name: the job's name.
        names: the names of its tasks in the queue: some may have been renamed.
        submitted_at: the time of its submission by Slurm's clock; None if the queue has no task.
        command: its script's path, and its arguments up to the last one that is not a number.
        arguments: the numbers at the end of its script's arguments.
        script: the script's text, as the engine has it; None if the engine no longer has it.
        array: the indices that it was submitted with; None unless all are known.
    """

    name: str
    command: str
    arguments: tuple[str, ...]
    script: str | None
    array: ArrayExpression | None = None
    names: frozenset[str] = frozenset()
    submitted_at: int | None = None


@dataclass(frozen=True, slots=True)
class BlockingReason:
    """The reason of a pending task, if the task may never start by itself.

    Attributes:
        slurm_reason: the engine's name of the reason.
        explanation: the same in plain words; continues a sentence that begins with "it".
        options_to_change: sbatch options to resubmit with; empty if another request is no help.
        advice: the next step for the user; ``{job}`` in it stands for the array's job id.
        may_pass: other jobs or an administrator may let the task start. It may also never start.
    """

    slurm_reason: str
    explanation: str
    options_to_change: str = ""
    advice: str = ""
    may_pass: bool = False


class Engine(Protocol):
    """An engine runs array tasks and reports their states."""

    name: str
    """``slurm`` or ``local``: for people and for ``run.json``, never for decisions."""

    runs_in_process: bool
    """Tasks run only while a slurmslice process waits for them. A throttle replaces the CPUs."""

    jobs_outlive_us: bool
    """Jobs are in a queue of their own, with a copy of the script, whatever becomes of us."""

    may_be_submitted_by_hand: bool
    """A person can submit the script without slurmslice (``sbatch script.sh``)."""

    has_queue_limits: bool
    """A submission may have to wait for room in the queue."""

    counts_whole_minutes: bool
    """A time limit is rounded up to minutes."""

    @property
    def stewards(self) -> Stewards | None:
        """Jobs that follow a run by themselves; None if this engine has none."""

    @property
    def aside(self) -> Aside | None:
        """Runs a program beside the slices on this machine; None if jobs do that (``stewards``)."""

    def find_blocking_reason(self, text: str) -> BlockingReason | None:
        """Find a reason for which a pending task may never start; None if it starts by itself.

        Args:
            text: the reason of a pending task.
        """

    def suggest_change(self, rejection: str) -> str:
        """Return the options to change after a rejection (``-t TIME``); empty if none is known."""

    @property
    def lasting_fault(self) -> UnusableSlurmError | None:
        """The error of a command that cannot work here, however long one waits; None if none."""

    @property
    def has_running_tasks(self) -> bool:
        """True if this process runs tasks itself now, and must live until they have ended."""

    def close(self) -> None:
        """Stop and return the tasks that this process runs itself; Slurm's jobs are not touched."""

    def cluster(self) -> str:
        """Name this cluster or machine; a run belongs to one."""

    def limits(self, request: ResourceRequest) -> TaskLimits:
        """Ask for the limits of tasks with this request.

        Raises:
            BadInputError: the engine can never satisfy this request (GPUs on the local engine).
            NoAnswerError: the engine did not answer.
        """

    def queue_capacity(self, request: ResourceRequest) -> QueueCapacity:
        """Ask for the number of such tasks that fit into the queue now, beside the queued ones.

        Raises:
            NoAnswerError: the engine did not answer.
        """

    def submit(self, submission: SubmitRequest) -> SubmitResult:
        """Submit an array.

        Raises:
            SubmissionRejectedError: rejected for good; the message holds the engine's own words.
            SubmitLimitError: rejected now; a later try may succeed.
            SubmissionUnknownError: it may have been accepted: look up the token.
            BadInputError: the engine can never satisfy this request.
        """

    def test_submission(self, submission: SubmitRequest) -> str:
        """Ask what the engine would do with a submission, in its own words. Submit nothing.

        Raises:
            SubmissionRejectedError: it would reject the submission.
            SubmitLimitError: it would reject any submission now.
            BadInputError: it cannot tell.
            NoAnswerError: it did not answer.
        """

    def job_info(self, job: str) -> JobInfo:
        """Look up a job by its id.

        Raises:
            BadInputError: there is no such job, or the engine has forgotten it.
            NoAnswerError: the engine did not answer.
        """

    def find_job(self, token: str, job_name: str, since: float) -> FoundJob | None:
        """Find the job with a token, in the queue or in accounting; None if neither has it.

        Args:
            token: the token.
            job_name: the job's whole name, for sources that are queried by name.
            since: the earliest possible time of its submission, epoch seconds.

        Raises:
            NoAnswerError: the queue did not answer, so the job may exist all the same.
        """

    def observe(self, jobs: Sequence[JobIdentity]) -> Observation:
        """Poll these jobs once. Leave out all other jobs.

        Each id occurs only once among them.
        """

    def fetch_job_steps(
        self, jobs: Sequence[JobIdentity], tasks: Iterable[TaskId]
    ) -> dict[TaskId, TaskReport]:
        """Report steps, CPU time and memory of tasks, if ``observe`` does not.

        Args:
            jobs: as for ``observe``.
            tasks: ended tasks of these jobs; the result may hold more tasks.

        Raises:
            NoAnswerError: the engine did not answer.
        """

    def restarted_seconds(self, jobs: Sequence[JobIdentity]) -> Mapping[str, float]:
        """Return the seconds of task starts that were followed by a restart, by job.

        Args:
            jobs: as for ``observe``.

        Raises:
            NoAnswerError: the engine did not answer.
        """

    # Job ids start at 1 again after a controller lost its state. So the seven methods below do
    # nothing, without an error, if another job has the id now.

    def cancel(self, job: JobIdentity, indices: Collection[int] | None) -> None:
        """Request the end of these tasks of an array, or of all. It does not wait for that end."""

    def announce_cancelled(self, job: JobIdentity, indices: Collection[int]) -> None:
        """Tell the running ones of these tasks to look for slices that were cancelled alone.

        A task that has not started looks by itself.
        """

    def throttle(self, job: JobIdentity, limit: int | None) -> None:
        """Limit the tasks of an array that run at once; None for no limit."""

    def hold(self, job: JobIdentity) -> None:
        """Keep the tasks of an array that have not started from starting."""

    def release(self, job: JobIdentity) -> None:
        """Let the held tasks of an array start again."""

    def avoid_nodes(self, job: JobIdentity, add: Collection[str], remove: Collection[str]) -> None:
        """Let the tasks of an array that have not started avoid more nodes, or some no longer.

        They avoid all other nodes that they avoided before. A word to add may be a list, as
        ``--exclude`` has it.

        Raises:
            NoAnswerError: the engine did not answer, so nothing is known.
            EngineError: the engine refused it, and some of these tasks may use a node to add.
        """

    def change_waiting(self, job: JobIdentity, request: ResourceRequest) -> Collection[int]:
        """Change the request of an array's tasks that have not started, with one update.

        Args:
            job: the array.
            request: of a task: ``partition``, ``time``, ``mem`` or ``mem-per-cpu``; and
                ``exclude``, nodes to avoid beside those that they avoid.

        Returns:
            the array indices of the tasks that have not started and have this request now.

        Raises:
            NoAnswerError: the engine did not answer, so nothing is known.
            EngineError: the engine refused it, and a task has another request.
        """

    def wait(self, seconds: float) -> None:
        """Wait for so long, or less if something changed. The local engine runs tasks meanwhile."""
