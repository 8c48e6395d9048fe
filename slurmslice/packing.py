"""Several slices in one array task: what a slice asks for, and what its task asks for. Pure.

A person says what *one slice* needs. A task that carries ``pack`` slices, ``at_once`` of them at
a time, asks for ``at_once`` times the CPUs and the memory, and for the time of as many slices as
follow one another in it.
"""

from __future__ import annotations

from dataclasses import dataclass

from slurmslice.errors import BadInput
from slurmslice.resources import ResourceRequest

USUAL_TASK_S = 900
"""How long a task should run where ``--pack auto`` chooses, seconds: long against what Slurm
needs to start it, short against a partition's limits."""


@dataclass(frozen=True, slots=True)
class Packing:
    """How array tasks carry slices.

    Attributes:
        pack: slices a task; 1 is no packing.
        at_once: how many of them run at a time.
        slice_time_s: how long one of them may take, seconds; None: no limit of its own.
    """

    pack: int = 1
    at_once: int = 1
    slice_time_s: int | None = None

    @property
    def turns(self) -> int:
        """How many slices follow one another in a task."""
        return self.turns_of(self.pack)

    def turns_of(self, slices: int) -> int:
        """How many follow one another where no task carries more than so many."""
        return -(-min(self.pack, slices) // self.at_once)


NO_PACKING = Packing()
"""Each array task carries one slice."""


def task_request(
    request: ResourceRequest, packing: Packing, slices: int | None = None
) -> ResourceRequest:
    """The request of a task, made from that of one of its slices.

    Args:
        request: of one slice; a part of a request is scaled likewise.
        packing: how tasks carry slices.
        slices: how many there are to carry, perhaps fewer than a whole pack; None for many.
    """
    if packing.pack == 1:
        return request
    turns = packing.turns if slices is None else packing.turns_of(slices)
    return request.scaled(packing.at_once, turns)


def slice_request(request: ResourceRequest, packing: Packing) -> ResourceRequest:
    """The request of one slice, made from that of its task: the reverse of ``task_request``."""
    if packing.pack == 1:
        return request
    return request.divided(packing.at_once, packing.slice_time_s)


def with_own_cpu(request: ResourceRequest, packing: Packing) -> ResourceRequest:
    """The same with ``--cpus-per-task=1`` if slices that share a task ask for no CPUs."""
    if packing.at_once == 1 or not {"cpus-per-task", "cpus-per-gpu"}.isdisjoint(request):
        return request
    return request.overridden_by({"cpus-per-task": "1"})


def spread(packing: Packing, slices: int, tasks: int | None) -> Packing:
    """The same with no more slices a task than let so many tasks run at once, where it is known.

    Args:
        packing: what is wanted.
        slices: how many there are.
        tasks: how many array tasks can run at once; None where it is not known.
    """
    if not tasks:
        return packing
    share = max(packing.at_once, -(-slices // max(1, tasks)))
    return Packing(min(packing.pack, share), packing.at_once, packing.slice_time_s)


def check(request: ResourceRequest, packing: Packing) -> None:
    """Refuse what a task cannot share out among its slices.

    Raises:
        BadInput: more than one node in a pack; more than one process, or GPUs, in a pack that
            runs several slices at a time; more at a time than it carries.
    """
    if packing.at_once > packing.pack:
        raise BadInput(
            f"--at-once {packing.at_once} is more than the {packing.pack} slices of a task.",
            "Give --pack K with it: K slices a task, that many of them at a time.",
            code="at-once-exceeds-pack",
            option="at-once",
            value=packing.at_once,
        )
    if packing.pack == 1:
        return
    if request.get("nodes", "1") not in {"1", "1-1"}:
        raise BadInput(
            f"--pack puts slices into one task, and --nodes={request['nodes']} spreads it out.",
            "Leave out --pack, or ask for one node.",
            code="options-conflict",
            option="pack",
            other="nodes",
        )
    if packing.at_once > 1:
        _check_pool(request)


def _check_pool(request: ResourceRequest) -> None:
    gpus = next((n for n, v in request.options if n.startswith("gpus") or "gpu" in v), None)
    if gpus is not None:
        raise BadInput(
            f"--at-once runs several slices at a time, which would all see the same GPUs "
            f"(--{gpus}={request[gpus]}).",
            "Leave out --at-once: the slices of a task then run one after another.",
            code="options-conflict",
            option="at-once",
            other=gpus,
        )
    if request.get("ntasks", "1") != "1" or "ntasks-per-node" in request:
        raise BadInput(
            "--at-once runs several slices at a time, and --ntasks gives each several processes.",
            "Ask for CPUs with -c, or leave out --at-once.",
            code="options-conflict",
            option="at-once",
            other="ntasks",
        )


def fitted(packing: Packing, max_time_s: int | None) -> Packing:
    """The same with as many slices a task as the partition's time limit lets in, one at least.

    Args:
        packing: what is wanted.
        max_time_s: the partition's longest time limit, seconds; None for none.
    """
    if packing.slice_time_s is None or max_time_s is None or packing.pack == 1:
        return packing
    turns = max(1, max_time_s // packing.slice_time_s)
    if packing.turns <= turns:
        return packing
    pack = turns * packing.at_once
    return Packing(pack, min(packing.at_once, pack), packing.slice_time_s)


def automatic(slice_s: float, at_once: int, slices: int) -> int:
    """How many slices a task should carry so that it runs about ``USUAL_TASK_S``.

    Args:
        slice_s: how long a slice takes, seconds.
        at_once: how many run at a time.
        slices: how many there are.
    """
    return max(at_once, min(slices, int(at_once * USUAL_TASK_S / max(slice_s, 0.001))))


def check_throttle(throttle: int | None, at_once: int) -> None:
    """Refuse a throttle that one task of the run would exceed.

    Raises:
        BadInput: it is below ``at_once``.
    """
    if throttle is not None and throttle < at_once:
        raise BadInput(
            f"Each array task runs {at_once} slices at a time: at most {throttle} at once "
            "cannot be held.",
            f"The throttle is {at_once} or more with --at-once {at_once}.",
            code="throttle-below-at-once",
            throttle=throttle,
            at_once=at_once,
        )


def tasks_at_once(throttle: int | None, at_once: int) -> int | None:
    """How many tasks may run at once where so many slices may; None for no limit."""
    return None if throttle is None else max(1, throttle // at_once)


def limit_argument(changes: ResourceRequest, packing: Packing) -> tuple[str, ...]:
    """The script's argument that gives slices of a pack another time limit, if they have one."""
    if packing.pack == 1 or "time" not in changes:
        return ()
    return (str(changes.time_s or 0),)
