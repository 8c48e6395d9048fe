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
    WORK,
    Line,
    Spent,
    faster,
    figure,
    side_by_side,
    spend,
    within,
)
from benchmarks.rivals import gnu_parallel

ROUNDS = 7
TASKS = 1000


def measure() -> Iterator[Line]:
    """One slice a task against ``parallel``, packed by 50 against ``xargs``."""
    place = WORK / "local"
    place.mkdir(exist_ok=True)
    numbers = place / "numbers"
    numbers.write_text("".join(f"{number}\n" for number in range(TASKS)))
    parallel = gnu_parallel()

    def recorded() -> Spent:
        (place / "joblog").unlink(missing_ok=True)
        argv = (parallel, "--will-cite", "-j2", "--joblog", "joblog", "/bin/true", "{}")
        return spend(argv, cwd=place, stdin=numbers)

    def bare() -> Spent:
        return spend(("xargs", "-P2", "-n1", "/bin/true"), cwd=place, stdin=numbers)

    single, theirs, rival = side_by_side(lambda: _run(place), recorded, bare, rounds=ROUNDS)
    yield faster(f"{TASKS} × /bin/true here, a slice a task", single, "parallel", theirs, 1.5)
    yield figure("  the same, bare", "", f"xargs {rival.seconds:.3g} s")
    packed, rival = side_by_side(lambda: _run(place, "--pack", "50"), bare, rounds=ROUNDS)
    yield within(f"{TASKS} × /bin/true here, packed by 50", packed, "xargs", rival, 1.5)


def _run(place: Path, *options: str) -> Spent:
    shutil.rmtree(place / "slurmslice-runs", ignore_errors=True)
    array = ("-a", f"0-{TASKS - 1}%2")
    argv = (*SLURMSLICE, "run", "--engine", "local", *array, *options, "--", "/bin/true", "{}")
    return spend(argv, cwd=place)
