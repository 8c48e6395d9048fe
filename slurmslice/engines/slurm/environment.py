"""Make the environment of Slurm's commands: some of the user's variables change their answers.

Pure. Sources: sbatch(1), INPUT ENVIRONMENT VARIABLES; sacct(1), squeue(1), scontrol(1),
sinfo(1), ENVIRONMENT VARIABLES.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from slurmslice.errors import BadInputError
from slurmslice.notes import Note
from slurmslice.sbatch.options import (
    MEMORY_OPTIONS,
    OWNED_OPTIONS,
    check_option,
    conflicting_options,
)
from slurmslice.sbatch.resource_request import ResourceRequest

_KEPT = frozenset({"SLURM_CONF", "SLURM_CLUSTERS", "SLURM_JWT"})
_QUERY_PREFIXES = ("SACCT_", "SACCTMGR_", "SCANCEL_", "SCONTROL_", "SINFO_", "SQUEUE_")
_QUERY_SETTINGS = {"LC_ALL": "C", "SLURM_TIME_FORMAT": "%s", "SLURM_BITSTR_LEN": "0"}


def for_queries(environ: Mapping[str, str]) -> dict[str, str]:
    """Make the environment of a query: its answer has epoch seconds and complete values."""
    unwanted = ("SLURM_", *_QUERY_PREFIXES)
    kept = {n: v for n, v in environ.items() if n in _KEPT or not n.startswith(unwanted)}
    return {**kept, **_QUERY_SETTINGS}


_KEPT_FOR_SLICES = "SLURMSLICE_KEPT_"
"""The beginning of the names under which variables for slices pass through a steward's job."""


def for_steward(environ: Mapping[str, str]) -> dict[str, str]:
    """Make the environment of sbatch for a steward's job, which inherits it.

    The person's SBATCH_ variables are about slices. They pass under other names, so that the
    steward's own request does not have them (``of_person``).
    """
    own = {name: value for name, value in environ.items() if not name.startswith("SBATCH_")}
    others = {name: value for name, value in environ.items() if name not in own}
    kept = {n: v for n, v in own.items() if n in _KEPT or not n.startswith("SLURM_")}
    return kept | {f"{_KEPT_FOR_SLICES}{name}": value for name, value in others.items()}


def of_person(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the person's environment, from that of a steward's job."""
    own = {n: v for n, v in environ.items() if not n.startswith(_KEPT_FOR_SLICES)}
    kept = {n: v for n, v in environ.items() if n not in own}
    return own | {name.removeprefix(_KEPT_FOR_SLICES): value for name, value in kept.items()}


# Variables with another name than their option.
_OPTION_OF = {
    "SBATCH_ARRAY_INX": "array",
    "SBATCH_CPU_FREQ_REQ": "cpu-freq",
    "SBATCH_DEBUG": "verbose",
    "SBATCH_MEM_PER_NODE": "mem",
    "SBATCH_REQ_SWITCH": "switches",
    "SBATCH_TIMELIMIT": "time",
    "SBATCH_WAIT4SWITCH": "switches",
}
# sbatch reads no variable of these names (seen: `SBATCH_TIME=9 sbatch -v`).
_NOT_READ = frozenset({"SBATCH_MEM", "SBATCH_SWITCHES", "SBATCH_TIME"})


def for_sbatch(
    environ: Mapping[str, str], options: Collection[str]
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Make the environment of sbatch.

    A variable outranks a line of the script (sbatch(1)), so it is dropped if the script or the
    command line sets its option, one that excludes it, or if slurmslice sets the option itself.
    All others count, as if sbatch was typed: SBATCH_TIMELIMIT if the script has no --time.
    SLURM_ variables of a surrounding job would break the new job; they are dropped too. Nothing is
    added, because the job inherits this environment.

    Args:
        environ: the caller's environment.
        options: long names of the options in force.

    Returns:
        the environment, and the names of the dropped variables.
    """
    rivals = (other for name in options for other in conflicting_options(name))
    taken = {*OWNED_OPTIONS, *options, *rivals}
    dropped = tuple(name for name in sorted(environ) if _must_be_dropped(name, taken))
    return {name: value for name, value in environ.items() if name not in dropped}, dropped


def _must_be_dropped(name: str, taken: Collection[str]) -> bool:
    if name.startswith("SLURM_"):
        return name not in _KEPT
    return name.startswith("SBATCH_") and _option_name(name) in taken


def _option_name(name: str) -> str:
    return _OPTION_OF.get(name, name.removeprefix("SBATCH_").lower().replace("_", "-"))


_UNDERSTOOD = frozenset({"account", "partition", "qos", "time", *MEMORY_OPTIONS})


def added_options(
    environ: Mapping[str, str], options: Collection[str]
) -> tuple[ResourceRequest, bool]:
    """Return the options added to a request by variables in sbatch's environment.

    Args:
        environ: the caller's environment.
        options: long names of the options in force.

    Returns:
        the added options with a known effect, and True if there are other variables: they may
        change the request in an unknown way, or send the job to another cluster.
    """
    given, _ = for_sbatch(environ, options)
    own = {_option_name(name): given[name] for name in given if _is_read(name)}
    known = ResourceRequest.of(option for option in own.items() if _is_understood(*option))
    return known, len(own) > len(known) or "SLURM_CLUSTERS" in given


def _is_understood(option: str, value: str) -> bool:
    try:
        return option in _UNDERSTOOD and bool(check_option(option, value))
    except BadInputError:
        return False  # sbatch itself refuses the value


def _is_read(name: str) -> bool:
    return name.startswith("SBATCH_") and name not in _NOT_READ


def deciding_variables(environ: Mapping[str, str], options: Collection[str]) -> tuple[str, ...]:
    """Return the variables that give sbatch options of their own, as ``SBATCH_ACCOUNT=x``."""
    given, _ = for_sbatch(environ, options)
    return tuple(f"{name}={given[name]}" for name in sorted(given) if _is_read(name))


def variable_notes(sent: Collection[str], dropped: Collection[str]) -> tuple[Note, ...]:
    """Describe the variables that count and those that were dropped, one note per kind.

    Args:
        sent: the names in sbatch's environment.
        dropped: the names left out of it. SBATCH_ variables are named.
    """
    used = [name for name in sorted(sent) if _is_read(name)]
    own = [name for name in dropped if name.startswith("SBATCH_")]
    ours = [name for name in own if _option_name(name) in OWNED_OPTIONS]
    others, notes = len(dropped) - len(own), []
    if used:
        message = f"sbatch also reads {', '.join(used)}, because nothing else sets their options."
        notes.append(Note("variables-used", message, {"names": used}))
    if own:
        typed = [name for name in own if name not in ours]
        parts = [f"the script or the command sets the options of {', '.join(typed)}"] * bool(typed)
        parts += [f"slurmslice sets the options of {', '.join(ours)}"] * bool(ours)
        message = f"Variables not passed to sbatch: {'; '.join(parts)}."
        notes.append(Note("variables-dropped", message, {"names": own}))
    if others:
        message = f"Not passed to sbatch: {others} SLURM_ variables of the surrounding job."
        notes.append(Note("job-variables-dropped", message, {"variables": others}))
    return tuple(notes)
