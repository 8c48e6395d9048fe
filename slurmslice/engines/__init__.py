"""What runs array tasks: Slurm, or this machine. An engine is the few verbs below.

Every verb that asks may raise ``NoAnswer``, which means that nothing was learnt. None of them
writes to the journal: that is the run's.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from slurmslice.evidence import Observation, TaskId, TaskReport
from slurmslice.notes import Note
from slurmslice.ranges import ArrayExpression
from slurmslice.resources import ResourceRequest


@dataclass(frozen=True, slots=True)
class Order:
    """One submission as an engine gets it.

    Attributes:
        number: the submission's number in its run, from 1.
        job_name: the job's name, which ends in the token.
        token: the random token.
        script: the run's script.
        folder: the submission's folder: ``tasks/%a.log`` in it takes a task's own output.
        array: the indices and the throttle in force.
        overrides: all sbatch options given beside the script.
        arguments: the script's arguments (``002``); none for the first submission.
        request: every option in force for one task, the overrides included.
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


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a submission that was taken got.

    Attributes:
        job: the array's job id.
        cluster: the cluster that took it, where the answer says so.
        notes: what the person should know (a wrapper's warnings, variables that were dropped).
    """

    job: str
    cluster: str | None = None
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True, slots=True)
class Limits:
    """What the engine can take, as far as it could learn it.

    Attributes:
        max_array_size: the highest array index is one less.
        at_once: how many tasks with this request can run at once; 0 where none ever can as things
            stand; None where not known.
        why: what ``at_once`` comes from, for a person.
        max_time_s: the longest time limit that a task may have, seconds; None where there is
            none, or it is not known.
        default_time_s: the time limit of a task that asks for none, seconds; None where there is
            none, or it is not known.
        never: why no such task can ever run, whatever ends, is freed or comes back; empty where
            one may, or where that is not certain.
        note: what a person should know of such tasks here; empty for nothing.
    """

    max_array_size: int
    at_once: int | None = None
    why: str = ""
    max_time_s: int | None = None
    default_time_s: int | None = None
    never: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Intake:
    """What an engine takes at this moment.

    Attributes:
        max_array_size: the highest array index is one less.
        per_array: most tasks of one array.
        tasks: most tasks that it takes now, in all; None where there is no limit.
        why: what that limit comes from, for a person.
    """

    max_array_size: int
    per_array: int
    tasks: int | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Sighting:
    """A job that was found by its token.

    Attributes:
        job: the array's job id.
        array: the indices that it was submitted with, where the source tells; else None.
    """

    job: str
    array: ArrayExpression | None = None


@dataclass(frozen=True, slots=True)
class Identity:
    """What a job is, by what the engine knows of it.

    Attributes:
        name: the job's name.
        command: its script's path, and whatever it was given that is no number.
        arguments: the numbers that its script was given last.
        script: the script's text, as the engine has it; None where it does not tell any more.
        array: the indices that it was submitted with, where they are all known; else None.
    """

    name: str
    command: str
    arguments: tuple[str, ...]
    script: str | None
    array: ArrayExpression | None = None


class Engine(Protocol):
    """Runs array tasks and says what became of them."""

    name: str
    """``slurm`` or ``local``."""

    @property
    def working(self) -> bool:
        """Whether this process runs the tasks itself, and must go on until they have ended."""

    def close(self) -> None:
        """Stop what this process runs itself and give it back; nothing where Slurm runs it."""

    def cluster(self) -> str:
        """Which cluster or machine this is: a run belongs to it."""

    def limits(self, request: ResourceRequest) -> Limits:
        """What it can take of such tasks.

        Raises:
            BadInput: it can never honour this request (GPUs on the local engine).
            NoAnswer: it could not be asked.
        """

    def intake(self, request: ResourceRequest) -> Intake:
        """How much it takes now of such tasks, beside what is in its queue already.

        Raises:
            NoAnswer: it could not be asked.
        """

    def submit(self, order: Order) -> Receipt:
        """Take one submission.

        Raises:
            Refused: for good; the message holds the engine's own words.
            Full: not now.
            Unsure: it may have been taken: look the token up.
            BadInput: it can never honour this request.
        """

    def test(self, order: Order) -> str:
        """What it would do with a submission, in its own words; nothing is submitted.

        Raises:
            Refused: it would refuse it.
            BadInput: it cannot tell.
            NoAnswer: it could not be asked.
        """

    def identify(self, job: str) -> Identity:
        """What a job is.

        Raises:
            BadInput: there is no such job, or it has been forgotten.
            NoAnswer: it could not be asked.
        """

    def find(self, order_token: str, job_name: str, since: float) -> Sighting | None:
        """The job that bears a token, in the queue or in accounting; None: neither knows it.

        Args:
            order_token: the token.
            job_name: the job's whole name, for sources that are asked by name.
            since: epoch seconds before which it cannot have been submitted.

        Raises:
            NoAnswer: the queue could not be asked, so that absence means nothing.
        """

    def observe(self, jobs: Sequence[tuple[str, str]]) -> Observation:
        """One poll of all these jobs, given as (job id, job name); rows of others are left out.

        No id stands there twice.
        """

    def measure(
        self, jobs: Sequence[tuple[str, str]], tasks: Iterable[TaskId]
    ) -> dict[TaskId, TaskReport]:
        """Tasks with their steps, their CPU time and their memory, where ``observe`` lacks them.

        Args:
            jobs: as for ``observe``.
            tasks: ended tasks of theirs; more may be told of.

        Raises:
            NoAnswer: it could not be asked.
        """

    # Ids begin at 1 again where a controller lost its state: what bears the id of an array and
    # not its name is told nothing by the four verbs below, and that is no error.

    def cancel(self, job: str, name: str, indices: Collection[int] | None) -> None:
        """Cancel these tasks of an array, or all of it. Returns when it was told, not when done."""

    def throttle(self, job: str, name: str, limit: int | None) -> None:
        """Set how many tasks of an array may run at once; None for no limit."""

    def hold(self, job: str, name: str) -> None:
        """Let no task of an array start that has not started yet."""

    def release(self, job: str, name: str) -> None:
        """Let the tasks of an array that was held start again."""

    def wait(self, seconds: float) -> None:
        """Let this much time pass, or less where something changed: the local engine works then."""
