"""How a cluster is, for a person who is about to use it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from slurmslice.engines.slurm.capacity import Fit, effective, fit, why_never, why_none_fits
from slurmslice.engines.slurm.resources import Node, Partition
from slurmslice.resources import ResourceRequest


@dataclass(frozen=True, slots=True)
class PartitionHealth:
    """A partition: what its usable nodes have, and how many tasks fit into them.

    Attributes:
        name, default, state, max_time_s: as ``Partition`` has them.
        nodes: how many there are, usable or not.
        free_cpus, cpus: free now, and in all, of the usable nodes.
        mem_mib: the memory of the largest usable node.
        fit: how many tasks fit.
        why_none: why none ever fits; empty where one does.
    """

    name: str
    default: bool
    state: str
    max_time_s: int | None
    nodes: int
    free_cpus: int
    cpus: int
    mem_mib: int
    fit: Fit
    why_none: str


@dataclass(frozen=True, slots=True)
class Health:
    """What can be said of a cluster before anything is submitted to it.

    Attributes:
        version, cluster: Slurm's version and the cluster's name.
        max_array_size: the highest array index is one less.
        accounting: ``on``, or why it does not answer.
        partitions: in Slurm's order.
    """

    version: str
    cluster: str
    max_array_size: int
    accounting: str
    partitions: tuple[PartitionHealth, ...]


def health(
    partition: Partition,
    everything: Iterable[Node],
    request: ResourceRequest,
    settings: Mapping[str, str],
) -> PartitionHealth:
    """A partition's, out of all nodes: what is free in it, and how many such tasks fit."""
    own = [node for node in everything if node.partition == partition.name]
    usable = [node for node in own if node.usable]
    of_task = effective(request, settings, partition)
    never = why_never(request.overridden_by({"partition": partition.name}), [partition])
    return PartitionHealth(
        partition.name,
        partition.default,
        partition.state,
        partition.max_time_s,
        len(own),
        sum(node.free_cpus for node in usable),
        sum(node.cpus for node in usable),
        max((node.mem for node in usable), default=0),
        Fit(0, 0) if never else fit(of_task, own),
        never or why_none_fits(of_task, own),
    )
