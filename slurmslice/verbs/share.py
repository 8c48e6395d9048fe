"""Share: hold the run's throttle over all its arrays, and give back what they do not need."""

from __future__ import annotations

from slurmslice.errors import EngineError
from slurmslice.journal import Shared
from slurmslice.ledger import Submission
from slurmslice.plan import Claim, shared_out
from slurmslice.resources import ResourceRequest
from slurmslice.run import Run
from slurmslice.states import State
from slurmslice.submission import throttle


def share_out(run: Run, script: ResourceRequest) -> int | None:
    """Tell the arrays in flight their shares. Hold the lock.

    Returns:
        how many array tasks may run beside them; None where there is no throttle.

    Raises:
        EngineError: an array could not be told; its share is what it was.
    """
    limit = throttle(run, script)
    jobs = run.in_flight()
    if limit is None:
        for submission in jobs:
            if submission.share is not None and run.ledger.throttled:
                tell(run, submission, None)
        return None
    claims = [claim_of(run, submission) for submission in jobs]
    shares, spare = shared_out(limit, claims)
    for submission, claim in zip(jobs, claims, strict=True):
        share = shares.get(claim.number, claim.share)
        # Once in each process: one that was killed may have written a share down and no more.
        news = submission.number not in run.told and claim.open > claim.running
        if share is not None and (share != claim.share or news):
            tell(run, submission, share)
    return spare


def tell(run: Run, submission: Submission, share: int | None) -> None:
    """Tell one array its share, written down so that a kill in between never makes too many run.

    Raises:
        EngineError: it could not be told.
    """
    before = submission.share
    raised = before is not None and (share is None or share > before)
    if raised:
        run.decide(Shared(submission.number, share, run.clock()))
    try:
        _say(run, submission, share)
    except EngineError:
        if raised:
            run.decide(Shared(submission.number, before, run.clock()))
        raise
    if share != before and not raised:
        run.decide(Shared(submission.number, share, run.clock()))
    run.told.add(submission.number)


def _say(run: Run, submission: Submission, share: int | None) -> None:
    """Say a share in the engine's words, to which a throttle of 0 is none at all.

    An array that was ever held for its share is released with each later one: a process that
    was killed may have written the share down and not said it.
    """
    job, name = submission.job, submission.name
    if share == 0:
        run.engine.hold(job, name)
        return
    run.engine.throttle(job, name, share)
    if submission.stopped and not run.ledger.held:
        run.engine.release(job, name)


def claim_of(run: Run, submission: Submission) -> Claim:
    """What an array takes, by what was seen last."""
    opened, running = set(), set()
    for row in run.open_rows(submission):
        index = submission.index_of(row)
        opened.add(index)
        if run.standings.state(row) in _RUNNING:
            running.add(index)
    return Claim(submission.number, len(opened), len(running), submission.share)


_RUNNING = frozenset({State.RUNNING, State.SUSPENDED})
