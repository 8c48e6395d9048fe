"""The environment of Slurm's commands: what of the user's own would change their answers.

Sources: sbatch(1), INPUT ENVIRONMENT VARIABLES; sacct(1), squeue(1), scontrol(1), sinfo(1),
ENVIRONMENT VARIABLES.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from slurmslice.resources import ResourceRequest

_KEPT = frozenset({"SLURM_CONF", "SLURM_CLUSTERS", "SLURM_JWT"})
_OF_COMMANDS = ("SACCT_", "SACCTMGR_", "SCANCEL_", "SCONTROL_", "SINFO_", "SQUEUE_")
_ANSWERS = {"LC_ALL": "C", "SLURM_TIME_FORMAT": "%s", "SLURM_BITSTR_LEN": "0"}


def for_questions(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of a command that answers: times in epoch seconds, nothing cut short."""
    unwanted = ("SLURM_", *_OF_COMMANDS)
    kept = {n: v for n, v in environ.items() if n in _KEPT or not n.startswith(unwanted)}
    return {**kept, **_ANSWERS}


# Where the variable is not named as its option is.
_OPTION_OF = {
    "SBATCH_ARRAY_INX": "array",
    "SBATCH_CPU_FREQ_REQ": "cpu-freq",
    "SBATCH_MEM_PER_NODE": "mem",
    "SBATCH_REQ_SWITCH": "switches",
    "SBATCH_TIMELIMIT": "time",
    "SBATCH_WAIT4SWITCH": "switches",
}
# These change what the script is, or what slurmslice says of it, even where it has no such line.
_ALWAYS = frozenset(
    {
        *("array", "clusters", "error", "export", "input", "job-name", "mem", "mem-per-cpu"),
        *("mem-per-gpu", "no-requeue", "open-mode", "output", "requeue", "time", "wait"),
    }
)
_RIVALS = {"exclusive": "oversubscribe", "oversubscribe": "exclusive"}


def for_sbatch(
    environ: Mapping[str, str], options: Collection[str]
) -> tuple[dict[str, str], tuple[str, ...]]:
    """The environment of sbatch, and the names of the variables that it does not get.

    A variable outranks a line of the script (sbatch(1)): one whose option is in force is left
    out. So is what a surrounding job left behind, which breaks the new one. The others stay: a
    person's SBATCH_ACCOUNT counts where the script names no account. The job inherits this
    environment, so nothing is added to it.

    Args:
        environ: the caller's environment.
        options: long names of the options in force.
    """
    taken = {*options, *(_RIVALS[name] for name in options if name in _RIVALS)}
    dropped = tuple(name for name in sorted(environ) if _collides(name, taken))
    return {name: value for name, value in environ.items() if name not in dropped}, dropped


def _collides(name: str, taken: Collection[str]) -> bool:
    if name.startswith("SLURM_"):
        return name not in _KEPT
    if not name.startswith("SBATCH_"):
        return False
    option = _option(name)
    return option in _ALWAYS or option in taken


def _option(name: str) -> str:
    return _OPTION_OF.get(name, name.removeprefix("SBATCH_").lower().replace("_", "-"))


_HEEDED = frozenset({"account", "partition", "qos"})


def added(environ: Mapping[str, str], options: Collection[str]) -> tuple[ResourceRequest, bool]:
    """What the variables that sbatch gets add to a request.

    Args:
        environ: the caller's environment.
        options: long names of the options in force.

    Returns:
        as options, those of which it is known what they do to it; and whether there are others,
        with which a job may ask for something else, or go to another cluster.
    """
    given, _ = for_sbatch(environ, options)
    own = {_option(name): given[name] for name in given if name.startswith("SBATCH_")}
    heeded = ResourceRequest.of(own).only(_HEEDED)
    return heeded, len(own) > len(heeded) or "SLURM_CLUSTERS" in given


def told(dropped: Collection[str]) -> tuple[str, ...]:
    """What a person should know of dropped variables, as lines: those of sbatch by name."""
    own = [name for name in dropped if name.startswith("SBATCH_")]
    others = len(dropped) - len(own)
    lines = []
    if own:
        lines.append(f"Not given to sbatch, since the script says it: {', '.join(own)}.")
    if others:
        lines.append(f"Not given to sbatch: {others} SLURM_ variables of the surrounding job.")
    return tuple(lines)
