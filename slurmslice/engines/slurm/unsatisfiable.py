"""Find requests that can certainly never run; slurmslice refuses to submit them. Pure.

A request is not certain to fail if a node that is down may return, a user's limit may be
raised, or a site's plugin or a federation may send the job elsewhere. Three cases remain: a
request for more than any node has, for more time than any partition allows, and for a partition
absent from the list of all partitions, hidden ones included.

Sources: slurm.conf(5), JobSubmitPlugins and SelectTypeParameters; sacctmgr(1), the flag
PartitionTimeLimit of a quality of service; sbatch(1), ``--cpus-per-task``; scontrol(1), ``--all``
and ``show federation``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from slurmslice.engines.slurm.cluster_records import Node
from slurmslice.sbatch.resource_request import ResourceRequest
from slurmslice.sbatch.units import format_memory, parse_count, parse_memory


def why_too_large(
    request: ResourceRequest, settings: Mapping[str, str], nodes: Sequence[Node]
) -> str:
    """Explain why no node could ever run one process of a task; empty if a node could.

    Nodes that are down now count as well.

    Args:
        request: of one task.
        settings: the settings of ``scontrol show config``.
        nodes: all nodes of the partitions the task may run in.
    """
    if not nodes:
        return ""
    cpus = 1 if "overcommit" in request else parse_count(request.get("cpus-per-task", "1"))
    mem = 0
    if "MEMORY" in settings.get("SelectTypeParameters", "").upper():
        of_cpu = parse_memory(request.get("mem-per-cpu", "0"))
        mem = max(parse_memory(request.get("mem", "0")), of_cpu * cpus)
    if any(node.configured_cpus >= cpus and node.mem_mib >= mem for node in nodes):
        return ""
    most_cpus, most_mem = max(n.configured_cpus for n in nodes), max(n.mem_mib for n in nodes)
    if mem > most_mem:
        return f"no node has {format_memory(mem)}, the largest has {format_memory(most_mem)}"
    if cpus > most_cpus:
        return f"no node has {cpus} CPUs, the largest has {most_cpus}"
    return f"no node has {cpus} CPUs and {format_memory(mem)} together"


def may_be_rewritten(settings: Mapping[str, str]) -> bool:
    """True if a site's plugin may change the request of a submitted job."""
    plugins = (settings.get(key, "") for key in ("JobSubmitPlugins", "CliFilterPlugins"))
    return any(text not in {"", "(null)", "none"} for text in plugins)


def is_federated(text: str) -> bool:
    """True if the cluster belongs to a federation.

    Args:
        text: the answer to ``commands.SHOW_FEDERATION``.
    """
    return "Federation:" in text  # outside a federation the answer is empty (seen)


def lifts_time_limits(flags: str) -> bool:
    """True if a quality of service allows jobs longer than their partition's limit.

    Args:
        flags: the answer to ``commands.sacctmgr_qos_flags``.
    """
    return "partitiontimelimit" in flags.lower()
