"""Lookup and checks of the options that a user gives for sbatch.

Names are looked up in our own table, in simple_slurm, and in the cluster's ``sbatch --help``.
``check_any_option`` also accepts unknown names: they were accepted before, or the user insists.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType

from slurmslice.errors import BadInputError
from slurmslice.sbatch.option_table import ALIASES, OPTIONS, Option, Release, Takes
from slurmslice.sbatch.simple_slurm_options import simple_slurm_options
from slurmslice.sbatch.units import parse_count, parse_memory, parse_time

Options = Sequence[tuple[str, str]]
"""Long names without dashes in front, and values; the value of a bare flag is empty."""

NO_OPTIONS: Mapping[str, Option] = MappingProxyType({})

OPPOSITES: Mapping[str, str] = {
    "requeue": "no-requeue",
    "no-requeue": "requeue",
    "exclusive": "oversubscribe",
    "oversubscribe": "exclusive",
}
"""Options, and the options that undo them."""

MEMORY_OPTIONS = ("mem", "mem-per-cpu", "mem-per-gpu")
"""Three options that request memory. sbatch accepts one of them."""

FIRST_ONLY = frozenset({"hold", "begin"})
"""Options that delay the first submission of each slice. A resubmission has them only if a person
types them again. They are not in the script, because sbatch has no option that undoes ``--hold``.

``--dependency`` is not one of them: Slurm asks it again, and a job that has ended does not delay.
"""

NO_DEPENDENCY = "0"
"""The value of ``--dependency`` that undoes a line of the script. A person types ``none``."""

_LOGS = (
    "-o, -e and --open-mode of `run`, `render` and `submit -- COMMAND` name the files of a new run."
)
_HELP = "`slurmslice run --help` shows slurmslice's options; `man sbatch` lists sbatch's."
_OWNED = {
    "output": _LOGS,
    "error": _LOGS,
    "open-mode": _LOGS,
    "input": "A slice gets its values as words and variables: `{}` in the command, or $SLICE.",
    "chdir": "Tasks run where `render` was called; the `cd` line of script.sh can be edited.",
    "wait": "`slurmslice run` and `slurmslice watch` wait for the end.",
    "wrap": "Write the command after `--`, or as `--shell TEXT`.",
    "parsable": "`--json` gives data that programs can read.",
    "array": "Use slurmslice's own -a/--array; %N in it runs N slices at a time.",
    "job-name": "-J/--name NAME names a new run; -J of `submit` and `resubmit` names their jobs.",
    "test-only": "`slurmslice submit RUN --test-only` asks Slurm; `--dry-run` shows what would be "
    "submitted.",
    "verbose": "It would mix messages of sbatch with the job id.",
    "quiet": "It would hide the messages of sbatch.",
    "export-file": "script.sh defines the environment of the tasks; `--setup` adds to it.",
    "clusters": "Choose the cluster for all commands: export SLURM_CLUSTERS=NAME",
    "ignore-pbs": "script.sh has no #PBS lines.",
    "external": "An external job runs no script, so it can run no slice.",
    **dict.fromkeys(("autocomplete", "help", "usage", "version"), _HELP),
}
OWNED_OPTIONS = frozenset(_OWNED)
"""Options that slurmslice sets itself, or that would hide sbatch's answer."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")


@cache
def known_options() -> Mapping[str, Option]:
    """Return all options of our own table and of simple_slurm, by long name."""
    found = {name: Option(name, letter, Takes.VALUE) for name, letter in simple_slurm_options()}
    return MappingProxyType({**found, **OPTIONS})


@cache
def known_spellings() -> Mapping[str, Option]:
    """Return the same options, also under the other spellings that sbatch accepts."""
    others = {other: known_options()[name] for other, name in ALIASES.items()}
    return MappingProxyType({**known_options(), **others})


