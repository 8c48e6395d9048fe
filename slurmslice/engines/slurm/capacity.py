"""Count the tasks a cluster can run at once, by its nodes and by the user's limits. Pure.

A function named ``why_…`` returns the reason as text, or an empty text if there is none.

Sources: slurm.conf(5), SelectTypeParameters and DefMemPerCPU; sacctmgr(1), the limits of
associations and of qualities of service; squeue(1), PartitionTimeLimit.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from slurmslice.engines.slurm.cluster_records import Node, Partition, default_memory
from slurmslice.errors import BadInputError
from slurmslice.sbatch.options import MEMORY_OPTIONS
from slurmslice.sbatch.resource_request import NO_REQUEST, ResourceRequest
from slurmslice.sbatch.units import format_memory, format_time, parse_time


def candidate_partitions(request: ResourceRequest, known: Iterable[Partition]) -> list[Partition]:
    """Return the partitions a task may run in."""
    wanted = requested_partitions(request)
    return [p for p in known if (p.name in wanted if wanted else p.default)]


def requested_partitions(request: ResourceRequest) -> list[str]:
    """Return the names of the partitions a task requests; empty for the default partition."""
    return [name for name in (request.partition or "").split(",") if name]


def why_no_partition(request: ResourceRequest, known: Sequence[Partition]) -> str:
    """Explain why no partition accepts a task, even with all of its nodes free."""
    partitions = candidate_partitions(request, known)
    if not partitions:
        return "this cluster has no default partition; name one with -p"
    return why_too_long(request, partitions)


def why_unknown_partition(request: ResourceRequest, known: Sequence[Partition]) -> str:
    """Explain that a partition requested by a task does not exist, and name a similar one."""
    names = [partition.name for partition in known]
    missing = next((name for name in requested_partitions(request) if name not in names), None)
    if missing is None:
        return ""
    import difflib

    near = difflib.get_close_matches(missing, names, 1)
    return f"there is no partition {missing}" + (f" (did you mean {near[0]}?)" if near else "")


def why_too_long(request: ResourceRequest, partitions: Sequence[Partition]) -> str:
    """Explain that a task requests more time than these partitions allow.

    If the task sets a minimum (sbatch(1), ``--time-min``), the minimum counts.
    """
    if request.time_s is None and "time" not in request:
        return ""
    longest = max(_or_infinite(partition.max_time_s) for partition in partitions)
    if _minimum_time_s(request) <= longest:
        return ""
    where = ", ".join(partition.name for partition in partitions)
    option = "--time-min" if "time-min" in request else "--time"
    return f"{option} is at most {format_time(int(longest))} in {where}; a longer job never starts"


def _minimum_time_s(request: ResourceRequest) -> float:
    least = request.get("time-min")
    try:
        return _or_infinite(request.time_s if least is None else parse_time(least))
    except BadInputError:
        return 0  # sbatch refuses an invalid time


def all_nodes_listed(partitions: Iterable[Partition], nodes: Sequence[Node]) -> bool:
    """True if sinfo lists all nodes of the partitions; it omits a cloud's powered-down nodes."""
    return all(
        partition.node_count is not None
        and len({node.name for node in nodes if node.partition == partition.name})
        >= partition.node_count
        for partition in partitions
    )


def _or_infinite(limit: int | None) -> float:
    return math.inf if limit is None else limit


def effective_request(
    request: ResourceRequest, settings: Mapping[str, str], partition: Partition
) -> ResourceRequest:
    """Return the request that Slurm makes of a task's request in a partition.

    It has the default memory if the task requests none, no memory if Slurm does not allocate
    memory, and ``--exclusive`` if no other job runs on the task's nodes.
    """
    memory = request.only(MEMORY_OPTIONS)
    exclusive = settings.get("SelectType") == "select/linear"
    if "MEMORY" not in settings.get("SelectTypeParameters", "").upper():
        memory = NO_REQUEST
    elif request.mem_mib is None:
        default = partition.default_mem or default_memory(settings)
        memory = NO_REQUEST
        if request.whole_nodes_memory or default is None:
            exclusive = True
        else:
            mib, per = default
            name = "mem-per-cpu" if per == "cpu" else "mem"
            memory = ResourceRequest(((name, f"{mib}M"),))
    found = request.without(MEMORY_OPTIONS).overridden_by(memory)
    add = exclusive and "exclusive" not in found
    return found.overridden_by({"exclusive": ""}) if add else found


