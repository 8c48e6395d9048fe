"""The options of sbatch, from Slurm 20.11 to 26.05.

Sources: sbatch(1) and ``sbatch --help`` of 20.11.4, 22.05.8, 24.11.5 and 26.05.5 (recorded in
``tests/recorded``), the answers of getopt_long(3) in these four to each name, and Slurm's change
logs for the releases between them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType

Release = tuple[int, int]
"""A release of Slurm, year and month: (22, 5)."""


class Takes(Enum):
    """The value that an option takes."""

    VALUE = "value"
    NOTHING = "nothing"
    OPTIONAL = "perhaps"  # only in the form --name=value


@dataclass(frozen=True, slots=True)
class Option:
    """An option of sbatch, and the releases that have it.

    Attributes:
        name: the long name, without dashes in front.
        letter: the short name; None if it has none.
        takes: the kind of value that it takes.
        since: the first release that may have it; None if even the oldest known release has it.
        gone: the first release that certainly lacks it again; None if the newest release has it.
        value_since: the first release that accepts a value; None if all releases do.
        value_gone: the first release that certainly accepts no value again; None if there is none.
    """

    name: str
    letter: str | None
    takes: Takes
    since: Release | None = None
    gone: Release | None = None
    value_since: Release | None = None
    value_gone: Release | None = None


_WITH_VALUE = """
    account:A acctg-freq array:a batch bb bbf begin:b chdir:D cluster-constraint clusters:M comment
    constraint:C core-spec:S cores-per-socket cpu-freq cpus-per-gpu cpus-per-task:c deadline
    delay-boot dependency:d distribution:m error:e exclude:x export export-file extra-node-info:B
    gid gpu-bind gpu-freq gpus-per-node gpus-per-socket gpus-per-task gpus:G gres gres-flags hint
    input:i job-name:J kill-on-invalid-dep licenses:L mail-type mail-user mcs-label mem mem-bind
    mem-per-cpu mem-per-gpu mincpus network nodefile:F nodelist:w nodes:N ntasks-per-core
    ntasks-per-gpu ntasks-per-node ntasks-per-socket ntasks-per-tres ntasks:n open-mode output:o
    partition:p priority profile qos:q reservation signal sockets-per-node switches thread-spec
    threads-per-core time-min time:t tmp uid wait-all-nodes wckey wrap
"""
_WITHOUT_VALUE = """
    contiguous help:h hold:H ignore-pbs no-requeue overcommit:O oversubscribe:s parsable quiet:Q
    reboot spread-job test-only usage use-min-nodes verbose:v version:V wait:W
"""
_PERHAPS = "exclusive nice no-kill:k propagate"

_VALUE, _NOTHING, _OPTIONAL = Takes.VALUE, Takes.NOTHING, Takes.OPTIONAL
_CHANGED = (
    Option("autocomplete", None, _VALUE, since=(23, 2)),
    Option("consolidate-segments", None, _NOTHING, since=(25, 11)),
    Option("container", None, _VALUE, since=(21, 8)),
    Option("container-id", None, _VALUE, since=(23, 2)),
    # Seen in 26.05 and not in 24.11; the change logs in between do not name these three.
    Option("container-type", None, _VALUE, since=(25, 5)),
    Option("external", None, _NOTHING, since=(25, 5)),
    Option("resources", None, _VALUE, since=(25, 5)),
    Option("context", None, _VALUE, since=(21, 8)),  # seen in 22.05, not in 20.11
    Option("extra", None, _VALUE, since=(23, 2)),
    # Deprecated in 25.05; seen to be gone in 26.05.
    Option("get-user-env", None, _OPTIONAL, value_gone=(26, 5)),
    Option("mem-update", None, _VALUE, since=(26, 5)),
    Option("oom-kill-step", None, _OPTIONAL, since=(24, 11)),
    Option("power", None, _VALUE, gone=(24, 11)),  # seen in 23.02, and not in 24.11
    Option("prefer", None, _VALUE, since=(22, 5)),
    Option("requeue", None, _OPTIONAL, value_since=(25, 11)),
    Option("resv-ports", None, _OPTIONAL, since=(24, 5)),
    Option("segment", None, _VALUE, since=(24, 5)),
    Option("spread-segments", None, _NOTHING, since=(25, 11)),
    Option("stepmgr", None, _NOTHING, since=(24, 5)),
    Option("tres-bind", None, _VALUE, since=(23, 11)),
    Option("tres-per-task", None, _VALUE, since=(23, 2)),
)


def _unchanged(names: str, takes: Takes) -> Iterator[Option]:
    for word in names.split():
        name, _, letter = word.partition(":")
        yield Option(name, letter or None, takes)


def _by_name(options: Iterable[Option]) -> Mapping[str, Option]:
    return MappingProxyType({option.name: option for option in options})


OPTIONS: Mapping[str, Option] = _by_name(
    (
        *_unchanged(_WITH_VALUE, Takes.VALUE),
        *_unchanged(_WITHOUT_VALUE, Takes.NOTHING),
        *_unchanged(_PERHAPS, Takes.OPTIONAL),
        *_CHANGED,
    )
)
"""Every option by long name."""

ALIASES: Mapping[str, str] = MappingProxyType(
    {"cluster": "clusters", "tasks-per-node": "ntasks-per-node"}
)
"""Other spellings that every release accepts, and their long names."""


def takes(name: str) -> Takes:
    """Return whether an option takes a value; PERHAPS if the long name is unknown."""
    return OPTIONS[name].takes if name in OPTIONS else Takes.OPTIONAL


def _joined(earlier: str, later: str) -> str:
    contains = f"{later},".startswith(f"{earlier},")
    return later if contains else ",".join(filter(None, (earlier, later)))


def _mail_types(earlier: str, later: str) -> str:
    """Join two sets of events. A value with NONE is the empty set: it takes no event away."""
    some = [value for value in (earlier, later) if "NONE" not in value.upper().split(",")]
    return ",".join(dict.fromkeys(",".join(some).split(","))) if some else later


def _yes_stays(earlier: str, later: str) -> str:
    return earlier if earlier.lower() == "yes" else later


def _flags_stay(earlier: str, later: str) -> str:
    """Return the later signal with the flags R and B of both."""
    flags = [value.upper().rpartition(":")[0] for value in (earlier, later)]
    both = "".join(flag for flag in "RB" if flag in "".join(flags))
    return f"{both}:{later.rpartition(':')[2]}" if both else later


def _time_stays(earlier: str, later: str) -> str:
    """Return the later number of switches, with the waiting time of the last value that has one."""
    time = earlier.partition("@")[2]
    return f"{later}@{time}" if time and "@" not in later else later


_ACCUMULATED: Mapping[str, Callable[[str, str], str]] = MappingProxyType(
    {
        "kill-on-invalid-dep": _yes_stays,
        "mail-type": _mail_types,
        "mem-bind": _joined,
        "signal": _flags_stay,
        "switches": _time_stays,
    }
)
"""Options whose second value does not simply replace the first one.

All options were given twice to ``sbatch -v`` of 22.05 and 24.11: only these five, and the number of
``-v``, keep a part of the first value. sbatch(1) says it of none of them.
"""


def accumulates(name: str) -> bool:
    """Return whether sbatch keeps a part of the first value if an option is given twice."""
    return name in _ACCUMULATED


def values_in_force(given: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the value of each option, as sbatch has it after all of them: usually the last one."""
    chosen: dict[str, str] = {}
    for name, value in given:
        join = _ACCUMULATED.get(name) if name in chosen else None
        chosen[name] = join(chosen[name], value) if join else value
    return chosen
