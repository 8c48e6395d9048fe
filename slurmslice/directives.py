"""sbatch's options: their names, the script's ``#SBATCH`` lines, and what is in force.

Sources: sbatch(1), OPTIONS; the way the lines are read is sbatch's own (``get_argument`` in its
``opt.c``, then getopt_long). Names, and the printing of the lines, are simple_slurm's; what it
does not know (which options take no value) stands here.
"""

from __future__ import annotations

import difflib
import logging
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from functools import cache
from types import MappingProxyType, ModuleType

from slurmslice.engines import Needs
from slurmslice.errors import BadInput
from slurmslice.units import (
    format_memory,
    is_factor,
    parse_memory,
    parse_time,
    scale_memory,
    scale_time,
)

Options = Sequence[tuple[str, str]]
"""Long names without dashes in front, and values; the value of a bare flag is empty."""


class Takes(Enum):
    """Whether an option takes a value."""

    VALUE = "value"
    NOTHING = "nothing"
    PERHAPS = "perhaps"  # only in the form --name=value


@dataclass(frozen=True, slots=True)
class Option:
    """One of sbatch's options: long name, short letter or None, what it takes."""

    name: str
    letter: str | None
    takes: Takes


_BARE = frozenset(
    "contiguous hold ignore-pbs no-requeue overcommit oversubscribe parsable quiet reboot requeue"
    " spread-job test-only use-min-nodes verbose wait".split()
)
_PERHAPS = frozenset({"exclusive", "get-user-env", "nice", "no-kill", "propagate"})
_ALIASES = {"tasks-per-node": "ntasks-per-node"}
_OPPOSITES = {
    "requeue": "no-requeue",
    "no-requeue": "requeue",
    "exclusive": "oversubscribe",
    "oversubscribe": "exclusive",
}
_LOGS = "Slices' logs are kept by slurmslice: `slurmslice logs KEY` shows one."
_OWNED = {
    "output": _LOGS,
    "error": _LOGS,
    "open-mode": _LOGS,
    "input": "Slices get their values as words and variables: `{}` in the command, $SLICE.",
    "chdir": "Tasks run where `render` was called: the `cd` line of script.sh says so.",
    "wait": "`slurmslice run` and `slurmslice watch` wait for the end.",
    "wrap": "Write the command after `--`, or as `--shell TEXT`.",
    "parsable": "`--json` gives data that programs can read.",
    "array": "Slices are named with slurmslice's own -a/--array, %N for N at a time.",
    "test-only": "`--dry-run` shows what would be submitted.",
    "verbose": "slurmslice's own messages are chosen with its own options.",
    "quiet": "slurmslice's own messages are chosen with its own options.",
    "export-file": "script.sh says what the tasks' environment is; `--setup` adds to it.",
    "clusters": "Choose the cluster for every command alike: export SLURM_CLUSTERS=NAME.",
    "ignore-pbs": "script.sh holds no #PBS lines.",
}
_MEMORY = ("mem", "mem-per-cpu", "mem-per-gpu")
# Accounting keeps 255 bytes of a job's name (seen): room is left for the token at its end.
_LONGEST_JOB_NAME = 200


@contextmanager
def _simple_slurm() -> Iterator[ModuleType]:
    """simple_slurm, kept from what it does to a process: it reads SQUEUE_FORMAT, raises where
    that is no list, and sets up the root logger.
    """
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    hidden = os.environ.pop("SQUEUE_FORMAT", None)
    try:
        import simple_slurm.core  # noqa: PLC0415 - 20 ms that most commands do not need

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
    takes = Takes.NOTHING if long in _BARE else Takes.PERHAPS if long in _PERHAPS else Takes.VALUE
    return Option(long, letter, takes)


@cache
def _letters() -> Mapping[str, Option]:
    return {option.letter: option for option in names().values() if option.letter}


def find(name: str) -> Option:
    """The option of a long name or a letter, dashes in front or not, ``_`` for ``-`` or not.

    Raises:
        BadInput: sbatch has none of that name; the nearest one is named.
    """
    plain = name.lstrip("-").replace("_", "-")
    option = _letters().get(plain) or names().get(_ALIASES.get(plain, plain))
    if option is None:
        near = difflib.get_close_matches(plain, names(), 1)
        hint = f"Did you mean --{near[0]}?" if near else "`man sbatch` lists them."
        raise BadInput(f"sbatch has no option {name!r}.", hint)
    return option


