"""Requests for tests, by the numbers that they ask for."""

from __future__ import annotations

from slurmslice.sbatch.resource_request import ResourceRequest
from slurmslice.sbatch.units import format_time

Options = tuple[tuple[str, str], ...]


def a_request(
    cpus: int = 1,
    mem_mib: int | None = None,
    time_s: int | None = None,
    partition: str | None = None,
    options: Options = (),
) -> ResourceRequest:
    """A task's request: CPUs, memory in MiB, a time limit in seconds; and any other options."""
    asked = {
        "ntasks": str(cpus) if cpus != 1 else None,
        "mem": f"{mem_mib}M" if mem_mib is not None else None,
        "time": format_time(time_s) if time_s is not None else None,
        "partition": partition,
    }
    given = {name: value for name, value in asked.items() if value is not None}
    return ResourceRequest.of({**given, **dict(options)})
