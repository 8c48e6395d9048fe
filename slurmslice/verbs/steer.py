"""Cancel and throttle: what a person changes in a run that is going on."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from slurmslice.errors import BadInput
from slurmslice.journal import Cancelled, Throttled
from slurmslice.ledger import Fate
from slurmslice.ranges import compress
from slurmslice.run import Run
from slurmslice.verbs.submit import wait_out_doubts


def cancel(run: Run, rows: Collection[int] | None) -> list[int]:
    """Cancel these slices, or all that have not ended; the rows that it was.

    Raises:
        NoAnswer: the engine could not be told; the wish is journalled, try again.
    """
    wait_out_doubts(run)
    with run.place.lock("cancel"):
        run.reload()
        run.take_back()
        wanted = range(len(run.table)) if rows is None else sorted(rows)
        open_rows = [row for row in wanted if not run.standings[row].state.final]
        groups: dict[int, list[int]] = {}
        for row in open_rows:
            groups.setdefault(run.ledger.holder[row], []).append(row)
        for number, members in groups.items():
            run.decide(Cancelled(number, str(compress(members)), run.clock()))
        for number, members in groups.items():
            _tell(run, number, members)
    return open_rows


def _tell(run: Run, number: int, rows: Sequence[int]) -> None:
    submission = run.ledger.submissions.get(number)
    if submission is None or submission.fate is not Fate.SUBMITTED:
        return
    whole = len(rows) == len(list(run.open_rows(submission)))
    run.engine.cancel(submission.job, None if whole else [submission.index_of[r] for r in rows])


def throttle(run: Run, limit: int | None) -> int:
    """Let at most so many slices run at once; how many arrays were told.

    Raises:
        BadInput: the limit is not positive.
        NoAnswer: the engine could not be told.
    """
    if limit is not None and limit < 1:
        raise BadInput("The throttle must be 1 or more.", "`none` takes it away.")
    with run.place.lock("throttle"):
        run.reload()
        run.decide(Throttled(limit, run.clock()))
        jobs = run.in_flight()
        for submission, share in zip(jobs, shares(limit, len(jobs)), strict=True):
            run.engine.throttle(submission.job, share)
    return len(jobs)


def shares(limit: int | None, arrays: int) -> list[int | None]:
    """A throttle shared out among arrays, each at least 1."""
    if limit is None:
        return [None] * arrays
    return [max(1, limit // arrays + (position < limit % arrays)) for position in range(arrays)]
