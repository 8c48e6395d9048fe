"""How many tasks a cluster can run at once: by its nodes, and by a user's limits. Pure.

Sources: slurm.conf(5), SelectTypeParameters and DefMemPerCPU; sacctmgr(1), the limits of
associations and of qualities of service; squeue(1), PartitionTimeLimit.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from slurmslice.directives.shape import shape
from slurmslice.engines import Needs
from slurmslice.engines.slurm.cluster_records import Node, Partition, default_memory
from slurmslice.engines.slurm.commands import ASSOCIATION_FIELDS, QOS_FIELDS
from slurmslice.engines.slurm.fields import parse_number, parse_size
from slurmslice.errors import BadInput
from slurmslice.units import format_memory, format_time, parse_time


def candidate_partitions(needs: Needs, everywhere: Iterable[Partition]) -> list[Partition]:
    """The partitions that such a task may run in."""
    wanted = requested_partitions(needs)
    return [p for p in everywhere if (p.name in wanted if wanted else p.default)]


def requested_partitions(needs: Needs) -> list[str]:
    """The partitions that such a task names; none for the default."""
    return [name for name in (needs.partition or "").split(",") if name]


def why_no_partition(needs: Needs, everywhere: Sequence[Partition]) -> str:
    """Why none of the partitions takes such a task, however empty it is; empty where one may."""
    found = candidate_partitions(needs, everywhere)
    if not found:
        return "there is no partition by default; name one with -p"
    return why_too_long(needs, found)


def why_unknown_partition(needs: Needs, everywhere: Sequence[Partition]) -> str:
    """A partition that such a task names and that is not among these; empty where all are."""
    names = [partition.name for partition in everywhere]
    missing = next((name for name in requested_partitions(needs) if name not in names), None)
    if missing is None:
        return ""
    import difflib

    near = difflib.get_close_matches(missing, names, 1)
    return f"no partition {missing} is known" + (f"; perhaps {near[0]} is meant" if near else "")


def why_too_long(needs: Needs, found: Sequence[Partition]) -> str:
    """Why such a task is above the time limit of these partitions; empty where it is not.

    The least time that it is content with counts, where it says one (sbatch(1), ``--time-min``).
    """
    asked = dict(needs.options)
    if needs.time_s is None and "time" not in asked:
        return ""
    longest = max(_seconds(partition.max_time_s) for partition in found)
    if _least_seconds(needs) <= longest:
        return ""
    where = ", ".join(partition.name for partition in found)
    option = "--time-min" if "time-min" in asked else "--time"
    return (
        f"{option} is at most {format_time(int(longest))} in {where}; a longer one waits for ever"
    )


def _least_seconds(needs: Needs) -> float:
    least = dict(needs.options).get("time-min")
    try:
        return _seconds(needs.time_s if least is None else parse_time(least))
    except BadInput:
        return 0  # sbatch refuses what is no time


def all_nodes_listed(found: Iterable[Partition], among: Sequence[Node]) -> bool:
    """Whether these are all nodes of the partitions: a cloud's, powered down, are not listed."""
    return all(
        partition.node_count is not None
        and len({node.name for node in among if node.partition == partition.name})
        >= partition.node_count
        for partition in found
    )


def _seconds(limit: int | None) -> float:
    return math.inf if limit is None else limit


@dataclass(frozen=True, slots=True)
class TaskFootprint:
    """What one task takes of its nodes, over all of them.

    Attributes:
        nodes: how many it is spread over.
        cpus: CPUs.
        mem_mib: memory; 0 where memory is not shared out.
        alone: it has its nodes for itself.
    """

    nodes: int
    cpus: int
    mem_mib: int
    exclusive: bool


def task_footprint(
    needs: Needs, settings: Mapping[str, str], partition: Partition
) -> TaskFootprint:
    """What a task takes in a partition, with the memory that Slurm gives where none is asked."""
    asked = dict(needs.options)
    spread = shape(asked).nodes
    exclusive = "exclusive" in asked or settings.get("SelectType") == "select/linear"
    if "MEMORY" not in settings.get("SelectTypeParameters", "").upper():
        return TaskFootprint(spread, needs.cpus, 0, exclusive)
    usual = partition.default_mem or default_memory(settings)
    everything = any(asked.get(name) == "0" for name in ("mem", "mem-per-cpu"))
    if needs.mem_mib is not None:
        mem = needs.mem_mib
    elif everything or usual is None:
        mem, exclusive = 0, True
    else:
        mem = usual[0] * (needs.cpus if usual[1] == "cpu" else spread)
    return TaskFootprint(spread, needs.cpus, mem, exclusive)


@dataclass(frozen=True, slots=True)
class FittingTasks:
    """How many tasks fit: beside what runs now, and at all."""

    now: int
    when_empty: int


