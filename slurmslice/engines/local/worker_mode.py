"""The mode of a worker: it runs tasks in its own subshells, or in one new bash for each task."""

from __future__ import annotations

import os
import re
from pathlib import Path

from slurmslice.script.source_line import (
    LIBRARY_NAME,
    NOT_BEGUN_EXIT,
    NOT_BEGUN_LINE,
    ParsedSourceLine,
    find_source_line,
)
from slurmslice.script.template_files import templates_folder
from slurmslice.system import files

_FUNCTION = re.compile(
    r"^(?:prepare|run_slice|check_slice)\(\) \{\n.*?^\}\n", re.MULTILINE | re.DOTALL
)

ScriptVersion = tuple[tuple[int, int, int], ...]
"""The versions of the script and its library: inode, size and modification time of each."""


def choose_worker_mode(script: Path) -> str:
    """Return ``inline`` if a worker can run the script's tasks in subshells, else ``each``.

    ``inline`` needs a script that only sources the library outside its functions, and the library
    of this release, because ``worker.sh`` uses its functions.
    """
    try:
        text = files.read_file(script).decode("utf-8", "surrogateescape")
        library = files.read_file(script.with_name(LIBRARY_NAME))
    except OSError:
        return "each"
    known = (templates_folder() / LIBRARY_NAME).read_bytes()
    line = _only_line(text)
    ours = line is not None and line.names(script.with_name(LIBRARY_NAME))
    return "inline" if ours and library == known else "each"


def _only_line(text: str) -> ParsedSourceLine | None:
    """Return the source line of a script if it is the only command outside its functions."""
    lines = [line for line in _FUNCTION.sub("", text).split("\n") if line and line[0] != "#"]
    if lines[1:] != [NOT_BEGUN_LINE, f"exit {NOT_BEGUN_EXIT}"]:
        return None
    return find_source_line(lines[0]) if lines[0].startswith("source ") else None


def read_script_version(script: Path) -> ScriptVersion:
    """Return the present versions of the script and its library."""
    return tuple(_file_version(path) for path in (script, script.with_name(LIBRARY_NAME)))


def _file_version(path: Path) -> tuple[int, int, int]:
    try:
        status = os.stat(path)
    except OSError:
        return (0, 0, 0)
    return (status.st_ino, status.st_size, status.st_mtime_ns)
