"""Parse the answers of scontrol and sinfo about a cluster into records. Pure.

Each parser returns records or raises ``NoAnswerError``. Sources: scontrol(1), ``show config`` and
``show partition``; sinfo(1), ``--Format``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from slurmslice.engines.slurm.commands import SINFO_FIELDS
from slurmslice.engines.slurm.fields import parse_number
from slurmslice.errors import BadInputError, NoAnswerError
from slurmslice.sbatch.units import parse_time


@dataclass(frozen=True, slots=True)
class Partition:
    """A partition of ``scontrol show partition``.

    Attributes:
        name: its name.
        default: True if Slurm uses it for jobs without a partition.
        state: ``UP``, ``DOWN``, ``DRAIN``, ``INACTIVE``.
        max_time_s: the longest time limit of a job, seconds; None for no limit.
        default_mem: the memory of a job that requests none: MiB, and ``cpu`` or ``node`` as the
            unit it is given per; None if the partition sets no default.
        default_time_s: the time limit of a job that requests none, seconds; None if the
            partition sets no default (Slurm uses the longest limit then).
        node_count: the number of its nodes, listed by sinfo or not; None if unknown.
        has_qos: it has a quality of service of its own, whose limits replace those of the group.
        submit_nodes: the only nodes from which jobs can be submitted to it; empty for any node.
    """

    name: str
    default: bool
    state: str
    max_time_s: int | None
    default_mem: tuple[int, str] | None
    default_time_s: int | None = None
    node_count: int | None = None
    has_qos: bool = False
    submit_nodes: str = ""


@dataclass(frozen=True, slots=True)
class Node:
    """A node as a member of one partition.

    Attributes:
        name: its name.
        partition: the partition.
        usable: it runs jobs now, or after it was powered up.
        cpus: CPUs allocated or idle; 0 while the node is down.
        free_cpus: idle CPUs.
        mem_mib: its memory, MiB.
        free_mem_mib: memory not allocated to jobs, MiB.
        configured_cpus: all its CPUs, even while the node is down.
    """

    name: str
    partition: str
    usable: bool
    cpus: int
    free_cpus: int
    mem_mib: int
    free_mem_mib: int
    configured_cpus: int


@dataclass(frozen=True, slots=True)
class Maintenance:
    """A reservation for maintenance: no job of a user may run on its nodes.

    Attributes:
        begins_at: epoch seconds.
        nodes: its nodes, as a list of Slurm (``n[1-3],m4``).
    """

    begins_at: float
    nodes: str


_SETTING = re.compile(r"([A-Za-z_]\w*)\s*= ?(.*)")


def parse_config(text: str) -> dict[str, str]:
    """Parse the settings of ``scontrol show config``; values stay as they are printed.

    Raises:
        NoAnswerError: the text is no such answer.
    """
    matches = (_SETTING.match(line) for line in text.split("\n"))
    found = {match[1]: match[2] for match in matches if match}
    if parse_number(found.get("MaxArraySize", "")) is None:
        raise NoAnswerError("scontrol's answer holds no MaxArraySize.", code="unreadable-answer")
    return found


def parse_partitions(text: str) -> list[Partition]:
    """Parse the partitions of ``scontrol --oneliner show partition``.

    Raises:
        NoAnswerError: the text is no such answer.
    """
    return [_parse_partition(line) for line in text.split("\n") if line]


def _parse_partition(line: str) -> Partition:
    values = dict(word.partition("=")[::2] for word in line.split(" "))
    if "PartitionName" not in values:
        raise NoAnswerError(
            f"scontrol's answer holds a line that is no partition: {line[:200]!r}",
            code="unreadable-answer",
        )
    return Partition(
        values["PartitionName"],
        values.get("Default") == "YES",
        values.get("State", ""),
        _parse_limit(values.get("MaxTime", "")),
        default_memory(values),
        _parse_limit(values.get("DefaultTime", "")),
        parse_number(values.get("TotalNodes", "")),
        values.get("QoS", "N/A") not in {"N/A", "(null)", ""},
        values.get("AllocNodes", "ALL").replace("ALL", ""),
    )


def parse_maintenances(text: str) -> list[Maintenance]:
    """Parse the maintenances of ``scontrol --oneliner show reservation``, the next one first.

    Other reservations are left out. The times must be epoch seconds (``SLURM_TIME_FORMAT=%s``).
    """
    found = list[Maintenance]()
    for line in text.split("\n"):
        values = dict(word.partition("=")[::2] for word in line.split(" "))
        begins_at = parse_number(values.get("StartTime", ""))
        if "MAINT" in values.get("Flags", "").split(",") and begins_at is not None:
            found.append(Maintenance(begins_at, values.get("Nodes", "")))
    return sorted(found, key=lambda one: one.begins_at)


def _parse_limit(text: str) -> int | None:
    try:
        return parse_time(text)
    except BadInputError:
        return None


def default_memory(settings: Mapping[str, str]) -> tuple[int, str] | None:
    """Return DefMemPerCPU or DefMemPerNode of a partition or a cluster; None if neither is set.

    Returns:
        MiB, and ``cpu`` or ``node`` as the unit it is given per.
    """
    for key, per in (("DefMemPerCPU", "cpu"), ("DefMemPerNode", "node")):
        mib = parse_number(settings.get(key, ""))
        if mib:
            return mib, per
    return None


# sinfo(1), NODE STATE CODES. Suffixes: `*` does not respond, `$` is in maintenance.
_USABLE = re.compile(r"(?:idle|mixed|allocated|completing|planned)[^*$]*")


def parse_nodes(text: str) -> list[Node]:
    """Parse the nodes in the answer to ``commands.sinfo``, one for each node and partition.

    Raises:
        NoAnswerError: the text is no such answer.
    """
    return [_parse_node(line) for line in text.split("\n") if line]


def _parse_node(line: str) -> Node:
    fields = line.split("|")
    numbers = [parse_number(word) for word in "/".join(fields[3:6]).split("/")]
    if len(fields) != len(SINFO_FIELDS) + 1 or len(numbers) != 6 or None in numbers:
        raise NoAnswerError(
            f"sinfo's answer holds a line that is no node: {line[:200]!r}",
            code="unreadable-answer",
        )
    allocated, idle, _, total, mem, allocated_mem = (number or 0 for number in numbers)
    usable = _USABLE.fullmatch(fields[2]) is not None
    partition = fields[1].removesuffix("*")
    cpus, free_mem = allocated + idle, max(0, mem - allocated_mem)
    return Node(fields[0], partition, usable, cpus, idle, mem, free_mem, total)
