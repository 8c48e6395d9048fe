"""``status`` of a run of a million slices, all of which have ended and are recorded."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

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

_ENDED = (0, 1)
"""What ``status --exit-code`` says of a run in which nothing is in flight and nothing waits."""


def measure(size: Size) -> Iterator[Line]:
    """Measure the counts as text and as JSON."""
    place, slices = size.folder / "status", size.pick(1_000_000, 2_500)
    env = {"PATH": f"{paper.programs(place / 'bin')}:{os.environ['PATH']}"}
    name = f"of-{slices}"
    _recorded(place, name, slices, env)

    def status() -> Spent:
        return spend((*SLURMSLICE, "status", name, "--exit-code"), cwd=place, env=env, exits=_ENDED)

    (spent,) = side_by_side(status, rounds=size.pick(5, 1))
    yield at_most(f"status of {slices:,} recorded states", spent.seconds, "s", 3)
    yield memory("  its peak of memory", spent)


def _recorded(place: Path, name: str, slices: int, env: dict[str, str]) -> None:
    """Make the run with slurmslice on a simulated cluster. That takes a few minutes once."""
    made, marker = place / "slurmslice-runs" / name, place / f"{name}.recorded"
    if marker.exists():
        return
    shutil.rmtree(made, ignore_errors=True)
    (place / "bin" / "calls").unlink(missing_ok=True)
    table = ("-a", f"0-{slices - 1}", "--name", name, "--engine", "slurm")
    spend((*SLURMSLICE, "render", *table, "--", "./work", "{}"), cwd=place, env=env)
    spend((*SLURMSLICE, "submit", name), cwd=place, env=env)
    status = (*SLURMSLICE, "status", name, "--exit-code")
    spend(status, cwd=place, env=env, exits=_ENDED)
    marker.touch()
