"""The next request of a slice: its last one with changes. ``2x`` multiplies the last value."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from slurmslice.run.run import Run
from slurmslice.sbatch.options import FIRST_ONLY, MEMORY_OPTIONS
from slurmslice.sbatch.resource_request import ResourceRequest
from slurmslice.sbatch.units import format_memory, format_time, is_factor
from slurmslice.spec.packing import slice_request


def next_requests(
    run: Run, script: ResourceRequest, rows: Iterable[int], changes: Mapping[str, str]
) -> Iterator[tuple[int, ResourceRequest]]:
    """Pair each row with its next request: the options that differ from the script's.

    A slice keeps the request of its last attempt, except for the options in ``changes`` and those
    of its first submission only (``FIRST_ONLY``). ``2x`` multiplies the present value of that
    slice. If it has none, ``2x`` multiplies the value that Slurm gave it.

    Args:
        run: the run.
        script: the options of its script.
        rows: the slices.
        changes: sbatch options, long names, as a person typed them.

    Raises:
        BadInputError: the script or the changes cannot be understood, or there is no known value to
            multiply.
    """
    multiplied = any(map(is_factor, changes.values()))
    known: dict[tuple[ResourceRequest, int | None], ResourceRequest] = {}
    for row in rows:
        kept = _kept_request(run, row)
        memory = run.statuses.seen(row).requested_mem_bytes if multiplied else None
        if (kept, memory) not in known:
            had = filled_request(run, script, kept, memory, changes)
            changed = had.with_changes(changes).differing_from(had)
            known[kept, memory] = kept.overridden_by(changed)
        yield row, known[kept, memory]


def _kept_request(run: Run, row: int) -> ResourceRequest:
    """Return the options that a slice keeps for its next attempt."""
    kept, journal_state = run.request_of(row), run.journal_state
    is_repeated = row not in journal_state.queue and journal_state.was_submitted(row)
    return kept.without(FIRST_ONLY) if is_repeated else kept


def filled_request(
    run: Run,
    script: ResourceRequest,
    kept: ResourceRequest,
    memory: int | None,
    changes: Mapping[str, str],
) -> ResourceRequest:
    """Return the whole request of a slice, with the values that it got unasked.

    Args:
        run: the run.
        script: the options of its script.
        kept: the slice's own options that differ from them.
        memory: the bytes that its task got; None if not known.
        changes: the changes; only values that they multiply are filled in.

    Raises:
        BadInputError: a number cannot be read.
    """
    had = previous_request(run, script, kept)
    return ResourceRequest.of((*_unasked(run, had, memory, changes), *had.options))


def previous_request(run: Run, script: ResourceRequest, kept: ResourceRequest) -> ResourceRequest:
    """Return the whole request of a slice, with its time limit rounded as its engine does.

    Args:
        run: the run.
        script: the options of its script.
        kept: the slice's own options that differ from them.

    Raises:
        BadInputError: a time limit cannot be read.
    """
    request = slice_request(script, run.record.packing).overridden_by(kept)
    return run.record.with_rounded_time(request, minutes=run.engine.counts_whole_minutes)


def _unasked(
    run: Run, had: ResourceRequest, memory: int | None, changes: Mapping[str, str]
) -> Iterator[tuple[str, str]]:
    """Find the values that a slice got without a request, if ``changes`` multiply them.

    Memory is the amount that accounting recorded for its task; time is the partition's default.
    """
    multiplied = {name for name, value in changes.items() if is_factor(value)}
    if (
        memory
        and not multiplied.isdisjoint(MEMORY_OPTIONS)
        and had.keys().isdisjoint(MEMORY_OPTIONS)
    ):
        shares = had.nodes * run.record.packing.at_once  # --mem is of a node, of one slice
        yield "mem", format_memory((memory >> 20) // shares)
    if "time" in multiplied and "time" not in had:
        seconds = run.engine.limits(had.verify()).default_time_s
        if seconds is not None:
            yield "time", format_time(seconds)


@dataclass(frozen=True, slots=True)
class LoweredRequest:
    """An option with a lower value than in the last attempt.

    Attributes:
        option: ``mem`` or ``time``.
        before, now: the values, as sbatch reads them.
        far_lower: the new value is less than a tenth of the old one.
    """

    option: str
    before: str
    now: str
    far_lower: bool = False


def lowered_requests(
    run: Run, script: ResourceRequest, wanted: Mapping[ResourceRequest, Iterable[int]]
) -> dict[LoweredRequest, list[int]]:
    """Find the rows that get less memory or time than in their last attempt.

    Args:
        run: the run.
        script: the options of its script.
        wanted: the next requests, and the rows of each.

    Raises:
        BadInputError: as ``next_requests``.
    """
    found: dict[LoweredRequest, list[int]] = {}
    known: dict[tuple[ResourceRequest, ResourceRequest, int | None], list[LoweredRequest]] = {}
    for new, rows in wanted.items():
        for row in rows:
            alike = run.request_of(row), new, run.statuses.seen(row).requested_mem_bytes
            if alike not in known:
                known[alike] = list(_lowered(run, script, *alike))
            for less in known[alike]:
                found.setdefault(less, []).append(row)
    return found


def _lowered(
    run: Run,
    script: ResourceRequest,
    kept: ResourceRequest,
    new: ResourceRequest,
    given: int | None,
) -> Iterator[LoweredRequest]:
    """Compare a slice's last request with its next one; ``given``: bytes that its task got."""
    before, now = (previous_request(run, script, request) for request in (kept, new))
    mib, new_mib = before.mem_mib, now.mem_mib
    if before.keys().isdisjoint(MEMORY_OPTIONS):
        mib = given and (given >> 20) // run.record.packing.at_once
    if mib and new_mib and new_mib < mib:
        yield LoweredRequest("mem", format_memory(mib), format_memory(new_mib), new_mib * 10 < mib)
    time, new_time = before.time_s, now.time_s
    if time and new_time and new_time < time:
        yield LoweredRequest("time", format_time(time), format_time(new_time), new_time * 10 < time)
