"""The local engine: a thousand slices of ``/bin/true``, two at a time, with logs and states.

The rivals also run two at a time. So slurmslice gets the throttle ``%2``, and does not consider the
load of other users. ``parallel`` keeps a record of the jobs; ``xargs`` keeps nothing. Each round
uses a new folder, and files are removed only at the end. After thousands of files were deleted,
ext4 creates files 40 times more slowly, and the rivals create none.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from benchmarks.measure import (
    SLURMSLICE,
    Line,
    Spent,
    faster,
    side_by_side,
    spend,
    within,
)
from benchmarks.rivals import gnu_parallel
from benchmarks.size import Size


def measure(size: Size) -> Iterator[Line]:
    """Measure one slice per task and packs of 50, against ``parallel`` and ``xargs``."""
    place, tasks, rounds = size.folder / "local", size.pick(1000, 120), size.pick(7, 1)
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    numbers = place / "numbers"
    numbers.write_text("".join(f"{number}\n" for number in range(tasks)))
    parallel, folders = gnu_parallel(), count()

    def here() -> Path:
        folder = place / f"round-{next(folders)}"
        folder.mkdir()
        return folder

    def recorded() -> Spent:
        argv = (parallel, "--will-cite", "-j2", "--joblog", "joblog", "/bin/true", "{}")
        return spend(argv, cwd=here(), stdin=numbers)

    def bare() -> Spent:
        return spend(("xargs", "-P2", "-n1", "/bin/true"), cwd=here(), stdin=numbers)

    single, packed, theirs, rival = side_by_side(
        lambda: _run(here(), tasks),
        lambda: _run(here(), tasks, "--pack", "50"),
        recorded,
        bare,
        rounds=rounds,
    )
    what = f"{tasks} × /bin/true here"
    yield faster(f"{what}, a slice a task", single, "parallel", theirs, 2.2)
    yield within(f"{what}, a slice a task", single, "xargs", rival, 2.5)
    yield within(f"{what}, packed by 50", packed, "xargs", rival, 2.4)
    shutil.rmtree(place, ignore_errors=True)


def _run(folder: Path, tasks: int, *options: str) -> Spent:
    array = ("-a", f"0-{tasks - 1}%2")
    argv = (*SLURMSLICE, "run", "--engine", "local", *array, *options, "--", "/bin/true", "{}")
    return spend(argv, cwd=folder)
