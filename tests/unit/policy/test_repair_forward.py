"""Repair forward over simulated runs: healthy ones stay as they are, others are raised in time."""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurmslice.policy.ladder import Bounds, RepairPolicy
from slurmslice.policy.repair_forward import (
    FEWEST_OVER,
    ONE_IN,
    MemoryEvidence,
    memory_evidence,
    next_larger,
)
from slurmslice.sbatch.resource_request import ResourceRequest

GIB = 1024
RETRY = RepairPolicy(4, retry=True)
FIRST = ResourceRequest.of({"mem": "4G", "time": "60"})


@dataclass
class Simulated:
    """A run of slices on some slots; failed slices are repaired by the ladder, after the others.

    Attributes:
        needs: the memory that each slice needs, MiB.
        seconds: the duration of each slice that has enough memory.
        dies_after: the share of its duration after which a slice exceeds its memory.
        slots: the slices that run at once.
        raises: the memory of each raise, in order.
        attempts: for each attempt: row, memory, start, end, and if it exceeded its memory.
    """

    needs: list[int]
    seconds: list[float]
    dies_after: float
    slots: int
    raises: list[int] = field(default_factory=list)
    attempts: list[tuple[int, int, float, float, bool]] = field(default_factory=list)

    def play(self) -> Simulated:
        """Play the run; before each start the rule looks at what is known then."""
        asks, waiting = 4 * GIB, list(range(len(self.needs)))
        repairs: list[tuple[float, int, int]] = []
        free = [0.0] * self.slots
        while waiting or repairs:
            now = heapq.heappop(free)
            if self.evidence(asks, now).suffices and waiting:
                had = FIRST.with_changes({"mem": f"{asks}M"})
                larger = next_larger(RETRY, Bounds(FIRST), had)
                if larger is not None:
                    asks = larger[1].mem_mib or 0
                    self.raises.append(asks)
            if waiting:
                row, memory = waiting.pop(0), asks
            else:
                known, row, memory = heapq.heappop(repairs)
                now = max(now, known)
            over = self.needs[row] > memory
            end = now + self.seconds[row] * (self.dies_after if over else 1.0)
            self.attempts.append((row, memory, now, end, over))
            if over and memory < 32 * GIB:
                heapq.heappush(repairs, (end, row, 2 * memory))
            heapq.heappush(free, end)
        return self

    def evidence(self, asks: int, now: float) -> MemoryEvidence:
        """Return what is known at a time about an amount of memory."""
        over: dict[int, float] = {}
        last: dict[int, tuple[float, float]] = {}
        for row, memory, start, end, exceeded in self.attempts:
            if start <= now:
                last[row] = start, end
            if end <= now and exceeded and memory >= asks:
                over[row] = max(over.get(row, 0.0), end - start)
        others = [times for row, times in last.items() if row not in over]
        ended = sum(end <= now for _, end in others)
        ages = [now - start for start, end in others if end > now]
        return memory_evidence(list(over.values()), ended, ages)


seeds = st.integers(0, 2**32)


@pytest.mark.usefixtures("unmeasured")
@given(seeds, st.integers(1, 60), st.floats(0.01, 1.0))
def test_a_healthy_run_is_never_raised(seed: int, slots: int, dies_after: float) -> None:
    """1 % of the slices need more, and may die before any other has ended: the rest stays."""
    dealt = random.Random(seed)
    needs = [6 * GIB if dealt.random() < 0.01 else GIB for _ in range(150)]
    seconds = [dealt.uniform(3000, 4000) for _ in needs]
    assert Simulated(needs, seconds, dies_after, slots).play().raises == []


@pytest.mark.usefixtures("unmeasured")
@given(seeds, st.integers(1, 60), st.floats(0.01, 1.0))
def test_a_run_that_needs_twice_is_raised_once(seed: int, slots: int, dies_after: float) -> None:
    """At most the slices of the first rounds fail; the others ask for enough at once."""
    dealt = random.Random(seed)
    needs = [dealt.randint(5 * GIB, 8 * GIB) for _ in range(150)]
    seconds = [dealt.uniform(50, 100) for _ in needs]
    run = Simulated(needs, seconds, dies_after, slots).play()
    assert run.raises == [8 * GIB]
    assert sum(over for *_, over in run.attempts) <= FEWEST_OVER + 2 * slots


@pytest.mark.usefixtures("unmeasured")
@given(seeds, st.integers(1, 30), st.sampled_from([0.0, 0.02]))
def test_the_rest_does_not_climb_further_than_needed(seed: int, slots: int, leaks: float) -> None:
    """A quarter needs 2 times; the leaks among them, which are repaired to the cap, raise none."""
    dealt = random.Random(seed)
    needs = [
        999 * GIB if dealt.random() < leaks else dealt.choice([8 * GIB, *[4 * GIB] * 2])
        for _ in range(150)
    ]
    run = Simulated(needs, [60.0] * 150, 0.5, slots).play()
    assert max(run.raises, default=0) <= 8 * GIB
    assert len(run.raises) == 1


def test_no_raise_exceeds_the_cap() -> None:
    """Every slice leaks: the rest climbs to 8 times its first request, and no further."""
    run = Simulated([999 * GIB] * 60, [60.0] * 60, 0.5, 4).play()
    assert run.raises == [8 * GIB, 16 * GIB, 32 * GIB]


@pytest.mark.parametrize(
    ("over", "ended", "ages", "suffices"),
    [
        (FEWEST_OVER, 0, [], True),
        (FEWEST_OVER - 1, 0, [], False),
        (FEWEST_OVER, FEWEST_OVER * (ONE_IN - 1), [], True),
        (FEWEST_OVER, FEWEST_OVER * (ONE_IN - 1) + 1, [], False),
        (FEWEST_OVER, 0, [11.0] * 21, False),
        (FEWEST_OVER, 0, [10.0] * 21, True),
    ],
)
def test_the_evidence(over: int, ended: int, ages: list[float], suffices: bool) -> None:
    """5 slices, and a fifth of those that ended or outlived the slowest of them, are enough."""
    assert memory_evidence([10.0, *[1.0] * (over - 1)], ended, ages).suffices is suffices


@pytest.mark.parametrize(
    ("on", "had", "rung", "mem"),
    [
        ((), "4G", 1, "8G"),
        ((), "8G", 2, "16G"),
        ((), "32G", 0, ""),
        (("oom=--mem=6G; --mem=64G -p fat",), "4G", 1, "6G"),
        (("oom=--mem=6G; --mem=64G -p fat",), "6G", 2, "64G"),
        (("oom=again; --mem=3x",), "4G", 2, "12G"),
        (("oom=--mem=2x -c 2",), "4G", 0, ""),
        (("oom=--mem=2x --time=2x",), "4G", 0, ""),
        (("oom=leave",), "4G", 0, ""),
        (("oom=elsewhere",), "4G", 0, ""),
    ],
)
def test_the_next_rung(on: tuple[str, ...], had: str, rung: int, mem: str) -> None:
    """The first rung with more memory that costs no more CPU time, within the caps."""
    policy = RepairPolicy(4, retry=True, on=on)
    larger = next_larger(policy, Bounds(FIRST), FIRST.with_changes({"mem": had}))
    assert (larger and (larger[0], larger[1]["mem"])) == ((rung, mem) if rung else None)
    if mem == "64G":
        assert larger is not None
        assert larger[1].partition == "fat"
