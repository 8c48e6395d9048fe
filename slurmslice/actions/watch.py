"""Watch a run: poll it until no slice is in flight. It submits nothing and writes nothing."""

from __future__ import annotations

from collections.abc import Callable
from time import sleep

from slurmslice.actions.follow import (
    backoff_interval,
    is_unanswered,
    poll_interval,
    raise_lasting_fault,
    seconds_since_submission,
    site_interval,
)
from slurmslice.actions.poll import PollResult, poll
from slurmslice.actions.submit_queued import SubmitOutcome
from slurmslice.run.run import Run
from slurmslice.status.states import BEGUN_STATES


def watch(
    run: Run, on_poll: Callable[[Run, PollResult], None], interval: float | None = None
) -> None:
    """Poll a run until no slice is in flight, or the rest is held.

    This process sleeps between polls, because ``engine.wait`` might run tasks on this machine.

    Args:
        run: the run, opened in a read-only directory.
        on_poll: a function that is called with each poll.
        interval: seconds between polls; None: by the age of the run (``pause``).

    Raises:
        UnusableSlurmError: a command of Slurm cannot work here.
    """
    unanswered = 0
    while True:
        run.forget_unwritten()
        polled = poll(run)
        on_poll(run, polled)
        if _is_over(run):
            return
        raise_lasting_fault(run)
        unanswered = unanswered + 1 if is_unanswered(polled, SubmitOutcome()) else 0
        age, least = seconds_since_submission(run), site_interval(run)
        sleep(backoff_interval(poll_interval(age, interval, least=least), unanswered))


def _is_over(run: Run) -> bool:
    if run.hold.reason and not run.hold.probe:
        return BEGUN_STATES.isdisjoint(run.statuses.state_counts())
    return not (run.submissions_in_flight() or run.journal_state.unconfirmed())
