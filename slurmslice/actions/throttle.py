"""Throttle a run: each array in flight gets a share, and a share it does not need is reused."""

from __future__ import annotations

from slurmslice.errors import BadInputError, EngineError
from slurmslice.plan.batches import ThrottleShare, compute_shares
from slurmslice.plan.run_script import script_request, task_throttle
from slurmslice.run.identity import job_identity
from slurmslice.run.journal import Shared, Throttled
from slurmslice.run.run import Run
from slurmslice.run.submission import Submission
from slurmslice.sbatch.resource_request import ResourceRequest
from slurmslice.spec.packing import check_throttle
from slurmslice.status.states import State


def set_throttle(run: Run, limit: int | None) -> int:
    """Limit the slices that run at once (None: no limit); return the number of arrays in flight.

    Raises:
        BadInputError: the limit is not positive.
        NoAnswerError: the engine did not answer.
    """
    if limit is not None and limit < 1:
        raise BadInputError(
            "The throttle must be 1 or more.",
            "Use `none` to remove the throttle.",
            code="bad-number",
            option="throttle",
        )
    check_throttle(limit, run.record.packing.at_once)
    with run.directory.lock("throttle"):
        run.reload()
        run.decide(Throttled(limit, run.clock()))
        allocate_throttle(run, script_request(run))
        return len(run.submissions_in_flight())


def allocate_throttle(run: Run, script: ResourceRequest) -> int | None:
    """Set the shares of the arrays in flight. The caller holds the lock.

    During a probe of the circuit breaker the other arrays are held, and all shares stay.

    Returns:
        the number of array tasks that the next submission may run at once; None if there is no
        throttle.

    Raises:
        EngineError: a share could not be set; it is as it was.
    """
    limit = task_throttle(run, script)
    jobs = run.submissions_in_flight()
    if limit is None:
        for submission in jobs:
            if submission.share is not None and run.journal_state.throttled:
                set_share(run, submission, None)
        return None
    before = [current_share(run, submission) for submission in jobs]
    if run.hold.probe:
        return max(0, limit - sum(array.running_tasks for array in before))
    shares, spare = compute_shares(limit, before)
    for submission, array in zip(jobs, before, strict=True):
        share = shares.get(array.number, array.share)
        # Repeated once in each process: a killed one may have journalled a share and not set it.
        unsure = submission.number not in run.shares_sent and array.open_tasks > array.running_tasks
        if share is not None and (share != array.share or unsure):
            set_share(run, submission, share)
    return spare


def set_share(run: Run, submission: Submission, share: int | None) -> None:
    """Set the share of one array, and journal it.

    A higher share is journalled before it is set, a lower one after that. So a kill in between
    never lets too many tasks run.

    Raises:
        EngineError: the share could not be set.
    """
    before = submission.share
    raised = before is not None and (share is None or share > before)
    if raised:
        run.decide(Shared(submission.number, share, run.clock()))
    try:
        _set_in_engine(run, submission, share)
    except EngineError:
        if raised:
            run.decide(Shared(submission.number, before, run.clock()))
        raise
    if share != before and not raised:
        run.decide(Shared(submission.number, share, run.clock()))
    run.shares_sent.add(submission.number)


def _set_in_engine(run: Run, submission: Submission, share: int | None) -> None:
    """Set a share in the engine. A share of 0 is a hold, because Slurm's throttle 0 is no limit.

    An array that was ever held for a share of 0 is released with each later share: a killed
    process may have journalled the share and not set it.
    """
    job = job_identity(run, submission)
    if share == 0:
        run.engine.hold(job)
        return
    run.engine.throttle(job, share)
    if submission.stopped and not run.hold.reason:
        run.engine.release(job)


def current_share(run: Run, submission: Submission) -> ThrottleShare:
    """Return the share of an array, with its tasks as the last poll found them."""
    opened, running = set(), set()
    for row in run.unfinished_rows(submission):
        index = submission.array_index_of(row)
        opened.add(index)
        if run.statuses.state(row) in _RUNNING:
            running.add(index)
    return ThrottleShare(submission.number, len(opened), len(running), submission.share)


_RUNNING = frozenset({State.RUNNING, State.SUSPENDED})
"""States that count for Slurm's throttle. A COMPLETING task does not: Slurm starts another one."""