def check(name: str, value: str = "") -> tuple[str, str]:
    """The long name and the value of an option that a person gave, if it can stand.

    Raises:
        BadInput: no such option, one that slurmslice sets itself, or a value that sbatch or
            the script cannot take.
    """
    option = find(name)
    if option.name in _OWNED:
        raise BadInput(f"--{option.name} is set by slurmslice itself.", _OWNED[option.name])
    _check_form(option, value)
    try:
        _CHECKS.get(option.name, str)(value)
    except BadInput as why:
        raise BadInput(f"--{option.name}: {why.message}", why.hint) from why
    return option.name, value


def _check_form(option: Option, value: str) -> None:
    if "\0" in value or "\n" in value:
        raise BadInput(f"The value of --{option.name} holds a line end or a NUL: {value!r}.")
    if value and option.takes is Takes.NOTHING:
        raise BadInput(f"--{option.name} takes no value, but got {value!r}.")
    if not value and option.takes is Takes.VALUE and option.name != "comment":
        raise BadInput(f"--{option.name} needs a value.", "Is a variable of your shell empty?")


def _count(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and text.strip("0")) or len(text) > 9:
        raise BadInput(f"{text!r} is not a number from 1 up.")
    return int(text)


def _job_name(text: str) -> None:
    size = len(text.encode("utf-8", "surrogateescape"))
    if size > _LONGEST_JOB_NAME:
        raise BadInput(f"The name has {size} bytes; at most {_LONGEST_JOB_NAME} can be kept.")


_CHECKS: Mapping[str, Callable[[str], object]] = {
    **dict.fromkeys((*_MEMORY, "tmp"), parse_memory),
    **dict.fromkeys(("time", "time-min"), parse_time),
    **dict.fromkeys(("cpus-per-task", "ntasks", "ntasks-per-node"), _count),
    "job-name": _job_name,
}


# Writing.


def block(options: Options) -> str:
    """The ``#SBATCH`` lines of these options, in their order, the last of a name counting.

    Any value without line end and NUL comes out of sbatch as it went in.

    Raises:
        BadInput: no such option, or a value with a line end or a NUL.
    """
    chosen = {find(name): value for name, value in options}
    with _simple_slurm() as library:
        slurm = library.Slurm()
        for option, value in chosen.items():
            if "\0" in value or "\n" in value:
                raise BadInput(f"The value of --{option.name} holds a line end: {value!r}.")
            getattr(slurm, f"set_{option.name.replace('-', '_')}")(_quoted(option, value))
        printed = slurm.script(convert=False).split("\n")
    # It pads names with blanks, which an option with an optional value does not survive.
    pairs = (line.split(None, 2)[1:] for line in printed if line.startswith("#SBATCH "))
    lines = {name.removeprefix("--"): "=".join((name, *value)) for name, *value in pairs}
    return "".join(f"#SBATCH {lines[option.name]}\n" for option in chosen)


_PLAIN = re.compile(r"[A-Za-z0-9_@%+=:,./][A-Za-z0-9_@%+=:,./-]*")
# Some releases split the job where these words stand anywhere in a line; `\j` is read as `j`.
_SPLITTERS = re.compile(r"(het|pack)(?=job)", re.IGNORECASE)


def _quoted(option: Option, value: str) -> str:
    if not value and option.takes is not Takes.VALUE:
        return ""
    if _PLAIN.fullmatch(value) and not _SPLITTERS.search(value):
        return value
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{_SPLITTERS.sub(r"\1\\", escaped)}"'


# Reading.


def read(script: str) -> tuple[tuple[str, str], ...]:
    """The options that sbatch takes from a script, hand edits included; the last of a name counts.

    Options that only a site or a newer sbatch knows are kept as they are written.

    Raises:
        BadInput: sbatch could not read a line; the message names it.
    """
    foreign, words = _lines(script)
    options = in_force(tuple(_parsed(words)), ())
    if foreign and "ignore-pbs" not in dict(options):
        raise BadInput(
            f"Line {foreign} of the script: sbatch takes options from #PBS and #BSUB lines too.",
            "Write it as #SBATCH, or add the line `#SBATCH --ignore-pbs`.",
        )
    return options


_BLANKS = " \t\v\f\r"
_MAGIC = re.compile(r"#(?:SBATCH|SLURM)")
Word = tuple[int, str]


