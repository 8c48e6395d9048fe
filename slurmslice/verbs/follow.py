"""Follow a run to its end: poll, resubmit as the policy says, wait, again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from slurmslice.errors import Busy, NoAnswer, TooMany
from slurmslice.journal import Held
from slurmslice.run import Run
from slurmslice.states import FAILURES, State
from slurmslice.verbs.feed import Fed, Taken, feed
from slurmslice.verbs.poll import Poll, poll
from slurmslice.verbs.submit import Choose, failed, submit, waiting

FASTEST_POLL_S = 1.0
SLOWEST_POLL_S = 60.0


@dataclass(frozen=True)
class Policy:
    """What following does by itself.

    Attributes:
        max_attempts: attempts a slice gets; 1 is no resubmission.
        submits: put in what was never asked for by ``submit`` (``run`` does); what is queued
            is fed in any case.
        interval: seconds between polls; None: by the age of the run (``pause``).
        changes: sbatch options that change the request of what waits.
    """

    max_attempts: int = 1
    submits: bool = True
    interval: float | None = None
    changes: Mapping[str, str] = field(default_factory=dict)


Tell = Callable[[Run, Poll, Fed], None]
"""Is shown the run after each step: what was seen, and what was fed."""


def pause(age: float, interval: float | None, slice_s: float | None = None) -> float:
    """Seconds until the next poll: a tenth of the time since the last submission.

    A short run is followed closely, a long one asks slurmdbd once a minute.

    Args:
        age: of the last submission, seconds.
        interval: what the person wants.
        slice_s: how long a slice takes, seconds, where what waits goes in as slices end; so
            that no share of the throttle lies idle for longer than a fifth of it.
    """
    usual = age / 10 if slice_s is None else min(age / 10, slice_s / 5)
    return interval or min(max(usual, FASTEST_POLL_S), SLOWEST_POLL_S)


def backed_off(usual: float, unanswered: int) -> float:
    """Seconds until the next poll where the last so many had no answer: twice as long each time.

    Up to a minute, or the usual pause where that is longer; a Slurm in trouble is not to be asked
    each second, whatever the person wants of one that is well.
    """
    return max(usual, min(usual * 2.0 ** min(unanswered, 10), SLOWEST_POLL_S))


_SAMPLE = 20


def _slice_s(run: Run) -> float | None:
    """How long the slices took that were done last, seconds; None where that is not known."""
    done = run.standings.rows_in({State.COMPLETED})[-_SAMPLE:]
    known = [s for row in done if (s := run.standings[row].elapsed_s) is not None]
    return sum(known) / len(known) if known else None


def follow(run: Run, policy: Policy, tell: Tell) -> None:
    """Until nothing is in flight and nothing waits, or what waits is held. Holds no lock meanwhile.

    However long the engine does not answer, it is asked again.

    Raises:
        EngineError: a submission was refused for good; what runs goes on.
    """
    unanswered = 0
    while True:
        looked = poll(run)
        fed = step(run, policy)
        if fed.taken:
            again = poll(run)
            looked = replace(again, notes=(*looked.notes, *again.notes))
        tell(run, looked, fed)
        fed.check(passing=True)
        if fed.queued:  # asked for once: 2x of 2x is not meant
            policy = replace(policy, changes={})
        if done(run, policy):
            return
        unanswered = unanswered + 1 if _unanswered(looked, fed) else 0
        usual = pause(_age(run), policy.interval, _slice_s(run) if fed.drains else None)
        run.engine.wait(backed_off(usual, unanswered))


def _unanswered(looked: Poll, fed: Fed) -> bool:
    """Whether somebody did not answer, at a look or at a submission; a full queue is an answer."""
    return bool(looked.silences) or not isinstance(fed.hindrance, TooMany | None)


def step(run: Run, policy: Policy) -> Fed:
    """What follows from the standings: hold, queue what waits and what failed, feed what fits.

    A hindrance that may pass is no error: the next step tries again.
    """
    taken: list[Taken] = []
    queued = False
    if not (policy.submits or run.place.writable):
        return Fed()  # somebody else's run: it can be looked at
    try:
        trip(run)
        for choose, changes in _wishes(run, policy):
            fed = submit(run, choose, changes, "run")
            taken += fed.taken
            queued = True
            if fed.hindrance:
                return replace(fed, taken=taken)
        fed = feed(run, "run") if _feeds(run, policy) else Fed()
        return replace(fed, taken=taken + fed.taken, queued=queued)
    except (Busy, NoAnswer) as why:
        return Fed(taken, why.message, hindrance=why, queued=queued)


def _wishes(run: Run, policy: Policy) -> Iterator[tuple[Choose, Mapping[str, str]]]:
    """What is to be queued: what waits, and what failed and has attempts left."""
    waits = run.standings.tally().get(State.WAITING, 0)
    unasked = waits > len(run.ledger.queue)
    if policy.submits and (unasked or (waits and policy.changes)):
        yield waiting(None), policy.changes
    again = [] if run.ledger.held else _with_attempts_left(run, policy.max_attempts)
    if again:
        yield failed(None, again), {}


def _feeds(run: Run, policy: Policy) -> bool:
    """On this machine only ``run`` puts work in: to look must not mean to work."""
    if run.engine.runs_in_process and not policy.submits:
        return False
    return bool(run.ledger.queue or run.in_flight())


BREAKER = 20
"""So many slices that fail before one is done hold the rest."""


def trip(run: Run) -> None:
    """Hold what has not started where the slices that ended have all failed."""
    tally = run.standings.tally()
    failures = sum(number for state, number in tally.items() if state.failed)
    armed = run.asked.breaker and not (run.ledger.held or run.ledger.released)
    if not armed or failures < BREAKER or State.COMPLETED in tally:
        return
    if not any(state in tally for state in (State.WAITING, State.PENDING, State.SUBMITTED)):
        return
    with run.place.lock("run"):
        run.reload()
        if run.ledger.held:
            return
        for submission in run.in_flight():
            run.engine.hold(submission.job, submission.name)  # whoever is killed does it again
        reason = f"held: the first {failures} slices that ended have all failed"
        run.decide(Held(reason, run.clock()))


def done(run: Run, policy: Policy) -> bool:
    """Whether following has come to its end."""
    tally = run.standings.tally()
    if run.ledger.held:
        return not {State.RUNNING, State.SUSPENDED} & set(tally)
    if not policy.submits:
        queue = run.ledger.queue if run.engine.has_queue_limits else ()
        return not (run.in_flight() or run.ledger.in_doubt() or queue)
    return run.finished and not _with_attempts_left(run, policy.max_attempts)


def _with_attempts_left(run: Run, max_attempts: int) -> list[int]:
    if max_attempts == 1:
        return []
    attempts, held_by = run.ledger.attempts, run.ledger.of_row
    rows = (row for row in run.standings.rows_in(FAILURES) if attempts[row] < max_attempts)
    # What was cancelled on request may have come to another end before: nobody wants it again.
    return [row for row in rows if not ((held := held_by(row)) and row in held.cancelled)]


def _age(run: Run) -> float:
    intents = (submission.intent.at for submission in run.ledger.submissions.values())
    return run.clock() - max(intents, default=run.asked.created_at)
