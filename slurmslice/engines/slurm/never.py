"""What can never run, for certain: a submission of it is refused, so a doubt is no never. Pure.

A node that is down may come back, and a user's limits may be raised; a site's plugin, or a
federation, may send a job elsewhere. What is left: more than any node has, more time than any
partition gives, and a partition that is not among all of them, the hidden ones included.

Sources: slurm.conf(5), JobSubmitPlugins and SelectTypeParameters; sacctmgr(1), the flag
PartitionTimeLimit of a quality of service; sbatch(1), ``--cpus-per-task``; scontrol(1), ``--all``
and ``show federation``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from slurmslice.engines.slurm.resources import Node
from slurmslice.resources import ResourceRequest
from slurmslice.units import format_memory, parse_count, parse_memory


def too_large(request: ResourceRequest, settings: Mapping[str, str], among: Sequence[Node]) -> str:
    """Why no node could ever run one process of such a task, one that is down now neither.

    Args:
        request: of one task.
        settings: of ``scontrol show config``.
        among: every node of the partitions that it may run in.

    Returns:
        empty where one could.
    """
    if not among:
        return ""
    cpus = 1 if "overcommit" in request else parse_count(request.get("cpus-per-task", "1"))
    mem = 0
    if "MEMORY" in settings.get("SelectTypeParameters", "").upper():
        of_cpu = parse_memory(request.get("mem-per-cpu", "0"))
        mem = max(parse_memory(request.get("mem", "0")), of_cpu * cpus)
    if any(node.all_cpus >= cpus and node.mem >= mem for node in among):
        return ""
    most_cpus, most_mem = max(n.all_cpus for n in among), max(n.mem for n in among)
    if mem > most_mem:
        return f"no node has {format_memory(mem)}, the largest has {format_memory(most_mem)}"
    if cpus > most_cpus:
        return f"no node has {cpus} CPUs, the largest has {most_cpus}"
    return f"no node has {cpus} CPUs and {format_memory(mem)} together"


def routed(settings: Mapping[str, str]) -> bool:
    """Whether a site's plugin may give a job another request than it was submitted with."""
    plugins = (settings.get(key, "") for key in ("JobSubmitPlugins", "CliFilterPlugins"))
    return any(text not in {"", "(null)", "none"} for text in plugins)


def federated(text: str) -> bool:
    """Whether the cluster is one of a federation, by the answer to ``commands.FEDERATION``."""
    return "Federation:" in text  # where it is in none the answer is empty (seen)


def lifts_time_limits(flags: str) -> bool:
    """Whether a quality of service lets jobs be longer than their partition's limit.

    Args:
        flags: the answer to ``commands.qos_flags``.
    """
    return "partitiontimelimit" in flags.lower()
