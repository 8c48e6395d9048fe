"""What Slurm's programs answer about the cluster, as records. Pure.

Any text gives records or ``NoAnswer``. Sources: scontrol(1), ``show config`` and ``show
partition``; sinfo(1), ``--Format``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from slurmslice.engines.slurm.commands import SINFO_FIELDS
from slurmslice.engines.slurm.fields import parse_number
from slurmslice.errors import BadInput, NoAnswer
from slurmslice.units import parse_time

_SETTING = re.compile(r"([A-Za-z_]\w*)\s*= ?(.*)")


def parse_config(text: str) -> dict[str, str]:
    """The settings of ``scontrol show config``, as they are written.

    Raises:
        NoAnswer: the text is not such an answer.
    """
    matches = (_SETTING.match(line) for line in text.split("\n"))
    found = {match[1]: match[2] for match in matches if match}
    if parse_number(found.get("MaxArraySize", "")) is None:
        raise NoAnswer("scontrol's answer does not tell MaxArraySize.", code="unreadable-answer")
    return found


@dataclass(frozen=True, slots=True)
class Partition:
    """A partition of ``scontrol show partition``.

    Attributes:
        name: its name.
        default: whether jobs go there that name none.
        state: ``UP``, ``DOWN``, ``DRAIN``, ``INACTIVE``.
        max_time_s: longest time limit, seconds; None for none.
        default_mem: MiB that a job gets which asks for none, and per what: ``cpu`` or ``node``;
            None where the partition does not say.
        default_time_s: time limit of a job that asks for none, seconds; None where the partition
            does not say (it is then the longest).
        node_count: how many it has, whether sinfo lists them or not; None where that is not said.
    """

    name: str
    default: bool
    state: str
    max_time_s: int | None
    default_mem: tuple[int, str] | None
    default_time_s: int | None = None
    node_count: int | None = None


def parse_partitions(text: str) -> list[Partition]:
    """The partitions of ``scontrol --oneliner show partition``.

    Raises:
        NoAnswer: the text is not such an answer.
    """
    found = []
    for line in filter(None, text.split("\n")):
        said = dict(word.partition("=")[::2] for word in line.split(" "))
        if "PartitionName" not in said:
            raise NoAnswer(
                f"This is no partition of scontrol's: {line[:200]!r}", code="unreadable-answer"
            )
        found.append(
            Partition(
                said["PartitionName"],
                said.get("Default") == "YES",
                said.get("State", ""),
                _time(said.get("MaxTime", "")),
                default_memory(said),
                _time(said.get("DefaultTime", "")),
                parse_number(said.get("TotalNodes", "")),
            )
        )
    return found


def _time(text: str) -> int | None:
    try:
        return parse_time(text)
    except BadInput:
        return None


def default_memory(said: Mapping[str, str]) -> tuple[int, str] | None:
    """DefMemPerCPU or DefMemPerNode of a partition or of the whole cluster: MiB, and per what."""
    for key, per in (("DefMemPerCPU", "cpu"), ("DefMemPerNode", "node")):
        mib = parse_number(said.get(key, ""))
        if mib:
            return mib, per
    return None


@dataclass(frozen=True, slots=True)
class Node:
    """A node in a partition: CPUs and MiB that it has, and that are free now.

    ``cpus`` are in use or free; ``configured_cpus`` are those of a node that is down too.
    """

    name: str
    partition: str
    usable: bool
    cpus: int
    free_cpus: int
    mem_mib: int
    free_mem_mib: int
    configured_cpus: int


# sinfo(1), NODE STATE CODES: a suffix says more; `*` does not answer, `$` is in maintenance.
_USABLE = re.compile(r"(?:idle|mixed|allocated|completing|planned)[^*$]*")


def parse_nodes(text: str) -> list[Node]:
    """The nodes of sinfo, as ``commands.sinfo`` asks for them; a row a partition.

    Raises:
        NoAnswer: the text is not such an answer.
    """
    return [_node(line) for line in text.split("\n") if line]


def _node(line: str) -> Node:
    fields = line.split("|")
    numbers = [parse_number(word) for word in "/".join(fields[3:6]).split("/")]
    if len(fields) != len(SINFO_FIELDS) + 1 or len(numbers) != 6 or None in numbers:
        raise NoAnswer(f"This is no node of sinfo's: {line[:200]!r}", code="unreadable-answer")
    allocated, idle, _, every, mem, taken = (number or 0 for number in numbers)
    usable = _USABLE.fullmatch(fields[2]) is not None
    partition = fields[1].removesuffix("*")
    cpus, free = allocated + idle, max(0, mem - taken)
    return Node(fields[0], partition, usable, cpus, idle, mem, free, every)
