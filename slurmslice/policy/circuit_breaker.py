"""The circuit breaker: find a common cause in the newest failures of a run. Pure.

``docs/adr/0018`` gives the reasons for the rule and for its numbers.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from heapq import nlargest
from itertools import islice

FEWEST_FAILURES = 20
"""The breaker never trips on fewer failures."""

SHARE_AFTER_SUCCESS = 100
"""After a slice was completed, the breaker needs failures of a 100th of all slices."""

LAST_ENDS, MOSTLY = 50, 0.9
"""The breaker trips too if so large a share of so many last ends failed."""

OUTAGES = frozenset({"quota", "no-space", "stale-handle"})
"""The named causes of a file system: on two nodes they are no fault of a node."""

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


def mostly_failed(ends: Ends) -> int:
    """Return how many of the last ``LAST_ENDS`` ends failed, if that is almost all; else 0.

    Slices that began beside these failures and outlived them count as good. If too many are
    undecided, it is not known yet.
    """
    if len(ends.failed) < LAST_ENDS * MOSTLY:
        return 0
    newest = sorted(ends.failed, key=lambda one: _end(one, ends.now))[-LAST_ENDS:]
    good = nlargest(LAST_ENDS, (_end(one, ends.now) for one in ends.completed()))
    last = sorted([*((_end(one, ends.now), 1) for one in newest), *((end, 0) for end in good)])
    last = last[-LAST_ENDS:]
    failed = sum(number for _, number in last)
    if len(last) < LAST_ENDS or failed < LAST_ENDS * MOSTLY:
        return 0
    survivors, undecided = _beside(newest[-failed:], ends)
    enough = failed >= MOSTLY * (LAST_ENDS + survivors)
    return failed if enough and undecided * _FAILURES_PER_UNDECIDED <= failed else 0


def _end(attempt: Attempt, now: float) -> float:
    return now if attempt.ended_at is None else attempt.ended_at


def _have_common_cause(failures: Sequence[Attempt], ends: Ends) -> bool:
    """Compare failures with the slices that began after the first of them began."""
    first, since = min(_began(failures, ends)), min(_end(one, ends.now) for one in failures)
    survivors, undecided = _beside(failures, ends)
    most = -(-len(failures) // _FAILURES_PER_SUCCESS)
    good = (one for one in ends.completed() if _did_well(one, first, since))
    successes = survivors + sum(1 for _ in islice(good, max(0, most - survivors)))
    return successes < most and undecided * _FAILURES_PER_UNDECIDED <= len(failures)


def _began(failures: Sequence[Attempt], ends: Ends) -> list[float]:
    """Return the starts of failures; if one is not known, its end."""
    starts = ((one.started_at, _end(one, ends.now)) for one in failures)
    return [end if start is None else start for start, end in starts]


def _beside(failures: Sequence[Attempt], ends: Ends) -> tuple[int, int]:
    """Count the running slices beside failures that outlived them, and the undecided ones."""
    began = _began(failures, ends)
    ages = (_end(one, ends.now) - start for one, start in zip(failures, began, strict=True))
    survives_s = 2 * statistics.median(ages) + _MARGIN_S
    return _split_running(ends, min(began), max(began), survives_s)


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
