"""Two thousand slices of ``/bin/true`` on a real cluster, packed into 16 array tasks.

The rivals are an array with one task per slice, and a simple loop in bash. The time of each runs
from its submission until accounting has every task COMPLETED.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.measure import Line, Spent, faster, side_by_side, within
from benchmarks.place import ask, workplace
from benchmarks.size import Size
from tests.support.site import Site

_LOOK_S = 0.2
_LOOP = """\
#!/bin/bash
for ((i = 0; i < $1; i++)); do
  /bin/true "$((SLURM_ARRAY_TASK_ID * $1 + i))"
done
"""
_BARE = """\
#!/bin/bash
/bin/true "$SLURM_ARRAY_TASK_ID"
"""


def measure(size: Size) -> Iterator[Line]:
    """Measure packed slices against both rivals."""
    tasks, pack, rounds = size.pick(16, 2), size.pick(125, 5), size.pick(3, 1)
    with workplace() as (site, place):
        for name, text in (("loop.sh", _LOOP), ("bare.sh", _BARE)):
            ask(site, "tee", name, cwd=place, input=text)
        packed, loop = side_by_side(
            lambda: _packed(site, place, tasks, pack),
            lambda: _by_hand(site, place, [f"0-{tasks - 1}"], "loop.sh", str(pack)),
            rounds=rounds,
        )
        half = tasks * pack // 2  # MaxArraySize is 1001
        bare = _by_hand(site, place, [f"0-{half - 1}"] * 2, "bare.sh")
        what = f"{tasks * pack} × /bin/true in {tasks} tasks of a cluster"
        yield faster(what, packed, "array", bare, 12)
        yield within("  the same", packed, "loop", loop, 1.6)


def _packed(site: Site, place: Path, tasks: int, pack: int) -> Spent:
    ask(site, "rm", "-rf", "slurmslice-runs", cwd=place)
    array = ("-a", f"0-{tasks * pack - 1}", "--pack", str(pack))
    began = time.perf_counter()
    argv = (str(site.python), "-m", "slurmslice", "run", *array, "--", "/bin/true", "{}")
    ask(site, *argv, cwd=place)
    return Spent(time.perf_counter() - began, 0)


def _by_hand(site: Site, place: Path, arrays: Sequence[str], *script: str) -> Spent:
    began = time.perf_counter()
    sbatch = ("sbatch", "--parsable", "--output=/dev/null")
    jobs = [ask(site, *sbatch, f"--array={array}", *script, cwd=place) for array in arrays]
    tasks = sum(int(array.rpartition("-")[2]) + 1 for array in arrays)
    states = ("sacct", "-X", "--noheader", "--format", "State%20", "--jobs", ",".join(jobs))
    while ask(site, *states, cwd=place).split().count("COMPLETED") < tasks:
        time.sleep(_LOOK_S)
    return Spent(time.perf_counter() - began, 0)
