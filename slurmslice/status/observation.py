"""Reports of array tasks, as accounting and the queue give them.

Engines make these records. ``slurmslice.status.reconcile`` merges them into the status of each
slice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields

from slurmslice.script.progress_lines import SlotProgress
from slurmslice.status.states import State

TaskId = tuple[str, int]
"""An array task: the array's job id, and the array index as the script counts it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptFacts:
    """Facts about one attempt at an array task, without its state. None means not known.

    Attributes:
        exit_code, signal: of the command, as the source gives them.
        submitted_at, started_at, ended_at: epoch seconds on Slurm's clock.
        elapsed_s, cpu_s: seconds of wall clock and of CPU (user and system).
        max_rss_bytes: peak memory without the file cache, bytes. If slices of a task run at the
            same time, each has its share of the task's.
        peak_samples: the number of measurements that ``max_rss_bytes`` is the highest of.
        peak_with_cache_bytes: peak memory of the task's control group, which includes the files
            that the kernel kept in memory, bytes.
        requested_mem_bytes: bytes.
        node: the first node.
        restarts: the number of times that Slurm has restarted the task.
    """

    exit_code: int | None = None
    signal: int | None = None
    submitted_at: int | None = None
    started_at: int | None = None
    ended_at: int | None = None
    elapsed_s: float | None = None
    cpu_s: float | None = None
    max_rss_bytes: int | None = None
    peak_samples: int | None = None
    peak_with_cache_bytes: int | None = None
    requested_mem_bytes: int | None = None
    restarts: int | None = None
    node: str | None = None


FACT_NAMES = tuple(fact.name for fact in fields(AttemptFacts))
"""The field names of ``AttemptFacts``."""


@dataclass(frozen=True, slots=True)
class JobSteps:
    """The ends of a task's job steps in its newest start, without its batch script.

    Attributes:
        failed: the end of the first step that failed, in words (``exited 3``); empty if none did.
        ended: all steps have ended.
        preempted: a step received a signal to make room for another job.
    """

    failed: str = ""
    ended: bool = True
    preempted: bool = False


NO_JOB_STEPS = JobSteps()
"""The job steps of a task that has none, or whose steps do not matter."""


@dataclass(frozen=True, slots=True)
class TaskReport(AttemptFacts):
    """The report of one source about one array task.

    Attributes:
        state: the state; UNKNOWN if slurmslice does not know the source's word.
        word: the source's own word for the state, unchanged.
        reason: the source's own reason (``Priority``, ``AssocMaxSubmitJobLimit``).
        highest_step_exit: the highest exit code of its job steps, also of older starts (sacct's
            DerivedExitCode, which may come late).
        steps: its job steps; None if the source has not reported them.
        exit_code_truncated: the true exit code may be 128 more than the reported one.
        is_array_summary: the report comes from one record for all tasks of an array that ended
            before their start. Its list of tasks may be out of date (seen).
        progress: the lines that the task wrote about its only slice, if the engine has read them.
        sampling_s: seconds between two measurements of memory. ``max_rss_bytes`` is the highest of
            them. None if it does not come from measurements at intervals.
        restart_cause: the end of its start before, if it waits for a restart and the end is known.
    """

    state: State
    word: str = ""
    reason: str = ""
    highest_step_exit: int = 0
    steps: JobSteps | None = None
    exit_code_truncated: bool = False
    is_array_summary: bool = False
    progress: SlotProgress | None = None
    sampling_s: float | None = None
    restart_cause: State | None = None


@dataclass(frozen=True, slots=True)
class SourceAnswer:
    """One source's answer to one poll.

    Attributes:
        reports: its reports by task. The source does not know a task that is absent.
        silence: the reason why the source did not answer; empty if it did. If it is set,
            ``reports`` is empty, and absence means nothing.
        off: the source is switched off for good (accounting storage is disabled).
        other_jobs: tasks of the queue with a job id of ours that are not known to be ours: Slurm
            has given the id to another job, or somebody renamed the job.
    """

    reports: Mapping[TaskId, TaskReport] = field(default_factory=dict)
    silence: str = ""
    off: bool = False
    other_jobs: frozenset[TaskId] = frozenset()

    @property
    def answered(self) -> bool:
        """Return whether absence from ``reports`` means something."""
        return not self.silence


@dataclass(frozen=True, slots=True)
class Observation:
    """The result of one poll of an engine: the answers of accounting and of the queue.

    The engine asks accounting first. If a task ends between the two questions, accounting reports
    it as running and the queue does not know it. That proves nothing. In the other order,
    accounting would report its end and the queue would report it as active. That would look like a
    requeue.
    """

    accounting: SourceAnswer
    queue: SourceAnswer
