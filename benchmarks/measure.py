"""Measurements of programs that run alternately, and the lines that report them."""

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
    """A benchmark gave no figure. The text gives the reason."""


class MissingError(NotMeasuredError):
    """This machine lacks a program or a cluster that the benchmark needs. That is no failure."""


@dataclass(frozen=True, slots=True)
class Spent:
    """The time and memory of a program.

    Attributes:
        seconds: wall-clock time from its start to its end.
        mib: the peak of memory of its largest process, MiB (getrusage(2), ru_maxrss).
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
        cwd: its working directory.
        env: variables in addition to those of this process. Without PYTHONDONTWRITEBYTECODE, so
            that slurmslice runs as it does after an installation.
        stdin: the file for its standard input.
        exits: the exit codes that count as success.

    Raises:
        NotMeasuredError: it failed; the text has the end of its output.
    """
    inherited = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    with tempfile.TemporaryFile() as said, stdin.open("rb") as text:
        began = time.perf_counter()
        program = subprocess.Popen(
            argv, cwd=cwd, env=inherited | dict(env or {}), stdin=text, stdout=said, stderr=said
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
    """Return the medians of several rounds. Each program runs once per round.

    They run alternately, so that other load on the machine slows all of them equally.
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
    """One line of the results.

    Attributes:
        what: the measured quantity.
        ours, rival: the figures, with their units; ``rival`` is empty if there is none.
        ratio: the ratio of the two, in the direction of the bar.
        bar: the target; empty if there is none.
        met: True if the target is met; None if there is no target.
    """

    what: str
    ours: str
    rival: str = ""
    ratio: float | None = None
    bar: str = ""
    met: bool | None = None


def figure(what: str, ours: str, rival: str = "") -> Line:
    """Return a line without a target."""
    return Line(what, ours, rival)


def at_most(what: str, value: float, unit: str, most: float) -> Line:
    """Return a line whose target is a maximum."""
    return Line(what, f"{value:.3g} {unit}", bar=f"at most {most:g} {unit}", met=value <= most)


def within(what: str, ours: Spent, name: str, rival: Spent, most: float) -> Line:
    """Return a line with this target: ours takes at most so many times as long as the rival."""
    ratio = ours.seconds / rival.seconds
    bar = f"at most {most:g} times as long"
    return Line(what, _s(ours), f"{name} {_s(rival)}", ratio, bar, ratio <= most)


def faster(what: str, ours: Spent, name: str, rival: Spent, least: float) -> Line:
    """Return a line with this target: ours is at least so many times as fast as the rival."""
    ratio = rival.seconds / ours.seconds
    bar = f"at least {least:g} times as fast"
    return Line(what, _s(ours), f"{name} {_s(rival)}", ratio, bar, ratio >= least)


def memory(what: str, ours: Spent, most: float | None = None) -> Line:
    """Return a line for the peak of memory, MiB, with its target."""
    return at_most(what, ours.mib, "MiB", most) if most else figure(what, f"{ours.mib:.0f} MiB")


def _s(spent: Spent) -> str:
    return f"{spent.seconds:.3g} s" if spent.seconds >= 0.1 else f"{spent.seconds * 1000:.3g} ms"
