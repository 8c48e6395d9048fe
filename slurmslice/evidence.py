"""What accounting, queue and progress each say of an array task.

These are the records that engines hand over. How they are merged into one standing a slice is
``slurmslice.judge``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields

from slurmslice.progress import SlotProgress
from slurmslice.states import State

TaskId = tuple[str, int]
"""Which array task: the array's job id, and the array index (counts as the script's does)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What can be known of one try at an array task, beside its state. None is: not known.

    Attributes:
        exit_code, signal: of the command; as the source gives them.
        submitted_at, started_at, ended_at: epoch seconds, on Slurm's clock.
        elapsed_s, cpu_s: seconds of wall clock and of CPU (user and system).
        max_rss_bytes, requested_mem_bytes: bytes.
        node: the first node.
        restarts: how often Slurm has started the task anew.
    """

    exit_code: int | None = None
    signal: int | None = None
    submitted_at: int | None = None
    started_at: int | None = None
    ended_at: int | None = None
    elapsed_s: float | None = None
    cpu_s: float | None = None
    max_rss_bytes: int | None = None
    requested_mem_bytes: int | None = None
    restarts: int | None = None
    node: str | None = None


FACTS = tuple(fact.name for fact in fields(Facts))


@dataclass(frozen=True, slots=True)
class Steps:
    """How the job steps of a task's newest start ended, its batch script left out.

    Attributes:
        failed: how the first that failed did, in words (``exited 3``); empty where none did.
        ended: none of them goes on.
        preempted: one of them was told to end, to make room for another job.
    """

    failed: str = ""
    ended: bool = True
    preempted: bool = False


NO_STEPS = Steps()


@dataclass(frozen=True, slots=True)
class TaskReport(Facts):
    """What one source says of one array task.

    Attributes:
        state: the state; UNKNOWN where the source used a word that we do not know.
        word: the source's own word for it, as it came.
        reason: the source's own reason (``Priority``, ``AssocMaxSubmitJobLimit``).
        leaving: the task has ended and its node is being cleaned (squeue's COMPLETING).
        step_exit: the highest exit code of its job steps, of older starts too (sacct's
            DerivedExitCode, which may come late).
        steps: its job steps; None where they were not told.
        less_128: the true exit code may be 128 more than the source says.
        of_rest: it is the record of all tasks of its array that had not started, which ended
            with the array; which these are may be told as it was some time before (seen).
        progress: what the task wrote of its only slice, if the engine has read it already.
    """

    state: State
    word: str = ""
    reason: str = ""
    leaving: bool = False
    step_exit: int = 0
    steps: Steps | None = None
    less_128: bool = False
    of_rest: bool = False
    progress: SlotProgress | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """One source's answer to one poll.

    Attributes:
        reports: what it says, by task. A task that is absent is one of which it says nothing.
        silence: empty where the source answered; else why it did not (then ``reports`` is
            empty, and absence means nothing).
        off: the source is switched off for good (accounting storage disabled).
    """

    reports: Mapping[TaskId, TaskReport] = field(default_factory=dict)
    silence: str = ""
    off: bool = False

    @property
    def answered(self) -> bool:
        """Whether absence from ``reports`` means something."""
        return not self.silence


@dataclass(frozen=True, slots=True)
class Observation:
    """One poll of an engine: the answers of accounting and of the queue.

    Accounting is asked first: a task that ends between the two questions is then running in
    accounting and gone from the queue, which says nothing, instead of final and queued, which
    is what a requeue looks like.
    """

    accounting: Answer
    queue: Answer
