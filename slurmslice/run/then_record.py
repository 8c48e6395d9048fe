"""The step after a run, as the journal has it: the events, and the newest start. Pure.

docs/adr/0027 describes it. Each start has a token of its own, as a submission has.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from slurmslice.sbatch.resource_request import NO_REQUEST, ResourceRequest
from slurmslice.status.states import State

NAME_END = "-then"
"""The end of the name of each job of a step."""


@dataclass(frozen=True, slots=True)
class ThenIntent:
    """The step is about to be started. This event is written before sbatch is called.

    Attributes:
        token, job_name: they identify its job; the name ends in the token and ``-then``.
        at: epoch seconds.
        newest: the number of the newest submission of slices.
        options: the sbatch options of its job.
    """

    token: str
    job_name: str
    at: float
    newest: int
    options: ResourceRequest = NO_REQUEST


@dataclass(frozen=True, slots=True)
class ThenSubmitted:
    """The step has a job (on this machine, a process): ``sbatch`` answered, or it was ``found``."""

    token: str
    job: str
    how: str
    at: float


@dataclass(frozen=True, slots=True)
class ThenEnded:
    """This start of the step has ended.

    Attributes:
        token: its token.
        state: a final state; WAITING if it did not begin, or was interrupted on this machine.
        reason: the reason, for a person; empty if there is none.
        at: epoch seconds.
    """

    token: str
    state: str
    reason: str
    at: float


@dataclass(frozen=True, slots=True)
class ThenCalledOff:
    """A person cancelled the run, so the step does not start by itself."""

    at: float


ThenEvent = ThenIntent | ThenSubmitted | ThenEnded | ThenCalledOff


@dataclass(frozen=True, slots=True)
class ThenStep:
    """The newest start of the step.

    Attributes:
        intent: its announcement.
        job: its job id; empty if it is not known if Slurm accepted it.
        state: its final state, or WAITING as in ``ThenEnded``; None if it has not ended.
        reason: the reason of its end.
    """

    intent: ThenIntent
    job: str = ""
    state: State | None = None
    reason: str = ""

    @property
    def token(self) -> str:
        """Its token."""
        return self.intent.token

    @property
    def name_end(self) -> str:
        """The end of its job's name, by which the job is found."""
        return f"{self.token}{NAME_END}"


@dataclass(frozen=True, slots=True)
class ThenSeen:
    """The state of a start as it was last seen, which the journal does not have."""

    token: str
    state: State
    reason: str = ""


def then_after(step: ThenStep | None, event: ThenEvent) -> ThenStep | None:
    """Return the newest start after an event. An event about an older one changes nothing."""
    if isinstance(event, ThenIntent):
        return ThenStep(event)
    if step is None or isinstance(event, ThenCalledOff) or step.token != event.token:
        return step
    if isinstance(event, ThenSubmitted):
        return replace(step, job=event.job)
    return replace(step, state=State(event.state), reason=event.reason)
