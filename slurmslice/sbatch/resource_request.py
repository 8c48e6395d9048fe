"""A request: the sbatch options of a slice or of an array task, and the numbers in them. Pure.

Source: sbatch(1), and how its ``_opt_verify`` fills in what is not given.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass

from slurmslice import sbatch
from slurmslice.errors import BadInputError
from slurmslice.sbatch.option_table import Takes, takes, values_in_force
from slurmslice.sbatch.options import MEMORY_OPTIONS
from slurmslice.sbatch.units import (
    format_memory,
    format_time,
    is_factor,
    parse_count,
    parse_memory,
    parse_time,
    scale_memory,
    scale_time,
)

_EXAMPLES = {"time": "time 02:00:00", **{name: f"{name} 8G" for name in MEMORY_OPTIONS}}
_GPUS = re.compile(r"(?:[^:,]+:)?(\d{1,6})")
_GRES = re.compile(r"(?:gres[/:])?gpu(?::[^:,=\d][^:,]*)?(?::(\d{1,6}))?")


@dataclass(frozen=True, slots=True)
class ResourceRequest(Mapping[str, str]):
    """sbatch options by long name, in their order. A bare flag has an empty value.

    It is a read-only mapping. It is hashable, so slices can be grouped by their requests. A
    property parses its option each time; it raises ``BadInputError`` if the value is not a number.

    Attributes:
        options: long names without dashes, and values; each name once.
    """

    options: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, options: Mapping[str, str] | Iterable[tuple[str, str]]) -> ResourceRequest:
        """Make a request from names and values; a name may occur twice, as for sbatch."""
        pairs = options.items() if isinstance(options, Mapping) else options
        return cls(tuple(values_in_force(pairs).items()))

    @classmethod
    def from_script(cls, script: str) -> ResourceRequest:
        """Read the ``#SBATCH`` lines of a script, hand edits included.

        Raises:
            BadInputError: sbatch does not accept a line; the message names it.
        """
        return cls(sbatch.read_directives(script))

    @classmethod
    def from_json(cls, record: Mapping[str, object]) -> ResourceRequest:
        """Read back the result of ``to_json``."""
        return cls(tuple((str(name), str(value)) for name, value in record.items()))

    def to_json(self) -> dict[str, str]:
        """Return the options as a JSON object, in their order."""
        return dict(self.options)

    # -- a mapping ---------------------------------------------------------------------------

    def __getitem__(self, name: str) -> str:
        """Return the value of an option, by its long name."""
        for known, value in self.options:
            if known == name:
                return value
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        """Iterate over the long names, in order."""
        return (name for name, _ in self.options)

    def __len__(self) -> int:
        """Count the options."""
        return len(self.options)

    # -- for sbatch, and for a person --------------------------------------------------------

    def to_argv(self) -> tuple[str, ...]:
        """Return one word of sbatch's command line per option."""
        return tuple(
            f"--{name}={value}" if value or takes(name) is Takes.VALUE else f"--{name}"
            for name, value in self.options
        )

    def __str__(self) -> str:
        """Return the options as a person types them, unquoted; empty if there are none."""
        return " ".join(self.to_argv())

    # -- other requests made from this one ---------------------------------------------------

    def overridden_by(self, options: Mapping[str, str]) -> ResourceRequest:
        """Override options, as sbatch's command line overrides a script.

        ``--requeue`` removes ``--no-requeue``, ``--mail-type`` adds to that of the script, and so
        on. Use ``with_changes`` for changes that a person types.
        """
        return ResourceRequest(sbatch.merge_options(self.options, tuple(options.items())))

    def filled_in(self, options: Mapping[str, str]) -> ResourceRequest:
        """Put values in the place of those that name columns."""
        return ResourceRequest.of({**self, **options})

    def with_changes(self, changes: Mapping[str, str]) -> ResourceRequest:
        """Apply the changes that a person types.

        A change of memory or time may be a multiple (``2x``) of the present value. sbatch does
        not accept ``--mem`` together with a script's ``--mem-per-cpu``, so the option that is
        present is changed.

        Args:
            changes: new values by name.

        Raises:
            BadInputError: sbatch does not accept a name or value, or there is no value to multiply.
        """
        chosen = (self._changed(sbatch.any_option(name).name, new) for name, new in changes.items())
        return self.overridden_by(dict(chosen))

    def differing_from(self, other: Mapping[str, str]) -> ResourceRequest:
        """Keep the options that another request does not have, or has with another value."""
        return ResourceRequest(tuple(o for o in self.options if other.get(o[0]) != o[1]))

    def only(self, names: Container[str]) -> ResourceRequest:
        """Keep the options with these names."""
        return ResourceRequest(tuple(option for option in self.options if option[0] in names))

    def without(self, names: Container[str]) -> ResourceRequest:
        """Leave out the options with these names."""
        return ResourceRequest(tuple(option for option in self.options if option[0] not in names))

    def scaled(self, at_once: int, rounds: int) -> ResourceRequest:
        """Make a task's request from a slice's.

        Args:
            at_once: slices that run at a time; it multiplies the CPUs and the memory of a node.
            rounds: slices that run one after another; it multiplies the time limit.

        Raises:
            BadInputError: one of these options is not a number.
        """

        def scale(name: str, value: str) -> str:
            if name == "mem":
                return format_memory(parse_memory(value) * at_once)
            if name == "cpus-per-task":
                return str(parse_count(value) * at_once)
            if name == "time":
                seconds = parse_time(value)
                return value if seconds is None else format_time(seconds * rounds)
            return value

        return ResourceRequest(tuple((name, scale(name, value)) for name, value in self.options))

    def divided(self, at_once: int, time_s: int | None) -> ResourceRequest:
        """Make a slice's request from a task's: the reverse of ``scaled``.

        Args:
            at_once: slices that run at a time; CPUs and memory are rounded down.
            time_s: the time limit of one slice, seconds; None to keep the task's.

        Raises:
            BadInputError: one of these options is not a number.
        """

        def divide(name: str, value: str) -> str:
            if name == "mem":
                return format_memory(parse_memory(value) // at_once)
            if name == "cpus-per-task":
                return str(max(1, parse_count(value) // at_once))
            return format_time(time_s) if name == "time" and time_s is not None else value

        return ResourceRequest(tuple((name, divide(name, value)) for name, value in self.options))

    # -- the numbers of one array task, over all its nodes -----------------------------------

    @property
    def nodes(self) -> int:
        """The minimum number of nodes, from 1."""
        return min(self._nodes, self.processes)

    @property
    def processes(self) -> int:
        """The processes (``--ntasks``) on all nodes together, from 1."""
        return self._number("ntasks") or (self._number("ntasks-per-node") or 1) * self._nodes

    @property
    def cpus_per_task(self) -> int:
        """The CPUs of each process, from 1."""
        return self._number("cpus-per-task") or 1

    @property
    def cpus(self) -> int:
        """CPUs on all nodes together, from 1."""
        per_gpu, gpus = self._number("cpus-per-gpu"), self.gpus
        if per_gpu and gpus:
            return per_gpu * gpus
        return self.processes * self.cpus_per_task

    @property
    def cpus_per_node(self) -> int:
        """CPUs on each node, rounded up."""
        return -(-self.cpus // self.nodes)

    @property
    def gpus(self) -> int | None:
        """GPUs on all nodes together; None if no number is given."""
        times = {"gpus": 1, "gpus-per-task": self.processes, "gpus-per-node": self.nodes}
        for name, factor in times.items():
            match = _GPUS.fullmatch(self.get(name, ""))
            if match:
                return int(match[1]) * factor
        match = _GRES.fullmatch(self.get("gres", ""))
        return int(match[1] or 1) * self.nodes if match else None

    @property
    def mem_mib(self) -> int | None:
        """Memory on all nodes together, MiB; None if no amount or 0 (all of a node's) is given."""
        times = {"mem": self.nodes, "mem-per-cpu": self.cpus, "mem-per-gpu": self.gpus}
        for name, factor in times.items():
            if name in self and factor:
                return parse_memory(self[name]) * factor or None
        return None

    @property
    def whole_nodes_memory(self) -> bool:
        """True if all memory of the nodes is requested: an amount of 0 (sbatch(1), ``--mem``)."""
        return any(name in self and parse_memory(self[name]) == 0 for name in MEMORY_OPTIONS)

    @property
    def time_s(self) -> int | None:
        """The time limit, seconds; None if there is none."""
        return parse_time(self["time"]) if "time" in self else None

    @property
    def partition(self) -> str | None:
        """The partition, or several, separated by commas; None for the default."""
        return self.get("partition")

    def verify(self) -> ResourceRequest:
        """Parse every number once; return the request itself.

        Raises:
            BadInputError: a number, an amount of memory or a time cannot be read.
        """
        _ = self.cpus, self.mem_mib, self.time_s
        return self

    # -- details -----------------------------------------------------------------------------

    @property
    def _nodes(self) -> int:
        least = re.match(r"[1-9]\d{0,8}", self.get("nodes", ""))
        return int(least[0]) if least else 1

    def _number(self, name: str) -> int | None:
        try:
            return parse_count(self[name]) if name in self else None
        except BadInputError as why:
            raise why.inside(f"--{name}", option=name) from why

    def _changed(self, name: str, value: str) -> tuple[str, str]:
        """Return the option to change and its new value; for memory, the option in force."""
        family = MEMORY_OPTIONS if name in MEMORY_OPTIONS else (name,)
        used = next((option for option in family if option in self), None)
        if is_factor(value) and name in {*MEMORY_OPTIONS, "time"}:
            if used is None:
                raise BadInputError(
                    f"Cannot multiply --{name} by {value}: no value is in force, and the default "
                    "is not known.",
                    f"Give the whole value, as in: --{_EXAMPLES[name]}",
                    code="nothing-to-multiply",
                    option=name,
                    value=value,
                )
            return used, self._multiplied(used, value)
        sbatch.check_change(name, value)
        if used in {None, name}:
            return name, value
        return used or name, self._converted(name, value, used or name)

    def _multiplied(self, name: str, factor: str) -> str:
        if name == "time":
            return scale_time(self[name], factor)
        if parse_memory(self[name]) == 0:
            raise BadInputError(
                f"Cannot multiply --{name}=0: it means all memory of a node.",
                code="cannot-multiply",
                option=name,
            )
        return scale_memory(self[name], factor)

    def _converted(self, name: str, value: str, used: str) -> str:
        """Convert an amount of memory to the option in force."""
        mib = parse_memory(value)
        if mib and (name, used) == ("mem", "mem-per-cpu"):
            return format_memory(-(-mib // self.cpus_per_node))
        if mib and (name, used) == ("mem-per-cpu", "mem"):
            return format_memory(mib * self.cpus_per_node)
        raise BadInputError(
            f"--{used} is in force, and sbatch does not accept --{name} together with it.",
            f"Give --{used}, or edit the script.",
            code="options-conflict",
            option=name,
            other=used,
        )


NO_REQUEST = ResourceRequest()
"""The request without options: Slurm's defaults apply."""