def _lines(script: str) -> tuple[int, list[Word]]:
    """The number of the first #PBS or #BSUB line, or 0; each word of a directive and its line."""
    foreign, words = 0, list[Word]()
    for number, line in enumerate(script.split("\n"), 1):
        magic = _MAGIC.match(line)
        if magic:
            words += ((number, word) for word in _split(line[magic.end() :], number))
        elif line.startswith(("#PBS", "#BSUB")):
            foreign = foreign or number
        elif line.strip(_BLANKS) and not line.lstrip(_BLANKS).startswith("#"):
            break
    return foreign, words


def _split(line: str, number: int) -> Iterator[str]:
    """sbatch's words of a line: up to a ``#``, or to an empty word, which ends it as well."""
    at = 0
    while True:
        at += len(line[at:]) - len(line[at:].lstrip(_BLANKS))
        word, at = _word(line, at, number)
        if not word:
            return
        if word in {":", "hetjob", "packjob"}:
            raise BadInput(f"Line {number} of the script: a heterogeneous job cannot be an array.")
        yield word


def _word(line: str, at: int, number: int) -> tuple[str, int]:
    word, quote, escaped = "", "", False
    while at < len(line) and (quote or line[at] not in _BLANKS):
        char = line[at]
        if escaped:
            word, escaped = word + char, False
        elif char == "\\":
            escaped = True
        elif char == quote:
            quote = ""
        elif not quote and char in "\"'":
            quote = char
        elif not quote and char == "#":
            break
        else:
            word += char
        at += 1
    if quote:
        raise BadInput(f"Line {number} of the script: the quote {quote} is not closed.")
    return word, at


def _parsed(words: Sequence[Word]) -> Iterator[tuple[str, str]]:
    """What getopt_long makes of them: a value may stand in the next word, even a line below."""
    rest = list(reversed(words))
    while rest:
        number, word = rest.pop()
        if word.startswith("--") and word != "--":
            yield _long(word[2:], number, rest)
        elif word.startswith("-") and word not in {"-", "--"}:
            yield from _short(word[1:], number, rest)
        else:
            raise BadInput(f"Line {number} of the script: {word!r} is no option of sbatch.")


def _long(word: str, number: int, rest: list[Word]) -> tuple[str, str]:
    written, equals, value = word.partition("=")
    option = _resolved(written, number)
    if option is None:  # a site's own, or a newer sbatch's
        follows = not equals and rest and not rest[-1][1].startswith("-")
        return written, rest.pop()[1] if follows else value
    if equals and option.takes is Takes.NOTHING:
        raise BadInput(f"Line {number} of the script: --{option.name} takes no value.")
    if not equals and option.takes is Takes.VALUE:
        value = _next(option, number, rest)
    return option.name, value


def _resolved(written: str, number: int) -> Option | None:
    """The option of a name or of the beginning of one; None where there is none such."""
    known = {**{name: name for name in names()}, **_ALIASES}
    found = {known[n] for n in ([written] if written in known else known) if n.startswith(written)}
    if len(found) > 1:
        several = ", ".join(f"--{name}" for name in sorted(found))
        raise BadInput(f"Line {number} of the script: --{written} may be {several}.")
    return names()[found.pop()] if found else None


def _short(letters: str, number: int, rest: list[Word]) -> Iterator[tuple[str, str]]:
    for at, letter in enumerate(letters, 1):
        option = _letters().get(letter)
        if option is None:
            raise BadInput(f"Line {number} of the script: sbatch has no option -{letter}.")
        if option.takes is Takes.NOTHING:
            yield option.name, ""
            continue
        needed = option.takes is Takes.VALUE and not letters[at:]
        yield option.name, _next(option, number, rest) if needed else letters[at:]
        return


def _next(option: Option, number: int, rest: list[Word]) -> str:
    if not rest:
        raise BadInput(f"Line {number} of the script: --{option.name} needs a value.")
    return rest.pop()[1]


# What is in force.


def in_force(script: Options, overrides: Options) -> tuple[tuple[str, str], ...]:
    """Options of a script and of sbatch's command line together, the later one counting."""
    chosen: dict[str, str] = {}
    for name, value in (*script, *overrides):
        chosen.pop(_OPPOSITES.get(name, ""), None)
        chosen[name] = value
    return tuple(chosen.items())


@dataclass(frozen=True, slots=True)
class _Shape:
    """How many nodes, processes, CPUs and GPUs (None: not said) one array task asks for."""

    nodes: int
    tasks: int
    cpus: int
    gpus: int | None


