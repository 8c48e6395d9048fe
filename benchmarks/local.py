"""The local engine: a thousand slices of ``/bin/true``, two at a time, with logs and states.

Its rivals are given two at a time as well, so slurmslice is told ``%2`` and looks at nobody's
load. ``parallel`` keeps a record of the jobs; ``xargs`` keeps nothing.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measure import (
    SLURMSLICE,
    Line,
    Spent,
    faster,
    figure,
    side_by_side,
    spend,
    within,
)
from benchmarks.rivals import gnu_parallel
from benchmarks.size import Size


def measure(size: Size) -> Iterator[Line]:
    """One slice a task against ``parallel``, packed by 50 against ``xargs``."""
    place, tasks, rounds = size.folder / "local", size.pick(1000, 120), size.pick(7, 1)
    place.mkdir(exist_ok=True)
    numbers = place / "numbers"
    numbers.write_text("".join(f"{number}\n" for number in range(tasks)))
    parallel = gnu_parallel()

    def recorded() -> Spent:
        (place / "joblog").unlink(missing_ok=True)
        argv = (parallel, "--will-cite", "-j2", "--joblog", "joblog", "/bin/true", "{}")
        return spend(argv, cwd=place, stdin=numbers)

    def bare() -> Spent:
        return spend(("xargs", "-P2", "-n1", "/bin/true"), cwd=place, stdin=numbers)

    single, theirs, rival = side_by_side(lambda: _run(place, tasks), recorded, bare, rounds=rounds)
    yield faster(f"{tasks} × /bin/true here, a slice a task", single, "parallel", theirs, 1.5)
    yield figure("  the same, bare", "", f"xargs {rival.seconds:.3g} s")
    packed, rival = side_by_side(lambda: _run(place, tasks, "--pack", "50"), bare, rounds=rounds)
    yield within(f"{tasks} × /bin/true here, packed by 50", packed, "xargs", rival, 1.5)


def _run(place: Path, tasks: int, *options: str) -> Spent:
    shutil.rmtree(place / "slurmslice-runs", ignore_errors=True)
    array = ("-a", f"0-{tasks - 1}%2")
    argv = (*SLURMSLICE, "run", "--engine", "local", *array, *options, "--", "/bin/true", "{}")
    return spend(argv, cwd=place)
