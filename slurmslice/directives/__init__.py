"""sbatch's options: their names and values, the script's ``#SBATCH`` lines, what is in force.

Source: sbatch(1), OPTIONS. The table of options is ``option_table``, lookup and checks are
``options``, the cluster's own options come from ``sbatch_help``, lines are written and read by
``script_lines`` (sbatch's way of reading them is ``scripts``). ``resources`` changes a request.
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