def find_option(name: str, more: Mapping[str, Option] = NO_OPTIONS) -> Option:
    """Return the option with a long name or letter; leading dashes and ``_`` for ``-`` are fine.

    Args:
        name: the name as typed.
        more: further options of the cluster, by long name.

    Raises:
        BadInputError: no option has that name (``unknown-option``); the hint names the nearest.
    """
    option = _known(name, more)
    if option is not None:
        return option
    import difflib

    plain = name.lstrip("-").replace("_", "-")
    near = difflib.get_close_matches(plain, [*known_options(), *more], 1)
    guess = f"Did you mean --{near[0]}? " if near else "`man sbatch` lists sbatch's options. "
    raise BadInputError(
        f"There is no option {name!r} of sbatch.",
        f"{guess}To pass it anyway: --sbatch NAME=VALUE",
        code="unknown-option",
        option=name,
        nearest=near[0] if near else None,
    )


def _known(name: str, more: Mapping[str, Option]) -> Option | None:
    plain = name.lstrip("-")
    dashed = plain.replace("_", "-")
    for option in (*known_options().values(), *more.values()):
        if plain and plain == option.letter:
            return option
    return known_spellings().get(dashed) or more.get(plain) or more.get(dashed)


def check_option(
    name: str, value: str = "", more: Mapping[str, Option] = NO_OPTIONS
) -> tuple[str, str]:
    """Return the long name and the value of an option that a user gave.

    Raises:
        BadInputError: there is no such option, slurmslice sets it itself, or the value is
        impossible for sbatch or the script.
    """
    return _checked(find_option(name, more), value)


def check_any_option(name: str, value: str = "") -> tuple[str, str]:
    """Return the same for a name that may be unknown, as with ``--sbatch``.

    Raises:
        BadInputError: as for ``check_option``, or the name is impossible (``bad-option-name``).
    """
    return _checked(any_option(name), value)


_JOB_NAME = re.compile(r"[\w.+@-][\w.+@ -]{0,199}", re.ASCII)


def check_change(name: str, value: str) -> tuple[str, str]:
    """Return the same for an option of an existing run, whose next jobs may get another name.

    Raises:
        BadInputError: as for ``check_any_option``, or the name of the jobs is impossible
            (``bad-job-name``).
    """
    if name != "job-name":
        return check_any_option(name, value)
    if not _JOB_NAME.fullmatch(value):
        raise BadInputError(
            f"{value!r} cannot be the name of jobs.",
            "Use up to 200 letters, digits, blanks and ._+@-; the first is no blank.",
            code="bad-job-name",
            name=value,
        )
    return name, value


def any_option(name: str) -> Option:
    """Return the option with a name; an unknown one may take a value.

    Raises:
        BadInputError: the name is impossible: it has blanks or special characters.
    """
    option = _known(name, NO_OPTIONS)
    if option is not None:
        return option
    plain = name.lstrip("-")
    if not _NAME.fullmatch(plain):
        raise BadInputError(
            f"{name!r} cannot be the name of an option.",
            "A name has letters, digits and _.+-. With a value: --sbatch NAME=VALUE",
            code="bad-option-name",
            option=name,
        )
    return Option(plain, None, Takes.OPTIONAL)


def _checked(option: Option, value: str) -> tuple[str, str]:
    name = option.name
    if name in _OWNED:
        message = f"--{name} cannot be given here."
        raise BadInputError(message, _OWNED[name], code="option-not-allowed", option=name)
    check_line(name, value)
    if value and option.takes is Takes.NOTHING:
        raise BadInputError(
            f"--{name} takes no value, but got {value!r}.",
            code="unexpected-value",
            option=name,
            value=value,
        )
    if not value and option.takes is Takes.VALUE and name != "comment":
        raise BadInputError(
            f"--{name} needs a value.",
            "Perhaps a variable of your shell is empty.",
            code="missing-value",
            option=name,
        )
    try:
        _CHECKS.get(name, str)(value)
    except BadInputError as why:
        raise why.inside(f"--{name}", option=name) from why
    return name, NO_DEPENDENCY if (name, value) == ("dependency", "none") else value


def check_line(name: str, value: str) -> None:
    """Refuse a value that does not fit into one line of a script.

    Raises:
        BadInputError: it has a line end or a NUL.
    """
    if "\0" in value or "\n" in value:
        raise BadInputError(
            f"The value of --{name} has a line end or a NUL: {value!r}.",
            code="control-character",
            option=name,
            value=value,
        )


