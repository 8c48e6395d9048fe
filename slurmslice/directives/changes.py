"""Changes of a request: new values, or multiples of what is in force."""

from __future__ import annotations

from collections.abc import Mapping

from slurmslice.directives.options import MEMORY, Options, any_option, check_any
from slurmslice.directives.shape import shape
from slurmslice.errors import BadInput
from slurmslice.units import format_memory, is_factor, parse_memory, scale_memory, scale_time

_IN_FULL = {"time": "time 02:00:00", **{name: f"{name} 8G" for name in MEMORY}}


def change(options: Options, changes: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """The options to give sbatch so that a script with these options runs with changes.

    A change of memory or time may be a multiple (``2x``) of what is in force. sbatch does not
    take ``--mem`` beside a script's ``--mem-per-cpu``: the one that the script uses is changed.

    Args:
        options: what is in force.
        changes: new values by name, as a person gives them.

    Returns:
        only what differs from ``options``.

    Raises:
        BadInput: a value that cannot stand, or nothing there to be multiplied.
    """
    asked = dict(options)
    wanted = [_changed(asked, any_option(name).name, value) for name, value in changes.items()]
    return tuple((name, value) for name, value in wanted if asked.get(name) != value)


def _changed(asked: Mapping[str, str], name: str, value: str) -> tuple[str, str]:
    """The option to give, and its value: for memory, the one of the three that is in force."""
    family = MEMORY if name in MEMORY else (name,)
    used = next((option for option in family if option in asked), None)
    if is_factor(value) and name in {*MEMORY, "time"}:
        if used is None:
            raise BadInput(
                f"No --{name} is in force that could be multiplied by {value}, and what was had "
                "without it is not known.",
                f"Give it in full, as in: --{_IN_FULL[name]}",
                code="nothing-to-multiply",
                option=name,
                value=value,
            )
        return used, _multiplied(used, asked[used], value)
    check_any(name, value)
    if used in {None, name}:
        return name, value
    return used or name, _converted(asked, name, value, used or name)


def _multiplied(name: str, old: str, factor: str) -> str:
    if name == "time":
        return scale_time(old, factor)
    if parse_memory(old) == 0:
        raise BadInput(
            f"--{name}=0 is all of a node's memory: it cannot be multiplied.",
            code="cannot-multiply",
            option=name,
        )
    return scale_memory(old, factor)


def _converted(asked: Mapping[str, str], name: str, value: str, used: str) -> str:
    """An amount of memory, told in the option that is in force."""
    cpus, mib = shape(asked).cpus_per_node, parse_memory(value)
    if mib and (name, used) == ("mem", "mem-per-cpu"):
        return format_memory(-(-mib // cpus))
    if mib and (name, used) == ("mem-per-cpu", "mem"):
        return format_memory(mib * cpus)
    raise BadInput(
        f"--{used} is in force, and sbatch does not take --{name} beside it.",
        f"Give --{used}, or edit the script.",
        code="options-conflict",
        option=name,
        other=used,
    )
