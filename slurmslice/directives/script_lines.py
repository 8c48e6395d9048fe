"""The ``#SBATCH`` lines of a script: written from options, and read back.

simple_slurm prints the lines of the options that it has; the rest is printed alike.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from slurmslice.directives.library import listed_options, simple_slurm
from slurmslice.directives.option_table import Option, Takes
from slurmslice.directives.options import OPPOSITES, Options, any_option, check_line, spellings
from slurmslice.directives.scripts import directives


def block(options: Options) -> str:
    """The ``#SBATCH`` lines of these options, in their order, the last of a name counting.

    Any value without a line end comes out of sbatch as it went in.

    Raises:
        BadInput: a name that cannot be an option's, or a value with a line end or a NUL.
    """
    values: dict[Option, str] = {}
    for name, value in options:
        option = any_option(name)
        check_line(option.name, value)
        values[option] = _quoted(option, value)
    printed = _printed(values)
    return "".join(
        f"#SBATCH {printed.get(option.name) or _line(option.name, value)}\n"
        for option, value in values.items()
    )


def _printed(values: Mapping[Option, str]) -> dict[str, str]:
    """What simple_slurm prints, by long name, without ``#SBATCH``."""
    own = {name for name, _ in listed_options()}
    with simple_slurm() as library:
        slurm = library.Slurm()
        for option, value in values.items():
            if option.name in own:
                getattr(slurm, f"set_{option.name.replace('-', '_')}")(value)
        lines = slurm.script(convert=False).split("\n")
    # It pads names with blanks, which an option with an optional value does not survive.
    pairs = (line.split(None, 2)[1:] for line in lines if line.startswith("#SBATCH "))
    return {name.removeprefix("--"): "=".join((name, *value)) for name, *value in pairs}


def _line(name: str, value: str) -> str:
    return f"--{name}={value}" if value else f"--{name}"


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
    return in_force(tuple(directives(script, spellings())), ())


def in_force(script: Options, overrides: Options) -> tuple[tuple[str, str], ...]:
    """Options of a script and of sbatch's command line together, the later one counting."""
    chosen: dict[str, str] = {}
    for name, value in (*script, *overrides):
        chosen.pop(OPPOSITES.get(name, ""), None)
        chosen[name] = value
    return tuple(chosen.items())
