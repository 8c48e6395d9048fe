"""The options that ``sbatch --help`` lists, those of a site's plugins among them. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

from slurmslice.directives.option_table import Option, Takes

# An option stands in columns 2 to 8; the words that describe it stand further right.
_LINE = re.compile(
    r"^ {1,8}(?:-(?P<letter>\w),? +)?--(?P<name>[A-Za-z0-9][\w.+-]*)(?P<value>\[=|=)?",
    re.MULTILINE | re.ASCII,
)


def listed_options(text: str) -> Mapping[str, Option]:
    """Each option in the output of ``sbatch --help``, by long name.

    An option that is printed bare may take a value all the same: 22.05 prints ``--container``.
    So it takes one perhaps, as does ``--name[=value]``.
    """
    return {
        match["name"]: Option(
            match["name"], match["letter"], Takes.VALUE if match["value"] == "=" else Takes.PERHAPS
        )
        for match in _LINE.finditer(text)
    }
