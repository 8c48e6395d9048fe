"""What there is room for: limits of the cluster, of its partitions, and of the user."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace

from slurmslice.engines import Intake, Limits, Needs
from slurmslice.engines.slurm import (
    capacity,
    cluster_records,
    commands,
    environment,
    job_records,
    unsatisfiable,
)
from slurmslice.engines.slurm.client import SlurmClient
from slurmslice.engines.slurm.slurm_health import PartitionHealth, partition_health
from slurmslice.errors import NoAnswer


class ClusterCapacity:
    """What a cluster would take and could run, as its commands say.

    Args:
        slurm: who is asked.
    """

    def __init__(self, slurm: SlurmClient) -> None:
        self._slurm = slurm

    def limits(self, needs: Needs) -> Limits:
        """MaxArraySize, and how many such tasks can run at once. As ``Engine.limits``."""
        needs, certain = self._in_all(needs)
        most = int(self._slurm.cluster_config()["MaxArraySize"])
        try:
            everywhere = cluster_records.parse_partitions(
                self._slurm.query(commands.SHOW_ALL_PARTITIONS)
            )
            if unknown := capacity.why_unknown_partition(needs, everywhere):
                if certain and self._refuses_unknown_partitions():
                    return Limits(most, 0, unknown, never=unknown)
                return Limits(most, None, unknown)
            places = capacity.candidate_partitions(needs, everywhere)
            why_never = capacity.why_no_partition(needs, everywhere)
            at_once, why = (0, why_never) if why_never else self._at_once(needs, places)
            for_good = self._never(needs, places) if certain and at_once == 0 else ""
        except NoAnswer as silence:
            return Limits(most, None, silence.message)
        times = [place.max_time_s for place in places if place.max_time_s is not None]
        usual = {place.default_time_s for place in places}
        default_s = usual.pop() if len(usual) == 1 else None
        return Limits(most, at_once, why, min(times, default=None), default_s, for_good)

    def intake(self, needs: Needs) -> Intake:
        """What the limits leave beside the user's jobs in the queue. As ``Engine.intake``.

        Every job of the user's counts against each limit, whatever its account or quality of
        service: the room is rather told too small than too large.
        """
        (needs, _), settings = self._in_all(needs), self._slurm.cluster_config()
        size, most = int(settings["MaxArraySize"]), capacity.max_array_tasks(settings)
        limits = list(capacity.submit_limits(*self._slurm.limit_tables(), needs, settings))
        if not limits:
            return Intake(size, most)
        rows = job_records.parse_squeue_records(
            self._slurm.query(commands.squeue_user(os.getuid(), ended=False))
        )
        queued = sum(len(row.indices or "1") for row in rows if row.step is None)
        limit, why = min(limits)
        before = f"; taken before: {queued}" if queued else ""
        return Intake(size, most, max(0, limit - queued), why + before)

    def partition_health(self, needs: Needs) -> tuple[PartitionHealth, ...]:
        """How each partition is, and how many tasks of these needs fit into it.

        Raises:
            NoAnswer: the controller does not answer.
        """
        settings = self._slurm.cluster_config()
        everything = cluster_records.parse_nodes(self._slurm.query(commands.sinfo()))
        found = cluster_records.parse_partitions(self._slurm.query(commands.SHOW_PARTITIONS))
        return tuple(
            partition_health(partition, everything, needs, settings) for partition in found
        )

    def _in_all(self, needs: Needs) -> tuple[Needs, bool]:
        """The needs with what the environment adds to them, and whether that is all it does."""
        more, others = environment.added_options(
            self._slurm.environ, [name for name, _ in needs.options]
        )
        partition = needs.partition or dict(more).get("partition")
        return replace(needs, partition=partition, options=(*needs.options, *more)), not others

    def _at_once(
        self, needs: Needs, found: Sequence[cluster_records.Partition]
    ) -> tuple[int | None, str]:
        if capacity.requests_gpus(needs):
            return None, "GPUs are not counted"
        names = {partition.name for partition in found}
        own = [
            n
            for n in cluster_records.parse_nodes(self._slurm.query(commands.sinfo()))
            if n.partition in names
        ]
        of_task = capacity.task_footprint(needs, self._slurm.cluster_config(), found[0])
        room = capacity.count_fitting(of_task, own).when_empty
        if not room and not capacity.all_nodes_listed(found, own):
            return None, f"not all nodes of {', '.join(sorted(names))} are listed"
        lack = capacity.why_none_fits(of_task, own)
        why = f"{room} fit into the usable nodes of {', '.join(sorted(names))}"
        by_nodes = room, f"{why}: {lack}" if lack else why
        return min([by_nodes, *self._own_limits(needs, of_task)])

    def _never(self, needs: Needs, found: Sequence[cluster_records.Partition]) -> str:
        """Why no such task can ever run; empty where that is not certain."""
        settings, names = self._slurm.cluster_config(), {partition.name for partition in found}
        if (
            unsatisfiable.may_be_rewritten(settings)
            or not names
            or "reservation" in dict(needs.options)
        ):
            return ""  # a reservation has nodes, and perhaps a partition, of its own
        if too_long := capacity.why_too_long(needs, found):
            return "" if self._lifts_time_limits() else too_long
        own = [
            n
            for n in cluster_records.parse_nodes(self._slurm.query(commands.sinfo()))
            if n.partition in names
        ]
        return unsatisfiable.why_too_large(needs, settings, own)

    def _refuses_unknown_partitions(self) -> bool:
        """Whether it is certain that sbatch will: no plugin, and no other cluster, may know them.

        Where one of several that are named is unknown, too (seen on 22.05 and 26.05).
        """
        if unsatisfiable.may_be_rewritten(self._slurm.cluster_config()):
            return False
        try:
            return not unsatisfiable.is_federated(self._slurm.query(commands.SHOW_FEDERATION))
        except NoAnswer:
            return False

    def _lifts_time_limits(self) -> bool:
        """Whether a quality of service may; True where that cannot be asked."""
        if self._slurm.cluster_config().get("AccountingStorageType", "").endswith("none"):
            return False  # there is none
        try:
            return unsatisfiable.lifts_time_limits(self._slurm.query(commands.sacctmgr_qos_flags()))
        except NoAnswer:
            return True

    def _own_limits(self, needs: Needs, of_task: capacity.TaskFootprint) -> list[tuple[int, str]]:
        """What the user's limits let run at once; nothing where they cannot be asked."""
        return list(capacity.running_limits(*self._slurm.limit_tables(), needs, of_task))
