"""Follow a run to its end: poll, resubmit as the policy says, wait, again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from slurmslice.errors import Busy, Full, NoAnswer, Unsure
from slurmslice.run import Run
from slurmslice.states import State
from slurmslice.verbs.measure import measure
from slurmslice.verbs.poll import Poll, poll
from slurmslice.verbs.submit import Taken, failed, submit, waiting

FASTEST_POLL_S = 2.0
SLOWEST_POLL_S = 60.0


@dataclass(frozen=True)
class Policy:
    """What following does by itself.

    Attributes:
        max_attempts: attempts a slice gets; 1 is no resubmission.
        feed: submit what waits (``run`` does, ``watch`` only looks).
        interval: seconds between polls; None: by the age of the run (``pause``).
        changes: sbatch options that change the request of what waits.
    """

    max_attempts: int = 1
    feed: bool = True
    interval: float | None = None
    changes: Mapping[str, str] = field(default_factory=dict)


Tell = Callable[[Run, Poll, list[Taken]], None]
"""Is shown the run after each poll."""


def pause(age: float, interval: float | None) -> float:
    """Seconds until the next poll: a tenth of the time since the last submission.

    A short run is followed closely, a long one asks slurmdbd once a minute.
    """
    return interval or min(max(age / 10, FASTEST_POLL_S), SLOWEST_POLL_S)


def follow(run: Run, policy: Policy, tell: Tell) -> None:
    """Until nothing is in flight and nothing waits. Holds no lock while it waits.

    Raises:
        EngineError: a submission was refused for good; what runs goes on.
    """
    while True:
        looked = poll(run)
        taken, hindrance = step(run, policy)
        if taken:
            looked = poll(run)
        if hindrance:
            looked = replace(looked, silences=(*looked.silences, hindrance))
        tell(run, looked, taken)
        if done(run, policy):
            measure(run)
            return
        run.engine.wait(pause(_age(run), policy.interval))


def step(run: Run, policy: Policy) -> tuple[list[Taken], str]:
    """Submit what waits and what failed and has attempts left.

    Returns:
        what was taken, and why no more was; empty where nothing hindered it. A hindrance that
        may pass is no error: the next step tries again.
    """
    taken: list[Taken] = []
    if not policy.feed:
        return taken, ""
    try:
        if State.WAITING in run.standings.states():
            taken += submit(run, waiting(None), policy.changes, "run")
        again = _with_attempts_left(run, policy.max_attempts)
        if again:
            taken += submit(run, failed(None, again), {}, "run")
    except (Busy, Full, NoAnswer, Unsure) as why:
        return taken, why.message
    return taken, ""


def done(run: Run, policy: Policy) -> bool:
    """Whether following has come to its end."""
    if not policy.feed:
        return not run.in_flight() and not run.ledger.in_doubt()
    return run.finished and not _with_attempts_left(run, policy.max_attempts)


def _with_attempts_left(run: Run, max_attempts: int) -> list[int]:
    return [
        row
        for row, standing in enumerate(run.standings)
        if standing.state.failed and standing.attempt < max_attempts
    ]


def _age(run: Run) -> float:
    intents = (submission.intent.at for submission in run.ledger.submissions.values())
    return run.clock() - max(intents, default=run.asked.created_at)
