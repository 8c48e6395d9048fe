"""Bad nodes: find the nodes on which slices fail that would not fail elsewhere. Pure.

``docs/adr/0023`` gives the reasons for the rule and for its numbers.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

FEWEST_FAILURES = 4
"""A node is never suspected for fewer slices that failed."""

LEVEL = 0.001
"""The greatest probability that chance alone accuses any node of a run."""

MOST_NODES, SHARE_OF_NODES = 8, 10
"""At most so many nodes are excluded, and at most a tenth of the partition."""

EXCLUDED_FOR_S = 24 * 3600.0
"""Seconds for which a node is excluded, and after which a failure does not count any more."""

_FEWEST_TASKS = 2
_MARGIN_S = 5.0


class Outcome(StrEnum):
    """The result of an attempt, as far as it is known."""

    DONE = "done"
    RUNNING = "running"
    UNDECIDED = "undecided"
    FAILED = "failed"
    NODE = "node"  # the node itself failed
    BOOT = "boot"  # the node did not start


@dataclass(frozen=True, slots=True)
class Trial:
    """One attempt at a slice on one node.

    Attributes:
        row: the slice.
        node: the node.
        task: the array task; slices of a pack share it.
        outcome: its result.
        started_at, ended_at: epoch seconds of one clock; ``ended_at`` is None if it has not ended.
    """

    row: int
    node: str
    task: tuple[int, int]
    outcome: Outcome
    started_at: float
    ended_at: float | None = None


@dataclass(frozen=True, slots=True)
class Suspicion:
    """A node that is suspected, with the evidence.

    Attributes:
        node: the node.
        cause: ``node`` or ``boot`` if it failed itself; else ``failures``.
        since: the start of the first of the failures, epoch seconds.
        failed: the slices that failed there since then; none was done.
        others_failed, others_good: the slices of the run that failed on other nodes, and that did
            well there.
        p: the probability of such a difference by chance, corrected for all nodes; 0 if the node
            failed itself.
    """

    node: str
    cause: str
    since: float
    failed: int
    others_failed: int = 0
    others_good: int = 0
    p: float = 0.0


@dataclass(frozen=True, slots=True)
class Excluded:
    """A node that is excluded now.

    Attributes:
        since: as in ``Suspicion``.
        at: the time of the decision, epoch seconds.
        cause: as in ``Suspicion``.
    """

    since: float
    at: float
    cause: str


def most_excluded(nodes: int | None, excluded_by_person: int = 0) -> int:
    """Return the most nodes to exclude in a partition with so many; None if that is not known.

    One node at least is left.
    """
    if nodes is None:
        return 1
    share = min(MOST_NODES, max(1, nodes // SHARE_OF_NODES))
    return max(0, min(share, nodes - excluded_by_person - 1))


def chance(failed: int, good: int, others_failed: int, others_good: int) -> float:
    """Return the probability that chance puts so many of all failures on one node, or more.

    It is Fisher's exact test, one-sided.
    """
    here, failures = failed + good, failed + others_failed
    total = here + others_failed + others_good

    def log_choose(n: int, k: int) -> float:
        return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)

    found, whole = 0.0, log_choose(total, here)
    for number in range(max(failed, here + failures - total), min(here, failures) + 1):
        rest = log_choose(total - failures, here - number)
        term = math.exp(log_choose(failures, number) + rest - whole)
        found += term
        if term < found * 1e-9:
            break
    return min(1.0, found)


def find_bad_nodes(
    trials: Iterable[Trial],
    excluded: Collection[str] = (),
    cleared: Mapping[str, float] | None = None,
    now: float = 0.0,
    done: DoneStarts | None = None,
) -> Iterator[Suspicion]:
    """Find nodes to suspect, the strongest evidence first.

    Args:
        trials: all attempts, as far as they are known.
        excluded: nodes that are excluded now. They are no example of how slices do elsewhere.
        cleared: for nodes that were excluded before: the time of their last release, epoch seconds.
            What began there earlier does not count against them.
        now: the time up to which slices are known to run, by the clock of the trials, epoch
            seconds; 0 if only their own times tell it.
        done: other attempts that are done.
    """
    table = _Trials(trials, cleared or {}, now, done)
    left_out = set(excluded)
    yield from table.lost_nodes(left_out)
    while best := table.most_suspect(left_out):
        yield best
        left_out.add(best.node)


def why_cleared(
    trials: Iterable[Trial],
    excluded: Mapping[str, Excluded],
    done: DoneStarts | None = None,
) -> Iterator[tuple[str, str]]:
    """Find excluded nodes that the evidence does not accuse any more, each with the reason."""
    if not excluded:
        return
    table = _Trials(trials, {}, 0.0, done)
    for node, known in excluded.items():
        there = table.by_node.get(node, ())
        bad = sum(one.outcome in _BAD and one.started_at >= known.at for one in there)
        if table.done_since(node, known.at) > bad:
            yield node, "slices that began there later were done"
        elif known.cause == "failures":
            kept = [one for one in there if one.started_at >= known.since and one.outcome in _BAD]
            if len({one.row for one in kept} - table.failed_on_several) < FEWEST_FAILURES:
                yield node, "its slices failed on other nodes too"


DoneStarts = Mapping[str, Sequence[float]]
"""The starts of attempts that are done, by their nodes, epoch seconds. There may be a million."""

_BAD = frozenset({Outcome.FAILED, Outcome.NODE, Outcome.BOOT})


@dataclass(slots=True)
class _Window:
    """The attempts on a node since a slice last did well there.

    Attributes:
        failed: the slices that failed.
        undecided: the number of attempts without an outcome.
        since: the start of the first failure.
        lives_s: the age after which a running slice has outlived these failures, seconds.
        number: one more than the number of slices that did well there before.
    """

    failed: set[int]
    undecided: int
    since: float
    lives_s: float
    number: int


@dataclass
class _Trials:
    """The attempts of a run by node.

    Args:
        trials: the attempts.
        cleared, now: as in ``find_bad_nodes``.
        others_done: attempts that are done, beside those in ``trials``.

    Attributes:
        by_node: the attempts that are not done.
        done: the sorted starts of those that are done.
        failed_on: for each slice that failed: the nodes.
    """

    trials: Iterable[Trial]
    cleared: Mapping[str, float]
    now: float
    others_done: DoneStarts | None = None
    by_node: dict[str, list[Trial]] = field(default_factory=dict)
    done: dict[str, list[float]] = field(default_factory=dict)
    failed_on: dict[int, set[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        counted = set[tuple[tuple[int, int], float | None]]()
        self.done = {node: list(starts) for node, starts in (self.others_done or {}).items()}
        for one in self.trials:
            self.now = max(self.now, one.started_at, one.ended_at or 0)
            if one.outcome is Outcome.FAILED:
                # What ends together in one task has one cause, and counts once.
                if (one.task, one.ended_at) in counted:
                    continue
                counted.add((one.task, one.ended_at))
            if one.outcome in _BAD:
                self.failed_on.setdefault(one.row, set()).add(one.node)
            if one.outcome is Outcome.DONE:
                self.done.setdefault(one.node, []).append(one.started_at)
            else:
                self.by_node.setdefault(one.node, []).append(one)
        for starts in self.done.values():
            starts.sort()
        several = {row for row, nodes in self.failed_on.items() if len(nodes) > 1}
        self.failed_on_several: set[int] = several
        """Slices that failed on several nodes: that is evidence about the slice."""

    def lost_nodes(self, excluded: Collection[str]) -> Iterator[Suspicion]:
        """Find the nodes that failed themselves, and on which no slice was done since then."""
        for node, trials in self.by_node.items():
            lost = [one for one in trials if one.outcome in {Outcome.NODE, Outcome.BOOT}]
            last = max(lost, key=lambda one: one.started_at, default=None)
            if last is None or node in excluded or last.started_at < self.cleared.get(node, 0):
                continue
            if self._last_done(node) <= last.started_at:
                rows = len({one.row for one in lost})
                yield Suspicion(node, str(last.outcome), last.started_at, rows)

    def done_since(self, node: str, when: float) -> int:
        """Count the attempts on a node that began at this time or later, and are done."""
        starts = self.done.get(node, [])
        return len(starts) - bisect_left(starts, when)

    def _last_done(self, node: str) -> float:
        return self.done[node][-1] if node in self.done else -math.inf

    def most_suspect(self, excluded: Collection[str]) -> Suspicion | None:
        """Return the node with the strongest evidence; None if no evidence is strong enough."""
        found = (
            suspicion
            for node in self.by_node
            if node not in excluded and (suspicion := self._suspicion(node, excluded))
        )
        return min(found, key=lambda one: one.p, default=None)

    def _suspicion(self, node: str, excluded: Collection[str]) -> Suspicion | None:
        window = self._window(node)
        if window is None:
            return None
        nodes = self.by_node.keys() | self.done.keys()
        others = [name for name in nodes if name != node and name not in excluded]
        known = set(others)
        bad = sum(
            not nodes.isdisjoint(known)
            for row, nodes in self.failed_on.items()
            if row not in self.failed_on_several
        )
        good = sum(len(self.done.get(name, ())) for name in others)
        good += sum(1 for name in others for _ in self._alive(name, window.lives_s))
        failed = len(window.failed)
        p = chance(failed, window.undecided, bad, good)
        p = min(1.0, p * len(nodes) * window.number * (window.number + 1))
        if p >= LEVEL or self._fail_too(others, window):
            return None
        return Suspicion(node, "failures", window.since, failed, bad, good, p)

    def _alive(self, node: str, lives_s: float) -> Iterator[Trial]:
        """Iterate over the slices on a node that run for longer than that."""
        for one in self.by_node.get(node, ()):
            if one.outcome is Outcome.RUNNING and self.now - one.started_at > lives_s:
                yield one

    def _window(self, node: str) -> _Window | None:
        """Return what failed on a node since a slice last did well there; None if too little."""
        trials, released_at = self.by_node[node], self.cleared.get(node, 0.0)
        failed = [
            one
            for one in trials
            if one.outcome is Outcome.FAILED and one.row not in self.failed_on_several
        ]
        number, last_good = 1 + len(self.done.get(node, ())), self._last_done(node)
        while True:
            failed = [
                one
                for one in failed
                if one.started_at > last_good and one.started_at >= released_at
            ]
            if not _suffice(failed):
                return None
            lives_s = _MARGIN_S + max(_age(one) for one in failed)
            alive = [one.started_at for one in self._alive(node, lives_s)]
            newest = max(alive, default=-math.inf)
            if newest <= last_good:
                break
            last_good, number = newest, number + len(alive)
        since = min(one.started_at for one in failed)
        undecided = sum(
            one.outcome in {Outcome.RUNNING, Outcome.UNDECIDED} and one.started_at >= since
            for one in trials
        )
        return _Window({one.row for one in failed}, undecided, since, lives_s, number)

    def _fail_too(self, others: Sequence[str], window: _Window) -> bool:
        """Tell if other nodes fail as this one does, by what began there beside its failures.

        A node on which nothing began since then does well if its slices live on. Nodes are
        counted, not slices: another bad node has many failures too.
        """
        ill = well = 0
        for name in others:
            alive = list(self._alive(name, window.lives_s))
            bad = sum(
                one.outcome in _BAD and one.started_at >= window.since
                for one in self.by_node.get(name, ())
            )
            good = self.done_since(name, window.since)
            good += sum(one.started_at >= window.since for one in alive)
            ill += bad > good
            well += good > bad or (not bad and bool(alive))
        return ill >= max(1, well)


def _age(trial: Trial) -> float:
    return (trial.started_at if trial.ended_at is None else trial.ended_at) - trial.started_at


def _suffice(failed: Sequence[Trial]) -> bool:
    """Tell if there are enough failures, of several tasks."""
    tasks = {one.task for one in failed}
    return len({one.row for one in failed}) >= FEWEST_FAILURES and len(tasks) >= _FEWEST_TASKS
