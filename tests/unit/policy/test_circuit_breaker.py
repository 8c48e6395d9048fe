"""The circuit breaker over simulated runs: healthy ones go on, sick ones are held soon."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from slurmslice.policy.circuit_breaker import (
    FEWEST_FAILURES,
    LAST_ENDS,
    SHARE_AFTER_SUCCESS,
    Attempt,
    Ends,
    failures_with_common_cause,
    mostly_failed,
)

Slice = Callable[[float], tuple[float, bool]]
"""Given the start of a slice, its duration in seconds, and whether it fails then."""


@dataclass
class Simulated:
    """A run of many slices on some slots. ``at`` tells what accounting knows at a time.

    Attributes:
        slices, slots: the numbers of slices, and of those that run at once.
        slice: the behaviour of a slice.
        outage: the time when all running slices fail; None for never.
        lag_s: seconds until an end is known. Until then the slice is seen to run.
    """

    slices: int
    slots: int
    slice: Slice
    outage: float | None = None
    lag_s: float = 0.0
    attempts: list[tuple[float, float, bool]] = field(default_factory=list)

    def __post_init__(self) -> None:
        free = [float(slot // 100) for slot in range(self.slots)]  # Slurm starts some per second
        heapq.heapify(free)
        for _ in range(self.slices):
            start = heapq.heappop(free)
            seconds, fails = self.slice(start)
            end = start + seconds
            if self.outage is not None and start < self.outage < end:
                end, fails = self.outage + start % 7, True
            heapq.heappush(free, end)
            self.attempts.append((start, end, fails))

    @property
    def end(self) -> float:
        """The time when all is known."""
        return max(end for _, end, _ in self.attempts) + self.lag_s

    def at(self, now: float) -> Ends:
        """The attempts as they are known at a time."""
        begun = [one for one in self.attempts if one[0] <= now]
        ended = [one for one in begun if one[1] + self.lag_s <= now]
        running = [Attempt(int(one[0])) for one in begun if one[1] + self.lag_s > now]
        known = {
            fails: [Attempt(int(s), int(e)) for s, e, failed in ended if failed is fails]
            for fails in (True, False)
        }
        return Ends(known[True], lambda: reversed(known[False]), running, self.slices, now)

    def polls(self, interval: float, until: float | None = None) -> Iterator[Ends]:
        """Iterate over what each poll knows."""
        now = interval
        last = self.end if until is None else min(until, self.end)
        while now < last:
            yield self.at(now)
            now += interval

    def failures_until_held(self, interval: float, since: float = 0.0) -> int | None:
        """Count the failures known at the first poll that holds the rest; None if none does."""
        for known in self.polls(interval):
            if failures_with_common_cause(known) or mostly_failed(known):
                return sum((one.ended_at or 0) >= since for one in known.failed)
        return None


def mixed(seconds: float, share: float, dies_after: float, seed: int = 1) -> Slice:
    """Slices that take about so long, of which a share dies after another time."""
    chance = random.Random(seed)

    def behave(start: float) -> tuple[float, bool]:
        if chance.random() < share:
            return dies_after * chance.uniform(0.5, 1.5), True
        return seconds * chance.uniform(0.7, 1.3), False

    return behave


# -- healthy runs ----------------------------------------------------------------------------


@pytest.mark.usefixtures("unmeasured")
def test_the_first_ends_of_a_healthy_run_may_all_be_failures() -> None:
    """10,000 slices of 2 h, 2,000 at once; 1 % die in 1 s: the first ends are all failures."""
    run = Simulated(10_000, 2_000, mixed(7_200, 0.01, 1.0))
    early = [run.at(now) for now in (1, 2, 3, 5, 8, 13, 20, 40, 80, 200, 1_000, 6_000)]
    assert any(len(known.failed) >= FEWEST_FAILURES for known in early)
    assert not any(next(iter(known.completed()), None) for known in early[:-1])
    assert not any(map(failures_with_common_cause, early))
    assert not any(map(mostly_failed, early))
    assert run.failures_until_held(300.0) is None


@pytest.mark.usefixtures("unmeasured")
@pytest.mark.parametrize(
    ("slices", "slots", "seconds", "share", "dies_after", "lag"),
    [
        (3_000, 10, 1.0, 0.05, 1.0, 5.0),  # short slices
        (2_000, 1, 60.0, 0.1, 60.0, 0.0),  # one after another
        (2_000, 2_000, 7_200, 0.3, 30.0, 120.0),  # one wave, accounting is late
        (2_000, 500, 3_600, 0.02, 3_600, 5.0),  # fail at the end
        (2_000, 100, 600, 0.2, 1.0, 30.0),
    ],
)
def test_a_healthy_run_goes_on(
    slices: int, slots: int, seconds: float, share: float, dies_after: float, lag: float
) -> None:
    """A part of the slices fails, whenever that is known."""
    run = Simulated(slices, slots, mixed(seconds, share, dies_after), lag_s=lag)
    assert run.failures_until_held(max(1.0, run.end / 150)) is None


def test_a_node_that_dies_does_not_hold_the_run() -> None:
    """100 slices end at once; 1,900 others that began with them go on."""
    failed = [Attempt(float(n), 4_000.0) for n in range(100)]
    running = [Attempt(float(n)) for n in range(1_900)]
    for now in (4_001.0, 5_000.0, 9_000.0):
        assert not failures_with_common_cause(Ends(failed, list, running, 10_000, now))
        assert not mostly_failed(Ends(failed, list, running, 10_000, now))


@pytest.mark.usefixtures("unmeasured")
@given(
    slots=st.integers(1, 300), seconds=st.floats(20, 7_200), share=st.floats(0.0, 0.2),
    early=st.floats(0.0001, 1.0), lag=st.floats(0, 120), seed=st.integers(0, 99),
)  # fmt: skip
@settings(max_examples=60)
def test_no_healthy_run_is_held(
    slots: int, seconds: float, share: float, early: float, lag: float, seed: int
) -> None:
    """Up to a fifth of the slices fails at random, at any age, and ends are known late."""
    run = Simulated(600, slots, mixed(seconds, share, seconds * early, seed), lag_s=lag)
    assert run.failures_until_held(max(1.0, run.end / 25)) is None


# -- sick runs -------------------------------------------------------------------------------


def most_failures(run: Simulated, age: float, done: bool) -> float:
    """The failures after which a run without any success must be held."""
    least = max(FEWEST_FAILURES, run.slices // SHARE_AFTER_SUCCESS if done else 0)
    return 2 * least + 4 * run.slots * (1 + run.lag_s / age)


@given(
    slots=st.integers(1, 60), age=st.floats(1, 7_200), spread=st.floats(0, 0.2),
    lag=st.floats(0, 30), seed=st.integers(0, 99),
)  # fmt: skip
@settings(max_examples=60)
@example(slots=50, age=1.0, spread=0.0, lag=0.0, seed=0)
def test_a_sick_run_is_held(slots: int, age: float, spread: float, lag: float, seed: int) -> None:
    """All slices fail at about the same age: soon the rest is held."""
    chance = random.Random(seed)
    run = Simulated(
        1_500, slots, lambda start: (age * chance.uniform(1 - spread, 1 + spread), True), lag_s=lag
    )
    bound = most_failures(run, age, done=False)
    assume(bound < 1_200)
    known = next(k for k in run.polls(max(1.0, run.end / 100)) if len(k.failed) >= bound)
    assert failures_with_common_cause(known)


@pytest.mark.parametrize("number", [FEWEST_FAILURES, 25, 50])
def test_all_that_ran_at_once_failed(number: int) -> None:
    """All slices fit at once, so nothing waits: the next attempts would fail too."""
    failed = [Attempt(0.0, 1.0)] * number
    assert failures_with_common_cause(Ends(failed, list, [], number, 5.0)) == FEWEST_FAILURES
    assert not failures_with_common_cause(Ends(failed[:19], list, [], number, 5.0))


@pytest.mark.parametrize("kills", [True, False], ids=["running slices die", "they go on"])
@pytest.mark.parametrize(
    ("slices", "slots", "seconds"), [(10_000, 500, 3_600.0), (100, 5, 10.0), (5_000, 100, 60.0)]
)
def test_a_file_system_that_goes_away(slices: int, slots: int, seconds: float, kills: bool) -> None:
    """After many successes everything that starts fails, and perhaps all that runs."""
    gone = seconds * 5.5
    healthy = mixed(seconds, 0.01, 1.0)
    run = Simulated(
        slices, slots, lambda start: (1.0, True) if start >= gone else healthy(start),
        gone if kills else None, lag_s=1.0,
    )  # fmt: skip
    assert any(end < gone and not fails for _, end, fails in run.attempts)
    failures = run.failures_until_held(1.0, gone) if slices < 10_000 else next(
        len([1 for one in known.failed if (one.ended_at or 0) >= gone])
        for known in map(run.at, range(int(gone), int(run.end), 2))
        if failures_with_common_cause(known)
    )  # fmt: skip
    assert failures is not None
    assert failures <= most_failures(run, 1.0, done=True)


def test_failures_without_times_count() -> None:
    """An engine may know no times. One success without times speaks against a common cause."""
    failed = [Attempt(None)] * FEWEST_FAILURES
    assert failures_with_common_cause(Ends(failed, list, [], 100, 5.0))
    assert not failures_with_common_cause(Ends(failed, lambda: [Attempt(None)], [], 100, 5.0))
    running = [Attempt(None)] * FEWEST_FAILURES
    assert not failures_with_common_cause(Ends(failed, list, running, 100, 5.0))


# -- almost all of the last ends -------------------------------------------------------------


@pytest.mark.parametrize(
    ("good", "before", "survivors", "undecided", "failed"),
    [
        (5, 1000, 0, 0, 45),  # 90 %, after many successes
        (6, 1000, 0, 0, 0),
        (0, 0, 0, 0, LAST_ENDS),
        (0, 0, 5, 0, LAST_ENDS),
        (0, 0, 6, 0, 0),
        (0, 0, 0, 25, LAST_ENDS),
        (0, 0, 0, 26, 0),
    ],
)
def test_almost_all_of_the_last_ends_failed(
    good: int, before: int, survivors: int, undecided: int, failed: int
) -> None:
    """Slices that outlived the failures count as good; undecided ones delay the decision."""
    bad = [Attempt(1000.0, 1010.0 + n) for n in range(LAST_ENDS - good)]
    done = [Attempt(0.0, 1005.0 + n) for n in range(good)]
    done += [Attempt(0.0, 900.0 - n) for n in range(before)]
    running = [Attempt(1000.0)] * survivors
    now = 1000.0 + 2 * 60 + 60 + 1
    young = [Attempt(now - 100)] * undecided
    bad = [*bad[:-1], Attempt(now - 90, now - 85)] if undecided else bad
    ends = Ends(bad, lambda: reversed(done), [*running, *young], 10_000, now)
    assert mostly_failed(ends) == failed
