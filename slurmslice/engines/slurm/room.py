"""What there is room for: limits of the cluster, of its partitions, and of the user."""

from __future__ import annotations

import os
from collections.abc import Sequence

from slurmslice.engines import Intake, Limits
from slurmslice.engines.slurm import answers, capacity, commands, environment, never, resources
from slurmslice.engines.slurm.asking import Asking
from slurmslice.engines.slurm.health import PartitionHealth, health
from slurmslice.errors import NoAnswer
from slurmslice.resources import ResourceRequest


class Room:
    """What a cluster would take and could run, as its commands say.

    Args:
        slurm: who is asked.
    """

    def __init__(self, slurm: Asking) -> None:
        self._slurm = slurm

    def limits(self, request: ResourceRequest) -> Limits:
        """MaxArraySize, and how many such tasks can run at once. As ``Engine.limits``."""
        request, certain = self._in_all(request)
        most = int(self._slurm.config()["MaxArraySize"])
        try:
            everywhere = resources.partitions(self._slurm.ask(commands.ALL_PARTITIONS))
            if unknown := capacity.not_listed(request, everywhere):
                if certain and self._refuses_unknown_partitions():
                    return Limits(most, 0, unknown, never=unknown)
                return Limits(most, None, unknown)
            places = capacity.places(request, everywhere)
            why_never = capacity.why_never(request, everywhere)
            at_once, why = (0, why_never) if why_never else self._at_once(request, places)
            for_good = self._never(request, places) if certain and at_once == 0 else ""
        except NoAnswer as silence:
            return Limits(most, None, silence.message)
        times = [place.max_time_s for place in places if place.max_time_s is not None]
        usual = {place.default_time_s for place in places}
        default_s = usual.pop() if len(usual) == 1 else None
        return Limits(most, at_once, why, min(times, default=None), default_s, for_good)

    def intake(self, request: ResourceRequest) -> Intake:
        """What the limits leave beside the user's jobs in the queue. As ``Engine.intake``.

        Every job of the user's counts against each limit, whatever its account or quality of
        service: the room is rather told too small than too large.
        """
        (request, _), settings = self._in_all(request), self._slurm.config()
        size, most = int(settings["MaxArraySize"]), capacity.max_array_tasks(settings)
        limits = list(capacity.submit_limits(*self._slurm.own(), request, settings))
        if not limits:
            return Intake(size, most)
        rows = answers.queue_rows(self._slurm.ask(commands.squeue_of(os.getuid(), ended=False)))
        queued = sum(len(row.indices or "1") for row in rows if row.step is None)
        limit, why = min(limits)
        before = f"; taken before: {queued}" if queued else ""
        return Intake(size, most, max(0, limit - queued), why + before)

    def partitions(self, request: ResourceRequest) -> tuple[PartitionHealth, ...]:
        """How each partition is, and how many tasks with this request fit into it.

        Raises:
            NoAnswer: the controller does not answer.
        """
        settings = self._slurm.config()
        everything = resources.nodes(self._slurm.ask(commands.sinfo()))
        found = resources.partitions(self._slurm.ask(commands.PARTITIONS))
        return tuple(health(partition, everything, request, settings) for partition in found)

    def _in_all(self, request: ResourceRequest) -> tuple[ResourceRequest, bool]:
        """The request with what the environment adds, and whether that is all it does."""
        more, others = environment.added(self._slurm.environ, list(request))
        return more.overridden_by(request), not others

    def _at_once(
        self, request: ResourceRequest, found: Sequence[resources.Partition]
    ) -> tuple[int | None, str]:
        if capacity.asks_for_gpus(request):
            return None, "GPUs are not counted"
        names = {partition.name for partition in found}
        own = [
            n for n in resources.nodes(self._slurm.ask(commands.sinfo())) if n.partition in names
        ]
        of_task = capacity.effective(request, self._slurm.config(), found[0])
        room = capacity.fit(of_task, own).ever
        if not room and not capacity.all_listed(found, own):
            return None, f"not all nodes of {', '.join(sorted(names))} are listed"
        lack = capacity.why_none_fits(of_task, own)
        why = f"{room} fit into the usable nodes of {', '.join(sorted(names))}"
        by_nodes = room, f"{why}: {lack}" if lack else why
        return min([by_nodes, *self._own_limits(of_task)])

    def _never(self, request: ResourceRequest, found: Sequence[resources.Partition]) -> str:
        """Why no such task can ever run; empty where that is not certain."""
        settings, names = self._slurm.config(), {partition.name for partition in found}
        if never.routed(settings) or not names or "reservation" in request:
            return ""  # a reservation has nodes, and perhaps a partition, of its own
        if too_long := capacity.too_long(request, found):
            return "" if self._lifts_time_limits() else too_long
        own = [
            n for n in resources.nodes(self._slurm.ask(commands.sinfo())) if n.partition in names
        ]
        return never.too_large(request, settings, own)

    def _refuses_unknown_partitions(self) -> bool:
        """Whether it is certain that sbatch will: no plugin, and no other cluster, may know them.

        Where one of several that are named is unknown, too (seen on 22.05 and 26.05).
        """
        if never.routed(self._slurm.config()):
            return False
        try:
            return not never.federated(self._slurm.ask(commands.FEDERATION))
        except NoAnswer:
            return False

    def _lifts_time_limits(self) -> bool:
        """Whether a quality of service may; True where that cannot be asked."""
        if self._slurm.config().get("AccountingStorageType", "").endswith("none"):
            return False  # there is none
        try:
            return never.lifts_time_limits(self._slurm.ask(commands.qos_flags()))
        except NoAnswer:
            return True

    def _own_limits(self, of_task: ResourceRequest) -> list[tuple[int, str]]:
        """What the user's limits let run at once; nothing where they cannot be asked."""
        return list(capacity.running_limits(*self._slurm.own(), of_task))
