"""The pace of a run, and the time until its slices have ended. ADR 46."""

from __future__ import annotations

import heapq
import random
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from slurmslice.reports.durations import Durations
from slurmslice.run.run import Run
from slurmslice.status.states import State

LEAST_ENDED = 5
_SLOW_TIMES, _SLOW_S = 3, 60.0
_MOST_READ, _MOST_SAMPLES, _MOST_PLAYED, _MOST_PLACES, _PLAYS = 3000, 600, 1000, 300, 9
_WAITING = (State.WAITING, State.SUBMITTED, State.PENDING)
_SHOW_RUN_TIME = (State.COMPLETED, State.FAILED, State.CHECK_FAILED, State.OUT_OF_MEMORY)
"""Ends whose time says how long such slices run; one at the limit would have run longer."""


@dataclass(frozen=True, slots=True)
class Pace:
    """The pace of a run: how fast its slices end.

    Attributes:
        left_s: an estimate of the time until the last slice ends, seconds; None if there is none.
        ended: the number of ended slices from which it comes.
        median_s: the median of their durations, seconds; None below five.
        slow: the row of the running slice that takes far longer than the others, and its age in
            seconds; None if none does.
    """

    left_s: float | None
    ended: int
    median_s: float | None
    slow: tuple[int, float] | None

    def record(self) -> dict[str, object]:
        """Return it as a plain record, for ``--json``."""
        return {"left_s": self.left_s, "ended": self.ended, "median_s": self.median_s}


def estimate_remaining(
    ended: Sequence[float], ages: Sequence[float], waiting: int, *, ended_step: int = 1
) -> float | None:
    """Return the time until all slices have ended, seconds. Pure.

    Args:
        ended: the durations of ended slices, seconds.
        ages: how long each running slice runs already, seconds; so many run at once.
        waiting: the number of slices that have not begun.
        ended_step: ``ended`` has one of so many ended slices.

    Returns:
        None below five ended slices, or if none runs.
    """
    if len(ended) < LEAST_ENDED or not ages:
        return None
    durations = Durations(*_sample(ended, ages[::ended_step]))
    step = -(-len(ages) // _MOST_PLACES)  # many places are played as fewer places and slices
    some, rest = ages[::step], waiting * len(ages[::step]) // len(ages)
    chance = random.Random(0)  # noqa: S311 - the same data give the same estimate
    return median(_play(durations, some, rest, chance) for _ in range(_PLAYS))


def _sample(
    ended: Sequence[float], ages: Sequence[float]
) -> tuple[Sequence[float], Sequence[float]]:
    """Return evenly chosen slices: of both kinds the same share, so that no kind counts more."""
    step = -(-(len(ended) + len(ages)) // _MOST_SAMPLES)
    return ended[::step], ages[::step]


def _play(
    durations: Durations, ages: Sequence[float], waiting: int, chance: random.Random
) -> float:
    """Return the end of a run that is played once, seconds from now."""
    ends = [_remaining(durations, age, chance) for age in ages]
    heapq.heapify(ends)
    played = min(waiting, _MOST_PLAYED)
    shares = [1 - (n + chance.random()) / played for n in range(played)]
    chance.shuffle(shares)
    drawn = [durations.quantile(share) for share in shares]
    for duration in drawn:
        heapq.heapreplace(ends, ends[0] + duration)
    others = (waiting - played) * sum(drawn) / played / len(ends) if played else 0.0
    return max(ends) + others


def _remaining(durations: Durations, age: float, chance: random.Random) -> float:
    share = durations.survival(age) * (1 - chance.random())
    return max(0.0, durations.quantile(share) - age) if share > 0 else 0.0


def measure_pace(run: Run) -> Pace:
    """Return the pace of a run, as its last poll saw its slices."""
    statuses, now = run.statuses, run.clock()
    rows = statuses.rows_in(_SHOW_RUN_TIME)
    step = max(1, -(-len(rows) // _MOST_READ))  # each look at a row takes some microseconds
    seen = (statuses.seen(row).elapsed_s for row in rows[::step])
    ended = [float(elapsed) for elapsed in seen if elapsed is not None]
    starts = ((row, statuses.seen(row).started_at) for row in statuses.rows_in({State.RUNNING}))
    ages = {row: max(0.0, now - start) for row, start in starts if start}
    waiting = sum(statuses.state_counts().get(state, 0) for state in _WAITING)
    usual = median(ended) if len(ended) >= LEAST_ENDED else None
    slow = max(ages.items(), key=lambda one: one[1], default=None)
    if slow and (usual is None or slow[1] < max(_SLOW_S, _SLOW_TIMES * usual)):
        slow = None
    left = estimate_remaining(ended, list(ages.values()), waiting, ended_step=step)
    return Pace(left, min(len(rows), len(ended) * step), usual, slow)