@dataclass(frozen=True, slots=True)
class FittingTasks:
    """The number of tasks that fit into some nodes.

    Attributes:
        now: beside the jobs that run now.
        when_empty: if no other job runs.
    """

    now: int
    when_empty: int


def count_fitting(request: ResourceRequest, nodes: Iterable[Node]) -> FittingTasks:
    """Count the tasks with this request that fit into these nodes.

    A task with several nodes is split into equal parts. Constraints, GPUs and licences are
    ignored.
    """
    cpus, mem = _per_node(request)
    now = when_empty = 0
    for node in {node.name: node for node in nodes if node.usable}.values():
        fit, fit_now = _tasks_on_node(node.cpus, cpus, node.mem_mib, mem), 0
        if "exclusive" not in request or node.free_cpus == node.cpus:
            fit_now = _tasks_on_node(node.free_cpus, cpus, node.free_mem_mib, mem)
        most = 1 if "exclusive" in request else fit
        when_empty += min(fit, most)
        now += min(fit_now, most)
    return FittingTasks(now // request.nodes, when_empty // request.nodes)


def commonest_memory(partitions: Sequence[Partition], nodes: Sequence[Node]) -> int | None:
    """Return the memory that most nodes of partitions have, MiB, the larger one of two.

    It is None if sinfo does not list all nodes, or there are none.
    """
    if not all_nodes_listed(partitions, nodes):
        return None
    sizes = Counter({node.name: node.mem_mib for node in nodes}.values())
    return max(sizes, key=lambda mib: (sizes[mib], mib), default=None)


def _per_node(request: ResourceRequest) -> tuple[int, int]:
    """Return the CPUs and the MiB of a task on each of its nodes, rounded up."""
    return request.cpus_per_node, -(-(request.mem_mib or 0) // request.nodes)


def why_none_fits(request: ResourceRequest, nodes: Iterable[Node]) -> str:
    """Explain why no task with this request fits into these nodes."""
    usable = [node for node in nodes if node.usable]
    if count_fitting(request, usable).when_empty:
        return ""
    if not usable:
        return "no node is usable now"
    cpus, mem = _per_node(request)
    most_cpus, most_mem = max(n.cpus for n in usable), max(n.mem_mib for n in usable)
    if cpus > most_cpus:
        return f"no node has {cpus} CPUs, the largest has {most_cpus}"
    if mem > most_mem:
        return f"no node has {format_memory(mem)}, the largest has {format_memory(most_mem)}"
    return "too few nodes have enough CPUs and memory"


def _tasks_on_node(cpus: int, task_cpus: int, mem_mib: int, task_mem_mib: int) -> int:
    by_cpu = cpus // task_cpus
    return min(by_cpu, mem_mib // task_mem_mib) if task_mem_mib else by_cpu


def max_array_tasks(settings: Mapping[str, str]) -> int:
    """Return the largest number of tasks in one array (MaxArraySize, max_array_tasks)."""
    size = int(settings["MaxArraySize"])
    match = re.search(r"\bmax_array_tasks=(\d{1,9})", settings.get("SchedulerParameters", ""))
    return min(size, int(match[1])) if match else size


def requests_gpus(request: ResourceRequest) -> bool:
    """True if a task requests GPUs; sinfo prints too little about GPUs to count them."""
    return any(
        name.startswith("gpus") or (name in {"gres", "tres-per-task"} and "gpu" in value)
        for name, value in request.options
    )
