"""Ask a cluster for its limits: tasks running at once, and tasks accepted into the queue."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Sequence

from slurmslice.engines.protocol import QueueCapacity, TaskLimits
from slurmslice.engines.slurm import (
    account_limits,
    capacity,
    cluster_records,
    commands,
    environment,
    unsatisfiable,
)
from slurmslice.engines.slurm.client import SlurmClient
from slurmslice.engines.slurm.slurm_health import PartitionHealth, partition_health, steward_health
from slurmslice.errors import NoAnswerError
from slurmslice.sbatch.resource_request import ResourceRequest


class ClusterCapacity:
    """Asks one cluster for the limits of itself, of its partitions and of the user.

    Args:
        slurm: runs Slurm's commands.
    """

    def __init__(self, slurm: SlurmClient) -> None:
        self._slurm = slurm

    def limits(self, request: ResourceRequest) -> TaskLimits:
        """Return MaxArraySize, and the number of tasks running at once. As ``Engine.limits``."""
        request, is_certain = self._with_environment(request)
        size = int(self._slurm.cluster_config()["MaxArraySize"])
        try:
            known = cluster_records.parse_partitions(
                self._slurm.query(commands.SHOW_ALL_PARTITIONS)
            )
            if unknown := capacity.why_unknown_partition(request, known):
                if is_certain and self._refuses_unknown_partitions():
                    return TaskLimits(size, 0, unknown, impossible_reason=unknown)
                return TaskLimits(size, None, unknown)
            partitions = capacity.candidate_partitions(request, known)
            why_never = capacity.why_no_partition(request, known)
            nodes = [] if why_never else self._nodes_of(partitions)
            at_once, why = (
                (0, why_never) if why_never else self._at_once(request, partitions, nodes)
            )
            impossible = self._why_never(request, partitions) if is_certain and at_once == 0 else ""
        except NoAnswerError as error:
            return TaskLimits(size, None, error.message)
        times = [p.max_time_s for p in partitions if p.max_time_s is not None]
        defaults = {p.default_time_s for p in partitions}
        default_s = defaults.pop() if len(defaults) == 1 else None
        if "time" in request:  # of the person, or of SBATCH_TIMELIMIT
            default_s = request.time_s
        return TaskLimits(
            size, at_once, why, min(times, default=None), default_s, impossible,
            node_mem_mib=capacity.commonest_memory(partitions, nodes),
            nodes=len({node.name for node in nodes}) or None,
            maintenance_at=self._maintenance_of({node.name for node in nodes}),
        )  # fmt: skip

    def queue_capacity(self, request: ResourceRequest) -> QueueCapacity:
        """Return the number of tasks the queue accepts now. As ``Engine.intake``.

        Each job of the user counts against each limit, whatever its account or quality of
        service. So the result may be too small, and is never too large.
        """
        (request, _), settings = self._with_environment(request), self._slurm.cluster_config()
        size, max_tasks_per_array = (
            int(settings["MaxArraySize"]),
            capacity.max_array_tasks(settings),
        )
        limits = list(account_limits.submit_limits(*self._slurm.limit_tables(), request, settings))
        if not limits:
            return QueueCapacity(size, max_tasks_per_array)
        records = self._slurm.query_queue(commands.squeue_user(os.getuid(), ended=False))
        queued = sum(len(r.indices or "1") for r in records if r.step is None)
        limit, why = min(limits)
        in_queue = f"; already in the queue: {queued}" if queued else ""
        return QueueCapacity(size, max_tasks_per_array, max(0, limit - queued), why + in_queue)

    def partition_health(self, request: ResourceRequest) -> tuple[PartitionHealth, ...]:
        """Describe each partition, and count the tasks that fit into it.

        Raises:
            NoAnswerError: the controller does not answer.
        """
        settings = self._slurm.cluster_config()
        nodes = cluster_records.parse_nodes(self._slurm.query(commands.sinfo()))
        partitions = cluster_records.parse_partitions(self._slurm.query(commands.SHOW_PARTITIONS))
        return tuple(partition_health(p, nodes, request, settings) for p in partitions)

    def steward_health(self) -> str:
        """Tell if a steward can follow runs here.

        Raises:
            NoAnswerError: the controller does not answer.
        """
        partitions = cluster_records.parse_partitions(self._slurm.query(commands.SHOW_PARTITIONS))
        return steward_health(partitions, self._slurm.cluster_config())

    def _with_environment(self, request: ResourceRequest) -> tuple[ResourceRequest, bool]:
        """Add sbatch's environment to a request; False if it has other, unknown effects."""
        added, has_unknown = environment.added_options(self._slurm.environ, list(request))
        return added.overridden_by(request), not has_unknown

    def _at_once(
        self,
        request: ResourceRequest,
        partitions: Sequence[cluster_records.Partition],
        nodes: Sequence[cluster_records.Node],
    ) -> tuple[int | None, str]:
        """Return the number of tasks running at once, None if unknown, and its reason."""
        if capacity.requests_gpus(request):
            return None, "GPUs are not counted"
        names = ", ".join(sorted({p.name for p in partitions}))
        effective = capacity.effective_request(request, self._slurm.cluster_config(), partitions[0])
        fitting = capacity.count_fitting(effective, nodes).when_empty
        if not fitting and not capacity.all_nodes_listed(partitions, nodes):
            return None, f"sinfo does not list all nodes of {names}"
        lack = capacity.why_none_fits(effective, nodes)
        why = f"{fitting} fit into the usable nodes of {names}"
        by_nodes = fitting, f"{why}: {lack}" if lack else why
        limits = account_limits.running_limits(*self._slurm.limit_tables(), effective)
        return min([by_nodes, *limits])

    def _nodes_of(
        self, partitions: Sequence[cluster_records.Partition]
    ) -> list[cluster_records.Node]:
        names = {partition.name for partition in partitions}
        nodes = cluster_records.parse_nodes(self._slurm.query(commands.sinfo()))
        return [node for node in nodes if node.partition in names]

    def _maintenance_of(self, nodes: Collection[str]) -> float | None:
        """Return the begin of the next maintenance of all these nodes; None if none is known."""
        with contextlib.suppress(NoAnswerError):
            shown = self._slurm.query(commands.SHOW_RESERVATIONS)
            for planned in cluster_records.parse_maintenances(shown) if nodes else ():
                if self._slurm.expand(planned.nodes).issuperset(nodes):
                    return planned.begins_at
        return None

    def _why_never(
        self, request: ResourceRequest, partitions: Sequence[cluster_records.Partition]
    ) -> str:
        """Explain why no such task can ever run; empty unless this is certain."""
        settings = self._slurm.cluster_config()
        if unsatisfiable.may_be_rewritten(settings) or not partitions:
            return ""
        if "reservation" in request:
            return ""  # a reservation may have other nodes, and another partition
        if too_long := capacity.why_too_long(request, partitions):
            return "" if self._may_lift_time_limits() else too_long
        too_large = unsatisfiable.why_too_large(request, settings, self._nodes_of(partitions))
        if too_large or any(partition.has_qos for partition in partitions):
            return too_large  # the limits of a partition's QOS replace those of the group
        effective = capacity.effective_request(request, settings, partitions[0])
        return account_limits.why_above_limits(*self._slurm.limit_tables(), effective)

    def _refuses_unknown_partitions(self) -> bool:
        """True if no plugin and no other cluster may know the partition: sbatch refuses it then.

        sbatch also refuses a list of partitions if one of them is unknown (seen on 22.05 and
        26.05).
        """
        if unsatisfiable.may_be_rewritten(self._slurm.cluster_config()):
            return False
        try:
            return not unsatisfiable.is_federated(self._slurm.query(commands.SHOW_FEDERATION))
        except NoAnswerError:
            return False

    def _may_lift_time_limits(self) -> bool:
        """True if a quality of service may allow longer jobs, or sacctmgr does not answer."""
        if self._slurm.cluster_config().get("AccountingStorageType", "").endswith("none"):
            return False  # without accounting there is no quality of service
        try:
            return unsatisfiable.lifts_time_limits(self._slurm.query(commands.sacctmgr_qos_flags()))
        except NoAnswerError:
            return True
