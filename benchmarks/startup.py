"""The start time of a command that does nothing, compared with the import of click."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from benchmarks.measure import SLURMSLICE, Line, Spent, side_by_side, spend, within
from benchmarks.size import Size


def measure(size: Size) -> Iterator[Line]:
    """Measure ``--version`` and ``--help`` against ``python -c "import click"``."""

    def click() -> Spent:
        return spend((sys.executable, "-c", "import click"), cwd=size.folder)

    def version() -> Spent:
        return spend((*SLURMSLICE, "--version"), cwd=size.folder)

    def usage() -> Spent:
        return spend((*SLURMSLICE, "--help"), cwd=size.folder)

    rival, ours, text = side_by_side(click, version, usage, rounds=size.pick(25, 1))
    yield within("slurmslice --version", ours, "click", rival, 1.6)
    yield within("slurmslice --help", text, "click", rival, 2)