def _shape(asked: Mapping[str, str]) -> _Shape:
    least = re.match(r"[1-9]\d{0,8}", asked.get("nodes", "1"))
    nodes = int(least[0]) if least else 1
    tasks = _asked(asked, "ntasks") or (_asked(asked, "ntasks-per-node") or 1) * nodes
    nodes = min(nodes, tasks)
    gpus = _gpus(asked, nodes, tasks)
    cpus = (_asked(asked, "cpus-per-task") or 1) * tasks
    per_gpu = _asked(asked, "cpus-per-gpu")
    return _Shape(nodes, tasks, per_gpu * gpus if per_gpu and gpus else cpus, gpus)


def _asked(asked: Mapping[str, str], name: str) -> int | None:
    try:
        return _count(asked[name]) if name in asked else None
    except BadInput as why:
        raise BadInput(f"--{name}: {why.message}", why.hint) from why


_GPUS = re.compile(r"(?:gres[/:])?(?:gpu:)?(?:[^:,]+:)?(\d{1,6})")


def _gpus(asked: Mapping[str, str], nodes: int, tasks: int) -> int | None:
    gres = asked.get("gres", "")
    times = {"gpus": 1, "gpus-per-task": tasks, "gpus-per-node": nodes, "gres": nodes}
    texts = {**asked, "gres": "gpu:1" if gres == "gpu" else gres if gres[:4] == "gpu:" else ""}
    for name, factor in times.items():
        match = _GPUS.fullmatch(texts.get(name, ""))
        if match:
            return int(match[1]) * factor
    return None


def needs(options: Options) -> Needs:
    """What one array task asks of a machine, over all its nodes.

    Raises:
        BadInput: a number, a memory size or a time in the options is none.
    """
    asked = dict(options)
    shape = _shape(asked)
    time = asked.get("time")
    return Needs(
        cpus=shape.cpus,
        mem_mib=_memory(asked, shape),
        time_s=parse_time(time) if time else None,
        partition=asked.get("partition"),
        options=tuple(options),
    )


def _memory(asked: Mapping[str, str], shape: _Shape) -> int | None:
    """MiB; None where no memory, or all of a node's (0), is asked for."""
    times = {"mem": shape.nodes, "mem-per-cpu": shape.cpus, "mem-per-gpu": shape.gpus}
    for name, factor in times.items():
        if asked.get(name) and factor:
            return parse_memory(asked[name]) * factor or None
    return None


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
        BadInput: a name or value that cannot stand, or nothing there to be multiplied.
    """
    asked = dict(options)
    changed: dict[str, str] = {}
    for given, value in changes.items():
        name = find(given).name
        if is_factor(value) and name in (*_MEMORY, "time"):
            name, value = _scaled(asked, name, value)  # noqa: PLW2901 - the value as it will be
        else:
            name, value = _fitting(asked, *check(name, value))  # noqa: PLW2901 - as above
        if asked.get(name) != value:
            changed[name] = value
    return tuple(changed.items())


def _used(asked: Mapping[str, str], name: str) -> str | None:
    """The option that stands in the script for a name: of the three for memory, the one used."""
    family = _MEMORY if name in _MEMORY else (name,)
    return next((option for option in family if option in asked), None)


def _scaled(asked: Mapping[str, str], name: str, factor: str) -> tuple[str, str]:
    used = _used(asked, name)
    if used is None:
        raise BadInput(f"The script has no --{name} that could be multiplied by {factor}.")
    if used == "time":
        return used, scale_time(asked[used], factor)
    if parse_memory(asked[used]) == 0:
        raise BadInput(f"--{used}=0 is all of a node's memory: it cannot be multiplied.")
    return used, scale_memory(asked[used], factor)


def _fitting(asked: Mapping[str, str], name: str, value: str) -> tuple[str, str]:
    """An amount of memory, told in the option that the script uses."""
    used = _used(asked, name)
    if used in {None, name}:
        return name, value
    shape = _shape(asked)
    cpus = max(1, shape.cpus // shape.nodes)
    if (name, used) == ("mem", "mem-per-cpu") and parse_memory(value):
        return used, format_memory(-(-parse_memory(value) // cpus))
    if (name, used) == ("mem-per-cpu", "mem") and parse_memory(value):
        return used, format_memory(parse_memory(value) * cpus)
    raise BadInput(
        f"The script asks for memory with --{used}; sbatch does not take --{name} beside it.",
        f"Give --{used}, or edit the script.",
    )
