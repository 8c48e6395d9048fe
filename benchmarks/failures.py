"""``failures`` and ``status`` of a run of which all slices failed, with and without the cache."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from benchmarks import paper
from benchmarks.measure import SLURMSLICE, Line, Spent, at_most, memory, side_by_side, spend
from benchmarks.size import Size

_ENDED = (0, 1)
_CAUSES = ("ValueError: rate {0} is too large", "KeyError: 'x{0}'", "OSError: [Errno 5] in-{0}")


def measure(size: Size) -> Iterator[Line]:
    """Measure the reading of full logs, and the commands that read none."""
    place, slices = size.folder / "failures", size.pick(10_000, 300)
    programs = paper.programs(place / "bin", all_fail=True)
    env = {"PATH": f"{programs}:{os.environ['PATH']}"}
    name = f"of-{slices}"
    _recorded(place, name, slices, size.pick(64 << 10, 4 << 10), env)
    cache = place / "slurmslice-runs" / name / "failures.tsv"

    def call(verb: str, *, cached: bool) -> Spent:
        if not cached:
            cache.unlink(missing_ok=True)
        return spend((*SLURMSLICE, verb, name), cwd=place, env=env, exits=_ENDED)

    rounds = size.pick(3, 1)
    read, known, counted, grouped = (
        side_by_side(partial(call, verb, cached=cached), rounds=rounds)[0]
        for verb, cached in (
            ("failures", False), ("failures", True), ("status", False), ("status", True),
        )
    )  # fmt: skip
    yield at_most(f"failures: {slices:,} logs of 64 KiB are read", read.seconds, "s", 10)
    yield memory("  its peak of memory", read)
    yield at_most("  the same from the cache", known.seconds, "s", 3)
    yield at_most(f"status of {slices:,} failed slices, no cache", counted.seconds, "s", 1)
    yield at_most("  the same with groups from the cache", grouped.seconds, "s", 2)


def _recorded(place: Path, name: str, slices: int, size: int, env: dict[str, str]) -> None:
    """Make the run on a simulated cluster, and its logs."""
    made, marker = place / "slurmslice-runs" / name, place / f"{name}.recorded"
    if marker.exists():
        return
    shutil.rmtree(made, ignore_errors=True)
    (place / "bin" / "calls").unlink(missing_ok=True)
    table = ("-a", f"0-{slices - 1}", "--name", name, "--engine", "slurm", "--max-failures", "none")
    spend((*SLURMSLICE, "render", *table, "--", "./work", "{}"), cwd=place, env=env)
    spend((*SLURMSLICE, "submit", name), cwd=place, env=env)
    _write_logs(made, slices, size)
    spend((*SLURMSLICE, "status", name), cwd=place, env=env, exits=_ENDED)
    marker.touch()


def _write_logs(made: Path, slices: int, size: int) -> None:
    """Write the logs: progress lines, then a traceback with one of three errors."""
    from slurmslice.actions.open_run import open_run
    from slurmslice.run.directory import RunDirectory
    from slurmslice.run.slice_logs import SliceLog

    run = open_run(RunDirectory(made))
    for row in range(slices):
        submission = run.journal_state.submission_of(row)
        if submission is None:
            continue
        log = SliceLog.of(run, submission, row).own
        log.parent.mkdir(parents=True, exist_ok=True)
        steps = "".join(f"step {n}: loss 0.{n:06d}, best 0.{row:06d}\n" for n in range(size // 36))
        error = _CAUSES[row % len(_CAUSES)].format(row)
        frame = '  File "/w/x.py", line 3, in fit\n    solve(a)\n'
        log.write_text(f"{steps}Traceback (most recent call last):\n{frame}{error}\n")
