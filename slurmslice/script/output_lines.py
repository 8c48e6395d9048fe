"""The progress lines that name the files for the output of slices (``--output``). Pure.

The library writes one for each start of a slice, before the setup; in a pack, before the command
(``templates/slurmslice.sh``, ``_open_output``; ADR 36)::

    slurmslice output job=419 restart=0 at=1795424103 host=n3 slot=0 from=0 out=/sim/logs/17.out
    slurmslice output job=419 restart=1 at=1795424203 host=n4 slot=1 err_from=14 err=/sim/18.err

- ``out``, ``err``: the files; ``%20`` is a blank and ``%25`` a percent sign. Without ``out``,
  standard output has its usual log. Without ``err``, both have one file.
- ``from``, ``err_from``: the bytes that were in the file at that time.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace

_LINE = re.compile(
    rb"slurmslice output job=(?P<job>\d+) restart=\d{1,9} at=\d{1,12} host=\S+ "
    rb"slot=(?P<slot>\d{1,9})(?: from=(?P<out_from>\d{1,18}) out=(?P<out>/\S*))?"
    rb"(?: err_from=(?P<err_from>\d{1,18}) err=(?P<err>/\S*))?(?: [^\n]*)?\n"
)


@dataclass(frozen=True, slots=True)
class NamedFile:
    """A file that a person named for the output of a slice.

    Attributes:
        path: its absolute path.
        start: the bytes in it before the slice's first start in a submission.
    """

    path: str
    start: int


@dataclass(frozen=True, slots=True)
class NamedOutput:
    """The files for the output of a slice.

    Attributes:
        output: the file of its standard output; None for its log in the run directory.
        error: the file of its standard error; None for that of its standard output.
    """

    output: NamedFile | None = None
    error: NamedFile | None = None


NOT_NAMED = NamedOutput()
"""The output of a slice without such files."""


def find_named_output(data: bytes) -> dict[int, NamedOutput]:
    """Find the files by slot. The names are those of the newest start of the task.

    Args:
        data: the lines of a task (``extract_progress_lines``).
    """
    found: dict[int, NamedOutput] = {}
    for line in _LINE.finditer(data):
        slot = int(line["slot"])
        known = found.get(slot, NOT_NAMED)
        found[slot] = NamedOutput(
            _from_first_start(line["out"], line["out_from"], known.output),
            _from_first_start(line["err"], line["err_from"], known.error),
        )
    return found


def _from_first_start(
    path: bytes | None, start: bytes | None, known: NamedFile | None
) -> NamedFile | None:
    """Return a file of a line, with the place at which its first start in this submission began."""
    if path is None or start is None:
        return None
    name = os.fsdecode(path.replace(b"%20", b" ").replace(b"%25", b"%"))
    now = NamedFile(name, int(start))
    return replace(now, start=min(now.start, known.start)) if known and known.path == name else now
