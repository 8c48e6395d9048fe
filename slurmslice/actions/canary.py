"""The end of a canary: it is recorded, and compared with what its slices requested."""

from __future__ import annotations

from collections.abc import Iterator

from slurmslice.errors import SlurmsliceError
from slurmslice.notes import Note
from slurmslice.plan.canary import canary_is_done, has_open_canary
from slurmslice.plan.request_changes import previous_request
from slurmslice.plan.run_script import script_request
from slurmslice.run.journal import CanaryEnded
from slurmslice.run.run import Run
from slurmslice.sbatch.units import format_memory, format_time
from slurmslice.system.shell_quoting import quote


def end_canary_if_done(run: Run) -> tuple[Note, ...]:
    """Record that the canary is done, if it is. The caller holds the lock.

    Returns:
        a note on the canary, with its requests and its use.
    """
    if not (has_open_canary(run) and canary_is_done(run)):
        return ()
    run.decide(CanaryEnded("it is done", run.clock()))
    differences = list(_differences(run))
    shown = "".join(f"\n  {words}" for words, _ in differences)
    message = f"The canary is done ({len(run.canary)} of {len(run.table)} slices)." + shown
    message += f"\nWhat to request: slurmslice efficiency {quote(run.record.name)}"
    fields = {name: value for _, values in differences for name, value in values.items()}
    return (Note("canary-done", message, {"slices": len(run.canary), **fields}),)


def end_canary(run: Run) -> None:
    """Go on without the canary, because a person says so."""
    with run.directory.lock("run"):
        run.reload()
        if has_open_canary(run):
            run.decide(CanaryEnded("a person decided that", run.clock()))


def _differences(run: Run) -> Iterator[tuple[str, dict[str, object]]]:
    """Compare the longest time and the largest memory with the request of that slice."""
    seen = {row: run.statuses.seen(row) for row in run.canary}
    durations = {row: one.elapsed_s for row, one in seen.items() if one.elapsed_s is not None}
    if durations:
        row = max(durations, key=lambda one: durations[one])
        used, given = durations[row], _time_limit(run, row)
        limit = f" of {format_time(given)}" if given else ""
        words = f"time: at most {format_time(round(used))}{limit}{_share(used, given)}"
        yield words, {"max_elapsed_s": used, "time_limit_s": given}
    peaks = {row: one.max_rss_bytes for row, one in seen.items() if one.max_rss_bytes is not None}
    if peaks:
        row = max(peaks, key=lambda one: peaks[one])
        of_task, at_once = seen[row].requested_mem_bytes, run.record.packing.at_once
        asked = of_task // at_once if of_task else None
        amount = f" of {format_memory(asked >> 20)}" if asked else ""
        words = f"memory: at most {peaks[row] / 2**20:.0f}M{amount}{_share(peaks[row], asked)}"
        yield words, {"max_rss_bytes": peaks[row], "requested_mem_bytes": asked}


def _share(used: float, given: float | None) -> str:
    return f" ({used / given:.0%})" if given else ""


def _time_limit(run: Run, row: int) -> int | None:
    try:
        return previous_request(run, script_request(run), run.request_of(row)).time_s
    except SlurmsliceError:
        return None
