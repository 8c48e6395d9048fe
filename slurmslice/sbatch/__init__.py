"""sbatch's options: names, values, ``#SBATCH`` lines, and the options in force.

Source: sbatch(1), OPTIONS. ``option_table`` is the table of options. ``options`` looks options up
and checks them. ``sbatch_help`` reads the cluster's own options. ``script_lines`` writes and reads
lines; ``scripts`` parses them as sbatch does.
"""

from __future__ import annotations

from slurmslice.sbatch.option_table import (
    Option,
    Release,
    Takes,
    accumulates,
    values_in_force,
)
from slurmslice.sbatch.options import (
    NO_OPTIONS,
    OWNED_OPTIONS,
    Options,
    any_option,
    check_any_option,
    check_change,
    check_conflicts,
    check_option,
    check_same_value,
    conflicting_options,
    find_option,
    known_options,
    options_not_in_release,
)
from slurmslice.sbatch.script_lines import format_directives, merge_options, read_directives

__all__ = [
    "NO_OPTIONS",
    "OWNED_OPTIONS",
    "Option",
    "Options",
    "Release",
    "Takes",
    "accumulates",
    "any_option",
    "check_any_option",
    "check_change",
    "check_conflicts",
    "check_option",
    "check_same_value",
    "conflicting_options",
    "find_option",
    "format_directives",
    "known_options",
    "merge_options",
    "options_not_in_release",
    "read_directives",
    "values_in_force",
]
