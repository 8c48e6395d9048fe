"""Bad nodes over simulated runs: a sick node is found soon, and a healthy one is never accused."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurmslice.policy.bad_nodes import (
    FEWEST_FAILURES,
    LEVEL,
    Excluded,
    Outcome,
    Suspicion,
    Trial,
    chance,
    find_bad_nodes,
    most_excluded,
    why_cleared,
)

Slice = Callable[[int, str, float], tuple[float, bool]]
"""Given a slice, its node and its start: its duration in seconds, and whether it fails then."""


@dataclass
class Simulated:
    """A run on some nodes. A slot that is free takes the next slice, as Slurm does.

    Attributes:
        slices, nodes, slots: the numbers of slices, of nodes, and of slots of each node.
        slice: the behaviour of a slice.
        pack: slices of a task, which run one after another.
        start: the first slices start within so many seconds.
    """

    slices: int
    nodes: int
    slots: int
    slice: Slice
    pack: int = 1
    start: float = 3.0
    attempts: list[Trial] = field(default_factory=list)

    def __post_init__(self) -> None:
        places = [
            (slot * self.start / self.nodes / self.slots, f"n{slot // self.slots + 1}")
            for slot in range(self.nodes * self.slots)
        ]
        heapq.heapify(places)
        for index, first in enumerate(range(0, self.slices, self.pack)):
            now, node = heapq.heappop(places)
            for row in range(first, min(self.slices, first + self.pack)):
                seconds, fails = self.slice(row, node, now)
                outcome = Outcome.FAILED if fails else Outcome.DONE
                end = now + seconds
                trial = Trial(row, node, (1, index), outcome, float(int(now)), float(int(end)))
                self.attempts.append(trial)
                now = end
            heapq.heappush(places, (now + 0.3, node))

    @property
    def end(self) -> float:
        """The time when all is known."""
        return max(one.ended_at or 0 for one in self.attempts)

    def at(self, now: float) -> list[Trial]:
        """The attempts as a poll at a time finds them."""
        return [
            one
            if (one.ended_at or 0) <= now
            else replace(one, outcome=Outcome.RUNNING, ended_at=None)
            for one in self.attempts
            if one.started_at <= now
        ]

    def polls(self, interval: float, grows: float = 1.15) -> Iterator[list[Trial]]:
        """Iterate over what each poll knows; the interval grows, as that of ``run`` does."""
        now = interval
        while now < self.end:
            yield self.at(now)
            interval = min(60.0, interval * grows)
            now += interval
        yield self.at(self.end)

    def accused(self) -> set[str]:
        """The nodes that any poll accuses."""
        return {found.node for known in self.polls(1) for found in find_bad_nodes(known)}

    def failures_until_found(self, node: str) -> int | None:
        """The failures on a node at the first poll that accuses it alone; None if none does."""
        for known in self.polls(1):
            if found := [one.node for one in find_bad_nodes(known)]:
                assert found == [node]
                return sum(one.node == node and one.outcome is Outcome.FAILED for one in known)
        return None


def corrupt(share: float, seed: int, seconds: float = 600, dies_s: float = 1) -> Slice:
    """Return slices of which a share dies on every node."""
    bad = random.Random(seed)
    dies = [bad.random() < share for _ in range(20_000)]
    lasts = [seconds * bad.uniform(0.5, 1.5) for _ in range(20_000)]
    return lambda row, node, start: (dies_s, True) if dies[row] else (lasts[row], False)


def sick(node: str, of: Slice, since: float = 0.0, dies_s: float = 1) -> Slice:
    """Return slices that all die on one node from a time on."""

    def behave(row: int, here: str, start: float) -> tuple[float, bool]:
        return (dies_s, True) if here == node and start >= since else of(row, here, start)

    return behave


# -- the test of Fisher ------------------------------------------------------------------------


@given(*[st.integers(0, 30)] * 4)
def test_chance_is_fishers_exact_test(a: int, b: int, c: int, d: int) -> None:
    """It equals the sum over all tables with the same margins and at least as many failures."""
    total, here, bad = a + b + c + d, a + b, a + c
    tables = (comb(bad, n) * comb(total - bad, here - n) for n in range(a, min(here, bad) + 1))
    exact = Fraction(sum(tables), comb(total, here))
    assert chance(a, b, c, d) == pytest.approx(float(exact), rel=1e-6)


# -- healthy clusters ----------------------------------------------------------------------------


@pytest.mark.usefixtures("unmeasured")
@pytest.mark.parametrize("share", [0.01, 0.05, 0.2, 0.6, 1.0])
@pytest.mark.parametrize(("nodes", "slots", "seconds"), [(4, 4, 600), (40, 8, 30), (10, 2, 5)])
def test_random_failures_accuse_no_node(
    share: float, nodes: int, slots: int, seconds: float
) -> None:
    """All polls of some runs: corrupt inputs die at once, wherever they are."""
    for seed in range(4):
        run = Simulated(600, nodes, slots, corrupt(share, seed, seconds))
        assert run.accused() == set()


@pytest.mark.usefixtures("unmeasured")
def test_the_rate_of_false_accusations_is_below_the_level() -> None:
    """Runs that are long for their nodes, with many polls: the most chances for a coincidence.

    100 runs have 0.1 false accusations at most on average; 2 would be a proof of too many.
    """
    wrong = 0
    for seed in range(100):
        draw = random.Random(seed)
        share, nodes = draw.uniform(0.02, 0.5), draw.choice([2, 5, 20])
        run = Simulated(300, nodes, 2, corrupt(share, seed, 4, draw.choice([1, 4, 10])))
        wrong += bool(run.accused())
    assert wrong < 2


@pytest.mark.usefixtures("unmeasured")
@pytest.mark.parametrize("dies_s", [1, 60, 1200])
def test_a_command_that_fails_everywhere_accuses_no_node(dies_s: float) -> None:
    """Also if it fails at different times, and some nodes start later than others."""
    draw = random.Random(1)
    lasts = [dies_s * draw.expovariate(1) for _ in range(500)]
    for start in (1, 30, 300):
        run = Simulated(500, 8, 4, lambda row, *_: (lasts[row], True), start=start)
        assert run.accused() == set()


def test_an_outage_of_the_file_system_accuses_no_node() -> None:
    """From a time on all slices die, wherever they start; some long ones run on."""
    of = corrupt(0, 1, 100)

    def slice_(row: int, node: str, start: float) -> tuple[float, bool]:
        return (2, True) if start > 500 else of(row, node, start)

    run = Simulated(2000, 10, 4, slice_)
    assert set(find_bad_nodes(run.at(560))) == set()


def test_packs_with_corrupt_inputs_accuse_no_node() -> None:
    """Slices of a pack are attempts of their own, and what ends together counts once."""
    for seed in range(3):
        run = Simulated(1000, 6, 2, corrupt(0.1, seed, 3), pack=20)
        assert run.accused() == set()


def test_one_task_that_fails_whole_accuses_no_node() -> None:
    """Its setup, its memory or its scratch folder may be the cause, and not the node."""
    run = Simulated(1000, 4, 1, lambda row, *_: (1, 100 <= row < 150), pack=50)
    assert run.accused() == set()


# -- sick nodes ----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("nodes", "slots", "share", "most"),
    [(4, 4, 0.05, 60), (4, 4, 0.0, 60), (20, 8, 0.05, 120), (100, 2, 0.1, 40)],
)
def test_a_node_that_eats_slices_before_any_other_has_ended_is_found(
    seed: int, nodes: int, slots: int, share: float, most: int
) -> None:
    """Slices elsewhere run for minutes: that they outlive the failures is the evidence."""
    run = Simulated(3000, nodes, slots, sick("n3", corrupt(share, seed, 600)))
    found = run.failures_until_found("n3")
    assert found is not None
    assert found <= most


@pytest.mark.parametrize("seed", range(5))
def test_a_node_that_falls_ill_later_is_found(seed: int) -> None:
    """It did a hundred slices before; all other nodes are busy, and start few new slices."""
    run = Simulated(3000, 10, 4, sick("n3", corrupt(0.03, seed, 300), since=3000))
    found = run.failures_until_found("n3")
    assert found is not None
    assert found <= 400


def test_a_sick_node_is_found_in_packs() -> None:
    """Each slice of each pack dies there."""
    run = Simulated(4000, 8, 2, sick("n3", corrupt(0.05, 3, 20)), pack=10)
    found = run.failures_until_found("n3")
    assert found is not None
    assert found <= 60


def test_two_sick_nodes_are_found() -> None:
    """The first one that is found is no example for the second."""
    run = Simulated(3000, 20, 4, sick("n3", sick("n7", corrupt(0.02, 1, 300))))
    assert {one.node for one in find_bad_nodes(run.at(60))} == {"n3", "n7"}


# -- evidence --------------------------------------------------------------------------------------


def trials(node: str, outcome: Outcome, rows: Sequence[int], start: float = 0) -> list[Trial]:
    """Return attempts of some slices that took ten seconds each."""
    running = outcome in {Outcome.RUNNING, Outcome.UNDECIDED}
    end = None if running else start + 10
    return [Trial(row, node, (1, row), outcome, start, end) for row in rows]


ELSEWHERE = trials("n1", Outcome.DONE, range(100, 160)) + trials(
    "n2", Outcome.DONE, range(200, 260)
)


def found(known: Sequence[Trial], cleared: dict[str, float] | None = None) -> list[Suspicion]:
    """Return the suspicions after some attempts."""
    return list(find_bad_nodes(known, cleared=cleared))


def test_the_evidence_is_told() -> None:
    """The numbers of slices here and elsewhere, since when, and the chance."""
    (one,) = found(ELSEWHERE + trials("n3", Outcome.FAILED, range(8), 5))
    assert (one.node, one.cause, one.since, one.failed) == ("n3", "failures", 5, 8)
    assert (one.others_failed, one.others_good) == (0, 120)
    assert 0 < one.p < LEVEL


@pytest.mark.parametrize("outcome", [Outcome.NODE, Outcome.BOOT])
def test_a_node_that_failed_itself_is_accused_at_once(outcome: Outcome) -> None:
    """One slice is enough, until a slice that began later was done there."""
    lost = trials("n3", outcome, [1], 100)
    assert [one.node for one in found(lost)] == ["n3"]
    assert found(lost + trials("n3", Outcome.DONE, [2], 101)) == []
    assert found(lost, cleared={"n3": 200.0}) == []


@pytest.mark.parametrize(
    "more",
    [
        trials("n3", Outcome.DONE, [50], 6),
        trials("n3", Outcome.RUNNING, [50], 6) + trials("n1", Outcome.DONE, [51], 60),
        [replace(one, node="n2") for one in trials("n3", Outcome.FAILED, range(5), 50)],
    ],
    ids=["done there", "outlived them there", "failed elsewhere too"],
)
def test_what_acquits_a_node(more: list[Trial]) -> None:
    """A slice does well there, or the same slices fail elsewhere too."""
    assert found(ELSEWHERE + trials("n3", Outcome.FAILED, range(8), 5)) != []
    assert found(ELSEWHERE + trials("n3", Outcome.FAILED, range(8), 5) + more) == []


def test_too_few_slices_accuse_nothing() -> None:
    """The same slice counts once, however often it fails there."""
    few = trials("n3", Outcome.FAILED, range(FEWEST_FAILURES - 1), 5)
    again = [replace(one, task=(2, one.row), started_at=20, ended_at=30) for one in few]
    assert found(ELSEWHERE + few + again) == []


def test_a_node_that_starts_late_is_not_accused() -> None:
    """Some inputs die at once there too. Its others are too young to show that they live."""

    def begun(node: str, first: int, start: float) -> list[Trial]:
        dead = range(first, first + 6)
        alive = trials(node, Outcome.RUNNING, range(first + 6, first + 40), start)
        return alive + [replace(one, ended_at=start + 1)
                        for one in trials(node, Outcome.FAILED, dead, start)]  # fmt: skip

    early = begun("n1", 0, 0) + begun("n2", 100, 0) + begun("n4", 200, 0)
    known = early + begun("n3", 300, 60)
    assert found(known) == []
    assert chance(6, 0, 18, 102) * 4 * 2 < LEVEL, "without the young ones it would be"


def test_what_failed_before_a_release_does_not_count() -> None:
    """A person has decided about these failures."""
    bad = trials("n3", Outcome.FAILED, range(8), 5)
    assert found(ELSEWHERE + bad, cleared={"n3": 50.0}) == []
    later = trials("n3", Outcome.FAILED, range(20, 28), 60)
    assert [one.since for one in found(ELSEWHERE + bad + later, cleared={"n3": 50.0})] == [60]


def test_an_excluded_node_is_cleared_by_new_evidence() -> None:
    """Most of what began there later was done; or its slices fail elsewhere too."""
    bad = ELSEWHERE + trials("n3", Outcome.FAILED, range(6), 5)
    known = {"n3": Excluded(5, 20, "failures")}
    assert list(why_cleared(bad, known)) == []
    ill = trials("n3", Outcome.FAILED, [70], 30)
    well = trials("n3", Outcome.DONE, [71, 72], 30)
    assert list(why_cleared(bad + ill + well[:1], known)) == []
    assert [node for node, _ in why_cleared(bad + ill + well, known)] == ["n3"]
    too = trials("n2", Outcome.FAILED, range(3), 30)
    assert [node for node, _ in why_cleared(bad + too, known)] == ["n3"]


@pytest.mark.parametrize(
    ("nodes", "own", "most"),
    [(None, 0, 1), (1, 0, 0), (2, 0, 1), (2, 1, 0), (19, 0, 1), (40, 0, 4), (1000, 0, 8)],
)
def test_few_nodes_are_excluded_and_one_is_left(nodes: int | None, own: int, most: int) -> None:
    """A tenth of the partition, at most 8."""
    assert most_excluded(nodes, own) == most
