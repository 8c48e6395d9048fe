"""How long a command takes that does nothing, against importing what it cannot do without."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from benchmarks.measure import SLURMSLICE, WORK, Line, Spent, side_by_side, spend, within

ROUNDS = 25


def measure() -> Iterator[Line]:
    """``--version`` and ``--help`` against ``python -c "import click"``."""

    def click() -> Spent:
        return spend((sys.executable, "-c", "import click"), cwd=WORK)

    def version() -> Spent:
        return spend((*SLURMSLICE, "--version"), cwd=WORK)

    def usage() -> Spent:
        return spend((*SLURMSLICE, "--help"), cwd=WORK)

    rival, ours, text = side_by_side(click, version, usage, rounds=ROUNDS)
    yield within("slurmslice --version", ours, "click", rival, 1.6)
    yield within("slurmslice --help", text, "click", rival, 2)
