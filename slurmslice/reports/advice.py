"""Advice on requests, from what slices used. Pure. ADR 44 gives the reasons of the rules."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from slurmslice.sbatch.units import format_memory, format_time, round_up_memory

LEAST_SLICES = 3
_MARGIN, _CPU_MARGIN, _LEAST_CHANGE, _LEAST_SHARE = 1.25, 1.2, 0.2, 0.9
_LEAST_MIB, _LEAST_TIME_S = 100, 300


@dataclass(frozen=True, slots=True)
class Advice:
    """The advice on one option.

    Attributes:
        option: the sbatch option: ``mem``, ``time`` or ``cpus-per-task``.
        value: the value to ask for; empty if the request should stay, or there is no evidence.
        reason: the reason, for a person.
        enough: there is enough evidence.
        amount: the value as a number, in MiB, seconds or CPUs; 0 without one.
    """

    option: str
    value: str
    reason: str
    enough: bool = True
    amount: float = 0

    def __str__(self) -> str:
        if self.value:
            return f"--{self.option}={self.value}: {self.reason}"
        return f"--{self.option}: {self.reason if self.enough else f'not enough {self.reason}'}"


@dataclass(frozen=True, slots=True)
class Evidence:
    """The use of one resource by slices, in MiB, seconds or CPUs.

    Attributes:
        done: the number of slices that are done.
        used: the reliable figures of these.
        requested: the present request; None if not known.
        floors: requests that attempts exceeded; each slice was done afterwards.
        exceeded: the number of slices that exceeded their request and are not done since.
        floor_only: figures of too few measurements; the true ones may be larger.
        above_limit: the number of slices with a figure above their limit.
    """

    done: int
    used: Sequence[float]
    requested: float | None
    floors: Sequence[float] = ()
    exceeded: int = 0
    floor_only: Sequence[float] = ()
    above_limit: int = 0


def _no_evidence(found: Evidence) -> str:
    """Return the reason why no number can be given; empty if one can."""
    if found.exceeded:
        return f"evidence: {found.exceeded} exceeded the request and are not done since"
    if found.done < LEAST_SLICES:
        return f"evidence: {found.done} done, at least {LEAST_SLICES} are needed"
    if found.above_limit:
        return f"evidence: the peaks of {found.above_limit} are above their limit, so not true"
    missing = found.done - len(found.used)
    if len(found.used) < max(LEAST_SLICES, _LEAST_SHARE * found.done):
        return f"evidence: {missing} of {found.done} were not measured three times (too short?)"
    return ""


def advise_memory(found: Evidence) -> Advice:
    """Advise on the memory of a slice; all figures are MiB."""
    return _advise("mem", found, lambda mib: max(_LEAST_MIB, _memory_above(mib)),
                   lambda mib: format_memory(round(mib)), _memory_below)  # fmt: skip


def advise_time(found: Evidence) -> Advice:
    """Advise on the time limit of a slice; all figures are seconds."""
    return _advise("time", found, lambda s: max(_LEAST_TIME_S, _time_above(s)),
                   lambda s: format_time(round(s)), lambda s: _time_step(s) * (
                       math.ceil(s / _time_step(s)) - 1))  # fmt: skip


def _advise(
    option: str,
    found: Evidence,
    above: Callable[[float], float],
    text: Callable[[float], str],
    below: Callable[[float], float],
) -> Advice:
    """Advise on an option; ``above`` and ``below`` return the next amounts that people write."""
    if reason := _no_evidence(found):
        return Advice(option, "", reason, enough=False)
    largest = max((*found.used, *found.floors, *found.floor_only))
    wanted, had = above(largest * _MARGIN), found.requested
    kept = f"keep {text(had or 0)}; the largest of {found.done} slices used {text(largest)}"
    if had and (
        wanted > had >= largest * _MARGIN / (1 + _LEAST_CHANGE)
        or abs(wanted - had) < _LEAST_CHANGE * had
    ):
        return Advice(option, "", kept)
    reason = f"all {found.done} slices fit; largest {text(largest)} + 25 %"
    lower = below(largest)
    failed = sum(one > lower for one in (*found.used, *found.floors))
    if lower > 0 and failed:
        reason += f"; at {text(lower)} {failed} would have failed"
    return Advice(option, text(wanted), reason, amount=wanted)


def advise_cpus(found: Evidence, times_s: Sequence[float], least_s: float) -> Advice:
    """Advise on the CPUs of a slice.

    Args:
        found: the average number of CPUs that each slice used.
        times_s: the duration of each.
        least_s: a shorter slice says nothing, seconds.
    """
    option, had = "cpus-per-task", found.requested or 1
    long = [n for n, s in zip(found.used, times_s, strict=True) if s >= least_s]
    if found.done < LEAST_SLICES or len(long) < max(LEAST_SLICES, _LEAST_SHARE * found.done):
        words = f"evidence: {found.done - len(long)} of {found.done} are too short, or not measured"
        return Advice(option, "", words, enough=False)
    most = max(long)
    wanted = 1 if most <= 1.1 else math.ceil(most * _CPU_MARGIN)
    if wanted >= had or had - wanted < _LEAST_CHANGE * had:
        return Advice(option, "", f"keep {had:.0f}; the busiest slice used {most:.1f}")
    slower = 1 + max(0.0, most - 1) / (had - 1) * (had / wanted - 1)
    reason = f"the busiest slice used {most:.1f} of {had:.0f}; at worst it takes {slower:.1f} times"
    return Advice(option, str(wanted), f"{reason} as long", amount=wanted)


def _memory_above(mib: float) -> int:
    """Return the next amount that people write; finer than a repair's step, which is a guess."""
    return 50 * math.ceil(mib / 50) if mib <= 1000 else round_up_memory(math.ceil(mib))


def _memory_below(mib: float) -> int:
    step = 1024 if mib > 1024 else 50
    return step * (math.ceil(mib / step) - 1)


def _time_step(seconds: float) -> int:
    return 300 if seconds <= 3600 else 900 if seconds <= 6 * 3600 else 3600


def _time_above(seconds: float) -> int:
    step = _time_step(seconds)
    return step * math.ceil(seconds / step)
