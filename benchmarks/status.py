"""``status`` of a run of a million slices, all of which have ended and are recorded."""

from __future__ import annotations

import os
from collections.abc import Iterator

from benchmarks import paper
from benchmarks.measure import (
    SLURMSLICE,
    Line,
    Spent,
    at_most,
    memory,
    side_by_side,
    spend,
)
from benchmarks.size import Size


def measure(size: Size) -> Iterator[Line]:
    """Measure the counts as text and as JSON."""
    place, slices = size.folder / "status", size.pick(1_000_000, 2_500)
    env = {"PATH": f"{paper.programs(place / 'bin')}:{os.environ['PATH']}"}
    name = paper.recorded_run(place, slices, env)

    def status() -> Spent:
        return spend(
            (*SLURMSLICE, "status", name, "--exit-code"), cwd=place, env=env, exits=paper.ENDED
        )

    (spent,) = side_by_side(status, rounds=size.pick(5, 1))
    yield at_most(f"status of {slices:,} recorded states", spent.seconds, "s", 3)
    yield memory("  its peak of memory", spent)
