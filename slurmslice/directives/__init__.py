"""sbatch's options: names, values, ``#SBATCH`` lines, and the options in force.

Source: sbatch(1), OPTIONS. ``option_table`` is the table of options. ``options`` looks options up
and checks them. ``sbatch_help`` reads the cluster's own options. ``script_lines`` writes and reads
lines; ``scripts`` parses them as sbatch does.
"""

from __future__ import annotations

from slurmslice.directives.option_table import Option, Release, Takes
from slurmslice.directives.options import (
    NO_OPTIONS,
    Options,
    any_option,
    check,
    check_any,
    check_memory,
    find,
    lacking,
    names,
    rivals,
)
from slurmslice.directives.script_lines import block, in_force, read

__all__ = ["NO_OPTIONS", "Option", "Options", "Release", "Takes", "any_option", "block"]
__all__ += ["check", "check_any", "check_memory", "find", "in_force", "lacking", "names"]
__all__ += ["read", "rivals"]
