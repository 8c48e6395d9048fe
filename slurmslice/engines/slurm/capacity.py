"""How many tasks a cluster can run at once: by its nodes, and by a user's limits. Pure.

Sources: slurm.conf(5), SelectTypeParameters and DefMemPerCPU; sacctmgr(1), the limits of
associations and of qualities of service; squeue(1), PartitionTimeLimit.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from slurmslice.engines.slurm.commands import LIMIT_FIELDS, QOS_FIELDS
from slurmslice.engines.slurm.resources import Node, Partition, default_memory
from slurmslice.engines.slurm.values import bytes_of, number_of
from slurmslice.errors import BadInput
from slurmslice.resources import MEMORY, NO_REQUEST, ResourceRequest
from slurmslice.units import format_memory, format_time, parse_time


def places(request: ResourceRequest, everywhere: Iterable[Partition]) -> list[Partition]:
    """The partitions that such a task may run in."""
    wanted = named(request)
    return [p for p in everywhere if (p.name in wanted if wanted else p.default)]


def named(request: ResourceRequest) -> list[str]:
    """The partitions that such a task names; none for the default."""
    return [name for name in (request.partition or "").split(",") if name]


def why_never(request: ResourceRequest, everywhere: Sequence[Partition]) -> str:
    """Why none of the partitions takes such a task, however empty it is; empty where one may."""
    found = places(request, everywhere)
    if not found:
        return "there is no partition by default; name one with -p"
    return too_long(request, found)


def not_listed(request: ResourceRequest, everywhere: Sequence[Partition]) -> str:
    """A partition that such a task names and that is not among these; empty where all are."""
    names = [partition.name for partition in everywhere]
    missing = next((name for name in named(request) if name not in names), None)
    if missing is None:
        return ""
    import difflib

    near = difflib.get_close_matches(missing, names, 1)
    return f"no partition {missing} is known" + (f"; perhaps {near[0]} is meant" if near else "")


def too_long(request: ResourceRequest, found: Sequence[Partition]) -> str:
    """Why such a task is above the time limit of these partitions; empty where it is not.

    The least time that it is content with counts, where it says one (sbatch(1), ``--time-min``).
    """
    if request.time_s is None and "time" not in request:
        return ""
    longest = max(_seconds(partition.max_time_s) for partition in found)
    if _least_seconds(request) <= longest:
        return ""
    where = ", ".join(partition.name for partition in found)
    option = "--time-min" if "time-min" in request else "--time"
    return (
        f"{option} is at most {format_time(int(longest))} in {where}; a longer one waits for ever"
    )


def _least_seconds(request: ResourceRequest) -> float:
    least = request.get("time-min")
    try:
        return _seconds(request.time_s if least is None else parse_time(least))
    except BadInput:
        return 0  # sbatch refuses what is no time


def all_listed(found: Iterable[Partition], among: Sequence[Node]) -> bool:
    """Whether these are all nodes of the partitions: a cloud's, powered down, are not listed."""
    return all(
        partition.nodes is not None
        and len({node.name for node in among if node.partition == partition.name})
        >= partition.nodes
        for partition in found
    )


def _seconds(limit: int | None) -> float:
    return math.inf if limit is None else limit


def effective(
    request: ResourceRequest, settings: Mapping[str, str], partition: Partition
) -> ResourceRequest:
    """The request that Slurm makes of a task's in a partition.

    It has the default memory if the task asks for none, no memory if Slurm does not count it,
    and ``--exclusive`` if the task gets whole nodes.
    """
    memory = request.only(MEMORY)
    alone = settings.get("SelectType") == "select/linear"
    if "MEMORY" not in settings.get("SelectTypeParameters", "").upper():
        memory = NO_REQUEST
    elif request.mem_mib is None:
        usual = partition.default_mem or default_memory(settings)
        memory = NO_REQUEST
        if request.whole_nodes_memory or usual is None:
            alone = True
        else:
            mib, per = usual
            name = "mem-per-cpu" if per == "cpu" else "mem"
            memory = ResourceRequest(((name, f"{mib}M"),))
    found = request.without(MEMORY).overridden_by(memory)
    return found.overridden_by({"exclusive": ""}) if alone and "exclusive" not in found else found


@dataclass(frozen=True, slots=True)
class Fit:
    """How many tasks fit: beside what runs now, and at all."""

    now: int
    ever: int


