"""Make the environment of Slurm's commands: some of the user's variables change their answers.

Pure. Sources: sbatch(1), INPUT ENVIRONMENT VARIABLES; sacct(1), squeue(1), scontrol(1),
sinfo(1), ENVIRONMENT VARIABLES.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from slurmslice.notes import Note
from slurmslice.sbatch.resource_request import ResourceRequest

_KEPT = frozenset({"SLURM_CONF", "SLURM_CLUSTERS", "SLURM_JWT"})
_QUERY_PREFIXES = ("SACCT_", "SACCTMGR_", "SCANCEL_", "SCONTROL_", "SINFO_", "SQUEUE_")
_QUERY_SETTINGS = {"LC_ALL": "C", "SLURM_TIME_FORMAT": "%s", "SLURM_BITSTR_LEN": "0"}


def for_queries(environ: Mapping[str, str]) -> dict[str, str]:
    """Make the environment of a query: its answer has epoch seconds and complete values."""
    unwanted = ("SLURM_", *_QUERY_PREFIXES)
    kept = {n: v for n, v in environ.items() if n in _KEPT or not n.startswith(unwanted)}
    return {**kept, **_QUERY_SETTINGS}


# Variables with another name than their option.
_OPTION_OF = {
    "SBATCH_ARRAY_INX": "array",
    "SBATCH_CPU_FREQ_REQ": "cpu-freq",
    "SBATCH_MEM_PER_NODE": "mem",
    "SBATCH_REQ_SWITCH": "switches",
    "SBATCH_TIMELIMIT": "time",
    "SBATCH_WAIT4SWITCH": "switches",
}
# Options never taken from the environment: they would change the script's meaning, or
# contradict slurmslice's own statements about it.
_ALWAYS_DROPPED = frozenset(
    {
        *("array", "clusters", "error", "export", "input", "job-name", "mem", "mem-per-cpu"),
        *("mem-per-gpu", "no-requeue", "open-mode", "output", "requeue", "time", "wait"),
    }
)
_CONFLICTING = {"exclusive": "oversubscribe", "oversubscribe": "exclusive"}


def for_sbatch(
    environ: Mapping[str, str], options: Collection[str]
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Make the environment of sbatch.

    A variable outranks a line of the script (sbatch(1)), so it is dropped if its option is in
    force. SLURM_ variables of a surrounding job would break the new job; they are dropped too.
    All others stay: SBATCH_ACCOUNT counts if the script names no account. Nothing is added,
    because the job inherits this environment.

    Args:
        environ: the caller's environment.
        options: long names of the options in force.

    Returns:
        the environment, and the names of the dropped variables.
    """
    taken = {*options, *(_CONFLICTING[name] for name in options if name in _CONFLICTING)}
    dropped = tuple(name for name in sorted(environ) if _must_be_dropped(name, taken))
    return {name: value for name, value in environ.items() if name not in dropped}, dropped


def _must_be_dropped(name: str, taken: Collection[str]) -> bool:
    if name.startswith("SLURM_"):
        return name not in _KEPT
    if not name.startswith("SBATCH_"):
        return False
    option = _option_name(name)
    return option in _ALWAYS_DROPPED or option in taken


def _option_name(name: str) -> str:
    return _OPTION_OF.get(name, name.removeprefix("SBATCH_").lower().replace("_", "-"))


_UNDERSTOOD = frozenset({"account", "partition", "qos"})


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
    own = {_option_name(name): given[name] for name in given if name.startswith("SBATCH_")}
    known = ResourceRequest.of(own).only(_UNDERSTOOD)
    return known, len(own) > len(known) or "SLURM_CLUSTERS" in given


def deciding_variables(environ: Mapping[str, str], options: Collection[str]) -> tuple[str, ...]:
    """Return the variables that give sbatch options of their own, as ``SBATCH_ACCOUNT=x``."""
    given, _ = for_sbatch(environ, options)
    return tuple(f"{name}={given[name]}" for name in sorted(given) if name.startswith("SBATCH_"))


def dropped_variable_notes(dropped: Collection[str]) -> tuple[Note, ...]:
    """Describe dropped variables in one note per kind; SBATCH_ variables are named."""
    own = [name for name in dropped if name.startswith("SBATCH_")]
    others = len(dropped) - len(own)
    notes = []
    if own:
        message = f"Not passed to sbatch, because the script sets these options: {', '.join(own)}."
        notes.append(Note("variables-dropped", message, {"names": own}))
    if others:
        message = f"Not passed to sbatch: {others} SLURM_ variables of the surrounding job."
        notes.append(Note("job-variables-dropped", message, {"variables": others}))
    return tuple(notes)
