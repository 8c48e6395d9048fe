"""What one machine can honour of an order's options, and what it refuses."""

from __future__ import annotations

import re
import signal
from collections.abc import Mapping

from slurmslice.engines import Needs
from slurmslice.engines.local.admission import Demand
from slurmslice.engines.local.machine import Machine
from slurmslice.errors import BadInput
from slurmslice.units import format_memory

MIB = 1 << 20

_GPUS = frozenset({"gpus", "gpus-per-node", "gpus-per-task", "gpus-per-socket", "gres"})
_LATER = frozenset({"dependency", "begin", "hold"})
_SIGNAL = re.compile(r"[RB]*(B)[RB]*:(?:SIG)?(\w+)(?:@(\d+))?", re.IGNORECASE)
_ON_SLURM = "Leave it out here, or use `--engine slurm` where there is a cluster."


def check(needs: Needs, machine: Machine) -> None:
    """Refuse what this machine can never honour. What it can do without is ignored.

    Raises:
        BadInput: more than one node, GPUs or other generic resources, a start that waits for
            something, or more CPUs or memory than it lets us use.
    """
    options = dict(needs.options)
    if _nodes(options) > 1:
        raise BadInput("More than one node was asked for, and this is one machine.", _ON_SLURM)
    for name in _GPUS & options.keys():
        if options[name].rpartition(":")[2].rpartition("=")[2].lower() not in ("", "0", "none"):
            raise BadInput(
                f"--{name}={options[name]} was asked for, and this machine cannot share out "
                "GPUs or other generic resources among tasks.",
                _ON_SLURM,
            )
    for name in _LATER & options.keys():
        raise BadInput(f"--{name} was given, and on one machine tasks start at once.", _ON_SLURM)
    warning(needs)
    _check_size(needs, machine)


def _check_size(needs: Needs, machine: Machine) -> None:
    if needs.cpus > machine.cpus:
        raise BadInput(
            f"A task wants {needs.cpus} CPUs, and this machine lets us use {machine.cpus}.",
            f"Ask for at most -c {machine.cpus}, or use `--engine slurm`.",
        )
    most = machine.memory // MIB
    if (needs.mem_mib or 0) > most:
        raise BadInput(
            f"A task wants {format_memory(needs.mem_mib or 0)} of memory, and this machine lets "
            f"us use {most}M.",
            f"Ask for at most --mem={most}M, or use `--engine slurm`.",
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


def demand(needs: Needs, machine: Machine) -> Demand:
    """What one task takes up here. ``--mem=0`` is all memory of the node (sbatch(1))."""
    if needs.mem_mib == 0:
        return Demand(needs.cpus, machine.memory)
    return Demand(needs.cpus, (needs.mem_mib or 0) * MIB)


def warning(needs: Needs) -> tuple[int, int] | None:
    """``--signal=B:USR1@60``: the signal for the script, and how many seconds before the limit.

    Without ``B:`` Slurm signals the job's steps and not the script (sbatch(1)); there are none
    here, so None.

    Raises:
        BadInput: there is no such signal.
    """
    match = _SIGNAL.fullmatch(dict(needs.options).get("signal", "").strip())
    if match is None or needs.time_s is None:
        return None
    name, before = match[2], int(match[3] or 60)
    if name.isdecimal() and int(name) in signal.valid_signals():
        return int(name), before
    try:
        return signal.Signals[f"SIG{name.upper()}"], before
    except KeyError:
        raise BadInput(f"--signal names no signal: {name}.", "Write --signal=B:USR1@60.") from None
