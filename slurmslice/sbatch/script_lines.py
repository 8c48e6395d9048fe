"""The ``#SBATCH`` lines of a script: writing and reading.

simple_slurm prints the options that it knows; the others are printed in the same format.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from slurmslice.sbatch.option_table import Option, Takes, values_in_force
from slurmslice.sbatch.options import OPPOSITES, Options, any_option, check_line, known_spellings
from slurmslice.sbatch.script_reader import parse_directives
from slurmslice.sbatch.simple_slurm_options import imported_simple_slurm, simple_slurm_options


def format_directives(options: Options) -> str:
    """Return the ``#SBATCH`` lines of options in their order; the last of a name counts.

    sbatch reads each value exactly as it is given here.

    Raises:
        BadInputError: a name is impossible, or a value has a line end or a NUL.
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
    """Return the lines of simple_slurm by long name, without ``#SBATCH``."""
    own = {name for name, _ in simple_slurm_options()}
    with imported_simple_slurm() as library:
        slurm = library.Slurm()
        for option, value in values.items():
            if option.name in own:
                getattr(slurm, f"set_{option.name.replace('-', '_')}")(value)
        lines = slurm.script(convert=False).split("\n")
    # It pads names with blanks; after a blank, an optional value is not read.
    pairs = (line.split(None, 2)[1:] for line in lines if line.startswith("#SBATCH "))
    return {name.removeprefix("--"): "=".join((name, *value)) for name, *value in pairs}


def _line(name: str, value: str) -> str:
    return f"--{name}={value}" if value else f"--{name}"


_PLAIN = re.compile(r"[A-Za-z0-9_@%+=:,./][A-Za-z0-9_@%+=:,./-]*")
# In some releases these words start a heterogeneous job. All releases read `\j` as `j`.
_JOB_SEPARATOR = re.compile(r"(het|pack)(?=job)", re.IGNORECASE)


def _quoted(option: Option, value: str) -> str:
    if not value and option.takes is not Takes.VALUE:
        return ""
    if _PLAIN.fullmatch(value) and not _JOB_SEPARATOR.search(value):
        return value
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + _JOB_SEPARATOR.sub(r"\1\\", escaped) + '"'


def read_directives(script: str) -> tuple[tuple[str, str], ...]:
    """Return the options that sbatch reads from a script, each name once.

    Unknown options, of a site or of a newer sbatch, are kept as they are written.

    Raises:
        BadInputError: sbatch cannot read a line; the message names it.
    """
    return merge_options(tuple(parse_directives(script, known_spellings())), ())


def merge_options(script: Options, overrides: Options) -> tuple[tuple[str, str], ...]:
    """Merge the options of a script and of sbatch's command line; usually the later one counts."""
    given = (*script, *overrides)
    last = {name: at for at, (name, _) in enumerate(given)}
    undone = {name for name in last if last.get(OPPOSITES.get(name, ""), -1) > last[name]}
    kept = values_in_force(given)
    return tuple((name, value) for name, value in kept.items() if name not in undone)
