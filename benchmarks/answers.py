"""Parsing sacct's answer, compared with only splitting its lines.

``python -m benchmarks.answers KIND FILE ROWS`` runs one of the two and prints its seconds.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks import paper
from benchmarks.measure import (
    REPOSITORY,
    Line,
    Spent,
    figure,
    memory,
    side_by_side,
    within,
)
from benchmarks.size import Size
from slurmslice.engines.slurm import commands
from slurmslice.engines.slurm.job_records import parse_accounting_reports

_ARRAY = 1001


def measure(size: Size) -> Iterator[Line]:
    """Measure the parsing of an answer of a million rows, in arrays of 1001 tasks."""
    slices = size.pick(1_000_000, 2_500)
    path = size.folder / f"sacct-{slices}.txt"
    if not path.exists():
        with path.open("w") as answer:
            answer.writelines(f"{row}\n" for row in _rows(slices))

    def split() -> Spent:
        return _child("split", path, slices)

    def parse() -> Spent:
        return _child("parse", path, slices)

    def read() -> Spent:
        return _child("read", path, slices)

    rival, ours, each = side_by_side(split, parse, read, rounds=size.pick(5, 1))
    yield within(f"an answer of sacct, {slices:,} rows", ours, "split", rival, 3)
    yield memory("  its peak of memory", ours)
    yield figure("  and every report looked at", f"{each.seconds:.3g} s")


def _rows(slices: int) -> Iterator[str]:
    for job, name in _names(slices).items():
        first = (int(job) - 5001) * _ARRAY
        indices = range(min(_ARRAY, slices - first))
        yield from paper.rows(job, name, indices, commands.TASK_FIELDS)


def _names(slices: int) -> dict[str, str]:
    return {str(5001 + n): f"work-{n:08x}" for n in range(-(-slices // _ARRAY))}


def _child(kind: str, path: Path, slices: int) -> Spent:
    """Run one of the two in its own process. Its seconds do not include Python's start."""
    argv = (sys.executable, "-m", "benchmarks.answers", kind, str(path), str(slices))
    done = subprocess.run(argv, cwd=REPOSITORY, check=True, capture_output=True, text=True)
    seconds, mib = map(float, done.stdout.split())
    return Spent(seconds, mib)


def _contend(kind: str, path: Path, slices: int) -> None:
    began = time.perf_counter()
    with path.open() as answer:
        if kind == "split":
            for line in answer:
                line.split("|")
        else:
            reports = parse_accounting_reports(answer.read(), _names(slices))
            for _ in reports.values() if kind == "read" else ():
                pass
    seconds = time.perf_counter() - began
    print(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


if __name__ == "__main__":
    _contend(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
