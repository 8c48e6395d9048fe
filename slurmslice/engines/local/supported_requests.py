"""What one machine can honour of an order's options, and what it refuses."""

from __future__ import annotations

import re
import signal
from collections.abc import Mapping

from slurmslice.engines.local.admission import Demand
from slurmslice.engines.local.machine import Machine
from slurmslice.errors import BadInputError
from slurmslice.sbatch.resource_request import ResourceRequest
from slurmslice.sbatch.units import format_memory

MIB = 1 << 20

_GPUS = frozenset({"gpus", "gpus-per-node", "gpus-per-task", "gpus-per-socket", "gres"})
_LATER = frozenset({"dependency", "begin", "hold"})
_SIGNAL = re.compile(r"[RB]*(B)[RB]*:(?:SIG)?(\w+)(?:@(\d+))?", re.IGNORECASE)
_ON_SLURM = "Leave it out here, or use `--engine slurm` where there is a cluster."


def check(request: ResourceRequest, machine: Machine) -> None:
    """Refuse what this machine can never honour. What it can do without is ignored.

    Raises:
        BadInputError: more than one node, GPUs or other generic resources, a start that waits for
            something, or more CPUs or memory than it lets us use.
    """
    if _nodes(request) > 1:
        raise BadInputError(
            "More than one node was asked for, and this is one machine.",
            _ON_SLURM,
            code="slurm-only",
            option="nodes",
        )
    for name in _GPUS & request.keys():
        if request[name].rpartition(":")[2].rpartition("=")[2].lower() not in ("", "0", "none"):
            raise BadInputError(
                f"--{name}={request[name]} was asked for, and this machine cannot share out "
                "GPUs or other generic resources among tasks.",
                _ON_SLURM,
                code="slurm-only",
                option=name,
            )
    for name in _LATER & request.keys():
        raise BadInputError(
            f"--{name} was given, and on one machine tasks start at once.",
            _ON_SLURM,
            code="slurm-only",
            option=name,
        )
    warning(request)
    _check_size(request, machine)


def _check_size(request: ResourceRequest, machine: Machine) -> None:
    if request.cpus > machine.cpus:
        raise BadInputError(
            f"A task wants {request.cpus} CPUs, and this machine lets us use {machine.cpus}.",
            f"Ask for at most -c {machine.cpus}, or use `--engine slurm`.",
            code="exceeds-machine",
            option="cpus-per-task",
            value=request.cpus,
        )
    most = machine.memory // MIB
    if (request.mem_mib or 0) > most:
        raise BadInputError(
            f"A task wants {format_memory(request.mem_mib or 0)} of memory, and this machine lets "
            f"us use {most}M.",
            f"Ask for at most --mem={most}M, or use `--engine slurm`.",
            code="exceeds-machine",
            option="mem",
            value=request.mem_mib,
        )


def _nodes(options: Mapping[str, str]) -> int:
    """The least number of nodes that will do (sbatch(1), ``--nodes``, ``--ntasks-per-node``)."""
    asked = _number(options.get("nodes"), 1)
    tasks = _number(options.get("ntasks"), 1)
    each = _number(options.get("ntasks-per-node"), tasks)
    return max(asked, -(-tasks // max(each, 1)))


def _number(text: str | None, default: int) -> int:
    match = re.match(r"\s*(\d+)", text or "")
    return int(match[1]) if match else default


def demand(request: ResourceRequest, machine: Machine) -> Demand:
    """What one task takes up here. ``--mem=0`` is all memory of the node (sbatch(1))."""
    if request.whole_nodes_memory:
        return Demand(request.cpus, machine.memory)
    return Demand(request.cpus, (request.mem_mib or 0) * MIB)


def warning(request: ResourceRequest) -> tuple[int, int] | None:
    """``--signal=B:USR1@60``: the signal for the script, and how many seconds before the limit.

    Without ``B:`` Slurm signals the job's steps and not the script (sbatch(1)); there are none
    here, so None.

    Raises:
        BadInputError: there is no such signal.
    """
    match = _SIGNAL.fullmatch(request.get("signal", "").strip())
    if match is None or request.time_s is None:
        return None
    name, before = match[2], int(match[3] or 60)
    if name.isdecimal() and int(name) in signal.valid_signals():
        return int(name), before
    try:
        return signal.Signals[f"SIG{name.upper()}"], before
    except KeyError:
        raise BadInputError(
            f"--signal names no signal: {name}.",
            "Write --signal=B:USR1@60.",
            code="bad-signal",
            option="signal",
            value=name,
        ) from None
