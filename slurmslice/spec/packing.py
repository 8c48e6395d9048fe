"""Several slices in one array task: the request of a slice and the request of its task. Pure.

A person gives the request of *one slice*. A task carries ``pack`` slices and runs ``at_once`` of
them at a time. So its request has ``at_once`` times the CPUs and the memory, and the time of all
slices that run one after another.
"""

from __future__ import annotations

from dataclasses import dataclass

from slurmslice.errors import BadInputError
from slurmslice.sbatch.resource_request import ResourceRequest

TARGET_TASK_S = 900
"""The duration of a task that ``--pack auto`` aims at, seconds: much longer than Slurm needs to
start a task, and shorter than a partition's time limit."""


@dataclass(frozen=True, slots=True)
class Packing:
    """The number of slices per array task, and their limits.

    Attributes:
        pack: slices per task; 1 means no packing.
        at_once: the number of them that run at a time.
        slice_time_s: the time limit of one slice, seconds; None: only the task has a limit.
    """

    pack: int = 1
    at_once: int = 1
    slice_time_s: int | None = None

    @property
    def rounds(self) -> int:
        """The number of slices that run one after another in a task."""
        return self.rounds_for(self.pack)

    def rounds_for(self, slices: int) -> int:
        """Return the number of slices that run one after another if a task carries so many."""
        return -(-min(self.pack, slices) // self.at_once)


NO_PACKING = Packing()
"""Each array task carries one slice."""


def task_request(
    request: ResourceRequest, packing: Packing, slices: int | None = None
) -> ResourceRequest:
    """Return the request of a task, made from that of one of its slices.

    Args:
        request: the request of one slice, or some options of it.
        packing: how tasks carry slices.
        slices: the slices to carry, perhaps fewer than a whole pack; None for a whole pack.
    """
    if packing.pack == 1:
        return request
    rounds = packing.rounds if slices is None else packing.rounds_for(slices)
    return request.scaled(packing.at_once, rounds)


def slice_request(request: ResourceRequest, packing: Packing) -> ResourceRequest:
    """Return the request of one slice, made from its task's: the reverse of ``task_request``."""
    if packing.pack == 1:
        return request
    return request.divided(packing.at_once, packing.slice_time_s)


def with_cpu_per_slice(request: ResourceRequest, packing: Packing) -> ResourceRequest:
    """Add ``--cpus-per-task=1`` if slices run side by side in a task and request no CPUs."""
    if packing.at_once == 1 or not {"cpus-per-task", "cpus-per-gpu"}.isdisjoint(request):
        return request
    return request.overridden_by({"cpus-per-task": "1"})


def spread_over_tasks(packing: Packing, slices: int, tasks: int | None) -> Packing:
    """Reduce the slices per task so that as many tasks as possible run at once.

    Args:
        packing: the requested packing.
        slices: the number of slices.
        tasks: the number of array tasks that can run at once; None if not known.
    """
    if not tasks:
        return packing
    share = max(packing.at_once, -(-slices // max(1, tasks)))
    return Packing(min(packing.pack, share), packing.at_once, packing.slice_time_s)


def check_packing(request: ResourceRequest, packing: Packing) -> None:
    """Refuse a request that a task cannot divide among its slices.

    Raises:
        BadInputError: a pack requests more than one node; a pack that runs several slices at a time
            requests GPUs or more than one process; or it runs more at a time than it carries.
    """
    if packing.at_once > packing.pack:
        raise BadInputError(
            f"--at-once {packing.at_once} is more than the {packing.pack} slices of a task.",
            "Also give --pack K, the number of slices per task.",
            code="at-once-exceeds-pack",
            option="at-once",
            value=packing.at_once,
        )
    if packing.pack == 1:
        return
    if request.get("nodes", "1") not in {"1", "1-1"}:
        raise BadInputError(
            f"--pack runs slices on one node, but --nodes={request['nodes']} requests others.",
            "Leave out --pack, or request one node.",
            code="options-conflict",
            option="pack",
            other="nodes",
        )
    if packing.at_once > 1:
        _check_pool(request)


def _check_pool(request: ResourceRequest) -> None:
    gpus = next((n for n, v in request.options if n.startswith("gpus") or "gpu" in v), None)
    if gpus is not None:
        raise BadInputError(
            f"--at-once runs several slices at a time, and they would all use the same GPUs "
            f"(--{gpus}={request[gpus]}).",
            "Leave out --at-once: then the slices of a task run one after another.",
            code="options-conflict",
            option="at-once",
            other=gpus,
        )
    if request.get("ntasks", "1") != "1" or "ntasks-per-node" in request:
        raise BadInputError(
            "--at-once and --ntasks exclude each other: a slice gets CPUs, not processes.",
            "Request CPUs with -c, or leave out --at-once.",
            code="options-conflict",
            option="at-once",
            other="ntasks",
        )


def fit_time_limit(packing: Packing, max_time_s: int | None) -> Packing:
    """Reduce the slices per task to fit the partition's time limit, to one at least.

    Args:
        packing: the requested packing.
        max_time_s: the partition's longest time limit, seconds; None if there is none.
    """
    if packing.slice_time_s is None or max_time_s is None or packing.pack == 1:
        return packing
    rounds = max(1, max_time_s // packing.slice_time_s)
    if packing.rounds <= rounds:
        return packing
    pack = rounds * packing.at_once
    return Packing(pack, min(packing.at_once, pack), packing.slice_time_s)


def automatic_pack(slice_s: float, at_once: int, slices: int) -> int:
    """Return the number of slices per task for a task of about ``TARGET_TASK_S``.

    Args:
        slice_s: the duration of a slice, seconds.
        at_once: the number of slices that run at a time.
        slices: the number of slices.
    """
    return max(at_once, min(slices, int(at_once * TARGET_TASK_S / max(slice_s, 0.001))))


def check_throttle(throttle: int | None, at_once: int) -> None:
    """Refuse a throttle that one task of the run would exceed.

    Raises:
        BadInputError: it is below ``at_once``.
    """
    if throttle is not None and throttle < at_once:
        raise BadInputError(
            f"A throttle of {throttle} is too low: each array task runs {at_once} slices at once.",
            f"Choose a throttle of at least {at_once}.",
            code="throttle-below-at-once",
            throttle=throttle,
            at_once=at_once,
        )


def throttle_in_tasks(throttle: int | None, at_once: int) -> int | None:
    """Turn a throttle in slices into one in array tasks, at least 1; None for no limit."""
    return None if throttle is None else max(1, throttle // at_once)


def slice_time_argument(changes: ResourceRequest, packing: Packing) -> tuple[str, ...]:
    """Return the script's argument that sets another time limit per slice, if there is one."""
    if packing.pack == 1 or "time" not in changes:
        return ()
    return (str(changes.time_s or 0),)
