"""The options in ``sbatch --help``, including those of a site's plugins. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

from slurmslice.sbatch.option_table import Option, Takes

# An option is in columns 2 to 8. Its description is further right.
_LINE = re.compile(
    r"^ {1,8}(?:-(?P<letter>\w),? +)?--(?P<name>[A-Za-z0-9][\w.+-]*)(?P<value>\[=|=)?",
    re.MULTILINE | re.ASCII,
)


def parse_sbatch_help(text: str) -> Mapping[str, Option]:
    """Return each option in the output of ``sbatch --help``, by long name.

    An option without ``=VALUE`` may still take a value: 22.05 prints ``--container``. So its value
    counts as optional, like that of ``--name[=value]``.
    """
    return {
        match["name"]: Option(
            match["name"], match["letter"], Takes.VALUE if match["value"] == "=" else Takes.OPTIONAL
        )
        for match in _LINE.finditer(text)
    }
