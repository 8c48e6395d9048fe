"""The distribution of the durations of slices, from ended and running ones. Pure. ADR 46."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean, pstdev
from typing import Protocol

_SHORTEST_S = 1e-3
_LEAST_LIVES = 5
"""The Kaplan-Meier estimate holds as far as so many slices lived."""

_NORMAL = NormalDist()


class Tail(Protocol):
    """A distribution of the logarithms of durations."""

    def survival(self, log: float) -> float:
        """Return the share that lasts longer."""

    def quantile(self, share: float) -> float:
        """Return the logarithm of the duration that this share exceeds."""

    def likelihood(self, ended: Sequence[float], running: Sequence[float]) -> float:
        """Return the logarithm of the likelihood of ended and running slices."""


@dataclass(frozen=True, slots=True)
class LogNormal:
    """Durations whose logarithms are normal."""

    mean: float
    deviation: float

    @classmethod
    def fit(cls, ended: Sequence[float], running: Sequence[float]) -> LogNormal:
        """Fit it by expectation and maximization, with the running slices as censored."""
        mean, deviation = fmean(ended), max(pstdev(ended), _SHORTEST_S)
        known, squares, number = sum(ended), sum(x * x for x in ended), len(ended) + len(running)
        for _ in range(30):
            first, second = known, squares
            for age in running:
                more = deviation * _hazard((age - mean) / deviation)
                first += mean + more
                second += mean * mean + deviation * deviation + more * (age + mean)
            before, mean = mean, first / number
            deviation = math.sqrt(max(second / number - mean * mean, _SHORTEST_S**2))
            if abs(mean - before) < 1e-4:
                break
        return cls(mean, deviation)

    def survival(self, log: float) -> float:
        """Return the share that lasts longer."""
        return _NORMAL.cdf((self.mean - log) / self.deviation)

    def quantile(self, share: float) -> float:
        """Return the logarithm of the duration that this share exceeds."""
        return self.mean - self.deviation * _NORMAL.inv_cdf(share)

    def likelihood(self, ended: Sequence[float], running: Sequence[float]) -> float:
        """Return the logarithm of the likelihood of ended and running slices."""
        constant = math.log(self.deviation) + math.log(2 * math.pi) / 2
        scores = ((x - self.mean) / self.deviation for x in ended)
        return sum(-z * z / 2 - constant for z in scores) + _censored(self, running)


@dataclass(frozen=True, slots=True)
class Weibull:
    """Durations of Weibull's form; ``scale`` is a logarithm."""

    shape: float
    scale: float

    @classmethod
    def fit(cls, ended: Sequence[float], running: Sequence[float]) -> Weibull:
        """Fit it by maximum likelihood: bisect the shape's equation."""
        every, highest, mean = [*ended, *running], max([*ended, *running]), fmean(ended)
        low, high = 0.05, 50.0
        for _ in range(30):
            shape = math.sqrt(low * high)
            weights = [math.exp(shape * (x - highest)) for x in every]
            weighted = sum(w * x for w, x in zip(weights, every, strict=True)) / sum(weights)
            low, high = (low, shape) if weighted - 1 / shape > mean else (shape, high)
        shape = math.sqrt(low * high)
        total = sum(math.exp(shape * (x - highest)) for x in every)
        return cls(shape, highest + math.log(total / len(ended)) / shape)

    def survival(self, log: float) -> float:
        """Return the share that lasts longer."""
        return math.exp(-math.exp(min(50.0, self.shape * (log - self.scale))))

    def quantile(self, share: float) -> float:
        """Return the logarithm of the duration that this share exceeds."""
        return self.scale + math.log(-math.log(share)) / self.shape

    def likelihood(self, ended: Sequence[float], running: Sequence[float]) -> float:
        """Return the logarithm of the likelihood of ended and running slices."""
        scores = (min(50.0, self.shape * (x - self.scale)) for x in ended)
        density = sum(math.log(self.shape) + z - math.exp(z) for z in scores)
        return density + _censored(self, running)


def _censored(tail: Tail, running: Sequence[float]) -> float:
    return sum(math.log(max(tail.survival(age), 1e-300)) for age in running)


def _hazard(score: float) -> float:
    """Return the normal density divided by the share above; for large scores, its limit."""
    above = _NORMAL.cdf(-score)
    return _NORMAL.pdf(score) / above if above > 1e-12 else score


class Durations:
    """The durations of slices: the Kaplan-Meier estimate, and a fitted tail beyond it.

    Args:
        ended: the durations of ended slices, seconds; at least one.
        ages: the times for which the others run already, seconds.
    """

    def __init__(self, ended: Sequence[float], ages: Sequence[float]) -> None:
        self._times, self._shares = _kaplan_meier(ended, ages)
        logs, running = ([math.log(max(t, _SHORTEST_S)) for t in some] for some in (ended, ages))
        fitted: list[Tail] = [one.fit(logs, running) for one in (LogNormal, Weibull)]
        self._tail = max(fitted, key=lambda one: one.likelihood(logs, running))
        self._edge = self._times[-1] if self._times else 0.0
        self._rest = self._shares[-1] if self._shares else 1.0
        self._above = self._tail.survival(math.log(self._edge)) if self._edge else 1.0

    def survival(self, seconds: float) -> float:
        """Return the share of slices that take longer."""
        if seconds < self._edge:
            at = bisect_right(self._times, seconds) - 1
            return self._shares[at] if at >= 0 else 1.0
        if self._above < 1e-9:
            return 0.0
        return self._rest * self._tail.survival(math.log(max(seconds, _SHORTEST_S))) / self._above

    def quantile(self, share: float) -> float:
        """Return the duration that this share of slices exceeds, seconds."""
        if self._times and share >= self._rest:
            at = next(n for n, one in enumerate(self._shares) if one <= share)
            return self._times[at]
        if self._above < 1e-9:
            return self._edge
        beyond = min(max(share / self._rest * self._above, 1e-12), 1 - 1e-12)
        return max(self._edge, math.exp(min(self._tail.quantile(beyond), 50.0)))


def _kaplan_meier(ended: Sequence[float], ages: Sequence[float]) -> tuple[list[float], list[float]]:
    """Return times, and the share of slices that take longer than each, as far as is reliable."""
    every = sorted([*((t, True) for t in ended), *((t, False) for t in ages)])
    last = every[-_LEAST_LIVES][0] if len(every) > _LEAST_LIVES else 0.0
    times, shares, share = list[float](), list[float](), 1.0
    for at, (time, ends) in enumerate(every):
        if time > last:
            break
        if ends and time > 0:
            share *= 1 - 1 / (len(every) - at)
            if times and times[-1] == time:
                shares[-1] = share
            else:
                times.append(time)
                shares.append(share)
    return times, shares
