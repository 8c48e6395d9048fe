"""What a run will take, before it is made: its array tasks, their requests, the worst case. Pure.

Slices that ask for different amounts never share an array task: each distinct request is a group.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from slurmslice.directives.options import MEMORY
from slurmslice.packing import Packing, task_request
from slurmslice.requests import Requests
from slurmslice.resources import ResourceRequest
from slurmslice.run_spec import RunRecord
from slurmslice.slices import SliceTable
from slurmslice.units import format_memory, format_time, parse_memory, parse_time


@dataclass(frozen=True, slots=True)
class Group:
    """Slices that ask for the same.

    Attributes:
        options: what one of them asks for.
        slices: how many there are.
        packing: how array tasks carry them.
        request: what one of their tasks asks for.
    """

    options: ResourceRequest
    slices: int
    packing: Packing
    request: ResourceRequest

    @property
    def tasks(self) -> int:
        """How many array tasks carry them."""
        return -(-self.slices // self.packing.pack)


def groups(record: RunRecord, table: SliceTable) -> list[Group]:
    """The slices of a run by what they ask for, those of the first submission first."""
    packing = record.packing
    if not record.per_slice:
        request = task_request(record.first_request, packing)
        return [Group(record.first_request, len(table), packing, request)]
    found: list[Group] = []
    for own, rows in Requests(record.per_slice, table).grouped().items():
        options = record.first_request.overridden_by(own)
        # The script itself asks for a whole pack, later submissions for what they carry.
        request = task_request(options, packing, len(rows) if found else None)
        found.append(Group(options, len(rows), packing, request))
    return found


def request(of: Sequence[Group]) -> ResourceRequest:
    """What an array task asks for; where groups differ, from the least to the most."""
    asked = [group.request for group in of]
    return ResourceRequest.of(
        {name: _span(name, [one[name] for one in asked]) for name in asked[0]}
    )


def _span(name: str, values: Sequence[str]) -> str:
    different = list(dict.fromkeys(values))
    if len(different) == 1:
        return values[0]
    if name in {*MEMORY, "tmp"}:
        different.sort(key=parse_memory)
    elif name in {"time", "time-min"}:
        different.sort(key=lambda value: parse_time(value) or math.inf)
    elif all(value.isdecimal() for value in different):
        different.sort(key=int)
    else:
        return " or ".join(different)
    return f"{different[0]} to {different[-1]}"


def worst_case(of: Sequence[Group], least: int | None, most: int | None) -> str:
    """The most that the run can cost, from its time limits; empty where one has none.

    Args:
        of: its slices.
        least: how many array tasks can run at once where it is those of which fewest fit; None
            where that is not known.
        most: the same of those of which most fit.
    """
    times = [group.options.time_s or 0 for group in of]
    if not all(times):
        return ""
    each = list(zip(of, times, strict=True))
    cpu_s = sum(group.slices * time * group.options.cpus for group, time in each)
    text = f"{cpu_s / 3600:,.1f} CPU hours"
    if least:
        tasks = [(g.tasks, g.packing.turns_of(g.slices) * time) for g, time in each]
        text += f", {format_time(_longest(tasks, least))} from first to last"
    if all(group.options.mem_mib for group in of):
        slices = (most or sum(group.tasks for group in of)) * of[0].packing.at_once
        memory = [(group.options.mem_mib or 0, group.slices) for group in of]
        text += f", {format_memory(_largest(memory, slices))} at once"
    return text


def _longest(tasks: Sequence[tuple[int, int]], at_once: int) -> int:
    """How long tasks take at most, seconds, where the next starts when one ends.

    In whatever order they start, the last to end starts no later than all the others take, shared
    out; and so many at once have ended after each time that the longest takes.

    Args:
        tasks: how many, and how long each takes, seconds; a pair a group.
        at_once: how many run at once.
    """
    number, longest = sum(n for n, _ in tasks), max(s for _, s in tasks)
    others = sum(n * s for n, s in tasks) - longest
    return min(-(-number // at_once) * longest, -(-others // at_once) + longest)


def _largest(memory: Sequence[tuple[int, int]], slices: int) -> int:
    """MiB of so many slices, the largest; of (MiB a slice, how many slices)."""
    total = 0
    for mib, number in sorted(memory, reverse=True):
        some = min(number, slices)
        total, slices = total + some * mib, slices - some
    return total