def fit(request: ResourceRequest, among: Iterable[Node]) -> Fit:
    """How many such tasks fit into these nodes; one over several nodes counts in equal parts.

    Constraints, GPUs and licences are not looked at.
    """
    cpus, mem = _of_node(request)
    alone = "exclusive" in request
    now = ever = 0
    for node in {node.name: node for node in among if node.usable}.values():
        room, free = _room(node.cpus, cpus, node.mem, mem), 0
        if not alone or node.free_cpus == node.cpus:
            free = _room(node.free_cpus, cpus, node.free_mem, mem)
        most = 1 if alone else room
        ever += min(room, most)
        now += min(free, most)
    return Fit(now // request.nodes, ever // request.nodes)


def _of_node(request: ResourceRequest) -> tuple[int, int]:
    """CPUs and MiB of a task on each of its nodes, rounded up."""
    return request.cpus_per_node, -(-(request.mem_mib or 0) // request.nodes)


def why_none_fits(request: ResourceRequest, among: Iterable[Node]) -> str:
    """What these nodes lack for such a task; empty where it fits."""
    usable = [node for node in among if node.usable]
    if fit(request, usable).ever:
        return ""
    if not usable:
        return "no node is usable now"
    cpus, mem = _of_node(request)
    most_cpus, most_mem = max(n.cpus for n in usable), max(n.mem for n in usable)
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
    associations: str, qualities: str, request: ResourceRequest
) -> Iterator[tuple[int, str]]:
    """How many tasks the accounting limits let run at once, each limit with its name.

    Args:
        associations: the answer to ``commands.associations``; lines that are none are left out.
        qualities: the answer to ``commands.qos``, likewise.
        request: of one task, as ``effective`` gives it.
    """
    own, qualities_of = _applying(associations, qualities, request)
    for said in own:
        yield from _limits(said, ("MaxJobs", "GrpJobs"), ("GrpTRES",), request)
    for said in qualities_of:
        yield from _limits(said, ("MaxJobsPU", "GrpJobs"), ("GrpTRES", "MaxTRESPU"), request)


def submit_limits(
    associations: str, qualities: str, request: ResourceRequest, settings: Mapping[str, str]
) -> Iterator[tuple[int, str]]:
    """How many tasks a user may have in the queue, running ones too, each limit with its name.

    ``MaxJobCount`` counts everybody's. An array counts as its tasks.
    """
    jobs = number_of(settings.get("MaxJobCount", ""))
    if jobs is not None:
        yield jobs, f"MaxJobCount is {jobs}"
    own, qualities_of = _applying(associations, qualities, request)
    for said in own:
        yield from _counts(said, ("MaxSubmit", "GrpSubmit"))
    for said in qualities_of:
        yield from _counts(said, ("MaxSubmitPU", "MaxSubmitPA", "GrpSubmit"))


def _applying(
    associations: str, qualities: str, request: ResourceRequest
) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """The associations and the qualities of service under which such a task is submitted."""
    own = [
        said
        for said in _table(associations, LIMIT_FIELDS)
        if said["Account"] == request.get("account", said["DefaultAccount"])
        and said["Partition"] in {"", request.partition}
    ]
    usual = {said["DefaultQOS"] or said["QOS"] for said in own}
    names = {request["qos"]} if "qos" in request else usual
    return own, [said for said in _table(qualities, QOS_FIELDS) if said["Name"] in names]


def _table(text: str, fields: Sequence[str]) -> Iterator[dict[str, str]]:
    rows = (line.split("|") for line in text.split("\n"))
    return (dict(zip(fields, row, strict=True)) for row in rows if len(row) == len(fields))


def _limits(
    said: Mapping[str, str],
    counts: Iterable[str],
    resources: Iterable[str],
    request: ResourceRequest,
) -> Iterator[tuple[int, str]]:
    yield from _counts(said, counts)
    for key in resources:
        for resource in said[key].split(","):
            name, _, amount = resource.partition("=")
            cpus = number_of(amount) if name == "cpu" else None
            size = bytes_of(amount if amount[-1:].isalpha() else f"{amount}M")
            if cpus is not None:
                yield cpus // request.cpus, f"{key} is {resource}"
            if name == "mem" and size and request.mem_mib:
                yield size // (request.mem_mib << 20), f"{key} is {resource}"


def _counts(said: Mapping[str, str], keys: Iterable[str]) -> Iterator[tuple[int, str]]:
    for key in keys:
        jobs = number_of(said[key])
        if jobs is not None:
            yield jobs, f"{key} is {jobs}"


def max_array_tasks(settings: Mapping[str, str]) -> int:
    """Most tasks of one array (slurm.conf(5), MaxArraySize and max_array_tasks)."""
    size = int(settings["MaxArraySize"])
    match = re.search(r"\bmax_array_tasks=(\d{1,9})", settings.get("SchedulerParameters", ""))
    return min(size, int(match[1])) if match else size


def asks_for_gpus(request: ResourceRequest) -> bool:
    """Whether a task wants GPUs, of which sinfo tells too little to count."""
    return any(
        name.startswith("gpus") or (name in {"gres", "tres-per-task"} and "gpu" in value)
        for name, value in request.options
    )
