"""An estimate of a run before its creation: array tasks, their requests, the worst case. Pure.

Slices with different requests never share an array task: each distinct request is a group.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from slurmslice.sbatch.options import MEMORY_OPTIONS
from slurmslice.sbatch.resource_request import ResourceRequest
from slurmslice.sbatch.units import format_memory, format_time, parse_memory, parse_time
from slurmslice.slices.slice_table import SliceTable
from slurmslice.spec.packing import Packing, task_request
from slurmslice.spec.per_slice_options import PerSliceOptions
from slurmslice.spec.run_spec import RunRecord


@dataclass(frozen=True, slots=True)
class RequestGroup:
    """Slices with the same request.

    Attributes:
        options: the request of one slice.
        slices: the number of slices.
        packing: the packing of their tasks.
        request: the request of one task.
    """

    options: ResourceRequest
    slices: int
    packing: Packing
    request: ResourceRequest

    @property
    def tasks(self) -> int:
        """The number of their array tasks."""
        return -(-self.slices // self.packing.pack)


def request_groups(record: RunRecord, table: SliceTable) -> list[RequestGroup]:
    """Group the slices of a run by their requests, those of the first submission first."""
    packing = record.packing
    if not record.per_slice:
        request = task_request(record.first_request, packing)
        return [RequestGroup(record.first_request, len(table), packing, request)]
    found: list[RequestGroup] = []
    for own, rows in PerSliceOptions(record.per_slice, table).group_rows().items():
        options = record.first_request.filled_in(own)
        # The script requests a whole pack; later submissions only what their slices need.
        request = task_request(options, packing, len(rows) if found else None)
        found.append(RequestGroup(options, len(rows), packing, request))
    return found


def request_range(of: Sequence[RequestGroup]) -> ResourceRequest:
    """Return the request of an array task; if groups differ, as ranges from lowest to highest."""
    requests = [group.request for group in of]
    return ResourceRequest.of(
        {name: _range(name, [one[name] for one in requests]) for name in requests[0]}
    )


def _range(name: str, values: Sequence[str]) -> str:
    different = list(dict.fromkeys(values))
    if len(different) == 1:
        return values[0]
    if name in {*MEMORY_OPTIONS, "tmp"}:
        different.sort(key=parse_memory)
    elif name in {"time", "time-min"}:
        different.sort(key=lambda value: parse_time(value) or math.inf)
    elif all(value.isdecimal() for value in different):
        different.sort(key=int)
    else:
        return " or ".join(different)
    return f"{different[0]} to {different[-1]}"


def worst_case_text(of: Sequence[RequestGroup], least: int | None, most: int | None) -> str:
    """Describe the maximum cost of the run by its time limits; empty if a slice has no limit.

    Args:
        of: the groups of its slices.
        least: the smallest number, over the groups, of array tasks that can run at once; None if
            not known.
        most: the largest such number; None if not known.
    """
    times = [group.options.time_s or 0 for group in of]
    if not all(times):
        return ""
    each = list(zip(of, times, strict=True))
    cpu_s = sum(group.slices * time * group.options.cpus for group, time in each)
    text = f"{cpu_s / 3600:,.1f} CPU hours"
    if least:
        tasks = [(g.tasks, g.packing.rounds_for(g.slices) * time) for g, time in each]
        text += f", {format_time(_longest(tasks, least))} from first to last"
    if all(group.options.mem_mib for group in of):
        slices = (most or sum(group.tasks for group in of)) * of[0].packing.at_once
        memory = [(group.options.mem_mib or 0, group.slices) for group in of]
        text += f", {format_memory(_largest(memory, slices))} at once"
    return text


def _longest(tasks: Sequence[tuple[int, int]], at_once: int) -> int:
    """Return the maximum duration of all tasks, seconds, if one starts whenever another ends.

    It is the lower of two bounds, for any order of the tasks. The task that ends last starts at
    the latest when all other tasks, divided by ``at_once``, are done. And in each period of the
    longest task at least ``at_once`` tasks end.

    Args:
        tasks: the number of tasks and the duration of each, seconds; one pair per group.
        at_once: the number of tasks that run at once.
    """
    number, longest = sum(n for n, _ in tasks), max(s for _, s in tasks)
    others = sum(n * s for n, s in tasks) - longest
    return min(-(-number // at_once) * longest, -(-others // at_once) + longest)


def _largest(memory: Sequence[tuple[int, int]], slices: int) -> int:
    """Return the memory of the largest so many slices, MiB; from pairs (MiB, number of slices)."""
    total = 0
    for mib, number in sorted(memory, reverse=True):
        some = min(number, slices)
        total, slices = total + some * mib, slices - some
    return total
