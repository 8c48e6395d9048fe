"""What the benchmarks share: programs run side by side, and the lines that tell of them."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
WORK = REPOSITORY / "build" / "bench"
"""Where the benchmarks keep what they make; ``make clean`` removes it."""

SLURMSLICE = (sys.executable, "-m", "slurmslice")


class NotMeasuredError(Exception):
    """A benchmark gave no figure; the text says why."""


class MissingError(NotMeasuredError):
    """This machine lacks a program or a cluster that the benchmark needs. That is no failure."""


@dataclass(frozen=True, slots=True)
class Spent:
    """What a program took.

    Attributes:
        seconds: of wall clock, from its start to its end.
        mib: MiB, the most that any one of its processes held (getrusage(2), ru_maxrss).
    """

    seconds: float
    mib: float


def spend(
    argv: Sequence[str | Path],
    *,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    stdin: Path = Path(os.devnull),
    exits: Sequence[int] = (0,),
) -> Spent:
    """Run a program to its end.

    Args:
        argv: the program and its arguments.
        cwd: where it runs.
        env: variables beside those of this process.
        stdin: the file that it reads.
        exits: the exit codes that are no failure.

    Raises:
        NotMeasured: it failed; the text has the end of what it said.
    """
    with tempfile.TemporaryFile() as said, stdin.open("rb") as text:
        began = time.perf_counter()
        program = subprocess.Popen(
            argv, cwd=cwd, env={**os.environ, **(env or {})}, stdin=text, stdout=said, stderr=said
        )
        _, status, usage = os.wait4(program.pid, 0)
        seconds = time.perf_counter() - began
        program.returncode = os.waitstatus_to_exitcode(status)
        if program.returncode not in exits:
            said.seek(0)
            words = " ".join(map(str, argv))
            end = said.read().decode(errors="replace")[-500:].strip()
            raise NotMeasuredError(f"`{words}` ended with {program.returncode}: {end}")
    return Spent(seconds, usage.ru_maxrss / 1024)


def side_by_side(*contenders: Callable[[], Spent], rounds: int) -> list[Spent]:
    """The medians of several rounds, each contender once a round.

    In turn, so that a machine that grows busy slows all of them alike.
    """
    rows = [[contender() for contender in contenders] for _ in range(rounds)]
    return [
        Spent(
            statistics.median(spent.seconds for spent in column),
            statistics.median(spent.mib for spent in column),
        )
        for column in zip(*rows, strict=True)
    ]


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that was measured.

    Attributes:
        what: what it is.
        ours, rival: the figures, with their units; ``rival`` is empty where there is none.
        ratio: of the two, in the direction that the bar speaks of.
        bar: what is promised; empty where nothing is.
        met: whether it is kept; None where nothing is promised.
    """

    what: str
    ours: str
    rival: str = ""
    ratio: float | None = None
    bar: str = ""
    met: bool | None = None


def figure(what: str, ours: str, rival: str = "") -> Line:
    """A figure of which nothing is promised."""
    return Line(what, ours, rival)


def at_most(what: str, value: float, unit: str, most: float) -> Line:
    """A figure that is promised not to be higher."""
    return Line(what, f"{value:.3g} {unit}", bar=f"at most {most:g} {unit}", met=value <= most)


def within(what: str, ours: Spent, name: str, rival: Spent, most: float) -> Line:
    """Ours takes at most so many times as long as the rival."""
    ratio = ours.seconds / rival.seconds
    bar = f"at most {most:g} times as long"
    return Line(what, _s(ours), f"{name} {_s(rival)}", ratio, bar, ratio <= most)


def faster(what: str, ours: Spent, name: str, rival: Spent, least: float) -> Line:
    """Ours is at least so many times as fast as the rival."""
    ratio = rival.seconds / ours.seconds
    bar = f"at least {least:g} times as fast"
    return Line(what, _s(ours), f"{name} {_s(rival)}", ratio, bar, ratio >= least)


def memory(what: str, ours: Spent, most: float | None = None) -> Line:
    """The peak of memory, MiB, and what is promised of it."""
    return at_most(what, ours.mib, "MiB", most) if most else figure(what, f"{ours.mib:.0f} MiB")


def _s(spent: Spent) -> str:
    return f"{spent.seconds:.3g} s" if spent.seconds >= 0.1 else f"{spent.seconds * 1000:.3g} ms"
