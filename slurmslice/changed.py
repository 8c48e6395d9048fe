"""What a slice asks for next: its last request, changed. ``2x`` is of what that slice had."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from slurmslice import directives
from slurmslice.directives import Options
from slurmslice.directives.shape import shape
from slurmslice.engines import Needs
from slurmslice.ledger import Changes
from slurmslice.packing import of_slice
from slurmslice.run import Run
from slurmslice.units import format_memory, format_time, is_factor


def requests(
    run: Run, options: Options, rows: Iterable[int], changes: Mapping[str, str]
) -> Iterator[tuple[int, Changes]]:
    """Each of these rows, and what it asks for next where it differs from the script's request.

    A slice keeps the request of its last attempt unless ``changes`` says otherwise; ``2x`` in
    them multiplies what is in force for that slice, or what it had where nothing is.

    Args:
        run: the run.
        options: the script's.
        rows: the slices.
        changes: sbatch options, long names, as a person gives them.

    Raises:
        BadInput: the script or the changes cannot be understood, or nothing is known that could
            be multiplied.
    """
    multiplied = any(map(is_factor, changes.values()))
    known: dict[tuple[Changes, int | None], Changes] = {}
    for row in rows:
        kept = run.request_of(row)
        memory = run.standings.seen(row).requested_mem_bytes if multiplied else None
        if (kept, memory) not in known:
            known[kept, memory] = _request(run, options, kept, memory, changes)
        yield row, known[kept, memory]


def _request(
    run: Run, options: Options, kept: Changes, memory: int | None, changes: Mapping[str, str]
) -> Changes:
    in_force = had(run, options, kept)
    usual = _usual(run, dict(in_force), memory, changes)
    new = directives.change((*usual, *in_force), changes)
    return tuple({**dict(kept), **dict(new)}.items())


def had(run: Run, options: Options, kept: Changes) -> tuple[tuple[str, str], ...]:
    """What a slice with this request has, as its engine counts it.

    Args:
        run: the run.
        options: the script's.
        kept: what the slice asks for in their place.

    Raises:
        BadInput: a time limit among them is none.
    """
    return run.asked.given(
        directives.in_force(of_slice(options, run.asked.packing), kept),
        minutes=run.engine.counts_whole_minutes,
    )


def _usual(
    run: Run, asked: Mapping[str, str], memory: int | None, changes: Mapping[str, str]
) -> Iterator[tuple[str, str]]:
    """What a slice had without asking for it, where a multiple of that is wanted.

    Memory is what accounting says its task was given; time is its partition's default.
    """
    wanted = {name for name, value in changes.items() if is_factor(value)}
    family = {"mem", *directives.rivals("mem")}
    if memory and wanted & family and not family & asked.keys():
        shares = shape(asked).nodes * run.asked.packing.at_once  # --mem is of a node, of one slice
        yield "mem", format_memory((memory >> 20) // shares)
    if "time" in wanted and "time" not in asked:
        seconds = run.engine.limits(directives.needs(tuple(asked.items()))).default_time_s
        if seconds is not None:
            yield "time", format_time(seconds)


@dataclass(frozen=True, slots=True)
class Less:
    """Less than slices asked for before.

    Attributes:
        option: ``mem`` or ``time``.
        before, now: what they asked for, and what they ask for next, as sbatch reads it.
        far: it is less than a tenth.
    """

    option: str
    before: str
    now: str
    far: bool = False


def lowered(
    run: Run, options: Options, rows: Iterable[int], changes: Mapping[str, str]
) -> dict[Less, list[int]]:
    """The rows that changes give less memory or time than they asked for, or were given unasked.

    Arguments and errors are those of ``requests``.
    """
    found: dict[Less, list[int]] = {}
    if not {"mem", "time", *directives.rivals("mem")} & changes.keys():
        return found
    known: dict[tuple[Changes, Changes, int | None], list[Less]] = {}
    for row, new in requests(run, options, rows, changes):
        alike = run.request_of(row), new, run.standings.seen(row).requested_mem_bytes
        if alike not in known:
            known[alike] = list(_less(run, options, *alike))
        for less in known[alike]:
            found.setdefault(less, []).append(row)
    return found


def _less(
    run: Run, options: Options, kept: Changes, new: Changes, memory: int | None
) -> Iterator[Less]:
    before, now = (directives.needs(had(run, options, asked)) for asked in (kept, new))
    mib = _memory(before, memory and (memory >> 20) // run.asked.packing.at_once)
    if mib and now.mem_mib and now.mem_mib < mib:
        far = now.mem_mib * 10 < mib
        yield Less("mem", format_memory(mib), format_memory(now.mem_mib), far)
    if before.time_s and now.time_s and now.time_s < before.time_s:
        far = now.time_s * 10 < before.time_s
        yield Less("time", format_time(before.time_s), format_time(now.time_s), far)


def _memory(before: Needs, given: int | None) -> int | None:
    """MiB that were asked for; where none were, what was given."""
    family = {"mem", *directives.rivals("mem")}
    return before.mem_mib if family & dict(before.options).keys() else given