_MAIL_TYPES = (
    *("NONE", "BEGIN", "END", "FAIL", "REQUEUE", "ALL", "INVALID_DEPEND", "STAGE_OUT"),
    *("TIME_LIMIT", "TIME_LIMIT_90", "TIME_LIMIT_80", "TIME_LIMIT_50", "ARRAY_TASKS"),
)


def _check_mail_types(text: str) -> None:
    """Refuse a word that is not one of sbatch's mail types (sbatch(1), --mail-type).

    Raises:
        BadInputError: there is such a word; the hint lists the types.
    """
    for word in filter(None, text.split(",")):
        if word.upper() not in _MAIL_TYPES:
            raise BadInputError(
                f"{word!r} is not a type of mail.",
                f"Types: {', '.join(_MAIL_TYPES)}.",
                code="bad-mail-type",
                value=word,
            )


_CHECKS: Mapping[str, Callable[[str], object]] = {
    **dict.fromkeys((*MEMORY_OPTIONS, "tmp"), parse_memory),
    **dict.fromkeys(("time", "time-min"), parse_time),
    "mail-type": _check_mail_types,
    **dict.fromkeys(("cpus-per-task", "ntasks", "ntasks-per-node", "cpus-per-gpu"), parse_count),
}


def check_conflicts(options: Options) -> None:
    """Refuse two options that exclude or undo one another (sbatch(1)).

    Raises:
        BadInputError: there are two.
    """
    given = dict(options)
    for name in given:
        for other in conflicting_options(name) & given.keys():
            raise BadInputError(
                f"--{name} and --{other} exclude one another.",
                "Give one of them.",
                code="options-conflict",
                option=name,
                other=other,
            )


def check_same_value(name: str, value: str, passed: str) -> None:
    """Refuse an option that was given by its own name and, with another value, by ``--sbatch``.

    Args:
        name: its long name.
        value: the value given by its own name.
        passed: the value given with ``--sbatch``.

    Raises:
        BadInputError: the values differ.
    """
    if value == passed:
        return
    shown = [f"{name}={text}" if text else name for text in (value, passed)]
    raise BadInputError(
        f"--{shown[0]} and --sbatch {shown[1]} are two values of one option.",
        f"Give one of them, best as --{name}.",
        code="options-conflict",
        option=name,
        value=value,
        other=passed,
    )


def conflicting_options(name: str) -> frozenset[str]:
    """Return the long names of options that exclude or undo this one."""
    family = MEMORY_OPTIONS if name in MEMORY_OPTIONS else (OPPOSITES.get(name, name),)
    return frozenset(family) - {name}


@dataclass(frozen=True, slots=True)
class MissingOption:
    """An option that a release of Slurm does not have.

    Attributes:
        name: its long name.
        reason: a sentence without its full stop.
        is_newer: a later release has it. A plugin may also add an option of that name.
    """

    name: str
    reason: str
    is_newer: bool


def options_not_in_release(options: Options, release: Release) -> Iterator[MissingOption]:
    """Return the options that a release of Slurm lacks, or has only without a value.

    An option outside our table is the cluster's own and is never returned.
    """
    for name, value in dict(options).items():
        option = OPTIONS.get(name)
        if option is None:
            continue
        is_newer = option.since is not None and release < option.since
        if why := _lack(option, value, release):
            yield MissingOption(name, f"{why}; this cluster has {_shown(release)}", is_newer)


def _lack(option: Option, value: str, release: Release) -> str:
    if option.since and release < option.since:
        return f"--{option.name} needs Slurm {_shown(option.since)} or later"
    if option.gone and release >= option.gone:
        return f"Slurm {_shown(option.gone)} and later have no --{option.name}"
    if value and option.value_since and release < option.value_since:
        return f"--{option.name} takes a value only from Slurm {_shown(option.value_since)} on"
    if value and option.value_gone and release >= option.value_gone:
        return f"--{option.name} takes no value from Slurm {_shown(option.value_gone)} on"
    return ""


def _shown(release: Release) -> str:
    return f"{release[0]:02d}.{release[1]:02d}"
