"""Describe a cluster's partitions, and the number of tasks that fit into each. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from slurmslice.engines.slurm.capacity import (
    FittingTasks,
    count_fitting,
    effective_request,
    why_no_partition,
    why_none_fits,
)
from slurmslice.engines.slurm.cluster_records import Node, Partition
from slurmslice.sbatch.resource_request import ResourceRequest


@dataclass(frozen=True, slots=True)
class PartitionHealth:
    """A partition, its usable nodes, and the number of tasks that fit into it.

    Attributes:
        name, default, state, max_time_s: as in ``Partition``.
        nodes: the number of its nodes, usable or not.
        free_cpus, cpus: idle CPUs and all CPUs of the usable nodes.
        mem_mib: the memory of the largest usable node, MiB.
        fitting: the number of tasks that fit.
        why_none: the reason if no task ever fits; else empty.
    """

    name: str
    default: bool
    state: str
    max_time_s: int | None
    nodes: int
    free_cpus: int
    cpus: int
    mem_mib: int
    fitting: FittingTasks
    why_none: str


@dataclass(frozen=True, slots=True)
class ClusterHealth:
    """The state of a cluster before a submission.

    Attributes:
        version, cluster: Slurm's version and the cluster's name.
        max_array_size: the highest array index is one less.
        accounting: ``on``, or the reason if accounting does not answer.
        partitions: all partitions, in Slurm's order.
        steward: whether a steward can follow runs here, for a person.
        scrontab: whether scrontab can be used here, for a person.
    """

    version: str
    cluster: str
    max_array_size: int
    accounting: str
    partitions: tuple[PartitionHealth, ...]
    steward: str
    scrontab: str


def scrontab_health(settings: Mapping[str, str]) -> str:
    """Tell if scrontab can be used. Source: slurm.conf(5), ScronParameters."""
    words = settings.get("ScronParameters", "").split(",")
    return "is switched on" if "enable" in words else "is switched off (ScronParameters)"


def steward_health(partitions: Iterable[Partition], settings: Mapping[str, str]) -> str:
    """Tell if a steward can follow runs, as far as the settings say. It asks for ``--requeue``.

    Source: slurm.conf(5), AllocNodes and JobRequeue.
    """
    closed = [one for one in partitions if one.submit_nodes]
    if any(one.default for one in closed) or (closed and not any(p.default for p in partitions)):
        nodes = ", ".join(dict.fromkeys(one.submit_nodes for one in closed))
        return f"perhaps not: jobs can be submitted from {nodes} only (AllocNodes)"
    shut = f", not for runs in {', '.join(one.name for one in closed)} (AllocNodes)"
    asks = ", by its own request (JobRequeue is 0)" if settings.get("JobRequeue") == "0" else ""
    return f"possible{asks}{shut if closed else ''}"


def partition_health(
    partition: Partition,
    all_nodes: Iterable[Node],
    request: ResourceRequest,
    settings: Mapping[str, str],
) -> PartitionHealth:
    """Describe one partition.

    Args:
        partition: the partition.
        all_nodes: the nodes of all partitions.
        request: of one task.
        settings: the settings of ``scontrol show config``.
    """
    nodes = [node for node in all_nodes if node.partition == partition.name]
    usable = [node for node in nodes if node.usable]
    effective = effective_request(request, settings, partition)
    never = why_no_partition(request.overridden_by({"partition": partition.name}), [partition])
    return PartitionHealth(
        partition.name,
        partition.default,
        partition.state,
        partition.max_time_s,
        len(nodes),
        sum(node.free_cpus for node in usable),
        sum(node.cpus for node in usable),
        max((node.mem_mib for node in usable), default=0),
        FittingTasks(0, 0) if never else count_fitting(effective, nodes),
        never or why_none_fits(effective, nodes),
    )
