"""sbatch's options: their names and values, the script's ``#SBATCH`` lines, what is in force.

Source: sbatch(1), OPTIONS. The names, and the printing of the lines, are simple_slurm's; which
options take no value, which it does not know, stands here. How sbatch reads a script's lines
is ``slurmslice.directives.scripts``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from types import MappingProxyType, ModuleType

from slurmslice.directives.scripts import Option, Takes, directives, takes
from slurmslice.errors import BadInput
from slurmslice.units import parse_count, parse_memory, parse_time

__all__ = ["Option", "Options", "Takes", "block", "check", "check_memory", "find", "in_force"]
__all__ += ["names", "read", "rivals"]

Options = Sequence[tuple[str, str]]
"""Long names without dashes in front, and values; the value of a bare flag is empty."""

_ALIASES = {"tasks-per-node": "ntasks-per-node"}
_OPPOSITES = {
    "requeue": "no-requeue",
    "no-requeue": "requeue",
    "exclusive": "oversubscribe",
    "oversubscribe": "exclusive",
}
_MEMORY = ("mem", "mem-per-cpu", "mem-per-gpu")
_LOGS = "Slices' logs are kept by slurmslice: `slurmslice logs KEY` shows one."
_OWNED = {
    "output": _LOGS,
    "error": _LOGS,
    "open-mode": _LOGS,
    "input": "Slices get their values as words and variables: `{}` in the command, or $SLICE.",
    "chdir": "Tasks run where `render` was called; the `cd` line of script.sh can be edited.",
    "wait": "`slurmslice run` and `slurmslice watch` wait for the end.",
    "wrap": "Write the command after `--`, or as `--shell TEXT`.",
    "parsable": "`--json` gives data that programs can read.",
    "array": "Slices are named with slurmslice's own -a/--array, with %N for N at a time.",
    "test-only": "`--dry-run` shows what would be submitted.",
    "verbose": "It would mix sbatch's talk with its answer.",
    "quiet": "It would hide what sbatch has to say.",
    "export-file": "script.sh says what the tasks' environment is; `--setup` adds to it.",
    "clusters": "Choose the cluster for every command alike: export SLURM_CLUSTERS=NAME.",
    "ignore-pbs": "script.sh holds no #PBS lines.",
}
# Accounting keeps 255 bytes of a job's name (seen): room is left for the token at its end.
_LONGEST_JOB_NAME = 200


@contextmanager
def _simple_slurm() -> Iterator[ModuleType]:
    """The library, without what it does to a process.

    It reads SQUEUE_FORMAT, raises where that is no list of names, and sets up the root logger.
    """
    import logging

    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    hidden = os.environ.pop("SQUEUE_FORMAT", None)
    try:
        import simple_slurm.core  # late: 20 ms that most commands do not need

        yield simple_slurm.core
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        if hidden is not None:
            os.environ["SQUEUE_FORMAT"] = hidden


@cache
def names() -> Mapping[str, Option]:
    """Every option of sbatch that simple_slurm lists, by long name."""
    with _simple_slurm() as library:
        listed = library.read_simple_txt("arguments.txt")
    options = (_option(*words) for words in listed)
    return MappingProxyType({option.name: option for option in options})


def _option(name: str, letter: str | None = None) -> Option:
    long = name.replace("_", "-")
    return Option(long, letter, takes(long))


@cache
def _spellings() -> Mapping[str, Option]:
    others = {other: names()[name] for other, name in _ALIASES.items()}
    return MappingProxyType({**names(), **others})


def find(name: str) -> Option:
    """The option of a long name or a letter, dashes in front or not, ``_`` for ``-`` or not.

    Raises:
        BadInput: sbatch has none of that name; the nearest one is named.
    """
    plain = name.lstrip("-").replace("_", "-")
    for option in names().values():
        if plain == option.letter:
            return option
    if plain in _spellings():
        return _spellings()[plain]
    import difflib

    near = difflib.get_close_matches(plain, names(), 1)
    hint = f"Did you mean --{near[0]}?" if near else "`man sbatch` lists them."
    raise BadInput(
        f"sbatch has no option {name!r}.",
        hint,
        code="unknown-option",
        option=name,
        nearest=near[0] if near else None,
    )


def check(name: str, value: str = "") -> tuple[str, str]:
    """The long name and the value of an option that a person gave, if it can stand.

    Raises:
        BadInput: no such option, one that slurmslice sets itself, or a value that sbatch or
            the script cannot take.
    """
    option = find(name)
    if option.name in _OWNED:
        raise BadInput(
            f"--{option.name} cannot be given here.",
            _OWNED[option.name],
            code="option-not-allowed",
            option=option.name,
        )
    _one_line(option, value)
    if value and option.takes is Takes.NOTHING:
        raise BadInput(
            f"--{option.name} takes no value, but got {value!r}.",
            code="unexpected-value",
            option=option.name,
            value=value,
        )
    if not value and option.takes is Takes.VALUE and option.name != "comment":
        raise BadInput(
            f"--{option.name} needs a value.",
            "Is a variable of your shell empty?",
            code="missing-value",
            option=option.name,
        )
    try:
        _CHECKS.get(option.name, str)(value)
    except BadInput as why:
        raise why.inside(f"--{option.name}", option=option.name) from why
    return option.name, value


def check_memory(options: Options) -> None:
    """Refuse memory that is asked for in two ways (sbatch(1): they are mutually exclusive).

    Raises:
        BadInput: it is.
    """
    given = [name for name, _ in options if name in _MEMORY]
    if len(given) > 1:
        raise BadInput(
            f"--{given[0]} and --{given[1]} exclude one another.",
            "Give one of them.",
            code="options-conflict",
            option=given[0],
            other=given[1],
        )


def rivals(name: str) -> frozenset[str]:
    """The options that sbatch does not take beside this one, or that undo it; long names."""
    family = _MEMORY if name in _MEMORY else (_OPPOSITES.get(name, name),)
    return frozenset(family) - {name}


def _one_line(option: Option, value: str) -> None:
    if "\0" in value or "\n" in value:
        raise BadInput(
            f"The value of --{option.name} holds a line end or a NUL: {value!r}.",
            code="control-character",
            option=option.name,
            value=value,
        )


def _job_name(text: str) -> None:
    size = len(text.encode("utf-8", "surrogateescape"))
    if size > _LONGEST_JOB_NAME:
        raise BadInput(
            f"The name has {size} bytes; at most {_LONGEST_JOB_NAME} can be kept.",
            code="name-too-long",
            bytes=size,
        )


_CHECKS: Mapping[str, Callable[[str], object]] = {
    **dict.fromkeys((*_MEMORY, "tmp"), parse_memory),
    **dict.fromkeys(("time", "time-min"), parse_time),
    **dict.fromkeys(("cpus-per-task", "ntasks", "ntasks-per-node", "cpus-per-gpu"), parse_count),
    "job-name": _job_name,
}


def block(options: Options) -> str:
    """The ``#SBATCH`` lines of these options, in their order, the last of a name counting.

    Any value without a line end comes out of sbatch as it went in.

    Raises:
        BadInput: no such option, or a value with a line end or a NUL.
    """
    chosen = {find(name): value for name, value in options}
    with _simple_slurm() as library:
        slurm = library.Slurm()
        for option, value in chosen.items():
            _one_line(option, value)
            getattr(slurm, f"set_{option.name.replace('-', '_')}")(_quoted(option, value))
        printed = slurm.script(convert=False).split("\n")
    # It pads names with blanks, which an option with an optional value does not survive.
    pairs = (line.split(None, 2)[1:] for line in printed if line.startswith("#SBATCH "))
    lines = {name.removeprefix("--"): "=".join((name, *value)) for name, *value in pairs}
    return "".join(f"#SBATCH {lines[option.name]}\n" for option in chosen)


_PLAIN = re.compile(r"[A-Za-z0-9_@%+=:,./][A-Za-z0-9_@%+=:,./-]*")
# Releases differ in where these words part a heterogeneous job; `\j` is read as `j` by all.
_PARTING = re.compile(r"(het|pack)(?=job)", re.IGNORECASE)


def _quoted(option: Option, value: str) -> str:
    if not value and option.takes is not Takes.VALUE:
        return ""
    if _PLAIN.fullmatch(value) and not _PARTING.search(value):
        return value
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + _PARTING.sub(r"\1\\", escaped) + '"'


def read(script: str) -> tuple[tuple[str, str], ...]:
    """The options that sbatch takes from a script, hand edits included; the last of a name counts.

    Options that only a site or a newer sbatch knows are kept as they are written.

    Raises:
        BadInput: sbatch could not read a line; the message names it.
    """
    return in_force(tuple(directives(script, _spellings())), ())


def in_force(script: Options, overrides: Options) -> tuple[tuple[str, str], ...]:
    """Options of a script and of sbatch's command line together, the later one counting."""
    chosen: dict[str, str] = {}
    for name, value in (*script, *overrides):
        chosen.pop(_OPPOSITES.get(name, ""), None)
        chosen[name] = value
    return tuple(chosen.items())
