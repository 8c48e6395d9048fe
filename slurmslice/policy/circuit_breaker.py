"""The circuit breaker: find a common cause in the newest failures of a run. Pure.

``docs/adr/0018`` gives the reasons for the rule and for its numbers.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

FEWEST_FAILURES = 20
"""The breaker never trips on fewer failures."""

SHARE_AFTER_SUCCESS = 100
"""After a slice was completed, the breaker needs failures of a 100th of all slices."""

_FAILURES_PER_SUCCESS = 20
_FAILURES_PER_UNDECIDED = 2
_MARGIN_S = 60.0


@dataclass(frozen=True, slots=True)
class Attempt:
    """The times of one attempt at a slice, epoch seconds.

    Attributes:
        started_at: its start; None if not known.
        ended_at: its end; None if it runs, or if the end is not known.
    """

    started_at: float | None
    ended_at: float | None = None


@dataclass(frozen=True, slots=True)
class Ends:
    """The attempts of a run, as far as they are known now.

    Attributes:
        failed: attempts that failed, those before a resubmission too.
        completed: returns the attempts that succeeded, the newest first if possible.
        running: attempts that run now, or whose result is not known yet.
        slices: the number of all slices.
        now: epoch seconds.
    """

    failed: Sequence[Attempt]
    completed: Callable[[], Iterable[Attempt]]
    running: Sequence[Attempt]
    slices: int
    now: float


def failures_with_common_cause(ends: Ends) -> int:
    """Return the number of newest failures that have a common cause; 0 if there are none.

    The newest 20, 40, 80, … failures are compared with the slices that began beside them. They
    have a common cause if almost none of those did well, and most of those are decided.
    """
    if len(ends.failed) < FEWEST_FAILURES:
        return 0
    any_completed = next(iter(ends.completed()), None) is not None
    number = FEWEST_FAILURES
    if any_completed:
        number = max(number, ends.slices // SHARE_AFTER_SUCCESS)
    newest = sorted(ends.failed, key=lambda one: _end(one, ends.now), reverse=True)
    while number <= len(newest):
        if _have_common_cause(newest[:number], ends):
            return number
        number *= 2
    return 0


def _end(attempt: Attempt, now: float) -> float:
    return now if attempt.ended_at is None else attempt.ended_at


def _have_common_cause(failures: Sequence[Attempt], ends: Ends) -> bool:
    """Compare failures with the slices that began after the first of them began."""
    ended = [_end(one, ends.now) for one in failures]
    began = [
        end if one.started_at is None else one.started_at
        for one, end in zip(failures, ended, strict=True)
    ]
    ages = (end - start for start, end in zip(began, ended, strict=True))
    survives_s = 2 * statistics.median(ages) + _MARGIN_S
    first, last, since = min(began), max(began), min(ended)
    survivors, undecided = _split_running(ends, first, last, survives_s)
    most = -(-len(failures) // _FAILURES_PER_SUCCESS)
    good = (one for one in ends.completed() if _did_well(one, first, since))
    successes = survivors + sum(1 for _ in islice(good, max(0, most - survivors)))
    return successes < most and undecided * _FAILURES_PER_UNDECIDED <= len(failures)


def _split_running(ends: Ends, first: float, last: float, survives_s: float) -> tuple[int, int]:
    """Count the running slices that outlived the failures, and those that may still fail so.

    A slice that began before the first failure says nothing about what happened since then, and
    one that began after the last failure began may have no time yet to fail.
    """
    starts = [one.started_at for one in ends.running]
    known = [start for start in starts if start is not None and start >= first]
    survivors = sum(ends.now - start > survives_s for start in known)
    young = sum(ends.now - start <= survives_s and start <= last for start in known)
    return survivors, young + starts.count(None)


def _did_well(attempt: Attempt, first: float, since: float) -> bool:
    """Tell if a success speaks against a common cause. Without times it does."""
    started, ended = attempt.started_at, attempt.ended_at
    return (started is None or started >= first) and (ended is None or ended >= since)
