"""Making a run directory of a million slices, compared with ``slurmgrid submit --dry-run``.

Both use the same file and the same simulated cluster, whose arrays hold 1001 tasks.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from benchmarks import paper, rivals
from benchmarks.measure import (
    SLURMSLICE,
    Line,
    Spent,
    faster,
    figure,
    memory,
    side_by_side,
    spend,
)
from benchmarks.size import Size


def measure(size: Size) -> Iterator[Line]:
    """Measure a CSV of one column, a CSV of three with a computed one, and a packed range."""
    slices, rounds = size.pick(1_000_000, 2_500), size.pick(5, 1)
    place = size.folder / "render"
    place.mkdir(exist_ok=True)
    env = {"PATH": f"{paper.programs(place / 'bin')}:{os.environ['PATH']}"}
    one, three = _one_column(place, slices), _three_columns(place, slices)
    grid, state = rivals.slurmgrid(), place / "slurmgrid"
    work = "./work {key}"

    def rival() -> Spent:
        shutil.rmtree(state, ignore_errors=True)
        argv = (grid, "submit", "--manifest", one, "--command", work, "--state-dir", state)
        return spend((*argv, "--dry-run"), cwd=place, env=env)

    def render(*options: str) -> Spent:
        shutil.rmtree(place / "runs", ignore_errors=True)
        argv = (*SLURMSLICE, "render", "--engine", "slurm", "--name", "work", "--run-dir", "runs")
        return spend((*argv, *options), cwd=place, env=env)

    table = ("--table", str(one), "--key", "key", "--", "./work", "{}")
    theirs, ours = side_by_side(rival, lambda: render(*table), rounds=rounds)
    yield faster(f"render {slices:,} slices of a CSV", ours, "slurmgrid", theirs, 1)
    yield memory("  its peak of memory", ours, 250)
    yield figure("  the rival's", f"{theirs.mib:.0f} MiB")
    wide = ("--table", str(three), "--key", "key", "--column", "out=out/{{ slice }}-{{ b }}.h5")
    (spent,) = side_by_side(lambda: render(*wide, "--", "./work", "{out}"), rounds=1)
    yield figure("render them with 3 columns and a derived one", f"{spent.seconds:.3g} s")
    packed = ("-a", f"0-{slices - 1}", "--pack", "100", "--", "./work", "{}")
    (spent,) = side_by_side(lambda: render(*packed), rounds=rounds)
    yield figure("render them from a range, packed by 100", f"{spent.seconds:.3g} s")


def _one_column(place: Path, slices: int) -> Path:
    path = place / f"one-{slices}.csv"
    if not path.exists():
        with path.open("w") as table:
            table.write("key\n")
            table.writelines(f"part-{row:07d}\n" for row in range(slices))
    return path


def _three_columns(place: Path, slices: int) -> Path:
    path = place / f"three-{slices}.csv"
    if not path.exists():
        with path.open("w") as table:
            table.write("key,a,b\n")
            table.writelines(f"part-{row:07d},{row % 97},{row / 7:.3f}\n" for row in range(slices))
    return path