def count_fitting(of_task: TaskFootprint, among: Iterable[Node]) -> FittingTasks:
    """How many such tasks fit into these nodes; one over several nodes counts in equal parts.

    Constraints, GPUs and licences are not looked at.
    """
    cpus, mem = -(-of_task.cpus // of_task.nodes), -(-of_task.mem_mib // of_task.nodes)
    now = when_empty = 0
    for node in {node.name: node for node in among if node.usable}.values():
        room, free = _room(node.cpus, cpus, node.mem_mib, mem), 0
        if not of_task.exclusive or node.free_cpus == node.cpus:
            free = _room(node.free_cpus, cpus, node.free_mem_mib, mem)
        most = 1 if of_task.exclusive else room
        when_empty += min(room, most)
        now += min(free, most)
    return FittingTasks(now // of_task.nodes, when_empty // of_task.nodes)


def why_none_fits(of_task: TaskFootprint, among: Iterable[Node]) -> str:
    """What these nodes lack for such a task; empty where it fits."""
    usable = [node for node in among if node.usable]
    if count_fitting(of_task, usable).when_empty:
        return ""
    if not usable:
        return "no node is usable now"
    cpus, mem = -(-of_task.cpus // of_task.nodes), -(-of_task.mem_mib // of_task.nodes)
    most_cpus, most_mem = max(n.cpus for n in usable), max(n.mem_mib for n in usable)
    if cpus > most_cpus:
        return f"no node has {cpus} CPUs, the largest has {most_cpus}"
    if mem > most_mem:
        return f"no node has {format_memory(mem)}, the largest has {format_memory(most_mem)}"
    return "no nodes have all of it together"


def _room(cpus: int, of_task: int, mem: int, mem_of_task: int) -> int:
    by_cpu = cpus // of_task
    return min(by_cpu, mem // mem_of_task) if mem_of_task else by_cpu


def enforces_limits(settings: Mapping[str, str]) -> bool:
    """Whether limits of accounting count (slurm.conf(5), AccountingStorageEnforce)."""
    return bool({"limits", "safe"} & set(settings.get("AccountingStorageEnforce", "").split(",")))


def running_limits(
    associations: str, qualities: str, needs: Needs, of_task: TaskFootprint
) -> Iterator[tuple[int, str]]:
    """How many tasks the accounting limits let run at once, each limit with its name.

    Args:
        associations: the answer to ``commands.associations``; lines that are none are left out.
        qualities: the answer to ``commands.qos``, likewise.
        needs: of one task.
        of_task: what it takes.
    """
    own, qualities_of = _applying(associations, qualities, needs)
    for said in own:
        yield from _limits(said, ("MaxJobs", "GrpJobs"), ("GrpTRES",), of_task)
    for said in qualities_of:
        yield from _limits(said, ("MaxJobsPU", "GrpJobs"), ("GrpTRES", "MaxTRESPU"), of_task)


def submit_limits(
    associations: str, qualities: str, needs: Needs, settings: Mapping[str, str]
) -> Iterator[tuple[int, str]]:
    """How many tasks a user may have in the queue, running ones too, each limit with its name.

    ``MaxJobCount`` counts everybody's. An array counts as its tasks.
    """
    jobs = parse_number(settings.get("MaxJobCount", ""))
    if jobs is not None:
        yield jobs, f"MaxJobCount is {jobs}"
    own, qualities_of = _applying(associations, qualities, needs)
    for said in own:
        yield from _counts(said, ("MaxSubmit", "GrpSubmit"))
    for said in qualities_of:
        yield from _counts(said, ("MaxSubmitPU", "MaxSubmitPA", "GrpSubmit"))


def _applying(
    associations: str, qualities: str, needs: Needs
) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """The associations and the qualities of service under which such a task is submitted."""
    asked = dict(needs.options)
    own = [
        said
        for said in _table(associations, ASSOCIATION_FIELDS)
        if said["Account"] == asked.get("account", said["DefaultAccount"])
        and said["Partition"] in {"", needs.partition}
    ]
    usual = {said["DefaultQOS"] or said["QOS"] for said in own}
    names = {asked["qos"]} if "qos" in asked else usual
    return own, [said for said in _table(qualities, QOS_FIELDS) if said["Name"] in names]


def _table(text: str, fields: Sequence[str]) -> Iterator[dict[str, str]]:
    rows = (line.split("|") for line in text.split("\n"))
    return (dict(zip(fields, row, strict=True)) for row in rows if len(row) == len(fields))


def _limits(
    said: Mapping[str, str], counts: Iterable[str], resources: Iterable[str], of_task: TaskFootprint
) -> Iterator[tuple[int, str]]:
    yield from _counts(said, counts)
    for key in resources:
        for resource in said[key].split(","):
            name, _, amount = resource.partition("=")
            cpus = parse_number(amount) if name == "cpu" else None
            size = parse_size(amount if amount[-1:].isalpha() else f"{amount}M")
            if cpus is not None:
                yield cpus // of_task.cpus, f"{key} is {resource}"
            if name == "mem" and size and of_task.mem_mib:
                yield size // (of_task.mem_mib << 20), f"{key} is {resource}"


def _counts(said: Mapping[str, str], keys: Iterable[str]) -> Iterator[tuple[int, str]]:
    for key in keys:
        jobs = parse_number(said[key])
        if jobs is not None:
            yield jobs, f"{key} is {jobs}"


def max_array_tasks(settings: Mapping[str, str]) -> int:
    """Most tasks of one array (slurm.conf(5), MaxArraySize and max_array_tasks)."""
    size = int(settings["MaxArraySize"])
    match = re.search(r"\bmax_array_tasks=(\d{1,9})", settings.get("SchedulerParameters", ""))
    return min(size, int(match[1])) if match else size


def requests_gpus(needs: Needs) -> bool:
    """Whether a task wants GPUs, of which sinfo tells too little to count."""
    return any(
        name.startswith("gpus") or (name in {"gres", "tres-per-task"} and "gpu" in value)
        for name, value in needs.options
    )
