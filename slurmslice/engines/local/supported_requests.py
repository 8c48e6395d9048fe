"""Check the requests of a job: one machine cannot fulfil all options of sbatch."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator, Mapping

from slurmslice.engines.local.jobs import TaskResources
from slurmslice.engines.local.machine import Machine
from slurmslice.errors import BadInputError
from slurmslice.sbatch.options import NO_DEPENDENCY
from slurmslice.sbatch.resource_request import ResourceRequest
from slurmslice.sbatch.units import format_memory

MIB = 1 << 20

_GPUS = frozenset({"gpus", "gpus-per-node", "gpus-per-task", "gpus-per-socket", "gres"})
_DELAYS = frozenset({"dependency", "begin", "hold"})
_SIGNAL = re.compile(r"[RB]*(B)[RB]*:(?:SIG)?(\w+)(?:@(\d{1,9}))?", re.IGNORECASE)
_HINT = "Remove the option, or use `--engine slurm` on a cluster."


def check_request(request: ResourceRequest, machine: Machine) -> None:
    """Refuse requests that this machine can never fulfil. Irrelevant options are ignored.

    Raises:
        BadInputError: the request is for several nodes, for GPUs or other generic resources, for
            a delayed start, or for more CPUs or memory than we may use here.
    """
    for option, message in _impossible_options(request):
        raise BadInputError(message, _HINT, code="slurm-only", option=option)
    parse_warning_signal(request)
    _check_size(request, machine)


def _impossible_options(request: ResourceRequest) -> Iterator[tuple[str, str]]:
    """Yield the options that one machine cannot fulfil, each with a message."""
    if _minimum_nodes(request) > 1:
        yield "nodes", "The request needs more than one node, but this is one machine."
    for name in _GPUS & request.keys():
        if request[name].rpartition(":")[2].rpartition("=")[2].lower() not in ("", "0", "none"):
            message = f"--{name}={request[name]}: the local engine assigns no GPUs or other gres."
            yield name, message
    for name in _DELAYS & request.keys():
        if (name, request[name]) != ("dependency", NO_DEPENDENCY):
            yield name, f"--{name} is not possible here: the local engine starts tasks at once."


def _check_size(request: ResourceRequest, machine: Machine) -> None:
    if request.cpus > machine.cpus:
        raise BadInputError(
            f"A task requests {request.cpus} CPUs, but only {machine.cpus} can be used here.",
            f"Use at most -c {machine.cpus}, or `--engine slurm`.",
            code="exceeds-machine",
            option="cpus-per-task",
            value=request.cpus,
        )
    most = machine.memory // MIB
    if (request.mem_mib or 0) > most:
        raise BadInputError(
            f"A task requests {format_memory(request.mem_mib or 0)} of memory, but only {most}M "
            "can be used here.",
            f"Use at most --mem={most}M, or `--engine slurm`.",
            code="exceeds-machine",
            option="mem",
            value=request.mem_mib,
        )


def _minimum_nodes(options: Mapping[str, str]) -> int:
    """Return the minimum number of nodes (sbatch(1), ``--nodes``, ``--ntasks-per-node``)."""
    nodes = _number(options.get("nodes"), 1)
    tasks = _number(options.get("ntasks"), 1)
    each = _number(options.get("ntasks-per-node"), tasks)
    return max(nodes, -(-tasks // max(each, 1)))


def _number(text: str | None, default: int) -> int:
    match = re.match(r"\s*(\d{1,18})", text or "")
    return int(match[1]) if match else default


def task_resources(request: ResourceRequest, machine: Machine) -> TaskResources:
    """Return the resources of one task. ``--mem=0`` means all memory of the node (sbatch(1))."""
    if request.whole_nodes_memory:
        return TaskResources(request.cpus, machine.memory)
    return TaskResources(request.cpus, (request.mem_mib or 0) * MIB)


def parse_warning_signal(request: ResourceRequest) -> tuple[int, int] | None:
    """Return the warning signal and its seconds before the time limit (``--signal=B:USR1@60``).

    The result is None without ``B:``: then Slurm signals only job steps (sbatch(1)), and there are
    none here. It is None without a time limit too.

    Raises:
        BadInputError: the signal does not exist.
    """
    match = _SIGNAL.fullmatch(request.get("signal", "").strip())
    if match is None or request.time_s is None:
        return None
    name, before = match[2], int(match[3] or 60)
    if len(name) < 9 and name.isdecimal() and int(name) in signal.valid_signals():
        return int(name), before
    try:
        return signal.Signals[f"SIG{name.upper()}"], before
    except KeyError:
        raise BadInputError(
            f"--signal: there is no signal {name}.",
            "Example: --signal=B:USR1@60",
            code="bad-signal",
            option="signal",
            value=name,
        ) from None
