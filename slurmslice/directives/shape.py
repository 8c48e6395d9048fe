"""What one array task asks of the machine: nodes, processes, CPUs, GPUs, memory, time.

Source: sbatch(1), and how its ``_opt_verify`` fills in what is not said.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from slurmslice.engines import Needs
from slurmslice.errors import BadInput
from slurmslice.units import parse_memory, parse_time


@dataclass(frozen=True, slots=True)
class Shape:
    """What one array task asks for, over all its nodes; ``gpus`` is None where not said."""

    nodes: int
    cpus: int
    gpus: int | None

    @property
    def cpus_per_node(self) -> int:
        """CPUs on each of its nodes, rounded up."""
        return -(-self.cpus // self.nodes)


def shape(asked: Mapping[str, str]) -> Shape:
    """The shape of a task with these options, by long name.

    Raises:
        BadInput: a number among them is none.
    """
    least = re.match(r"[1-9]\d{0,8}", asked.get("nodes", ""))
    nodes = int(least[0]) if least else 1
    tasks = _asked(asked, "ntasks") or (_asked(asked, "ntasks-per-node") or 1) * nodes
    nodes = min(nodes, tasks)
    gpus = _gpus(asked, nodes, tasks)
    per_gpu = _asked(asked, "cpus-per-gpu")
    cpus = per_gpu * gpus if per_gpu and gpus else tasks * (_asked(asked, "cpus-per-task") or 1)
    return Shape(nodes, cpus, gpus)


def count(text: str) -> int:
    """A number from 1 up.

    Raises:
        BadInput: the text is none.
    """
    if len(text) > 9 or not (text.isascii() and text.isdecimal() and text.strip("0")):
        raise BadInput(f"{text!r} is not a number from 1 up.", code="bad-number", value=text)
    return int(text)


def _asked(asked: Mapping[str, str], name: str) -> int | None:
    try:
        return count(asked[name]) if name in asked else None
    except BadInput as why:
        raise why.inside(f"--{name}", option=name) from why


_GPUS = re.compile(r"(?:[^:,]+:)?(\d{1,6})")
_GRES = re.compile(r"(?:gres[/:])?gpu(?::[^:,=\d][^:,]*)?(?::(\d{1,6}))?")


def _gpus(asked: Mapping[str, str], nodes: int, tasks: int) -> int | None:
    for name, times in {"gpus": 1, "gpus-per-task": tasks, "gpus-per-node": nodes}.items():
        match = _GPUS.fullmatch(asked.get(name, ""))
        if match:
            return int(match[1]) * times
    match = _GRES.fullmatch(asked.get("gres", ""))
    return int(match[1] or 1) * nodes if match else None


def needs(options: Sequence[tuple[str, str]]) -> Needs:
    """What one array task with these options asks for, over all its nodes.

    Raises:
        BadInput: a number, an amount of memory or a time among the options is none.
    """
    asked = dict(options)
    of_task = shape(asked)
    return Needs(
        cpus=of_task.cpus,
        mem_mib=_memory(asked, of_task),
        time_s=parse_time(asked["time"]) if "time" in asked else None,
        partition=asked.get("partition"),
        options=tuple(options),
    )


def _memory(asked: Mapping[str, str], of_task: Shape) -> int | None:
    """MiB; None where no amount is asked for, or all of a node's (0)."""
    times = {"mem": of_task.nodes, "mem-per-cpu": of_task.cpus, "mem-per-gpu": of_task.gpus}
    for name, factor in times.items():
        if name in asked and factor:
            return parse_memory(asked[name]) * factor or None
    return None
